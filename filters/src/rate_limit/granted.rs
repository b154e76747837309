//! Words of limits that nodes share: 31 bits of the millisecond until which what is left may be
//! used, 31 bits of the balance, a bit that says whether the store is being asked, the busy bit.
//!
//! The balance is what the store has granted less what was issued. It may fall below zero by
//! the credit of the node: requests do not wait for the store. What is owed is part of the next
//! thing that the store is asked for, and stays owed until the store has granted it, so at no
//! time has a node admitted more than the credit beyond its grants.

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
}

impl Parts {
    /// Reads a word; what was granted for a time that is over is gone.
    pub(super) fn of(word: u64, now: Moment) -> Parts {
        let until_ms = word >> 33;
        let left = until_ms.wrapping_sub(now.0 / 1_000_000) & MILLIS_MASK;
        let is_over = left == 0 || left > GOOD_MILLIS_MAX;
        let balance = (word >> 2 & BALANCE_MASK) as i64 - ZERO;
        Parts {
            until_ms,
            balance: if is_over { balance.min(0) } else { balance },
            asked: if word & ASKED == 0 {
                Asked::No
            } else {
                Asked::Yes
            },
        }
    }

    /// Until when tokens are good, or when there may be some: `now` when that is over.
    fn until(self, now: Moment) -> Moment {
        let left = self.until_ms.wrapping_sub(now.0 / 1_000_000) & MILLIS_MASK;
        match left == 0 || left > GOOD_MILLIS_MAX {
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
    pub(super) fn granted(mut self, tokens: u64, until: Moment) -> Parts {
        // A key that has some still may use them until their own end.
        let has_some = self.balance > 0;
        if tokens > 0 || !has_some {
            self.until_ms = until.0 / 1_000_000;
        }
        let tokens = i64::try_from(tokens).unwrap_or(BALANCE_MAX);
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
