//! The few system calls that the standard library does not offer: signals, the
//! descriptor limit and a close that resets. The only unsafe code of the tests.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// What a test sends to a process that it started.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    Interrupt,
    Hangup,
    /// SIGUSR1: open log files again.
    Reopen,
}

/// Sends `signal` to the process `pid`, which this test started and has not reaped.
pub fn signal(pid: u32, signal: Signal) {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Interrupt => libc::SIGINT,
        Signal::Hangup => libc::SIGHUP,
        Signal::Reopen => libc::SIGUSR1,
    };
    let pid = i32::try_from(pid).unwrap();
    // SAFETY: kill takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid, number) };
}

/// Makes the coming close of `stream` a reset (RST) instead of an orderly end.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = u32::try_from(size_of::<libc::linger>()).unwrap();
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the
    // pointer and size describe one live `linger` value.
    let outcome = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(outcome, 0, "SO_LINGER: {}", std::io::Error::last_os_error());
}

/// Raises this process's soft descriptor limit to the hard one and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit, which the call fills.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(outcome, 0, "getrlimit: {}", std::io::Error::last_os_error());
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live rlimit, which the call only reads.
    let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(outcome, 0, "setrlimit: {}", std::io::Error::last_os_error());
    limit.rlim_cur
}

/// Lets `listener` hold as few unaccepted connections as the kernel allows.
pub fn shrink_accept_queue(listener: &TcpListener) {
    // SAFETY: the descriptor is open for as long as `listener` is borrowed.
    let outcome = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(outcome, 0, "listen: {}", std::io::Error::last_os_error());
}
