//! Limits how often something may be asked for, by a key of the request.
//!
//! Every limit has a [`Ledger`] that all cores share; each core leases tokens from it for the
//! keys that it serves and decides by those alone (`lease`). The ledger is asked when they run
//! out, by one compare-and-swap, and what is not used in the life of a lease goes back. What is
//! promised, and why it holds, is said in `numbers`.
//!
//! Memory, once all of it is in use: 24 bytes for each of `keys_max` keys and limit, sliding
//! windows 804, limits that nodes share 36; and on each core 32 bytes for each key up to the
//! next power of two, at most 32 MiB.

mod accounts;
mod bucket;
mod calendar;
mod fixed;
mod granted;
mod lease;
mod ledger;
mod ledgers;
mod numbers;
mod overrides;
#[cfg(test)]
mod simulation;
mod sliding;
mod supply;
mod table;
mod tell;
#[cfg(test)]
mod tests;
mod weight;

use std::sync::Arc;
use std::time::Duration;

use ringgate_core::answer;
use ringgate_core::chain::{Attributes, BodyVerdict, RequestPhase, ResponsePhase, Verdict};
use ringgate_core::http::RequestHead;
use ringgate_core::key::{Key, KeyNames, Part, RouteNames};
use ringgate_core::principal::Proved;
use ringgate_core::rt::clock::Moment;

use crate::Filter;
pub use accounts::Entry;
pub use calendar::Window;
pub(crate) use lease::Leases;
use lease::{Claim, Hold};
use ledger::Newness;
pub use ledger::{Ledger, LedgerSpec, LimitStats};
use ledgers::Agreement;
pub use ledgers::Ledgers;
pub use overrides::{Overrides, Whose};
pub use supply::{Alone, Store, Want};
use tell::Policies;
pub(crate) use tell::{Dry, Told};
pub use weight::{WEIGHT_MAX, Weight};

/// What a rate limit is made of. The configuration has checked it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The filter's name: what the ledgers are found by, and the policy's name in fields.
    pub name: Box<str>,
    /// What is counted for.
    pub key: Key,
    /// The names of all routes of the snapshot, by index.
    pub routes: Arc<[RouteNames]>,
    /// All of them must have a token; at least one.
    pub limits: Box<[Limit]>,
    /// What a request costs.
    pub weight: Weight,
    /// Keys at a time, for each limit. A ledger that is taken over keeps its own.
    pub keys_max: usize,
    /// Whether requests are refused.
    pub enforcement: Enforcement,
    /// Whether clients are told of the limits.
    pub fields: ResponseFields,
    /// What refused requests are answered with.
    pub status: u16,
    /// The store through which nodes share the limits.
    pub cluster: Option<Cluster>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Tokens of a window, at least 1 and at most 1,000,000,000.
    pub limit: u64,
    /// Tokens beyond, at most 1,000,000,000.
    pub burst: u64,
    /// The window.
    pub period: Period,
    /// How it is counted.
    pub algorithm: Algorithm,
    /// How long a core may keep tokens to itself.
    pub reconcile: Duration,
}

/// The window of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// So long, at least a millisecond.
    Span(Duration),
    /// A day of the calendar (UTC): a quota, [`Algorithm::FixedWindow`] only.
    Day,
    /// A month of the calendar (UTC), likewise.
    Month,
}

/// How a limit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// GCRA: `limit` in each `per`, evenly, and `burst` at once.
    TokenBucket,
    /// `limit + burst` in each window from one multiple of `per` to the next; around such a
    /// moment twice as many may pass in a shorter time.
    FixedWindow,
    /// `limit + burst` in any window of `per`, at once if need be.
    SlidingWindow,
}

/// Whether refusals are real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// They are.
    Enforce,
    /// They are only counted; tokens are taken as if.
    DryRun,
}

/// Whether responses carry `RateLimit` and `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFields {
    /// They do.
    Told,
    /// They do not.
    Silent,
}

/// The store through which nodes share a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in the configuration.
    pub store: Box<str>,
    /// Nodes that share the limit.
    pub nodes: u32,
    /// What the heaviest request costs: a node admits that much before the store has answered,
    /// or such requests would never pass.
    pub heaviest: u32,
}

/// A rate limit, or a quota.
#[derive(Debug)]
pub struct RateLimit {
    settings: Settings,
    ledgers: Box<[Arc<Ledger>]>,
    policies: Policies,
    seed: u64,
    /// Limits that take the place of its own.
    overrides: Overrides,
}

/// Quotas are found again by a later process, and shared limits by other nodes.
fn agreement(settings: &Settings) -> Agreement {
    let mut limits = settings.limits.iter();
    match settings.cluster.is_some() || limits.any(|limit| limit.period.is_calendar()) {
        true => Agreement::Wanted,
        false => Agreement::Needless,
    }
}

/// Limits of one filter that are looked at without memory of their own.
const LIMITS_MAX: usize = 8;

impl Settings {
    fn spec(&self, limit: &Limit) -> LedgerSpec {
        LedgerSpec {
            limit: limit.clone(),
            keys_max: self.keys_max,
            cluster: self.cluster.clone(),
        }
    }
}

impl RateLimit {
    /// A filter that goes on with the ledgers of its name, or begins new ones.
    pub fn new(settings: Settings, ledgers: &Ledgers, now: Moment) -> RateLimit {
        let key = settings.key_text();
        let limits = settings.limits.iter().take(LIMITS_MAX).enumerate();
        let found = limits.map(|(position, limit)| {
            let spec = settings.spec(limit);
            ledgers.ledger(&settings.name, position, &key, &spec, now)
        });
        RateLimit {
            ledgers: found.collect(),
            policies: Policies::new(&settings),
            seed: ledgers.seed(agreement(&settings)),
            overrides: Overrides::default(),
            settings,
        }
    }

    /// The same with limits of some consumers in place of its own.
    pub fn with_overrides(self, overrides: Overrides) -> RateLimit {
        RateLimit { overrides, ..self }
    }

    /// The limits that count for whoever makes a request.
    #[inline]
    fn meant(&self, principal: &Proved) -> &RateLimit {
        match self.overrides.is_empty() {
            true => self,
            false => self.overrides.of(principal).unwrap_or(self),
        }
    }

    /// Has its ledgers go by its settings again, and later filters of its name find them: when
    /// a configuration that was made after it is refused. For the control plane.
    pub fn hold(&self, ledgers: &Ledgers, now: Moment) {
        for other in self.overrides.iter() {
            other.hold(ledgers, now);
        }
        for (ledger, limit) in self.ledgers.iter().zip(&self.settings.limits) {
            ledgers.hold(ledger, &self.settings.spec(limit), now);
        }
    }

    /// Its ledgers, in the order of the limits.
    pub fn ledgers(&self) -> &[Arc<Ledger>] {
        &self.ledgers
    }

    /// All ledgers that its requests are counted in, those of overrides behind its own.
    pub fn all_ledgers(&self) -> impl Iterator<Item = &Arc<Ledger>> {
        let others = self.overrides.iter();
        self.ledgers
            .iter()
            .chain(others.flat_map(|other| &*other.ledgers))
    }

    /// The key that a request has: its hash.
    pub fn hash(&self, head: &RequestHead, attributes: &Attributes) -> u64 {
        let names = KeyNames::of(&self.settings.routes, attributes);
        self.settings.key.hash(self.seed, head, attributes, &names)
    }

    #[inline]
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        self.meant(&phase.attributes.principal).admit(phase)
    }

    #[inline]
    fn admit(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let claim = Claim {
            hash: self.hash(phase.head, phase.attributes),
            need: self.settings.weight.of(phase.head),
            now: phase.now.moment(),
        };
        if claim.need == 0 {
            return Verdict::Continue;
        }
        let decided = self.decide(&mut phase.core.leases, &claim, |ledger| {
            let mut text = Vec::new();
            let names = KeyNames::of(&self.settings.routes, phase.attributes);
            let key = &self.settings.key;
            key.write(phase.head, phase.attributes, &names, &mut text);
            let text = String::from_utf8_lossy(&text).into_owned().into();
            ledger.tell_name(claim.hash, text);
        });
        match decided {
            Decided::Admitted { left } => {
                if self.tells() {
                    for (ledger, left) in self.ledgers.iter().zip(left) {
                        phase.scratch.told.push(ledger.serial, left, None);
                    }
                }
                Verdict::Continue
            }
            Decided::Watched => {
                phase.scratch.dry.push(self.ledgers[0].serial);
                Verdict::Continue
            }
            Decided::Limited { by, enough_at } => self.refuse(phase, by, enough_at, claim.now),
        }
    }

    /// All limits must have tokens, then all are taken: nobody else touches this core's leases
    /// in between.
    #[inline]
    fn decide(&self, leases: &mut Leases, claim: &Claim, name: impl Fn(&Ledger)) -> Decided {
        for (by, ledger) in self.ledgers.iter().enumerate() {
            let (hold, newness) = leases.hold(ledger, claim);
            if newness == Newness::New && ledger.wants_names() {
                name(ledger);
            }
            let Hold::Short { enough_at } = hold else {
                continue;
            };
            let stats = ledger.stats().of(leases.seat(ledger));
            match self.settings.enforcement {
                Enforcement::Enforce => {
                    stats.limited.add(1);
                    return Decided::Limited { by, enough_at };
                }
                Enforcement::DryRun => {
                    stats.dry_limited.add(1);
                    return Decided::Watched;
                }
            }
        }
        let mut left = [0; LIMITS_MAX];
        for (ledger, left) in self.ledgers.iter().zip(&mut left) {
            *left = leases.take(ledger, claim);
        }
        Decided::Admitted { left }
    }

    #[cold]
    fn refuse(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        by: usize,
        enough_at: Moment,
        now: Moment,
    ) -> Verdict {
        let wait = enough_at.since(now);
        let seconds = (wait.as_nanos().div_ceil(1_000_000_000)).max(1) as u64;
        if self.tells() {
            let serial = self.ledgers[by].serial;
            phase.scratch.told.push(serial, 0, Some(seconds));
        }
        let is_quota = self.settings.limits[by].period.is_calendar();
        let code = if is_quota {
            QUOTA_EXCEEDED
        } else {
            RATE_LIMITED
        };
        let id = phase.attributes.request_id.as_bytes();
        let mut answer = answer::refusal(self.settings.status, code, phase.head, id);
        let seconds = seconds.to_string().into_bytes().into();
        answer.fields.push(("retry-after".into(), seconds));
        Verdict::Respond(Box::new(answer))
    }

    fn tells(&self) -> bool {
        self.settings.fields == ResponseFields::Told
            && self.settings.enforcement == Enforcement::Enforce
    }

    pub(crate) fn response_head(&self, phase: &mut ResponsePhase<'_, Filter>) -> BodyVerdict {
        // Who made the request may be known better by now: the limit that counted has told.
        for other in self.overrides.iter() {
            other.response_head(phase);
        }
        if self.tells() {
            let now = phase.now.moment();
            let (told, text) = (&phase.scratch.told, &mut phase.core.text);
            self.policies
                .add(&self.ledgers, told, now, text, phase.head);
        }
        BodyVerdict::Continue
    }

    /// Whether it would have refused the exchange, but only watched.
    pub(crate) fn would_refuse(&self, scratch: &crate::Scratch) -> bool {
        self.settings.enforcement == Enforcement::DryRun
            && self
                .ledgers
                .first()
                .is_some_and(|one| scratch.dry.has(one.serial))
            || self.overrides.iter().any(|one| one.would_refuse(scratch))
    }

    pub(crate) fn describe(&self) -> String {
        let own = tell::describe(&self.settings);
        let others = self.overrides.iter().map(|other| {
            let text = tell::describe(&other.settings);
            format!("; {}: {text}", other.settings.name)
        });
        own + &others.collect::<String>()
    }

    /// What it says of a decision: the key, and how its account stands.
    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        let meant = self.meant(&phase.attributes.principal);
        if !std::ptr::eq(meant, self) {
            let told = meant.tell(phase)?;
            return Some(format!("{}: {told}", meant.settings.name));
        }
        let names = KeyNames::of(&self.settings.routes, phase.attributes);
        let mut key = Vec::new();
        self.settings
            .key
            .write(phase.head, phase.attributes, &names, &mut key);
        let key = String::from_utf8_lossy(&key).into_owned();
        let hash = self.hash(phase.head, phase.attributes);
        let weight = self.settings.weight.of(phase.head);
        let now = phase.now.moment();
        Some(tell::account(&key, hash, weight, &self.ledgers, now))
    }
}

/// The log code of refused requests.
pub const RATE_LIMITED: &str = "rate_limited";
/// The log code of requests that a quota refused.
pub const QUOTA_EXCEEDED: &str = "quota_exceeded";

/// What all limits together say.
enum Decided {
    /// The tokens are taken; so many are left of each limit.
    Admitted {
        left: [u64; LIMITS_MAX],
    },
    /// It would be limited, but the limit only watches.
    Watched,
    Limited {
        by: usize,
        enough_at: Moment,
    },
}

impl Settings {
    /// The key as the configuration has it, with the prefixes of addresses where there are
    /// any: another one counts anew.
    fn key_text(&self) -> String {
        let Key {
            parts,
            ipv4_prefix,
            ipv6_prefix,
        } = &self.key;
        match parts.contains(&Part::ClientIp) {
            true => format!("{} /{ipv4_prefix} /{ipv6_prefix}", self.key),
            false => self.key.to_string(),
        }
    }
}

/// One core's decisions without the rest of an exchange, for benches.
#[doc(hidden)]
pub struct Bench<'a> {
    filter: &'a RateLimit,
    leases: Leases,
}

#[doc(hidden)]
impl<'a> Bench<'a> {
    pub fn new(filter: &'a RateLimit) -> Bench<'a> {
        let leases = Leases::default();
        Bench { filter, leases }
    }

    /// Hashes eight bytes as a key of one part would be, and decides.
    pub fn decide(&mut self, key: u64, now: Moment) -> bool {
        let claim = Claim {
            hash: xxhash_rust::xxh3::xxh3_64_with_seed(&key.to_le_bytes(), self.filter.seed),
            need: 1,
            now,
        };
        let decided = self.filter.decide(&mut self.leases, &claim, |_| {});
        !matches!(decided, Decided::Limited { .. })
    }
}
