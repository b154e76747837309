//! What the control plane asks of the gateway.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ringgate_control::{
    Cause, Exposition, Node, NotReady, Readiness, ReloadRefused, ReloadReport, Shutdown, Target,
};
use ringgate_core::upstream::EndpointUpdate;
use ringgate_core::worker::Command;
use serde_json::Value;

use super::{Gateway, start};
use crate::compile;

impl Node for Gateway {
    fn metrics(&self, out: &mut Exposition) {
        self.write_metrics(out);
    }

    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.is_draining() {
            reasons.push(NotReady::Draining);
        }
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.registry.workers.iter().zip(pulse.iter_mut());
        for (worker, (stats, pulse)) in workers.enumerate() {
            if let Some(silent) = pulse.feel(stats.ticks.value(), Instant::now()) {
                reasons.push(NotReady::WorkerStalled {
                    worker,
                    silent_ms: silent.as_millis() as u64,
                });
            }
        }
        match reasons.is_empty() {
            true => Readiness::Ready,
            false => Readiness::NotReady(reasons),
        }
    }

    fn config(&self) -> Value {
        let config = self.state().config.clone();
        config.to_json()
    }

    fn upstreams(&self) -> Value {
        self.show_upstreams()
    }

    fn routes(&self) -> Value {
        self.show_routes()
    }

    fn version(&self) -> Value {
        crate::version::facts()
    }

    fn reload(&self, cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        self.reload_file(cause)
    }

    fn resolved(&self, upstream: &str, endpoint: &str, addresses: &[SocketAddr]) {
        let Some(port) = addresses.first().map(SocketAddr::port) else {
            return;
        };
        let mut state = self.state();
        let Some(index) = state
            .config
            .upstreams
            .iter()
            .position(|written| &**written.name == upstream)
        else {
            return;
        };
        let key = start::key(upstream, endpoint, port);
        state.addresses.insert(key, addresses.to_vec());
        let endpoints = compile::endpoints(&state.config.upstreams[index], &state.addresses);
        // Sent under the lock, so that workers hear of changes in the order they happened.
        for mailbox in &self.mailboxes {
            mailbox.send(Command::Endpoints(EndpointUpdate {
                upstream: upstream.into(),
                endpoints: endpoints.clone(),
            }));
        }
    }

    fn resolve_targets(&self) -> Vec<Target> {
        compile::targets(&self.state().config)
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        self.state().watched.clone()
    }

    fn shutdown(&self, cause: Shutdown) {
        // Nobody listens any more when the shutdown is under way already.
        let _ = self.shutdown.send(cause);
    }

    fn reopen_logs(&self) -> io::Result<()> {
        if let Some(access) = &self.state().access {
            access.reopen();
        }
        Ok(())
    }
}

/// When a worker was last seen to move.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pulse {
    ticks: u64,
    seen: Option<Instant>,
}

impl Pulse {
    /// Looks again; says for how long the worker has not moved, if that is too long.
    fn feel(&mut self, ticks: u64, now: Instant) -> Option<Duration> {
        match self.seen {
            Some(seen) if ticks == self.ticks => {
                let silent = now.saturating_duration_since(seen);
                (silent > SILENCE_MAX).then_some(silent)
            }
            _ => {
                *self = Pulse {
                    ticks,
                    seen: Some(now),
                };
                None
            }
        }
    }
}

/// Twenty ticks of a worker.
const SILENCE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ticks_is_alive_and_one_that_does_not_is_not() {
        let mut pulse = Pulse::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pulse.feel(5, at(0)), None);
        assert_eq!(pulse.feel(5, at(1_900)), None);
        assert_eq!(pulse.feel(6, at(3_000)), None);
        let silent = pulse.feel(6, at(5_500)).unwrap();
        assert_eq!(silent, Duration::from_millis(2_500));
        assert_eq!(pulse.feel(7, at(60_000)), None);
    }
}
