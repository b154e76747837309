//! A breaker's state in one word, and the tickets of its trial requests in another.

use crate::rt::clock::Moment;

/// Kind, generation and end: 2, 14 and 48 bits. The end is in microseconds, which lasts for
/// eight years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Closed,
    Open,
    HalfOpen,
}

const KIND_SHIFT: u32 = 62;
const GENERATION_SHIFT: u32 = 48;
const GENERATION_MASK: u16 = (1 << (KIND_SHIFT - GENERATION_SHIFT)) - 1;
const UNTIL_MASK: u64 = (1 << GENERATION_SHIFT) - 1;

impl Word {
    pub(super) const fn of(packed: u64) -> Word {
        Word(packed)
    }

    pub(super) const fn packed(self) -> u64 {
        self.0
    }

    fn new(kind: Kind, generation: u16, until: Moment) -> Word {
        let until = until.0.div_ceil(1000).min(UNTIL_MASK);
        let generation = u64::from(generation & GENERATION_MASK);
        Word((kind as u64) << KIND_SHIFT | generation << GENERATION_SHIFT | until)
    }

    #[inline]
    pub(super) const fn kind(self) -> Kind {
        match self.0 >> KIND_SHIFT {
            0 => Kind::Closed,
            1 => Kind::Open,
            _ => Kind::HalfOpen,
        }
    }

    /// Differs from the former one whenever the kind does.
    #[inline]
    pub(super) const fn generation(self) -> u16 {
        (self.0 >> GENERATION_SHIFT) as u16 & GENERATION_MASK
    }

    /// When the next step is due; none is for a closed breaker.
    pub(super) const fn until(self) -> Moment {
        Moment((self.0 & UNTIL_MASK) * 1000)
    }

    /// The word of another state.
    pub(super) fn turned(self, kind: Kind, until: Moment) -> Word {
        Word::new(kind, self.generation().wrapping_add(1), until)
    }

    /// The same state for longer.
    pub(super) fn renewed(self, until: Moment) -> Word {
        Word::new(self.kind(), self.generation(), until)
    }

    /// Whether it is a trial of this generation.
    pub(super) fn is_trial(self, generation: u16) -> bool {
        self.kind() == Kind::HalfOpen && self.generation() == generation
    }
}

/// Trial requests of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tickets {
    pub(super) generation: u16,
    /// Let pass, the successful ones included.
    pub(super) issued: u16,
    pub(super) succeeded: u16,
    /// Whether no more may pass.
    pub(super) full: bool,
}

impl Tickets {
    pub(super) const fn of(packed: u64) -> Tickets {
        Tickets {
            generation: (packed >> 48) as u16,
            full: packed >> 32 & 1 == 1,
            issued: (packed >> 16) as u16,
            succeeded: packed as u16,
        }
    }

    pub(super) fn packed(self) -> u64 {
        u64::from(self.generation) << 48
            | u64::from(self.full) << 32
            | u64::from(self.issued) << 16
            | u64::from(self.succeeded)
    }

    /// Those of a generation: none yet where these are of another.
    pub(super) fn at(self, generation: u16) -> Tickets {
        if self.generation == generation {
            return self;
        }
        Tickets {
            generation,
            ..Tickets::default()
        }
    }

    /// With one more let pass, if that may be.
    pub(super) fn claim(self, probes: u16) -> Option<Tickets> {
        (self.issued < probes).then(|| Tickets {
            issued: self.issued + 1,
            full: self.issued + 1 == probes,
            ..self
        })
    }

    /// With one that turned out to be no trial.
    pub(super) fn give_back(self) -> Tickets {
        Tickets {
            issued: self.issued.saturating_sub(1).max(self.succeeded),
            full: false,
            ..self
        }
    }

    /// With one more success.
    pub(super) fn succeed(self) -> Tickets {
        let succeeded = self.succeeded.saturating_add(1);
        Tickets {
            succeeded,
            issued: self.issued.max(succeeded),
            ..self
        }
    }

    /// With those that are under way given up for lost; successes stay.
    pub(super) fn reissue(self) -> Tickets {
        Tickets {
            issued: self.succeeded,
            full: false,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_what_they_are_made_of() {
        let word = Word::of(0);
        assert_eq!((word.kind(), word.generation()), (Kind::Closed, 0));
        let until = Moment(5_000_000_001);
        let open = word.turned(Kind::Open, until);
        assert_eq!((open.kind(), open.generation()), (Kind::Open, 1));
        assert_eq!(open.until(), Moment(5_000_001_000));
        let mut last = open;
        for _ in 0..20_000 {
            last = last.turned(Kind::HalfOpen, until);
        }
        assert!(last.is_trial((1 + 20_000) & GENERATION_MASK));
        assert_eq!(last.until(), open.until());
    }

    #[test]
    fn tickets_hold_what_they_are_made_of() {
        let tickets = Tickets::default().at(16_000).claim(2);
        let Some(tickets) = tickets else {
            panic!("the first ticket is there")
        };
        assert_eq!(Tickets::of(tickets.packed()), tickets);
        assert!(!tickets.full);
        let last = tickets.claim(2);
        assert!(last.is_some_and(|last| last.full && last.claim(2).is_none()));
    }
}
