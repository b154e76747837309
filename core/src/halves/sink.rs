//! The half of a body's way that puts it on a link, its head in front.

use std::io::ErrorKind;
use std::net::Shutdown;

use super::pace::{Pace, Speed};
use super::{Deadline, Last, PeerFaults, Piece};
use crate::block::Block;
use crate::error::Fault;
use crate::http::BodyLen;
use crate::http::h1::{ChunkEnd, Framed, encode_chunk, frame_chunk};
use crate::http::h2;
use crate::http2::Stream;
use crate::link::{Ends, Head, Link};
use crate::rt::wheel::{self, Ticks};
use crate::wire::Wire;

/// A body on its way out.
pub(crate) struct Sink<'s> {
    link: &'s Link,
    framing: BodyLen,
    wait: Ticks,
    deadline: Deadline,
    faults: &'static PeerFaults,
    sending: Sending,
    sent: u64,
    pace: Pace,
}

/// What a sink waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// Until the kernel has taken what is sent.
    Awaited,
    /// Nothing, when that is small.
    Behind,
}

/// Bytes that may be under way to a peer with nobody waiting for them.
const BEHIND_MAX: usize = 16 << 10;

impl<'s> Sink<'s> {
    /// A body framed like this.
    pub fn new(
        link: &'s Link,
        framing: BodyLen,
        wait: Ticks,
        deadline: Deadline,
        faults: &'static PeerFaults,
    ) -> Sink<'s> {
        Sink {
            link,
            framing,
            wait,
            deadline,
            faults,
            sending: Sending::Awaited,
            sent: 0,
            pace: Pace::default(),
        }
    }

    /// The peer has to take so many bytes a second on average; zero for no bound.
    pub fn at_least(self, rate_min: u32) -> Sink<'s> {
        Sink {
            pace: Pace::at_least(rate_min),
            ..self
        }
    }

    /// What is small is sent without waiting for it: something of the peer's is awaited next,
    /// and whoever closes the connection flushes it.
    pub fn without_waiting(self) -> Sink<'s> {
        Sink {
            sending: Sending::Behind,
            ..self
        }
    }

    /// Body bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends a head, together with the first piece of the body where there is one: on a
    /// connection in one send, from the piece's own memory, when its headroom takes the head.
    ///
    /// # Errors
    /// When the peer has gone or takes nothing in time.
    pub async fn start(
        &mut self,
        head: Head<'_>,
        piece: Option<Piece>,
        trailers: &[u8],
    ) -> Result<(), Fault> {
        let piece = piece.map(|mut piece| {
            if self.framing == BodyLen::None {
                piece.block.truncate(0);
            }
            piece
        });
        match self.link {
            Link::Http1(wire) => self.start_bytes(wire, head, piece, trailers).await,
            Link::Http2(stream) => self.start_stream(stream, head, piece, trailers).await,
        }
    }

    async fn start_bytes(
        &mut self,
        wire: &Wire,
        head: Head<'_>,
        piece: Option<Piece>,
        trailers: &[u8],
    ) -> Result<(), Fault> {
        let Head::Bytes(head) = head else {
            return Err(Fault::Internal);
        };
        let Some(piece) = piece else {
            return self.send(wire, Block::from_slice(head), 0).await;
        };
        let body = piece.block.len() as u64;
        let mut block = self.frame(piece, trailers);
        if block.prepend(head) {
            return self.send(wire, block, body).await;
        }
        // An empty piece has no memory; a small one is cheaper to copy than to send alone.
        let mut joined = Block::from_slice(head);
        if block.len() <= joined.tailroom() {
            joined.append(&block);
            return self.send(wire, joined, body).await;
        }
        self.send(wire, joined, 0).await?;
        self.send(wire, block, body).await
    }

    async fn start_stream(
        &mut self,
        stream: &Stream,
        head: Head<'_>,
        piece: Option<Piece>,
        trailers: &[u8],
    ) -> Result<(), Fault> {
        let whole = |piece: &Piece| {
            piece.last == Last::Yes && piece.block.is_empty() && trailers.is_empty()
        };
        let ends = match piece.as_ref().is_some_and(whole) {
            true => Ends::Message,
            false => Ends::Nothing,
        };
        let sent = match head {
            Head::Bytes(_) => return Err(Fault::Internal),
            Head::Request(head) => stream.send_request(head, ends),
            Head::Response(head) => stream.send_response(head, ends),
        };
        sent.map_err(|_| self.faults.closed)?;
        match piece {
            Some(piece) if ends == Ends::Nothing => {
                self.write_stream(stream, piece, trailers).await
            }
            _ => Ok(()),
        }
    }

    /// Sends a piece; with the last one the framing's end and the trailers.
    ///
    /// # Errors
    /// As [`Sink::start`].
    pub async fn write(&mut self, piece: Piece, trailers: &[u8]) -> Result<(), Fault> {
        let wire = match self.link {
            Link::Http1(wire) => wire,
            Link::Http2(stream) => return self.write_stream(stream, piece, trailers).await,
        };
        let body = piece.block.len() as u64;
        let block = self.frame(piece, trailers);
        match block.is_empty() {
            true => Ok(()),
            false => self.send(wire, block, body).await,
        }
    }

    async fn write_stream(
        &mut self,
        stream: &Stream,
        piece: Piece,
        trailers: &[u8],
    ) -> Result<(), Fault> {
        if self.deadline.has_passed() {
            return Err(Fault::RequestTimeout);
        }
        let last = piece.last == Last::Yes;
        let ends = match last && trailers.is_empty() {
            true => Ends::Message,
            false => Ends::Nothing,
        };
        let body = piece.block.len() as u64;
        let (since, allowed) = (wheel::now(), self.pace.allows(body));
        let wait = || {
            // Room that comes byte by byte would let no wait run out.
            if wheel::now().wrapping_sub(since) > allowed {
                stream.shutdown(Shutdown::Both);
                return Ticks(1);
            }
            self.deadline.within(self.wait)
        };
        let sent = stream.send(piece.block, ends, wait).await;
        self.book(sent, since, body)?;
        if last && ends == Ends::Nothing {
            let trailers = h2::fields_of(trailers);
            stream
                .send_trailers(trailers)
                .map_err(|_| self.faults.closed)?;
        }
        Ok(())
    }

    /// What came of a send that began at the tick `since`.
    fn book(&mut self, sent: std::io::Result<()>, since: u32, body: u64) -> Result<(), Fault> {
        let waited = wheel::now().wrapping_sub(since);
        sent.map_err(|error| self.fault_of(&error, waited))?;
        self.sent += body;
        match self.pace.after(waited, self.sent) {
            Speed::Enough => Ok(()),
            Speed::TooSlow => Err(Fault::SlowClient),
        }
    }

    fn fault_of(&self, error: &std::io::Error, waited: u32) -> Fault {
        // Nothing at all in the usual time is the older fault of the two.
        let slow = self.pace.is_bounded() && (self.wait == Ticks::NEVER || waited < self.wait.0);
        match error.kind() {
            ErrorKind::TimedOut if slow => self.deadline.fault(Fault::SlowClient),
            ErrorKind::TimedOut => self.deadline.fault(self.faults.stuck),
            _ => self.faults.closed,
        }
    }

    fn frame(&self, piece: Piece, trailers: &[u8]) -> Block {
        let mut block = piece.block;
        if self.framing != BodyLen::Chunked {
            return block;
        }
        let end = match piece.last {
            Last::Yes => ChunkEnd::Last { trailers },
            Last::No => ChunkEnd::More,
        };
        match frame_chunk(&mut block, end) {
            Framed::Done => block,
            Framed::NoRoom => {
                let mut out = Vec::with_capacity(block.len() + trailers.len() + 32);
                encode_chunk(&block, end, &mut out);
                Block::from_slice(&out)
            }
        }
    }

    async fn send(&mut self, wire: &Wire, block: Block, body: u64) -> Result<(), Fault> {
        if self.deadline.has_passed() {
            return Err(Fault::RequestTimeout);
        }
        let wait = || self.deadline.within(self.wait);
        let since = wheel::now();
        let sent = match self.sending {
            Sending::Behind if block.len() <= BEHIND_MAX => wire.send_behind(block, wait).await,
            _ => wire.send(block, wait).await,
        };
        self.book(sent, since, body)
    }
}
