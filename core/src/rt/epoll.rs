//! Streams on epoll, which monoio drives where rings are refused.

use std::cell::{Cell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;

use super::socket::Received;
use crate::block::Block;
use crate::http::h1::CHUNK_TAILROOM;

/// A stream that monoio has registered with epoll. Futures share it, so that none of them borrows
/// the socket.
pub(super) struct Stream(UnsafeCell<TcpStream>);

impl Stream {
    /// Registers a connected socket, which must not block.
    ///
    /// # Errors
    /// When epoll refuses it.
    pub(super) fn adopt(fd: OwnedFd) -> io::Result<Stream> {
        let stream = TcpStream::from_std(std::net::TcpStream::from(fd))?;
        Ok(Stream(UnsafeCell::new(stream)))
    }

    /// Waits until it can be written to.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) async fn writable(&self) -> io::Result<()> {
        // SAFETY: a shared borrow for `writable`, which only clones the descriptor.
        let stream = unsafe { &*self.0.get() };
        stream.writable(false).await
    }

    /// Sends what there is room for.
    pub(super) async fn send(&self, block: Block) -> (io::Result<usize>, Block) {
        // SAFETY: as in `recv`; sends are not issued concurrently with each other.
        let stream = unsafe { &mut *self.0.get() };
        let (sent, buffer) = fair(stream.write(SendBuf(block))).await;
        (sent, buffer.0)
    }
}

/// Receives into the free space behind the block's payload.
pub(super) async fn recv(stream: Rc<Stream>, block: Block) -> Received {
    assert!(block.tailroom() > CHUNK_TAILROOM, "receive without room");
    // SAFETY: monoio takes `&mut self` only to order operations of one direction; the future
    // it returns owns a clone of the descriptor and does not touch the stream. Receives are
    // not issued concurrently with each other (see `super::socket`).
    let stream = unsafe { &mut *stream.0.get() };
    let (result, buffer) = fair(stream.read(RecvBuf(block))).await;
    (result, buffer.0)
}

/// On epoll an operation that can be done is done at once, without a turn of the loop: a fast
/// peer on both sides would keep the core for itself. So after so many of them in a row the
/// task goes to the end of the line. The ring needs no such thing: nothing ends within the
/// call.
async fn fair<T>(operation: impl Future<Output = T>) -> T {
    let mut operation = pin!(operation);
    let mut waited = false;
    let output = poll_fn(|cx| {
        let polled = operation.as_mut().poll(cx);
        waited |= polled.is_pending();
        polled
    })
    .await;
    let in_a_row = if waited { 0 } else { OPERATIONS.get() + 1 };
    OPERATIONS.set(in_a_row % TURN_MAX);
    if in_a_row == TURN_MAX {
        super::yield_turn().await;
    }
    output
}

/// Operations on epoll that may be done in a row without a turn of the loop.
const TURN_MAX: u32 = 32;

thread_local! {
    static OPERATIONS: Cell<u32> = const { Cell::new(0) };
}

struct RecvBuf(Block);

// SAFETY: the block's memory is on the heap and stays where it is when the block moves; the
// free space behind the payload, less the tail room, is inside it.
unsafe impl IoBufMut for RecvBuf {
    fn write_ptr(&mut self) -> *mut u8 {
        let end = self.0.window().end;
        self.0.memory_mut()[end..].as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.0.tailroom() - CHUNK_TAILROOM
    }

    // SAFETY: the runtime calls this with the count that the kernel wrote, which is at most
    // `bytes_total`; the window is checked against the memory all the same.
    unsafe fn set_init(&mut self, received: usize) {
        let window = self.0.window();
        self.0.set_window(window.start..window.end + received);
    }
}

struct SendBuf(Block);

// SAFETY: as above; the payload is initialised and not written to while the kernel reads it,
// as the block is owned by the operation.
unsafe impl IoBuf for SendBuf {
    fn read_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}
