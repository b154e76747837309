//! Blocks: the fixed pieces of memory that received and sent bytes live in.
//!
//! A block has one owner. Its bytes are always initialised; `start..end` of them are the
//! payload, with [`HEADROOM`] bytes in front at first, so that a rewritten head or a chunk
//! size can be put before a body without moving it. A dropped block goes back to the free
//! list of the core it is dropped on.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut, Range};

/// An owned piece of memory with a payload window.
pub struct Block {
    bytes: Box<[u8]>,
    start: u32,
    end: u32,
}

/// Free space in front of the payload of a fresh block, in bytes.
pub const HEADROOM: usize = 512;

/// Capacity of a block. Waiting connections hold the smallest; a body that fills its blocks
/// moves up one class at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockClass {
    /// 2 KiB: a head, or a connection that waits for one.
    Head,
    /// 16 KiB: the largest head with its first body bytes, and most bodies.
    Small,
    /// 64 KiB: a body that fills small blocks.
    Medium,
    /// 128 KiB: a bulk body.
    Large,
}

impl BlockClass {
    /// Total size in bytes, headroom included.
    pub const fn size(self) -> usize {
        match self {
            BlockClass::Head => 2 << 10,
            BlockClass::Small => 16 << 10,
            BlockClass::Medium => 64 << 10,
            BlockClass::Large => 128 << 10,
        }
    }

    /// The next larger class, or this one when it is the largest.
    pub const fn larger(self) -> BlockClass {
        match self {
            BlockClass::Head => BlockClass::Small,
            BlockClass::Small => BlockClass::Medium,
            BlockClass::Medium | BlockClass::Large => BlockClass::Large,
        }
    }

    /// The next smaller class, or this one when it is the smallest.
    pub const fn smaller(self) -> BlockClass {
        match self {
            BlockClass::Head | BlockClass::Small => BlockClass::Head,
            BlockClass::Medium => BlockClass::Small,
            BlockClass::Large => BlockClass::Medium,
        }
    }

    /// How many free blocks of this class a core keeps; the rest goes back to the allocator.
    const fn kept_max(self) -> usize {
        match self {
            BlockClass::Head => 4096,
            BlockClass::Small => 256,
            BlockClass::Medium => 32,
            BlockClass::Large => 16,
        }
    }

    const fn of_size(size: usize) -> Option<BlockClass> {
        match size {
            0x800 => Some(BlockClass::Head),
            0x4000 => Some(BlockClass::Small),
            0x10000 => Some(BlockClass::Medium),
            0x20000 => Some(BlockClass::Large),
            _ => None,
        }
    }

    /// The smallest class whose fresh block has room for `payload` bytes behind the headroom.
    pub const fn fitting(payload: usize) -> Option<BlockClass> {
        if payload <= BlockClass::Head.size() - HEADROOM {
            Some(BlockClass::Head)
        } else if payload <= BlockClass::Small.size() - HEADROOM {
            Some(BlockClass::Small)
        } else if payload <= BlockClass::Medium.size() - HEADROOM {
            Some(BlockClass::Medium)
        } else if payload <= BlockClass::Large.size() - HEADROOM {
            Some(BlockClass::Large)
        } else {
            None
        }
    }
}

impl Block {
    /// A block of the class with an empty payload behind [`HEADROOM`] free bytes.
    pub fn new(class: BlockClass) -> Block {
        let free = FREE.try_with(|free| free.borrow_mut().of(class).pop());
        Block {
            bytes: match free {
                Ok(Some(bytes)) => bytes,
                _ => allocated(class.size()),
            },
            start: HEADROOM as u32,
            end: HEADROOM as u32,
        }
    }

    /// A block without memory: what is left where a block was moved out.
    pub fn empty() -> Block {
        Block {
            bytes: Box::default(),
            start: 0,
            end: 0,
        }
    }

    /// A block that holds a copy of `payload`, of the class that fits, or of the exact size
    /// where none does.
    pub fn from_slice(payload: &[u8]) -> Block {
        let mut block = match BlockClass::fitting(payload.len()) {
            Some(class) => Block::new(class),
            None => Block {
                bytes: allocated(payload.len() + HEADROOM),
                start: HEADROOM as u32,
                end: HEADROOM as u32,
            },
        };
        let copied = block.append(payload);
        debug_assert_eq!(copied, payload.len());
        block
    }

    /// The whole memory, payload or not. Offsets into it stay valid while the window moves.
    pub fn memory(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole memory, writable.
    pub fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Where the payload lies in [`Block::memory`].
    pub fn window(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Moves the payload window.
    ///
    /// # Panics
    /// When the window is not inside the memory.
    pub fn set_window(&mut self, window: Range<usize>) {
        assert!(window.start <= window.end && window.end <= self.bytes.len());
        self.start = window.start as u32;
        self.end = window.end as u32;
    }

    /// The size of the memory in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Free bytes in front of the payload.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Free bytes behind the payload.
    pub fn tailroom(&self) -> usize {
        self.bytes.len() - self.end as usize
    }

    /// Drops the first `n` payload bytes, or all of them.
    pub fn advance(&mut self, n: usize) {
        self.start = (self.start as usize + n).min(self.end as usize) as u32;
    }

    /// Keeps the first `n` payload bytes.
    pub fn truncate(&mut self, n: usize) {
        self.end = (self.start as usize + n).min(self.end as usize) as u32;
    }

    /// Puts `bytes` right before the payload; false, and nothing done, when the headroom is
    /// too small.
    #[must_use]
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = (self.start as usize).checked_sub(bytes.len()) else {
            return false;
        };
        self.bytes[start..self.start as usize].copy_from_slice(bytes);
        self.start = start as u32;
        true
    }

    /// Copies as much of `bytes` behind the payload as fits; tells how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.tailroom());
        let end = self.end as usize;
        self.bytes[end..end + n].copy_from_slice(&bytes[..n]);
        self.end += n as u32;
        n
    }

    /// Makes the payload empty, with the usual headroom in front.
    pub fn clear(&mut self) {
        self.start = HEADROOM.min(self.bytes.len()) as u32;
        self.end = self.start;
    }

    /// Splits off everything behind the first `n` payload bytes into a block of its own (a
    /// copy); used for what a peer pipelined behind a message.
    pub fn split_off(&mut self, n: usize) -> Block {
        let rest = Block::from_slice(self.get(n..).unwrap_or_default());
        self.truncate(n);
        rest
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start as usize..self.end as usize]
    }
}

impl Default for Block {
    fn default() -> Block {
        Block::empty()
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("capacity", &self.bytes.len())
            .field("window", &self.window())
            .finish()
    }
}

impl Drop for Block {
    /// Many blocks have been moved out of and are empty: those cost a look.
    #[inline]
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[inline(never)]
fn give_back(bytes: Box<[u8]>) {
    let Some(class) = BlockClass::of_size(bytes.len()) else {
        return;
    };
    // During thread exit the list may be gone; then the memory is simply freed.
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        let list = free.of(class);
        if list.len() < class.kept_max() {
            list.push(bytes);
        }
    });
}

#[cold]
fn allocated(size: usize) -> Box<[u8]> {
    vec![0; size].into_boxed_slice()
}

/// Frees what this core's lists hold beyond a quarter of their caps; called when a core has
/// been quiet, so that a burst does not keep its memory.
pub fn trim_free_blocks() {
    FREE.with(|free| {
        let mut free = free.borrow_mut();
        for class in [
            BlockClass::Head,
            BlockClass::Small,
            BlockClass::Medium,
            BlockClass::Large,
        ] {
            let list = free.of(class);
            list.truncate(class.kept_max() / 4);
            list.shrink_to(class.kept_max() / 4);
        }
    });
}

struct FreeLists {
    lists: [Vec<Box<[u8]>>; 4],
}

impl FreeLists {
    fn of(&mut self, class: BlockClass) -> &mut Vec<Box<[u8]>> {
        &mut self.lists[class as usize]
    }
}

thread_local! {
    // A constant, so that a look at it does not ask whether it was made yet.
    static FREE: RefCell<FreeLists> = const {
        RefCell::new(FreeLists {
            lists: [const { Vec::new() }; 4],
        })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepends_a_head_without_moving_the_body() {
        let mut block = Block::new(BlockClass::Head);
        assert_eq!(block.append(b"body"), 4);
        let at = block.window().start;
        assert!(block.prepend(b"head:"));
        assert_eq!(&block[..], b"head:body");
        assert_eq!(block.window().start + 5, at);
    }

    #[test]
    fn refuses_a_head_larger_than_the_headroom() {
        let mut block = Block::new(BlockClass::Head);
        assert!(!block.prepend(&[b'x'; HEADROOM + 1]));
        assert_eq!(block.len(), 0);
    }

    #[test]
    fn reuses_freed_memory() {
        let block = Block::new(BlockClass::Small);
        let at = block.memory().as_ptr();
        drop(block);
        assert_eq!(Block::new(BlockClass::Small).memory().as_ptr(), at);
    }

    #[test]
    fn splits_pipelined_bytes_off() {
        let mut block = Block::from_slice(b"first second");
        let rest = block.split_off(6);
        assert_eq!(&block[..], b"first ");
        assert_eq!(&rest[..], b"second");
    }
}
