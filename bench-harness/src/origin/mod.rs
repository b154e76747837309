//! `ringgate-bench origin`: a server that does what a request's query asks for, at less cost per
//! request than any proxy in front of it.
//!
//! A request that equals the one before it on its connection is not parsed again, responses are
//! built once, what was pipelined is answered in one send, and large bodies come from blocks that
//! were filled beforehand.

mod answer;
mod connection;
mod counts;
mod dice;
mod http2;
mod input;
mod query;
mod timers;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use clap::Args;
use ringgate_core::http::RequestHead;
use ringgate_core::rt;
use ringgate_core::tls::ServerTls;

use crate::Ended;
use crate::cores::Cores;
use crate::fault::Result;
use crate::wire::serve::{self, DriverChoice};
use crate::wire::{Alpn, Resumption, tls};
use answer::Bodies;
use counts::Counts;
use dice::Dice;
use timers::Timers;

/// Options of `origin`.
#[derive(Debug, Args)]
#[command(after_long_help = QUERY_HELP)]
pub struct Command {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, each with a socket of its own on the same port.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Cores to run on, one for each thread, over and over; without it the kernel chooses.
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// Speaks TLS with this certificate chain, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How it waits for the kernel.
    #[arg(long, value_enum, default_value_t)]
    driver: DriverChoice,
}

const QUERY_HELP: &str = "\
Query parameters, on any path:
  size=64k            a body of that many bytes (k and m are KiB and MiB)
  status=404          the status
  chunked=4k          the body in chunks of that size
  delay=fixed:5ms     waits first; also uniform:1ms..9ms, exp:5ms, normal:5ms,1ms
  error=0.01          that share of the requests fails, with 503
  error_status=500    or with this status
  close=after         closes behind the response; before: without one; mid: in the middle of its
                      body; reset: resets the connection without one
  stall=1s            the whole thread stands still that long, and everybody on it waits
Without any of these: 200 and 47 bytes of JSON. Request bodies are read and dropped.
HTTP/2 is spoken to who begins with its preface, and over TLS to who asks for it. There chunked,
close and stall are passed over; a gRPC call is answered with one message of the size and the
status 0, and a failing one with 14.
GET /-/stats answers {\"accepted\":N,\"requests\":N,\"open\":N} and counts in none of them.

When it serves it prints {\"ready\":true,\"address\":\"127.0.0.1:PORT\",\"pid\":N}; SIGTERM ends it.";

impl Command {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// When it cannot listen, its certificate is of no use, or a thread cannot be set up.
    pub fn run(&self) -> Result<Ended> {
        // What the limit is shows when it is hit.
        let _ = rt::raise_descriptor_limit();
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some(tls::server_from_files(
                chain,
                key,
                &[Alpn::H2, Alpn::Http1],
                Resumption::On,
            )?),
            _ => None,
        };
        let cores = self.cores.as_ref();
        let address = start(self.listen, self.threads, cores, self.driver, tls)?;
        serve::until_stopped(address)
    }
}

/// Starts an origin inside this process, on threads of its own; it serves until the process
/// ends.
///
/// # Errors
/// When it cannot listen, or a thread cannot be set up.
pub fn start(
    listen: SocketAddr,
    threads: u16,
    cores: Option<&Cores>,
    driver: DriverChoice,
    tls: Option<ServerTls>,
) -> Result<SocketAddr> {
    let driver = driver.driver()?;
    let (address, listeners) = serve::listen(listen, usize::from(threads))?;
    let counts: Arc<[Counts]> = listeners.iter().map(|_| Counts::default()).collect();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (counts, tls) = (Arc::clone(&counts), tls.clone());
        let name = format!("origin-{index}");
        serve::start(&name, serve::core_of(cores, index), driver, move || {
            serve_on(listener, index, counts, tls)
        })?;
    }
    Ok(address)
}

/// What the connections of one thread share.
struct Thread {
    index: usize,
    counts: Arc<[Counts]>,
    tls: Option<ServerTls>,
    timers: Timers,
    dice: Dice,
    bodies: Bodies,
    /// Memory to parse heads in; empty between two of them.
    head: RefCell<RequestHead>,
}

impl Thread {
    fn counts(&self) -> &Counts {
        &self.counts[self.index]
    }
}

async fn serve_on(
    listener: OwnedFd,
    index: usize,
    counts: Arc<[Counts]>,
    tls: Option<ServerTls>,
) -> io::Result<()> {
    let thread = Rc::new(Thread {
        index,
        counts,
        tls,
        timers: Timers::start()?,
        dice: Dice::new(index as u64),
        bodies: Bodies::default(),
        head: RefCell::default(),
    });
    serve::accept_all(listener, move |socket| {
        let serving = connection::serve(socket, Rc::clone(&thread));
        // The panic itself is on standard error; the others go on.
        rt::spawn(rt::isolate(serving, || {}));
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
