//! What clients and operators are told of limits: the fields of draft-ietf-httpapi-ratelimit-
//! headers, and the lines of `explain`.

use std::fmt::Write;
use std::sync::Arc;

use ringgate_core::access::DRY_RUN_MAX;
use ringgate_core::http::ResponseHead;
use ringgate_core::rt::clock::Moment;

use super::{Algorithm, Enforcement, Ledger, Limit, Period, Settings};

/// What the limits of an exchange have said, for the fields of its response.
#[derive(Debug, Default)]
pub(crate) struct Told {
    said: [Said; TOLD_MAX],
    len: usize,
}

/// What one limit has said.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    ledger: u64,
    left: u64,
    /// Seconds until there is enough, of the limit that refused.
    wait: Option<u64>,
}

/// Limits of an exchange that are told; further ones are not.
const TOLD_MAX: usize = 8;

impl Told {
    pub(super) fn push(&mut self, ledger: u64, left: u64, wait: Option<u64>) {
        if let Some(place) = self.said.get_mut(self.len) {
            *place = Said { ledger, left, wait };
            self.len += 1;
        }
    }

    fn of(&self, ledger: u64) -> Option<Said> {
        let said = self.said[..self.len].iter();
        said.copied().find(|said| said.ledger == ledger)
    }
}

/// Filters that would have refused an exchange, by the first ledger of each, for its log line.
#[derive(Debug, Default)]
pub(crate) struct Dry {
    ledgers: [u64; DRY_RUN_MAX],
    len: usize,
}

impl Dry {
    pub(super) fn push(&mut self, ledger: u64) {
        if let Some(place) = self.ledgers.get_mut(self.len) {
            *place = ledger;
            self.len += 1;
        }
    }

    pub(super) fn has(&self, ledger: u64) -> bool {
        self.ledgers[..self.len].contains(&ledger)
    }
}

/// The constant parts of the fields.
#[derive(Debug)]
pub(super) struct Policies {
    /// The value of `RateLimit-Policy`: all limits.
    policy: String,
    each: Box<[Policy]>,
}

#[derive(Debug)]
struct Policy {
    /// `"name"`.
    item: String,
    limit: Limit,
}

impl Policies {
    pub(super) fn new(settings: &Settings) -> Policies {
        let each = settings.limits.iter().enumerate().map(|(position, limit)| {
            // A string of structured fields: printable ASCII, two characters escaped (RFC 9651,
            // 3.3.3). The configuration lets names be nothing else.
            let mut item = String::from("\"");
            for byte in settings
                .name
                .bytes()
                .filter(|byte| (0x20..0x7f).contains(byte))
            {
                if matches!(byte, b'"' | b'\\') {
                    item.push('\\');
                }
                item.push(char::from(byte));
            }
            if position > 0 {
                // Writing to a string cannot fail.
                let _ = write!(item, "-{}", position + 1);
            }
            item.push('"');
            Policy {
                item,
                limit: limit.clone(),
            }
        });
        let each: Box<[Policy]> = each.collect();
        let policies = each.iter().map(|policy| {
            let Limit { limit, period, .. } = &policy.limit;
            let burst = match policy.limit.algorithm {
                // What may come at once is the bucket's own affair: the quota of a window is
                // the limit.
                Algorithm::TokenBucket => 0,
                _ => policy.limit.burst,
            };
            let window = period.span().as_secs();
            match window {
                // Less than a second cannot be said.
                0 => format!("{};q={}", policy.item, limit + burst),
                _ => format!("{};q={};w={window}", policy.item, limit + burst),
            }
        });
        Policies {
            policy: policies.collect::<Vec<_>>().join(", "),
            each,
        }
    }

    /// Adds the fields to a response. What an origin says of limits of its own stays.
    pub(super) fn add(
        &self,
        ledgers: &[Arc<Ledger>],
        told: &Told,
        now: Moment,
        text: &mut Vec<u8>,
        head: &mut ResponseHead,
    ) {
        text.clear();
        let mut any = false;
        for (policy, ledger) in self.each.iter().zip(ledgers) {
            let Some(said) = told.of(ledger.serial) else {
                continue;
            };
            any = true;
            if ledger.cluster().is_some() && said.wait.is_none() {
                // What all nodes together have left is not known here.
                continue;
            }
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            text.extend_from_slice(policy.item.as_bytes());
            text.extend_from_slice(b";r=");
            text.extend_from_slice(itoa::Buffer::new().format(said.left).as_bytes());
            text.extend_from_slice(b";t=");
            let seconds = said
                .wait
                .unwrap_or_else(|| policy.resets_in(ledger, said.left, now));
            text.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
        }
        // Both are made of what fields may hold.
        if any {
            let _ = head.fields.add("ratelimit-policy", self.policy.as_bytes());
        }
        if !text.is_empty() {
            let _ = head.fields.add("ratelimit", text);
        }
    }
}

impl Policy {
    /// Seconds until all tokens are there again.
    fn resets_in(&self, ledger: &Ledger, left: u64, now: Moment) -> u64 {
        let per = u128::from(self.limit.period.nanos());
        let nanos = match self.limit.algorithm {
            Algorithm::FixedWindow => ledger.window(now).end.since(now).as_nanos(),
            Algorithm::SlidingWindow => per,
            Algorithm::TokenBucket => {
                let lacking = (self.limit.burst + 1).saturating_sub(left);
                u128::from(lacking) * per / u128::from(self.limit.limit.max(1))
            }
        };
        nanos.div_ceil(1_000_000_000) as u64
    }
}

/// One line on a filter, for `explain`.
pub(super) fn describe(settings: &Settings) -> String {
    let limits: Vec<String> = settings.limits.iter().map(limit_text).collect();
    let is_quota = settings
        .limits
        .iter()
        .any(|limit| limit.period.is_calendar());
    let mut text = match is_quota {
        true => String::from("quota: "),
        false => String::from("rate_limit: "),
    };
    let _ = write!(text, "{} by {}", limits.join(" and "), settings.key);
    if let Some(cluster) = &settings.cluster {
        let _ = write!(
            text,
            ", shared by {} nodes through {}",
            cluster.nodes, cluster.store
        );
    }
    if settings.enforcement == Enforcement::DryRun {
        text.push_str(", dry run");
    }
    text
}

fn limit_text(limit: &Limit) -> String {
    let per = match limit.period {
        Period::Span(span) => format!("{span:?}"),
        Period::Day => String::from("day"),
        Period::Month => String::from("month"),
    };
    let algorithm = match limit.algorithm {
        Algorithm::TokenBucket => "token bucket",
        Algorithm::FixedWindow if limit.period.is_calendar() => "UTC",
        Algorithm::FixedWindow => "fixed window",
        Algorithm::SlidingWindow => "sliding window",
    };
    match limit.burst {
        0 => format!("{} per {per} ({algorithm})", limit.limit),
        burst => format!(
            "{} per {per} and a burst of {burst} ({algorithm})",
            limit.limit
        ),
    }
}

/// How the account of a key stands, for `explain`.
pub(super) fn account(
    key: &str,
    hash: u64,
    weight: u32,
    ledgers: &[Arc<Ledger>],
    now: Moment,
) -> String {
    let mut text = format!("key {key}, weight {weight}");
    for ledger in ledgers {
        let limit = limit_text(&ledger.limit());
        match ledger.entry_of(hash, now) {
            Some(entry) => {
                let _ = write!(text, "; {} of {} used of {limit}", entry.used, entry.limit);
            }
            None => {
                let _ = write!(text, "; nothing used of {limit}");
            }
        }
    }
    text
}
