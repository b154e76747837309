//! HTTP/1.0 and HTTP/1.1 on the wire (RFC 9112): heads and bodies from bytes and back.
//!
//! Strict: where a lenient reader and a strict one could disagree about where a message ends or
//! what it says, the message is refused.

pub mod body;
pub mod chunked;
mod diagnose;
pub mod encode;
pub mod error;
pub mod parse;
pub(super) mod rules;
mod target;
#[cfg(test)]
mod tests;
pub mod trailers;

pub use crate::http::limits::CHUNK_TAILROOM;
pub use body::{BodyDecoder, BodyState, BodyStep};
pub use chunked::{ChunkEnd, ChunkedDecoder, Decoded, Framed, encode_chunk, frame_chunk};
pub use encode::{
    CONTINUE, Connection, Relay, RequestOut, ResponseOut, SimpleResponse, client_framing,
    encode_request, encode_response, encode_simple_response,
};
pub use error::{BodyError, HeadError};
pub use parse::{HeadLimits, Parse, Resume, parse_request, parse_response};
