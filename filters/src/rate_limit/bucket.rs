//! Words of the token bucket: the position at which it is full again, one bit left of the busy
//! bit.
//!
//! # Tokens that come back
//! Let `B` be how far the position lies ahead of the clock, and `a` of a lease what it could
//! give back: its unused tokens less those that the clock has passed since it was issued. Then
//! the sum of all `a` is never more than `B`: an issue of `n` adds `n` to both; time takes as
//! much from `B` as from each `a` that is left; use lowers `a` alone; and tokens that come back
//! lower both alike. So `B` never falls below what the issues of other leases account for, and
//! the bound on what is issued holds for what is not given back. It also follows that a lease
//! has nothing to give back once the bucket has been full, so a key whose slot was taken over
//! in between cannot be credited twice.

use ringgate_core::rt::clock::Moment;

use super::ledger::{Answered, Ask};
use super::numbers::{Numbers, Pace, TOKEN};

/// Units that a position may lie ahead of a core's clock: the highest burst is 2^46, and at the
/// highest rate the rest is more than a second.
const AHEAD_MAX: u64 = 1 << 57;

/// The word of a full bucket.
pub(super) fn fresh(numbers: &Numbers, now: Moment) -> u64 {
    numbers.position(now) << 1
}

/// How far the word's position lies ahead of the clock, in units.
fn backlog(numbers: &Numbers, word: u64, now: Moment) -> u64 {
    // Both wrap alike. No core lags so far behind the others that a position which is in force
    // lies more than this ahead; what seems to has been behind for long.
    let ahead = (word & !1).wrapping_sub(numbers.position(now) << 1) >> 1;
    if ahead > AHEAD_MAX { 0 } else { ahead }
}

pub(super) fn is_idle(numbers: &Numbers, word: u64, now: Moment) -> bool {
    backlog(numbers, word, now) == 0
}

/// Tokens in use of `limit + burst`, and when none will be.
pub(super) fn used(numbers: &Numbers, pace: &Pace, word: u64, now: Moment) -> (u64, Moment) {
    let backlog = backlog(numbers, word, now);
    let free_at = Moment(now.0.saturating_add(pace.nanos(backlog)));
    (backlog.div_ceil(TOKEN), free_at)
}

/// The word after an issue, with what is answered.
pub(super) fn issue(
    numbers: &Numbers,
    pace: &Pace,
    word: u64,
    ask: &Ask,
) -> Result<(u64, Answered), Answered> {
    let here = numbers.position(ask.now);
    let backlog = backlog(numbers, word, ask.now);
    let there = match pace.tolerance.checked_sub(backlog) {
        Some(room) => room / TOKEN + 1,
        None => 0,
    };
    let need = u64::from(ask.need);
    if there < need {
        return Err(refusal(pace, backlog, there, ask));
    }
    let tokens = ask.lease(there);
    let word = here.wrapping_add(backlog + tokens * TOKEN) << 1;
    let granted = Answered::Granted {
        tokens: tokens as u32,
        until: Moment(ask.now.0 + numbers.life),
        left: there - tokens,
    };
    Ok((word, granted))
}

#[cold]
fn refusal(pace: &Pace, backlog: u64, left: u64, ask: &Ask) -> Answered {
    let need = u64::from(ask.need);
    let from = |tokens: u64| {
        // The last of so many tokens needs the position this near.
        let near = pace.tolerance.checked_sub((tokens - 1) * TOKEN)?;
        Some(Moment(ask.now.0 + pace.nanos(backlog.saturating_sub(near))))
    };
    let never = Moment(ask.now.0.saturating_add(pace.nanos(pace.tolerance + TOKEN)));
    let enough_at = from(need).unwrap_or(never);
    // Refused cores let some tokens gather before they ask again, as long as none run over.
    let ask_at = match left {
        0 => from(1)
            .unwrap_or(never)
            .max(Moment(ask.now.0 + pace.patience.min(ask.patience))),
        _ => ask.now,
    };
    Answered::Refused {
        ask_at,
        enough_at: enough_at.max(ask_at),
        left,
    }
}

/// The word when unused tokens of a lease come back; `None` when there is nothing to credit.
pub(super) fn give_back(
    numbers: &Numbers,
    word: u64,
    unused: u64,
    issued: Moment,
    now: Moment,
) -> Option<u64> {
    let passed = numbers.position(now).wrapping_sub(numbers.position(issued));
    let back = (unused * TOKEN).checked_sub(passed + 1)? / TOKEN * TOKEN;
    // It cannot be more than the bucket lacks; see above.
    let back = back.min(backlog(numbers, word, now));
    (back > 0).then(|| word.wrapping_sub(back << 1) & !1)
}
