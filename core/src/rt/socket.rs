//! Stream sockets that lend received bytes in blocks.
//!
//! At most one receive and one send are under way at a time, and both may be. A future of
//! either is awaited to its end: a deadline shuts the socket down instead (see
//! [`super::wheel`]), so no byte is lost with a dropped operation.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::epoll::{self, Stream};
use super::ring::{self, Likely};
use super::wheel::{self, Due, Ticks, Timer};
use super::{Addr, Driver, Pooled, pooled};
use crate::block::{Block, BlockClass};
pub use crate::http::h1::CHUNK_TAILROOM;

/// A connected stream socket (TCP or UNIX) on this thread's driver.
pub struct Socket {
    // Declared first: their wheel entries must go before the descriptor closes.
    recv_timer: Timer,
    send_timer: Timer,
    /// A receive that was started before anybody waited for it.
    early: RefCell<Option<Receiving>>,
    /// A send that nobody waits for.
    behind: RefCell<Option<ring::SendWhole>>,
    wire: Wire,
    /// We have shut down the receiving side ourselves.
    cut: Cell<bool>,
    /// Bytes a second that the peer has to take while a send waits; zero for no bound.
    rate_min: Cell<u32>,
    fd: RawFd,
}

/// The descriptor, as its driver holds it.
enum Wire {
    Ring(Descriptor),
    Epoll(Rc<Stream>),
}

/// Between two looks at a peer that has to take its bytes at some rate: two of them are the time
/// that the rate is averaged over.
const RATE_LOOK: Ticks = Ticks(50);

/// A descriptor that is closed through the ring, behind the operations that it was used for.
struct Descriptor(RawFd);

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: taken over when the socket was adopted, and used by nobody else any more.
        ring::close(unsafe { OwnedFd::from_raw_fd(self.0) });
    }
}

/// What a receive comes to: a count of bytes, and its block.
pub(super) type Received = (io::Result<usize>, Block);

/// A receive under way.
enum Receiving {
    Ring(ring::Recv),
    Epoll(Pooled<dyn Future<Output = Received>>),
    /// It has come to this, which was noticed before anybody waited for it.
    Ended(Option<Received>),
}

impl Future for Receiving {
    type Output = Received;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Received> {
        match &mut *self {
            Receiving::Ring(recv) => Pin::new(recv).poll(cx),
            Receiving::Epoll(recv) => Pin::new(recv).poll(cx),
            Receiving::Ended(received) => match received.take() {
                Some(received) => Poll::Ready(received),
                None => Poll::Pending,
            },
        }
    }
}

impl Receiving {
    /// Whether it has come to nothing yet.
    fn is_pending(&mut self) -> bool {
        match self {
            Receiving::Ring(recv) => recv.is_pending(),
            Receiving::Epoll(recv) => {
                let polled = Pin::new(recv).poll(&mut Context::from_waker(Waker::noop()));
                match polled {
                    Poll::Pending => true,
                    Poll::Ready(received) => {
                        *self = Receiving::Ended(Some(received));
                        false
                    }
                }
            }
            Receiving::Ended(_) => false,
        }
    }
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
        let raw = fd.as_raw_fd();
        let wire = match driver() {
            Driver::IoUring => Wire::Ring(Descriptor(fd.into_raw_fd())),
            Driver::Epoll => {
                socket2::SockRef::from(&fd).set_nonblocking(true)?;
                Wire::Epoll(Rc::new(Stream::adopt(fd)?))
            }
        };
        Ok(Socket {
            recv_timer: Timer::new(raw),
            send_timer: Timer::new(raw),
            early: RefCell::default(),
            behind: RefCell::default(),
            wire,
            cut: Cell::new(false),
            rate_min: Cell::new(0),
            fd: raw,
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
        let socket = Socket::adopt(OwnedFd::from(raw))?;
        if pending {
            socket.send_timer.arm(timeout, Due::ShutBoth);
            let ready = socket.writable().await;
            if socket.send_timer.end() {
                return Err(io::ErrorKind::TimedOut.into());
            }
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
        let Some(early) = self.early.take() else {
            return self.receive(block, Likely::Now).await;
        };
        let (result, received) = early.await;
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
        let mut early = self.receive_fresh(class, Likely::Later);
        // On epoll this is what starts it.
        early.is_pending();
        *self.early.borrow_mut() = Some(early);
    }

    /// Whether an early receive has come to nothing yet.
    pub fn is_quiet(&self) -> bool {
        match &mut *self.early.borrow_mut() {
            Some(early) => early.is_pending(),
            None => self.liveness() == Liveness::Quiet,
        }
    }

    /// What an early receive has come to, if it has: without waiting.
    pub fn take_early(&self) -> Option<(io::Result<usize>, Block)> {
        let mut early = self.early.borrow_mut();
        if early.as_mut()?.is_pending() {
            return None;
        }
        let mut ended = early.take()?;
        drop(early);
        match Pin::new(&mut ended).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(received) => Some(received),
            // All blocks on offer were taken: it began anew, with one of its own.
            Poll::Pending => {
                *self.early.borrow_mut() = Some(ended);
                None
            }
        }
    }

    /// Receives into a fresh block of the class, or takes what an early receive brings. On a
    /// ring the block is taken when the bytes come: who waits holds none, and at the end of the
    /// stream it has no memory.
    pub fn recv_block(
        &self,
        class: BlockClass,
        likely: Likely,
    ) -> impl Future<Output = (io::Result<usize>, Block)> + use<> {
        let early = self.early.take();
        early.unwrap_or_else(|| self.receive_fresh(class, likely))
    }

    fn receive_fresh(&self, class: BlockClass, likely: Likely) -> Receiving {
        match &self.wire {
            Wire::Ring(fd) => Receiving::Ring(ring::recv_lent(fd.0, class, likely)),
            Wire::Epoll(_) => self.receive(Block::new(class), likely),
        }
    }

    fn receive(&self, block: Block, likely: Likely) -> Receiving {
        match &self.wire {
            Wire::Ring(fd) => Receiving::Ring(ring::recv(fd.0, block, likely)),
            Wire::Epoll(stream) => {
                let stream = Rc::clone(stream);
                Receiving::Epoll(pooled(|| epoll::recv(stream, block)).erased())
            }
        }
    }

    /// Sends the whole payload. When the peer takes nothing for `wait()`, both directions are
    /// shut down and the error is [`io::ErrorKind::TimedOut`]; that is noticed between one and
    /// one and a half times that span. The block comes back with what was not sent.
    pub async fn send(
        &self,
        mut block: Block,
        wait: impl Fn() -> Ticks,
    ) -> (io::Result<()>, Block) {
        let mut result = self.settle(&wait).await;
        while !block.is_empty() && result.is_ok() {
            // Two looks within the wait: a peer that takes nothing between them is stuck.
            self.look_after_send(wait());
            let (sent, back) = self.send_some(block).await;
            block = back;
            result = match sent {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    block.advance(sent);
                    Ok(())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(error) => Err(error),
            };
        }
        if self.send_timer.end() && result.is_err() {
            result = Err(io::ErrorKind::TimedOut.into());
        }
        (result, block)
    }

    /// Sends a small payload without waiting until the kernel has it, where the driver can: who
    /// awaits an answer to it learns soon enough. The next send waits for this one first.
    ///
    /// # Errors
    /// As [`Socket::send`]; a failure that is not known yet is the next send's.
    pub async fn send_behind(&self, block: Block, wait: impl Fn() -> Ticks) -> io::Result<()> {
        match &self.wire {
            Wire::Ring(fd) => {
                self.settle(&wait).await?;
                *self.behind.borrow_mut() = Some(ring::send_whole(fd.0, block));
                Ok(())
            }
            Wire::Epoll(_) => self.send(block, wait).await.0,
        }
    }

    /// Whether the kernel has taken everything that was sent. A failure that nobody has been
    /// told yet leaves it unsettled.
    pub fn is_settled(&self) -> bool {
        let mut behind = self.behind.borrow_mut();
        if behind.as_ref().is_some_and(ring::SendWhole::is_done) {
            *behind = None;
        }
        behind.is_none()
    }

    /// Waits for what was sent without waiting; called before a connection is closed.
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub async fn flush(&self, wait: Ticks) -> io::Result<()> {
        self.settle(|| wait).await
    }

    async fn settle(&self, wait: impl Fn() -> Ticks) -> io::Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let Some(sending) = self.behind.take() else {
            return Ok(());
        };
        self.look_after_send(wait());
        let sent = sending.await;
        match self.send_timer.end() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => sent,
        }
    }

    /// Has the wheel look at what the peer takes; see [`Due::ShutStuck`].
    fn look_after_send(&self, wait: Ticks) {
        let mut every = Ticks(wait.0.div_ceil(2));
        let mut least = 1;
        let rate_min = u64::from(self.rate_min.get());
        if rate_min > 0 {
            every = match every {
                Ticks::NEVER => RATE_LOOK,
                every => every.min(RATE_LOOK),
            };
            let bytes = rate_min * u64::from(every.0) / 10;
            least = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        }
        let due = Due::ShutStuck {
            queued: None,
            every,
            least,
        };
        self.send_timer.arm(every, due);
    }

    /// While a send waits, the peer has to take so many bytes a second; zero for no bound.
    pub fn set_rate_min(&self, rate_min: u32) {
        self.rate_min.set(rate_min);
    }

    async fn send_some(&self, block: Block) -> (io::Result<usize>, Block) {
        match &self.wire {
            Wire::Ring(fd) => ring::send(fd.0, block).await,
            Wire::Epoll(stream) => stream.send(block).await,
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match &self.wire {
            Wire::Ring(fd) => ring::ready(fd.0, libc::POLLOUT).await,
            Wire::Epoll(stream) => stream.writable().await,
        }
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
        self.cut.get() || wheel::either_has_cut(&self.recv_timer, &self.send_timer)
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

    /// The address of this side, for TCP.
    pub fn local(&self) -> Option<SocketAddr> {
        self.with_options(|options| options.local_addr().ok()?.as_socket())
    }

    fn with_options<R>(&self, act: impl FnOnce(socket2::SockRef<'_>) -> R) -> R {
        // SAFETY: the descriptor is open as long as `self` is.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        act(socket2::SockRef::from(&fd))
    }
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

/// Whether the peer has ended its side, though what it sent before may not be read yet.
pub(super) fn has_hung_up(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: one entry that lives through the call, which does not wait.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 && poll.revents & libc::POLLRDHUP != 0 }
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
    unsafe { OwnedFd::from_raw_fd(socket.into_raw_fd()) }
}

thread_local! {
    static DRIVER: Cell<Driver> = const { Cell::new(Driver::Epoll) };
}
