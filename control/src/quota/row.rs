//! The rows of the file as they are held in memory, and the texts of their keys.

use super::Window;

/// A key, and what it has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: Box<str>,
    pub(super) window: u64,
    pub(super) used: u64,
    pub(super) kept: Kept,
}

/// Whether a row is in the file as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    InFile,
    /// Only the name of a key, or a count that could not be written yet.
    NotYet,
    /// It is, but its key has begun anew: it could not be taken out yet.
    Reset,
}

impl Row {
    /// When its window ends, of a filter that nobody knows any more at the latest.
    pub(super) fn end(&self, window: Option<Window>) -> u64 {
        match window {
            Some(window) => window.end(self.window),
            None => self.window.saturating_add(WINDOW_SECONDS_MAX),
        }
    }
}

/// What stands for the text of a key that has none.
pub(super) fn nameless(hash: u64) -> Box<str> {
    format!("#{hash:016x}").into()
}

/// The hash that such a stand-in names.
pub(super) fn hash_of(nameless: &str) -> Option<u64> {
    u64::from_str_radix(nameless.strip_prefix('#')?, 16).ok()
}

/// A text that fits a row: a long one keeps its beginning, and its hash tells it from others.
pub(super) fn shorten(hash: u64, text: &str) -> Box<str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text.into();
    }
    let cut = text.floor_char_boundary(TEXT_BYTES_MAX);
    format!("{}...{}", &text[..cut], nameless(hash)).into()
}

/// The longest window, a month.
const WINDOW_SECONDS_MAX: u64 = 31 * 86_400;
/// How long rows outlive their window: a clock that was ahead for a time, as at the start of a
/// machine, must not cost what was counted.
pub(super) const PATIENCE_SECONDS: u64 = 31 * 86_400;
/// Bytes of a key's text that are kept.
const TEXT_BYTES_MAX: usize = 256;
