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
mod alarm;
#[allow(unsafe_code)]
pub mod clock;
#[allow(unsafe_code)]
mod epoll;
mod isolate;
mod join;
#[allow(unsafe_code)]
mod limits;
mod listener;
#[allow(unsafe_code)]
mod memory;
mod pause;
#[allow(unsafe_code)]
mod pooled;
mod readiness;
#[allow(unsafe_code)]
mod ring;
#[allow(unsafe_code)]
mod socket;
#[allow(unsafe_code)]
mod tasks;
#[allow(unsafe_code)]
mod tick;
mod wake;
pub mod wheel;

use std::future::Future;
use std::io;

pub use addr::Addr;
pub use affinity::{available_cores, pin_to};
pub use alarm::{ring_alarms, sleep, sleep_until};
pub use isolate::isolate;
pub use join::{First, join, race};
pub use limits::raise_descriptor_limit;
pub use listener::{Accepted, Listener, bind};
pub use memory::release_free_memory;
pub use pause::{pause, yield_turn};
pub use pooled::{Pooled, pooled, trim_pooled};
pub use ring::Likely;
pub use socket::{CHUNK_TAILROOM, Liveness, Socket};
pub use tick::{every_tick, lateness};
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
    let ring = ring_builder()
        .and_then(|builder| builder.build(RING_ENTRIES))
        .map_err(|error| format!("{}: {error}", refusal(&error)))?;
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

fn refusal(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here (seccomp profile or kernel.io_uring_disabled)"
        }
        Some(libc::ENOMEM) => "the locked-memory limit (ulimit -l) is too small for io_uring",
        Some(libc::EINVAL) => {
            "the kernel is too old for io_uring as Ringgate uses it (before 5.19)"
        }
        _ => "io_uring cannot be set up",
    }
}

/// The best flags that this kernel takes. `docs/decisions/0005-ring-flags.md` says what each
/// is worth and what the first one asks of the tasks above.
fn ring_builder() -> io::Result<io_uring::Builder> {
    let plain = || {
        let mut builder = io_uring::IoUring::builder();
        builder.setup_cqsize(COMPLETION_ENTRIES);
        builder
    };
    let mut deferred = plain();
    deferred.setup_single_issuer().setup_defer_taskrun();
    let mut single = plain();
    single.setup_single_issuer().setup_coop_taskrun();
    let mut cooperative = plain();
    cooperative.setup_coop_taskrun();
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for builder in [deferred, single, cooperative] {
        match builder.build(8) {
            Ok(_) => return Ok(builder),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Runs `future` to its end on this thread with the chosen driver.
///
/// # Errors
/// When the kernel refuses the ring or the epoll descriptor.
pub fn block_on<F: Future>(driver: Driver, future: F) -> io::Result<F::Output> {
    match driver {
        Driver::IoUring => {
            ring::install(|| ring_builder()?.build(RING_ENTRIES))?;
            socket::set_driver(driver);
            let output = tasks::run(future, ring::park);
            // What was closed in the last turn.
            ring::park(tasks::Wait::No);
            Ok(output)
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
    match socket::driver() {
        Driver::IoUring => tasks::spawn(future),
        Driver::Epoll => drop(monoio::spawn(future)),
    }
}
