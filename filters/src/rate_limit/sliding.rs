//! Words of the sliding window: 19 bits of a sub-window's number, 22 bits of what was issued in
//! the sub-windows before it, 22 bits of what was issued in it, the busy bit. Beside the word
//! lies a ring with the counts of the sub-windows that are over, and behind it the latest
//! sub-window that a word of the slot was written in: no word is of a later one, so that its
//! few bits tell the number however long ago it was.
//!
//! Everything is decided by the word alone: it holds the whole sum. When a core finds the word
//! of a former sub-window, it writes that one's count into the ring, adds up the ring for the
//! new sub-window, and swaps the word; if the count has moved on meanwhile, the swap fails and
//! it begins again. Entries of the ring only ever grow: a core that was held up writes an older
//! sub-window, which changes nothing, or too high a count of the same one. So the sum is never
//! less than what was issued, and a core that does not get on stops nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ledger::{Answered, Ask};
use super::numbers::{Numbers, SUBS, Sliding};
use ringgate_core::rt::clock::Moment;

/// Bits of a count.
const COUNT_BITS: u32 = 22;
/// The highest count, in grains.
pub(super) const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const SUB_MASK: u64 = (1 << 19) - 1;
/// Words of a slot beside its state: the ring, and the latest sub-window.
pub(super) const EXTRA: usize = SUBS as usize + 1;
/// Where the latest sub-window lies.
const LATEST: usize = SUBS as usize;

/// A word in parts.
#[derive(Clone, Copy)]
struct Parts {
    /// The number of its sub-window.
    sub: u64,
    /// Issued in the sub-windows before, as far as they count.
    before: u64,
    /// Issued in it.
    here: u64,
}

impl Parts {
    /// Reads a word as seen from a sub-window; `None` when it is of one yet to come.
    fn of(word: u64, seen_from: u64, ring: &[AtomicU64]) -> Option<Parts> {
        // Read after the word, and raised before one is written: it is not before the word's.
        let latest = ring[LATEST].load(Ordering::Acquire);
        let behind = latest.wrapping_sub(word >> (2 * COUNT_BITS + 1)) & SUB_MASK;
        let sub = latest.saturating_sub(behind);
        (sub <= seen_from).then_some(Parts {
            sub,
            before: word >> (COUNT_BITS + 1) & COUNT_MAX,
            here: word >> 1 & COUNT_MAX,
        })
    }

    fn word(self) -> u64 {
        (self.sub & SUB_MASK) << (2 * COUNT_BITS + 1)
            | self.before.min(COUNT_MAX) << (COUNT_BITS + 1)
            | self.here.min(COUNT_MAX) << 1
    }

    /// The same key in a sub-window that is not before this one.
    fn moved_to(self, sub: u64, ring: &[AtomicU64]) -> Parts {
        if sub == self.sub {
            return self;
        }
        let before = match sub - self.sub < SUBS {
            true => {
                write(ring, self.sub, self.here);
                (sub + 1 - SUBS.min(sub + 1)..sub)
                    .map(|sub| read(ring, sub))
                    .sum()
            }
            false => 0,
        };
        Parts {
            sub,
            before,
            here: 0,
        }
    }

    /// The same without touching the ring.
    fn seen_at(self, sub: u64, ring: &[AtomicU64]) -> u64 {
        if sub == self.sub {
            return self.before + self.here;
        }
        if sub - self.sub >= SUBS {
            return 0;
        }
        let first = sub + 1 - SUBS.min(sub + 1);
        let past: u64 = (first..self.sub).map(|sub| read(ring, sub)).sum();
        past + self.here
    }
}

fn entry(ring: &[AtomicU64], sub: u64) -> &AtomicU64 {
    &ring[(sub % SUBS) as usize]
}

/// What was issued in a sub-window that is over.
fn read(ring: &[AtomicU64], sub: u64) -> u64 {
    let found = entry(ring, sub).load(Ordering::Acquire);
    match found >> COUNT_BITS == sub {
        true => found & COUNT_MAX,
        false => 0,
    }
}

/// A later sub-window is a greater entry, and so is a higher count of the same one.
fn write(ring: &[AtomicU64], sub: u64, count: u64) {
    if count > 0 {
        entry(ring, sub).fetch_max(sub << COUNT_BITS | count, Ordering::AcqRel);
    }
}

/// Says that a word of this sub-window is about to be written.
fn raise(ring: &[AtomicU64], sub: u64) {
    let latest = &ring[LATEST];
    // A cache line that is only read is not taken away from other cores.
    if latest.load(Ordering::Acquire) < sub {
        latest.fetch_max(sub, Ordering::AcqRel);
    }
}

/// The word of a key of which nothing has been issued.
pub(super) fn fresh(sub: u64, ring: &[AtomicU64]) -> u64 {
    raise(ring, sub);
    Parts {
        sub,
        before: 0,
        here: 0,
    }
    .word()
}

pub(super) fn is_idle(word: u64, sub: u64, ring: &[AtomicU64]) -> bool {
    // Counts that are over are known to be so when their last sub-window is; the ring need not
    // be cleared for the next key, whose first word says that nothing came before.
    Parts::of(word, sub, ring)
        .is_some_and(|parts| sub - parts.sub >= SUBS || parts.before + parts.here == 0)
}

/// Forgets the counts of the sub-windows that are over.
pub(super) fn reset(sub: u64, ring: &[AtomicU64]) -> u64 {
    let counts = ring[..LATEST].iter();
    counts.for_each(|entry| entry.store(0, Ordering::Release));
    fresh(sub, ring)
}

/// Issued in the window up to a sub-window, in grains.
pub(super) fn used(word: u64, sub: u64, ring: &[AtomicU64]) -> u64 {
    Parts::of(word, sub, ring).map_or(COUNT_MAX, |parts| parts.seen_at(sub, ring))
}

/// The word after an issue, with what is answered.
pub(super) fn issue(
    numbers: &Numbers,
    sliding: &Sliding,
    word: u64,
    ring: &[AtomicU64],
    ask: &Ask,
) -> Result<(u64, Answered), Answered> {
    let sub = numbers.sub_window(ask.now);
    let Some(parts) = Parts::of(word, sub, ring) else {
        // A core that was held up: what has expired at its moment is not known any more.
        return Err(Answered::Refused {
            ask_at: ask.now,
            enough_at: numbers.begin_of(sub + 1),
            left: 0,
        });
    };
    let mut parts = parts.moved_to(sub, ring);
    let there = sliding.cap.saturating_sub(parts.before + parts.here);
    let need = u64::from(ask.need).div_ceil(sliding.grain);
    if there < need {
        return Err(refusal(numbers, sliding, parts, ring, there, need));
    }
    let grains = (ask.lease(there * sliding.grain) / sliding.grain).max(need);
    parts.here += grains;
    raise(ring, sub);
    let granted = Answered::Granted {
        tokens: u32::try_from(grains * sliding.grain).unwrap_or(u32::MAX),
        until: Moment(ask.now.0 + numbers.life),
        left: (there - grains) * sliding.grain,
    };
    Ok((parts.word(), granted))
}

#[cold]
fn refusal(
    numbers: &Numbers,
    sliding: &Sliding,
    parts: Parts,
    ring: &[AtomicU64],
    there: u64,
    need: u64,
) -> Answered {
    let first = parts.sub + 1 - SUBS.min(parts.sub + 1);
    // When so many will be there: sub-windows stop counting one by one.
    let at = |need: u64| {
        let mut freed = there;
        for sub in first..parts.sub {
            freed += read(ring, sub);
            if freed >= need {
                return numbers.begin_of(sub + SUBS);
            }
        }
        numbers.begin_of(parts.sub + SUBS)
    };
    let enough_at = at(need);
    Answered::Refused {
        ask_at: if there == 0 { at(1) } else { Moment(0) },
        enough_at,
        left: there * sliding.grain,
    }
}

/// The word when unused tokens of a lease come back; `None` when their sub-window is over.
pub(super) fn give_back(
    sliding: &Sliding,
    word: u64,
    ring: &[AtomicU64],
    unused: u64,
    issued_in: u64,
) -> Option<u64> {
    let mut parts = Parts::of(word, issued_in, ring)?;
    let back = (unused / sliding.grain).min(parts.here);
    if parts.sub != issued_in || back == 0 {
        return None;
    }
    parts.here -= back;
    Some(parts.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Vec<AtomicU64> {
        (0..EXTRA).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_word_keeps_its_parts() {
        for (sub, before, here) in [(1 << 20, 7, 9), ((1 << 30) + 5, COUNT_MAX, COUNT_MAX)] {
            let parts = Parts { sub, before, here };
            let ring = ring();
            raise(&ring, sub);
            for seen_from in [sub, sub + 3, sub + (1 << 18) + 1, sub + (1 << 40)] {
                let again = Parts::of(parts.word(), seen_from, &ring);
                let again = again.map(|p| (p.sub, p.before, p.here));
                assert_eq!(again, Some((sub, before, here)));
            }
            assert!(Parts::of(parts.word(), sub - 1, &ring).is_none());
        }
    }

    #[test]
    fn a_window_forgets_what_is_older() {
        let ring = ring();
        let begin = 1 << 20;
        let mut parts = Parts {
            sub: begin,
            before: 0,
            here: 5,
        };
        for sub in begin + 1..begin + SUBS {
            parts = parts.moved_to(sub, &ring);
            raise(&ring, sub);
            assert_eq!(parts.before, 5 + (sub - begin - 1));
            assert_eq!(
                used(parts.word(), sub + 1, &ring),
                if sub + 1 == begin + SUBS {
                    sub - begin - 1
                } else {
                    5 + (sub - begin - 1)
                }
            );
            parts.here = 1;
        }
        let after = parts.moved_to(begin + SUBS, &ring);
        assert_eq!(after.before, SUBS - 1);
        assert_eq!(after.moved_to(begin + 3 * SUBS, &ring).before, 0);
    }

    #[test]
    fn a_late_writer_never_lowers_a_count() {
        let ring = ring();
        write(&ring, 100, 7);
        write(&ring, 100, 5);
        write(&ring, 100 - SUBS, 9);
        assert_eq!((read(&ring, 100), read(&ring, 100 - SUBS)), (7, 0));
    }
}
