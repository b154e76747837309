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
    /// How many entries there are: more blocks than that are never on offer.
    places: u16,
    /// By buffer id.
    blocks: Vec<Block>,
    /// Entries written so far; wraps.
    tail: u16,
}

/// What waits: heads of requests, and of responses with what comes behind them; and the most
/// blocks of each that are on offer.
const LENT: [(BlockClass, u16); 2] = [(BlockClass::Head, 1024), (BlockClass::Small, 512)];
/// The share of them that is on offer at first. The kernel fills them in turn, so more of them
/// than one turn needs only take room in the caches.
const AT_FIRST: u16 = 8;

/// Sets up what this kernel can lend from; a class that it cannot is received the plain way.
pub(super) fn open(ring: &IoUring) -> Vec<Lending> {
    let mut open = Vec::new();
    for (group, (class, places)) in LENT.into_iter().enumerate() {
        match Lending::open(ring, Group(group as u16), class, places) {
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
    fn open(ring: &IoUring, group: Group, class: BlockClass, places: u16) -> Option<Lending> {
        debug_assert!(places.is_power_of_two());
        let size = usize::from(places) * size_of::<BufRingEntry>();
        let layout = Layout::from_size_align(size, PAGE).ok()?;
        // SAFETY: the layout is not empty. The memory is never freed, like the ring itself.
        let entries = NonNull::new(unsafe { alloc_zeroed(layout) })?.cast::<BufRingEntry>();
        // SAFETY: so many zeroed entries, page-aligned, valid for ever.
        let registered = unsafe {
            ring.submitter().register_buf_ring(
                entries.as_ptr().expose_provenance() as u64,
                places,
                group.0,
            )
        };
        registered.ok()?;
        let mut lending = Lending {
            class,
            entries,
            places,
            blocks: Vec::new(),
            tail: 0,
        };
        lending.add(places / AT_FIRST);
        Some(lending)
    }

    /// Puts one more on offer, if there is a place: a receive found none, so that many are not
    /// enough for one turn.
    pub(super) fn grow(&mut self) {
        self.add(1);
    }

    fn add(&mut self, more: u16) {
        let count = self.blocks.len() as u16;
        for id in count..count.saturating_add(more).min(self.places) {
            self.blocks.push(Block::new(self.class));
            self.offer(id);
        }
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
        let block = &mut self.blocks[usize::from(id)];
        let end = block.window().end;
        let at = block.memory_mut()[end..].as_mut_ptr();
        let place = usize::from(self.tail & (self.places - 1));
        // SAFETY: `place` is below the number of entries. The kernel reads an entry only once
        // the tail is beyond it, and there are never more than `places` on offer.
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
