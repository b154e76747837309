//! What the bench's own servers have in common: threads of their own on the runtime, listening
//! sockets that share a port, and the line that says they are ready.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{self, Addr, Driver, Listener, Socket};
use serde::Serialize;

use crate::Ended;
use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::{interrupt, output};

/// How the bench's threads wait for the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DriverChoice {
    /// Rings where the kernel gives them, else readiness.
    #[default]
    Auto,
    /// Rings, or nothing.
    #[value(name = "io_uring")]
    IoUring,
    /// Readiness.
    Epoll,
}

impl DriverChoice {
    /// The driver to use here.
    ///
    /// # Errors
    /// When rings are asked for and refused.
    pub fn driver(self) -> Result<Driver> {
        // On a thread of its own: taking a ring down interrupts what its thread does next.
        let probe = thread::spawn(rt::probe_io_uring).join();
        let probed = probe.unwrap_or_else(|_| Err("io_uring cannot be probed".to_owned()));
        match (self, probed) {
            (DriverChoice::Epoll, _) | (DriverChoice::Auto, Err(_)) => Ok(Driver::Epoll),
            (_, Ok(())) => Ok(Driver::IoUring),
            (DriverChoice::IoUring, Err(why)) => {
                Err(Fault::Setup(format!("{why}; try --driver epoll, or auto")))
            }
        }
    }
}

/// The core of the n-th thread: one after the other, over and over. `None` leaves it to the
/// kernel.
pub fn core_of(cores: Option<&Cores>, thread: usize) -> Option<usize> {
    let numbers = cores?.numbers();
    numbers.get(thread.checked_rem(numbers.len())?).copied()
}

/// Listening sockets on one address, one for each thread; port 0 is one of the system's choice.
///
/// # Errors
/// When the address is in use or not one of this machine.
pub fn listen(address: SocketAddr, threads: usize) -> Result<(SocketAddr, Vec<OwnedFd>)> {
    let refused = |error: io::Error| Fault::io(&format!("listen on {address}"), &error);
    let first = rt::bind(&Addr::Tcp(address), BACKLOG).map_err(refused)?;
    let first = TcpListener::from(first);
    let bound = first.local_addr().map_err(refused)?;
    let mut sockets = vec![OwnedFd::from(first)];
    for _ in 1..threads {
        sockets.push(rt::bind(&Addr::Tcp(bound), BACKLOG).map_err(refused)?);
    }
    Ok((bound, sockets))
}

const BACKLOG: i32 = 4096;

/// Starts a thread that runs what `begin` makes on a runtime of its own, with deadlines and
/// pauses at work, until the process ends; waits until `begin` has been called.
///
/// # Errors
/// When the thread, its core or the driver cannot be had.
pub fn start<F, W>(name: &str, core: Option<usize>, driver: Driver, begin: F) -> Result<()>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = io::Result<()>>,
{
    let (started, outcome) = channel();
    let body = move || {
        let _abort = AbortOnPanic;
        if let Some(Err(error)) = core.map(rt::pin_to) {
            let allowed = Cores::allowed().map_or_else(|_| "?".to_owned(), |c| c.to_string());
            let why = format!("{error}; --cores takes those that this process may use: {allowed}");
            let _ = started.send(Err(io::Error::new(error.kind(), why)));
            return;
        }
        let told = started.clone();
        let ran = rt::block_on(driver, async {
            rt::spawn(async {
                if let Err(error) = rt::every_tick(|| true).await {
                    panic!("no deadlines without a tick: {error}");
                }
            });
            let work = begin();
            let _ = told.send(Ok(()));
            if let Err(error) = work.await {
                panic!("the thread cannot serve: {error}");
            }
            // Operations may be under way in the kernel with memory of this runtime: it is never
            // dropped while the process lives.
            loop {
                rt::pause(Ticks(600)).await;
            }
        });
        let ran: io::Result<std::convert::Infallible> = ran;
        let Err(error) = ran;
        let _ = started.send(Err(error));
    };
    let doing = match core {
        Some(core) => format!("start the thread {name} on core {core}"),
        None => format!("start the thread {name}"),
    };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map_err(|error| Fault::io(&doing, &error))?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Fault::io(&doing, &error)),
        Err(_) => Err(Fault::Setup(format!("cannot {doing}: it ended at once"))),
    }
}

/// A server that lacks a thread would be measured as a slow one.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// Accepts for ever, and hands every connection to `serve`.
///
/// # Errors
/// When the listener cannot be registered, or was shut down.
pub async fn accept_all(listener: OwnedFd, mut serve: impl FnMut(Socket)) -> io::Result<()> {
    let listener = Listener::adopt(listener)?;
    loop {
        listener.ready().await?;
        for _ in 0..BURST_MAX {
            match listener.accept() {
                Ok(Some(accepted)) => {
                    if let Ok((socket, _)) = accepted.adopt() {
                        serve(socket);
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    // Out of descriptors: trying again at once would only spin.
                    rt::pause(Ticks(1)).await;
                    break;
                }
            }
        }
        // New connections get their first turn before more are taken.
        rt::yield_turn().await;
    }
}

/// Connections accepted in one turn.
const BURST_MAX: usize = 64;

/// Says that a server serves, and waits for the signal that ends it.
///
/// # Errors
/// None; the type is that of a command.
pub fn until_stopped(address: SocketAddr) -> Result<Ended> {
    let line = Ready {
        ready: true,
        address,
        pid: std::process::id(),
    };
    // Three plain values: this cannot fail.
    output::say(&serde_json::to_string(&line).unwrap_or_default());
    while interrupt::pause(Duration::from_secs(60)).is_ok() {}
    Ok(Ended::well(String::new()))
}

/// The line on standard output that says where a server serves.
#[derive(Debug, Serialize)]
struct Ready {
    ready: bool,
    address: SocketAddr,
    pid: u32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn threads_take_turns_on_the_cores() {
        let cores = Cores::new([1, 3]).unwrap();
        let of = |thread| core_of(Some(&cores), thread);
        assert_eq!((of(0), of(1), of(2)), (Some(1), Some(3), Some(1)));
        assert_eq!(core_of(None, 7), None);
    }

    #[test]
    fn sockets_of_all_threads_share_one_port() {
        let (address, sockets) = listen("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(sockets.len(), 3);
    }
}
