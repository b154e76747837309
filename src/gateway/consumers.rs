//! The store of consumers, between the data plane, which asks, and the control plane, which has
//! the connection.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringgate_config::Config;
use ringgate_control::Exposition;
use ringgate_control::cluster::Url;
use ringgate_control::consumers::{Answer, Desk, Question, Record, Source};
use ringgate_core::errand::Done;
use ringgate_filters::auth::consumers::Consumer;
use ringgate_filters::auth::store::{Found, Slot, Store, StoredConsumer};

use crate::compile::access::Stores;

/// The stores that filters of some snapshot ask.
#[derive(Debug, Default)]
pub(super) struct Consumers {
    shelves: Mutex<Vec<Weak<Shelf>>>,
}

/// Where questions go that are answered by one server's entries of one prefix.
struct Shelf {
    url: Box<str>,
    prefix: Box<str>,
    serial: u64,
    desk: Arc<Desk>,
}

static SERIALS: AtomicU64 = AtomicU64::new(1);

impl Stores for Consumers {
    fn store(&self, url: &str, prefix: &str) -> Arc<dyn Store> {
        self.shelf(url, prefix)
    }
}

impl Consumers {
    /// The one that there is, so that a reload which changes nothing of it changes nothing.
    fn shelf(&self, url: &str, prefix: &str) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        let same = |shelf: &Arc<Shelf>| (&*shelf.url, &*shelf.prefix) == (url, prefix);
        let known = shelves.iter().filter_map(Weak::upgrade).find(same);
        known.unwrap_or_else(|| {
            let shelf = Arc::new(Shelf {
                url: url.into(),
                prefix: prefix.into(),
                serial: SERIALS.fetch_add(1, Ordering::Relaxed),
                desk: Arc::default(),
            });
            shelves.push(Arc::downgrade(&shelf));
            shelf
        })
    }

    /// What the control plane asks, in the configuration in force.
    pub(super) fn source(&self, config: &Config) -> Option<Source> {
        let written = config.consumer_store.as_ref()?;
        let redis = written.server(config)?;
        let url = redis.url.expose();
        Some(Source {
            name: redis.name.value.as_str().into(),
            // The reader has refused what is no address.
            url: Url::parse(url).ok()?,
            prefix: written.prefix.clone(),
            timeout: redis.timeout,
            desk: Arc::clone(&self.shelf(url, &written.prefix).desk),
        })
    }

    pub(super) fn write_metrics(&self, config: &Config, out: &mut Exposition) {
        if let Some(source) = self.source(config) {
            source.desk.write(out);
        }
    }
}

impl Store for Shelf {
    fn find(&self, digest: [u8; 32], slot: Arc<Slot>, done: Done) {
        let answer = Box::new(move |answer| {
            slot.settle(match answer {
                Answer::Consumer(record) => Found::Consumer(Arc::new(stored(record))),
                Answer::Nobody => Found::Nobody,
                Answer::Away => Found::Away,
            });
            drop(done);
        });
        self.desk.ask(Question { digest, answer });
    }

    fn serial(&self) -> u64 {
        self.serial
    }
}

fn stored(record: Record) -> StoredConsumer {
    let millis = |seconds: u64| seconds.saturating_mul(1000);
    StoredConsumer {
        consumer: Consumer {
            name: record.name,
            groups: record.groups.into(),
            tags: record.tags.into(),
        },
        begins_ms: record.not_before.map_or(0, millis),
        ends_ms: record.expires.map_or(u64::MAX, millis),
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({:?})", self.prefix)
    }
}
