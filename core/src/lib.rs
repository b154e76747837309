//! Ringgate's engine: codec, runtime boundary, connections, relay, pools.
//!
//! A library: the policy chain is a type parameter, so it can be embedded with a chain of
//! one's own. `docs/architecture.md` follows a request through these files.

pub mod access;
pub mod acme;
pub mod answer;
pub mod arrivals;
pub mod balance;
pub mod base64;
pub mod block;
mod call;
pub mod chain;
mod client;
pub mod client_hello;
mod connection;
pub mod counts;
mod course;
mod deadline;
mod decide;
mod departure;
pub mod errand;
pub mod error;
mod exchange;
pub mod explain;
pub mod fleet;
mod forward;
pub mod fuzz;
pub mod grpc;
mod halves;
pub mod http;
pub mod http2;
pub mod key;
mod link;
mod outgoing;
pub mod overload;
mod passing;
pub mod policy;
pub mod principal;
pub mod proxy_protocol;
mod reply;
pub mod resilience;
pub mod rt;
pub mod snapshot;
pub mod stats;
pub mod tls;
mod tunnel;
mod upgrade;
pub mod upstream;
pub mod wall;
pub mod websocket;
pub mod wire;
pub mod worker;
