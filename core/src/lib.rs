//! Ringgate's engine: codec, runtime boundary, connections, relay, pools.
//!
//! A library: the policy chain is a type parameter, so it can be embedded with a chain of
//! one's own. `docs/architecture.md` follows a request through these files.

pub mod block;
pub mod http;
