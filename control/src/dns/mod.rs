//! Name resolution for endpoints: once at start, so that the first snapshot has addresses, and
//! then in the background at the pace of each answer's TTL. Workers never look up a name.

mod lookup;
mod once;
mod refresh;

use std::net::SocketAddr;
use std::time::Duration;

pub use once::{Resolution, resolve_once};
pub(crate) use refresh::Refresher;

/// How names are looked up.
#[derive(Debug, Clone)]
pub struct DnsOptions {
    /// Name servers to ask; empty = those of `/etc/resolv.conf`, or 127.0.0.1 without one.
    pub nameservers: Vec<SocketAddr>,
    /// An answer is used at least this long, whatever its TTL. Also the first pause after a
    /// failure.
    pub ttl_min: Duration,
    /// An answer is asked for again after this, whatever its TTL.
    pub ttl_max: Duration,
    /// Longest pause between attempts for a name that fails.
    pub retry_max: Duration,
    /// How long one query waits for one server; absent = as `/etc/resolv.conf` says, else 5 s.
    pub query_timeout: Option<Duration>,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(3_600),
            retry_max: Duration::from_secs(60),
            query_timeout: None,
        }
    }
}

/// Names looked up at the same time. Each takes a socket or two.
const LOOKUPS_MAX: usize = 32;
/// One lookup ends after this, however many servers and search domains are left to try.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
