//! What pages and rosters ask of a breaker.

use std::sync::atomic::Ordering;

use super::word::{Kind, Tickets};
use super::{Breaker, BreakerState};
use crate::policy;
use crate::resilience::Counts;
use crate::rt::clock::Moment;

impl Breaker {
    /// Until when no request passes, if that is so at `now`: for keeping an endpoint out of the
    /// choice. [`changed`] is called whenever this changes but by time.
    ///
    /// [`changed`]: crate::fleet::UpstreamState::changed
    pub fn blocked_until(&self, now: Moment) -> Option<Moment> {
        let word = self.word();
        let blocks = match word.kind() {
            Kind::Closed => false,
            Kind::Open => true,
            Kind::HalfOpen => {
                let tickets = Tickets::of(self.tickets.load(Ordering::Acquire));
                tickets.generation == word.generation() && tickets.full
            }
        };
        (blocks && word.until() > now).then(|| word.until())
    }

    /// Where it stands.
    pub fn state(&self) -> BreakerState {
        let word = self.word();
        let since = Moment(self.shared.since.load(Ordering::Relaxed));
        let why = self.shared.why.value();
        match word.kind() {
            Kind::Closed => BreakerState::Closed,
            Kind::Open => BreakerState::Open {
                since,
                until: word.until(),
                why,
            },
            Kind::HalfOpen => {
                let tickets = Tickets::of(self.tickets.load(Ordering::Acquire));
                let tickets = tickets.at(word.generation());
                BreakerState::HalfOpen {
                    since,
                    issued: tickets.issued,
                    succeeded: tickets.succeeded,
                    why,
                }
            }
        }
    }

    /// The window as of now, over all cores; empty unless it is closed.
    pub fn counts(&self, spec: &policy::Breaker, now: Moment) -> Counts {
        self.counts_of(self.word(), spec, now)
    }

    /// How often it has opened, failed trials included.
    pub fn opened(&self) -> u64 {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// How often a trial has closed it.
    pub fn closed(&self) -> u64 {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// Requests that it did not let pass.
    pub fn refused(&self) -> u64 {
        let counted = self.counted.get();
        counted.map_or(0, |cores| cores.sum(|one| &one.refused))
    }
}
