//! One lookup: `/etc/hosts`, then the name servers for A and AAAA. The system's files are read
//! again when they change.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{IntoName, Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tracing::warn;

use super::{DnsOptions, LOOKUP_TIMEOUT};

/// Looks names up. Clones share everything.
#[derive(Clone)]
pub(super) struct Names {
    resolver: Result<TokioResolver, LookupError>,
    hosts: Arc<Hosts>,
    options: Arc<DnsOptions>,
    files: [Option<FileStamp>; 2],
}

/// The addresses of a name, never empty, sorted, IPv4 first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    /// Already between the configured bounds.
    pub(super) ttl: Duration,
}

/// Why a name has no addresses, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LookupError(String);

impl LookupError {
    pub(super) fn panicked() -> Self {
        Self("the lookup panicked; please report this".to_owned())
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Names {
    pub(super) fn new(options: Arc<DnsOptions>) -> Self {
        let resolver = build(&options);
        if let Err(cause) = &resolver {
            warn!(%cause, "names cannot be looked up; check /etc/resolv.conf");
        }
        Self {
            resolver,
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            options,
            files: stamps(),
        }
    }

    /// Reads `/etc/resolv.conf` and `/etc/hosts` again if either changed. True if so.
    pub(super) fn reread(&mut self) -> bool {
        if stamps() == self.files {
            return false;
        }
        *self = Self::new(Arc::clone(&self.options));
        true
    }

    pub(super) async fn lookup(&self, name: &str) -> Result<Answer, LookupError> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(self.answer(vec![address], Duration::MAX));
        }
        let parsed = name
            .into_name()
            .map_err(|cause| LookupError(format!("{name:?} is not a host name: {cause}")))?;
        let listed = self.listed(&parsed);
        if !listed.is_empty() {
            return Ok(self.answer(listed, Duration::MAX));
        }
        let resolver = self.resolver.as_ref().map_err(Clone::clone)?;
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(parsed))
            .await
            .map_err(|_| LookupError(TIMEOUT.to_owned()))?
            .map_err(|cause| explain(&cause))?;
        let records = found.as_lookup().answers();
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() {
            return Err(LookupError(NO_ADDRESS.to_owned()));
        }
        Ok(self.answer(addresses, Duration::from_secs(u64::from(ttl))))
    }

    /// What `/etc/hosts` says. A name that is in it is not asked for on the network, so that
    /// such names work, and work at once, where no name server answers.
    fn listed(&self, name: &Name) -> Vec<IpAddr> {
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| {
                self.hosts
                    .lookup_static_host(&Query::query(name.clone(), kind))
            })
            .flat_map(|found| {
                found
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn answer(&self, mut addresses: Vec<IpAddr>, ttl: Duration) -> Answer {
        addresses.sort_unstable();
        addresses.dedup();
        Answer {
            addresses,
            ttl: ttl.min(self.options.ttl_max).max(self.options.ttl_min),
        }
    }
}

fn build(options: &DnsOptions) -> Result<TokioResolver, LookupError> {
    let (config, mut settings) = if options.nameservers.is_empty() {
        system_config()?
    } else {
        let servers = options.nameservers.iter().map(|&at| server(at)).collect();
        (
            ResolverConfig::from_name_servers(servers),
            ResolverOpts::default(),
        )
    };
    settings.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    settings.use_hosts_file = ResolveHosts::Never;
    // Every lookup here is made because the last answer is too old, or failed.
    settings.cache_size = 0;
    if let Some(timeout) = options.query_timeout {
        settings.timeout = timeout;
    }
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = settings;
    builder.build().map_err(|cause| explain(&cause))
}

/// Without a usable resolv.conf, a server on this host is asked, as resolv.conf(5) has it.
fn system_config() -> Result<(ResolverConfig, ResolverOpts), LookupError> {
    match read_system_conf() {
        Ok(found) => Ok(found),
        Err(cause) => {
            if !matches!(&cause, NetError::Io(io) if io.kind() == io::ErrorKind::NotFound) {
                warn!(%cause, "/etc/resolv.conf is not usable; asking a name server on 127.0.0.1");
            }
            let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            Ok((
                ResolverConfig::from_name_servers(vec![local]),
                ResolverOpts::default(),
            ))
        }
    }
}

fn server(at: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.into_iter().map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.collect())
}

fn explain(cause: &NetError) -> LookupError {
    LookupError(match cause {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if none.response_code == ResponseCode::NXDomain =>
        {
            "the name does not exist (NXDOMAIN)".to_owned()
        }
        NetError::Dns(DnsError::NoRecordsFound(_)) => NO_ADDRESS.to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => {
            format!("the name server answered: {code}")
        }
        NetError::Timeout => TIMEOUT.to_owned(),
        NetError::NoConnections => "no name server could be reached".to_owned(),
        other => other.to_string(),
    })
}

const NO_ADDRESS: &str = "the name has neither an A nor an AAAA record";
const TIMEOUT: &str = "no name server answered in time";

/// Identity of a file's content, as far as its metadata tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

fn stamps() -> [Option<FileStamp>; 2] {
    ["/etc/resolv.conf", "/etc/hosts"].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some(FileStamp {
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    })
}
