//! Words of aligned windows: 31 bits of the window's number, 32 bits of what was issued in it,
//! the busy bit.
//!
//! Tokens are good until their window ends, so each window keeps its bound by itself, and what
//! comes back within the window was not used in it.

use ringgate_core::rt::clock::Moment;

use super::calendar::Window;
use super::ledger::{Answered, Ask};
use super::numbers::{Fixed, Numbers};

const NUMBER_MASK: u64 = (1 << 31) - 1;
const USED_MASK: u64 = (1 << 32) - 1;

/// Windows that a word may be ahead of a core that was held up: more than an hour of the
/// shortest ones. What seems to be further ahead was over long ago.
const AHEAD_MAX: u64 = 1 << 22;

/// A window's number, and what was issued in it.
pub(super) fn word(window: u64, used: u64) -> u64 {
    (window & NUMBER_MASK) << 33 | used.min(USED_MASK) << 1
}

fn number(word: u64) -> u64 {
    word >> 33
}

/// What was issued in this window.
pub(super) fn used(word: u64, window: &Window) -> u64 {
    match number(word) == window.number & NUMBER_MASK {
        true => word >> 1 & USED_MASK,
        false => 0,
    }
}

/// Whether the word is of a window that, to this one, is yet to come.
fn is_ahead(word: u64, window: &Window) -> bool {
    let ahead = number(word).wrapping_sub(window.number) & NUMBER_MASK;
    ahead != 0 && ahead < AHEAD_MAX
}

pub(super) fn is_idle(word: u64, window: &Window) -> bool {
    used(word, window) == 0 && !is_ahead(word, window)
}

/// The word after an issue, with what is answered.
pub(super) fn issue(
    numbers: &Numbers,
    fixed: &Fixed,
    word: u64,
    window: &Window,
    ask: &Ask,
) -> Result<(u64, Answered), Answered> {
    // The moment of a core that was held up lies in a window that is over for others. What
    // happened there is not known any more.
    if is_ahead(word, window) {
        return Err(Answered::Refused {
            ask_at: ask.now,
            enough_at: window.end,
            left: 0,
        });
    }
    let used = used(word, window);
    let there = fixed.cap.saturating_sub(used);
    let need = u64::from(ask.need);
    if there < need {
        return Err(Answered::Refused {
            ask_at: if there == 0 { window.end } else { ask.now },
            enough_at: window.end,
            left: there,
        });
    }
    let tokens = ask.lease(there);
    let granted = Answered::Granted {
        tokens: tokens as u32,
        until: Moment(ask.now.0 + numbers.life).min(window.end),
        left: there - tokens,
    };
    Ok((self::word(window.number, used + tokens), granted))
}

/// The word when unused tokens of a lease come back; `None` when their window is over.
pub(super) fn give_back(word: u64, unused: u64, issued_in: &Window) -> Option<u64> {
    if number(word) != issued_in.number & NUMBER_MASK {
        return None;
    }
    let used = used(word, issued_in);
    Some(self::word(number(word), used.saturating_sub(unused)))
}
