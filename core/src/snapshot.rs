//! The snapshot: the compiled, immutable view of the configuration that workers serve from.
//!
//! A reload builds a new one off the data plane and hands it to each core. What must outlive
//! it (connections, pools, counters, limits in use) is found again by name.

mod prepare;
mod speaks;
mod split;

use std::sync::Arc;

use ringgate_router::path::PathPolicy;
use ringgate_router::{Router, Template};

use crate::acme::Challenges;
use crate::arrivals::{Arrivals, Caps};
use crate::chain::{Answer, Filter, Program};
use crate::fleet::{EndpointState, RouteState, UpstreamState};
use crate::http::h1::HeadLimits;
use crate::key::{KeyNames, RouteNames};
use crate::policy::{Overload, RoutePolicy, UpstreamPolicy};
use crate::rt::Addr;
use crate::rt::wheel::Ticks;
use crate::stats::{PerCore, RouteStats, UpstreamStats};
use crate::tls::{ClientTls, ServerTls};
use crate::wire::Security;

pub use speaks::{ProxyVersion, UpstreamHttp2};
pub use split::Split;

/// Everything a core needs to serve requests.
pub struct Snapshot<F: Filter> {
    /// Counts reloads; the first snapshot is 1.
    pub generation: u64,
    /// Host, path and predicates to an index into `routes`.
    pub router: Router,
    /// The routes, by the router's ids.
    pub routes: Vec<Route<F>>,
    /// The upstreams; routes name them by index.
    pub upstreams: Vec<Upstream>,
    /// The listeners; connections name them by index.
    pub listeners: Vec<Listener>,
    /// How paths are normalised before routing.
    pub path_policy: PathPolicy,
    /// What is said to origins about the client.
    pub forwarding: ForwardingPolicy,
    /// What a certificate authority's challenges are answered from, before any route.
    pub challenges: Arc<Challenges>,
    /// When requests are refused because there are too many.
    pub overload: Overload,
    /// Filters of listeners, which their requests go through before they are routed.
    pub chains: Vec<Program<F>>,
}

impl<F: Filter> Snapshot<F> {
    /// The filters of a request: those of its listener, and those of its route once it has one.
    pub fn program(&self, route: Option<usize>, listener: usize) -> Option<&Program<F>> {
        let chain = self.chain(listener);
        match route.and_then(|route| self.routes.get(route)) {
            Some(route) => Some(route.program_behind(chain)),
            None => chain.and_then(|chain| self.chains.get(chain)),
        }
    }

    /// The chain of a listener.
    pub fn chain(&self, listener: usize) -> Option<usize> {
        self.listeners.get(listener)?.chain
    }
}

/// What is said to origins about the client, and whom to believe about it.
#[derive(Clone, Debug)]
pub struct ForwardingPolicy {
    /// Networks whose forwarded fields are believed.
    pub trusted: TrustedNetworks,
    /// Which fields are sent.
    pub emit: crate::http::Emit,
    /// The pseudonym in `Via`; none sends no `Via`.
    pub via: Option<Box<str>>,
    /// The name of the request id field; none sends and makes no ids.
    pub request_id: Option<Box<str>>,
    /// Fields by which origins are told of principals, in lower case: taken out of what clients
    /// send.
    pub reserved: Box<[Box<str>]>,
    /// Query parameters that carry credentials: their values are masked wherever a target is
    /// shown.
    pub secret_parameters: Box<[Box<str>]>,
}

/// A list of networks.
#[derive(Clone, Debug, Default)]
pub struct TrustedNetworks(Vec<(u128, u32)>);

impl TrustedNetworks {
    /// From addresses and prefix lengths. IPv4 is taken as IPv4-mapped IPv6.
    pub fn new(networks: impl IntoIterator<Item = (std::net::IpAddr, u8)>) -> TrustedNetworks {
        let mapped = networks.into_iter().map(|(addr, len)| match addr {
            std::net::IpAddr::V4(v4) => (bits(v4.to_ipv6_mapped()), u32::from(len) + 96),
            std::net::IpAddr::V6(v6) => (bits(v6), u32::from(len)),
        });
        TrustedNetworks(mapped.collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address lies in one of them.
    pub fn contains(&self, addr: std::net::IpAddr) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let addr = match addr {
            std::net::IpAddr::V4(v4) => bits(v4.to_ipv6_mapped()),
            std::net::IpAddr::V6(v6) => bits(v6),
        };
        self.0.iter().any(|(network, len)| match 128 - len {
            128 => true,
            host_bits => network >> host_bits == addr >> host_bits,
        })
    }
}

fn bits(addr: std::net::Ipv6Addr) -> u128 {
    u128::from_be_bytes(addr.octets())
}

/// A listener.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: Box<str>,
    /// Where it listens.
    pub addr: Addr,
    /// Its limits.
    pub limits: Limits,
    /// What a client's FIN behind its request means.
    pub half_close: HalfClose,
    /// What its connections carry.
    pub carries: Carries,
    /// How it speaks TLS; none speaks plain.
    pub tls: Option<Arc<ServerTls>>,
    /// Bounds of HTTP/2 connections.
    pub http2: Http2Limits,
    /// Whether HTTP/2 is understood without TLS.
    pub h2c: Http2Unasked,
    /// Peers whose connections begin with a PROXY protocol header.
    pub proxies: TrustedNetworks,
    /// Bounds of its connections by rate and by address.
    pub caps: Caps,
    /// Its connections on all cores.
    pub connections: Arc<Arrivals>,
    /// Which of the snapshot's chains its requests go through before they are routed.
    pub chain: Option<usize>,
}

/// What a listener's connections carry.
#[derive(Clone, Debug, Default)]
pub enum Carries {
    /// HTTP, routed request by request.
    #[default]
    Http,
    /// Bytes for one upstream, by index.
    Tcp(usize),
    /// TLS that is passed on as it is, by the name that its first message asks for.
    Tls(NamedUpstreams),
}

/// Upstreams by server name.
#[derive(Clone, Debug, Default)]
pub struct NamedUpstreams {
    /// Lower-case names, or `*.` and a suffix, with an upstream's index.
    pub names: Box<[(Box<str>, usize)]>,
    /// For any other name, and for none.
    pub otherwise: Option<usize>,
}

impl NamedUpstreams {
    /// The upstream of a name: its own, that of the longest wildcard, or the default one. A
    /// wildcard stands for one label or more.
    pub fn find(&self, name: Option<&str>) -> Option<usize> {
        let Some(name) = name else {
            return self.otherwise;
        };
        let exact = self
            .names
            .iter()
            .find(|(own, _)| name.eq_ignore_ascii_case(own));
        let wild = || {
            let covers = |own: &str| {
                own.strip_prefix('*').is_some_and(|suffix| {
                    let at = name.len().checked_sub(suffix.len()).filter(|at| *at > 0);
                    let end = at.and_then(|at| name.get(at..));
                    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
                })
            };
            let fitting = self.names.iter().filter(|(own, _)| covers(own));
            fitting.max_by_key(|(own, _)| own.len())
        };
        let found = exact.or_else(wild).map(|(_, upstream)| *upstream);
        found.or(self.otherwise)
    }
}

/// Whether HTTP/2 is understood where nothing has agreed on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2Unasked {
    /// A connection that begins with HTTP/2's preface is one of HTTP/2 (RFC 9113, 3.3).
    #[default]
    Accepted,
    /// It is refused.
    Refused,
}

/// Bounds of a client's HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams open at a time.
    pub streams_max: u32,
    /// Bytes of a request's body that may be under way unread.
    pub stream_window: u32,
    /// Bytes of all bodies together that may be under way unread.
    pub connection_window: u32,
    /// Streams that the client may cancel within ten seconds.
    pub resets_max: u32,
    /// PING frames within ten seconds.
    pub pings_max: u32,
    /// SETTINGS frames within ten seconds.
    pub settings_max: u32,
    /// Frames within ten seconds that carry nothing: empty DATA, PRIORITY, unknown ones.
    pub empty_frames_max: u32,
    /// Requests that a connection may begin within a second; `u32::MAX` for no limit.
    pub requests_per_second_max: u32,
}

impl Default for Http2Limits {
    fn default() -> Http2Limits {
        Http2Limits {
            streams_max: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            resets_max: 200,
            pings_max: 100,
            settings_max: 50,
            empty_frames_max: 200,
            requests_per_second_max: u32::MAX,
        }
    }
}

/// What a client's FIN behind its request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// The client has gone: the request is cancelled.
    Abort,
    /// The client still reads: it gets its answer, then the connection closes.
    Allow,
}

/// The limits of a listener's connections. `Ticks::NEVER` means no deadline.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of request heads.
    pub head: HeadLimits,
    /// Bytes of a request body; `u64::MAX` for no limit.
    pub body_max: u64,
    /// For a whole request head.
    pub header_timeout: Ticks,
    /// Keep-alive without a request.
    pub idle_timeout: Ticks,
    /// Between bytes of a request body.
    pub body_timeout: Ticks,
    /// For a client to take what is sent.
    pub send_timeout: Ticks,
    /// For a whole exchange.
    pub request_timeout: Ticks,
    /// A tunnel without a byte in either direction.
    pub tunnel_idle_timeout: Ticks,
    /// A whole tunnel.
    pub tunnel_timeout: Ticks,
    /// Open connections on all cores.
    pub connections_max: u32,
    /// Requests on one connection.
    pub requests_per_connection_max: u32,
    /// Bytes a second that a client sends of a body, and takes of an answer, at least: on average
    /// over ten seconds of waiting for it. Zero for no bound.
    pub rate_min: u32,
}

/// A route.
pub struct Route<F: Filter> {
    /// Its name.
    pub name: Box<str>,
    /// What keys of its requests are made with.
    pub names: RouteNames,
    /// What answers.
    pub action: Action,
    /// Its filters.
    pub program: Program<F>,
    /// For each of the snapshot's chains, that chain's filters and behind them the route's.
    pub chained: Box<[Program<F>]>,
    /// The path sent to the origin, from captures; none sends the normalised path.
    pub rewrite: Option<Template>,
    /// For a whole exchange; overrides the listener's.
    pub timeout: Option<Ticks>,
    /// Bytes of a request body; overrides the listener's.
    pub body_max: Option<u64>,
    /// The `Host` that origins see.
    pub upstream_host: UpstreamHost,
    /// Protocols that clients may upgrade to, lower case.
    pub upgrades: Box<[Box<str>]>,
    /// Its counters.
    pub stats: Arc<PerCore<RouteStats>>,
    /// Its traffic policies.
    pub policy: RoutePolicy,
    /// What all cores know of it.
    pub state: Arc<RouteState>,
}

impl<F: Filter> Route<F> {
    /// Its filters behind those of a chain.
    pub fn program_behind(&self, chain: Option<usize>) -> &Program<F> {
        let chained = chain.and_then(|chain| self.chained.get(chain));
        chained.unwrap_or(&self.program)
    }

    /// What keys of its requests are made with.
    pub fn key_names(&self) -> KeyNames<'_> {
        KeyNames::new(&self.names)
    }
}

/// What answers a route's requests.
#[derive(Clone, Debug)]
pub enum Action {
    /// An upstream, by index.
    Upstream(usize),
    /// One of several upstreams, drawn by weight.
    Split(Split),
    /// A constant.
    Respond(Box<Answer>),
    /// A redirect whose location is built from captures.
    Redirect(Box<Redirect>),
}

/// A redirect.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 3xx.
    pub status: u16,
    /// The location: a template over captures, the query appended where it has none.
    pub to: Template,
}

/// The `Host` that origins see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    /// What the client sent.
    Preserve,
    /// The endpoint's own name and port.
    Endpoint,
    /// This.
    Fixed(Box<str>),
}

/// An upstream.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name; pools are found by it after a reload.
    pub name: Box<str>,
    /// Its endpoints when the snapshot was compiled; later changes come one by one.
    pub endpoints: Arc<[Endpoint]>,
    /// To take a connection.
    pub connect_timeout: Ticks,
    /// From the request to the response head.
    pub response_timeout: Ticks,
    /// Between bytes of a response, and for the origin to take the request.
    pub read_timeout: Ticks,
    /// A pooled connection without a request.
    pub idle_timeout: Ticks,
    /// Pooled connections per core and endpoint.
    pub idle_max: usize,
    /// What is spoken.
    pub protocol: UpstreamProtocol,
    /// How it is spoken over TLS; none speaks plain.
    pub tls: Option<Arc<ClientTls>>,
    /// Bounds of HTTP/2 connections.
    pub http2: UpstreamHttp2,
    /// The PROXY protocol header that connections begin with; none sends none. Such a
    /// connection belongs to one client and is not pooled.
    pub proxy: Option<ProxyVersion>,
    /// Its counters.
    pub stats: Arc<PerCore<UpstreamStats>>,
    /// Its traffic policies.
    pub policy: UpstreamPolicy,
    /// What all cores know of it.
    pub state: Arc<UpstreamState>,
}

impl Upstream {
    /// Whether its connections are protected.
    pub fn security(&self) -> Security {
        match self.tls {
            None => Security::Plain,
            Some(_) => Security::Tls,
        }
    }

    /// Whether connections that were opened for `former` are as good as its own: what they speak
    /// and what their origin has proved is the same.
    pub fn connects_like(&self, former: &Upstream) -> bool {
        let tls = match (&self.tls, &former.tls) {
            (None, None) => true,
            (Some(own), Some(former)) => Arc::ptr_eq(own, former),
            _ => false,
        };
        tls && self.protocol == former.protocol && self.proxy == former.proxy
    }
}

/// What an upstream's connections speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, agreed on over TLS, known without it.
    Http2,
    /// What the origin picks over TLS; HTTP/1.1 without it.
    Auto,
}

/// An address of an upstream.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where it answers.
    pub addr: Addr,
    /// Its share of requests.
    pub weight: u32,
    /// The group it belongs to: the lowest number goes first.
    pub priority: u8,
    /// Where it stands, such as a rack or a data centre.
    pub zone: Option<Arc<str>>,
    /// What all cores know of it.
    pub state: Arc<EndpointState>,
    /// Host and port as configured: what `Host` says under [`UpstreamHost::Endpoint`].
    pub authority: Arc<str>,
}

/// Its state is not part of what it is.
impl PartialEq for Endpoint {
    fn eq(&self, other: &Endpoint) -> bool {
        self.addr == other.addr
            && self.authority == other.authority
            && (self.weight, self.priority) == (other.weight, other.priority)
            && self.zone == other.zone
            && Arc::ptr_eq(&self.state, &other.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_networks_hold_both_families() {
        let addr = |text: &str| text.parse::<std::net::IpAddr>().ok();
        let (Some(ten), Some(six)) = (addr("10.0.0.0"), addr("fd00::")) else {
            panic!("literals parse")
        };
        let trusted = TrustedNetworks::new([(ten, 8), (six, 8)]);
        let holds = |text: &str| addr(text).is_some_and(|addr| trusted.contains(addr));
        assert!(holds("10.1.2.3") && holds("fd12::1") && holds("::ffff:10.0.0.1"));
        assert!(!holds("11.0.0.1") && !holds("fe80::1"));
        assert!(!TrustedNetworks::default().contains(ten));
    }
}
