//! Bounds the requests that a key has under way at a time, on all cores together.
//!
//! A place is part of the exchange's memory and is given back with it, so it cannot be lost: not
//! by a filter behind this one that answers, a client that leaves, or a panic.

use std::fmt;
use std::sync::Arc;

use ringgate_core::answer;
use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::counts::{Counts, Place};
use ringgate_core::key::{Key, KeyNames, RouteNames};

use crate::Filter;

/// The most requests of a key under way at a time.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    /// What requests are told apart by.
    pub key: Key,
    /// The names that keys refer to, by the index of the route.
    pub routes: Arc<[RouteNames]>,
    /// Requests of one key at a time.
    pub max: u32,
    /// The counts, shared by all cores and kept over reloads.
    pub counts: Arc<Counts>,
    /// What a request beyond gets: 429 or another status.
    pub status: u16,
}

/// In logs and metrics.
pub(crate) const CONCURRENCY_LIMIT: &str = "concurrency_limit";

/// The places that one exchange has taken.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Most routes have one such filter: only more of them take memory.
    first: Option<Taken>,
    more: Vec<Taken>,
}

/// A place that is given back when it is dropped.
struct Taken {
    // Counted by all cores: a write to a shared line, as the count itself is one.
    counts: Arc<Counts>,
    place: Place,
}

impl fmt::Debug for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.counts.leave(self.place);
    }
}

impl ConcurrencyLimit {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let Some(place) = self.counts.try_enter(self.hash(phase), self.max) else {
            let id = phase.attributes.request_id.as_bytes();
            let mut answer = answer::refusal(self.status, CONCURRENCY_LIMIT, phase.head, id);
            if !answer
                .fields
                .iter()
                .any(|(name, _)| &**name == "retry-after")
            {
                answer
                    .fields
                    .push(("retry-after".into(), b"1".as_slice().into()));
            }
            return Verdict::Respond(Box::new(answer));
        };
        phase.scratch.places.hold(Taken {
            counts: Arc::clone(&self.counts),
            place,
        });
        Verdict::Continue
    }

    fn hash(&self, phase: &RequestPhase<'_, Filter>) -> u64 {
        let names = KeyNames::of(&self.routes, phase.attributes);
        let seed = self.counts.seed();
        self.key.hash(seed, phase.head, phase.attributes, &names)
    }

    pub(crate) fn describe(&self) -> String {
        format!("concurrency_limit: {} at a time by {}", self.max, self.key)
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        let names = KeyNames::of(&self.routes, phase.attributes);
        let mut key = Vec::new();
        self.key
            .write(phase.head, phase.attributes, &names, &mut key);
        let taken = self.counts.taken(self.hash(phase));
        let key = String::from_utf8_lossy(&key);
        Some(format!("key {key}: {taken} of {} under way", self.max))
    }
}

impl Held {
    fn hold(&mut self, taken: Taken) {
        match self.first {
            None => self.first = Some(taken),
            Some(_) => self.more.push(taken),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_core::key::Part;

    fn limit(max: u32, counts: &Arc<Counts>) -> Filter {
        Filter::ConcurrencyLimit(ConcurrencyLimit {
            key: Key {
                parts: [Part::Header("x-user".into())].into(),
                ipv4_prefix: 32,
                ipv6_prefix: 64,
            },
            routes: [].into(),
            max,
            counts: Arc::clone(counts),
            status: 429,
        })
    }

    fn of(user: &str) -> Exchange {
        let mut exchange = Exchange::default();
        let fields = &mut exchange.head.fields;
        fields.add("x-user", user.as_bytes()).unwrap();
        exchange
    }

    #[test]
    fn a_key_has_its_places_until_its_exchanges_end() {
        let filter = limit(2, &Arc::new(Counts::new(100)));
        let (mut first, mut second, mut third) = (of("a"), of("a"), of("a"));
        assert!(passes(&first.request_head(&filter)));
        assert!(passes(&second.request_head(&filter)));
        let Verdict::Respond(answer) = third.request_head(&filter) else {
            panic!("one too many passed")
        };
        assert_eq!((answer.status, answer.code), (429, "concurrency_limit"));
        let fields = answer.fields.iter();
        let retry = fields.filter(|(name, _)| &**name == "retry-after");
        assert_eq!(retry.count(), 1);
        assert!(passes(&of("b").request_head(&filter)));
        drop(first);
        assert!(passes(&third.request_head(&filter)));
    }

    #[test]
    fn several_limits_hold_a_place_each() {
        let counts = [100, 200].map(|keys| Arc::new(Counts::new(keys)));
        let filters = [limit(5, &counts[0]), limit(1, &counts[1])];
        let mut exchange = of("a");
        assert!(filters.iter().all(|f| passes(&exchange.request_head(f))));
        let mut other = of("a");
        assert!(passes(&other.request_head(&filters[0])));
        assert!(!passes(&other.request_head(&filters[1])));
        drop((exchange, other));
        assert!((0..5).all(|_| counts[0].try_enter(1, 5).is_some()));
        let mut again = of("a");
        assert!(filters.iter().all(|f| passes(&again.request_head(f))));
    }

    #[test]
    fn a_panic_gives_the_place_back() {
        let filter = limit(1, &Arc::new(Counts::new(100)));
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut exchange = of("a");
            assert!(passes(&exchange.request_head(&filter)));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        assert!(passes(&of("a").request_head(&filter)));
    }
}
