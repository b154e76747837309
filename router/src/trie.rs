//! The compressed radix trie over paths: flat, immutable, walked without recursion, stack or
//! allocation.
//!
//! A node's label is matched whole; then its static child comes before its alternatives
//! (parameters with longer suffixes first, the rest last). Because a parameter takes exactly
//! one segment, a node can only be reached in one way, so a walk enters each node at most
//! once. Where to go on after a dead end is known when the trie is built: each node stores
//! the alternative to try next (`fail`), and its place in the path follows from the captures
//! kept so far. [`Trie::steps`] bounds the nodes that any path can make a walk enter.

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
    label: u32,
    label_len: u16,
    child_count: u16,
    children: u32,
    alternatives: u32,
    entries: u32,
    entry_count: u32,
    fail: u32,
    fail_alternative: u32,
    alternative_count: u32,
    /// Literal bytes between the end of the last capture and the end of this label.
    since_capture: u16,
    captures: u8,
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
        let matched = &path[..len];
        captures.truncate(0);
        let mut current = root;
        let mut node = &self.nodes[root as usize];
        if !self.label_matches(node, matched) {
            return None;
        }
        let mut at = usize::from(node.label_len);
        loop {
            // The label of `node` ends at `at`.
            let rest = &matched[at..];
            if let Some(&byte) = rest.first() {
                if let Some(child) = self.child(node, byte) {
                    let next = &self.nodes[child as usize];
                    if self.label_matches(next, rest) {
                        at += usize::from(next.label_len);
                        current = child;
                        node = next;
                        continue;
                    }
                }
            } else if node.entry_count != 0 {
                let found = visit(self.entries(node));
                if found.is_some() {
                    return found;
                }
            }
            (current, at) = self.next_alternative(current, at, path, len, captures)?;
            node = &self.nodes[current as usize];
        }
    }

    /// Finds the next alternative that fits after the static child of `current` has failed:
    /// the node it leads to and the place in the path.
    #[inline]
    fn next_alternative(
        &self,
        mut current: u32,
        mut at: usize,
        path: &[u8],
        len: usize,
        captures: &mut Captures,
    ) -> Option<(u32, usize)> {
        let mut node = &self.nodes[current as usize];
        let mut choice = 0;
        loop {
            while choice < node.alternative_count {
                let alternative = &self.alternatives[(node.alternatives + choice) as usize];
                if let Some((start, end, next)) = self.fit(alternative, at, path, len) {
                    captures.set(usize::from(node.captures), start, end);
                    return Some((alternative.child, next));
                }
                choice += 1;
            }
            if node.fail == NONE {
                return None;
            }
            choice = node.fail_alternative;
            current = node.fail;
            node = &self.nodes[current as usize];
            at = captures.truncate(usize::from(node.captures)) + usize::from(node.since_capture);
        }
    }

    /// The capture's start and end and where the path goes on, if the alternative fits at `at`.
    #[inline]
    fn fit(
        &self,
        alternative: &Alternative,
        at: usize,
        path: &[u8],
        len: usize,
    ) -> Option<(usize, usize, usize)> {
        match alternative.kind {
            Kind::Param => {
                let end = at + segment_len(&path[at..len]);
                let suffix_len = usize::from(alternative.suffix_len);
                if end - at <= suffix_len {
                    return None;
                }
                let suffix = alternative.suffix as usize;
                if suffix_len > 0
                    && path[end - suffix_len..end] != self.labels[suffix..suffix + suffix_len]
                {
                    return None;
                }
                Some((at, end - suffix_len, end))
            }
            Kind::Rest => Some((at, path.len(), len)),
            Kind::RestAtEnd if at == len => Some((path.len(), path.len(), len)),
            Kind::RestAtEnd => None,
        }
    }

    #[inline]
    fn entries(&self, node: &Node) -> &[Entry] {
        let start = node.entries as usize;
        &self.entries[start..start + node.entry_count as usize]
    }

    #[inline]
    fn label_matches(&self, node: &Node, path: &[u8]) -> bool {
        let len = usize::from(node.label_len);
        if len <= INLINE {
            path.len() >= len && path[..len] == node.inline[..len]
        } else {
            let label = node.label as usize;
            path.starts_with(&self.labels[label..label + len])
        }
    }

    /// The child whose label starts with `byte`.
    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<u32> {
        let count = usize::from(node.child_count);
        let place = if count <= 8 {
            place_of(byte, node.index)
        } else {
            let start = node.children as usize;
            let window = &self.first_bytes[start..start + count + 8];
            window
                .chunks_exact(8)
                .enumerate()
                .map(|(chunk, bytes)| {
                    let place = place_of(byte, bytes.try_into().unwrap_or_default());
                    if place < 8 { chunk * 8 + place } else { count }
                })
                .find(|place| *place < count)
                .unwrap_or(count)
        };
        (place < count).then(|| node.children + place as u32)
    }
}

/// Where `byte` stands first in `bytes`; 8 if nowhere.
#[inline]
fn place_of(byte: u8, bytes: [u8; 8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let differing = u64::from_le_bytes(bytes) ^ (LOW * u64::from(byte));
    let zeros = differing.wrapping_sub(LOW) & !differing & HIGH;
    zeros.trailing_zeros() as usize / 8
}

/// Bytes before the next slash, or all of them.
#[inline]
fn segment_len(path: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(bytes) = path[at..].first_chunk::<8>() {
        let differing = u64::from_le_bytes(*bytes) ^ (LOW * b'/' as u64);
        let zeros = differing.wrapping_sub(LOW) & !differing & HIGH;
        if zeros != 0 {
            return at + zeros.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = &path[at..];
    at + tail
        .iter()
        .position(|byte| *byte == b'/')
        .unwrap_or(tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_search_agrees_with_byte_search() {
        let texts: [&[u8]; 6] = [
            b"",
            b"/",
            b"abc",
            b"abcdefgh",
            b"abcdefgh/i",
            b"abcdefghijklmnopq/",
        ];
        for text in texts {
            let expected = text
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(text.len());
            assert_eq!(segment_len(text), expected);
        }
        assert_eq!(place_of(b'c', *b"abcdabcd"), 2);
        assert_eq!(place_of(b'x', *b"abcdabcd"), 8);
        assert_eq!(place_of(0x81, [0x80, 0x01, 0x81, 0, 0, 0, 0, 0]), 2);
    }

    #[test]
    fn a_node_fits_a_cache_line() {
        assert_eq!(size_of::<Node>(), 64);
    }
}
