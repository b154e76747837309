//! Connections of the bench: plain or TLS byte streams over the runtime's sockets.
//!
//! A [`Wire`] has at most one receive and one send under way, and both may be. As with the
//! sockets below, a future of either is awaited to its end: dropping one loses bytes, so what
//! must end early is shut down instead (`wire.socket().recv_timer()`, [`Wire::shutdown`]).

pub mod channel;
pub mod serve;
pub mod session;
pub mod tls;
mod turns;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;

use ringgate_core::block::{Block, BlockClass};
use ringgate_core::rt::wheel::{Due, Ticks};
use ringgate_core::rt::{Addr, Likely, Socket};

pub use channel::Channel;
pub use session::{Session, TlsError};
pub use tls::{Alpn, ClientTls, Resumption, ServerTls, Trust};
use turns::Turns;

/// A connected byte stream, plain or TLS.
pub struct Wire {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// How long the peer may take nothing of what is sent to it.
    stuck_after: Ticks,
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

impl Wire {
    /// A plain stream over a socket that is connected already.
    pub fn plain(socket: Socket) -> Wire {
        Wire {
            socket,
            tls: None,
            stuck_after: STUCK_AFTER,
        }
    }

    /// Connects, and shakes hands where there is TLS; each within `deadline`.
    ///
    /// # Errors
    /// What the kernel said; [`io::ErrorKind::TimedOut`]; a [`TlsError`] inside an
    /// [`io::Error`], among them [`TlsError::Alpn`] when the server does not speak the protocol.
    pub async fn connect(
        addr: &Addr,
        tls: Option<&ClientTls>,
        deadline: Ticks,
    ) -> io::Result<Wire> {
        let tls = tls.map(Session::client).transpose()?.map(Tls::new);
        let socket = Socket::connect(addr, deadline).await?;
        Wire::with(socket, tls, deadline).await
    }

    /// Takes over an accepted socket, and shakes hands where there is TLS.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn accept(
        socket: Socket,
        tls: Option<&ServerTls>,
        deadline: Ticks,
    ) -> io::Result<Wire> {
        let tls = tls.map(Session::server).transpose()?.map(Tls::new);
        Wire::with(socket, tls, deadline).await
    }

    async fn with(socket: Socket, tls: Option<Box<Tls>>, deadline: Ticks) -> io::Result<Wire> {
        let mut wire = Wire::plain(socket);
        wire.tls = tls;
        let Some(tls) = &wire.tls else {
            return Ok(wire);
        };
        wire.socket.recv_timer().arm(deadline, Due::ShutBoth);
        // Boxed, so that connections do not carry the room for it as long as they last.
        let shaken = Box::pin(wire.shake(tls)).await;
        wire.socket.recv_timer().disarm();
        if wire.socket.recv_timer().take_fired() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        shaken.map(|()| wire)
    }

    async fn shake(&self, tls: &Tls) -> io::Result<()> {
        loop {
            self.flush(tls).await?;
            if !tls.session.borrow().is_handshaking() {
                // A server that picked no protocol, or another one, would not understand us.
                return Ok(tls.session.borrow().check_alpn()?);
            }
            let mut received = self.receive(tls).await?;
            let taken = tls.session.borrow_mut().shake(&mut received);
            tls.received.set(received);
            self.alert_of(tls, taken).await?;
        }
    }

    /// Receives into the free space behind the block's payload: `Ok(0)` is the end of the stream
    /// as the peer has meant it. A deadline that passed ([`Timer::take_fired`]) looks like an end
    /// of a plain stream, and like a cut one of TLS.
    ///
    /// [`Timer::take_fired`]: ringgate_core::rt::wheel::Timer::take_fired
    ///
    /// # Errors
    /// What the kernel said; a [`TlsError`], among them [`TlsError::Truncated`] when the stream
    /// ended without the peer's word.
    ///
    /// # Panics
    /// When the block has no room.
    pub async fn recv(&self, block: Block) -> (io::Result<usize>, Block) {
        match &self.tls {
            None => self.socket.recv(block).await,
            Some(tls) => self.recv_tls(tls, block).await,
        }
    }

    /// Receives into a fresh block of the class; otherwise as [`Wire::recv`]. Nothing is expected
    /// to be there already.
    pub async fn recv_block(&self, class: BlockClass) -> (io::Result<usize>, Block) {
        match &self.tls {
            None => self.socket.recv_block(class, Likely::Later).await,
            Some(tls) => self.recv_tls(tls, Block::new(class)).await,
        }
    }

    async fn recv_tls(&self, tls: &Tls, mut block: Block) -> (io::Result<usize>, Block) {
        assert!(block.tailroom() > 0, "receive without room");
        let before = block.len();
        loop {
            let mut received = tls.received.take();
            let opened = tls.session.borrow_mut().open(&mut received, &mut block);
            tls.received.set(received);
            if let Err(error) = self.alert_of(tls, opened).await {
                return (Err(error), block);
            }
            let count = block.len() - before;
            if count > 0 || tls.session.borrow().has_ended() {
                return (Ok(count), block);
            }
            match self.receive(tls).await {
                Ok(received) => tls.received.set(received),
                Err(error) => return (Err(error), block),
            }
        }
    }

    /// Sends the whole payload; of TLS all records in as few sends as blocks hold them. The block
    /// comes back with what was not sent.
    ///
    /// # Errors
    /// What the kernel said, also after the peer has taken nothing for [`Wire::stuck_after`].
    pub async fn send(&self, mut block: Block) -> (io::Result<()>, Block) {
        let Some(tls) = &self.tls else {
            return self.socket.send(block, || self.stuck_after).await;
        };
        let _turn = tls.turns.take().await;
        while !block.is_empty() {
            let length = block.len().min(SEALED_AT_ONCE);
            let sealed = tls.session.borrow_mut().seal(&block[..length]);
            let sent = match sealed {
                Ok(()) => self.flush_in_turn(tls).await,
                Err(error) => Err(error.into()),
            };
            if sent.is_err() {
                return (sent, block);
            }
            block.advance(length);
        }
        (Ok(()), block)
    }

    /// Says that nothing more will be sent: close_notify where there is TLS, then the end of the
    /// stream. Receiving goes on.
    ///
    /// # Errors
    /// What the kernel said.
    pub async fn finish(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let _turn = tls.turns.take().await;
            tls.session.borrow_mut().say_close();
            self.flush_in_turn(tls).await?;
        }
        self.socket.shutdown(Shutdown::Write);
        Ok(())
    }

    /// Ends both directions at once, whatever is under way; the peer of a TLS stream sees that it
    /// was cut.
    pub fn shutdown(&self) {
        self.socket.shutdown(Shutdown::Both);
    }

    /// The socket below: its deadlines, its liveness, reset on close. Bytes are not to be sent
    /// or received on it past the wire.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// How long the peer may take nothing of what is sent to it; [`Ticks::NEVER`] for ever.
    pub fn set_stuck_after(&mut self, span: Ticks) {
        self.stuck_after = span;
    }

    /// Whether the handshake resumed an earlier session; `None` of a plain stream.
    pub fn resumed(&self) -> Option<Resumed> {
        Some(self.tls.as_ref()?.session.borrow().resumed())
    }

    /// One receive of records.
    async fn receive(&self, tls: &Tls) -> io::Result<Block> {
        let class = tls.class.get();
        let (result, block) = self.socket.recv_block(class, Likely::Later).await;
        let count = result?;
        if count == 0 {
            return Err(TlsError::Truncated.into());
        }
        tls.class.set(match block.tailroom() <= ROOM_LEFT_FULL {
            true => class.larger(),
            false if count < class.size() / 8 => class.smaller(),
            false => class,
        });
        Ok(block)
    }

    /// Tells the peer what was wrong, as far as it still listens.
    async fn alert_of<T>(&self, tls: &Tls, outcome: Result<T, TlsError>) -> io::Result<T> {
        // A borrow must not last until after the flush.
        let wants_send = tls.session.borrow().wants_send();
        let flushed = match wants_send {
            false => Ok(()),
            true => self.flush_pending(tls).await,
        };
        match outcome {
            Ok(value) => flushed.map(|()| value),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what the session has to say, unless somebody is sending: they will send it as well.
    async fn flush_pending(&self, tls: &Tls) -> io::Result<()> {
        match tls.turns.try_take() {
            Some(_turn) => self.flush_in_turn(tls).await,
            None => Ok(()),
        }
    }

    async fn flush(&self, tls: &Tls) -> io::Result<()> {
        let _turn = tls.turns.take().await;
        self.flush_in_turn(tls).await
    }

    async fn flush_in_turn(&self, tls: &Tls) -> io::Result<()> {
        loop {
            let Some(records) = tls.session.borrow_mut().outgoing() else {
                return Ok(());
            };
            self.socket.send(records, || self.stuck_after).await.0?;
        }
    }
}

impl Tls {
    fn new(session: Session) -> Box<Tls> {
        Box::new(Tls {
            session: RefCell::new(session),
            received: Cell::default(),
            class: Cell::new(BlockClass::Small),
            turns: Turns::default(),
        })
    }
}

/// What a handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It was a full one, with certificates.
    No,
    /// It resumed an earlier session.
    Yes,
}

/// Plaintext that is encrypted before it is sent: seven full records fit into one large block.
const SEALED_AT_ONCE: usize = 7 * session::RECORD_PLAINTEXT_MAX;

/// How long a peer may take nothing, unless somebody says otherwise.
const STUCK_AFTER: Ticks = Ticks(300);

/// The runtime leaves this much room in a block that it has filled.
const ROOM_LEFT_FULL: usize = ringgate_core::rt::CHUNK_TAILROOM;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
