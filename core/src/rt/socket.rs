//! Stream sockets that lend received bytes in blocks.
//!
//! At most one receive and one send are under way at a time, and both may be. A future of
//! either is awaited to its end: a deadline shuts the socket down instead (see
//! [`super::wheel`]), so no byte is lost with a dropped operation.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;

use super::wheel::{Due, Ticks, Timer};
use super::{Addr, Driver, Pooled, pooled};
use crate::block::{Block, BlockClass};
pub use crate::http::h1::CHUNK_TAILROOM;

/// A connected stream socket (TCP or UNIX) on this thread's driver.
pub struct Socket {
    // Declared first: their wheel entries must go before the descriptor closes.
    recv_timer: Timer,
    send_timer: Timer,
    stream: Rc<UnsafeCell<TcpStream>>,
    /// A receive that was started before anybody waited for it.
    early: RefCell<Early>,
    /// We have shut down the receiving side ourselves.
    cut: Cell<bool>,
    fd: RawFd,
}

/// What a receive comes to: a count of bytes, and its block.
type Received = (io::Result<usize>, Block);

#[derive(Default)]
enum Early {
    #[default]
    No,
    Waiting(Pooled<dyn Future<Output = Received>>),
    Ended(Received),
}

/// What a look at a socket without reading from it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Open, nothing to read.
    Quiet,
    /// Open, bytes wait.
    Readable,
    /// The peer has ended its side.
    Ended,
    /// The connection is broken.
    Reset,
}

impl Socket {
    /// Takes over a connected stream socket.
    ///
    /// # Errors
    /// When the driver cannot register it.
    pub fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        socket2::SockRef::from(&fd).set_nonblocking(driver() == Driver::Epoll)?;
        let stream = TcpStream::from_std(std::net::TcpStream::from(fd))?;
        let fd = stream.as_raw_fd();
        Ok(Socket {
            recv_timer: Timer::new(fd),
            send_timer: Timer::new(fd),
            stream: Rc::new(UnsafeCell::new(stream)),
            early: RefCell::default(),
            cut: Cell::new(false),
            fd,
        })
    }

    /// Connects to an address; the deadline is `timeout`.
    ///
    /// # Errors
    /// What the kernel said, or [`io::ErrorKind::TimedOut`].
    pub async fn connect(addr: &Addr, timeout: Ticks) -> io::Result<Socket> {
        let raw = socket2::Socket::new(addr.domain(), socket2::Type::STREAM, None)?;
        raw.set_nonblocking(true)?;
        if matches!(addr, Addr::Tcp(_)) {
            raw.set_tcp_nodelay(true)?;
        }
        let pending = match raw.connect(&addr.to_socket2()?) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let fd = raw.as_raw_fd();
        let stream = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(raw)))?;
        let socket = Socket {
            recv_timer: Timer::new(fd),
            send_timer: Timer::new(fd),
            stream: Rc::new(UnsafeCell::new(stream)),
            early: RefCell::default(),
            cut: Cell::new(false),
            fd,
        };
        if pending {
            socket.send_timer.arm(timeout, Due::ShutBoth);
            let ready = socket.stream().writable(false).await;
            if socket.send_timer.take_fired() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.send_timer.disarm();
            ready?;
            if let Some(error) = socket.with_options(|options| options.take_error())? {
                return Err(error);
            }
        }
        if driver() == Driver::IoUring {
            socket.with_options(|options| options.set_nonblocking(false))?;
        }
        Ok(socket)
    }

    /// Receives into the free space behind the block's payload. `Ok(0)` is the end of the
    /// stream (or a deadline, see [`Timer::take_fired`]).
    ///
    /// # Panics
    /// When the block has no room: the caller would take it for the end of the stream.
    pub async fn recv(&self, mut block: Block) -> (io::Result<usize>, Block) {
        let (result, received) = match self.early.take() {
            Early::No => return receive(&self.stream, block).await,
            Early::Waiting(early) => early.await,
            Early::Ended(received) => received,
        };
        if block.is_empty() {
            return (result, received);
        }
        let appended = block.append(&received);
        debug_assert_eq!(appended, received.len());
        (result, block)
    }

    /// Starts a receive ahead of the wait for it: the next [`Socket::recv`] with an empty
    /// block gets its bytes. Meanwhile [`Socket::is_quiet`] tells without a system call
    /// whether the peer has sent something or has gone.
    pub fn recv_early(&self, class: BlockClass) {
        let stream = Rc::clone(&self.stream);
        let early = pooled(|| async move { receive(&stream, Block::new(class)).await });
        *self.early.borrow_mut() = Early::Waiting(early.erased());
        self.is_quiet();
    }

    /// Whether an early receive has come to nothing yet.
    pub fn is_quiet(&self) -> bool {
        let mut early = self.early.borrow_mut();
        if let Early::Waiting(waiting) = &mut *early
            && let Poll::Ready(received) =
                Pin::new(waiting).poll(&mut Context::from_waker(Waker::noop()))
        {
            *early = Early::Ended(received);
        }
        match &*early {
            Early::No => self.liveness() == Liveness::Quiet,
            Early::Waiting(_) => true,
            Early::Ended(_) => false,
        }
    }

    /// Receives into a fresh block of the class, or takes what an early receive brings.
    pub async fn recv_block(&self, class: BlockClass) -> (io::Result<usize>, Block) {
        match self.early.take() {
            Early::No => receive(&self.stream, Block::new(class)).await,
            Early::Waiting(early) => early.await,
            Early::Ended(received) => received,
        }
    }

    /// Sends the whole payload. When the peer takes nothing for `wait()`, both directions are
    /// shut down; that is noticed between one and one and a half times that span. The block comes back with what was not sent.
    pub async fn send(
        &self,
        mut block: Block,
        wait: impl Fn() -> Ticks,
    ) -> (io::Result<()>, Block) {
        let mut result = Ok(());
        while !block.is_empty() {
            // Two looks within the wait: a peer that takes nothing between them is stuck.
            let every = Ticks(wait().0.div_ceil(2));
            let queued = None;
            self.send_timer.arm(every, Due::ShutStuck { queued, every });
            // SAFETY: as in `receive`; sends are not issued concurrently with each other.
            let stream = unsafe { &mut *self.stream.get() };
            let (sent, buffer) = fair(stream.write(SendBuf(block))).await;
            block = buffer.0;
            result = match sent {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    block.advance(sent);
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(error) => Err(error),
            };
            if result.is_err() {
                break;
            }
        }
        self.send_timer.disarm();
        (result, block)
    }

    /// The deadline of receiving.
    pub fn recv_timer(&self) -> &Timer {
        &self.recv_timer
    }

    /// The deadline of sending.
    pub fn send_timer(&self) -> &Timer {
        &self.send_timer
    }

    /// Clears both deadlines: nobody waits on this socket any more.
    pub fn disarm(&self) {
        self.recv_timer.disarm();
        self.send_timer.disarm();
    }

    /// Whether the receiving side was shut down from here, by a deadline, a watch or
    /// [`Socket::shutdown`]: its end is no end that the peer has sent.
    pub fn is_cut(&self) -> bool {
        self.cut.get() || self.recv_timer.has_cut() || self.send_timer.has_cut()
    }

    /// A look at the socket without reading from it: one system call.
    pub fn liveness(&self) -> Liveness {
        liveness_of(self.fd)
    }

    /// Shuts down one or both directions. A peer that is gone already is no error.
    pub fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Write {
            self.cut.set(true);
        }
        let _ = self.with_options(|options| options.shutdown(how));
    }

    /// Makes the close a reset, so that the peer cannot take a cut answer for a whole one.
    pub fn reset_on_close(&self) {
        let _ = self.with_options(|options| options.set_linger(Some(std::time::Duration::ZERO)));
    }

    /// The address of the other side, for TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.with_options(|options| options.peer_addr().ok()?.as_socket())
    }

    fn stream(&self) -> &TcpStream {
        // SAFETY: a shared borrow for `writable`, which only clones the descriptor.
        unsafe { &*self.stream.get() }
    }

    fn with_options<R>(&self, act: impl FnOnce(socket2::SockRef<'_>) -> R) -> R {
        // SAFETY: the descriptor is open as long as `self` is.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        act(socket2::SockRef::from(&fd))
    }
}

async fn receive(stream: &Rc<UnsafeCell<TcpStream>>, block: Block) -> Received {
    assert!(block.tailroom() > CHUNK_TAILROOM, "receive without room");
    // SAFETY: monoio takes `&mut self` only to order operations of one direction; the future
    // it returns owns a clone of the descriptor and does not touch the stream. Receives are
    // not issued concurrently with each other (see the module text).
    let stream = unsafe { &mut *stream.get() };
    let (result, buffer) = fair(stream.read(RecvBuf(block))).await;
    (result, buffer.0)
}

/// On epoll an operation that can be done is done at once, without a turn of the loop: a fast
/// peer on both sides would keep the core for itself. So after so many of them in a row the
/// task goes to the end of the line. The ring needs no such thing: nothing ends within the
/// call.
async fn fair<T>(operation: impl Future<Output = T>) -> T {
    if driver() == Driver::IoUring {
        return operation.await;
    }
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

pub(super) fn liveness_of(fd: RawFd) -> Liveness {
    // SAFETY: callers hold the socket open during the call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut byte = [MaybeUninit::uninit()];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    match socket2::SockRef::from(&fd).recv_with_flags(&mut byte, flags) {
        Ok(0) => Liveness::Ended,
        Ok(_) => Liveness::Readable,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Liveness::Quiet,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Liveness::Quiet,
        Err(_) => Liveness::Reset,
    }
}

/// Bytes that the kernel holds and the peer has not taken.
pub(super) fn unsent(fd: RawFd) -> u32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int; callers hold the socket open during the call.
    match unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) } {
        0 => bytes as u32,
        // Nothing is known: no look finds progress then.
        _ => u32::MAX,
    }
}

pub(super) fn set_driver(driver: Driver) {
    DRIVER.set(driver);
}

pub(super) fn driver() -> Driver {
    DRIVER.get()
}

/// Releases a descriptor from a library socket.
pub(super) fn into_owned(socket: socket2::Socket) -> OwnedFd {
    // SAFETY: the descriptor was just released by its only owner.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(socket.into_raw_fd()) }
}

thread_local! {
    static DRIVER: Cell<Driver> = const { Cell::new(Driver::Epoll) };
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
