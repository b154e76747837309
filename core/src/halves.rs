//! The two halves of a body's way: a [`Source`] that takes it from one link and a [`Sink`] that
//! puts it on another. Both directions of an exchange use the same two types, whatever the
//! links speak.

mod pace;
mod sink;

use std::cell::Cell;

use crate::block::{Block, BlockClass};
pub use crate::deadline::Deadline;
use crate::error::Fault;
use crate::http::h1::{BodyDecoder, BodyError, BodyState};
use crate::http::h2;
use crate::link::Link;
use crate::rt::wheel::{self, Due, Ticks};
use crate::wire::TlsError;

use pace::{Pace, Speed};
pub(crate) use sink::Sink;

/// What went wrong on a connection, as the faults of one peer.
#[derive(Clone, Copy, Debug)]
pub struct PeerFaults {
    /// It closed or reset the connection.
    pub closed: Fault,
    /// It sent nothing in time.
    pub silent: Fault,
    /// It took nothing in time.
    pub stuck: Fault,
    /// Its body was refused.
    pub body: fn(BodyError) -> Fault,
    /// What a passed deadline shuts down.
    pub due: Due,
}

/// The client's.
pub const CLIENT: PeerFaults = PeerFaults {
    closed: Fault::ClientClosed,
    silent: Fault::BodyTimeout,
    stuck: Fault::SendTimeout,
    body: Fault::RequestBody,
    due: Due::ShutRead,
};

/// The origin's.
pub const ORIGIN: PeerFaults = PeerFaults {
    closed: Fault::OriginClosed,
    silent: Fault::ReadTimeout,
    stuck: Fault::ReadTimeout,
    body: Fault::ResponseBody,
    due: Due::ShutBoth,
};

/// A piece of a body.
pub struct Piece {
    /// Its data, without framing.
    pub block: Block,
    /// Whether the body ends with it.
    pub last: Last,
}

/// Whether a body ends with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// More may follow.
    No,
    /// It does.
    Yes,
}

/// A body on its way in.
pub(crate) struct Source<'s> {
    link: &'s Link,
    decoder: &'s mut BodyDecoder,
    /// Bytes that were received but not decoded yet.
    ahead: Option<Block>,
    /// Bytes behind the end of the body.
    rest: Option<Block>,
    class: BlockClass,
    wait: Ticks,
    /// The wait for the first piece, where it differs.
    first_wait: Option<Ticks>,
    deadline: Deadline,
    faults: &'static PeerFaults,
    pace: Pace,
}

impl<'s> Source<'s> {
    /// A body that `decoder` has been started for; `ahead` was received behind its head.
    pub fn new(
        link: &'s Link,
        decoder: &'s mut BodyDecoder,
        ahead: Option<Block>,
        wait: Ticks,
        deadline: Deadline,
        faults: &'static PeerFaults,
    ) -> Source<'s> {
        Source {
            link,
            decoder,
            ahead,
            rest: None,
            class: BlockClass::Small,
            wait,
            first_wait: None,
            deadline,
            faults,
            pace: Pace::default(),
        }
    }

    /// The peer has to send so many bytes a second on average; zero for no bound.
    pub fn at_least(self, rate_min: u32) -> Source<'s> {
        Source {
            pace: Pace::at_least(rate_min),
            ..self
        }
    }

    /// From now on no wait goes beyond `deadline`.
    pub fn limit(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Whether the whole body has been taken.
    pub fn is_ended(&self) -> bool {
        self.decoder.is_ended()
    }

    /// Bytes that are still to come; unknown for a chunked body.
    pub fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    /// Whether anything of the body has arrived.
    pub fn has_begun(&self) -> bool {
        self.ahead.is_some() || self.decoder.received() > 0 || self.decoder.is_ended()
    }

    /// Whether the peer has sent something behind the body, as far as is known here.
    pub fn has_more(&self) -> bool {
        self.rest.is_some() || self.ahead.is_some()
    }

    /// The first piece may take as long as it likes.
    pub fn wait_long_for_first(&mut self) {
        self.first_wait = Some(Ticks::NEVER);
    }

    /// Body bytes so far.
    pub fn received(&self) -> u64 {
        self.decoder.received()
    }

    /// The trailer lines, once the body has ended.
    pub fn trailers(&self) -> &[u8] {
        self.decoder.trailers()
    }

    /// The same, for filters to change.
    pub fn trailers_mut(&mut self) -> &mut Vec<u8> {
        self.decoder.trailers_mut()
    }

    /// Adds what was received behind the body's head.
    pub fn push(&mut self, block: Block) {
        debug_assert!(self.ahead.is_none());
        self.ahead = Some(block);
    }

    /// What the peer sent behind the body.
    pub fn take_rest(&mut self) -> Option<Block> {
        self.rest.take().or_else(|| self.ahead.take())
    }

    /// What has arrived already, without waiting; nothing when there is nothing.
    ///
    /// # Errors
    /// When the framing is broken.
    pub fn next_ready(&mut self) -> Result<Option<Piece>, Fault> {
        match self.ahead.take() {
            Some(block) => self.decode(block),
            None if self.decoder.is_ended() => Ok(Some(end())),
            None => match self.link.recv_ready(self.class) {
                Some(block) => self.decode(block),
                None => Ok(None),
            },
        }
    }

    /// The next piece; waits for it.
    ///
    /// # Errors
    /// When the peer closes early, stays silent or breaks the framing.
    pub async fn next(&mut self) -> Result<Piece, Fault> {
        loop {
            if let Some(piece) = self.next_ready()? {
                return Ok(piece);
            }
            let block = self.receive().await?;
            match block {
                Some(block) => self.ahead = Some(block),
                None => {
                    self.end()?;
                    return Ok(end());
                }
            }
        }
    }

    /// The peer says that the body ends here.
    fn end(&mut self) -> Result<(), Fault> {
        self.decoder.on_eof().map_err(|error| match error {
            BodyError::Truncated if self.faults.closed == Fault::ClientClosed => {
                Fault::ClientClosed
            }
            error => (self.faults.body)(error),
        })?;
        if let Link::Http2(stream) = self.link
            && let Some(trailers) = stream.take_trailers()
        {
            let read = h2::read_trailers(&trailers, self.decoder.trailers_mut());
            read.map_err(self.faults.body)?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Block>, Fault> {
        if self.deadline.has_passed() {
            return Err(Fault::RequestTimeout);
        }
        let timer = self.link.recv_timer();
        let (first, total) = (self.first_wait.take(), self.decoder.received());
        let wait = first.unwrap_or_else(|| self.pace.within(self.wait, total));
        timer.arm(self.deadline.within(wait), self.faults.due);
        let since = wheel::now();
        let (result, block) = self.link.recv(self.class).await;
        let passed = timer.end();
        // A first piece that may take its time is not waited for.
        if first.is_none() {
            let received = total + *result.as_ref().unwrap_or(&0) as u64;
            let waited = wheel::now().wrapping_sub(since);
            if self.pace.after(waited, received) == Speed::TooSlow {
                return Err(self.deadline.fault(Fault::SlowClient));
            }
        }
        if passed {
            return Err(self.deadline.fault(self.faults.silent));
        }
        match result {
            // What we have cut ourselves must not pass for the end that the peer meant.
            Ok(0) if self.link.is_cut() => Err(self.faults.closed),
            Ok(0) => Ok(None),
            Ok(received) => {
                self.adapt(received, &block);
                Ok(Some(block))
            }
            Err(error) => Err(self.fault_of(&error)),
        }
    }

    /// A TLS stream that an origin ends without a word is a body that is cut short.
    fn fault_of(&self, error: &std::io::Error) -> Fault {
        match TlsError::of(error) {
            Some(TlsError::Truncated) if self.faults.closed != Fault::ClientClosed => {
                (self.faults.body)(BodyError::Truncated)
            }
            _ => self.faults.closed,
        }
    }

    /// Blocks grow while the peer fills them and shrink when it fills less than a quarter.
    fn adapt(&mut self, received: usize, block: &Block) {
        if block.tailroom() <= crate::rt::CHUNK_TAILROOM {
            self.class = self.class.larger();
        } else if received < self.class.size() / 4 && self.class > BlockClass::Small {
            self.class = self.class.smaller();
        }
    }

    fn decode(&mut self, mut block: Block) -> Result<Option<Piece>, Fault> {
        let step = self.decoder.decode(&mut block).map_err(self.faults.body)?;
        self.rest = step.rest;
        let state = match step.state {
            BodyState::More if self.link.has_ended() => {
                self.end()?;
                BodyState::End
            }
            state => state,
        };
        Ok(match state {
            BodyState::End => Some(Piece {
                block,
                last: Last::Yes,
            }),
            BodyState::More if block.is_empty() => None,
            BodyState::More => Some(Piece {
                block,
                last: Last::No,
            }),
        })
    }
}

fn end() -> Piece {
    Piece {
        block: Block::empty(),
        last: Last::Yes,
    }
}

/// Which half of a pump failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The body could not be taken.
    Source(Fault),
    /// It could not be passed on.
    Sink(Fault),
}

/// Whether a pump passes pieces on or throws them away because nobody wants them any more.
#[derive(Debug, Default)]
pub struct Wanted(Cell<Option<Unwanted>>);

/// How much of an unwanted body may still be read, and until when.
#[derive(Clone, Copy, Debug)]
struct Unwanted {
    left: u64,
    until: Deadline,
}

impl Wanted {
    /// From now on pieces are thrown away, and the pump ends as broken after `max` bytes or
    /// at the deadline.
    pub fn discard(&self, max: u64, until: Deadline) {
        self.0.set(Some(Unwanted { left: max, until }));
    }

    fn discards(&self, bytes: usize) -> bool {
        let Some(unwanted) = self.0.get() else {
            return false;
        };
        let left = unwanted.left.checked_sub(bytes as u64);
        self.0.set(Some(Unwanted {
            left: left.unwrap_or(0),
            ..unwanted
        }));
        left.is_some()
    }
}

/// Moves a body from a source to a sink until it ends, showing each piece to `look`.
///
/// # Errors
/// Which half broke, or what `look` refused (as a fault of the source).
pub(crate) async fn pump(
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    wanted: &Wanted,
    mut look: impl FnMut(&mut Piece, u64, &mut Vec<u8>) -> Result<(), Fault>,
) -> Result<(), Broken> {
    loop {
        let before = source.received();
        if let Some(unwanted) = wanted.0.get() {
            source.limit(unwanted.until);
        }
        let mut piece = source.next().await.map_err(Broken::Source)?;
        let last = piece.last;
        if wanted.0.get().is_none() {
            let looked = look(&mut piece, before, source.trailers_mut());
            looked.map_err(Broken::Source)?;
            let sent = sink.write(piece, source.trailers()).await;
            if wanted.0.get().is_none() {
                sent.map_err(Broken::Sink)?;
            }
        } else if !wanted.discards(piece.block.len()) {
            return Err(Broken::Sink(Fault::BodyTooLarge));
        }
        if last == Last::Yes {
            return Ok(());
        }
    }
}
