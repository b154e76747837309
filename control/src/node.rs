//! What the control plane needs from the running gateway: one trait, and the types its
//! methods speak in. The binary implements it; nothing here knows the data plane.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::acme;
use crate::cluster;
use crate::consumers;
use crate::exposition::Exposition;
use crate::health;
use crate::jwks;
use crate::oauth;
use crate::quota;
use crate::report::{ReloadRefused, ReloadReport};

/// The running gateway, as the control plane sees it.
///
/// `metrics`, `config`, `upstreams`, `routes`, `version`, `readiness`, `limits`, `issuers`, `drain`,
/// `resume_canary` and `reload` are called on blocking threads, so they may wait for the workers'
/// answers. `resolved`, `shutdown`, `resolve_targets`, `watched_files`, `quotas`, `clusters`, `consumer_source`,
/// the three for keys, the two
/// for health checks and the three for certificates are called on the control thread and must return
/// at once. A panic in any of them is caught and logged; it never stops the control plane.
pub trait Node: Send + Sync + 'static {
    /// Writes every metric family of the node into `out`.
    fn metrics(&self, out: &mut Exposition);

    /// Whether traffic should be sent here, and why not.
    fn readiness(&self) -> Readiness;

    /// The configuration in force as JSON, with secrets redacted.
    fn config(&self) -> serde_json::Value;

    /// State of every upstream and its endpoints as JSON.
    fn upstreams(&self) -> serde_json::Value;

    /// The compiled routes in order of precedence as JSON.
    fn routes(&self) -> serde_json::Value;

    /// Version and build facts as JSON.
    fn version(&self) -> serde_json::Value;

    /// Reads, checks and compiles the configuration again and swaps it in. Never called twice
    /// at once. The node logs nothing itself: the control plane writes one line per result.
    fn reload(&self, cause: Cause) -> Result<ReloadReport, ReloadRefused>;

    /// Replaces the addresses of one endpoint: never empty, without duplicates, IPv4 first.
    /// Called only when they changed, and once more for every target after a reload.
    fn resolved(&self, upstream: &str, endpoint: &str, addresses: &[SocketAddr]);

    /// Every endpoint that is a name, in the configuration in force.
    fn resolve_targets(&self) -> Vec<Target>;

    /// Files that make up the configuration in force (certificates and included files too).
    /// A directory in the list stands for the names of its entries, so that a new file which
    /// an include pattern would match counts as a change. Called again after every change.
    fn watched_files(&self) -> Vec<PathBuf>;

    /// The upstreams whose endpoints are checked, in the configuration in force, with the
    /// addresses that names have now.
    fn health_checks(&self) -> Vec<health::Target> {
        Vec::new()
    }

    /// Replaces what is known of the health of an upstream's endpoints; nothing is known of one
    /// that is checked no longer. Called when an endpoint's state changed, and once more for
    /// every upstream that is checked after a reload.
    fn judged(&self, upstream: &str, standings: Vec<(health::Place, health::Standing)>) {
        let _ = (upstream, standings);
    }

    /// Rate limits and quotas of the configuration in force as JSON: an array.
    fn limits(&self) -> serde_json::Value {
        serde_json::Value::Array(Vec::new())
    }

    /// The quotas of the configuration in force, and where their counts outlive the process;
    /// `None` where there are none. Called once a second.
    fn quotas(&self) -> Option<quota::Quotas> {
        None
    }

    /// The servers that share limits between nodes, in the configuration in force. Called when
    /// it may have changed.
    fn clusters(&self) -> Vec<cluster::Cluster> {
        Vec::new()
    }

    /// Where consumers are kept beside the configuration in force, if they are. Called when it
    /// may have changed.
    fn consumer_source(&self) -> Option<consumers::Source> {
        None
    }

    /// What the gateway is to authorisation servers, in the configuration in force. Called when
    /// it may have changed.
    fn oauth_clients(&self) -> Vec<oauth::Client> {
        Vec::new()
    }

    /// The issuers of tokens in the configuration in force.
    fn issuers(&self) -> Vec<jwks::Issuer> {
        Vec::new()
    }

    /// The keys to fetch, in the configuration in force. Called when it may have changed.
    fn key_sources(&self) -> Vec<jwks::Source> {
        Vec::new()
    }

    /// A document was fetched that should be a key set: its keys are in use from now on.
    ///
    /// # Errors
    /// Why it is none.
    fn keys_fetched(&self, place: &jwks::Place, document: &[u8]) -> Result<jwks::Loaded, String> {
        let _ = document;
        Err(format!("this node has no use for keys of {place}"))
    }

    /// Nothing could be fetched: whoever waits for it waits no longer.
    fn keys_missed(&self, place: &jwks::Place) {
        let _ = place;
    }

    /// Takes an endpoint out of use or brings it back, as an operator asks: it stays so over
    /// reloads, until it is told otherwise or the process ends. `endpoint` is an address, or
    /// what is configured, which stands for all of its addresses. Answers with what became of
    /// it as JSON.
    ///
    /// # Errors
    /// That there is no such upstream or endpoint, and which there are.
    fn drain(
        &self,
        upstream: &str,
        endpoint: &str,
        to: Drain,
    ) -> Result<serde_json::Value, String> {
        Err(format!(
            "this node has no endpoint {endpoint} of {upstream} for {to:?}"
        ))
    }

    /// Lets the canary of a route go on that was halted: it starts anew from its first share.
    /// Answers with how it stands as JSON.
    ///
    /// # Errors
    /// That there is no such route, or none with a canary.
    fn resume_canary(&self, route: &str) -> Result<serde_json::Value, String> {
        Err(format!("this node has no canary of {route}"))
    }

    /// The certificates that are ordered, in the configuration in force. A reload makes the
    /// node read the storage again.
    fn acme(&self) -> Option<acme::Settings> {
        None
    }

    /// Shows `proof` to whoever asks for it from now on.
    ///
    /// # Errors
    /// Why it cannot be shown.
    fn prove(&self, proof: &acme::Proof) -> Result<(), String> {
        Err(format!("this node has no place for {proof:?}"))
    }

    /// Shows `proof` no more.
    fn withdraw(&self, proof: &acme::Proof) {
        let _ = proof;
    }

    /// Begins an orderly shutdown and returns at once.
    fn shutdown(&self, cause: Shutdown);

    /// Opens log files again after they were rotated away.
    fn reopen_logs(&self) -> io::Result<()>;

    /// Ends the process now: the operator asked twice. `code` is 128 + the signal's number.
    fn exit(&self, code: i32) {
        std::process::exit(code);
    }
}

/// An endpoint whose address is a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Target {
    /// Name of the upstream.
    pub upstream: String,
    /// Host name to look up, which also names the endpoint: `users.internal`.
    pub endpoint: String,
    /// Port that every address of the answer gets.
    pub port: u16,
}

/// What an operator wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// No new requests; those under way go on.
    Begin,
    /// Its share again.
    End,
}

/// Why a reload was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// `POST /reload`, which is also what `ringgate reload` sends.
    Admin,
    /// A watched file has other content than before.
    FileChanged,
    /// A certificate was ordered and lies in storage.
    Certificate,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::FileChanged => "file_changed",
            Self::Certificate => "certificate",
        })
    }
}

/// Which signal asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGTERM: a service manager stops the node.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

impl Shutdown {
    /// The exit code a shell reports for a process that died of this signal.
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "terminate",
            Self::Interrupt => "interrupt",
        })
    }
}

/// Whether the node should get traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// It should not, for these reasons (at least one).
    NotReady(Vec<NotReady>),
}

/// One reason why a node should get no traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum NotReady {
    /// Listeners are not all open yet.
    Starting,
    /// A shutdown has begun.
    Draining,
    /// A worker has not turned its loop for too long.
    WorkerStalled {
        /// Number of the worker, from 0.
        worker: usize,
        /// Milliseconds since its last turn.
        silent_ms: u64,
    },
    /// Anything else, in words.
    Other {
        /// What is wrong and what to do.
        detail: String,
    },
}
