//! HTTP without I/O: heads, framing, header rules.
//!
//! Nothing here reads a socket or a clock. A head is a block of received bytes and a table of
//! offsets into it ([`RequestHead`], [`ResponseHead`]); [`h1`] turns bytes into heads and bodies
//! and back, [`h2`] what the HTTP/2 codec hands over.

pub mod authority;
pub mod date;
pub mod fields;
pub mod forwarding;
pub mod fuzz;
pub mod h1;
pub mod h2;
pub mod head;
pub mod known;
pub mod limits;
pub mod method;
pub mod query;
pub mod request_id;
mod text;

pub use fields::{Field, FieldLine, Fields, InvalidField, Span};
pub use forwarding::{Emit, Forwarding, Trust};
pub use head::{
    BodyLen, ConnectionOptions, RequestHead, ResponseHead, ResponseKind, TargetForm, TrailersOk,
};
pub use known::{Known, KnownSet};
pub use method::{Method, Version};
