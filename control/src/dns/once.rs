//! The lookups of a start or a reload: all at once, all done by one deadline.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lookup::Names;
use super::{DnsOptions, LOOKUPS_MAX};
use crate::node::Target;

/// What became of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The target as it was given.
    pub target: Target,
    /// Its addresses (not empty, no duplicates, IPv4 first), or why there are none.
    pub outcome: Result<Vec<SocketAddr>, String>,
}

/// Looks every target up, in the order given, and returns after `deadline` at the latest.
/// Blocks; must not be called on a worker. Names that fail here are tried again in the
/// background once the control plane runs.
pub fn resolve_once(
    targets: &[Target],
    deadline: Duration,
    options: &DnsOptions,
) -> Vec<Resolution> {
    if targets.is_empty() {
        return Vec::new();
    }
    // A thread of its own, since the caller may be inside another runtime.
    let found = std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("ringgate-dns".to_owned())
            .spawn_scoped(scope, || lookups(targets, deadline, options))
            .map_err(|cause| cause.to_string())?
            .join()
            .map_err(|_| "the lookup panicked; please report this".to_owned())?
    });
    targets
        .iter()
        .map(|target| Resolution {
            target: target.clone(),
            outcome: match &found {
                Ok(found) => found
                    .get(target.endpoint.as_str())
                    .cloned()
                    .unwrap_or_else(|| Err(late(deadline)))
                    .map(|addresses| {
                        addresses
                            .into_iter()
                            .map(|address| SocketAddr::new(address, target.port))
                            .collect()
                    }),
                Err(cause) => Err(cause.clone()),
            },
        })
        .collect()
}

type Found = BTreeMap<String, Result<Vec<std::net::IpAddr>, String>>;

fn lookups(targets: &[Target], deadline: Duration, options: &DnsOptions) -> Result<Found, String> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| format!("no runtime for lookups: {cause}"))?;
    let names: std::collections::BTreeSet<_> = targets.iter().map(|t| t.endpoint.clone()).collect();
    let found = runtime.block_on(async move {
        let until = Instant::now() + deadline;
        let resolver = Names::new(Arc::new(options.clone()));
        let mut waiting = names.into_iter();
        let mut running = JoinSet::new();
        let mut found = Found::new();
        loop {
            while running.len() < LOOKUPS_MAX
                && let Some(name) = waiting.next()
            {
                let resolver = resolver.clone();
                running.spawn(async move {
                    let answer = resolver.lookup(&name).await;
                    (name, answer)
                });
            }
            match tokio::time::timeout_at(until, running.join_next()).await {
                Ok(Some(Ok((name, answer)))) => {
                    let outcome = answer
                        .map(|answer| answer.addresses)
                        .map_err(|cause| cause.to_string());
                    found.insert(name, outcome);
                }
                // A lookup that panicked counts as one that is late.
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => return found,
            }
        }
    });
    runtime.shutdown_background();
    Ok(found)
}

fn late(deadline: Duration) -> String {
    format!("not resolved within {deadline:?}")
}
