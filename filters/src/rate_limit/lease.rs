//! What one core holds of ledgers: for each key that it served of late, the tokens that it may
//! still use, or until when there are none. A decision touches this memory alone; the ledger
//! is asked when it does not say enough.

use std::sync::{Arc, Weak};

use ringgate_core::rt::clock::Moment;
use ringgate_core::stats::CoreIndex;

use super::ledger::{Answered, Ask, Ledger, Newness, nonzero};
use super::table::{before_line, zeroed};

/// The leases of one core, by ledger.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    tables: Vec<Option<Held>>,
}

/// What a core holds of one ledger: entries of four words, two of them a cache line. A key has
/// the two places of its line; one that is pushed out gives back what it holds.
struct Held {
    ledger: Weak<Ledger>,
    serial: u64,
    /// How long leases live, as the ledger last said.
    life: u64,
    /// The latest end of a lease so far.
    latest: u64,
    former: Former,
    seat: CoreIndex,
    words: Box<[u64]>,
    first: usize,
    lines: u64,
    /// Lines that hold more tokens than the request that leased them took.
    owing: Vec<u32>,
}

/// Leases of a time when they lived longer, before a reload.
#[derive(Clone, Copy, Default)]
struct Former {
    life: u64,
    /// All of them end by then.
    until: u64,
}

/// One entry: the key, until when its tokens are good or a refusal is believed, until when
/// there are none to be had,
/// and in one word the tokens, how many to ask for, and what was left for others.
type Entry = [u64; 4];

const KEY: usize = 0;
const GOOD_UNTIL: usize = 1;
const NONE_UNTIL: usize = 2;
const COUNTS: usize = 3;

/// Words of a line.
const LINE: usize = 8;
/// Entries of a table; what does not fit asks the ledger more often.
const ENTRIES_MAX: usize = 1 << 20;
/// Lines noted as owing; other keys lease no more than a request needs.
const OWING_MAX: usize = 1024;
/// Tokens that a core asks for at once. Bit 15 marks a line as noted.
const WANT_MAX: u64 = (1 << 15) - 1;
const NOTED: u64 = 1 << 31;
/// A lease is asked for so that it is used up in this share of its life: what a core cannot
/// use when its demand moves away is then a small part of the limit.
const PARTS: u64 = 32;
/// When a key that found no slot may ask again.
const CROWDED_NANOS: u64 = 1_000_000_000;

/// What a core knows after it has asked, if it had to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// The tokens are held, as decided by the core's clock, or by the later one of another core
    /// that the ledger knew of.
    Enough {
        /// By which moment.
        #[cfg_attr(not(test), allow(dead_code, reason = "simulations add up by it"))]
        at: Moment,
    },
    /// There are too few.
    Short {
        /// When there will be enough, if nobody else asks.
        enough_at: Moment,
    },
}

/// Which key a request has, and what it costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) hash: u64,
    /// Tokens, at least 1 and at most [`super::WEIGHT_MAX`].
    pub(super) need: u32,
    pub(super) now: Moment,
}

fn tokens(entry: &Entry) -> u64 {
    entry[COUNTS] & 0xffff
}

fn want(entry: &Entry) -> u64 {
    (entry[COUNTS] >> 16 & WANT_MAX).max(1)
}

/// Tokens to ask for when those of the entry are used up.
fn next_want(entry: &Entry, life: u64, now: Moment) -> u64 {
    // How long ago a refusal was says nothing of the demand.
    let want = match now.0 < entry[GOOD_UNTIL] && entry[NONE_UNTIL] == 0 {
        false => want(entry),
        // Used up early in its life: more; late: less.
        true => match entry[GOOD_UNTIL] - now.0 {
            rest if rest > life - life / PARTS => want(entry) * 2,
            rest if rest < life - 2 * life / PARTS => want(entry) / 2,
            _ => want(entry),
        },
    };
    want.clamp(1, WANT_MAX)
}

fn left(entry: &Entry) -> u64 {
    entry[COUNTS] >> 32
}

fn set_counts(entry: &mut Entry, tokens: u64, want: u64, left: u64) {
    let noted = entry[COUNTS] & NOTED;
    let left = left.min(u64::from(u32::MAX));
    entry[COUNTS] = left << 32 | noted | want.clamp(1, WANT_MAX) << 16 | tokens.min(0xffff);
}

impl Leases {
    /// The core's memory of a ledger.
    #[inline]
    fn held(&mut self, ledger: &Arc<Ledger>) -> &mut Held {
        let index = ledger.index;
        let is_there =
            matches!(self.tables.get(index), Some(Some(held)) if held.serial == ledger.serial);
        if !is_there {
            self.make(ledger);
        }
        match &mut self.tables[index] {
            Some(held) => held,
            None => unreachable!("it has just been made"),
        }
    }

    /// Once a core and ledger.
    #[cold]
    fn make(&mut self, ledger: &Arc<Ledger>) {
        while self.tables.len() <= ledger.index {
            self.tables.push(None);
        }
        self.tables[ledger.index] = Some(Held::new(ledger));
    }

    /// Sees to it that the core holds the tokens, asking the ledger if need be.
    #[inline]
    pub(super) fn hold(&mut self, ledger: &Arc<Ledger>, claim: &Claim) -> (Hold, Newness) {
        let held = self.held(ledger);
        let key = nonzero(claim.hash);
        let line = held.line(key);
        let entry = held.entry(key, line);
        if entry[KEY] == key {
            if tokens(entry) >= u64::from(claim.need) && claim.now.0 < entry[GOOD_UNTIL] {
                return (Hold::Enough { at: claim.now }, Newness::Known);
            }
            // A heavier request may have been refused where a lighter one would pass. And a
            // refusal is believed no longer than a lease would be: others give tokens back,
            // numbers change, accounts are reset.
            if claim.need == 1 && claim.now.0 < entry[NONE_UNTIL] && claim.now.0 < entry[GOOD_UNTIL]
            {
                let enough_at = Moment(entry[NONE_UNTIL]);
                return (Hold::Short { enough_at }, Newness::Known);
            }
        }
        held.ask(ledger, claim, line)
    }

    /// Uses tokens that [`Leases::hold`] has just found; returns how many are left, as far as
    /// this core knows.
    #[inline]
    pub(super) fn take(&mut self, ledger: &Arc<Ledger>, claim: &Claim) -> u64 {
        let held = self.held(ledger);
        let stats = ledger.stats().of(held.seat);
        stats.admitted.add(u64::from(claim.need));
        let key = nonzero(claim.hash);
        let line = held.line(key);
        let entry = held.entry(key, line);
        if entry[KEY] != key {
            return 0;
        }
        // The caller has seen that so many are there.
        entry[COUNTS] -= u64::from(claim.need).min(tokens(entry));
        left(entry) + tokens(entry)
    }

    /// Where this core counts what it does for a ledger.
    pub(super) fn seat(&mut self, ledger: &Arc<Ledger>) -> CoreIndex {
        self.held(ledger).seat
    }

    /// Gives back what has not been used in its time, and forgets ledgers that are gone.
    pub(crate) fn tick(&mut self, now: Moment) {
        for place in &mut self.tables {
            let Some(held) = place else { continue };
            if held.owing.is_empty() && held.ledger.strong_count() > 0 {
                continue;
            }
            match held.ledger.upgrade() {
                Some(ledger) => held.settle(&ledger, now),
                None => *place = None,
            }
        }
    }
}

impl Held {
    fn new(ledger: &Arc<Ledger>) -> Held {
        let entries = ledger.keys_max().next_power_of_two().clamp(2, ENTRIES_MAX);
        let lines = entries / 2;
        let words: Box<[u64]> = zeroed(lines * LINE + LINE);
        let first = before_line(words.as_ptr().addr());
        Held {
            ledger: Arc::downgrade(ledger),
            serial: ledger.serial,
            life: ledger.life(),
            latest: 0,
            former: Former::default(),
            seat: ledger.seat(),
            words,
            first,
            lines: lines as u64,
            owing: Vec::with_capacity(OWING_MAX),
        }
    }

    /// The number of a key's line.
    #[inline]
    fn line(&self, key: u64) -> usize {
        ((u128::from(key) * u128::from(self.lines)) >> 64) as usize
    }

    #[inline]
    fn entries(&mut self, line: usize) -> &mut [Entry] {
        let begin = self.first + line * LINE;
        let (entries, _) = self.words[begin..begin + LINE].as_chunks_mut::<4>();
        entries
    }

    /// The entry of a key, or one of another key where it has none. Which of the two places it
    /// is no branch could foretell, and with many keys the answer comes from memory: chosen
    /// without one, the next request's line is on its way meanwhile.
    #[inline]
    fn entry(&mut self, key: u64, line: usize) -> &mut Entry {
        let entries = self.entries(line);
        let place = usize::from(entries[0][KEY] != key);
        &mut entries[place]
    }

    /// Asks the ledger for what the core does not hold.
    #[inline(never)]
    fn ask(&mut self, ledger: &Arc<Ledger>, claim: &Claim, line: usize) -> (Hold, Newness) {
        let now = claim.now;
        let life = self.life;
        let place = self.place(ledger, nonzero(claim.hash), line, now);
        let entry = &mut self.entries(line)[place];
        let want = next_want(entry, life, now);
        // What is left over must be found again when it is over.
        let is_noted = entry[COUNTS] & NOTED != 0;
        // What is held already ends when it would have, and what comes to it then too.
        let (there, good_until) = match now.0 < entry[GOOD_UNTIL] && tokens(entry) > 0 {
            true => (tokens(entry), entry[GOOD_UNTIL]),
            false => (0, u64::MAX),
        };
        let need = claim.need - (there as u32).min(claim.need - 1);
        let may_lease = is_noted || self.owing.len() < OWING_MAX;
        let (answered, newness, at, life) = ledger.ask(&Ask {
            hash: claim.hash,
            need,
            want: if may_lease {
                need.max(want as u32)
            } else {
                need
            },
            patience: life / PARTS,
            now,
        });
        self.adopt_life(life);
        let stats = ledger.stats().of(self.seat);
        stats.asked.add(1);
        if newness == Newness::New {
            stats.keys.add(1);
        }
        let entry = &mut self.entries(line)[place];
        let hold = match answered {
            Answered::Granted {
                tokens,
                until,
                left,
            } => {
                stats.leased.add(u64::from(tokens));
                entry[GOOD_UNTIL] = until.0.min(good_until);
                entry[NONE_UNTIL] = 0;
                set_counts(entry, there + u64::from(tokens), want, left);
                if tokens > need && !is_noted && may_lease {
                    entry[COUNTS] |= NOTED;
                    self.owing.push(line as u32);
                }
                self.latest = self.latest.max(until.0);
                Hold::Enough { at }
            }
            Answered::Refused {
                ask_at,
                enough_at,
                left,
            } => {
                entry[NONE_UNTIL] = ask_at.0;
                if there == 0 {
                    entry[GOOD_UNTIL] = now.0.saturating_add(life);
                }
                set_counts(entry, there, want, left);
                Hold::Short { enough_at }
            }
            Answered::Crowded => {
                stats.crowded.add(1);
                Hold::Short {
                    enough_at: Moment(now.0 + CROWDED_NANOS),
                }
            }
        };
        (hold, newness)
    }

    /// Which entry of its line a key has; what lies there else, or is too old, is given back.
    fn place(&mut self, ledger: &Ledger, key: u64, line: usize, now: Moment) -> usize {
        let entries = self.entries(line);
        let in_force = |entry: &Entry| now.0 < entry[GOOD_UNTIL].max(entry[NONE_UNTIL]);
        let place = match entries.iter().position(|entry| entry[KEY] == key) {
            Some(place) => place,
            // Of two that are in force, the one that has less to lose.
            None => usize::from(
                (in_force(&entries[0]), tokens(&entries[0]))
                    > (in_force(&entries[1]), tokens(&entries[1])),
            ),
        };
        let entry = &mut entries[place];
        let is_other = entry[KEY] != key;
        let is_over = now.0 >= entry[GOOD_UNTIL];
        if tokens(entry) > 0 && (is_other || is_over) {
            let want = want(entry) / 4;
            self.give_back(ledger, line, place, now);
            let entry = &mut self.entries(line)[place];
            let left = left(entry);
            set_counts(entry, 0, want, left);
        }
        if is_other {
            let noted = self.entries(line)[place][COUNTS] & NOTED;
            self.entries(line)[place] = [key, 0, 0, noted | 1 << 16];
        }
        place
    }

    /// Takes note of how long leases live: a reload may have changed it.
    fn adopt_life(&mut self, life: u64) {
        if life < self.life {
            self.former = Former {
                life: self.former.life.max(self.life),
                until: self.latest,
            };
        }
        self.life = life;
    }

    /// When a lease that ends at a moment was issued, or a little earlier: then less of it comes
    /// back than might, never more.
    fn issued(&self, until: u64) -> Moment {
        let life = match until <= self.former.until {
            true => self.life.max(self.former.life),
            false => self.life,
        };
        Moment(until.saturating_sub(life))
    }

    fn give_back(&mut self, ledger: &Ledger, line: usize, place: usize, now: Moment) {
        let entry = &self.entries(line)[place];
        let (hash, unused, until) = (entry[KEY], tokens(entry) as u32, entry[GOOD_UNTIL]);
        let issued = self.issued(until);
        let back = ledger.give_back(hash, unused, issued, now);
        ledger.stats().of(self.seat).returned.add(back);
    }

    /// Gives back what is over of the lines that owe something.
    fn settle(&mut self, ledger: &Ledger, now: Moment) {
        for index in (0..self.owing.len()).rev() {
            let line = self.owing[index] as usize;
            let mut waits = false;
            for place in 0..2 {
                let entry = &self.entries(line)[place];
                if entry[COUNTS] & NOTED == 0 {
                    continue;
                }
                if tokens(entry) > 0 && now.0 < entry[GOOD_UNTIL] {
                    waits = true;
                    continue;
                }
                if tokens(entry) > 0 {
                    self.give_back(ledger, line, place, now);
                }
                let entry = &mut self.entries(line)[place];
                let (want, left) = (want(entry), left(entry));
                set_counts(entry, 0, want, left);
                entry[COUNTS] &= !NOTED;
            }
            if !waits {
                self.owing.swap_remove(index);
            }
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("serial", &self.serial)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}
