//! Connections that carried one request and then stay open, held by the bench itself, and what
//! they cost in memory.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fault::{Fault, Result};
use crate::http::Connection;
use crate::interrupt;
use crate::procfs::{self, Pid};

/// Open connections; dropping them closes them.
#[derive(Debug)]
pub struct Held(Vec<Connection>);

impl Held {
    /// Opens so many, each of which carries one request.
    ///
    /// # Errors
    /// When one cannot be opened or is not answered with 200.
    pub fn open(address: SocketAddr, path: &str, count: u32) -> Result<Held> {
        let share = |opener: u32| (opener..count).step_by(OPENERS as usize);
        let opened: Vec<Result<Vec<Connection>>> = thread::scope(|scope| {
            let open = |opener| {
                move || {
                    share(opener)
                        .map(|number| one(address, path, number))
                        .collect()
                }
            };
            let openers: Vec<_> = (0..OPENERS)
                .map(|opener| scope.spawn(open(opener)))
                .collect();
            let failed = || Fault::Setup("a thread that opens connections failed".to_owned());
            let ends = openers.into_iter().map(|opener| opener.join());
            ends.map(|end| end.unwrap_or_else(|_| Err(failed())))
                .collect()
        });
        let opened: Result<Vec<Vec<Connection>>> = opened.into_iter().collect();
        Ok(Held(opened?.into_iter().flatten().collect()))
    }

    /// Checks that all are still open and nothing came on them.
    ///
    /// # Errors
    /// When some are not.
    pub fn check(&self) -> Result<()> {
        let quiet = |connection: &&Connection| connection.is_quiet().unwrap_or(false);
        let lost = self.0.len() - self.0.iter().filter(quiet).count();
        match lost {
            0 => Ok(()),
            _ => Err(Fault::Premise(format!(
                "{lost} of {} idle connections did not stay open",
                self.0.len()
            ))),
        }
    }
}

/// A connection that has carried a request.
fn one(address: SocketAddr, path: &str, number: u32) -> Result<Connection> {
    interrupt::check()?;
    let wrong = |what: String| Fault::Premise(format!("idle connection {number}: {what}"));
    let mut connection = Connection::open(address).map_err(|error| wrong(error.to_string()))?;
    let answer = connection.get(path);
    let status = answer.map_err(|error| wrong(error.to_string()))?.status;
    match status {
        200 => Ok(connection),
        _ => Err(wrong(format!("answered with {status}"))),
    }
}

/// What each of so many idle connections adds to the memory of a process that serves at
/// `address`, in bytes.
///
/// # Errors
/// When they cannot be opened, do not stay open, or the process is gone.
pub fn bytes_each(pid: Pid, address: SocketAddr, path: &str, count: u32) -> Result<f64> {
    // What the first request makes it allocate once is not a cost of each connection.
    drop(Held::open(address, path, 1)?);
    let before = settled(pid)?;
    let held = Held::open(address, path, count)?;
    let with = settled(pid)?;
    held.check()?;
    Ok((with as f64 - before as f64) / f64::from(count))
}

/// Memory once it no longer moves, or patience ends.
fn settled(pid: Pid) -> Result<u64> {
    let mut last = procfs::memory_of_tree(pid)?;
    interrupt::wait(SETTLE_MAX, || {
        interrupt::pause(SETTLE_STEP)?;
        let now = procfs::memory_of_tree(pid)?;
        let still = now == last;
        last = now;
        Ok(still.then_some(()))
    })?;
    Ok(last)
}

/// Raises the limit of open descriptors of this process, which those that it starts inherit, as
/// far as the system allows, and says how many there may be.
///
/// # Errors
/// When the system refuses even what it says it allows.
pub fn raise_descriptor_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let set = |value: u64, maximum: Option<u64>| {
        let limit = Rlimit {
            current: Some(value),
            maximum,
        };
        setrlimit(Resource::Nofile, limit).map(|()| value)
    };
    let allowed = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    // Only a privileged process may go beyond its hard limit.
    let more = set(
        DESCRIPTORS,
        limit.maximum.map(|maximum| maximum.max(DESCRIPTORS)),
    );
    more.or_else(|_| set(allowed, limit.maximum))
        .map_err(|error| Fault::io("raise the limit of open descriptors", &error.into()))
}

/// Threads that open connections: each waits most of the time.
const OPENERS: u32 = 16;

/// More than any scenario needs: 10,000 idle connections, each with one to the origin.
const DESCRIPTORS: u64 = 65_536;

const SETTLE_STEP: Duration = Duration::from_millis(300);
const SETTLE_MAX: Duration = Duration::from_secs(4);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn connections_that_are_closed_or_spoken_on_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let mut streams: Vec<_> = (0..2)
                .map(|_| {
                    let mut stream = listener.accept().unwrap().0;
                    let _ = stream.read(&mut [0; 1024]).unwrap();
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .unwrap();
                    stream
                })
                .collect();
            streams.pop();
            streams
        });
        let held = Held::open(address, "/", 2).unwrap();
        let streams = server.join().unwrap();
        let fault = held.check().unwrap_err().to_string();
        assert!(fault.contains("1 of 2"), "{fault}");
        drop(streams);
    }
}
