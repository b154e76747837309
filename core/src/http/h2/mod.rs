//! HTTP/2 heads (RFC 9113, 8), between the codec's maps and our flat heads, and the guard over
//! the frames that cost a peer nothing.
//!
//! Nothing here trusts the codec: every rule that keeps a message from meaning two things, here
//! or once it is written as HTTP/1.1, is checked again, and what breaks one is refused.

pub mod guard;
mod map;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod text;
mod trailers;

pub use guard::{Flood, Guard, Role};
pub use map::fields_of;
pub use request::read_request;
pub use response::{read_response, switched};
pub use text::list_size_max;
pub use trailers::read_trailers;

/// Whether the stream goes on behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The head was the whole message.
    Ended,
    /// DATA or trailers follow.
    Follows,
}
