//! The ring of one core: operations that the kernel completes.
//!
//! An operation lives in the core's table from its submission to its completion, and its block
//! with it. So a future that is dropped early leaves nothing for the kernel to write into but
//! the block in the table: the operation is cancelled, and the block dropped when the kernel
//! says that it is done with it. The ring itself is never dropped: the kernel ends what is
//! under way only after a ring is closed, and might still write into the table's blocks.

mod lending;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use self::lending::{Group, Lending};
use super::socket::Received;
use super::tasks::Wait;
use crate::block::{Block, BlockClass};
use crate::http::h1::CHUNK_TAILROOM;

/// Whether bytes are expected to be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likely {
    /// They are: the kernel tries to receive them at once.
    Now,
    /// They are not: the kernel waits for them before it tries.
    Later,
}

/// Makes this thread's ring where it has none: operations of a former loop stay in the table
/// that they have their numbers from.
pub(super) fn install(make: impl FnOnce() -> io::Result<IoUring>) -> io::Result<()> {
    RING.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(ManuallyDrop::new(Ring::new(make()?)));
        }
        Ok(())
    })
}

/// Submits what was asked for, waits if nobody can run, and wakes whom completions concern.
///
/// # Panics
/// When the kernel refuses a ring that it has set up.
pub(super) fn park(wait: Wait) {
    let mut woken = RING.with_borrow_mut(|ring| {
        let ring = ring.as_mut().expect("installed before tasks run");
        ring.enter(wait);
        ring.reap();
        std::mem::take(&mut ring.woken)
    });
    woken.drain(..).for_each(Waker::wake);
    with(|ring| {
        // A waker may have dropped a socket, and that may have booked completions.
        if ring.woken.is_empty() {
            ring.woken = woken;
        }
    });
}

/// Receives into the free space behind the block's payload, less the room for a chunk's end.
///
/// # Panics
/// When the block has no such room.
pub(super) fn recv(fd: RawFd, mut block: Block, likely: Likely) -> Recv {
    let end = block.window().end;
    let len = block.tailroom().saturating_sub(CHUNK_TAILROOM);
    assert!(len > 0, "receive without room");
    let at = block.memory_mut()[end..].as_mut_ptr();
    let mut entry = opcode::Recv::new(types::Fd(fd), at, len as u32).build();
    if likely == Likely::Later {
        set_ioprio(&mut entry, RECVSEND_POLL_FIRST);
    }
    Recv {
        // SAFETY: the memory is the block's, which stays in the table until the kernel is done.
        operation: unsafe { Operation::submit(entry, block, Keeps::Block) },
        lent: None,
    }
}

/// Receives into a fresh block of the class, which is taken only when there are bytes for it.
pub(super) fn recv_lent(fd: RawFd, class: BlockClass, likely: Likely) -> Recv {
    let lends = |ring: &mut Ring, group: Group| ring.lending.len() > usize::from(group.0);
    let group =
        lending::group_of(class).filter(|&group| with(|ring| lends(ring, group)).unwrap_or(false));
    let Some(group) = group else {
        return recv(fd, Block::new(class), likely);
    };
    let room = lending::room(class);
    let mut entry = opcode::Recv::new(types::Fd(fd), std::ptr::null_mut(), room)
        .buf_group(group.0)
        .build()
        .flags(squeue::Flags::BUFFER_SELECT);
    if likely == Likely::Later {
        set_ioprio(&mut entry, RECVSEND_POLL_FIRST);
    }
    Recv {
        // SAFETY: the operation's memory is one of the blocks on offer.
        operation: unsafe { Operation::submit(entry, Block::empty(), Keeps::Lent(group)) },
        lent: Some((fd, class)),
    }
}

/// Sends what there is room for of the payload, as soon as there is some.
pub(super) fn send(fd: RawFd, block: Block) -> Send {
    let entry = sending(fd, &block, libc::MSG_NOSIGNAL);
    // SAFETY: as in `recv`; the payload of a block in the table is not written to.
    Send(unsafe { Operation::submit(entry, block, Keeps::Block) })
}

/// Sends all of the payload, unless the connection breaks, and drops it.
pub(super) fn send_whole(fd: RawFd, block: Block) -> SendWhole {
    let len = block.len();
    let entry = sending(fd, &block, libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
    // SAFETY: as in `send`.
    let operation = unsafe { Operation::submit(entry, block, Keeps::Nothing) };
    SendWhole { operation, len }
}

fn sending(fd: RawFd, block: &Block, flags: libc::c_int) -> squeue::Entry {
    opcode::Send::new(types::Fd(fd), block.as_ptr(), block.len() as u32)
        .flags(flags)
        .build()
}

/// Waits until the descriptor is ready for `events` (of `poll(2)`), or broken.
pub(super) fn ready(fd: RawFd, events: libc::c_short) -> Ready {
    let entry = opcode::PollAdd::new(types::Fd(fd), events as u32).build();
    // SAFETY: the operation has no memory.
    Ready(unsafe { Operation::submit(entry, Block::empty(), Keeps::Nothing) })
}

/// Closes the descriptor behind everything that was asked for before.
pub(super) fn close(fd: OwnedFd) {
    let raw = fd.into_raw_fd();
    let closed = with(|ring| {
        let entry = opcode::Close::new(types::Fd(raw)).build();
        // SAFETY: nobody else owns the descriptor any more.
        unsafe { ring.push(entry.user_data(UNHEEDED)) };
    });
    if closed.is_none() {
        // SAFETY: as above; without a ring it is closed here.
        drop(unsafe { OwnedFd::from_raw_fd(raw) });
    }
}

/// Received bytes, when they come: how many, and their block.
pub(super) struct Recv {
    operation: Operation,
    /// Where the block comes from those on offer: what to do when there was none.
    lent: Option<(RawFd, BlockClass)>,
}

impl Recv {
    /// Whether the kernel has not answered yet.
    pub(super) fn is_pending(&self) -> bool {
        self.operation.result().is_none()
    }
}

impl Future for Recv {
    type Output = Received;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        let Poll::Ready((result, mut block)) = self.operation.poll(cx) else {
            return Poll::Pending;
        };
        match (result, self.lent) {
            // All blocks on offer were filled in one turn: there are bytes for one of our own.
            (Err(error), Some((fd, class))) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                with(|ring| ring.lend_more(class));
                *self = recv(fd, Block::new(class), Likely::Now);
                self.poll(cx)
            }
            (Ok(received), None) => {
                let window = block.window();
                block.set_window(window.start..window.end + received);
                Poll::Ready((Ok(received), block))
            }
            (result, _) => Poll::Ready((result, block)),
        }
    }
}

/// How much was sent, and the block as it was.
pub(super) struct Send(Operation);

impl Future for Send {
    type Output = (io::Result<usize>, Block);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

/// A payload on its way out, or why it did not go out whole.
pub(super) struct SendWhole {
    operation: Operation,
    len: usize,
}

impl SendWhole {
    /// Whether all of it has gone out.
    pub(super) fn is_done(&self) -> bool {
        let result = self.operation.result();
        result.is_some_and(|result| usize::try_from(result) == Ok(self.len))
    }
}

impl Future for SendWhole {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let len = self.len;
        self.operation.poll(cx).map(|(result, _)| match result? {
            sent if sent == len => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }
}

/// Readiness.
pub(super) struct Ready(Operation);

impl Future for Ready {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx).map(|(result, _)| result.map(drop))
    }
}

/// An operation's place in the table; [`TAKEN`] once its outcome was taken.
struct Operation(u32);

impl Operation {
    /// # Safety
    /// What `entry` points to is the memory of `block`, or of a block on offer, or valid until
    /// it completes.
    unsafe fn submit(entry: squeue::Entry, block: Block, keeps: Keeps) -> Operation {
        let number = with(|ring| {
            let number = ring.insert(block, keeps);
            // SAFETY: the caller's, and the block is in the table now.
            unsafe { ring.push(entry.user_data(u64::from(number))) };
            number
        });
        Operation(number.expect("sockets are used on threads that run a ring"))
    }

    /// The kernel's answer, if there is one.
    fn result(&self) -> Option<i32> {
        with(|ring| match ring.operations[self.0 as usize].state {
            State::Done(result) => Some(result),
            State::Pending(_) | State::Abandoned => None,
        })
        .flatten()
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<(io::Result<usize>, Block)> {
        let number = self.0;
        // A waker that is replaced is dropped outside the ring: it may be anybody's.
        match with(|ring| ring.take(number, cx.waker())) {
            None | Some(Err(_)) => Poll::Pending,
            Some(Ok((result, block))) => {
                self.0 = TAKEN;
                let result = match usize::try_from(result) {
                    Ok(count) => Ok(count),
                    Err(_) => Err(io::Error::from_raw_os_error(-result)),
                };
                Poll::Ready((result, block))
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.0 != TAKEN {
            drop(with(|ring| ring.abandon(self.0)));
        }
    }
}

/// What is known of an operation.
enum State {
    /// Nobody has asked for the outcome yet, or the waker of who has.
    Pending(Option<Waker>),
    /// The kernel's answer: a count, or an error number below zero.
    Done(i32),
    /// Nobody wants the outcome any more.
    Abandoned,
}

/// What there is besides a count when an operation has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// The block that it was submitted with.
    Block,
    /// One of those on offer.
    Lent(Group),
    /// Nothing: its block is free as soon as the kernel is done with it.
    Nothing,
}

struct Entry {
    state: State,
    block: Block,
    keeps: Keeps,
}

struct Ring {
    io: IoUring,
    operations: Vec<Entry>,
    free: Vec<u32>,
    /// By group.
    lending: Vec<Lending>,
    /// Who is to be woken; kept for its memory.
    woken: Vec<Waker>,
}

/// Outcomes of these are of no interest.
const UNHEEDED: u64 = u64::MAX;
const TAKEN: u32 = u32::MAX;

impl Ring {
    fn new(io: IoUring) -> Ring {
        Ring {
            lending: lending::open(&io),
            io,
            operations: Vec::new(),
            free: Vec::new(),
            woken: Vec::new(),
        }
    }

    fn insert(&mut self, block: Block, keeps: Keeps) -> u32 {
        let entry = Entry {
            state: State::Pending(None),
            block,
            keeps,
        };
        match self.free.pop() {
            Some(number) => {
                self.operations[number as usize] = entry;
                number
            }
            None => {
                self.operations.push(entry);
                self.operations.len() as u32 - 1
            }
        }
    }

    fn lend_more(&mut self, class: BlockClass) {
        let group = lending::group_of(class);
        if let Some(lending) = group.and_then(|group| self.lending.get_mut(usize::from(group.0))) {
            lending.grow();
        }
    }

    /// # Safety
    /// What the entry points to is valid until it completes.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's.
        while unsafe { self.io.submission().push(&entry) }.is_err() {
            // The queue is full: the kernel takes what is in it.
            self.submit(Wait::No);
        }
    }

    /// The outcome; or, as long as there is none, the waker whose place `waker` takes.
    fn take(&mut self, number: u32, waker: &Waker) -> Result<(i32, Block), Option<Waker>> {
        let entry = &mut self.operations[number as usize];
        match &mut entry.state {
            State::Done(result) => {
                let outcome = (*result, std::mem::take(&mut entry.block));
                self.free.push(number);
                Ok(outcome)
            }
            State::Pending(Some(known)) if known.will_wake(waker) => Err(None),
            State::Pending(known) => Err(known.replace(waker.clone())),
            State::Abandoned => Err(None),
        }
    }

    /// Frees an operation that is complete, and cancels one that is under way. What they held
    /// is dropped by the caller, outside the ring.
    fn abandon(&mut self, number: u32) -> (State, Block) {
        let entry = &mut self.operations[number as usize];
        let state = std::mem::replace(&mut entry.state, State::Abandoned);
        if matches!(state, State::Done(_)) {
            self.free.push(number);
            return (state, std::mem::take(&mut entry.block));
        }
        let cancel = opcode::AsyncCancel::new(u64::from(number)).build();
        // SAFETY: a cancellation points to nothing.
        unsafe { self.push(cancel.user_data(UNHEEDED)) };
        (state, Block::empty())
    }

    fn enter(&mut self, wait: Wait) {
        let idle = self.woken.is_empty() && self.io.completion().is_empty();
        self.submit(if idle { wait } else { Wait::No });
    }

    /// Hands over what is in the queue, and lets the kernel do what it has put off.
    fn submit(&mut self, mut wait: Wait) {
        loop {
            let count = self.io.submission().len() as u32;
            let least = u32::from(wait == Wait::Yes);
            // SAFETY: the queue holds valid entries, see `push`; there is no further argument.
            let entered = unsafe {
                self.io
                    .submitter()
                    .enter::<libc::sigset_t>(count, least, ENTER_GETEVENTS, None)
            };
            match entered {
                Ok(_) => return,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // Completions that found no room come first; whom they wake can run.
                    Some(libc::EBUSY | libc::EAGAIN) => {
                        self.reap();
                        wait = Wait::No;
                    }
                    // An operation's outcome may be lost: its task would wait for ever.
                    _ => panic!("the kernel refuses this thread's ring: {error}"),
                },
            }
        }
    }

    /// Books completions and notes whom they concern.
    fn reap(&mut self) {
        for completion in self.io.completion() {
            let number = completion.user_data();
            if number == UNHEEDED {
                continue;
            }
            let entry = &mut self.operations[number as usize];
            match (entry.keeps, cqueue::buffer_select(completion.flags())) {
                (Keeps::Lent(group), Some(id)) => {
                    let received = usize::try_from(completion.result()).unwrap_or(0);
                    entry.block = self.lending[usize::from(group.0)].take(id, received);
                }
                (Keeps::Nothing, _) => entry.block = Block::empty(),
                (Keeps::Block | Keeps::Lent(_), _) => {}
            }
            match std::mem::replace(&mut entry.state, State::Done(completion.result())) {
                State::Pending(Some(waker)) => self.woken.push(waker),
                State::Pending(None) | State::Done(_) => {}
                State::Abandoned => {
                    entry.block = Block::empty();
                    self.free.push(number as u32);
                }
            }
        }
    }
}

/// `IORING_ENTER_GETEVENTS`
const ENTER_GETEVENTS: u32 = 1;
/// `IORING_RECVSEND_POLL_FIRST`
const RECVSEND_POLL_FIRST: u16 = 1;

/// Sets a field that the entry's builder does not know for this operation.
fn set_ioprio(entry: &mut squeue::Entry, flags: u16) {
    // SAFETY: the type is the kernel's `struct io_uring_sqe` and nothing else (`repr(C)`), where
    // `ioprio` is the 16-bit field behind the two bytes `opcode` and `flags`.
    unsafe { std::ptr::from_mut(entry).cast::<u16>().add(1).write(flags) };
}

fn with<R>(act: impl FnOnce(&mut Ring) -> R) -> Option<R> {
    RING.with_borrow_mut(|ring| ring.as_deref_mut().map(act))
}

thread_local! {
    static RING: RefCell<Option<ManuallyDrop<Ring>>> = const { RefCell::new(None) };
}

#[cfg(test)]
mod tests;
