//! How the servers stand that limits are shared through: written by their sessions, read by the
//! admin API and the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::{Cluster, Presence};
use crate::exposition::{Exposition, Kind};

/// Every server of the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Board {
    servers: Mutex<BTreeMap<Box<str>, Status>>,
}

#[derive(Debug)]
struct Status {
    address: String,
    nodes: u32,
    presence: Presence,
    since: Instant,
    /// Why it is away; `None` before the first attempt.
    why: Option<String>,
    answered: u64,
    failed: u64,
    took: Duration,
    limits: Vec<Figures>,
}

/// The figures of one limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) policy: Box<str>,
    pub(super) position: usize,
    /// With the server, and without it.
    pub(super) bounds: [u64; 2],
    pub(super) observed: u64,
    pub(super) leased: u64,
    pub(super) back: u64,
    pub(super) debt: u64,
}

impl Figures {
    fn bound(&self, presence: Presence) -> u64 {
        match presence {
            Presence::Answers => self.bounds[0],
            Presence::Away => self.bounds[1],
        }
    }
}

impl Board {
    /// Shows these servers and no others.
    pub(super) fn adopt(&self, clusters: &[Cluster]) {
        let mut servers = self.servers();
        servers.retain(|name, _| clusters.iter().any(|cluster| cluster.name == *name));
        for cluster in clusters {
            let status = servers
                .entry(cluster.name.clone())
                .or_insert_with(|| Status {
                    address: String::new(),
                    nodes: 0,
                    presence: Presence::Away,
                    since: Instant::now(),
                    why: None,
                    answered: 0,
                    failed: 0,
                    took: Duration::ZERO,
                    limits: Vec::new(),
                });
            status.address = cluster.url.to_string();
            status.nodes = cluster.nodes;
        }
    }

    /// It answers, and debts are settled.
    pub(super) fn answers(&self, name: &str) {
        self.change(name, |status| {
            if status.presence == Presence::Away {
                let away_for_ms = status.since.elapsed().as_millis() as u64;
                let redis = name;
                match status.why.take() {
                    None => info!(redis, address = status.address, "limits are shared"),
                    Some(_) => info!(
                        redis,
                        address = status.address,
                        away_for_ms,
                        "limits are shared again"
                    ),
                }
                status.presence = Presence::Answers;
                status.since = Instant::now();
            }
        });
    }

    /// It does not answer.
    pub(super) fn away(&self, name: &str, why: String) {
        self.change(name, |status| {
            status.failed += 1;
            if status.presence == Presence::Answers || status.why.is_none() {
                warn!(
                    redis = name,
                    address = status.address,
                    why,
                    share = format!("1/{}", status.nodes),
                    "limits are not shared: each node admits its share until the server answers"
                );
            }
            if status.presence == Presence::Answers {
                status.presence = Presence::Away;
                status.since = Instant::now();
            }
            status.why = Some(why);
        });
    }

    /// A question was answered.
    pub(super) fn answered(&self, name: &str, took: Duration) {
        self.change(name, |status| {
            status.answered += 1;
            status.took = took;
        });
    }

    pub(super) fn figures(&self, name: &str, figures: Vec<Figures>) {
        self.change(name, |status| status.limits = figures);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Status)) {
        if let Some(status) = self.servers().get_mut(name) {
            change(status);
        }
    }

    /// For the admin API.
    pub(crate) fn to_json(&self) -> Value {
        let servers = self.servers();
        let each = servers.iter();
        each.map(|(name, status)| {
            json!({
                "name": name,
                "address": status.address,
                "nodes": status.nodes,
                "state": match (status.presence, &status.why) {
                    (Presence::Answers, _) => "answers",
                    (Presence::Away, None) => "connecting",
                    (Presence::Away, Some(_)) => "away",
                },
                "why": status.why,
                "for_seconds": status.since.elapsed().as_secs(),
                "calls_answered": status.answered,
                "calls_failed": status.failed,
                "last_call_us": status.took.as_micros() as u64,
                "limits": status.limits.iter().map(|figures| json!({
                    "filter": figures.policy,
                    "limit": figures.position,
                    "bound": figures.bound(status.presence),
                    "observed": figures.observed,
                    "leased": figures.leased,
                    "returned": figures.back,
                    "owed_and_settled": figures.debt,
                })).collect::<Vec<_>>(),
            })
        })
        .collect()
    }

    /// Nothing where nothing is shared.
    pub(crate) fn write(&self, out: &mut Exposition) {
        let servers = self.servers();
        if servers.is_empty() {
            return;
        }
        out.family(
            "ringgate_redis_up",
            Kind::Gauge,
            "1 while limits are shared through the server, 0 while each node admits its share.",
        );
        for (name, status) in &*servers {
            let up = u64::from(status.presence == Presence::Answers);
            out.sample(&[("redis", name)], up);
        }
        out.family(
            "ringgate_redis_calls_total",
            Kind::Counter,
            "Calls of the server by result; attempts to connect count as failed ones.",
        );
        for (name, status) in &*servers {
            let redis = ("redis", &**name);
            out.sample(&[redis, ("result", "answered")], status.answered);
            out.sample(&[redis, ("result", "failed")], status.failed);
        }
        out.family(
            "ringgate_redis_call_seconds",
            Kind::Gauge,
            "What the last call of the server took.",
        );
        for (name, status) in &*servers {
            out.sample(&[("redis", name)], status.took.as_secs_f64());
        }
        write_limits(&servers, out);
    }

    fn servers(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Status>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_limits(servers: &BTreeMap<Box<str>, Status>, out: &mut Exposition) {
    type Read = fn(&Figures, Presence) -> u64;
    let families: [(&str, Kind, &str, Read); 5] = [
        (
            "ringgate_shared_limit_bound",
            Kind::Gauge,
            "What all nodes together admit of one key within a window at most, as this node sees the server now.",
            |figures, presence| figures.bound(presence),
        ),
        (
            "ringgate_shared_limit_observed",
            Kind::Gauge,
            "The most that this node took for one key in the last whole window.",
            |figures, _| figures.observed,
        ),
        (
            "ringgate_shared_limit_leased_total",
            Kind::Counter,
            "Tokens that this node was granted.",
            |figures, _| figures.leased,
        ),
        (
            "ringgate_shared_limit_returned_total",
            Kind::Counter,
            "Tokens that this node gave back unused.",
            |figures, _| figures.back,
        ),
        (
            "ringgate_shared_limit_debt_total",
            Kind::Counter,
            "Tokens that this node used ahead of a grant, or from its share, and has settled.",
            |figures, _| figures.debt,
        ),
    ];
    for (family, kind, help, read) in families {
        out.family(family, kind, help);
        for status in servers.values() {
            for figures in &status.limits {
                let position = figures.position.to_string();
                let labels = [("filter", &*figures.policy), ("limit", &position)];
                out.sample(&labels, read(figures, status.presence));
            }
        }
    }
}
