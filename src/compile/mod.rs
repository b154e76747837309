//! Lowers a checked configuration to the snapshot that workers serve from. Pure: names are
//! resolved, sockets opened and counters kept by whoever calls.

pub mod access;
mod chains;
mod conflicts;
mod filters;
mod limits;
mod listeners;
mod patterns;
mod policies;
mod routes;
mod upstreams;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ringgate_config::{Config, Diagnostic, Severity};
use ringgate_core::acme::Challenges;
use ringgate_core::arrivals::Arrivals;
use ringgate_core::policy::Overload;
use ringgate_core::rt::Addr;
use ringgate_core::snapshot::{self, ForwardingPolicy, TrustedNetworks};
use ringgate_core::stats::Registry;
use ringgate_filters::Filter;
use ringgate_filters::rate_limit::Ledgers;

use crate::networks::NetworkFiles;
use crate::tls::Configured;
use access::htpasswd::Htpasswds;
use access::{Backends, Issuers};
use conflicts::conflicts;
pub use patterns::RouterPatterns;
pub use upstreams::{endpoints, targets};

/// The snapshot of this gateway's filters.
pub type Snapshot = snapshot::Snapshot<Filter>;

/// Addresses of the names in endpoints: by upstream, name and port.
pub type Addresses = HashMap<(Box<str>, Box<str>, u16), Vec<SocketAddr>>;

/// What a snapshot takes over from outside the configuration.
pub struct Surroundings<'a> {
    /// Counters by name, kept across reloads.
    pub registry: &'a Registry,
    /// Addresses of names; a name that is not there has none yet.
    pub addresses: &'a Addresses,
    /// What is known of the connections of a listener, by its name.
    pub connections: &'a dyn Fn(&str) -> Arc<Arrivals>,
    /// How listeners and upstreams speak TLS.
    pub tls: &'a Configured,
    /// What a certificate authority's challenges are answered from.
    pub challenges: &'a Arc<Challenges>,
    /// What rate limits have counted, kept across reloads.
    pub ledgers: &'a Ledgers,
    /// Who issues tokens, with their keys.
    pub issuers: &'a Issuers,
    /// Users of htpasswd files.
    pub passwords: &'a Htpasswds,
    /// Whom filters ask who makes a request.
    #[allow(dead_code, reason = "filters that ask are added one by one")]
    pub backends: &'a Backends,
    /// The files of networks that filters name.
    pub networks: &'a NetworkFiles,
    /// The number of the snapshot.
    pub generation: u64,
}

/// Compiles a configuration.
///
/// # Errors
/// Diagnostics of which at least one is an error, for what only the router can refuse.
pub fn compile(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<(Snapshot, Vec<Diagnostic>), Vec<Diagnostic>> {
    let router = routes::router(config)?;
    let findings = conflicts(config, &router);
    if findings.iter().any(|f| f.severity != Severity::Warning) {
        return Err(findings);
    }
    let (routes, chains) = routes::lower(config, &router, around)?;
    let snapshot = Snapshot {
        generation: around.generation,
        router,
        routes,
        upstreams: upstreams::lower(config, around),
        listeners: listeners::lower(config, around),
        path_policy: routes::path_policy(config),
        forwarding: forwarding(config),
        challenges: Arc::clone(around.challenges),
        overload: Overload {
            lag_max: config.overload.lag_max.unwrap_or_default(),
            memory_max: config.overload.memory_max.unwrap_or_default(),
        },
        chains,
    };
    Ok((snapshot, findings))
}

/// Finds what is wrong with the routes of a configuration that cannot be compiled yet.
pub fn judge(config: &Config) -> Vec<Diagnostic> {
    match routes::router(config) {
        Ok(router) => conflicts(config, &router),
        Err(faults) => faults,
    }
}

/// A listener's address as the data plane names it.
pub fn listen_addr(listen: &ringgate_config::model::ListenAddr) -> Addr {
    match listen {
        ringgate_config::model::ListenAddr::Tcp(tcp) => Addr::Tcp(*tcp),
        ringgate_config::model::ListenAddr::Unix(path) => Addr::Unix(path.clone()),
    }
}

fn forwarding(config: &Config) -> ForwardingPolicy {
    let policy = &config.forwarded;
    let networks = policy.trusted.iter();
    ForwardingPolicy {
        trusted: TrustedNetworks::new(networks.map(|net| (net.addr(), net.prefix_len()))),
        emit: ringgate_core::http::Emit {
            x_forwarded: policy.x_forwarded,
            forwarded: policy.forwarded,
        },
        via: policy.via.clone(),
        request_id: policy.request_id.clone(),
        reserved: access::reserved(config),
        secret_parameters: access::secret_parameters(config),
    }
}

#[cfg(test)]
mod tests;
