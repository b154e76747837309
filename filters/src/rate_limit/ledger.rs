//! The ledger of one limit: what all cores have drawn of it, key by key.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use arc_swap::ArcSwap;
use crossbeam::queue::ArrayQueue;
use ringgate_core::rt::clock::Moment;
use ringgate_core::stats::{CoreIndex, Counter, PerCore};

use super::calendar::Window;
use super::numbers::{Kind, Numbers};
use super::supply::Supply;
use super::table::{Placed, Slot, Table, patiently};
use super::{Algorithm, Cluster, Limit, Period, bucket, fixed, granted, sliding};

/// What a core asks of a ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) hash: u64,
    /// Tokens without which it is refused; at least 1.
    pub(super) need: u32,
    /// Tokens that it would take, at least as many.
    pub(super) want: u32,
    /// How long it may put off its next question when there is nothing, in nanoseconds.
    pub(super) patience: u64,
    pub(super) now: Moment,
}

/// A lease takes no more than this part of what is left, or what is asked for: a core that has
/// the last tokens lying unused would have the others refuse.
const LEFT_SHARE: u64 = 64;

impl Ask {
    /// Tokens to grant of those that are there, which are enough for the need.
    #[inline]
    pub(super) fn lease(&self, there: u64) -> u64 {
        u64::from(self.want)
            .min(there / LEFT_SHARE)
            .max(u64::from(self.need))
    }
}

/// What a ledger answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// So many tokens, good until a moment.
    Granted {
        tokens: u32,
        until: Moment,
        /// What is left for others.
        left: u64,
    },
    /// Too few are there.
    Refused {
        /// Before that not one will be.
        ask_at: Moment,
        /// When there will be enough, if nobody else asks.
        enough_at: Moment,
        left: u64,
    },
    /// The key has no slot: too many others are in use.
    Crowded,
}

/// What a ledger keeps account of.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerSpec {
    /// The numbers.
    pub limit: Limit,
    /// Keys at a time.
    pub keys_max: usize,
    /// The store and the nodes that share it.
    pub cluster: Option<Cluster>,
}

/// The account of one limit on all cores. Kept across reloads.
#[derive(Debug)]
pub struct Ledger {
    name: Box<str>,
    position: usize,
    /// The key as the configuration has it: another key is another ledger.
    key: Box<str>,
    /// A small number of its own while it lives.
    pub(super) index: usize,
    /// A number that no other ledger of the process has had.
    pub(super) serial: u64,
    algorithm: Algorithm,
    keys_max: usize,
    cluster: Option<Cluster>,
    pub(super) numbers: ArcSwap<Numbers>,
    pub(super) table: Table,
    /// From milliseconds of the moment clock to those of the UNIX epoch.
    unix_offset: Arc<AtomicI64>,
    stats: PerCore<LimitStats>,
    cores: u32,
    seats: AtomicU32,
    named: Option<ArrayQueue<(u64, Box<str>)>>,
    supply: Option<Supply>,
}

/// What one core counts of one limit.
#[derive(Debug, Default)]
pub struct LimitStats {
    /// Tokens that requests took.
    pub admitted: Counter,
    /// Requests that it refused.
    pub limited: Counter,
    /// Requests that it would have refused without dry run.
    pub dry_limited: Counter,
    /// Times the ledger was asked for tokens.
    pub asked: Counter,
    /// Tokens leased.
    pub leased: Counter,
    /// Tokens given back.
    pub returned: Counter,
    /// Requests refused because their key found no slot.
    pub crowded: Counter,
    /// Keys that took a slot.
    pub keys: Counter,
}

/// Names of new keys that wait to be fetched.
const NAMED_MAX: usize = 8192;

impl Ledger {
    pub(super) fn new(
        place: Place<'_>,
        spec: &LedgerSpec,
        cores: usize,
        unix_offset: &Arc<AtomicI64>,
        now: Moment,
    ) -> Ledger {
        let cluster = spec.cluster.as_ref();
        let offset = unix_offset.load(Ordering::Relaxed);
        let numbers = Numbers::new(&spec.limit, cluster, now, offset, None);
        let extra = match numbers.kind {
            Kind::Sliding(_) => sliding::EXTRA,
            Kind::Granted(_) => 1,
            Kind::Bucket(_) | Kind::Fixed(_) => 0,
        };
        // Only quotas have somebody who reads the names.
        let is_named = spec.limit.period.is_calendar();
        Ledger {
            name: place.name.into(),
            position: place.position,
            key: place.key.into(),
            index: place.index,
            serial: place.serial,
            algorithm: spec.limit.algorithm,
            keys_max: spec.keys_max,
            cluster: spec.cluster.clone(),
            numbers: ArcSwap::from_pointee(numbers),
            table: Table::new(spec.keys_max, extra),
            unix_offset: Arc::clone(unix_offset),
            stats: PerCore::new(cores.max(1)),
            cores: cores.max(1) as u32,
            seats: AtomicU32::new(0),
            named: is_named.then(|| ArrayQueue::new(NAMED_MAX)),
            supply: cluster.map(|_| Supply::new()),
        }
    }

    /// Whether it can go on as the ledger of this key and specification.
    pub(super) fn serves(&self, key: &str, spec: &LedgerSpec) -> bool {
        // A day's number is no month's, and no number of windows either; and what one store
        // granted to some nodes is not what another one did.
        let calendar = |period: Period| period.is_calendar().then_some(period);
        *self.key == *key
            && self.algorithm == spec.limit.algorithm
            && self.cluster == spec.cluster
            && calendar(self.limit().period) == calendar(spec.limit.period)
    }

    /// Takes over other numbers; what has been used stays used. For the control plane.
    pub(super) fn adopt(&self, spec: &LedgerSpec, now: Moment) {
        let former = self.numbers.load();
        if former.limit == spec.limit {
            return;
        }
        let cluster = spec.cluster.as_ref();
        let offset = self.unix_offset.load(Ordering::Relaxed);
        let numbers = Numbers::new(&spec.limit, cluster, now, offset, Some(&former));
        self.numbers.store(Arc::new(numbers));
    }

    /// The filter that it belongs to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of the filter's limits it is.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The key as the configuration has it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its numbers.
    pub fn limit(&self) -> Limit {
        self.numbers.load().limit.clone()
    }

    /// The store and the nodes that share it.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// Which keys ask the store for tokens, when nodes share it.
    pub(super) fn supply(&self) -> Option<&Supply> {
        self.supply.as_ref()
    }

    /// Keys at a time. A reload does not change it: the table stays as long as the ledger.
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// Bytes of its table when all of it is in use.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// What the cores count.
    pub fn stats(&self) -> &PerCore<LimitStats> {
        &self.stats
    }

    /// A place for one core's counts.
    pub(super) fn seat(&self) -> CoreIndex {
        CoreIndex(self.seats.fetch_add(1, Ordering::Relaxed) % self.cores)
    }

    /// How long leases live, in nanoseconds.
    pub(super) fn life(&self) -> u64 {
        self.numbers.load().life
    }

    /// The aligned window of a moment: the number of the day or month for quotas.
    pub fn window(&self, now: Moment) -> Window {
        let offset = self.unix_offset.load(Ordering::Relaxed);
        self.numbers.load().window(now, offset)
    }

    /// The next key that was seen for the first time, with its text, in ledgers of quotas, whose
    /// store knows keys by it. Texts are dropped while nobody fetches them.
    pub fn take_named(&self) -> Option<(u64, Box<str>)> {
        self.named.as_ref()?.pop()
    }

    /// Whether texts of new keys are wanted.
    pub(super) fn wants_names(&self) -> bool {
        self.named.is_some()
    }

    /// Keeps the text of a new key.
    pub(super) fn tell_name(&self, hash: u64, text: Box<str>) {
        if let Some(named) = &self.named {
            // When the queue is full nobody reads it.
            let _ = named.push((hash, text));
        }
    }

    /// Tokens for a core. Tells also whether the key is new here, and by which moment was
    /// decided: a core whose clock was read before another core pushed keys out decides by
    /// that core's. Last how long leases live now, in nanoseconds.
    #[inline]
    pub(super) fn ask(&self, ask: &Ask) -> (Answered, Newness, Moment, u64) {
        let numbers = self.numbers.load();
        let mut ask = *ask;
        let mut newness = Newness::Known;
        let answered = patiently(|| {
            let window = self.window_of(&numbers, ask.now);
            let slot = match self.table.find(nonzero(ask.hash)) {
                Some(slot) => slot,
                None => match self.place(&numbers, &window, ask.hash, ask.now)? {
                    Placed::Known(slot) => slot,
                    Placed::New(slot) => {
                        newness = Newness::New;
                        slot
                    }
                    Placed::Late(moment) => {
                        ask.now = moment;
                        return None;
                    }
                    Placed::Full => return Some(Answered::Crowded),
                },
            };
            let key = nonzero(ask.hash);
            let word = self.table.word_of(slot, key)?;
            match self.issue(&numbers, &window, slot, word, &ask) {
                Ok((by, answered)) => {
                    let swapped = self.table.swap(slot, key, word, by);
                    if let Some(supply) = self.supply.as_ref().filter(|_| swapped) {
                        supply.take_back(key, granted::Parts::of(word, ask.now).unused);
                    }
                    swapped.then_some(answered)
                }
                Err(refused) => Some(refused),
            }
        });
        let answered = answered.unwrap_or(Answered::Crowded);
        if let Some(supply) = &self.supply {
            supply.note(self, &ask, answered);
        }
        (answered, newness, ask.now, numbers.life)
    }

    pub(super) fn window_of(&self, numbers: &Numbers, now: Moment) -> Window {
        match numbers.kind {
            Kind::Fixed(_) => numbers.window(now, self.unix_offset.load(Ordering::Relaxed)),
            _ => Window {
                number: 0,
                end: now,
            },
        }
    }

    /// Gives a key a slot.
    pub(super) fn place(
        &self,
        numbers: &Numbers,
        window: &Window,
        hash: u64,
        now: Moment,
    ) -> Option<Placed> {
        let sub = numbers.sub_window(now);
        let fresh = |slot: Slot| match &numbers.kind {
            Kind::Bucket(_) => bucket::fresh(numbers, now),
            Kind::Fixed(_) => fixed::word(window.number, 0),
            Kind::Sliding(_) => sliding::fresh(sub, self.table.extra(slot)),
            Kind::Granted(_) => granted::fresh(),
        };
        let is_idle = |slot: Slot, word: u64| match &numbers.kind {
            Kind::Bucket(_) => bucket::is_idle(numbers, word, now),
            Kind::Fixed(_) => fixed::is_idle(word, window),
            Kind::Sliding(_) => sliding::is_idle(word, sub, self.table.extra(slot)),
            Kind::Granted(_) => granted::is_idle(word, now),
        };
        self.table.place(nonzero(hash), fresh, now, is_idle)
    }

    #[inline]
    fn issue(
        &self,
        numbers: &Numbers,
        window: &Window,
        slot: Slot,
        word: u64,
        ask: &Ask,
    ) -> Result<(u64, Answered), Answered> {
        match &numbers.kind {
            Kind::Bucket(pace) => bucket::issue(numbers, pace, word, ask),
            Kind::Fixed(fixed) => fixed::issue(numbers, fixed, word, window, ask),
            Kind::Sliding(kind) => sliding::issue(numbers, kind, word, self.table.extra(slot), ask),
            Kind::Granted(kind) => granted::issue(numbers, kind, word, ask),
        }
    }

    /// Takes back unused tokens of a lease that was issued at a moment; tells how many are
    /// there again.
    pub(super) fn give_back(&self, hash: u64, unused: u32, issued: Moment, now: Moment) -> u64 {
        let numbers = self.numbers.load();
        // What was issued by other numbers is not what these would take back.
        if issued.0 < numbers.begun {
            return 0;
        }
        let unused = u64::from(unused);
        if let Some(supply) = &self.supply {
            // Their grant was in force when they were issued.
            supply.take_back(
                nonzero(hash),
                Some(granted::Unused {
                    tokens: unused,
                    ended: issued,
                }),
            );
            return unused;
        }
        let offset = self.unix_offset.load(Ordering::Relaxed);
        let Some(slot) = self.table.find(nonzero(hash)) else {
            return 0;
        };
        let swapped = patiently(|| {
            let Some(word) = self.table.word_of(slot, nonzero(hash)) else {
                return Some(false);
            };
            let by = match &numbers.kind {
                Kind::Bucket(_) => bucket::give_back(&numbers, word, unused, issued, now),
                Kind::Fixed(_) => fixed::give_back(word, unused, &numbers.window(issued, offset)),
                Kind::Sliding(kind) => {
                    let ring = self.table.extra(slot);
                    sliding::give_back(kind, word, ring, unused, numbers.sub_window(issued))
                }
                // They went to the store above.
                Kind::Granted(_) => None,
            };
            match by {
                Some(by) => self
                    .table
                    .swap(slot, nonzero(hash), word, by)
                    .then_some(true),
                None => Some(false),
            }
        });
        if swapped == Some(true) { unused } else { 0 }
    }

    /// Applies a change to the word of a key that nodes share.
    pub(super) fn change_granted(
        &self,
        hash: u64,
        now: Moment,
        change: impl Fn(granted::Parts) -> granted::Parts,
    ) -> Option<Slot> {
        let slot = self.table.find(nonzero(hash))?;
        let unused = patiently(|| {
            let Some(word) = self.table.word_of(slot, nonzero(hash)) else {
                return Some(None);
            };
            let parts = change(granted::Parts::of(word, now));
            self.table
                .swap(slot, nonzero(hash), word, parts.word())
                .then_some(Some(parts.unused))
        })??;
        if let Some(supply) = &self.supply {
            supply.take_back(nonzero(hash), unused);
        }
        Some(slot)
    }

    pub(super) fn numbers(&self) -> Arc<Numbers> {
        self.numbers.load_full()
    }
}

/// Whether a key was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newness {
    Known,
    New,
}

/// Which ledger one is.
pub(super) struct Place<'a> {
    pub(super) name: &'a str,
    pub(super) position: usize,
    pub(super) key: &'a str,
    pub(super) index: usize,
    pub(super) serial: u64,
}

/// Zero marks an empty slot.
#[inline]
pub(super) fn nonzero(hash: u64) -> u64 {
    if hash == 0 { 1 } else { hash }
}
