//! Words of limits that nodes share: 31 bits of the millisecond until which what is left may be
//! used, 31 bits of the balance, a bit that says whether the store is being asked, the busy bit.
//!
//! The balance is what the store has granted less what was issued. It may fall below zero by
//! the credit of the node: requests do not wait for the store. What is owed is part of the next
//! thing that the store is asked for, and stays owed until the store has granted it, so at no
//! time has a node admitted more than the credit beyond its grants.
//!
//! # What goes back
//! What a grant leaves when it ends was issued to no core, and is taken out of the word by one
//! swap: so it goes back once, and is not used. What cores have left of their leases follows.
//! Tokens do not outlive their grant: what comes while some are left ends with them, or, where
//! it is more than they are, has them go back at once.

use ringgate_core::rt::clock::Moment;

use super::ledger::{Answered, Ask};
use super::numbers::{Granted, Numbers};

const MILLIS_MASK: u64 = (1 << 31) - 1;
const BALANCE_MASK: u64 = (1 << 31) - 1;
/// A balance of zero as it is stored.
const ZERO: i64 = 1 << 30;
const ASKED: u64 = 2;
/// No grant is good for longer, a day and a half: what seems to be was over long ago.
const GOOD_MILLIS_MAX: u64 = MILLIS_MASK / 16;
/// The most that a balance may be.
pub(super) const BALANCE_MAX: i64 = ZERO - 1;

/// Whether the store is being asked for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    No,
}

/// A word in parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    until_ms: u64,
    pub(super) balance: i64,
    pub(super) asked: Asked,
    /// No part of the word: what the next swap takes out of it.
    pub(super) unused: Option<Unused>,
}

/// Tokens of a grant that nobody has used or will use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    pub(super) tokens: u64,
    /// No later than the end of their grant.
    pub(super) ended: Moment,
}

impl Parts {
    /// Reads a word; what was granted for a time that is over is unused.
    pub(super) fn of(word: u64, now: Moment) -> Parts {
        let asked = match word & ASKED {
            0 => Asked::No,
            _ => Asked::Yes,
        };
        let balance = (word >> 2 & BALANCE_MASK) as i64 - ZERO;
        let mut parts = Parts {
            until_ms: word >> 33,
            balance,
            asked,
            unused: None,
        };
        if balance > 0 && parts.is_over(now) {
            let millis = now.0 / 1_000_000;
            let ago = millis.wrapping_sub(parts.until_ms) & MILLIS_MASK;
            parts.balance = 0;
            parts.unused = Some(Unused {
                tokens: balance as u64,
                ended: Moment(millis.saturating_sub(ago) * 1_000_000),
            });
        }
        parts
    }

    fn is_over(self, now: Moment) -> bool {
        let left = self.until_ms.wrapping_sub(now.0 / 1_000_000) & MILLIS_MASK;
        left == 0 || left > GOOD_MILLIS_MAX
    }

    /// Until when tokens are good, or when there may be some: `now` when that is over.
    fn until(self, now: Moment) -> Moment {
        let left = self.until_ms.wrapping_sub(now.0 / 1_000_000) & MILLIS_MASK;
        match self.is_over(now) {
            true => now,
            false => Moment((now.0 / 1_000_000 + left) * 1_000_000),
        }
    }

    pub(super) fn word(self) -> u64 {
        let balance = (self.balance.clamp(-ZERO, BALANCE_MAX) + ZERO) as u64;
        let asked = if self.asked == Asked::Yes { ASKED } else { 0 };
        (self.until_ms & MILLIS_MASK) << 33 | balance << 2 | asked
    }

    /// With so many tokens more, good until a moment; none, and there may be some from then on.
    pub(super) fn granted(mut self, tokens: u64, until: Moment, now: Moment) -> Parts {
        let tokens = i64::try_from(tokens).unwrap_or(BALANCE_MAX);
        if self.balance > 0 && tokens > self.balance {
            self.unused = Some(Unused {
                tokens: self.balance as u64,
                ended: self.until(now),
            });
            self.balance = 0;
        }
        if self.balance <= 0 {
            self.until_ms = until.0 / 1_000_000;
        }
        self.balance = self.balance.saturating_add(tokens).min(BALANCE_MAX);
        self.asked = Asked::No;
        self
    }
}

/// The word of a key that owes nothing.
pub(super) fn fresh() -> u64 {
    Parts {
        until_ms: 0,
        balance: 0,
        asked: Asked::No,
        unused: None,
    }
    .word()
}

/// A key that owes something, or is being asked for, has to stay.
pub(super) fn is_idle(word: u64, now: Moment) -> bool {
    let parts = Parts::of(word, now);
    parts.balance == 0 && parts.asked == Asked::No
}

/// The word after an issue, with what is answered.
pub(super) fn issue(
    numbers: &Numbers,
    granted: &Granted,
    word: u64,
    ask: &Ask,
) -> Result<(u64, Answered), Answered> {
    let mut parts = Parts::of(word, ask.now);
    let there = parts.balance + granted.credit as i64;
    let need = i64::from(ask.need);
    if there < need {
        let mut ask_at = Moment(ask.now.0 + numbers.life);
        if parts.balance <= 0 {
            ask_at = ask_at.max(parts.until(ask.now));
        }
        return Err(Answered::Refused {
            ask_at: if there <= 0 { ask_at } else { ask.now },
            enough_at: ask_at,
            left: parts.balance.max(0) as u64,
        });
    }
    // Only what has been granted is leased beyond the need.
    let tokens = ask.lease(parts.balance.max(0) as u64) as i64;
    let until = match parts.balance > 0 {
        // The millisecond is cut, so the grant is not used beyond its end.
        true => parts.until(ask.now),
        false => Moment(u64::MAX),
    };
    parts.balance -= tokens;
    let answered = Answered::Granted {
        tokens: tokens as u32,
        until: Moment(ask.now.0 + numbers.life).min(until),
        left: parts.balance.max(0) as u64,
    };
    Ok((parts.word(), answered))
}
