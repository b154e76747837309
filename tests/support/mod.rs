//! What the cases stand on: the gateway as a process, a scripted origin, a raw client,
//! and deadlines that turn a hang into a failure. No case asserts how long a thing took.

pub mod certificates;
mod client;
mod command;
pub mod curl;
pub mod frames;
mod gateway;
pub mod hpack;
pub mod load;
pub mod message;
mod nginx;
pub mod node;
mod origin;
pub mod pebble;
mod peer;
pub mod process;
pub mod python;
pub mod redis;
mod setup;
pub mod sys;

use std::time::{Duration, Instant};

pub use client::Client;
pub use command::{Run, ringgate, run, run_in};
pub use gateway::Gateway;
pub use message::{Framing, Request, Response};
pub use nginx::Nginx;
pub use origin::{Conn, Origin, ok};
pub use peer::Peer;
pub use setup::{Driver, Setup};

/// How long anything may take before a case calls it a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a plain GET.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
}

/// Waits until `holds`, and fails with `what` when it never does.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets a peer run on. Correctness must not hang on the length: it only gives a fault
/// the time to show.
pub fn settle() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Makes two tests of each case `fn name(driver: Driver)`: one for each driver.
macro_rules! on_both_drivers {
    ($($case:ident),+ $(,)?) => {
        mod io_uring {
            $(#[test] fn $case() { super::$case($crate::support::Driver::IoUring); })+
        }
        mod epoll {
            $(#[test] fn $case() { super::$case($crate::support::Driver::Epoll); })+
        }
    };
}
pub(crate) use on_both_drivers;
