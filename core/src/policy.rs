//! Traffic policies as compiled: what upstreams and routes ask of the engine beside a place to
//! send requests to. Plain data; the state that goes with it lives in the modules named here,
//! by identity, across reloads.

use std::sync::Arc;
use std::time::Duration;

use ringgate_router::ValueTest;

use crate::http::RequestHead;
use crate::key::{self, Key};

/// How an upstream's endpoints are picked from.
#[derive(Clone, Debug)]
pub struct Balance {
    /// The algorithm; a route may have one of its own.
    pub choice: Choice,
    /// The zone of this node; its endpoints go before those of other zones.
    pub zone: Option<Box<str>>,
    /// A group of endpoints takes all requests while at least this share of its weight is
    /// available; below it the next group is added. 0.0 to 1.0.
    pub failover_below: f64,
    /// With a smaller share of all weight available, what checks and ejections say is ignored:
    /// panic. 0.0 never panics while one endpoint is left.
    pub panic_below: f64,
    /// How long an endpoint that is back takes to get its full share; zero for at once.
    pub slow_start: Duration,
    /// A cookie that keeps a client with its endpoint.
    pub sticky: Option<Sticky>,
}

/// A way of picking an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Which.
    pub algorithm: Algorithm,
    /// What is hashed, for [`Algorithm::ConsistentHash`].
    pub key: Option<Arc<Key>>,
    /// Load of one endpoint beside the mean at which a hashed key moves on to the next; 1.0 to
    /// 10.0, none for no bound.
    pub bounded_load: Option<f64>,
}

/// The algorithms of balancing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// In turn, smoothly by weight.
    #[default]
    RoundRobin,
    /// The fewest requests in flight beside the weight.
    LeastConnections,
    /// The less loaded of two picked at random.
    RandomTwo,
    /// Of two picked at random the one with the lower latency by peak EWMA.
    PeakEwma,
    /// By the client's address.
    IpHash,
    /// By a key, moving few keys when endpoints change.
    ConsistentHash,
}

impl Algorithm {
    /// Whether it looks at a hash ring.
    pub const fn hashes(self) -> bool {
        matches!(self, Algorithm::IpHash | Algorithm::ConsistentHash)
    }
}

/// A cookie that keeps a client with its endpoint.
#[derive(Clone, Debug)]
pub struct Sticky {
    /// Its name.
    pub cookie: Box<str>,
    /// What its value is signed with.
    pub secret: Arc<[u8]>,
    /// Its `Max-Age`; none for a session cookie.
    pub max_age: Option<Duration>,
    /// Whether it is sent over TLS only.
    pub secure: bool,
}

/// A circuit breaker (`resilience::breaker`).
#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// Whether each endpoint has its own, or the upstream one.
    pub scope: BreakerScope,
    /// Share of failed requests in the window that opens it.
    pub error_ratio: f64,
    /// A response head that takes longer is slow; zero for no bound.
    pub slow_after: Duration,
    /// Share of slow requests in the window that opens it.
    pub slow_ratio: f64,
    /// What the ratios are of.
    pub window: Duration,
    /// Requests in the window below which it stays closed.
    pub minimum_requests: u32,
    /// How long it stays open at first.
    pub open_for: Duration,
    /// How long it stays open at most: each failed trial doubles the time.
    pub open_for_max: Duration,
    /// Trial requests while half open; all have to succeed.
    pub probes: u32,
    /// How often the cores' counts are looked at together.
    pub reconcile: Duration,
}

/// What a breaker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerScope {
    /// The upstream as a whole.
    Upstream,
    /// Each endpoint.
    Endpoint,
    /// Both.
    Both,
}

/// Outlier ejection (`resilience::outlier`). Zero turns a criterion off.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// 5xx answers and failures in a row.
    pub consecutive_5xx: u32,
    /// 502, 503, 504 and failures to reach the origin in a row.
    pub consecutive_gateway: u32,
    /// How often ratios and latencies are compared.
    pub interval: Duration,
    /// Standard deviations below the mean success rate at which an endpoint is ejected.
    pub success_rate_deviations: f64,
    /// Times the median latency at which an endpoint is ejected.
    pub latency_factor: f64,
    /// Requests of an interval below which an endpoint is not compared.
    pub minimum_requests: u32,
    /// The first ejection's time; each further one takes this longer.
    pub ejection: Duration,
    /// The longest ejection.
    pub ejection_max: Duration,
    /// Share of endpoints ejected at most; one may always be, where there are two or more.
    pub ejected_max: f64,
}

/// Retries (`resilience::retry`).
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts beside the first.
    pub attempts: u8,
    /// What is retried.
    pub on: RetryOn,
    /// Limit for one attempt, until its response head; zero for none of its own.
    pub try_timeout: Duration,
    /// The upper bound of the first pause; each further one doubles it.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Methods beside the idempotent ones that may be sent twice; upper case.
    pub methods: Box<[Box<str>]>,
    /// Bytes of a request body that are kept to be sent again.
    pub body_max: u64,
    /// Largest share of live requests that retries and hedges may be.
    pub budget: f64,
    /// Retries a second that are always allowed, on all cores together.
    pub budget_minimum: u32,
    /// A second attempt beside the first one.
    pub hedge: Option<Hedge>,
}

/// A second attempt that starts before the first has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Hedge {
    /// The percentile of the latencies behind which it starts, 0.5 to 0.999.
    pub after_percentile: f64,
    /// It never starts earlier.
    pub after_minimum: Duration,
}

/// What is retried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// Connections that cannot be opened.
    pub connect: bool,
    /// Connections that end before a response head.
    pub reset: bool,
    /// Streams that origins refuse unseen.
    pub refused_stream: bool,
    /// Attempts that take too long.
    pub timeout: bool,
    /// Statuses.
    pub statuses: Box<[u16]>,
    /// gRPC statuses in a response head without messages.
    pub grpc: Box<[u16]>,
}

/// A limit of requests at a time (`resilience::concurrency`).
#[derive(Clone, Debug, PartialEq)]
pub struct Concurrency {
    /// At a time, on all cores.
    pub max: u32,
    /// Requests that may wait for a place.
    pub queue_max: u32,
    /// How long one waits.
    pub queue_timeout: Duration,
    /// Whether `max` moves with latency; it is the upper bound then.
    pub adaptive: Option<Adaptive>,
}

/// How a concurrency limit follows latency.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    /// The limit never falls below.
    pub min: u32,
    /// Latency beside the best one that is no sign of queueing, such as 1.5.
    pub tolerance: f64,
    /// How often the limit moves.
    pub interval: Duration,
}

/// What answers in place of an upstream that cannot.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Answers of these statuses, whether the origin's or the gateway's own.
    pub statuses: Box<[u16]>,
    /// Who answers instead.
    pub to: FallbackTo,
}

/// Who answers in place of an upstream.
#[derive(Clone, Debug)]
pub enum FallbackTo {
    /// Another upstream, by index; it has no fallback of its own.
    Upstream(usize),
    /// A constant.
    Respond(Box<crate::chain::Answer>),
}

/// A copy of requests that another upstream gets as well; its answers are thrown away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mirror {
    /// By index.
    pub upstream: usize,
    /// Share of requests that are copied.
    pub share: f64,
    /// Requests with a longer or unknown body are not copied.
    pub body_max: u64,
}

/// A branch of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitBranch {
    /// By index.
    pub upstream: usize,
    /// Its share beside the other branches.
    pub weight: u32,
    /// Requests that meet all of these come here, whatever the weights.
    pub when: Conditions,
}

/// Conditions on a request; all must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// On fields, by names in lower case.
    pub headers: Box<[Condition]>,
    /// On cookies.
    pub cookies: Box<[Condition]>,
}

/// A condition on one field or cookie.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Of the field or cookie.
    pub name: Box<str>,
    /// What its value must be.
    pub test: ValueTest,
}

impl Conditions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.cookies.is_empty()
    }

    /// Whether the request meets all of them.
    pub fn hold(&self, head: &RequestHead) -> bool {
        let of_field = |condition: &Condition| {
            let mut values = head.fields.values_of(&condition.name);
            values.any(|value| condition.wants(value)) != condition.is_of_absence()
        };
        let of_cookie = |condition: &Condition| {
            let value = key::cookie(&head.fields, &condition.name);
            value.is_some_and(|value| condition.wants(value)) != condition.is_of_absence()
        };
        self.headers.iter().all(of_field) && self.cookies.iter().all(of_cookie)
    }
}

impl Condition {
    /// Whether it asks for what is not there.
    fn is_of_absence(&self) -> bool {
        self.test == ValueTest::Absent
    }

    /// Whether the value decides: it passes the test, or is there though none should be.
    fn wants(&self, value: &[u8]) -> bool {
        self.is_of_absence() || self.test.accepts(value)
    }
}

/// A share of a route's requests that goes to another upstream, and grows (`resilience::canary`).
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The other upstream, by index.
    pub upstream: usize,
    /// The share at first, 0.0 to 1.0.
    pub from: f64,
    /// The share in the end, 0.0 to 1.0.
    pub to: f64,
    /// How long it takes from the one to the other, in a straight line.
    pub over: Duration,
    /// What stops it.
    pub halt: Option<Halt>,
    /// Two ramps are the same if these are: never zero.
    pub identity: u64,
}

/// What stops a canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halt {
    /// Share of failed requests in the window.
    pub error_ratio: f64,
    /// Requests in the window below which nothing stops it.
    pub minimum_requests: u32,
    /// What the ratio is of.
    pub window: Duration,
}

impl Canary {
    /// A canary to the upstream of this index and name. It begins anew whenever one of these
    /// differs from what it was, but for the index.
    pub fn new(
        (upstream, name): (usize, &str),
        (from, to): (f64, f64),
        over: Duration,
        halt: Option<Halt>,
    ) -> Canary {
        let (ratio, least, window) = halt.map_or((0.0, 0, Duration::ZERO), |halt| {
            (halt.error_ratio, halt.minimum_requests, halt.window)
        });
        let numbers = [
            from.to_bits(),
            to.to_bits(),
            over.as_nanos() as u64,
            ratio.to_bits(),
            least.into(),
            window.as_nanos() as u64,
        ];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        // FNV-1a: the same in each compilation, and no more is asked of it.
        let digest = name
            .bytes()
            .chain(numbers)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Canary {
            upstream,
            from,
            to,
            over,
            halt,
            identity: digest.max(1),
        }
    }
}

/// How early a request is refused when a worker has too much to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// First.
    Low,
    /// Second.
    #[default]
    Normal,
    /// Third.
    High,
    /// Never.
    Critical,
}

/// When work is refused (`overload`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overload {
    /// Lateness of a worker's loop at which requests of low urgency are refused; twice of it
    /// refuses normal ones, four times high ones. Zero for no bound.
    pub lag_max: Duration,
    /// Resident bytes of the process, in the same way at 100 %, 105 % and 110 %. Zero for no
    /// bound.
    pub memory_max: u64,
}

/// The policies of an upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamPolicy {
    /// How endpoints are picked.
    pub balance: Balance,
    /// Its circuit breaker.
    pub breaker: Option<Breaker>,
    /// When endpoints are ejected.
    pub outlier: Option<Outlier>,
    /// Its retries; routes may have their own. Boxed: most have none.
    pub retry: Option<Arc<Retry>>,
    /// Requests at a time, of the upstream as a whole.
    pub concurrency: Option<Concurrency>,
    /// Requests at a time and endpoint; an endpoint with as many is not picked. Zero for no
    /// limit.
    pub endpoint_requests_max: u32,
    /// Who answers when it cannot; routes may have their own.
    pub fallback: Option<Arc<Fallback>>,
}

/// The policies of a route.
#[derive(Clone, Debug, Default)]
pub struct RoutePolicy {
    /// In place of its upstream's way of picking endpoints.
    pub balance: Option<Choice>,
    /// In place of its upstream's retries.
    pub retry: Option<Arc<Retry>>,
    /// Requests at a time.
    pub concurrency: Option<Concurrency>,
    /// In place of its upstream's.
    pub fallback: Option<Arc<Fallback>>,
    /// A copy for another upstream.
    pub mirror: Option<Mirror>,
    /// What shares of a split or a canary are drawn by: a stable hash; none draws at random.
    pub split_key: Option<Arc<Key>>,
    /// Another upstream that takes a growing share.
    pub canary: Option<Canary>,
    /// How early it is refused under load.
    pub urgency: Urgency,
    /// The request field that tells the origin how many milliseconds are left; none tells
    /// nobody.
    pub deadline_field: Option<Box<str>>,
}

impl Default for Balance {
    fn default() -> Balance {
        Balance {
            choice: Choice::default(),
            zone: None,
            failover_below: 0.7,
            panic_below: 0.5,
            slow_start: Duration::ZERO,
            sticky: None,
        }
    }
}
