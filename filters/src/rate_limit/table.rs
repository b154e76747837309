//! The table of a ledger: a fixed number of slots, each a key and one word of state.
//!
//! A key lives in one group of [`GROUP`] slots and is looked for there from its home on. Once
//! taken, a slot is never empty again: a newcomer takes over the first slot whose key is idle,
//! or the first empty one. So a look ends at the first empty slot, and a key cannot lie behind
//! one.
//!
//! What is decided is decided by one compare-and-swap of the state word. Keys change only while
//! the group's flag is held and the word says [`BUSY`]: whoever swaps a word has loaded it, and
//! then the key, so a swap for a former key fails, unless the next key's word happens to be
//! the same: so the key is looked at once more after the swap. The flag keeps two cores from giving the same
//! key two slots. Nobody waits for it longer than a bounded number of looks: a core that finds
//! it held by a thread that does not run is told so, and grants nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use ringgate_core::rt::clock::Moment;
use zerocopy::FromZeros;

/// Slots of a group.
const GROUP: usize = 64;
/// The lowest bit of a state word: the slot changes its key.
pub(super) const BUSY: u64 = 1;
/// The lowest bit of a group's flag.
const HELD: u64 = 1;
/// Looks at a flag or a busy word before a core gives up.
const LOOKS_MAX: u32 = 4096;
/// Words of a slot.
const SLOT: usize = 2;
/// Words of a cache line.
const LINE: usize = 8;

/// Keys and their words.
pub(super) struct Table {
    /// Key and state by turns, from the first cache line on.
    words: Box<[AtomicU64]>,
    first: usize,
    /// When the group last gave a slot to another key, and in the lowest bit whether it is about
    /// to.
    flags: Box<[AtomicU64]>,
    /// `extra` words a slot for what does not fit the state.
    extra: Box<[AtomicU64]>,
    extra_per_slot: usize,
}

/// A slot's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// Where a key was put.
pub(super) enum Placed {
    /// It was there, or another core was faster.
    Known(Slot),
    /// It is new here.
    New(Slot),
    /// All slots of its group have keys that are not idle.
    Full,
    /// A key of its group was pushed out at a later moment than the asker's: it may have been
    /// this one, so it can be placed from that moment on.
    Late(Moment),
}

impl Table {
    /// A table for `keys_max` keys at a time, with half as many slots more so that groups do
    /// not fill up by chance: at 64 slots and 43 keys in the mean, one group in 2,000 holds a
    /// key that finds no place. Memory comes zeroed, so it is resident as keys come.
    pub(super) fn new(keys_max: usize, extra_per_slot: usize) -> Table {
        let groups = (keys_max + keys_max / 2).div_ceil(GROUP).max(1);
        let slots = groups * GROUP;
        let words: Box<[AtomicU64]> = zeroed(slots * SLOT + LINE);
        let first = before_line(words.as_ptr().addr());
        Table {
            words,
            first,
            flags: zeroed(groups),
            extra: zeroed(slots * extra_per_slot),
            extra_per_slot,
        }
    }

    /// Bytes that it takes when all of it is in use.
    pub(super) fn bytes(&self) -> usize {
        (self.words.len() + self.flags.len() + self.extra.len()) * size_of::<AtomicU64>()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.flags.len() * GROUP).map(Slot)
    }

    #[inline]
    pub(super) fn key(&self, slot: Slot) -> &AtomicU64 {
        &self.words[self.first + slot.0 * SLOT]
    }

    #[inline]
    pub(super) fn state(&self, slot: Slot) -> &AtomicU64 {
        &self.words[self.first + slot.0 * SLOT + 1]
    }

    pub(super) fn extra(&self, slot: Slot) -> &[AtomicU64] {
        let begin = slot.0 * self.extra_per_slot;
        &self.extra[begin..begin + self.extra_per_slot]
    }

    /// The slots that a key may lie in, from its home on.
    #[inline]
    fn places(&self, key: u64) -> impl Iterator<Item = Slot> + use<> {
        // The group by the upper half of the hash, the home by the lower one.
        let group = ((u128::from(key) * self.flags.len() as u128) >> 64) as usize;
        let home = key as usize;
        (0..GROUP).map(move |step| Slot(group * GROUP + (home + step) % GROUP))
    }

    /// The slot of a key.
    #[inline]
    pub(super) fn find(&self, key: u64) -> Option<Slot> {
        for slot in self.places(key) {
            match self.key(slot).load(Ordering::Acquire) {
                found if found == key => return Some(slot),
                0 => return None,
                _ => {}
            }
        }
        None
    }

    /// The word of a slot, if the slot is still the key's: what a compare-and-swap may start
    /// from.
    #[inline]
    pub(super) fn word_of(&self, slot: Slot, key: u64) -> Option<u64> {
        let word = self.state(slot).load(Ordering::Acquire);
        let still = self.key(slot).load(Ordering::Relaxed) == key;
        (still && word & BUSY == 0).then_some(word)
    }

    /// Replaces a word that [`Table::word_of`] returned for a key. False also when the slot had
    /// been given to another key whose word is the same: whatever was issued, that one bears.
    #[inline]
    pub(super) fn swap(&self, slot: Slot, key: u64, word: u64, by: u64) -> bool {
        self.replace(slot, word, by) && self.key(slot).load(Ordering::Acquire) == key
    }

    #[inline]
    fn replace(&self, slot: Slot, word: u64, by: u64) -> bool {
        let state = self.state(slot);
        let swapped = state.compare_exchange(word, by, Ordering::AcqRel, Ordering::Relaxed);
        swapped.is_ok()
    }

    /// Gives a key a slot with the word `fresh`, in place of one whose word is idle. `None`
    /// when another thread holds the group and does not get on.
    pub(super) fn place(
        &self,
        key: u64,
        fresh: impl Fn(Slot) -> u64,
        now: Moment,
        is_idle: impl Fn(Slot, u64) -> bool,
    ) -> Option<Placed> {
        let group = ((u128::from(key) * self.flags.len() as u128) >> 64) as usize;
        let flag = &self.flags[group];
        let last = patiently(|| {
            let last = flag.load(Ordering::Relaxed) & !HELD;
            let held =
                flag.compare_exchange(last, last | HELD, Ordering::Acquire, Ordering::Relaxed);
            held.is_ok().then_some(last)
        })?;
        let (placed, taken_at) = self.place_held(key, fresh, now, Moment(last >> 1), is_idle);
        flag.store(taken_at.0 << 1, Ordering::Release);
        Some(placed)
    }

    /// Also returns when the group last gave a slot to another key.
    fn place_held(
        &self,
        key: u64,
        fresh: impl Fn(Slot) -> u64,
        now: Moment,
        last: Moment,
        is_idle: impl Fn(Slot, u64) -> bool,
    ) -> (Placed, Moment) {
        let mut taken = None;
        for slot in self.places(key) {
            match self.key(slot).load(Ordering::Relaxed) {
                found if found == key => return (Placed::Known(slot), last),
                0 => {
                    taken = taken.or(Some(slot));
                    break;
                }
                _ if taken.is_some() => {}
                _ => {
                    let word = self.state(slot).load(Ordering::Acquire);
                    taken = is_idle(slot, word).then_some(slot);
                }
            }
        }
        if now < last {
            return (Placed::Late(last), last);
        }
        let Some(slot) = taken else {
            return (Placed::Full, last);
        };
        let word = self.state(slot).load(Ordering::Acquire);
        // Somebody may have asked for the idle key just now. It is rare enough that the
        // newcomer goes without rather than looks for another one.
        let is_empty = self.key(slot).load(Ordering::Relaxed) == 0;
        if !(is_empty || is_idle(slot, word)) || !self.replace(slot, word, word | BUSY) {
            return (Placed::Full, last);
        }
        self.key(slot).store(key, Ordering::Release);
        self.state(slot).store(fresh(slot), Ordering::Release);
        (Placed::New(slot), if is_empty { last } else { now })
    }
}

/// Looks again and again, but not for ever.
pub(super) fn patiently<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..LOOKS_MAX {
        if let Some(seen) = look() {
            return Some(seen);
        }
        std::hint::spin_loop();
    }
    None
}

/// So many zeroes. Pages that nobody has touched are not resident.
pub(super) fn zeroed<T>(count: usize) -> Box<[T]>
where
    [T]: FromZeros + zerocopy::KnownLayout<PointerMetadata = usize>,
{
    <[T]>::new_box_zeroed_with_elems(count)
        .unwrap_or_else(|_| panic!("no memory for a table of {count} words"))
}

/// Words from an address to the next cache line.
pub(super) fn before_line(addr: usize) -> usize {
    let bytes = LINE * size_of::<u64>();
    (bytes - addr % bytes) % bytes / size_of::<u64>()
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("slots", &(self.flags.len() * GROUP))
            .finish_non_exhaustive()
    }
}
