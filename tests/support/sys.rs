//! The few system calls that the standard library does not offer: signals, the
//! descriptor limit and a close that resets. The only unsafe code of the tests.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a test sends to a process that it started.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    Terminate,
    Interrupt,
    Hangup,
    /// SIGKILL: a crash.
    Kill,
    /// SIGUSR1: open log files again.
    Reopen,
    /// SIGSTOP: stand still.
    Stop,
    /// SIGCONT: go on.
    Continue,
}

/// Sends `signal` to the process `pid`, which this test started and has not reaped.
pub fn signal(pid: u32, signal: Signal) {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Interrupt => libc::SIGINT,
        Signal::Hangup => libc::SIGHUP,
        Signal::Kill => libc::SIGKILL,
        Signal::Reopen => libc::SIGUSR1,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
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

/// Makes the kernel refuse io_uring to the process that `command` starts, as container
/// runtimes do.
pub fn refuse_io_uring(command: &mut Command) {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf: 0,
        k,
    };
    let setup = u32::try_from(libc::SYS_io_uring_setup).unwrap();
    let refusal = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let mut program = [
        // The number of the system call is the first word that a filter can load.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, setup)
        },
        statement(libc::BPF_RET | libc::BPF_K, refusal),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: 4,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: plain integers; no memory is touched.
        let private = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let filter = &raw const program;
        // SAFETY: `program` and the four statements it points to outlive the call, which
        // copies them.
        let filtered =
            unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, filter) };
        match (private, filtered) {
            (0, 0) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure only makes two system calls; it neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(install) };
}
