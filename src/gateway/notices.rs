//! Lines of the operational log about what policies do by themselves: ejections, breakers,
//! panic, overload, canaries that halt. Workers write none: the main thread looks once a second
//! and says what has changed since. What comes and goes between two looks is in the metrics only.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringgate_core::fleet::{EndpointState, UpstreamState};
use ringgate_core::resilience::breaker::{Breaker, BreakerState};
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::{Route, Upstream};
use ringgate_core::stats::WorkerStats;
use ringgate_filters::Filter;
use tracing::{info, warn};

use super::endpoints::{endpoint_breaker, upstream_breaker, why_ejected, why_open};
use super::{Gateway, State};

/// How things stood at the last look.
#[derive(Debug, Default)]
pub(super) struct Notices {
    upstreams: HashMap<Box<str>, Seen>,
    levels: Vec<u64>,
    halted: HashSet<Box<str>>,
    said: Said,
}

/// How an upstream stood.
#[derive(Debug, Default)]
struct Seen {
    changes: u32,
    panics: bool,
    breaker: SeenBreaker,
    /// Endpoints that something was said of, by address and authority.
    endpoints: HashMap<String, SeenEndpoint>,
}

#[derive(Debug, Default, Clone, Copy)]
struct SeenEndpoint {
    is_ejected: bool,
    breaker: SeenBreaker,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct SeenBreaker {
    turn: Turn,
    opened: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    #[default]
    Closed,
    Open,
    HalfOpen,
}

impl SeenBreaker {
    fn of(breaker: &Breaker) -> SeenBreaker {
        SeenBreaker {
            turn: match breaker.state() {
                BreakerState::Closed => Turn::Closed,
                BreakerState::Open { .. } => Turn::Open,
                BreakerState::HalfOpen { .. } => Turn::HalfOpen,
            },
            opened: breaker.opened(),
        }
    }
}

impl SeenEndpoint {
    fn is_plain(self) -> bool {
        !self.is_ejected && self.breaker.turn == Turn::Closed
    }
}

/// What a line is about. Each subject has lines of its own, so that endpoints that come and go
/// do not hide a worker that is overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Ejections,
    Breakers,
    Panic,
    Overload,
    Canaries,
}

impl Subject {
    const ALL: [Subject; 5] = [
        Subject::Ejections,
        Subject::Breakers,
        Subject::Panic,
        Subject::Overload,
        Subject::Canaries,
    ];

    const fn name(self) -> &'static str {
        match self {
            Subject::Ejections => "ejected endpoints",
            Subject::Breakers => "circuit breakers",
            Subject::Panic => "panic mode",
            Subject::Overload => "overload",
            Subject::Canaries => "canaries",
        }
    }
}

/// Lines that a subject may have in [`LINES_IN`]; of further changes only their number is told.
const LINES_MAX: u32 = 20;
const LINES_IN: Duration = Duration::from_secs(60);

/// What was said of each subject of late.
#[derive(Debug, Default)]
struct Said([Recent; Subject::ALL.len()]);

#[derive(Debug, Default, Clone, Copy)]
struct Recent {
    since: Option<Instant>,
    lines: u32,
    withheld: u64,
}

impl Said {
    /// Whether another line may be written.
    fn may(&mut self, subject: Subject) -> bool {
        let recent = &mut self.0[subject as usize];
        recent.since.get_or_insert_with(Instant::now);
        let may = recent.lines < LINES_MAX;
        match may {
            true => recent.lines += 1,
            false => recent.withheld += 1,
        }
        may
    }

    /// Changes without a line, by subject, of which the time is over.
    fn take_withheld(&mut self, now: Instant) -> Vec<(Subject, u64)> {
        let mut withheld = Vec::new();
        for subject in Subject::ALL {
            let recent = &mut self.0[subject as usize];
            let is_over = |since: Instant| now.saturating_duration_since(since) >= LINES_IN;
            if recent.since.is_some_and(is_over) {
                let ended = std::mem::take(recent);
                withheld.extend((ended.withheld > 0).then_some((subject, ended.withheld)));
            }
        }
        withheld
    }
}

impl Gateway {
    /// Says what has changed since the last look.
    pub(super) fn tell_changes(&self, notices: &mut Notices) {
        let now = Moment::now();
        {
            let state = self.state();
            notices.look_at_upstreams(&state, now);
            notices.look_at_canaries(&state.snapshot.routes);
        }
        notices.look_at_workers(self.registry.workers.iter());
        for (subject, changes) in notices.said.take_withheld(Instant::now()) {
            warn!(
                changes,
                "more has changed about {} than has lines of its own; `ringgate upstreams` and /metrics show how all stand",
                subject.name()
            );
        }
    }
}

impl Notices {
    fn look_at_upstreams(&mut self, state: &State, now: Moment) {
        let Notices {
            upstreams, said, ..
        } = self;
        if upstreams.len() > state.snapshot.upstreams.len() {
            let known: HashSet<&str> = state.snapshot.upstreams.iter().map(|u| &*u.name).collect();
            upstreams.retain(|name, _| known.contains(&**name));
        }
        for upstream in &state.snapshot.upstreams {
            if !upstreams.contains_key(&upstream.name) {
                upstreams.insert(upstream.name.clone(), Seen::default());
            }
            if let Some(seen) = upstreams.get_mut(&upstream.name) {
                seen.look(upstream, said, now);
            }
        }
    }

    fn look_at_canaries(&mut self, routes: &[Route<Filter>]) {
        for route in routes.iter().filter(|route| route.policy.canary.is_some()) {
            match route.state.ramp.halted() {
                Some(halted) if !self.halted.contains(&route.name) => {
                    self.halted.insert(route.name.clone());
                    if self.said.may(Subject::Canaries) {
                        warn!(
                            route = &*route.name,
                            requests = halted.requests,
                            failures = halted.failures,
                            share = halted.share,
                            "the canary has halted: too many of its requests failed, and it gets none until it is resumed; look at its upstream, then POST /routes/{}/canary/resume",
                            route.name
                        );
                    }
                }
                None if self.halted.remove(&route.name) && self.said.may(Subject::Canaries) => {
                    info!(route = &*route.name, "the canary is not halted any more");
                }
                _ => {}
            }
        }
    }

    fn look_at_workers<'w>(&mut self, workers: impl Iterator<Item = &'w WorkerStats>) {
        for (worker, stats) in workers.enumerate() {
            let level = stats.overload_level.value();
            if self.levels.len() <= worker {
                self.levels.resize(worker + 1, 0);
            }
            let before = std::mem::replace(&mut self.levels[worker], level);
            if before == level || !self.said.may(Subject::Overload) {
                continue;
            }
            let refused = match level {
                0 => {
                    info!(
                        worker,
                        before, "the worker refuses no requests for overload any more"
                    );
                    continue;
                }
                1 => "low urgency",
                2 => "low and normal urgency",
                _ => "all urgencies but critical",
            };
            warn!(
                worker,
                level,
                before,
                "the worker has too much to do, and refuses requests of {refused}; ringgate_worker_lag_seconds and process_resident_memory_bytes tell which bound of [overload] it is"
            );
        }
    }
}

impl Seen {
    fn look(&mut self, upstream: &Upstream, said: &mut Said, now: Moment) {
        let shared = &upstream.state;
        self.look_at_panic(upstream, said);
        let changes = shared.changes();
        // An ejection ends by time, without a change.
        let ejected = self.endpoints.values().any(|seen| seen.is_ejected);
        if changes == self.changes && !ejected {
            return;
        }
        self.changes = changes;
        if upstream_breaker(upstream).is_some() {
            let place = (&*upstream.name, None);
            self.breaker = tell_turns(&shared.breaker, self.breaker, place, said);
        }
        self.look_at_endpoints(upstream, shared, said, now);
    }

    fn look_at_panic(&mut self, upstream: &Upstream, said: &mut Said) {
        let panics = upstream.state.panics.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.panics, panics) == panics || !said.may(Subject::Panic) {
            return;
        }
        let upstream = &*upstream.name;
        match panics {
            true => warn!(
                upstream,
                "too few endpoints are well: checks and ejections are not believed, and all endpoints get requests; look at the origins, `ringgate upstreams` shows what is said of each"
            ),
            false => info!(
                upstream,
                "enough endpoints are well again: only they get requests"
            ),
        }
    }

    fn look_at_endpoints(
        &mut self,
        upstream: &Upstream,
        shared: &UpstreamState,
        said: &mut Said,
        now: Moment,
    ) {
        let breaks = endpoint_breaker(upstream).is_some();
        let mut former = std::mem::take(&mut self.endpoints);
        shared.each_endpoint(|addr, authority, endpoint| {
            let place = format!("{addr} {authority}");
            let before = former.remove(&place).unwrap_or_default();
            let names = (&*upstream.name, addr);
            let mut seen = SeenEndpoint {
                is_ejected: tell_ejection(endpoint, before.is_ejected, names, said, now),
                breaker: before.breaker,
            };
            if breaks {
                let names = (names.0, Some(addr));
                seen.breaker = tell_turns(&endpoint.breaker, before.breaker, names, said);
            }
            if !seen.is_plain() || seen.breaker.opened > 0 {
                self.endpoints.insert(place, seen);
            }
        });
    }
}

/// Says that an endpoint was ejected, or is back; returns whether it is ejected.
fn tell_ejection(
    endpoint: &EndpointState,
    was: bool,
    (upstream, address): (&str, &str),
    said: &mut Said,
    now: Moment,
) -> bool {
    let ejection = endpoint.ejection_now(now);
    match &ejection {
        Some(ejection) if !was && said.may(Subject::Ejections) => warn!(
            upstream,
            endpoint = address,
            why = why_ejected(ejection),
            seconds = ejection.until.since(ejection.since).as_secs(),
            "the endpoint is ejected: it gets no requests for a while; look at what it answers, `ringgate upstreams` shows until when"
        ),
        None if was && said.may(Subject::Ejections) => info!(
            upstream,
            endpoint = address,
            "the endpoint is back: its ejection is over"
        ),
        _ => {}
    }
    ejection.is_some()
}

/// Says how a breaker has turned; returns how it stands.
fn tell_turns(
    breaker: &Breaker,
    before: SeenBreaker,
    (upstream, endpoint): (&str, Option<&str>),
    said: &mut Said,
) -> SeenBreaker {
    let now = SeenBreaker::of(breaker);
    if now == before {
        return now;
    }
    let endpoint = endpoint.unwrap_or("all");
    if now.opened > before.opened && said.may(Subject::Breakers) {
        let why = match breaker.state() {
            BreakerState::Open { why, .. } | BreakerState::HalfOpen { why, .. } => why_open(&why),
            BreakerState::Closed => "for less than a second".to_owned(),
        };
        warn!(
            upstream,
            endpoint,
            why,
            times = now.opened - before.opened,
            "the circuit breaker has opened: its requests go elsewhere, to the fallback, or get 503 until a trial succeeds; look at what the origin answers"
        );
    }
    match now.turn {
        Turn::HalfOpen if before.turn != now.turn && said.may(Subject::Breakers) => info!(
            upstream,
            endpoint, "the circuit breaker is half open: trial requests decide whether it closes"
        ),
        Turn::Closed if said.may(Subject::Breakers) => {
            info!(upstream, endpoint, "the circuit breaker has closed again");
        }
        _ => {}
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_fleet_is_summed_up() {
        let mut said = Said::default();
        let lines = (0..100).filter(|_| said.may(Subject::Ejections)).count();
        assert_eq!(lines as u32, LINES_MAX);
        assert!(said.may(Subject::Panic), "others have lines of their own");
        let now = Instant::now();
        assert_eq!(said.take_withheld(now), []);
        let withheld = said.take_withheld(now + LINES_IN);
        assert_eq!(withheld, [(Subject::Ejections, 100 - u64::from(LINES_MAX))]);
        assert!(said.may(Subject::Ejections), "another minute has begun");
    }
}
