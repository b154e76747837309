//! What a run is to do, checked: everything that can be wrong with the command line is found
//! here, before anything is connected.

use std::net::SocketAddr;
use std::time::Duration;

use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{Addr, Driver};
use ringgate_core::tls::ClientTls;

use super::Command;
use super::mix::Mix;
use super::pace::{self, Step};
use crate::cores::Cores;
use crate::fault::{Fault, Result};
use crate::wire::{Alpn, Resumption, Trust, tls};

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// Where to, as it was given.
    pub target: http::Uri,
    /// The address of its host.
    pub addr: Addr,
    /// How connections are encrypted, if they are.
    pub tls: Option<ClientTls>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether connections are used again.
    pub reuse: Reuse,
    /// Connections of all threads together that carry the load.
    pub connections: u32,
    /// Further connections that make one request and then stay idle.
    pub idle: u32,
    /// Requests under way on each connection.
    pub in_flight: u32,
    /// Threads.
    pub threads: u32,
    /// Where to pin them, one after the other.
    pub cores: Option<Cores>,
    /// How they wait.
    pub driver: Driver,
    /// What is asked.
    pub mix: Mix,
    /// Requests due per second in steps of equal length; none for a closed loop.
    pub rates: Option<Vec<f64>>,
    /// When measuring begins and ends.
    pub window: Window,
    /// How long an answer may take, or a connection to be set up.
    pub timeout: Duration,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1
    #[value(name = "http/1.1", aliases = ["http1.1", "h1", "http1"])]
    Http1,
    /// HTTP/2: without TLS by prior knowledge
    #[value(name = "h2", aliases = ["http/2", "http2"])]
    Http2,
}

impl Protocol {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "http/1.1",
            Protocol::Http2 => "h2",
        }
    }
}

/// Whether connections are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// For as long as the server keeps them.
    Kept,
    /// Each request is made on a connection of its own.
    EachNew,
}

/// What counts, in nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The end of the warm-up.
    pub from: u64,
    /// The end of the run, exclusive.
    pub to: u64,
}

impl Window {
    /// Whether something at this time counts.
    pub const fn holds(self, time: u64) -> bool {
        self.from <= time && time < self.to
    }

    /// Its length.
    pub const fn seconds(self) -> f64 {
        (self.to - self.from) as f64 / 1e9
    }
}

impl Plan {
    /// The plan of a command line.
    ///
    /// # Errors
    /// Whatever is wrong with it, and names or files that cannot be found.
    pub fn of(command: &Command) -> Result<Plan> {
        command.check()?;
        let target = command.url.clone();
        let secure = target.scheme() == Some(&http::uri::Scheme::HTTPS);
        let host = target.host().unwrap_or_default().to_owned();
        let port = target.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let protocol = command.protocol;
        let reuse = match command.new_connections {
            true => Reuse::EachNew,
            false => Reuse::Kept,
        };
        let tls = match secure {
            true => Some(tls_of(command, &host, protocol)?),
            false => None,
        };
        let nanos = |seconds: f64| (seconds * 1e9) as u64;
        Ok(Plan {
            addr: Addr::Tcp(resolve(&host, port)?),
            mix: Mix::of(command, &target, reuse)?,
            tls,
            protocol,
            reuse,
            connections: command.connections,
            idle: command.idle,
            in_flight: command.in_flight,
            threads: command.threads,
            cores: command.cores.clone(),
            driver: command.driver.driver()?,
            rates: (!command.rate.is_empty()).then(|| command.rate.clone()),
            window: Window {
                from: nanos(command.warmup),
                to: nanos(command.warmup) + nanos(command.seconds),
            },
            timeout: Duration::from_secs_f64(command.timeout),
            target,
        })
    }

    /// The steps of an open loop; none of a closed one.
    pub fn steps(&self) -> Option<Vec<Step>> {
        let rates = self.rates.as_ref()?;
        Some(pace::steps(rates, self.window.from, self.window.to))
    }

    /// The measured part of each step, when there are several.
    pub fn step_windows(&self) -> Vec<Window> {
        let steps = self.steps().filter(|steps| steps.len() > 1);
        let steps = steps.unwrap_or_default().into_iter();
        let windows = steps.map(|step| Window {
            from: step.from.max(self.window.from),
            to: step.to,
        });
        windows.collect()
    }

    /// How long an answer may take, as the runtime counts.
    pub fn patience(&self) -> Ticks {
        Ticks::from(self.timeout)
    }

    /// The part of `total` that is one thread's.
    pub fn share(&self, total: u32, thread: u32) -> u32 {
        total / self.threads + u32::from(thread < total % self.threads)
    }
}

fn tls_of(command: &Command, host: &str, protocol: Protocol) -> Result<ClientTls> {
    let trust = match (&command.ca, command.insecure) {
        (_, true) => Trust::Anyone,
        (Some(file), _) => Trust::File(file.clone()),
        (None, _) => Trust::System,
    };
    let resumption = match command.no_resumption {
        true => Resumption::Off,
        false => Resumption::On,
    };
    let alpn = match protocol {
        Protocol::Http1 => Alpn::Http1,
        Protocol::Http2 => Alpn::H2,
    };
    let name = command.server_name.as_deref().unwrap_or(host);
    tls::client(name, &trust, alpn, resumption)
}

#[allow(
    clippy::disallowed_methods,
    reason = "asked once, before there is anything to hold up"
)]
fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port).to_socket_addrs().map_err(|error| {
        Fault::Setup(format!(
            "the address of `{bare}` cannot be found: {error}; check the name, or give an \
             address and the name as --header 'Host: {bare}'"
        ))
    })?;
    // A server on this machine listens on 127.0.0.1 more often than on ::1.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let first = found.first().copied();
    first.ok_or_else(|| Fault::Setup(format!("the name `{bare}` has no address")))
}

/// Reads a size such as `512`, `64KiB`, `1MiB` or `10MB`.
///
/// # Errors
/// What it should look like.
pub fn size(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as 512, 64KiB or 10MiB");
    let at = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let scale = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number = number.parse::<u64>().map_err(|_| wrong())?;
    number.checked_mul(scale).ok_or_else(wrong)
}

/// Reads a rate such as `500`, `2.5` or `20k`.
///
/// # Errors
/// What it should look like.
pub fn rate(text: &str) -> std::result::Result<f64, String> {
    let wrong = || format!("{text:?} is not a rate in requests per second such as 500 or 20k");
    let (number, scale) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => (text, 1.0),
    };
    let rate = number.parse::<f64>().map_err(|_| wrong())? * scale;
    // Above it the schedule could not be told apart by nanoseconds.
    let sound = (1e-3..=1e8).contains(&rate);
    sound.then_some(rate).ok_or_else(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1m"), Ok(1 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        for wrong in ["", "k", "-1", "1.5k", "1 parsec", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!(rate("500"), Ok(500.0));
        assert_eq!(rate("2.5k"), Ok(2500.0));
        for wrong in ["", "0", "-3", "nan", "inf", "1e12", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn literal_addresses_need_no_resolver() {
        assert_eq!(resolve("[::1]", 8).unwrap().to_string(), "[::1]:8");
        assert_eq!(resolve("127.0.0.1", 8).unwrap().to_string(), "127.0.0.1:8");
    }
}
