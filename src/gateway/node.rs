//! What the control plane asks of the gateway.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ringgate_config::model::Upstream;
use ringgate_control::cluster::Cluster;
use ringgate_control::consumers::Source;
use ringgate_control::quota::Quotas;
use ringgate_control::{
    Cause, Drain, Exposition, Node, NotReady, Readiness, ReloadRefused, ReloadReport, Shutdown,
    Target,
    acme::{Proof, Settings},
    health, jwks,
};
use ringgate_core::rt::clock::Moment;
use ringgate_core::upstream::EndpointUpdate;
use ringgate_core::worker::Command;
use serde_json::Value;

use super::{Gateway, Request, State, acme, endpoints, issuers, oauth, reload, start};
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
        for (worker, beat) in self.feel_pulses().into_iter().enumerate() {
            if let Beat::Stopped { silent } | Beat::Silent { silent } = beat {
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

    fn reload(&self, _cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        let (reply, result) = channel();
        // A main thread that is gone drops the reply, which is an answer too.
        let _ = self.requests.send(Request::Reload(reply));
        result.recv().unwrap_or_else(|_| Err(reload::draining()))
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
        let written = &state.config.upstreams[index];
        let former = compile::endpoints(written, &state.addresses, &self.registry);
        let key = start::key(upstream, endpoint, port);
        state.addresses.insert(key, addresses.to_vec());
        let written = &state.config.upstreams[index];
        let fresh = compile::endpoints(written, &state.addresses, &self.registry);
        endpoints::begin_slowly(&former, &fresh, Moment::now());
        self.tell_standings(&mut state);
        self.send_endpoints(&state, &state.config.upstreams[index]);
    }

    fn resolve_targets(&self) -> Vec<Target> {
        compile::targets(&self.state().config)
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        let state = self.state();
        acme::without_storage(&state.config, state.watched.clone())
    }

    fn health_checks(&self) -> Vec<health::Target> {
        let state = self.state();
        super::health::targets(
            &state.config,
            (&state.addresses, &self.registry),
            &state.tls,
        )
    }

    fn judged(&self, upstream: &str, standings: Vec<(health::Place, health::Standing)>) {
        let mut state = self.state();
        match standings.is_empty() {
            true => drop(state.health.remove(upstream)),
            false => {
                let standings = standings.into_iter().collect();
                state.health.insert(upstream.into(), standings);
            }
        }
        let mut upstreams = state.config.upstreams.iter();
        if let Some(written) = upstreams.find(|written| &**written.name == upstream) {
            let around = (&state.addresses, &*self.registry);
            super::health::tell(written, around, &state.health, Moment::now());
        }
    }

    fn drain(&self, upstream: &str, endpoint: &str, to: Drain) -> Result<Value, String> {
        self.drain_endpoint(upstream, endpoint, to)
    }

    fn resume_canary(&self, route: &str) -> Result<Value, String> {
        self.resume_canary_of(route)
    }

    fn acme(&self) -> Option<Settings> {
        acme::settings(&self.state().config)
    }

    fn prove(&self, proof: &Proof) -> Result<(), String> {
        acme::prove(&self.challenges, proof)
    }

    fn withdraw(&self, proof: &Proof) {
        acme::withdraw(&self.challenges, proof);
    }

    fn limits(&self) -> Value {
        self.limits.show()
    }

    fn quotas(&self) -> Option<Quotas> {
        self.limits.quotas()
    }

    fn consumer_source(&self) -> Option<Source> {
        let config = self.state().config.clone();
        self.backoffice.consumers.source(&config)
    }

    fn oauth_clients(&self) -> Vec<ringgate_control::oauth::Client> {
        let config = self.state().config.clone();
        oauth::clients(&config, &self.backoffice.backends().tokens)
    }

    fn clusters(&self) -> Vec<Cluster> {
        let config = self.state().config.clone();
        self.limits.clusters(&config)
    }

    fn issuers(&self) -> Vec<jwks::Issuer> {
        let (config, issuers) = {
            let state = self.state();
            (state.config.clone(), state.issuers.clone())
        };
        issuers::shown(&config, &issuers)
    }

    fn key_sources(&self) -> Vec<jwks::Source> {
        let config = self.state().config.clone();
        self.backoffice.backends().keys.wanted(&config)
    }

    fn keys_fetched(&self, place: &jwks::Place, document: &[u8]) -> Result<jwks::Loaded, String> {
        issuers::fetched(&self.backoffice.backends().keys, place, document)
    }

    fn keys_missed(&self, place: &jwks::Place) {
        issuers::missed(&self.backoffice.backends().keys, place);
    }

    fn shutdown(&self, _cause: Shutdown) {
        // From now on nobody should send traffic here, even if the main thread is busy.
        self.draining.store(true, Ordering::Release);
        // Nobody listens any more when the shutdown is under way already.
        let _ = self.requests.send(Request::Stop);
    }

    fn reopen_logs(&self) -> io::Result<()> {
        match &self.state().access {
            Some(access) => access.reopen(),
            None => Ok(()),
        }
    }
}

impl Gateway {
    /// Tells the workers where an upstream's requests go now. The state is locked, so they hear
    /// of changes in the order they happened.
    fn send_endpoints(&self, state: &State, upstream: &Upstream) {
        let endpoints = compile::endpoints(upstream, &state.addresses, &self.registry);
        let mut upstreams = state.snapshot.upstreams.iter();
        if let Some(known) = upstreams.find(|known| *known.name == **upstream.name) {
            known.prepare(&endpoints);
        }
        for mailbox in &self.mailboxes {
            mailbox.send(Command::Endpoints(EndpointUpdate {
                upstream: (&**upstream.name).into(),
                endpoints: endpoints.clone(),
            }));
        }
    }

    /// Has every core go by what is known of endpoints: by checks, and by operators. For those
    /// that have just come, or are checked no longer.
    pub(super) fn tell_standings(&self, state: &mut State) {
        let (now, around) = (Moment::now(), (&state.addresses, &*self.registry));
        for written in &state.config.upstreams {
            super::health::tell(written, around, &state.health, now);
        }
        state.drains.renew(&state.config, around, now);
    }

    /// Whether each worker still turns its loop.
    pub(super) fn feel_pulses(&self) -> Vec<Beat> {
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = self.registry.workers.iter().zip(pulses.iter_mut());
        workers
            .map(|(stats, pulse)| pulse.feel(stats.ticks.value(), Instant::now()))
            .collect()
    }
}

/// When a worker was last seen to move.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pulse {
    ticks: u64,
    seen: Option<Instant>,
    life: Life,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Moving,
    Still,
}

/// What a look at a worker's pulse says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// It moves.
    Steady,
    /// It has not moved for too long, and this is the first look to say so.
    Stopped {
        /// Since the last look that saw it move.
        silent: Duration,
    },
    /// It still does not move.
    Silent {
        /// Since the last look that saw it move.
        silent: Duration,
    },
    /// It moves again.
    Resumed,
}

impl Pulse {
    /// Looks again.
    fn feel(&mut self, ticks: u64, now: Instant) -> Beat {
        let Some(seen) = self.seen.filter(|_| ticks == self.ticks) else {
            self.ticks = ticks;
            self.seen = Some(now);
            return match std::mem::take(&mut self.life) {
                Life::Moving => Beat::Steady,
                Life::Still => Beat::Resumed,
            };
        };
        let silent = now.saturating_duration_since(seen);
        if silent <= SILENCE_MAX {
            return Beat::Steady;
        }
        match std::mem::replace(&mut self.life, Life::Still) {
            Life::Moving => Beat::Stopped { silent },
            Life::Still => Beat::Silent { silent },
        }
    }
}

/// Twenty ticks of a worker.
const SILENCE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_ticks_is_alive_and_one_that_does_not_is_not() {
        let mut pulse = Pulse::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let silent = |ms| Duration::from_millis(ms);
        assert_eq!(pulse.feel(5, at(0)), Beat::Steady);
        assert_eq!(pulse.feel(5, at(1_900)), Beat::Steady);
        assert_eq!(pulse.feel(6, at(3_000)), Beat::Steady);
        let stopped = Beat::Stopped {
            silent: silent(2_500),
        };
        assert_eq!(pulse.feel(6, at(5_500)), stopped);
        let still = Beat::Silent {
            silent: silent(3_000),
        };
        assert_eq!(pulse.feel(6, at(6_000)), still);
        assert_eq!(pulse.feel(7, at(60_000)), Beat::Resumed);
        assert_eq!(pulse.feel(8, at(90_000)), Beat::Steady);
    }
}
