//! HTTP/2 on both sides: the maintained `h2` crate over our wires, its streams as links of
//! exchanges.
//!
//! One task drives a connection and begins a task for each request on it; a stream's task
//! speaks to the driver through the crate alone. Nothing of one stream waits for another but by
//! the flow control of their connection.

mod channel;
mod chunk;
mod client;
mod count;
mod heads;
mod server;
mod stream;

use h2::Reason;

use crate::error::Fault;
use crate::http::h1::BodyError;

pub use channel::Channel;
pub(crate) use client::{Multiplexed, connect};
pub(crate) use heads::{Started, response};
pub(crate) use server::serve;
pub(crate) use stream::{Answered, Stream};

/// What an origin's failure means for the request on a stream.
pub(crate) fn fault_of(error: &h2::Error) -> Fault {
    // A GOAWAY ends only streams that the origin has not looked at (RFC 9113, 6.8).
    let unseen =
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
    match unseen {
        true => Fault::StreamRefused,
        // What it sent is no HTTP/2, or breaks it.
        false if error.is_library() => Fault::OriginProtocol,
        // It has looked at the request: that is an answer which was cut, not a connection that
        // had died before.
        false if error.is_remote() && error.is_reset() => Fault::ResponseBody(BodyError::Truncated),
        false => Fault::OriginClosed,
    }
}

/// Body bytes of one stream that wait in the codec at most.
const SEND_BUFFER_MAX: usize = 128 << 10;
/// The largest frame that is received: larger ones cost fewer calls for large bodies.
const FRAME_MAX: u32 = 64 << 10;
