//! Rate limits and quotas between the data plane, which counts, and the control plane, which
//! keeps what is counted over restarts, shares limits with other nodes, and shows them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringgate_config::Config;
use ringgate_control::cluster::{self, Cluster, Grant, Supply, Terms, Url, Want};
use ringgate_control::quota::{self, Book, Count, Quota, Quotas, Reset, Store, Window};
use ringgate_control::{Exposition, Kind};
use ringgate_core::chain::{Program, Step};
use ringgate_core::rt::clock::Moment;
use ringgate_core::stats::Counter;
use ringgate_filters::Filter;
use ringgate_filters::rate_limit::{Algorithm, Ledger, Ledgers, Limit, LimitStats, Period};
use serde_json::{Value, json};
use tracing::error;

use super::StartError;
use crate::compile::Snapshot;

/// The ledgers of the process, and the file that quotas outlive it in.
pub(super) struct Limits {
    pub(super) ledgers: Arc<Ledgers>,
    store: Mutex<Option<Arc<Store>>>,
}

impl Limits {
    /// For so many workers.
    pub(super) fn new(workers: usize) -> Self {
        let limits = Self {
            ledgers: Arc::new(Ledgers::new(workers, KEY_SEED)),
            store: Mutex::default(),
        };
        limits.tell_time();
        limits
    }

    /// Tells the ledgers by which days and months they go.
    pub(super) fn tell_time(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.unwrap_or(Duration::ZERO).as_millis() as u64;
        self.ledgers.set_wall(wall, Moment::now());
    }

    /// Opens the file of a configuration with quotas, and puts what it knows into ledgers that
    /// know less. The configuration is compiled, and no request has come by it yet.
    pub(super) fn restore(&self, config: &Config) -> Result<(), StartError> {
        let Some(written) = &config.quotas else {
            return Ok(());
        };
        let path = &*written.store.value;
        let mut held = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match &*held {
            Some(store) if store.path() == path => Arc::clone(store),
            Some(store) => {
                return Err(StartError::new(format!(
                    "the quotas are kept in {}, which only a restart can change",
                    store.path().display()
                ))
                .help("restart the gateway, or take the change of [quotas] store back"));
            }
            None => Arc::new(
                Store::open(path)
                    .map_err(|error| StartError::new(error.to_string()).help(error.advice()))?,
            ),
        };
        let now = SystemTime::now();
        for quota in self.books() {
            store.restore(&quota.filter, &*quota.book, now);
        }
        *held = Some(store);
        Ok(())
    }

    /// Has the ledgers go by this snapshot: the one that is put in force, or the former one when a
    /// configuration is refused that has been compiled after it.
    pub(super) fn hold(&self, snapshot: &Snapshot) {
        let now = Moment::now();
        let mut held = HashSet::new();
        for step in steps_of(snapshot) {
            if let Filter::RateLimit(limit) = &*step.filter
                && held.insert(Arc::as_ptr(&step.filter))
            {
                limit.hold(&self.ledgers, now);
            }
        }
    }

    /// What the control plane writes, shows and resets.
    pub(super) fn quotas(&self) -> Option<Quotas> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = Arc::clone(store.as_ref()?);
        Some(Quotas {
            store,
            quotas: self.books(),
        })
    }

    /// Writes what quotas have counted that the snapshot in force does without, and the former
    /// one did not: nobody else will.
    pub(super) fn flush_former(&self, former: &Snapshot, snapshot: &Snapshot) {
        let stay: HashSet<_> = ledgers_of(snapshot).map(Arc::as_ptr).collect();
        let gone = ledgers_of(former).filter(|ledger| !stay.contains(&Arc::as_ptr(ledger)));
        let gone: Vec<Quota> = gone.cloned().filter_map(book).collect();
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = store.clone();
        if let Some(store) = store.filter(|_| !gone.is_empty()) {
            store.flush(&gone, SystemTime::now());
        }
    }

    /// Writes the counts for the last time.
    pub(super) fn flush(&self) {
        if let Some(Quotas { store, quotas }) = self.quotas() {
            store.flush(&quotas, SystemTime::now());
        }
    }

    fn books(&self) -> Vec<Quota> {
        self.ledgers.all().into_iter().filter_map(book).collect()
    }

    /// The servers that limits are shared through.
    pub(super) fn clusters(&self, config: &Config) -> Vec<Cluster> {
        let ledgers = self.ledgers.all();
        let clusters = config.redis.iter().filter_map(|redis| {
            // The reader has refused what is no address.
            let url = Url::parse(redis.url.expose()).inspect_err(
                |why| error!(redis = %redis.name.value, %why, "limits are not shared"),
            );
            let shared = ledgers.iter().filter(|ledger| {
                let store = ledger.cluster().map(|cluster| &*cluster.store);
                store == Some(redis.name.value.as_str())
            });
            let supplies = shared.filter_map(|ledger| Some(Arc::new(shared_limit(ledger)?) as _));
            let supplies: Vec<_> = supplies.collect();
            let store = config.consumer_store.as_ref();
            let keeps = store.is_some_and(|store| store.redis.value == redis.name.value);
            // One that keeps consumers need not share limits as well.
            if supplies.is_empty() && keeps {
                return None;
            }
            Some(Cluster {
                name: redis.name.value.as_str().into(),
                url: url.ok()?,
                nodes: redis.nodes,
                timeout: redis.timeout,
                supplies,
            })
        });
        clusters.collect()
    }

    /// Every limit with its figures.
    pub(super) fn show(&self) -> Value {
        let now = Moment::now();
        let ledgers = self.ledgers.all().into_iter();
        ledgers.map(|ledger| show(&ledger, now)).collect()
    }

    pub(super) fn write_metrics(&self, out: &mut Exposition) {
        let ledgers = self.ledgers.all();
        if ledgers.is_empty() {
            return;
        }
        for (family, help, counter) in COUNTERS {
            out.family(family, Kind::Counter, help);
            for ledger in &ledgers {
                write(out, ledger, ledger.stats().sum(counter));
            }
        }
        out.family(
            "ringgate_limit_keys",
            Kind::Gauge,
            "Keys that have used something of the limit.",
        );
        let now = Moment::now();
        for ledger in &ledgers {
            write(out, ledger, keys_in_use(ledger, now));
        }
        out.family(
            "ringgate_limit_keys_max",
            Kind::Gauge,
            "Keys that the limit has place for.",
        );
        for ledger in &ledgers {
            write(out, ledger, ledger.keys_max() as u64);
        }
        out.family(
            "ringgate_limit_table_bytes",
            Kind::Gauge,
            "Memory of the limit's table when all of its keys are in use.",
        );
        for ledger in &ledgers {
            write(out, ledger, ledger.bytes() as u64);
        }
    }
}

type Row = (&'static str, &'static str, fn(&LimitStats) -> &Counter);

const COUNTERS: [Row; 5] = [
    (
        "ringgate_limit_admitted_total",
        "Weight of the requests that a limit let pass.",
        |stats| &stats.admitted,
    ),
    (
        "ringgate_limit_refused_total",
        "Requests that a limit refused.",
        |stats| &stats.limited,
    ),
    (
        "ringgate_limit_dry_refused_total",
        "Requests that a limit would have refused, were it not a dry run.",
        |stats| &stats.dry_limited,
    ),
    (
        "ringgate_limit_crowded_total",
        "Requests refused because more keys than keys_max were in use.",
        |stats| &stats.crowded,
    ),
    (
        "ringgate_limit_leases_total",
        "Times that a worker leased tokens of a limit.",
        |stats| &stats.asked,
    ),
];

fn write(out: &mut Exposition, ledger: &Ledger, value: u64) {
    let position = ledger.position().to_string();
    out.sample(&[("filter", ledger.name()), ("limit", &position)], value);
}

fn keys_in_use(ledger: &Ledger, now: Moment) -> u64 {
    let mut keys = 0;
    ledger.entries(now, |_| keys += 1);
    keys
}

fn show(ledger: &Ledger, now: Moment) -> Value {
    let Limit {
        limit,
        burst,
        period,
        algorithm,
        reconcile,
    } = ledger.limit();
    let sum = |counter: fn(&LimitStats) -> &Counter| ledger.stats().sum(counter);
    json!({
        "filter": ledger.name(),
        "limit_number": ledger.position(),
        "key": ledger.key(),
        "algorithm": match algorithm {
            Algorithm::TokenBucket => "token_bucket",
            Algorithm::FixedWindow => "fixed_window",
            Algorithm::SlidingWindow => "sliding_window",
        },
        "limit": limit,
        "per": match period {
            Period::Span(span) => format!("{span:?}"),
            Period::Day => Window::Day.as_str().to_owned(),
            Period::Month => Window::Month.as_str().to_owned(),
        },
        "burst": burst,
        "reconcile_ms": reconcile.as_secs_f64() * 1e3,
        "bound": limit.saturating_add(burst),
        "keys": keys_in_use(ledger, now),
        "keys_max": ledger.keys_max(),
        "overflow": sum(|stats| &stats.crowded),
        "admitted": sum(|stats| &stats.admitted),
        "refused": sum(|stats| &stats.limited),
        "would_have_refused": sum(|stats| &stats.dry_limited),
        "redis": ledger.cluster().map(|cluster| &*cluster.store),
    })
}

/// The ledgers that a snapshot's requests are counted in; those of a filter that several routes
/// have come several times.
fn ledgers_of(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Ledger>> {
    let ledgers = steps_of(snapshot).filter_map(|step| match &*step.filter {
        Filter::RateLimit(limit) => Some(limit.all_ledgers()),
        _ => None,
    });
    ledgers.flatten()
}

/// The steps of all routes and listeners.
fn steps_of(snapshot: &Snapshot) -> impl Iterator<Item = &Step<Filter>> {
    let routes = snapshot.routes.iter().map(|route| &route.program);
    let programs = routes.chain(&snapshot.chains);
    programs.flat_map(Program::steps)
}

/// The book of a quota; none for other limits.
fn book(ledger: Arc<Ledger>) -> Option<Quota> {
    let window = window(&ledger.limit())?;
    Some(Quota {
        filter: ledger.name().into(),
        book: Arc::new(CountedQuota { ledger, window }),
    })
}

/// The calendar's window of a quota; none for other limits.
fn window(limit: &Limit) -> Option<Window> {
    match limit.period {
        Period::Span(_) => None,
        Period::Day => Some(Window::Day),
        Period::Month => Some(Window::Month),
    }
}

/// A quota's ledger, as the control plane reads and writes it.
struct CountedQuota {
    ledger: Arc<Ledger>,
    window: Window,
}

impl Book for CountedQuota {
    fn terms(&self) -> quota::Terms {
        quota::Terms {
            limit: self.ledger.limit().limit,
            window: self.window,
        }
    }

    fn each(&self, see: &mut dyn FnMut(Count)) {
        self.ledger.entries(Moment::now(), |entry| {
            see(Count {
                hash: entry.hash,
                window: self.window.start_of(entry.window),
                used: entry.used,
            });
        });
    }

    fn take_name(&self) -> Option<(u64, Box<str>)> {
        self.ledger.take_named()
    }

    fn restore(&self, count: Count) {
        let number = self.window.number_of(count.window);
        self.ledger
            .restore(count.hash, number, count.used, Moment::now());
    }

    fn reset(&self, hash: u64) -> Reset {
        match self.ledger.reset(hash, Moment::now()) {
            true => Reset::Done,
            false => Reset::Unknown,
        }
    }
}

/// A ledger whose tokens come from a server.
struct SharedLimit {
    ledger: Arc<Ledger>,
    terms: Terms,
    reconcile: Duration,
}

fn shared_limit(ledger: &Arc<Ledger>) -> Option<SharedLimit> {
    let limit = ledger.limit();
    let Period::Span(per) = limit.period else {
        return None;
    };
    let whole = limit.limit.saturating_add(limit.burst);
    let (algorithm, tokens, burst) = match limit.algorithm {
        Algorithm::TokenBucket => (
            cluster::Algorithm::TokenBucket,
            limit.limit,
            limit.burst.saturating_add(1),
        ),
        Algorithm::FixedWindow => (cluster::Algorithm::FixedWindow, whole, 0),
        Algorithm::SlidingWindow => (cluster::Algorithm::SlidingWindow, whole, 0),
    };
    Some(SharedLimit {
        ledger: Arc::clone(ledger),
        terms: Terms {
            algorithm,
            limit: tokens,
            per,
            burst,
        },
        reconcile: limit.reconcile,
    })
}

impl Supply for SharedLimit {
    fn policy(&self) -> &str {
        self.ledger.name()
    }

    fn position(&self) -> usize {
        self.ledger.position()
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.ledger).addr()
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn reconcile(&self) -> Duration {
        self.reconcile
    }

    fn credit(&self) -> u64 {
        self.ledger.credit()
    }

    fn end_grant(&self, hash: u64) {
        self.ledger.end_grant(hash, Moment::now());
    }

    fn wants(&self, see: &mut dyn FnMut(Want)) {
        // Read first, so that what has ended is not taken to have done so later.
        let (instant, now) = (Instant::now(), Moment::now());
        self.ledger.wants(now, |want| {
            let ended = instant.checked_sub(now.since(want.ended));
            see(Want {
                hash: want.hash,
                // Credit is among it: what the server does not grant stays owed in the ledger,
                // which gives no further credit meanwhile.
                asked: want.amount,
                back: want.back,
                ended: ended.filter(|_| want.back > 0),
                debt: 0,
            });
        });
    }

    fn grant(&self, grant: Grant) {
        let now = Moment::now();
        // Who gets nothing is told when to come again.
        let until = match grant.tokens {
            0 => grant.next,
            _ => grant.until,
        };
        let good = until.saturating_duration_since(Instant::now());
        self.ledger
            .grant(grant.hash, grant.tokens, now.after(good), now);
    }
}

/// What keys are hashed with: the same in every process, so that counts of a former one and of
/// other nodes are found again.
const KEY_SEED: u64 = 0x0072_696e_6767_6174;
