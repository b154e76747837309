//! How endpoints stand, all things together: checks, operators, ejections, breakers, slow start.

use std::time::{Duration, SystemTime};

use ringgate_config::model::Upstream as Written;
use ringgate_control::health::State as Checked;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Endpoint;
use serde_json::{Value, json};

use super::drains::Drains;
use super::health::{self, Standings, rfc3339};

/// Now, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Moment,
    wall: SystemTime,
}

impl Clock {
    pub(super) fn read() -> Clock {
        Clock {
            now: Moment::now(),
            wall: SystemTime::now(),
        }
    }

    /// The calendar's time of a moment.
    pub(super) fn wall(&self, at: Moment) -> SystemTime {
        match at > self.now {
            true => self.wall + at.since(self.now),
            false => self.wall - self.now.since(at),
        }
    }
}

/// What is known beside the endpoints' own states.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) standings: &'k Standings,
    pub(super) drains: &'k Drains,
    pub(super) slow_start: Duration,
    pub(super) clock: Clock,
}

/// How an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is taken out, by an operator or by its weight.
    Drained,
    /// It failed requests.
    Ejected,
    /// Its checks fail.
    Unhealthy,
    /// It is back, with a growing share.
    SlowStart,
    /// Its checks are good.
    Healthy,
    /// Nothing is said against it.
    Unchecked,
}

impl Word {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Word::Drained => "drained",
            Word::Ejected => "ejected",
            Word::Unhealthy => "unhealthy",
            Word::SlowStart => "slow_start",
            Word::Healthy => "healthy",
            Word::Unchecked => "unchecked",
        }
    }
}

/// How an endpoint stands, why, since when and until when.
#[derive(Debug, Clone)]
pub(super) struct Stands {
    pub(super) word: Word,
    why: String,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl Known<'_> {
    /// Of several reasons the one that lasts longest goes first.
    pub(super) fn stands(&self, written: &Written, endpoint: &Endpoint) -> Stands {
        let state = &endpoint.state;
        let stands = |word, why: &str, since, until| Stands {
            word,
            why: why.to_owned(),
            since,
            until,
        };
        if state.is_drained() {
            let since = self.drains.since(&written.name, endpoint);
            return stands(Word::Drained, "an operator has drained it", since, None);
        }
        if endpoint.weight == 0 {
            return stands(Word::Drained, "the configuration drains it", None, None);
        }
        let checked = health::standing(written, endpoint, self.standings);
        if let Some(bad) = checked.filter(|standing| standing.state == Checked::Unhealthy) {
            return stands(Word::Unhealthy, &bad.why, Some(bad.since), None);
        }
        if let Some(until) = state.ejected_until(self.clock.now) {
            let until = Some(self.clock.wall(until));
            return stands(Word::Ejected, "requests to it failed", None, until);
        }
        let back = state.available_since();
        let full = back.after(self.slow_start);
        if back.0 > 0 && full > self.clock.now {
            let (since, until) = (self.clock.wall(back), self.clock.wall(full));
            let why = "it is back, and gets a growing share";
            return stands(Word::SlowStart, why, Some(since), Some(until));
        }
        match checked {
            Some(standing) => {
                let word = match standing.state {
                    Checked::Unchecked => Word::Unchecked,
                    Checked::Healthy | Checked::Unhealthy => Word::Healthy,
                };
                stands(word, &standing.why, Some(standing.since), None)
            }
            None => stands(Word::Unchecked, "nothing speaks against it", None, None),
        }
    }

    /// An endpoint as JSON.
    pub(super) fn show(&self, written: &Written, endpoint: &Endpoint) -> Value {
        let stands = self.stands(written, endpoint);
        let checked = health::standing(written, endpoint, self.standings);
        let stats = &endpoint.state.stats;
        json!({
            "address": endpoint.addr.to_string(),
            "configured": &*endpoint.authority,
            "weight": endpoint.weight,
            "priority": endpoint.priority,
            "zone": endpoint.zone.as_deref(),
            "state": stands.word.as_str(),
            "why": stands.why,
            "since": stands.since.map(rfc3339),
            "until": stands.until.map(rfc3339),
            "in_flight": endpoint.state.active(),
            "requests": stats.sum(|stats| &stats.requests),
            "failures": stats.sum(|stats| &stats.failures),
            "health": health::show_endpoint(checked),
        })
    }
}

/// Has endpoints that came to a running upstream begin with a small share.
pub(super) fn begin_slowly(former: &[Endpoint], fresh: &[Endpoint], now: Moment) {
    let was_there = |endpoint: &Endpoint| {
        let mut former = former.iter();
        former.any(|one| one.addr == endpoint.addr && one.authority == endpoint.authority)
    };
    if former.is_empty() {
        return;
    }
    for endpoint in fresh.iter().filter(|endpoint| !was_there(endpoint)) {
        endpoint.state.available_from(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ringgate_core::fleet::EndpointState;
    use ringgate_core::rt::Addr;

    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            addr: Addr::Tcp(([127, 0, 0, 1], port).into()),
            weight: 1,
            priority: 0,
            zone: None,
            state: Arc::new(EndpointState::new(1)),
            authority: "origin".into(),
        }
    }

    #[test]
    fn only_what_comes_to_a_running_upstream_begins_slowly() {
        let (old, new) = (endpoint(1), endpoint(2));
        begin_slowly(&[], std::slice::from_ref(&old), Moment(5));
        begin_slowly(
            std::slice::from_ref(&old),
            &[old.clone(), new.clone()],
            Moment(5),
        );
        assert_eq!(old.state.available_since(), Moment(0), "always was");
        assert_eq!(new.state.available_since(), Moment(5));
    }
}
