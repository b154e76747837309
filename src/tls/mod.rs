//! TLS from a checked configuration: certificates, keys and lists are read and judged here, off
//! the data plane, and become what listeners and upstreams speak TLS with. What did not change
//! since the last time is the same object as then, and so are its sessions.

mod clients;
mod coverage;
mod files;
mod managed;
mod origin;
mod pair;
mod reader;
mod server;
mod staple;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod unverified;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::{Config, Diagnostic};
use ringgate_core::acme::Challenges;
use ringgate_core::tls::{ClientTls, ServerTls};

use origin::{Client, SystemRoots};
use reader::Reader;
use server::Server;

/// How listeners and upstreams speak TLS.
#[derive(Default)]
pub struct Configured {
    servers: HashMap<Box<str>, Server>,
    clients: HashMap<Box<str>, Client>,
}

/// What reading the certificates of a configuration came to.
pub struct Loaded {
    /// What can be used; a listener or upstream with an error is not in it, and there is an
    /// error about every one that should be.
    pub configured: Configured,
    /// What is wrong; with an error among them the configuration cannot run.
    pub findings: Vec<Diagnostic>,
    /// The files that were read or missed.
    pub files: Vec<PathBuf>,
}

impl Configured {
    /// Reads what a configuration names. `former` lends what has not changed; handshakes of an
    /// authority are answered from `challenges`; `now` judges dates.
    pub fn load(
        config: &Config,
        former: Option<&Configured>,
        challenges: &Arc<Challenges>,
        now: SystemTime,
    ) -> Loaded {
        let mut reader = Reader::new(now);
        let mut configured = Configured::default();
        for listener in &config.listeners {
            let name: &str = &listener.name;
            let former = former.and_then(|former| former.servers.get(name));
            let server = reader.server(listener, config.acme.as_ref(), challenges, former);
            if listener.tls.is_some() && server.is_none() {
                reader.never_plain("listener", &listener.name);
            }
            let entry = server.map(|server| (name.into(), server));
            configured.servers.extend(entry);
        }
        let mut system = SystemRoots::default();
        for upstream in &config.upstreams {
            let name: &str = &upstream.name;
            let former = former.and_then(|former| former.clients.get(name));
            let client = reader.client(upstream, &mut system, former);
            if upstream.tls.is_some() && client.is_none() {
                reader.never_plain("upstream", &upstream.name);
            }
            let entry = client.map(|client| (name.into(), client));
            configured.clients.extend(entry);
        }
        if !reader.has_errors() {
            coverage::check(config, &configured.servers, &mut reader.findings);
        }
        Loaded {
            configured,
            findings: reader.findings,
            files: reader.files.into_named().collect(),
        }
    }

    /// How a listener speaks TLS; none when it does not.
    pub fn server(&self, listener: &str) -> Option<Arc<ServerTls>> {
        let server = self.servers.get(listener)?;
        Some(Arc::clone(&server.tls))
    }

    /// Listeners and upstreams that are in `former` too and speak TLS otherwise there, each as
    /// `listener NAME`.
    pub fn changes_since(&self, former: &Configured) -> Vec<String> {
        let servers = self.servers.iter().filter_map(|(name, server)| {
            let same = Arc::ptr_eq(&server.tls, &former.servers.get(name)?.tls);
            (!same).then(|| format!("listener {name}"))
        });
        let clients = self.clients.iter().filter_map(|(name, client)| {
            let same = Arc::ptr_eq(&client.tls, &former.clients.get(name)?.tls);
            (!same).then(|| format!("upstream {name}"))
        });
        let mut names: Vec<String> = servers.chain(clients).collect();
        names.sort();
        names
    }

    /// How an upstream's connections speak TLS; none when they do not.
    pub fn client(&self, upstream: &str) -> Option<Arc<ClientTls>> {
        let client = self.clients.get(upstream)?;
        Some(Arc::clone(&client.tls))
    }
}
