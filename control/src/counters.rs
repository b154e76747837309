//! The control plane's own metrics: plain atomics, since nothing here is per request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::cluster;
use crate::exposition::{Exposition, Kind};
use crate::health;
use crate::jwks;
use crate::oauth;
use crate::supervise::Task;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    restarts: [AtomicU64; Task::ALL.len()],
    pub(crate) reloads_applied: AtomicU64,
    pub(crate) reloads_refused: AtomicU64,
    pub(crate) lookups_answered: AtomicU64,
    pub(crate) lookups_failed: AtomicU64,
    pub(crate) names: AtomicU64,
    pub(crate) names_failing: AtomicU64,
    pub(crate) admin_refused: AtomicU64,
    pub(crate) health: health::Board,
    pub(crate) clusters: cluster::Board,
    pub(crate) oauth: oauth::Board,
    pub(crate) jwks: jwks::Board,
}

impl Counters {
    pub(crate) fn restarted(&self, task: Task) {
        self.restarts[task as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        out.family(
            "ringgate_control_task_restarts_total",
            Kind::Counter,
            "Control-plane tasks started again after a panic.",
        );
        for task in Task::ALL {
            let count = self.restarts[task as usize].load(Relaxed);
            out.sample(&[("task", task.name())], count);
        }
        out.family(
            "ringgate_reloads_total",
            Kind::Counter,
            "Configuration reloads by result.",
        );
        out.sample(&[("result", "applied")], self.reloads_applied.load(Relaxed));
        out.sample(&[("result", "refused")], self.reloads_refused.load(Relaxed));
        out.family(
            "ringgate_dns_lookups_total",
            Kind::Counter,
            "Name lookups in the background by result.",
        );
        out.sample(
            &[("result", "answered")],
            self.lookups_answered.load(Relaxed),
        );
        out.sample(&[("result", "failed")], self.lookups_failed.load(Relaxed));
        out.family(
            "ringgate_dns_names",
            Kind::Gauge,
            "Names that endpoints are configured with.",
        );
        out.sample(&[], self.names.load(Relaxed));
        out.family(
            "ringgate_dns_names_failing",
            Kind::Gauge,
            "Names whose last lookup failed; their last good addresses stay in use.",
        );
        out.sample(&[], self.names_failing.load(Relaxed));
        out.family(
            "ringgate_admin_connections_refused_total",
            Kind::Counter,
            "Admin connections refused because too many were open.",
        );
        out.sample(&[], self.admin_refused.load(Relaxed));
        self.health.write(out);
        self.clusters.write(out);
        self.oauth.write(out);
        self.jwks.write(out);
    }
}
