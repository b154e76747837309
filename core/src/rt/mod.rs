//! The runtime boundary: the only place that names monoio, the kernel's rings or epoll.
//!
//! Everything above sees sockets that lend received bytes in blocks, a coarse timer wheel,
//! a clock, a wake-up from other threads, and `spawn`. One [`block_on`] runs per data-plane
//! thread and is never dropped while the process lives. `docs/decisions/0001-monoio.md`
//! says why monoio is used under rules; the rules live here.

pub mod addr;
#[allow(unsafe_code)]
mod affinity;
#[allow(unsafe_code)]
pub mod clock;
mod isolate;
mod join;
mod listener;
mod pause;
#[allow(unsafe_code)]
mod pooled;
#[allow(unsafe_code)]
mod socket;
#[allow(unsafe_code)]
mod tick;
mod wake;
pub mod wheel;

use std::future::Future;
use std::io;

pub use addr::Addr;
pub use affinity::{available_cores, pin_to};
pub use isolate::isolate;
pub use join::{First, join, race};
pub use listener::{Accepted, Listener, bind};
pub use pause::pause;
pub use pooled::{pooled, trim_pooled};
pub use socket::{CHUNK_TAILROOM, Liveness, Socket};
pub use tick::every_tick;
pub use wake::{WakeHandle, WakeSource, wake_pair};

/// How a data-plane thread waits for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Submission and completion rings.
    IoUring,
    /// Readiness, where rings are refused (as in most containers).
    Epoll,
}

impl Driver {
    /// The name used in configuration, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }
    }
}

/// Submission queue entries of one core's ring.
const RING_ENTRIES: u32 = 4096;
/// Completion queue entries: connections that wait hold one operation each, and a burst of
/// completions must not overflow.
const COMPLETION_ENTRIES: u32 = 4 * RING_ENTRIES;

/// Asks the kernel for a ring as a worker would build it.
///
/// # Errors
/// What the kernel said, with the usual cause, when rings cannot be had.
pub fn probe_io_uring() -> Result<(), String> {
    let ring = ring_builder().build(RING_ENTRIES).map_err(|error| {
        let cause = match error.raw_os_error() {
            Some(libc::ENOSYS) => "the kernel has no io_uring",
            Some(libc::EPERM | libc::EACCES) => {
                "io_uring is forbidden here (seccomp profile or kernel.io_uring_disabled)"
            }
            Some(libc::ENOMEM) => "the locked-memory limit (ulimit -l) is too small",
            Some(libc::EINVAL) => "the kernel is older than 6.0",
            _ => "io_uring cannot be set up",
        };
        format!("{cause}: {error}")
    })?;
    let mut probe = io_uring::Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| format!("io_uring cannot be probed: {error}"))?;
    use io_uring::opcode;
    let needed = [
        opcode::Recv::CODE,
        opcode::Send::CODE,
        opcode::PollAdd::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
    ];
    match needed.iter().all(|code| probe.is_supported(*code)) {
        true => Ok(()),
        false => Err("this kernel's io_uring lacks operations that Ringgate needs".to_owned()),
    }
}

fn ring_builder() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    // DEFER_TASKRUN would save more, but monoio's non-park path never reaps completions
    // under it: two tasks that wake each other would stop all I/O of the core.
    builder
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_cqsize(COMPLETION_ENTRIES);
    builder
}

/// Runs `future` to its end on this thread with the chosen driver.
///
/// # Errors
/// When the kernel refuses the ring or the epoll descriptor.
pub fn block_on<F: Future>(driver: Driver, future: F) -> io::Result<F::Output> {
    match driver {
        Driver::IoUring => {
            let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .with_entries(RING_ENTRIES)
                .uring_builder(ring_builder())
                .build()?;
            socket::set_driver(driver);
            Ok(runtime.block_on(future))
        }
        Driver::Epoll => {
            let mut runtime = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
                .with_entries(RING_ENTRIES)
                .build()?;
            socket::set_driver(driver);
            Ok(runtime.block_on(future))
        }
    }
}

/// Starts a task on this thread. It runs until it ends; there is no handle.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(future));
}
