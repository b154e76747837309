//! What upstreams and routes ask for beside a place to send requests to: balancing, breakers,
//! retries, limits and fallbacks. Ratios are finite and within the bounds that their keys name;
//! upstreams are named, not numbered, and one of each name exists.

use std::time::Duration;

use super::{HeaderName, Name, Respond, Secret};
use crate::Spanned;
use crate::keys::words;

/// What of a request something is counted, hashed or shared out by. Never empty, no part twice.
pub type Key = Vec<Spanned<KeyPart>>;

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address.
    ClientIp,
    /// A request field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A capture of the route's path pattern.
    Capture(Box<str>),
    /// The route.
    Route,
    /// The host.
    Host,
    /// The normalised path.
    Path,
    /// The method.
    Method,
    /// The fingerprint of the client's certificate.
    Identity,
    /// The consumer that a credential belongs to.
    Consumer,
    /// What a credential calls its bearer.
    Subject,
    /// A claim of a token.
    Claim(Box<str>),
}

impl std::fmt::Display for KeyPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Capture(name) => write!(f, "capture:{name}"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Identity => f.write_str("identity"),
            Self::Consumer => f.write_str("consumer"),
            Self::Subject => f.write_str("subject"),
            Self::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

/// `balance`, `hash_key` and `bounded_load` of an upstream or a route.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The algorithm.
    pub balance: Balance,
    /// There with [`Balance::ConsistentHash`] and only then.
    pub key: Option<Key>,
    /// Load of an endpoint beside the mean at which a key moves on; only with a hash. `None` is
    /// no bound.
    pub bounded_load: Option<f64>,
}

/// How an endpoint is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// The fewest requests in flight.
    LeastConnections,
    /// The less loaded of two picked at random.
    RandomTwo,
    /// Of two picked at random the one that has answered faster of late.
    PeakEwma,
    /// By the client's address.
    IpHash,
    /// By a key, moving few keys when endpoints change.
    ConsistentHash,
}

/// `sticky` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: Box<str>,
    /// What its value is signed with; at least 16 bytes.
    pub secret: Secret,
    /// `None` for a session cookie.
    pub max_age: Option<Duration>,
    /// Whether it is for TLS only.
    pub secure: bool,
}

/// `[upstream.breaker]`
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    /// What it is for.
    pub scope: BreakerScope,
    /// Share of failed requests that opens it.
    pub error_ratio: f64,
    /// A response head that takes longer is slow; `None` is never.
    pub slow_after: Option<Duration>,
    /// Share of slow requests that opens it.
    pub slow_ratio: f64,
    /// What the shares are of.
    pub window: Duration,
    /// Requests in the window below which it stays closed; at least 1.
    pub minimum_requests: u32,
    /// How long it stays open at first.
    pub open_for: Duration,
    /// How long at most; not shorter than `open_for`.
    pub open_for_max: Duration,
    /// Trial requests while half open; at least 1.
    pub probes: u32,
    /// How often the workers' counts are looked at together.
    pub reconcile: Duration,
}

/// What a breaker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerScope {
    /// The upstream as a whole.
    Upstream,
    /// Each endpoint.
    Endpoint,
    /// Both.
    Both,
}

/// `[upstream.outlier]`. Zero turns a criterion off.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlier {
    /// 5xx answers and failures in a row.
    pub consecutive_5xx: u32,
    /// 502, 503, 504 and failures to reach the origin in a row.
    pub consecutive_gateway: u32,
    /// How often endpoints are compared.
    pub interval: Duration,
    /// Standard deviations below the mean success rate.
    pub success_rate_deviations: f64,
    /// Times the median latency.
    pub latency_factor: f64,
    /// Requests of an interval below which an endpoint is not compared.
    pub minimum_requests: u32,
    /// The first ejection's time, and by how much each further one is longer.
    pub ejection: Duration,
    /// The longest ejection; not shorter than `ejection`.
    pub ejection_max: Duration,
    /// Share of endpoints ejected at most.
    pub ejected_max: f64,
}

/// `[upstream.retry]` or `[route.retry]`
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts beside the first; where it is 0, nothing is retried.
    pub attempts: u8,
    /// What is retried.
    pub on: RetryOn,
    /// For one attempt, until its response head; `None` has no limit of its own.
    pub try_timeout: Option<Spanned<Duration>>,
    /// Upper bound of the first pause.
    pub backoff: Duration,
    /// Of any pause; not shorter than `backoff`.
    pub backoff_max: Duration,
    /// Methods beside the idempotent ones, in upper case.
    pub methods: Vec<Spanned<Box<str>>>,
    /// Bytes of a request body that are kept.
    pub body_max: u64,
    /// Share of live requests that retries may be.
    pub budget: f64,
    /// Retries a second that are always allowed.
    pub budget_minimum: u32,
    /// A second attempt before the first has failed.
    pub hedge: Option<Hedge>,
}

/// What is retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// Connections that cannot be opened.
    pub connect: bool,
    /// Connections that end before a response head.
    pub reset: bool,
    /// Streams that origins refuse unseen.
    pub refused_stream: bool,
    /// Attempts that take too long.
    pub timeout: bool,
    /// 500 to 599.
    pub statuses: Vec<u16>,
    /// gRPC statuses, 1 to 16.
    pub grpc: Vec<u16>,
}

/// `hedge` of a retry policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Hedge {
    /// The percentile of latencies behind which the second attempt starts.
    pub after_percentile: f64,
    /// It never starts earlier.
    pub after_minimum: Duration,
}

/// `[upstream.concurrency]` or `[route.concurrency]`
#[derive(Debug, Clone, PartialEq)]
pub struct Concurrency {
    /// Requests at a time, on all workers; at least 1.
    pub max: u32,
    /// Requests that may wait for a place.
    pub queue_max: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
    /// Whether the limit follows latency; `max` is its upper bound then.
    pub adaptive: Option<Adaptive>,
}

/// `adaptive` of a concurrency limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptive {
    /// The lowest limit; not above `max`.
    pub min: u32,
    /// Latency beside the best one that is no sign of queueing.
    pub tolerance: f64,
    /// How often the limit moves.
    pub interval: Duration,
}

/// `[upstream.fallback]` or `[route.fallback]`; `U` is how it names an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback<U = Spanned<Name>> {
    /// Answers of these statuses, 400 to 599; never empty.
    pub statuses: Vec<u16>,
    /// Who answers instead.
    pub to: FallbackTo<U>,
}

/// Who answers in place of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FallbackTo<U = Spanned<Name>> {
    /// Another upstream.
    Upstream(U),
    /// A constant.
    Respond(Box<Respond>),
}

/// `canary` of a route; `U` is how it names an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary<U = Spanned<Name>> {
    /// What is tried out; not the route's own upstream.
    pub upstream: U,
    /// The share that it begins with.
    pub from: f64,
    /// The share that it ends with; not below `from`.
    pub to: f64,
    /// How long the share takes from `from` to `to`; zero is at once.
    pub over: Duration,
    /// What halts it; `None` is nothing.
    pub halt: Option<Halt>,
}

/// `halt` of a canary.
#[derive(Debug, Clone, PartialEq)]
pub struct Halt {
    /// Share of failed requests, beyond the baseline's, at which nothing goes to it any more.
    pub error_ratio: f64,
    /// Requests in the window below which it is not judged.
    pub minimum_requests: u32,
    /// What the share is of.
    pub window: Duration,
}

/// `mirror` of a route; `U` is how it names an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror<U = Spanned<Name>> {
    /// Who gets the copies.
    pub upstream: U,
    /// Share of requests that are copied; above 0.
    pub share: f64,
    /// Requests with a longer or unknown body are not copied.
    pub body_max: u64,
}

/// How early a route's requests are refused under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// First.
    Low,
    /// Second.
    Normal,
    /// Third.
    High,
    /// Never.
    Critical,
}

/// The policies of a route; `U` is how they name upstreams. `None` leaves it to the upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutePolicy<U = Spanned<Name>> {
    /// In place of the upstream's way of picking endpoints.
    pub balance: Option<Choice>,
    /// Stands in for the draw of a split or a canary.
    pub split_key: Option<Key>,
    /// An upstream that is tried out.
    pub canary: Option<Canary<U>>,
    /// An upstream that gets copies.
    pub mirror: Option<Mirror<U>>,
    /// In place of the upstream's retries.
    pub retry: Option<Retry>,
    /// Requests of the route at a time, beside the upstream's limit.
    pub concurrency: Option<Concurrency>,
    /// In place of the upstream's fallback.
    pub fallback: Option<Fallback<U>>,
    /// How early it is refused under load.
    pub urgency: Urgency,
    /// The request field that tells the origin how many milliseconds are left.
    pub deadline_header: Option<HeaderName>,
}

words!(Balance {
    RoundRobin = "round_robin",
    LeastConnections = "least_connections",
    RandomTwo = "random_two",
    PeakEwma = "peak_ewma",
    IpHash = "ip_hash",
    ConsistentHash = "consistent_hash",
});
words!(BreakerScope { Upstream = "upstream", Endpoint = "endpoint", Both = "both" });
words!(Urgency { Low = "low", Normal = "normal", High = "high", Critical = "critical" });
