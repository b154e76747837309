//! Tunnels: bytes both ways behind a 101, or of a connection that is passed on, until both
//! sides have ended, nobody speaks, or its time is over. A WebSocket is told when it is ended
//! from here.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::block::{Block, BlockClass};
use crate::chain::Filter;
use crate::error::Fault;
use crate::halves::{CLIENT, ORIGIN, PeerFaults};
use crate::link::Link;
use crate::rt::join;
use crate::rt::wheel::{Due, Ticks, Timer};
use crate::snapshot::Limits;
use crate::websocket::{CloseCode, CloseSeen, Frames, Masked, Place, close_frame};
use crate::worker::Worker;

/// What passed through a tunnel, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) from_client: u64,
    pub(crate) from_origin: u64,
}

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// Frames that can be told that it ends.
    WebSocket,
    /// Bytes that nobody knows.
    Anything,
}

/// A tunnel.
pub(crate) struct Tunnel<F: Filter> {
    idle: Ticks,
    send: Ticks,
    speaks: Speaks,
    /// Directions that wait for their peer to take something.
    sending: Cell<u8>,
    /// The end of its time; fired early when the worker ends.
    ender: Timer,
    ending: Cell<bool>,
    worker: Rc<Worker<F>>,
}

/// One way through a tunnel.
struct Way<'w> {
    from: &'w Link,
    to: &'w Link,
    from_faults: &'w PeerFaults,
    to_faults: &'w PeerFaults,
    passed: &'w Cell<u64>,
    /// How frames of the gateway's own look on this way.
    masked: Masked,
    frames: RefCell<Frames>,
}

impl<F: Filter> Tunnel<F> {
    /// A tunnel with a listener's limits.
    pub(crate) fn new(limits: &Limits, speaks: Speaks, worker: &Rc<Worker<F>>) -> Tunnel<F> {
        let ender = Timer::waking();
        ender.arm(limits.tunnel_timeout, Due::ShutBoth);
        worker.enter_tunnel(ender.id());
        Tunnel {
            idle: limits.tunnel_idle_timeout,
            send: limits.send_timeout,
            speaks,
            sending: Cell::new(0),
            ender,
            ending: Cell::new(false),
            worker: Rc::clone(worker),
        }
    }

    /// Relays bytes between a client and an origin. Each side may end its direction while the
    /// other one goes on.
    pub(crate) async fn relay(
        &self,
        client: &Link,
        origin: &Link,
        ahead: (Option<Block>, Option<Block>),
    ) -> (Passed, Option<Fault>) {
        let (from_client, from_origin) = (Cell::new(0), Cell::new(0));
        let mut random = [0; 4];
        // Without randomness the mask is a constant, which is as good for a proxy's own words.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let way = |from, to, passed, masked, (from_faults, to_faults)| Way {
            from,
            to,
            from_faults,
            to_faults,
            passed,
            masked,
            frames: RefCell::default(),
        };
        let up = way(
            client,
            origin,
            &from_client,
            Masked::Yes(random),
            (&CLIENT, &ORIGIN),
        );
        let down = way(origin, client, &from_origin, Masked::No, (&ORIGIN, &CLIENT));
        let (up, down) = self
            .until_ended(
                client,
                origin,
                join(self.direction(&up, ahead.0), self.direction(&down, ahead.1)),
            )
            .await;
        let passed = Passed {
            from_client: from_client.get(),
            from_origin: from_origin.get(),
        };
        let ended = self.ending.get().then_some(Fault::TunnelExpired);
        (passed, ended.or(up.err()).or(down.err()))
    }

    /// Polls both directions; when the tunnel's time is over nothing more is received, and each
    /// direction ends where it stands.
    async fn until_ended<T>(
        &self,
        client: &Link,
        origin: &Link,
        both: impl Future<Output = T>,
    ) -> T {
        let mut both = pin!(both);
        poll_fn(|cx| {
            if !self.ending.get() {
                self.ender.wakes(cx.waker());
                if self.ender.take_fired() {
                    self.ending.set(true);
                    client.shutdown(Shutdown::Read);
                    origin.shutdown(Shutdown::Read);
                }
            }
            match both.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(output),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn direction(&self, way: &Way<'_>, ahead: Option<Block>) -> Result<(), Fault> {
        let mut class = BlockClass::Head;
        let mut next = ahead;
        loop {
            let block = match next.take() {
                Some(block) => Some(block),
                None => self.receive(way, class).await?,
            };
            if let Some(block) = &block {
                class = match block.tailroom() <= crate::rt::CHUNK_TAILROOM {
                    true => class.larger(),
                    false => class,
                };
                way.passed.set(way.passed.get() + block.len() as u64);
                if self.speaks == Speaks::WebSocket {
                    way.frames.borrow_mut().pass(block);
                }
            }
            let ended = block.is_none();
            if let Some(block) = block
                && let Err(error) = self.send(block, way).await
            {
                way.from.shutdown(Shutdown::Both);
                return Err(match error.kind() {
                    io::ErrorKind::TimedOut => way.to_faults.stuck,
                    _ => way.to_faults.closed,
                });
            }
            if self.ending.get() && (ended || self.may_speak(way)) {
                self.say_close(way).await;
                way.to.finish(self.send).await;
                return Ok(());
            }
            if ended {
                // The other direction lives on until its own end.
                way.to.finish(self.send).await;
                return Ok(());
            }
        }
    }

    /// Whether a frame of our own can stand here.
    fn may_speak(&self, way: &Way<'_>) -> bool {
        let frames = way.frames.borrow();
        frames.place() == Place::Boundary
    }

    /// Tells a WebSocket that it ends, unless it knows.
    async fn say_close(&self, way: &Way<'_>) {
        let known = way.frames.borrow().close() == CloseSeen::Yes;
        if self.speaks != Speaks::WebSocket || known || !self.may_speak(way) {
            return;
        }
        let frame = close_frame(CloseCode::GoingAway, way.masked);
        // Who has gone needs no word.
        let _ = self.send(Block::from_slice(&frame), way).await;
    }

    /// A slow reader is the send's concern: no direction counts as idle meanwhile. A byte in
    /// either direction keeps both alive.
    async fn send(&self, block: Block, way: &Way<'_>) -> io::Result<()> {
        self.sending.set(self.sending.get() + 1);
        way.from.recv_timer().disarm();
        way.to.recv_timer().disarm();
        let sent = way.to.send(block, || self.send).await;
        self.sending.set(self.sending.get() - 1);
        if self.sending.get() == 0 {
            way.from.recv_timer().arm(self.idle, Due::ShutBoth);
            way.to.recv_timer().arm(self.idle, Due::ShutBoth);
        }
        sent
    }

    async fn receive(&self, way: &Way<'_>, class: BlockClass) -> Result<Option<Block>, Fault> {
        if self.sending.get() == 0 {
            way.from.recv_timer().arm(self.idle, Due::ShutBoth);
        }
        let (result, block) = way.from.recv_later(class).await;
        if way.from.recv_timer().take_fired() {
            way.to.shutdown(Shutdown::Both);
            return Err(Fault::TunnelIdle);
        }
        match result {
            Ok(0) => {
                way.from.recv_timer().disarm();
                Ok(None)
            }
            Ok(_) => Ok(Some(block)),
            Err(_) if self.ending.get() => Ok(None),
            Err(_) => {
                way.to.shutdown(Shutdown::Both);
                Err(way.from_faults.closed)
            }
        }
    }
}

impl<F: Filter> Drop for Tunnel<F> {
    fn drop(&mut self) {
        self.worker.leave_tunnel(self.ender.id());
    }
}
