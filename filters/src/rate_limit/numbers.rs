//! The numbers of a limit as a ledger reckons with them, and the proof that they keep what
//! they promise.
//!
//! # What is promised
//! A limit of `limit` per `per` with a `burst` admits at most `limit + burst` in any half-open
//! window of `per`, on all cores together, by the clock that each decision is made with.
//!
//! # Why leases do not break it
//! Cores use tokens up to `life` after the ledger has issued them. The tokens used in a window
//! `[w, w + per)` were therefore issued in `[w - life, w + per)`, which is `reach = life + per`
//! long. So it is enough that at most `limit + burst` are issued in any half-open interval of
//! `reach`; tokens that come back were not used and may be issued again, see each algorithm.
//!
//! # Virtual time
//! Buckets and windows do not store times but positions on a clock of the ledger: the bucket's
//! counts tokens, the windows' count windows. A reload that changes numbers changes how fast
//! the clock runs from then on, not where it stands, so what each key has used stays used and
//! no word has to be converted. A window over such a change holds at most the larger `limit`
//! plus the larger `burst`, where `per` stays as it is.

use std::time::Duration;

use ringgate_core::rt::clock::Moment;

use super::calendar;
use super::{Algorithm, Cluster, Limit, Period};

/// A token of a bucket, in units of its clock.
pub(super) const TOKEN: u64 = 1 << 16;
/// Sub-windows of a sliding window.
pub(super) const SUBS: u64 = 64;

/// The numbers of a limit.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub(super) limit: Limit,
    /// How long a core may use what it has leased, in nanoseconds.
    pub(super) life: u64,
    /// Since when these numbers are in force.
    pub(super) begun: u64,
    /// Since when the clock runs as it does: before that where they replaced others that had it
    /// run alike.
    pub(super) since: u64,
    /// Where the clock stood then: tokens in units of [`TOKEN`], or windows.
    pub(super) base: u64,
    pub(super) kind: Kind,
}

/// What an algorithm goes by.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Bucket(Pace),
    Fixed(Fixed),
    Sliding(Sliding),
    /// Tokens are granted by a store that nodes share.
    Granted(Granted),
}

/// A bucket by GCRA: one position, at which it would be full again (ITU-T I.371).
///
/// Of `n` tokens issued one after the other from `t1` to `tn` the last was let through, so
/// `(n - 1) * TOKEN <= v(tn) - v(t1) + tolerance`. In a half-open interval of `reach` the clock
/// moves by less than `(limit - slack) * TOKEN` (see [`Pace::new`]), and the tolerance is
/// `(burst + slack) * TOKEN`, so `n - 1 < limit + burst`.
///
/// The slack, a 128th of the limit that a larger burst makes needless, keeps the bucket from
/// running over while cores that were refused wait a moment before they ask again.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Units a nanosecond, shifted left by `shift`.
    rate: u64,
    shift: u32,
    /// Units that the position may lie ahead of the clock for one more token.
    pub(super) tolerance: u64,
    /// How long a refused core may wait at least before it asks again, in nanoseconds.
    pub(super) patience: u64,
}

/// Aligned windows.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    /// The number of the window that `since` lay in, by the period alone.
    first: u64,
    pub(super) cap: u64,
}

/// A sliding window as a sum over [`SUBS`] sub-windows.
///
/// A half-open interval of `reach` touches at most `ceil(reach / width) + 1 = SUBS` of them
/// where `width = ceil(reach / (SUBS - 1))`. The last token of the interval was issued when
/// the sum over the `SUBS` sub-windows up to its own, which hold all of the interval, was at
/// most `limit + burst` with it.
#[derive(Clone, Debug)]
pub(super) struct Sliding {
    /// The length of a sub-window in nanoseconds.
    pub(super) width: u64,
    /// Tokens that count as one, so that counts fit their bits.
    pub(super) grain: u64,
    /// In grains.
    pub(super) cap: u64,
}

/// Tokens from a store.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    /// Tokens that a node may admit before the store has granted them.
    pub(super) credit: u64,
}

impl Numbers {
    /// The numbers of `limit` from `now` on, in place of `former` ones of the same algorithm.
    pub(super) fn new(
        limit: &Limit,
        cluster: Option<&Cluster>,
        now: Moment,
        unix_offset: i64,
        former: Option<&Numbers>,
    ) -> Numbers {
        let per = limit.period.nanos();
        // A share of the window that the two parts of it which cannot be used, leases in force
        // and the sub-window or slack, keep below 2 % together.
        let share = match limit.algorithm {
            Algorithm::TokenBucket | Algorithm::FixedWindow => 100,
            Algorithm::SlidingWindow => 512,
        };
        let life = (limit.reconcile.as_nanos() as u64).min(per / share).max(1);
        let kind = match (cluster, limit.algorithm) {
            (Some(cluster), _) => Kind::Granted(Granted {
                credit: credit(limit, cluster),
            }),
            (None, Algorithm::TokenBucket) => Kind::Bucket(Pace::new(limit, per + life)),
            (None, Algorithm::FixedWindow) => Kind::Fixed(Fixed {
                first: calendar::window(limit.period, now, unix_offset).number,
                cap: limit.limit + limit.burst,
            }),
            (None, Algorithm::SlidingWindow) => Kind::Sliding(Sliding::new(limit, per + life)),
        };
        let (base, since) = match (former, &kind) {
            // Quotas have the number of their day or month as their window: a store knows it.
            (_, Kind::Fixed(fixed)) if limit.period.is_calendar() => (fixed.first, now.0),
            (Some(former), Kind::Bucket(_)) => (former.position(now), now.0),
            (Some(former), Kind::Fixed(_)) => (former.window(now, unix_offset).number, now.0),
            (Some(former), Kind::Sliding(sliding)) => former.sub_windows_into(sliding, now),
            // Words of all zeroes then belong to no window that is near.
            _ => (1 << 10, now.0),
        };
        Numbers {
            limit: limit.clone(),
            life,
            begun: now.0,
            since,
            base,
            kind,
        }
    }

    /// Base and begin of sub-windows that go on where these are.
    fn sub_windows_into(&self, sliding: &Sliding, now: Moment) -> (u64, u64) {
        match &self.kind {
            Kind::Sliding(former) if former.width == sliding.width => (self.base, self.since),
            // The one under way begins again at its new length: so it lasts longer, and counts
            // longer, than either.
            _ => (self.sub_window(now), now.0),
        }
    }

    /// Where the clock of a bucket stands, in units of [`TOKEN`].
    #[inline]
    pub(super) fn position(&self, now: Moment) -> u64 {
        match &self.kind {
            Kind::Bucket(pace) => self
                .base
                .wrapping_add(pace.units(now.0.saturating_sub(self.since))),
            _ => self.base,
        }
    }

    /// The aligned window that a moment lies in.
    #[inline]
    pub(super) fn window(&self, now: Moment, unix_offset: i64) -> calendar::Window {
        let mut window = calendar::window(self.limit.period, now, unix_offset);
        if let Kind::Fixed(fixed) = &self.kind {
            window.number = self
                .base
                .wrapping_add(window.number.wrapping_sub(fixed.first));
        }
        window
    }

    /// The sub-window that a moment lies in.
    #[inline]
    pub(super) fn sub_window(&self, now: Moment) -> u64 {
        match &self.kind {
            Kind::Sliding(sliding) => self.base + now.0.saturating_sub(self.since) / sliding.width,
            _ => self.base,
        }
    }

    /// When a sub-window begins.
    pub(super) fn begin_of(&self, sub_window: u64) -> Moment {
        match &self.kind {
            Kind::Sliding(sliding) => {
                let ahead = sub_window.saturating_sub(self.base);
                Moment(self.since + ahead.saturating_mul(sliding.width))
            }
            _ => Moment(self.since),
        }
    }
}

/// What a node may admit before a store says so: a quarter of its share, and the heaviest
/// request at least.
fn credit(limit: &Limit, cluster: &Cluster) -> u64 {
    let quarter = (limit.limit + limit.burst) / (4 * u64::from(cluster.nodes.max(1)));
    let heaviest = u64::from(cluster.heaviest).clamp(1, limit.limit + limit.burst);
    quarter.max(heaviest).min(CREDIT_MAX)
}

/// Credit counts in 30 bits of a word, with room for what is granted beside it.
const CREDIT_MAX: u64 = 1 << 28;

impl Pace {
    fn new(limit: &Limit, reach: u64) -> Pace {
        let slack = (limit.limit / 128).saturating_sub(limit.burst);
        let paced = u128::from((limit.limit - slack).max(1));
        // In an interval that is shorter than `reach` the clock, which is cut to whole units,
        // moves by at most one unit more than the exact one: two are kept back, and the rate is
        // rounded down.
        let units = paced * u128::from(TOKEN) - 2;
        let mut shift = 64;
        let mut rate = (units << shift) / u128::from(reach);
        while rate > u128::from(u64::MAX) {
            shift -= 1;
            rate >>= 1;
        }
        let tolerance = (limit.burst + slack) * TOKEN;
        let mut pace = Pace {
            rate: (rate as u64).max(1),
            shift,
            tolerance,
            patience: 0,
        };
        pace.patience = pace.nanos(tolerance / 4);
        pace
    }

    /// How far the clock moves in a time.
    #[inline]
    pub(super) fn units(&self, nanos: u64) -> u64 {
        ((u128::from(nanos) * u128::from(self.rate)) >> self.shift) as u64
    }

    /// How long the clock takes to move so far, rounded up.
    pub(super) fn nanos(&self, units: u64) -> u64 {
        let nanos = (u128::from(units) << self.shift).div_ceil(u128::from(self.rate));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

impl Sliding {
    fn new(limit: &Limit, reach: u64) -> Sliding {
        let most = limit.limit + limit.burst;
        let grain = most.div_ceil(super::sliding::COUNT_MAX).max(1);
        Sliding {
            width: reach.div_ceil(SUBS - 1),
            grain,
            cap: most / grain,
        }
    }
}

impl Period {
    /// Its length in nanoseconds; of a month that of the longest.
    pub(super) fn nanos(self) -> u64 {
        const DAY: u64 = 86_400_000_000_000;
        match self {
            Period::Span(span) => (span.as_nanos() as u64).max(1),
            Period::Day => DAY,
            Period::Month => 31 * DAY,
        }
    }

    /// Whether it is one of the calendar's.
    pub(super) fn is_calendar(self) -> bool {
        matches!(self, Period::Day | Period::Month)
    }

    /// Its length.
    pub(super) fn span(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }
}
