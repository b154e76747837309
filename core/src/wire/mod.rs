//! Connections as byte streams: plain, or TLS driven over the blocks of the runtime.
//!
//! A [`Wire`] has at most one receive and one send under way, and both may be. As with the
//! sockets below, a future of either is awaited to its end: dropping one loses bytes, so what
//! must end early is shut down instead.

pub mod session;
mod turns;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};

use crate::block::{Block, BlockClass};
use crate::rt::wheel::{Due, Gone, Ticks, Timer};
use crate::rt::{CHUNK_TAILROOM, Likely, Liveness, Socket};

pub use session::{Resumed, Session, TlsError};
use turns::Turns;

/// A connected byte stream, plain or TLS.
pub struct Wire {
    socket: Socket,
    tls: OnceCell<Box<Tls>>,
}

struct Tls {
    session: RefCell<Session>,
    /// Received records that are not decrypted yet; without memory while there are none.
    received: Cell<Block>,
    /// The size of the next receive.
    class: Cell<BlockClass>,
    /// Who may send on the socket.
    turns: Turns,
}

/// Whether a wire is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// It is not.
    Plain,
    /// By TLS.
    Tls,
}

impl Wire {
    /// A plain stream over a connected socket.
    pub fn plain(socket: Socket) -> Wire {
        Wire {
            socket,
            tls: OnceCell::new(),
        }
    }

    /// Shakes hands over a plain wire; `received` are bytes that came already.
    ///
    /// # Errors
    /// What the kernel said; [`io::ErrorKind::TimedOut`]; a [`TlsError`] inside an
    /// [`io::Error`].
    pub async fn shake(
        &self,
        session: Session,
        received: Block,
        deadline: Ticks,
    ) -> io::Result<()> {
        let tls = Box::new(Tls {
            session: RefCell::new(session),
            received: Cell::new(received),
            class: Cell::new(BlockClass::Small),
            turns: Turns::default(),
        });
        self.socket.recv_timer().arm(deadline, Due::ShutBoth);
        let shaken = self.shake_over(&tls, deadline).await;
        // Only now: whoever sends meanwhile would speak plain.
        let _ = self.tls.set(tls);
        match self.socket.recv_timer().end() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => shaken,
        }
    }

    async fn shake_over(&self, tls: &Tls, wait: Ticks) -> io::Result<()> {
        let wait = || wait;
        loop {
            let mut received = tls.received.take();
            let taken = tls.session.borrow_mut().shake(&mut received);
            tls.received.set(received);
            self.told(tls, taken, wait).await?;
            if !tls.session.borrow().is_handshaking() {
                return Ok(());
            }
            let received = self.receive(tls).await?;
            tls.received.set(received);
        }
    }

    /// Whether it is protected.
    pub fn security(&self) -> Security {
        match self.tls.get() {
            None => Security::Plain,
            Some(_) => Security::Tls,
        }
    }

    /// Looks at the session, where there is TLS.
    pub fn with_session<R>(&self, look: impl FnOnce(&Session) -> R) -> Option<R> {
        Some(look(&self.tls.get()?.session.borrow()))
    }

    /// The protocol that TLS agreed on.
    pub fn speaks_http2(&self) -> bool {
        self.with_session(|session| session.alpn() == Some(b"h2")) == Some(true)
    }

    /// Receives into the free space behind the block's payload: `Ok(0)` is the end of the stream
    /// as the peer has meant it, or a deadline of a plain stream.
    ///
    /// # Errors
    /// What the kernel said; a [`TlsError`], among them [`TlsError::Truncated`] when the stream
    /// ended without the peer's word.
    ///
    /// # Panics
    /// When the block has no room.
    pub async fn recv(&self, block: Block) -> (io::Result<usize>, Block) {
        match self.tls.get() {
            None => self.socket.recv(block).await,
            Some(tls) => self.recv_tls(tls, block, Likely::Now).await,
        }
    }

    /// Receives into a fresh block of the class, which is taken only when there are bytes for
    /// it; otherwise as [`Wire::recv`].
    pub async fn recv_block(
        &self,
        class: BlockClass,
        likely: Likely,
    ) -> (io::Result<usize>, Block) {
        let Some(tls) = self.tls.get() else {
            return self.socket.recv_block(class, likely).await;
        };
        if !tls.session.borrow().has_plaintext()
            && let Err(error) = self.wait_for_records(tls, likely).await
        {
            return (Err(error), Block::empty());
        }
        self.recv_tls(tls, Block::new(class), likely).await
    }

    /// Waits while there is nothing to decrypt, without a block in hand.
    async fn wait_for_records(&self, tls: &Tls, likely: Likely) -> io::Result<()> {
        let received = tls.received.take();
        let none = received.is_empty() && !tls.session.borrow().has_ended();
        tls.received.set(match none {
            true => self.receive_when(tls, likely).await?,
            false => received,
        });
        Ok(())
    }

    async fn recv_tls(
        &self,
        tls: &Tls,
        mut block: Block,
        likely: Likely,
    ) -> (io::Result<usize>, Block) {
        assert!(block.tailroom() > CHUNK_TAILROOM, "receive without room");
        let before = block.len();
        loop {
            let mut received = tls.received.take();
            let opened = tls.session.borrow_mut().open(&mut received, &mut block);
            tls.received.set(received);
            if let Err(error) = self.told(tls, opened, || ALERT_WAIT).await {
                return (Err(error), block);
            }
            let count = block.len() - before;
            if count > 0 || tls.session.borrow().has_ended() {
                return (Ok(count), block);
            }
            match self.receive_when(tls, likely).await {
                Ok(received) => tls.received.set(received),
                Err(error) => return (Err(error), block),
            }
        }
    }

    /// Starts a receive ahead of the wait for it, see [`Socket::recv_early`].
    pub fn recv_early(&self, class: BlockClass) {
        self.socket.recv_early(class);
    }

    /// Whether the peer has neither sent anything nor gone, as far as an early receive knows.
    /// What TLS says for itself, such as tickets, does not count.
    pub fn is_quiet(&self) -> bool {
        let Some(tls) = self.tls.get() else {
            return self.socket.is_quiet();
        };
        let mut received = tls.received.take();
        while let Some((result, block)) = self.socket.take_early() {
            // Two pieces at a time are more than tickets ever need.
            if !matches!(result, Ok(1..)) || !received.is_empty() {
                return false;
            }
            received = block;
            let looked = tls.session.borrow_mut().look(&mut received);
            if looked != Ok(0) {
                return false;
            }
            self.socket.recv_early(BlockClass::Small);
        }
        let partial = !received.is_empty();
        tls.received.set(received);
        let session = tls.session.borrow();
        !partial && !session.has_plaintext() && !session.has_ended() && self.socket.is_quiet()
    }

    /// Sends the whole payload; of TLS all records in as few sends as blocks hold them. When the
    /// peer takes nothing for `wait()`, both directions are shut down and the error is
    /// [`io::ErrorKind::TimedOut`].
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn send(&self, block: Block, wait: impl Fn() -> Ticks) -> io::Result<()> {
        match self.tls.get() {
            None => self.socket.send(block, wait).await.0,
            Some(tls) => self.send_tls(tls, &block, &wait).await,
        }
    }

    /// Sends the whole payload as [`Wire::send`] does and gives the block back, with a payload
    /// of no meaning: for those that fill the same memory again and again.
    pub async fn send_lent(
        &self,
        block: Block,
        wait: impl Fn() -> Ticks,
    ) -> (io::Result<()>, Block) {
        match self.tls.get() {
            None => self.socket.send(block, wait).await,
            Some(tls) => (self.send_tls(tls, &block, &wait).await, block),
        }
    }

    async fn send_tls(&self, tls: &Tls, plain: &[u8], wait: &impl Fn() -> Ticks) -> io::Result<()> {
        let _turn = tls.turns.take().await;
        for piece in plain.chunks(SEALED_AT_ONCE) {
            tls.session.borrow_mut().seal(piece)?;
            self.flush_in_turn(tls, wait).await?;
        }
        Ok(())
    }

    /// Sends a small payload without waiting until the kernel has it, see
    /// [`Socket::send_behind`].
    ///
    /// # Errors
    /// As [`Wire::send`]; a failure that is not known yet is the next send's.
    pub async fn send_behind(&self, block: Block, wait: impl Fn() -> Ticks) -> io::Result<()> {
        let Some(tls) = self.tls.get() else {
            return self.socket.send_behind(block, wait).await;
        };
        let _turn = tls.turns.take().await;
        tls.session.borrow_mut().seal(&block)?;
        self.flush_behind(tls, &wait).await
    }

    async fn flush_behind(&self, tls: &Tls, wait: &impl Fn() -> Ticks) -> io::Result<()> {
        while let Some(records) = outgoing(tls) {
            // A borrow must not last until after the send.
            let more = tls.session.borrow().wants_send();
            if !more {
                return self.socket.send_behind(records, wait).await;
            }
            self.socket.send(records, wait).await.0?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent: close_notify where there is TLS, then the end of the
    /// stream. Receiving goes on.
    pub async fn finish(&self, wait: Ticks) {
        if let Some(tls) = self.tls.get() {
            let _turn = tls.turns.take().await;
            tls.session.borrow_mut().say_close();
            // A peer that has gone needs no word.
            let _ = self.flush_in_turn(tls, &|| wait).await;
        }
        self.socket.shutdown(Shutdown::Write);
    }

    /// Whether the kernel has taken everything that was sent.
    pub fn is_settled(&self) -> bool {
        self.socket.is_settled()
    }

    /// While a send waits, the peer has to take so many bytes a second; zero for no bound.
    pub fn set_rate_min(&self, rate_min: u32) {
        self.socket.set_rate_min(rate_min);
    }

    /// Waits for what was sent without waiting; called before a connection is closed.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub async fn flush(&self, wait: Ticks) -> io::Result<()> {
        self.socket.flush(wait).await
    }

    /// The deadline of receiving.
    pub fn recv_timer(&self) -> &Timer {
        self.socket.recv_timer()
    }

    /// Clears both deadlines: nobody waits on this wire any more.
    pub fn disarm(&self) {
        self.socket.disarm();
    }

    /// Whether the receiving side was shut down from here.
    pub fn is_cut(&self) -> bool {
        self.socket.is_cut()
    }

    /// A look at the socket without reading from it.
    pub fn liveness(&self) -> Liveness {
        self.socket.liveness()
    }

    /// What a watched peer's end looks like.
    pub fn end_looks(&self) -> Gone {
        match self.tls.get() {
            None => Gone::Ended,
            Some(_) => Gone::HungUp,
        }
    }

    /// Shuts down one or both directions below TLS.
    pub fn shutdown(&self, how: Shutdown) {
        self.socket.shutdown(how);
    }

    /// Makes the close a reset, so that the peer cannot take a cut answer for a whole one.
    pub fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    /// The address of the other side, for TCP.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer()
    }

    /// The address of this side, for TCP.
    pub fn local(&self) -> Option<SocketAddr> {
        self.socket.local()
    }

    async fn receive(&self, tls: &Tls) -> io::Result<Block> {
        self.receive_when(tls, Likely::Later).await
    }

    /// One receive of records.
    async fn receive_when(&self, tls: &Tls, likely: Likely) -> io::Result<Block> {
        let class = tls.class.get();
        let (result, block) = self.socket.recv_block(class, likely).await;
        let count = result?;
        if count == 0 {
            return Err(TlsError::Truncated.into());
        }
        tls.class.set(match block.tailroom() <= CHUNK_TAILROOM {
            true => class.larger(),
            false if count < class.size() / 8 => class.smaller().max(BlockClass::Small),
            false => class,
        });
        Ok(block)
    }

    /// Tells the peer what was wrong, as far as it still listens.
    async fn told<T>(
        &self,
        tls: &Tls,
        outcome: Result<T, TlsError>,
        wait: impl Fn() -> Ticks,
    ) -> io::Result<T> {
        // A borrow must not last until after the flush.
        let wants_send = tls.session.borrow().wants_send();
        let flushed = match wants_send {
            false => Ok(()),
            true => self.flush_pending(tls, wait).await,
        };
        match outcome {
            Ok(value) => flushed.map(|()| value),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the session has to say, unless somebody is sending: they will send it as well.
    async fn flush_pending(&self, tls: &Tls, wait: impl Fn() -> Ticks) -> io::Result<()> {
        match tls.turns.try_take() {
            Some(_turn) => self.flush_in_turn(tls, &wait).await,
            None => Ok(()),
        }
    }

    async fn flush_in_turn(&self, tls: &Tls, wait: &impl Fn() -> Ticks) -> io::Result<()> {
        while let Some(records) = outgoing(tls) {
            self.socket.send(records, wait).await.0?;
        }
        Ok(())
    }
}

/// The next records; the session is borrowed only to take them.
fn outgoing(tls: &Tls) -> Option<Block> {
    tls.session.borrow_mut().outgoing()
}

/// Plaintext that is encrypted before it is sent: seven full records fit into one large block.
const SEALED_AT_ONCE: usize = 7 * session::RECORD_PLAINTEXT_MAX;

/// How long a peer may take nothing of what TLS itself has to say.
const ALERT_WAIT: Ticks = Ticks(50);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
