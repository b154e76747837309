//! Blocks that the kernel takes from when bytes come, so that a connection which waits for them
//! holds none: a ring of provided buffers for each class that waits.
//!
//! Every place of the ring holds a block of ours, which stays there until the kernel says that
//! it has filled it. Then the block goes to whoever waited, and a fresh one takes its place.

use std::alloc::{Layout, alloc_zeroed};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::block::{Block, BlockClass};
use crate::http::h1::CHUNK_TAILROOM;

/// Names a ring of buffers to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group(pub(super) u16);

/// The blocks of one class that wait for bytes.
pub(super) struct Lending {
    class: BlockClass,
    entries: NonNull<BufRingEntry>,
    /// By buffer id, which is also the place of its first entry.
    blocks: Vec<Block>,
    /// Entries written so far; wraps.
    tail: u16,
}

/// What waits: heads of requests, and of responses with what comes behind them.
const LENT: [(BlockClass, u16); 2] = [(BlockClass::Head, 256), (BlockClass::Small, 128)];

/// Sets up what this kernel can lend from; a class that it cannot is received the plain way.
pub(super) fn open(ring: &IoUring) -> Vec<Lending> {
    let mut open = Vec::new();
    for (group, (class, count)) in LENT.into_iter().enumerate() {
        match Lending::open(ring, Group(group as u16), class, count) {
            Some(lending) => open.push(lending),
            None => break,
        }
    }
    open
}

/// The group that lends blocks of a class, if there is one.
pub(super) fn group_of(class: BlockClass) -> Option<Group> {
    let found = LENT.iter().position(|(lent, _)| *lent == class);
    found.map(|group| Group(group as u16))
}

/// Bytes that one of its blocks takes: what is behind the headroom, less a chunk's end.
pub(super) fn room(class: BlockClass) -> u32 {
    (class.size() - crate::block::HEADROOM - CHUNK_TAILROOM) as u32
}

impl Lending {
    fn open(ring: &IoUring, group: Group, class: BlockClass, count: u16) -> Option<Lending> {
        debug_assert!(count.is_power_of_two());
        let size = usize::from(count) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(size, PAGE).ok()?;
        // SAFETY: the layout is not empty. The memory is never freed, like the ring itself.
        let entries = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast::<BufRingEntry>();
        // SAFETY: so many zeroed entries, page-aligned, valid for ever.
        let registered = unsafe {
            ring.submitter().register_buf_ring(
                entries.as_ptr().expose_provenance() as u64,
                count,
                group.0,
            )
        };
        registered.ok()?;
        let mut lending = Lending {
            class,
            entries,
            blocks: (0..count).map(|_| Block::new(class)).collect(),
            tail: 0,
        };
        (0..count).for_each(|id| lending.offer(id));
        Some(lending)
    }

    /// The block that the kernel has put `received` bytes into.
    pub(super) fn take(&mut self, id: u16, received: usize) -> Block {
        let fresh = Block::new(self.class);
        let mut block = std::mem::replace(&mut self.blocks[usize::from(id)], fresh);
        self.offer(id);
        let window = block.window();
        block.set_window(window.start..window.end + received);
        block
    }

    /// Lets the kernel have the block of this id.
    fn offer(&mut self, id: u16) {
        let count = self.blocks.len();
        let block = &mut self.blocks[usize::from(id)];
        let end = block.window().end;
        let at = block.memory_mut()[end..].as_mut_ptr();
        let place = usize::from(self.tail) & (count - 1);
        // SAFETY: `place` is below the number of entries. The kernel reads an entry only once
        // the tail is beyond it, and there are never more than `count` on offer.
        let entry = unsafe { &mut *self.entries.as_ptr().add(place) };
        // From here on the kernel writes through it.
        entry.set_addr(at.expose_provenance() as u64);
        entry.set_len(room(self.class));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        let base = self.entries.as_ptr();
        // SAFETY: the base is that of the ring. What comes back may only be read through, so
        // no more than its address is used.
        let tail = unsafe { BufRingEntry::tail(base) }.addr();
        // SAFETY: it lies in the ring's first entry; only we write it, and the kernel reads it
        // at any time.
        let tail = unsafe { AtomicU16::from_ptr(base.cast::<u16>().with_addr(tail)) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// What the kernel asks the alignment of a ring of buffers to be.
const PAGE: usize = 4096;
