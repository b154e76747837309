//! Sets of words, each a tag of a key and a value, changed by compare-and-swap alone.

use std::sync::atomic::{AtomicU64, Ordering};

/// A table of sets. The low `VALUE` bits of a word are a value that counts from a floor: zero for
/// counts, the time of now for buckets. At or below the floor the word is free.
#[derive(Debug)]
pub(super) struct Table<const VALUE: u32> {
    sets: Box<[Set]>,
}

/// A cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WORDS]);

const WORDS: usize = 8;
/// The word that newcomers to a full set share. It has no tag.
const SHARED: usize = WORDS - 1;
/// Keys that a set is meant for: with as many in each on average, one set in eighty has more than
/// it has words for.
const KEYS_PER_SET: usize = 3;
/// The largest table: a gigabyte.
const SETS_MAX: usize = 1 << 24;

/// A word of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    set: u32,
    word: u8,
}

/// What came of an addition.
#[derive(Debug)]
pub(super) enum Added {
    /// It fitted.
    Yes(Entry),
    /// It did not, and nothing was added.
    No,
    /// It was added, but together with what others added meanwhile it is too much.
    Contested(Entry),
}

/// What a look at a set finds.
struct Seen {
    /// A word of the key, with what it held.
    own: Option<(usize, u64)>,
    /// A word of nobody, with what it held.
    free: Option<(usize, u64)>,
    /// The shared word.
    shared: u64,
    /// Above the floor, in all words of the key.
    load: u64,
}

impl<const VALUE: u32> Table<VALUE> {
    const VALUE_MAX: u64 = (1 << VALUE) - 1;

    pub(super) fn new(keys_max: usize) -> Table<VALUE> {
        let sets = keys_max
            .div_ceil(KEYS_PER_SET)
            .clamp(1, SETS_MAX)
            .next_power_of_two();
        Table {
            sets: (0..sets).map(|_| Set::default()).collect(),
        }
    }

    /// The set by the upper bits, so that they and the tag say different things.
    fn set_of(&self, hash: u64) -> u32 {
        ((u128::from(hash) * self.sets.len() as u128) >> 64) as u32
    }

    fn tag_of(hash: u64) -> u64 {
        hash << VALUE
    }

    fn value(word: u64) -> u64 {
        word & Self::VALUE_MAX
    }

    fn look(&self, set: u32, tag: u64, floor: u64) -> Seen {
        let words = &self.sets[set as usize].0;
        let mut seen = Seen {
            own: None,
            free: None,
            shared: words[SHARED].load(Ordering::SeqCst),
            load: 0,
        };
        for (index, word) in words[..SHARED].iter().enumerate() {
            let word = word.load(Ordering::SeqCst);
            let load = Self::value(word).saturating_sub(floor);
            if load == 0 {
                seen.free.get_or_insert((index, word));
            } else if word & !Self::VALUE_MAX == tag {
                seen.own.get_or_insert((index, word));
                seen.load += load;
            }
        }
        seen
    }

    /// Above the floor, of a key or of those it shares a word with.
    pub(super) fn load(&self, hash: u64, floor: u64) -> u64 {
        let seen = self.look(self.set_of(hash), Self::tag_of(hash), floor);
        match seen.own {
            Some(_) => seen.load,
            None => Self::value(seen.shared).saturating_sub(floor),
        }
    }

    /// Adds to a key unless it has more than `most` above the floor then.
    pub(super) fn add(&self, hash: u64, floor: u64, amount: u64, most: u64) -> Added {
        let (set, tag) = (self.set_of(hash), Self::tag_of(hash));
        loop {
            let seen = self.look(set, tag, floor);
            let above = |word: u64| Self::value(word).saturating_sub(floor);
            // A word of its own only for a key that nothing in the shared word may belong to.
            let (index, word, load) = match (seen.own, seen.free) {
                (Some((index, word)), _) => (index, word, seen.load),
                (None, Some((index, word))) if above(seen.shared) == 0 => (index, word, 0),
                _ => (SHARED, seen.shared, above(seen.shared)),
            };
            let next = Self::value(word).max(floor).saturating_add(amount);
            if load.saturating_add(amount) > most || next > Self::VALUE_MAX {
                return Added::No;
            }
            let tag_of_word = if index == SHARED { 0 } else { tag };
            let cell = &self.sets[set as usize].0[index];
            let swapped =
                cell.compare_exchange(word, tag_of_word | next, Ordering::SeqCst, Ordering::SeqCst);
            if swapped.is_err() {
                // Somebody else has got on meanwhile.
                continue;
            }
            let entry = Entry {
                set,
                word: index as u8,
            };
            let after = self.look(set, tag, floor);
            let fits = match index {
                SHARED => after.own.is_none() && above(after.shared) <= most,
                _ if seen.own.is_none() => after.load <= most && above(after.shared) == 0,
                _ => after.load <= most,
            };
            return match fits {
                true => Added::Yes(entry),
                false => Added::Contested(entry),
            };
        }
    }

    /// Takes back what was added; with the floor of counts only.
    pub(super) fn take_back(&self, entry: Entry, amount: u64) {
        // The word is that key's as long as this is in it, so the value cannot fall below zero.
        let cell = &self.sets[entry.set as usize].0[usize::from(entry.word)];
        cell.fetch_sub(amount, Ordering::SeqCst);
    }
}
