//! A wire as the `h2` crate wants it: tokio's I/O traits, writes gathered into few sends, and
//! where there is a [`Guard`] every received frame counted by it first.
//!
//! Neither a receive nor a send is ever dropped half way while the channel is used: the receive
//! under way is kept between polls, and a task of the channel's own does the sending. So a flush
//! only hands over; what waits is bounded by [`WAITING_MAX`] bytes, and `poll_shutdown` waits
//! for all of it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::block::{Block, BlockClass, HEADROOM};
use crate::http::h2::{Flood, Guard};
use crate::rt::wheel::{self, Ticks};
use crate::rt::{self, Likely, Pooled, pooled};
use crate::wire::Wire;

/// A wire with tokio's I/O traits. Dropping it sends what was written, then closes.
pub struct Channel {
    wire: Rc<Wire>,
    reading: Reading,
    class: BlockClass,
    guard: Option<Guard>,
    flooded: Rc<Cell<Option<Flood>>>,
    heard: Rc<Cell<Option<u32>>>,
    writing: Rc<Writing>,
}

type Received = (io::Result<usize>, Block);

enum Reading {
    /// Received bytes that were not read yet; perhaps none.
    Some(Block),
    Waiting(Pooled<dyn Future<Output = Received>>),
    Ended,
}

/// Bytes that may wait to be sent beside those that are being sent.
const WAITING_MAX: usize = BlockClass::Large.size() - HEADROOM;

/// The sending end of a channel.
pub(crate) struct Sending(Rc<Writing>);

impl Sending {
    /// Bytes that were written so far; wraps.
    pub(crate) fn written(&self) -> usize {
        self.0.written.get()
    }

    /// Waits until everything is sent, or the peer has gone; for a channel that was dropped.
    pub(crate) async fn ended(&self) {
        poll_fn(|cx| {
            if self.0.stage.get() == Stage::Over {
                return Poll::Ready(());
            }
            self.0.writer.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

struct Writing {
    waiting: RefCell<Block>,
    written: Cell<usize>,
    stage: Cell<Stage>,
    /// Whether what waits is to be sent: until a flush, a full block or the end, bytes gather.
    due: Cell<bool>,
    failed: RefCell<Option<(io::ErrorKind, String)>>,
    /// The sending task, while it has nothing to do.
    sender: Cell<Option<Waker>>,
    /// Whoever waits for room or for the end.
    writer: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Send what waits, then finish.
    Closing,
    /// Nothing will be sent any more.
    Over,
}

impl Channel {
    /// Takes the wire over, with what was received on it; spawns the task that sends. A peer
    /// that takes nothing for `stuck_after` is cut off.
    pub fn new(
        wire: Rc<Wire>,
        received: Block,
        guard: Option<Guard>,
        stuck_after: Ticks,
    ) -> Channel {
        let writing = Rc::new(Writing {
            waiting: RefCell::default(),
            written: Cell::default(),
            stage: Cell::new(Stage::Open),
            due: Cell::default(),
            failed: RefCell::default(),
            sender: Cell::default(),
            writer: Cell::default(),
        });
        rt::spawn(send_all(Rc::clone(&wire), Rc::clone(&writing), stuck_after));
        let mut channel = Channel {
            wire,
            reading: Reading::Some(Block::empty()),
            class: BlockClass::Small,
            guard,
            flooded: Rc::default(),
            heard: Rc::default(),
            writing,
        };
        channel.take(received);
        channel
    }

    /// The tick at which something that the peer sent was last read.
    pub(crate) fn heard(&self) -> Rc<Cell<Option<u32>>> {
        Rc::clone(&self.heard)
    }

    /// Its sending end, for those who have given the channel away.
    pub(crate) fn sending(&self) -> Sending {
        Sending(Rc::clone(&self.writing))
    }

    /// What the peer sends too much of. From then on nothing more is received.
    pub(crate) fn flooded(&self) -> Rc<Cell<Option<Flood>>> {
        Rc::clone(&self.flooded)
    }

    /// Counts the frames of what was received, and has it read next.
    fn take(&mut self, received: Block) {
        if let Some(guard) = &mut self.guard {
            let seen = guard.see(&received, wheel::now());
            self.flooded.set(seen.err());
        }
        self.reading = Reading::Some(received);
    }

    /// A receive into a block that fits what came last.
    fn receive(&self) -> Pooled<dyn Future<Output = Received>> {
        let (wire, class) = (Rc::clone(&self.wire), self.class);
        pooled(|| async move { wire.recv_block(class, Likely::Later).await }).erased()
    }

    fn resize(&mut self, count: usize, block: &Block) {
        self.class = match block.tailroom() <= rt::CHUNK_TAILROOM {
            true => self.class.larger(),
            false if count < self.class.size() / 8 => self.class.smaller(),
            false => self.class,
        };
    }
}

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let flooded = self.flooded.get().is_some();
            match &mut self.reading {
                Reading::Ended => return Poll::Ready(Ok(())),
                Reading::Some(block) if !block.is_empty() => {
                    let count = block.len().min(into.remaining());
                    into.put_slice(&block[..count]);
                    block.advance(count);
                    self.heard.set(Some(wheel::now()));
                    return Poll::Ready(Ok(()));
                }
                // Whoever drives the connection sees it and says goodbye.
                _ if flooded => return Poll::Pending,
                Reading::Some(_) => self.reading = Reading::Waiting(self.receive()),
                Reading::Waiting(receive) => {
                    let Poll::Ready((result, block)) = Pin::new(receive).poll(cx) else {
                        return Poll::Pending;
                    };
                    match result {
                        Ok(count) if count > 0 => {
                            self.resize(count, &block);
                            self.take(block);
                        }
                        Ok(_) => self.reading = Reading::Ended,
                        Err(error) => {
                            self.reading = Reading::Ended;
                            return Poll::Ready(Err(error));
                        }
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Channel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writing.check()?;
        let taken = self.writing.take(bytes);
        if let Some(guard) = &mut self.guard {
            guard.sent(taken);
        }
        let writing = &self.writing;
        if taken > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(taken));
        }
        writing.writer.set(Some(cx.waker().clone()));
        writing.kick();
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.check()?;
        self.writing.kick();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writing = &self.writing;
        if writing.stage.get() == Stage::Over {
            return Poll::Ready(writing.failure().map_or(Ok(()), Err));
        }
        writing.stage.set(Stage::Closing);
        writing.writer.set(Some(cx.waker().clone()));
        writing.kick();
        Poll::Pending
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.writing.stage.get() == Stage::Open {
            self.writing.stage.set(Stage::Closing);
        }
        self.writing.kick();
    }
}

impl Writing {
    fn check(&self) -> io::Result<()> {
        match self.stage.get() {
            Stage::Open => Ok(()),
            Stage::Closing | Stage::Over => {
                let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
                Err(self.failure().unwrap_or_else(closed))
            }
        }
    }

    fn failure(&self) -> Option<io::Error> {
        let failed = self.failed.borrow();
        let (kind, what) = failed.as_ref()?;
        Some(io::Error::new(*kind, what.clone()))
    }

    /// Takes as much as may wait.
    fn take(&self, bytes: &[u8]) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let count = bytes.len().min(WAITING_MAX - waiting.len());
        if waiting.tailroom() < count {
            let class = BlockClass::fitting(waiting.len() + count).unwrap_or(BlockClass::Large);
            let mut larger = Block::new(class);
            let copied = larger.append(&waiting);
            debug_assert_eq!(copied, waiting.len());
            *waiting = larger;
        }
        self.written.set(self.written.get().wrapping_add(count));
        waiting.append(&bytes[..count])
    }

    /// Has the sender send what waits, now or when it comes back from what it is sending.
    fn kick(&self) {
        self.due.set(true);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    fn wake_writer(&self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// The next bytes to send; `None` when there will be no more.
    async fn next(&self) -> Option<Block> {
        poll_fn(|cx| {
            if self.due.take() && !self.waiting.borrow().is_empty() {
                return Poll::Ready(Some(self.waiting.take()));
            }
            if self.stage.get() == Stage::Closing {
                return Poll::Ready(None);
            }
            self.sender.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

async fn send_all(wire: Rc<Wire>, writing: Rc<Writing>, stuck_after: Ticks) {
    let mut outcome = Ok(());
    while outcome.is_ok() {
        let Some(block) = writing.next().await else {
            wire.finish(stuck_after).await;
            break;
        };
        outcome = wire.send(block, || stuck_after).await;
        writing.wake_writer();
    }
    if let Err(error) = outcome {
        *writing.failed.borrow_mut() = Some((error.kind(), error.to_string()));
        // Whoever reads would wait for answers to what was never sent.
        wire.shutdown(Shutdown::Both);
    }
    writing.stage.set(Stage::Over);
    writing.wake_writer();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
