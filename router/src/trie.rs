//! The compressed radix trie over paths: flat, immutable, walked without recursion, stack or
//! allocation.
//!
//! A node is entered if its label fits; then its static child comes before its alternatives
//! (parameters with longer suffixes first, the rest last). Because a parameter takes exactly
//! one segment, a node can only be reached in one way, so a walk tries each node at most
//! once. Where to go on after a dead end is known when the trie is built: each node stores
//! the alternative to try next (`fail`), and its place in the path follows from the captures
//! kept so far. [`Trie::steps`] bounds the nodes that any path can make a walk try.

mod draft;

pub(crate) use draft::Draft;

use crate::capture::Captures;

/// A route at the end of a pattern.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// The bits of the methods it takes.
    pub methods: u64,
    pub route: u32,
    /// Header and query predicates it has.
    pub predicates: u32,
}

/// Fits a cache line: all that one step needs, labels up to `INLINE` bytes included.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Node {
    /// The label's first bytes, zero-padded.
    inline: [u8; INLINE],
    /// The first bytes of the children's labels when there are at most eight.
    index: [u8; 8],
    /// Where a label longer than `inline` stands in `labels`, whole.
    label: u32,
    label_len: u16,
    /// Literal bytes between the end of the last capture and the end of this label.
    since_capture: u16,
    children: u32,
    entries: u32,
    entry_count: u32,
    /// Where alternatives start; for `Choice::Param` the child of the only one.
    alternatives: u32,
    alternative_count: u32,
    fail: u32,
    fail_alternative: u32,
    child_count: u8,
    captures: u8,
    choice: Choice,
}

/// The common shapes of a node's alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Any number of any kind.
    Listed,
    /// One parameter without a suffix.
    Param,
}

const INLINE: usize = 16;
const NONE: u32 = u32::MAX;

/// What to try at a node when its static child leads nowhere.
#[derive(Debug, Clone)]
struct Alternative {
    kind: Kind,
    suffix: u32,
    suffix_len: u16,
    child: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Param,
    Rest,
    /// The rest where the slash before it is missing; only if trailing slashes are ignored.
    RestAtEnd,
}

/// All paths of all hosts.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Box<[Node]>,
    /// `first_bytes[n]` starts the label of node `n`; eight zeros follow.
    first_bytes: Box<[u8]>,
    labels: Box<[u8]>,
    alternatives: Box<[Alternative]>,
    entries: Box<[Entry]>,
    steps: u64,
}

impl Trie {
    /// No path makes a walk from one root enter more nodes than this.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Visits the entries of every pattern under `root` that matches `path`, the most specific
    /// first, until `visit` returns something. `len` is the length of the path as matched; a
    /// rest takes what lies beyond it too.
    #[inline]
    pub(crate) fn walk<T>(
        &self,
        root: u32,
        path: &[u8],
        len: usize,
        captures: &mut Captures,
        mut visit: impl FnMut(&[Entry]) -> Option<T>,
    ) -> Option<T> {
        let text = Text::new(&path[..len]);
        captures.truncate(0);
        let mut node = &self.nodes[root as usize];
        let mut at = 0;
        let mut tried = 0;
        loop {
            if cfg!(debug_assertions) {
                tried += 1;
                debug_assert!(
                    tried <= self.steps,
                    "a walk tries no more nodes than promised"
                );
            }
            let mut choice = 0;
            if self.fits(node, &text, at) {
                at += usize::from(node.label_len);
                if at < len {
                    if let Some(child) = self.child(node, path[at]) {
                        node = &self.nodes[child as usize];
                        continue;
                    }
                } else if node.entry_count != 0 {
                    let found = visit(self.entries(node));
                    if found.is_some() {
                        return found;
                    }
                }
            } else {
                (node, at, choice) = self.back(node, captures)?;
            }
            // The static child of `node`, whose label ends at `at`, leads nowhere.
            loop {
                if let Some((child, start, end, next)) =
                    self.choose(node, choice, &text, at, path.len())
                {
                    captures.set(usize::from(node.captures), start, end);
                    node = &self.nodes[child as usize];
                    at = next;
                    break;
                }
                choice += 1;
                if choice >= node.alternative_count {
                    (node, at, choice) = self.back(node, captures)?;
                }
            }
        }
    }

    /// Where to go on when `node` is a dead end: the node, the end of its label in the path,
    /// and its alternative.
    #[inline]
    fn back(&self, node: &Node, captures: &mut Captures) -> Option<(&Node, usize, u32)> {
        if node.fail == NONE {
            return None;
        }
        let choice = node.fail_alternative;
        let node = &self.nodes[node.fail as usize];
        let at = captures.truncate(usize::from(node.captures)) + usize::from(node.since_capture);
        Some((node, at, choice))
    }

    /// The child behind the alternative `choice` of `node`, the start and end of the capture,
    /// and where the path goes on, if it fits.
    #[inline]
    fn choose(
        &self,
        node: &Node,
        choice: u32,
        text: &Text<'_>,
        at: usize,
        path_len: usize,
    ) -> Option<(u32, usize, usize, usize)> {
        if node.choice == Choice::Param {
            let end = text.segment_end(at);
            return (choice == 0 && end > at).then_some((node.alternatives, at, end, end));
        }
        if choice >= node.alternative_count {
            return None;
        }
        let alternative = &self.alternatives[(node.alternatives + choice) as usize];
        let len = text.bytes.len();
        match alternative.kind {
            Kind::Param => {
                let end = text.segment_end(at);
                let suffix = alternative.suffix as usize;
                let suffix = &self.labels[suffix..suffix + usize::from(alternative.suffix_len)];
                if end - at <= suffix.len() || !text.bytes[at..end].ends_with(suffix) {
                    return None;
                }
                Some((alternative.child, at, end - suffix.len(), end))
            }
            Kind::Rest => Some((alternative.child, at, path_len, len)),
            Kind::RestAtEnd if at == len => Some((alternative.child, path_len, path_len, len)),
            Kind::RestAtEnd => None,
        }
    }

    #[inline]
    fn entries(&self, node: &Node) -> &[Entry] {
        let start = node.entries as usize;
        &self.entries[start..start + node.entry_count as usize]
    }

    /// Whether the label of `node` stands in the path at `at`.
    #[inline]
    fn fits(&self, node: &Node, text: &Text<'_>, at: usize) -> bool {
        let len = usize::from(node.label_len);
        let differing = text.word(at) ^ u128::from_le_bytes(node.inline);
        if len <= INLINE {
            return differing & MASKS[len] == 0;
        }
        let label = node.label as usize;
        differing == 0 && text.bytes[at..].starts_with(&self.labels[label..label + len])
    }

    /// The child whose label starts with `byte`.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<u32> {
        let count = u32::from(node.child_count);
        let mut place = find_8(byte, node.index);
        if count > 8 {
            let start = node.children as usize;
            place = 0;
            loop {
                let window = self.first_bytes[start + place as usize..].first_chunk::<16>()?;
                let found = find_16(byte, u128::from_le_bytes(*window));
                place += found;
                if found < 16 || place >= count {
                    break;
                }
            }
        }
        (place < count).then(|| node.children + place)
    }
}

/// A path that can be read sixteen bytes at a time up to its end.
struct Text<'a> {
    bytes: &'a [u8],
    /// The bytes from `last_start` on: the last sixteen, or all and zeros.
    last: u128,
    last_start: usize,
}

impl<'a> Text<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        let last = match bytes.last_chunk::<16>() {
            Some(last) => u128::from_le_bytes(*last),
            None => short_word(bytes),
        };
        Text {
            bytes,
            last,
            last_start: bytes.len().saturating_sub(16),
        }
    }

    /// The bytes from `at` on, zero beyond the end: no label has a zero, so none fits there.
    #[inline]
    fn word(&self, at: usize) -> u128 {
        match self
            .bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<16>())
        {
            Some(word) => u128::from_le_bytes(*word),
            None => {
                let bits = 8 * (at - self.last_start) as u32;
                self.last.checked_shr(bits).unwrap_or(0)
            }
        }
    }

    /// The place of the first slash from `at` on, or the end.
    #[inline]
    fn segment_end(&self, mut at: usize) -> usize {
        loop {
            let found = find_16(b'/', self.word(at));
            at += found as usize;
            if found < 16 {
                return at;
            }
            if at >= self.bytes.len() {
                return self.bytes.len();
            }
        }
    }
}

/// Less than sixteen bytes, zeros behind them. Both ends are read, and where they overlap they
/// hold the same.
#[inline]
fn short_word(bytes: &[u8]) -> u128 {
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return u128::from(first) | u128::from(last) << (8 * (bytes.len() - 8));
    }
    let each = bytes.iter().rev();
    each.fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        .into()
}

/// `MASKS[n]` keeps the first `n` bytes of a word.
static MASKS: [u128; INLINE + 1] = masks();

const fn masks() -> [u128; INLINE + 1] {
    let mut masks = [u128::MAX; INLINE + 1];
    let mut len = 0;
    while len < INLINE {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks
}

/// Where `byte` stands first in `bytes`; 8 if nowhere.
#[inline]
fn find_8(byte: u8, bytes: [u8; 8]) -> u32 {
    const LOW: u64 = u64::MAX / 0xFF;
    let differing = u64::from_le_bytes(bytes) ^ (LOW * u64::from(byte));
    let zeros = differing.wrapping_sub(LOW) & !differing & (LOW << 7);
    zeros.trailing_zeros() / 8
}

/// Where `byte` stands first in the bytes of `word`; 16 if nowhere.
#[inline]
fn find_16(byte: u8, word: u128) -> u32 {
    const LOW: u128 = u128::MAX / 0xFF;
    let differing = word ^ (LOW * u128::from(byte));
    let zeros = differing.wrapping_sub(LOW) & !differing & (LOW << 7);
    zeros.trailing_zeros() / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_search_agrees_with_byte_search() {
        let texts: [&[u8]; 9] = [
            b"",
            b"/",
            b"abc",
            b"abcdefgh",
            b"abcdefghi",
            b"abcdefghijklmno",
            b"abcdefghijklmnop",
            b"abcdefghijklmnop/q",
            b"abcdefghijklmnopqrstuvwxyz/",
        ];
        for bytes in texts {
            let text = Text::new(bytes);
            for at in 0..=bytes.len() {
                let rest = &bytes[at..];
                let expected = rest
                    .iter()
                    .position(|byte| *byte == b'/')
                    .unwrap_or(rest.len());
                assert_eq!(text.segment_end(at), at + expected);
                let mut word = [0; 16];
                for (slot, byte) in word.iter_mut().zip(rest) {
                    *slot = *byte;
                }
                assert_eq!(text.word(at), u128::from_le_bytes(word));
            }
        }
        assert_eq!(find_8(b'c', *b"abcdabcd"), 2);
        assert_eq!(find_8(b'x', *b"abcdabcd"), 8);
        assert_eq!(find_8(0x81, [0x80, 0x01, 0x81, 0, 0, 0, 0, 0]), 2);
    }

    #[test]
    fn a_node_fits_a_cache_line() {
        assert_eq!(size_of::<Node>(), 64);
    }
}
