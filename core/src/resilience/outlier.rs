//! Outlier ejection: an endpoint that does worse than its fellows gets no requests for a while.
//!
//! Failures in a row are counted where they happen; success rates and latencies are compared
//! once in an interval by whichever core notices. Ejecting is rare, so it is done by one core
//! at a time: who finds another at it leaves it, since the next failure asks again.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;
use crate::fleet::{EndpointState, UpstreamState};
use crate::policy;
use crate::rt::clock::Moment;
use crate::snapshot::Endpoint;
use crate::stats::LATENCY_BOUNDS_US;

/// Success rates that differ by less than this are alike, whatever their deviation says: among
/// endpoints that hardly ever fail, one failure more is many deviations.
const RATE_GAP_MIN: f64 = 0.05;

/// What an endpoint was ejected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// 5xx answers and failures in a row.
    Failures,
    /// 502, 503, 504 and failures to reach it in a row.
    Gateway,
    /// Fewer successes than the others.
    SuccessRate,
    /// Slower than the others.
    Latency,
}

impl Cause {
    /// All, in the order of their codes.
    pub const ALL: [Cause; 4] = [
        Cause::Failures,
        Cause::Gateway,
        Cause::SuccessRate,
        Cause::Latency,
    ];

    /// The name in pages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Failures => "consecutive_5xx",
            Cause::Gateway => "consecutive_gateway",
            Cause::SuccessRate => "success_rate",
            Cause::Latency => "latency",
        }
    }
}

/// An ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub cause: Cause,
    /// From when.
    pub since: Moment,
    /// To when.
    pub until: Moment,
    /// How many there were of late, this one included.
    pub times: u32,
}

/// What an upstream knows of the ejections of its endpoints.
#[derive(Debug)]
pub struct Sweep {
    /// When endpoints were last compared, in nanoseconds of [`Moment`]; zero for never.
    compared_at: AtomicU64,
    /// When the next ejection ends.
    lapse_at: AtomicU64,
    /// Whether a core is about to eject or to let ejections lapse.
    busy: AtomicBool,
    ejections: [AtomicU64; Cause::ALL.len()],
    withheld: AtomicU64,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep {
            compared_at: AtomicU64::new(0),
            lapse_at: AtomicU64::new(u64::MAX),
            busy: AtomicBool::new(false),
            ejections: Default::default(),
            withheld: AtomicU64::new(0),
        }
    }
}

impl Sweep {
    /// Ejections there have been for this cause.
    pub fn ejections(&self, cause: Cause) -> u64 {
        self.ejections[cause as usize].load(Ordering::Relaxed)
    }

    /// Ejections that would have been one too many.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    fn turn(&self) -> Option<Turn<'_>> {
        let free = !self.busy.swap(true, Ordering::Acquire);
        free.then(|| Turn(&self.busy))
    }
}

/// The right to eject, until it is dropped.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What an endpoint's state keeps of its ejections. Written by who has the turn.
#[derive(Debug, Default)]
pub(crate) struct Record {
    cause: AtomicU8,
    since: AtomicU64,
    /// The end of the last ejection, past or to come.
    until: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
    heads: AtomicU64,
    head_us: AtomicU64,
}

impl Record {
    pub(crate) fn cause(&self) -> Cause {
        let code = usize::from(self.cause.load(Ordering::Relaxed));
        Cause::ALL[code.min(Cause::ALL.len() - 1)]
    }

    pub(crate) fn since(&self) -> Moment {
        Moment(self.since.load(Ordering::Relaxed))
    }
}

/// Takes note of how an attempt ended at an endpoint, and ejects it where that was one failure
/// too many in a row. A success after a success writes nothing.
#[inline]
pub fn record(
    spec: &policy::Outlier,
    endpoint: &EndpointState,
    upstream: &UpstreamState,
    endpoints: &[Endpoint],
    now: Moment,
    outcome: Outcome,
) -> Option<Ejection> {
    match outcome {
        Outcome::Good { .. } => {
            endpoint.end_rows();
            None
        }
        Outcome::Neutral => None,
        Outcome::Failed { .. } | Outcome::Unreachable => {
            record_failure(spec, endpoint, upstream, endpoints, now, outcome)
        }
    }
}

#[cold]
fn record_failure(
    spec: &policy::Outlier,
    endpoint: &EndpointState,
    upstream: &UpstreamState,
    endpoints: &[Endpoint],
    now: Moment,
    outcome: Outcome,
) -> Option<Ejection> {
    let row = &endpoint.failures_in_row;
    let failures = row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let row = &endpoint.gateway_failures_in_row;
    let gateway = match outcome {
        Outcome::Unreachable => row.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        _ => {
            row.store(0, Ordering::Relaxed);
            0
        }
    };
    let reaches = |row: u32, most: u32| most > 0 && row >= most;
    let cause = if reaches(gateway, spec.consecutive_gateway) {
        Cause::Gateway
    } else if reaches(failures, spec.consecutive_5xx) {
        Cause::Failures
    } else {
        return None;
    };
    let _turn = upstream.outlier.turn()?;
    eject(spec, endpoint, upstream, endpoints, now, cause)
}

/// Ejects an endpoint unless that were one too many. The caller has the turn.
fn eject(
    spec: &policy::Outlier,
    endpoint: &EndpointState,
    upstream: &UpstreamState,
    endpoints: &[Endpoint],
    now: Moment,
    cause: Cause,
) -> Option<Ejection> {
    lapse(endpoints, upstream, now);
    if endpoint.ejected_until(now).is_some() {
        return None;
    }
    let ejected = ejected_of(endpoints, now);
    if ejected + 1 > ceiling(spec, endpoints.len()) {
        upstream.outlier.withheld.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let times = endpoint.ejections.load(Ordering::Relaxed).saturating_add(1);
    let until = now.after(ejection_time(spec, times));
    let record = &endpoint.outlier;
    record.cause.store(cause as u8, Ordering::Relaxed);
    record.since.store(now.0, Ordering::Relaxed);
    record.until.store(until.0, Ordering::Relaxed);
    endpoint.ejections.store(times, Ordering::Relaxed);
    // Its slow start begins when it is back, whoever notices that first.
    endpoint.available_from(until);
    endpoint.end_rows();
    endpoint.ejection().store(until.0, Ordering::Release);
    let sweep = &upstream.outlier;
    sweep.lapse_at.fetch_min(until.0, Ordering::Relaxed);
    sweep.ejections[cause as usize].fetch_add(1, Ordering::Relaxed);
    upstream
        .ejected
        .store(ejected as u32 + 1, Ordering::Relaxed);
    upstream.changed();
    Some(Ejection {
        cause,
        since: now,
        until,
        times,
    })
}

/// Endpoints that may be ejected at a time: their share, but one of two or more always.
fn ceiling(spec: &policy::Outlier, endpoints: usize) -> usize {
    let share = (spec.ejected_max * endpoints as f64).floor() as usize;
    share.max(usize::from(endpoints >= 2))
}

fn ejection_time(spec: &policy::Outlier, times: u32) -> Duration {
    let grown = spec.ejection.saturating_mul(times);
    grown.min(spec.ejection_max.max(spec.ejection))
}

fn ejected_of(endpoints: &[Endpoint], now: Moment) -> usize {
    let is_ejected = |endpoint: &&Endpoint| endpoint.state.ejected_until(now).is_some();
    endpoints.iter().filter(is_ejected).count()
}

/// Takes note of ejections that are over. The caller has the turn.
fn lapse(endpoints: &[Endpoint], upstream: &UpstreamState, now: Moment) {
    let mut next = u64::MAX;
    let mut over = 0;
    for Endpoint { state, .. } in endpoints {
        match state.ejection().load(Ordering::Relaxed) {
            0 => {}
            until if until > now.0 => next = next.min(until),
            _ => {
                state.ejection().store(0, Ordering::Relaxed);
                state.end_rows();
                over += 1;
            }
        }
    }
    upstream.outlier.lapse_at.store(next, Ordering::Relaxed);
    let ejected = ejected_of(endpoints, now) as u32;
    upstream.ejected.store(ejected, Ordering::Relaxed);
    if over > 0 {
        upstream.changed();
    }
}

/// Lets ejections lapse that are over, and compares the endpoints when an interval is. For each
/// worker's tick: it reads two words when nothing is due.
pub fn sweep(
    spec: &policy::Outlier,
    endpoints: &[Endpoint],
    upstream: &UpstreamState,
    now: Moment,
) {
    let sweep = &upstream.outlier;
    let last = Moment(sweep.compared_at.load(Ordering::Relaxed));
    let compares = last.0 == 0 || now >= last.after(spec.interval);
    let lapses = now.0 >= sweep.lapse_at.load(Ordering::Relaxed);
    if !compares && !lapses {
        return;
    }
    let Some(_turn) = sweep.turn() else { return };
    if lapses {
        lapse(endpoints, upstream, now);
    }
    // Another core may have been faster.
    if !compares || sweep.compared_at.load(Ordering::Relaxed) != last.0 {
        return;
    }
    sweep.compared_at.store(now.0, Ordering::Relaxed);
    let compared = intervals(endpoints);
    // Counts since long ago, from before the policy or while nobody looked, are no interval.
    if last.0 == 0 || now.since(last) > 3 * spec.interval {
        return;
    }
    for (index, cause) in outliers(spec, endpoints, &compared, now) {
        let endpoint = &endpoints[index].state;
        eject(spec, endpoint, upstream, endpoints, now, cause);
    }
    for Endpoint { state, .. } in endpoints {
        let ended = state.outlier.until.load(Ordering::Relaxed);
        let times = state.ejections.load(Ordering::Relaxed);
        if ended <= last.0 && times > 0 {
            state.ejections.store(times - 1, Ordering::Relaxed);
        }
    }
}

/// What one endpoint did in an interval.
#[derive(Clone, Copy)]
struct Interval {
    requests: u64,
    failures: u64,
    heads: u64,
    head_us: u64,
}

impl Interval {
    fn success_rate(&self) -> f64 {
        1.0 - self.failures as f64 / self.requests.max(1) as f64
    }

    fn latency_us(&self) -> f64 {
        self.head_us as f64 / self.heads.max(1) as f64
    }
}

/// What the endpoints did since this was last asked. The caller has the turn.
fn intervals(endpoints: &[Endpoint]) -> Vec<Interval> {
    let interval = |endpoint: &Endpoint| {
        let (state, record) = (&endpoint.state, &endpoint.state.outlier);
        let (mut buckets, mut head_us) = ([0; LATENCY_BOUNDS_US.len() + 1], 0);
        for stats in state.stats.iter() {
            stats.latency.merge_into(&mut buckets, &mut head_us);
        }
        let heads = buckets.iter().sum();
        let since = |was: &AtomicU64, is: u64| is.wrapping_sub(was.swap(is, Ordering::Relaxed));
        Interval {
            requests: since(&record.requests, state.stats.sum(|stats| &stats.requests)),
            failures: since(&record.failures, state.stats.sum(|stats| &stats.failures)),
            heads: since(&record.heads, heads),
            head_us: since(&record.head_us, head_us),
        }
    };
    endpoints.iter().map(interval).collect()
}

/// The endpoints that stand out, the worst first.
fn outliers(
    spec: &policy::Outlier,
    endpoints: &[Endpoint],
    compared: &[Interval],
    now: Moment,
) -> Vec<(usize, Cause)> {
    let enough = u64::from(spec.minimum_requests.max(1));
    let takes_part = |index: &usize| endpoints[*index].state.ejected_until(now).is_none();
    let all = || (0..compared.len()).filter(takes_part);
    let mut found = Vec::new();

    let mut rates: Vec<(f64, usize)> = all()
        .filter(|index| compared[*index].requests >= enough)
        .map(|index| (compared[index].success_rate(), index))
        .collect();
    rates.sort_by(|one, other| one.0.total_cmp(&other.0));
    let count = rates.len().max(1) as f64;
    let mean = rates.iter().map(|(rate, _)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(rate, _)| (rate - mean).powi(2));
    let deviation = (variance.sum::<f64>() / count).sqrt();
    let least = (mean - spec.success_rate_deviations * deviation).min(mean - RATE_GAP_MIN);
    if spec.success_rate_deviations > 0.0 {
        let low = rates.iter().filter(|(rate, _)| *rate < least);
        found.extend(low.map(|(_, index)| (*index, Cause::SuccessRate)));
    }

    let mut latencies: Vec<(f64, usize)> = all()
        .filter(|index| compared[*index].heads >= enough)
        .map(|index| (compared[index].latency_us(), index))
        .collect();
    latencies.sort_by(|one, other| other.0.total_cmp(&one.0));
    // Of an even number the faster one of the middle, so that two can be told apart.
    let median = latencies.get(latencies.len() / 2).map(|(us, _)| *us);
    if let Some(median) = median.filter(|_| spec.latency_factor > 0.0) {
        let slow = latencies
            .iter()
            .filter(|(us, _)| *us > median * spec.latency_factor);
        found.extend(slow.map(|(_, index)| (*index, Cause::Latency)));
    }
    found
}

#[cfg(test)]
mod tests;
