//! What one thread has counted, and how the counts of all threads come together. Latencies are
//! nanoseconds in histograms of three significant digits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::plan::Window;
use crate::results::Latency;

/// Counts within the window, and some over the whole run.
#[derive(Debug)]
pub struct Tally {
    window: Window,
    arrivals: Arrivals,
    /// From when a request was due, or sent in a closed loop.
    pub latency: Histogram<u64>,
    /// From when it was sent; empty of a closed loop.
    pub service: Histogram<u64>,
    /// Of an open loop with several rates: the latency of each step.
    pub steps: Vec<(Window, Histogram<u64>)>,
    /// How late requests were sent although a connection was free: the generator's own error.
    pub lag: Histogram<u64>,
    statuses: Box<[u64; STATUSES]>,
    errors: [u64; Kind::ALL.len()],
    said: [Option<String>; Kind::ALL.len()],
    /// Requests answered that belong to the warm-up.
    pub warmup: u64,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// Connections that were opened, from the start.
    pub opened: u64,
    /// Handshakes that resumed a session, from the start.
    pub resumed: u64,
    /// Idle connections that the server has closed.
    pub idle_lost: u64,
    /// Requests under way at the end of a closed loop, and how long the first of them was.
    pub cut: u64,
    /// In nanoseconds.
    pub cut_longest: u64,
    /// Answers and failures from the start, for the progress bar.
    answered: u64,
    failed: u64,
    recent: Option<Histogram<u64>>,
}

/// What makes requests due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// The answers to those before: a closed loop. What is answered within the window counts.
    Answers,
    /// A schedule: an open loop. What is due within the window counts, whenever it is answered.
    Schedule,
}

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// There was no connection to be had.
    Connect,
    /// The handshake failed, or what came behind it was no TLS.
    Tls,
    /// The server broke the connection off.
    Reset,
    /// The server closed the connection before the answer was whole.
    Closed,
    /// No whole answer within the timeout.
    Timeout,
    /// What came was no answer by the rules of the protocol.
    Protocol,
    /// A gRPC call came to another status than 0, or to none.
    Grpc,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 7] = [
        Kind::Connect,
        Kind::Tls,
        Kind::Reset,
        Kind::Closed,
        Kind::Timeout,
        Kind::Protocol,
        Kind::Grpc,
    ];

    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Connect => "connect",
            Kind::Tls => "tls",
            Kind::Reset => "reset",
            Kind::Closed => "closed",
            Kind::Timeout => "timeout",
            Kind::Protocol => "protocol",
            Kind::Grpc => "grpc",
        }
    }
}

/// The times of one request, in nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was due; in a closed loop when it was sent.
    pub due: u64,
    /// When it was sent.
    pub sent: u64,
}

/// What the progress bar reads while a thread writes it.
#[derive(Debug, Default)]
pub struct Live {
    /// Requests answered from the start.
    pub answered: AtomicU64,
    /// Requests failed from the start.
    pub failed: AtomicU64,
    /// 99th percentile since the last look, in nanoseconds.
    pub p99: AtomicU64,
}

/// Whether somebody watches while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// A person at a terminal.
    Yes,
    /// Nobody.
    No,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(window: Window, arrivals: Arrivals, watched: Watched) -> Tally {
        Tally {
            window,
            arrivals,
            latency: histogram(),
            service: histogram(),
            steps: Vec::new(),
            lag: histogram(),
            statuses: Box::new([0; STATUSES]),
            errors: [0; Kind::ALL.len()],
            said: [const { None }; Kind::ALL.len()],
            warmup: 0,
            body_bytes: 0,
            opened: 0,
            resumed: 0,
            idle_lost: 0,
            cut: 0,
            cut_longest: 0,
            answered: 0,
            failed: 0,
            recent: (watched == Watched::Yes).then(histogram),
        }
    }

    /// Keeps the latencies of these parts of the window apart as well.
    pub fn with_steps(mut self, windows: impl Iterator<Item = Window>) -> Tally {
        self.steps = windows.map(|window| (window, histogram())).collect();
        self
    }

    /// A request was answered whole at `now`.
    pub fn answer(&mut self, status: u16, body_bytes: u64, times: Times, now: u64) {
        self.answered += 1;
        let latency = now.saturating_sub(times.due);
        if let Some(recent) = &mut self.recent {
            recent.saturating_record(latency);
        }
        let counted_by = match self.arrivals {
            Arrivals::Answers => now,
            Arrivals::Schedule => times.due,
        };
        if !self.window.holds(counted_by) {
            self.warmup += u64::from(counted_by < self.window.from);
            return;
        }
        self.latency.saturating_record(latency);
        if self.arrivals == Arrivals::Schedule {
            let service = now.saturating_sub(times.sent);
            self.service.saturating_record(service);
            let mut steps = self.steps.iter_mut();
            if let Some((_, step)) = steps.find(|(window, _)| window.holds(times.due)) {
                step.saturating_record(latency);
            }
        }
        self.statuses[usize::from(status) % STATUSES] += 1;
        self.body_bytes += body_bytes;
    }

    /// A request failed at `now`; `why` is asked for once per kind.
    pub fn failure(&mut self, kind: Kind, now: u64, why: impl FnOnce() -> String) {
        self.failed += 1;
        self.said[kind as usize].get_or_insert_with(why);
        // What is cut off at the end is no failure; what fails behind it was due before.
        let counts = match self.arrivals {
            Arrivals::Answers => self.window.holds(now),
            Arrivals::Schedule => now >= self.window.from,
        };
        if counts {
            self.errors[kind as usize] += 1;
        }
    }

    /// A request sent at `sent` was under way when the run was over.
    pub fn cut(&mut self, sent: u64) {
        self.cut += 1;
        let waited = self.window.to.saturating_sub(sent);
        self.cut_longest = self.cut_longest.max(waited);
    }

    /// A request due at `due` was sent at `now` on a connection that had waited for it.
    pub fn sent_after_wait(&mut self, due: u64, now: u64) {
        if self.window.holds(due) {
            self.lag.saturating_record(now.saturating_sub(due));
        }
    }

    /// Requests answered within the window.
    pub fn requests(&self) -> u64 {
        self.latency.len()
    }

    /// Requests answered and failed from the start, the warm-up among them.
    pub fn of_all_time(&self) -> (u64, u64) {
        (self.answered, self.failed)
    }

    /// Answers by status.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        let counts = (0..).zip(self.statuses.iter());
        let seen = counts.filter(|(_, count)| **count > 0);
        seen.map(|(status, count)| (status, *count)).collect()
    }

    /// Failures by the name of their kind.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let counts = Kind::ALL.iter().zip(self.errors);
        let seen = counts.filter(|(_, count)| *count > 0);
        seen.map(|(kind, count)| (kind.name().to_owned(), count))
            .collect()
    }

    /// The first failure of each kind in words, also those outside the window.
    pub fn said(&self) -> impl Iterator<Item = (Kind, &str)> {
        let said = Kind::ALL.into_iter().zip(&self.said);
        said.filter_map(|(kind, said)| Some((kind, said.as_deref()?)))
    }

    /// Adds what another thread has counted.
    pub fn add(&mut self, other: &Tally) {
        let steps = self.steps.iter_mut().zip(&other.steps);
        let steps = steps.map(|((_, ours), (_, theirs))| (ours, theirs));
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lag, &other.lag),
        ];
        for (ours, theirs) in pairs.into_iter().chain(steps) {
            // Both have the same bounds.
            let added = ours.add(theirs);
            debug_assert!(added.is_ok());
        }
        let sum = |ours: &mut [u64], theirs: &[u64]| {
            ours.iter_mut()
                .zip(theirs)
                .for_each(|(our, their)| *our += their);
        };
        sum(&mut self.statuses[..], &other.statuses[..]);
        sum(&mut self.errors, &other.errors);
        for (ours, theirs) in self.said.iter_mut().zip(&other.said) {
            if ours.is_none() {
                ours.clone_from(theirs);
            }
        }
        self.warmup += other.warmup;
        self.body_bytes += other.body_bytes;
        self.opened += other.opened;
        self.resumed += other.resumed;
        self.idle_lost += other.idle_lost;
        self.cut += other.cut;
        self.cut_longest = self.cut_longest.max(other.cut_longest);
        self.answered += other.answered;
        self.failed += other.failed;
    }

    /// Shows the counts to the progress bar.
    pub fn publish(&mut self, live: &Live) {
        live.answered.store(self.answered, Ordering::Relaxed);
        live.failed.store(self.failed, Ordering::Relaxed);
        if let Some(recent) = self.recent.as_mut().filter(|recent| recent.len() >= 100) {
            live.p99
                .store(recent.value_at_quantile(0.99), Ordering::Relaxed);
            recent.reset();
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The shape that is saved, of latencies in nanoseconds.
pub fn latency(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| us(histogram.value_at_quantile(quantile));
    let curve = histogram.iter_quantiles(CURVE_TICKS).map(|step| {
        let quantile = step.quantile_iterated_to();
        [quantile, us(step.value_iterated_to())]
    });
    // Beyond the last value the curve only repeats it.
    let mut curve: Vec<[f64; 2]> = curve.collect();
    curve.dedup_by(|next, before| next[0] <= before[0]);
    Latency {
        mean_us: histogram.mean() / 1e3,
        deviation_us: histogram.stdev() / 1e3,
        min_us: us(histogram.min()),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: us(histogram.max()),
        curve,
    }
}

fn us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are sound")
}

/// Everything longer counts as this: an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;

/// Statuses have three digits.
const STATUSES: usize = 1000;

/// Points of the curve each time the distance to 1 halves.
const CURVE_TICKS: u32 = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { from: 100, to: 200 };

    fn times(due: u64, sent: u64) -> Times {
        Times { due, sent }
    }

    #[test]
    fn a_closed_loop_counts_what_is_answered_within_the_window() {
        let mut tally = Tally::new(WINDOW, Arrivals::Answers, Watched::No);
        for (sent, now) in [(90, 99), (90, 100), (150, 199), (150, 200)] {
            tally.answer(200, 1, times(sent, sent), now);
        }
        assert_eq!((tally.requests(), tally.body_bytes), (2, 2));
        assert_eq!((tally.latency.min(), tally.latency.max()), (10, 49));
        assert!(tally.service.is_empty());
    }

    #[test]
    fn an_open_loop_counts_what_is_due_within_the_window_however_late_it_is_answered() {
        let mut tally = Tally::new(WINDOW, Arrivals::Schedule, Watched::No);
        for due in [99, 100, 199, 200] {
            tally.answer(200, 0, times(due, due + 400), due + 500);
        }
        assert_eq!(tally.requests(), 2);
        assert_eq!((tally.latency.max(), tally.service.max()), (500, 100));
    }

    #[test]
    fn failures_of_the_warm_up_are_told_but_not_counted() {
        let mut tally = Tally::new(WINDOW, Arrivals::Answers, Watched::No);
        tally.failure(Kind::Reset, 50, || "first".to_owned());
        tally.failure(Kind::Reset, 150, || "second".to_owned());
        tally.failure(Kind::Closed, 250, || "late".to_owned());
        assert_eq!(tally.errors(), BTreeMap::from([("reset".to_owned(), 1)]));
        let said: Vec<_> = tally.said().collect();
        assert_eq!(said, [(Kind::Reset, "first"), (Kind::Closed, "late")]);
    }

    #[test]
    fn threads_add_up() {
        let mut sum = Tally::new(WINDOW, Arrivals::Answers, Watched::No);
        for thread in 0..3_u16 {
            let mut tally = Tally::new(WINDOW, Arrivals::Answers, Watched::No);
            tally.answer(200 + thread, 5, times(100, 100), 150);
            tally.failure(Kind::Timeout, 150, String::new);
            sum.add(&tally);
        }
        assert_eq!(sum.statuses(), [(200, 1), (201, 1), (202, 1)].into());
        assert_eq!((sum.requests(), sum.body_bytes), (3, 15));
        assert_eq!(sum.errors(), BTreeMap::from([("timeout".to_owned(), 3)]));
    }

    #[test]
    fn the_curve_rises_and_ends_at_the_greatest_value() {
        let mut tally = Tally::new(WINDOW, Arrivals::Answers, Watched::No);
        for latency in 1..=100_000 {
            tally.latency.record(latency * 1000).unwrap();
        }
        let latency = latency(&tally.latency);
        assert!(
            latency
                .curve
                .windows(2)
                .all(|w| w[0][0] < w[1][0] && w[0][1] <= w[1][1])
        );
        let last = latency.curve.last().unwrap();
        assert_eq!((last[0], last[1]), (1.0, latency.max_us));
        assert!((latency.p99_us / 99_000.0 - 1.0).abs() < 0.002);
    }
}
