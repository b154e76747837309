//! Questions to others that are under way: of the requests of one core that want the same
//! answer, one asks and the rest wait for it. How many are under way is bounded.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::queue::SegQueue;
use ringgate_core::errand::{Done, Errand};

/// Questions of one core to one service, by what is asked about.
pub(crate) struct Flights<V> {
    by_key: HashMap<Box<[u8]>, Rc<Flight<V>>, ahash::RandomState>,
    under_way: Rc<Cell<usize>>,
}

/// What a request does about its question.
pub(crate) enum Turn<V> {
    /// It asks.
    Ask(Lead<V>),
    /// Another one asks: the errand ends when that one has its answer.
    Wait(Follower<V>, Box<Errand>),
    /// Too many ask already.
    Full,
}

/// A question that is under way.
struct Flight<V> {
    answer: RefCell<Option<V>>,
    crowd: Arc<Crowd>,
}

/// Who waits for an answer. They are woken by any thread, so this is shared as if between some.
#[derive(Default)]
struct Crowd {
    over: AtomicBool,
    waiting: SegQueue<Done>,
}

/// A question and who waits for its answer.
type Under<V> = (Box<[u8]>, Rc<Flight<V>>);

/// Whoever asks. Dropped with or without an answer, it wakes those who wait.
pub(crate) struct Lead<V> {
    flight: Option<Under<V>>,
    under_way: Rc<Cell<usize>>,
}

/// Whoever waits.
pub(crate) struct Follower<V>(Rc<Flight<V>>);

/// What came of a wait.
pub(crate) enum Landed<V> {
    /// The answer.
    Answer(V),
    /// None that is for others: the asker has gone, or its answer is for itself.
    Nothing,
    /// The question is still under way.
    TooLate,
}

/// Questions of one core that are under way to one service at most.
pub(crate) const UNDER_WAY_MAX: usize = 1024;

impl<V> Default for Flights<V> {
    fn default() -> Flights<V> {
        Flights {
            by_key: HashMap::with_hasher(ahash::RandomState::new()),
            under_way: Rc::default(),
        }
    }
}

impl<V: Clone> Flights<V> {
    /// A question that others may have as well.
    pub(crate) fn board(&mut self, key: &[u8], timeout: Duration) -> Turn<V> {
        if let Some(flight) = self.by_key.get(key)
            && !flight.crowd.over.load(Ordering::Acquire)
        {
            let crowd = Arc::clone(&flight.crowd);
            let errand = Errand {
                hand_over: Box::new(move |done| crowd.join(done)),
                timeout,
            };
            return Turn::Wait(Follower(Rc::clone(flight)), Box::new(errand));
        }
        let Turn::Ask(mut lead) = self.alone() else {
            return Turn::Full;
        };
        if self.by_key.len() >= UNDER_WAY_MAX {
            // Those whose askers went away without a word.
            self.by_key
                .retain(|_, flight| !flight.crowd.over.load(Ordering::Acquire));
        }
        let flight = Rc::new(Flight {
            answer: RefCell::new(None),
            crowd: Arc::default(),
        });
        self.by_key.insert(key.into(), Rc::clone(&flight));
        lead.flight = Some((key.into(), flight));
        Turn::Ask(lead)
    }

    /// A question that is nobody else's.
    pub(crate) fn alone(&mut self) -> Turn<V> {
        let count = self.under_way.get();
        if count >= UNDER_WAY_MAX {
            return Turn::Full;
        }
        self.under_way.set(count + 1);
        Turn::Ask(Lead {
            flight: None,
            under_way: Rc::clone(&self.under_way),
        })
    }

    /// The answer has come, or it is known that none will; those who wait get it where it is
    /// for them.
    pub(crate) fn land(&mut self, mut lead: Lead<V>, answer: Option<V>) {
        if let Some((key, flight)) = &mut lead.flight {
            *flight.answer.borrow_mut() = answer;
            if let Some(known) = self.by_key.get(&**key)
                && Rc::ptr_eq(known, flight)
            {
                self.by_key.remove(&**key);
            }
        }
    }
}

impl<V> Lead<V> {
    /// What is asked about, where others may ask about it as well.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.flight.as_ref().map(|(key, _)| &**key)
    }
}

impl<V> Drop for Lead<V> {
    fn drop(&mut self) {
        self.under_way.set(self.under_way.get().saturating_sub(1));
        if let Some((_, flight)) = &self.flight {
            flight.crowd.disperse();
        }
    }
}

impl<V: Clone> Follower<V> {
    /// What came of it.
    pub(crate) fn landed(&self) -> Landed<V> {
        if !self.0.crowd.over.load(Ordering::Acquire) {
            return Landed::TooLate;
        }
        match &*self.0.answer.borrow() {
            Some(answer) => Landed::Answer(answer.clone()),
            None => Landed::Nothing,
        }
    }
}

impl Crowd {
    fn join(&self, done: Done) {
        self.waiting.push(done);
        if self.over.load(Ordering::Acquire) {
            self.disperse();
        }
    }

    fn disperse(&self) {
        self.over.store(true, Ordering::Release);
        // Each wakes its request as it is dropped.
        while self.waiting.pop().is_some() {}
    }
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flights({})", self.under_way.get())
    }
}

impl<V> fmt::Debug for Lead<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lead")
    }
}

impl<V> fmt::Debug for Follower<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follower")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1);

    fn lead(flights: &mut Flights<u32>, key: &[u8]) -> Lead<u32> {
        match flights.board(key, LONG) {
            Turn::Ask(lead) => lead,
            _ => panic!("somebody asks already"),
        }
    }

    fn follow(flights: &mut Flights<u32>, key: &[u8]) -> Follower<u32> {
        match flights.board(key, LONG) {
            Turn::Wait(follower, errand) => {
                (errand.hand_over)(Done::unheard());
                follower
            }
            _ => panic!("nobody asks"),
        }
    }

    #[test]
    fn one_asks_and_the_others_get_its_answer() {
        let mut flights = Flights::default();
        let first = lead(&mut flights, b"a");
        let (second, other) = (follow(&mut flights, b"a"), lead(&mut flights, b"b"));
        assert!(matches!(second.landed(), Landed::TooLate));
        flights.land(first, Some(7));
        assert!(matches!(second.landed(), Landed::Answer(7)));
        flights.land(other, None);
        // It is asked anew.
        drop(lead(&mut flights, b"a"));
    }

    #[test]
    fn whoever_waits_for_one_that_goes_away_is_told() {
        let mut flights = Flights::default();
        let first = lead(&mut flights, b"a");
        let second = follow(&mut flights, b"a");
        drop(first);
        assert!(matches!(second.landed(), Landed::Nothing));
        drop(lead(&mut flights, b"a"));
    }

    #[test]
    fn so_many_ask_and_no_more() {
        let mut flights = Flights::default();
        let asking: Vec<_> = (0..UNDER_WAY_MAX)
            .map(|number| lead(&mut flights, &number.to_le_bytes()))
            .collect();
        assert!(matches!(flights.board(b"x", LONG), Turn::Full));
        assert!(matches!(flights.alone(), Turn::Full));
        drop(asking);
        drop(lead(&mut flights, b"x"));
        assert!(flights.by_key.len() <= UNDER_WAY_MAX);
    }
}
