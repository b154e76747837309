//! What an exchange talks over on either side: an HTTP/1 connection that it has for itself, or
//! a stream of an HTTP/2 connection that it shares. The relay above knows neither.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use crate::block::{Block, BlockClass};
use crate::http::h1::{BodyDecoder, CONTINUE};
use crate::http::{BodyLen, Version};
use crate::http2::Stream;
use crate::rt::wheel::{Ticks, Timer};
use crate::rt::{Likely, Liveness};
use crate::wire::Wire;

/// One side of an exchange.
pub(crate) enum Link {
    /// A connection that carries one exchange at a time.
    Http1(Rc<Wire>),
    /// A stream of its own.
    Http2(Box<Stream>),
}

/// A head as its codec wants it.
#[allow(
    clippy::large_enum_variant,
    reason = "made, handed over and gone within one call"
)]
pub(crate) enum Head<'h> {
    /// The bytes of an HTTP/1 head.
    Bytes(&'h [u8]),
    /// The head of a request on a stream.
    Request(http::Request<()>),
    /// The head of a response on a stream.
    Response(http::Response<()>),
}

/// What ends with a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nothing: more follows.
    Nothing,
    /// The message.
    Message,
}

impl Link {
    /// The version that is spoken.
    pub(crate) fn version(&self) -> Version {
        match self {
            Link::Http1(_) => Version::Http11,
            Link::Http2(_) => Version::Http2,
        }
    }

    /// Whether the peer can switch to this protocol.
    pub(crate) fn takes_upgrade(&self, protocol: &[u8]) -> bool {
        match self {
            Link::Http1(_) => true,
            Link::Http2(stream) => {
                stream.takes_tunnels() && protocol.eq_ignore_ascii_case(b"websocket")
            }
        }
    }

    /// Receives what there is of a body; `Ok(0)` is its end.
    pub(crate) async fn recv(&self, class: BlockClass) -> (io::Result<usize>, Block) {
        match self {
            Link::Http1(wire) => wire.recv(Block::new(class)).await,
            Link::Http2(stream) => stream.recv(class).await,
        }
    }

    /// Receives into a block that is taken only when there is something for it.
    pub(crate) async fn recv_later(&self, class: BlockClass) -> (io::Result<usize>, Block) {
        match self {
            Link::Http1(wire) => wire.recv_block(class, Likely::Later).await,
            Link::Http2(stream) => stream.recv(class).await,
        }
    }

    /// What is there of a body without waiting; a connection always waits.
    pub(crate) fn recv_ready(&self, class: BlockClass) -> Option<Block> {
        match self {
            Link::Http1(_) => None,
            Link::Http2(stream) => stream.recv_ready(class),
        }
    }

    /// Begins a body of this length. A stream has framing of its own.
    pub(crate) fn begin_body(&self, decoder: &mut BodyDecoder, framing: BodyLen) {
        decoder.start(match self {
            Link::Http2(_) if !framing.is_empty() => BodyLen::UntilClose,
            _ => framing,
        });
    }

    /// Whether the last byte that was received was the body's last one; only a stream knows
    /// better than its framing.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Link::Http1(_) => false,
            Link::Http2(stream) => stream.has_ended(),
        }
    }

    /// The deadline of receiving.
    pub(crate) fn recv_timer(&self) -> &Timer {
        match self {
            Link::Http1(wire) => wire.recv_timer(),
            Link::Http2(stream) => stream.recv_timer(),
        }
    }

    /// Whether receiving was ended from here.
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Link::Http1(wire) => wire.is_cut(),
            Link::Http2(stream) => stream.is_cut(),
        }
    }

    /// Ends receiving, or both directions.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        match self {
            Link::Http1(wire) => wire.shutdown(how),
            Link::Http2(stream) => stream.shutdown(how),
        }
    }

    /// Says that no more will be sent, while the other direction goes on.
    pub(crate) async fn finish(&self, wait: Ticks) {
        match self {
            Link::Http1(wire) => wire.finish(wait).await,
            Link::Http2(stream) => drop(stream.send(Block::empty(), Ends::Message, || wait).await),
        }
    }

    /// Clears its deadlines.
    pub(crate) fn disarm(&self) {
        match self {
            Link::Http1(wire) => wire.disarm(),
            Link::Http2(stream) => stream.disarm(),
        }
    }

    /// Whether the peer has sent something that nobody has asked for yet.
    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Link::Http1(wire) => wire.liveness() == Liveness::Readable,
            Link::Http2(_) => false,
        }
    }

    /// Sends bytes of a tunnel.
    pub(crate) async fn send(&self, block: Block, wait: impl Fn() -> Ticks) -> io::Result<()> {
        match self {
            Link::Http1(wire) => wire.send(block, wait).await,
            Link::Http2(stream) => stream.send(block, Ends::Nothing, wait).await,
        }
    }

    /// Tells a client to send its body.
    pub(crate) async fn send_continue(&self, wait: impl Fn() -> Ticks) -> io::Result<()> {
        match self {
            Link::Http1(wire) => wire.send(Block::from_slice(CONTINUE), wait).await,
            Link::Http2(stream) => {
                let mut interim = http::Response::new(());
                *interim.status_mut() = http::StatusCode::CONTINUE;
                stream.send_interim(interim)
            }
        }
    }
}
