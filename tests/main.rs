//! End-to-end, conformance and fault tests, all against the real binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by panicking and explains itself on standard error"
)]

mod e2e;
mod faults;
mod http2;
mod smuggling;
mod soak;
mod support;
mod tidy;
