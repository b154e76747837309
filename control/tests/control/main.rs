//! The control plane with a node that is a fake and sockets, files and signals that are real.
#![allow(clippy::unwrap_used, missing_docs)]

mod admin;
mod dns;
mod fake;
mod isolation;
mod log;
mod name_server;
#[path = "../../../tests/support/pebble.rs"]
mod pebble;
#[allow(dead_code, reason = "some of it is for the cases of the gateway")]
#[path = "../../../tests/support/redis.rs"]
mod redis;
mod reload;
mod signals;
mod watch;
mod with_pebble;
mod with_redis;
