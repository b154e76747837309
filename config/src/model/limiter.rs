//! Filters that count, refuse or delay: limits, quotas, faults and maintenance.

use std::time::Duration;

use ipnet::IpNet;

use super::{Field, HeaderName, Key, Name};
use crate::Spanned;
use crate::keys::words;

/// `type = "rate_limit"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What is counted for.
    pub key: LimiterKey,
    /// All of them hold at once; never empty.
    pub limits: Vec<Spanned<Rate>>,
    /// How requests are counted.
    pub algorithm: Algorithm,
    /// How often the workers settle accounts.
    pub reconcile: Duration,
    /// What a request counts for.
    pub weight: Weight,
    /// Whether what would be refused only shows in the metrics.
    pub dry_run: bool,
    /// Whether answers have the `RateLimit` and `RateLimit-Policy` fields.
    pub fields: bool,
    /// The store that nodes share the limits through; one of this name exists.
    pub redis: Option<Spanned<Name>>,
    /// The status of refusals.
    pub status: u16,
    /// Limits of some consumers in place of these.
    pub overrides: Vec<Override<RateOverride>>,
}

/// `type = "quota"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What is counted for.
    pub key: LimiterKey,
    /// Requests, by weight, in a period; at least 1.
    pub limit: u64,
    /// The period.
    pub per: Period,
    /// What a request counts for.
    pub weight: Weight,
    /// Whether what would be refused only shows in the metrics.
    pub dry_run: bool,
    /// Whether answers have the `RateLimit` and `RateLimit-Policy` fields.
    pub fields: bool,
    /// The status of refusals.
    pub status: u16,
    /// Limits of some consumers in place of this one; at least 1 each.
    pub overrides: Vec<Override<u64>>,
}

/// `[[filter.NAME.override]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override<L> {
    /// Consumers that it is for; they exist. With `groups` at least one.
    pub consumers: Vec<Spanned<Name>>,
    /// Groups that it is for.
    pub groups: Vec<Box<str>>,
    /// What is allowed them.
    pub limit: L,
}

/// What an override of a rate limit allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateOverride {
    /// All of them hold at once; never empty.
    pub limits: Vec<Spanned<Rate>>,
    /// How requests are counted.
    pub algorithm: Algorithm,
}

/// `type = "concurrency_limit"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// What is counted for.
    pub key: LimiterKey,
    /// Requests of one key at a time; at least 1.
    pub max: u32,
    /// The status of refusals.
    pub status: u16,
}

/// What a limiter counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimiterKey {
    /// The parts.
    pub parts: Key,
    /// Keys that are known at a time; at least 1.
    pub keys_max: u32,
    /// Leading bits of an IPv4 client address that count; 1 to 32.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 client address that count; 1 to 128.
    pub ipv6_prefix: u8,
}

/// So many in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub limit: u64,
    /// Never zero.
    pub per: Duration,
    /// What may come at once beyond `limit`.
    pub burst: u64,
}

/// How a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A bucket that fills steadily (GCRA).
    TokenBucket,
    /// A count that begins anew with each `per`.
    FixedWindow,
    /// A count of the last `per`.
    SlidingWindow,
}

/// A quota's period, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

/// What a request counts for: the origin of the number is the field, where it has one, then the
/// method, then 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weight {
    /// By method, in upper case; none twice.
    pub methods: Vec<(Spanned<Box<str>>, u32)>,
    /// A request field that holds a number.
    pub header: Option<HeaderName>,
    /// Larger numbers count as this; at least 1.
    pub max: u32,
}

/// `type = "fault"`
#[derive(Debug, Clone, PartialEq)]
pub struct FaultFilter {
    /// How long requests wait.
    pub delay: Option<Duration>,
    /// The share that does.
    pub delay_share: f64,
    /// The status that is answered.
    pub abort: Option<u16>,
    /// The share that is.
    pub abort_share: f64,
    /// Only requests with this field are meant.
    pub header: Option<HeaderName>,
}

/// `type = "maintenance"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Whether it is on.
    pub enabled: bool,
    /// Clients that pass.
    pub allow: Vec<Spanned<IpNet>>,
    /// A request field and value that pass; the value is not to be shown.
    pub header: Option<Field>,
    /// What clients are told to wait.
    pub retry_after: Duration,
    /// What they are told; empty = the gateway's own words.
    pub body: Box<str>,
    /// `Content-Type` of `body`; `None` when there is no body.
    pub content_type: Option<Box<str>>,
}

words!(Algorithm {
    TokenBucket = "token_bucket",
    FixedWindow = "fixed_window",
    SlidingWindow = "sliding_window",
});
words!(Period { Day = "day", Month = "month" });
