use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::exposition::Exposition;

/// A book that a test writes.
#[derive(Default)]
struct Pages {
    counts: Mutex<BTreeMap<u64, Count>>,
    names: Mutex<VecDeque<(u64, Box<str>)>>,
}

impl Pages {
    fn count(&self, key: &str, hash: u64, window: u64, used: u64) {
        let mut counts = self.counts.lock().unwrap();
        if counts.insert(hash, Count { hash, window, used }).is_none() {
            self.names.lock().unwrap().push_back((hash, key.into()));
        }
    }

    fn used(&self) -> Vec<(u64, u64)> {
        let counts = self.counts.lock().unwrap();
        counts
            .values()
            .map(|count| (count.hash, count.used))
            .collect()
    }
}

impl Book for Pages {
    fn terms(&self) -> Terms {
        Terms {
            limit: 100,
            window: Window::Day,
        }
    }

    fn each(&self, see: &mut dyn FnMut(Count)) {
        self.counts.lock().unwrap().values().copied().for_each(see);
    }

    fn take_name(&self) -> Option<(u64, Box<str>)> {
        self.names.lock().unwrap().pop_front()
    }

    fn restore(&self, count: Count) {
        self.counts.lock().unwrap().insert(count.hash, count);
    }

    fn reset(&self, hash: u64) -> Reset {
        match self.counts.lock().unwrap().remove(&hash) {
            Some(_) => Reset::Done,
            None => Reset::Unknown,
        }
    }
}

const DAY: u64 = 86_400;

fn day(number: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(number * DAY + 60)
}

fn quota(name: &str, book: &Arc<Pages>) -> Quota {
    Quota {
        filter: name.into(),
        book: Arc::clone(book) as _,
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("quotas.redb");
    (dir, path)
}

/// What a process that starts on the file has.
fn after_restart(path: &Path, now: SystemTime) -> Vec<(u64, u64)> {
    let store = Store::open(path).unwrap();
    let book = Pages::default();
    store.restore("calls", &book, now);
    book.used()
}

#[test]
fn counts_outlive_the_process() {
    let (_dir, path) = file();
    let book = Arc::new(Pages::default());
    {
        let store = Store::open(&path).unwrap();
        book.count("alice", 1, 20_000 * DAY, 7);
        book.count("bob", 2, 20_000 * DAY, 9);
        store.flush(&[quota("calls", &book)], day(20_000));
        book.count("alice", 1, 20_000 * DAY, 8);
        store.flush(&[quota("calls", &book)], day(20_000));
    }
    assert_eq!(after_restart(&path, day(20_000)), [(1, 8), (2, 9)]);
    assert_eq!(after_restart(&path, day(20_001)), [], "the day is over");
    let store = Store::open(&path).unwrap();
    let other = Pages::default();
    store.restore("another filter", &other, day(20_000));
    assert_eq!(other.used(), []);
}

#[test]
fn keys_are_shown_by_their_texts() {
    let (_dir, path) = file();
    let store = Store::open(&path).unwrap();
    let book = Arc::new(Pages::default());
    book.count("alice", 1, 20_000 * DAY, 7);
    book.count("bob", 2, 20_000 * DAY, 101);
    book.restore(Count {
        hash: 0xabc,
        window: 20_000 * DAY,
        used: 1,
    });
    let quota = quota("calls", &book);
    let (usages, total) = store.usages(&quota, None, 2);
    let keys: Vec<&str> = usages.iter().map(|usage| &*usage.key).collect();
    assert_eq!((keys, total), (vec!["bob", "alice"], 3));
    assert_eq!((usages[0].left, usages[1].left), (0, 93));
    assert_eq!(usages[0].until, "2024-10-05T00:00:00Z");
    let (nameless, _) = store.usages(&quota, Some("#0000000000000abc"), 10);
    assert_eq!(nameless[0].used, 1);
}

#[test]
fn a_reset_outlives_the_process_at_once() {
    let (_dir, path) = file();
    let book = Arc::new(Pages::default());
    {
        let store = Store::open(&path).unwrap();
        book.count("alice", 1, 20_000 * DAY, 7);
        book.count("bob", 2, 20_000 * DAY, 9);
        let quota = quota("calls", &book);
        store.flush(std::slice::from_ref(&quota), day(20_000));
        assert_eq!(store.reset(&quota, "alice"), Ok(Reset::Done));
        assert_eq!(store.reset(&quota, "alice"), Ok(Reset::Unknown));
        assert_eq!(store.reset(&quota, "carol"), Ok(Reset::Unknown));
    }
    assert_eq!(after_restart(&path, day(20_000)), [(2, 9)]);
}

#[test]
fn a_clock_that_is_ahead_at_start_costs_nothing() {
    let (_dir, path) = file();
    let book = Arc::new(Pages::default());
    book.count("alice", 1, 20_000 * DAY, 7);
    let flush = |book: &Arc<Pages>, now| {
        let store = Store::open(&path).unwrap();
        store.flush(&[quota("calls", book)], now);
    };
    flush(&book, day(20_000));
    flush(&Arc::default(), day(20_007));
    assert_eq!(after_restart(&path, day(20_000)), [(1, 7)]);
}

#[test]
fn windows_that_are_over_leave_the_file() {
    let (_dir, path) = file();
    let store = Store::open(&path).unwrap();
    let (book, gone) = (Arc::new(Pages::default()), Arc::new(Pages::default()));
    book.count("alice", 1, 20_000 * DAY, 7);
    gone.count("bob", 2, 20_000 * DAY, 9);
    store.flush(&[quota("calls", &book), quota("old", &gone)], day(20_000));
    let shown = |now| {
        store.flush(&[quota("calls", &book)], now);
        let mut out = Exposition::default();
        store.metrics(&mut out);
        let text = out.finish();
        let line = text
            .lines()
            .find(|l| l.starts_with("ringgate_quota_store_keys"));
        line.unwrap().rsplit_once(' ').unwrap().1.to_owned()
    };
    assert_eq!(shown(day(20_000)), "2", "a filter that left may come back");
    book.counts.lock().unwrap().clear();
    assert_eq!(shown(day(20_031)), "2", "a clock may have been ahead");
    assert_eq!(shown(day(20_032)), "1");
    assert_eq!(shown(day(20_062)), "0");
}

#[test]
fn a_file_in_use_is_refused() {
    let (_dir, path) = file();
    let _store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(error.to_string().contains("is in use"), "{error}");
    assert!(error.advice().contains("file of its own"));
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let (_dir, path) = file();
    for text in ["not a database", &"x".repeat(100_000)] {
        fs::write(&path, text).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_file_that_was_written_into_is_refused() {
    let (_dir, path) = file();
    let book = Arc::new(Pages::default());
    {
        let store = Store::open(&path).unwrap();
        for hash in 0..2_000 {
            book.count(&format!("key {hash}"), hash, 20_000 * DAY, 7);
        }
        store.flush(&[quota("calls", &book)], day(20_000));
    }
    let whole = fs::read(&path).unwrap();
    let mut refused = 0;
    for at in (0..whole.len()).step_by(4_096) {
        let mut bytes = whole.clone();
        bytes[at..]
            .iter_mut()
            .take(2_048)
            .for_each(|byte| *byte ^= 0x5a);
        fs::write(&path, &bytes).unwrap();
        // Never a panic; free pages may hold anything.
        refused += usize::from(Store::open(&path).is_err());
    }
    assert!(refused > 0);
}

#[test]
fn a_missing_directory_is_refused() {
    let (dir, _) = file();
    let error = Store::open(&dir.path().join("no/such/quotas.redb")).unwrap_err();
    assert!(error.advice().contains("create its directory"), "{error}");
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = file();
    let _store = Store::open(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn long_texts_are_cut_and_stay_apart() {
    let (_dir, path) = file();
    let store = Store::open(&path).unwrap();
    let book = Arc::new(Pages::default());
    book.count(&"é".repeat(10_000), 1, 20_000 * DAY, 7);
    book.count(&"é".repeat(10_001), 2, 20_000 * DAY, 7);
    let (usages, _) = store.usages(&quota("calls", &book), None, 10);
    assert!(usages.iter().all(|usage| usage.key.len() < 300));
    assert_ne!(usages[0].key, usages[1].key);
}

#[test]
fn a_reset_that_cannot_be_written_brings_no_wrong_count() {
    let (dir, path) = file();
    let book = Arc::new(Pages::default());
    let quotas = [quota("calls", &book)];
    let store = Store::open(&path).unwrap();
    book.count("alice", 7, 10 * DAY, 5);
    store.flush(&quotas, day(10));
    // The disk fails: another thing is where the file was.
    let aside = dir.path().join("aside");
    store.close();
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    let refused = store.reset(&quotas[0], "alice").unwrap_err();
    assert!(
        refused.to_string().contains("cannot be read and written"),
        "{refused}"
    );
    assert_eq!(book.used(), [], "it has begun anew here");
    store.flush(&quotas, day(10));
    let mut out = Exposition::default();
    store.metrics(&mut out);
    let metrics = out.finish();
    assert!(
        metrics.contains("ringgate_quota_store_failing 1"),
        "{metrics}"
    );
    // A reload reads what this process knows of the file.
    store.restore("calls", &*book, day(10));
    assert_eq!(book.used(), []);
    // Until a write succeeds, a restart knows no better than the file.
    assert_eq!(after_restart(&aside, day(10)), [(7, 5)]);
    // Then it knows what was used since the reset, and nothing of before.
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    book.count("alice", 7, 10 * DAY, 2);
    store.flush(&quotas, day(10));
    drop(store);
    assert_eq!(after_restart(&path, day(10)), [(7, 2)]);
}

#[test]
fn a_key_that_is_not_used_after_a_failed_reset_leaves_the_file() {
    let (dir, path) = file();
    let book = Arc::new(Pages::default());
    let quotas = [quota("calls", &book)];
    let store = Store::open(&path).unwrap();
    book.count("alice", 7, 10 * DAY, 5);
    store.flush(&quotas, day(10));
    let aside = dir.path().join("aside");
    store.close();
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(store.reset(&quotas[0], "alice").is_err());
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    store.flush(&quotas, day(10));
    drop(store);
    assert_eq!(after_restart(&path, day(10)), []);
}
