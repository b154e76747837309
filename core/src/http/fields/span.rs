//! Pieces of a head's text by place.

/// A piece of text by place: in the head's block, or in its extra bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset in [`Block::memory`](crate::block::Block::memory), or in `extra` with the top bit set.
    pub(super) at: u32,
    /// Length in bytes.
    pub(super) len: u32,
}

impl Span {
    pub(super) const IN_EXTRA: u32 = 1 << 31;

    /// A span of the block's memory.
    #[inline]
    pub const fn in_block(at: usize, len: usize) -> Span {
        debug_assert!(at < Span::IN_EXTRA as usize);
        Span {
            at: at as u32,
            len: len as u32,
        }
    }

    #[inline]
    pub(super) const fn in_extra(at: usize, len: usize) -> Span {
        Span {
            at: at as u32 | Span::IN_EXTRA,
            len: len as u32,
        }
    }

    /// Length in bytes.
    #[inline]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there are no bytes.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes of a span of a block, given that block's memory.
    #[inline]
    pub(crate) fn of(self, memory: &[u8]) -> &[u8] {
        debug_assert!(self.at & Span::IN_EXTRA == 0);
        memory
            .get(self.at as usize..self.at as usize + self.len as usize)
            .unwrap_or_default()
    }

    /// The part of this span from `start` on, `len` bytes long.
    #[inline]
    pub const fn part(self, start: usize, len: usize) -> Span {
        debug_assert!(start + len <= self.len as usize);
        Span {
            at: self.at + start as u32,
            len: len as u32,
        }
    }
}
