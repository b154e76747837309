//! What one core has learned of credentials: bounded, and forgotten in time.

use std::collections::HashMap;

/// Values by credential. The credential itself is compared, so nobody can make two of them
/// meet; it lives in memory only, as long as its value. When the cache is full, the oldest
/// half goes.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    entries: HashMap<Box<[u8]>, Entry<V>, ahash::RandomState>,
    entries_max: usize,
    /// Entries put in so far.
    births: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    /// Milliseconds since the UNIX epoch when it is over.
    until_ms: u64,
    /// How many entries had been put in.
    born: u64,
}

impl<V> Cache<V> {
    /// For so many credentials at most.
    pub(crate) fn new(entries_max: usize) -> Cache<V> {
        Cache {
            entries: HashMap::with_hasher(ahash::RandomState::new()),
            entries_max: entries_max.max(1),
            births: 0,
        }
    }

    /// What is known of a credential.
    #[inline]
    pub(crate) fn get(&self, credential: &[u8], unix_ms: u64) -> Option<&V> {
        let entry = self.entries.get(credential)?;
        (unix_ms < entry.until_ms).then_some(&entry.value)
    }

    /// What is known of a credential, to be changed.
    #[inline]
    pub(crate) fn find_mut(&mut self, credential: &[u8], unix_ms: u64) -> Option<&mut V> {
        let entry = self.entries.get_mut(credential)?;
        (unix_ms < entry.until_ms).then_some(&mut entry.value)
    }

    /// Keeps what is known of a credential until a moment.
    pub(crate) fn put(&mut self, credential: &[u8], value: V, until_ms: u64, unix_ms: u64) {
        if until_ms <= unix_ms {
            return;
        }
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(credential) {
            self.make_room(unix_ms);
        }
        self.births += 1;
        let entry = Entry {
            value,
            until_ms,
            born: self.births,
        };
        self.entries.insert(credential.into(), entry);
    }

    /// Forgets a credential.
    pub(crate) fn forget(&mut self, credential: &[u8]) {
        self.entries.remove(credential);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn make_room(&mut self, unix_ms: u64) {
        self.entries.retain(|_, entry| unix_ms < entry.until_ms);
        if self.entries.len() < self.entries_max {
            return;
        }
        let mut births: Vec<u64> = self.entries.values().map(|entry| entry.born).collect();
        let middle = births.len() / 2;
        let (_, middle, _) = births.select_nth_unstable(middle);
        let middle = *middle;
        self.entries.retain(|_, entry| entry.born > middle);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_over_in_time() {
        let mut cache = Cache::new(4);
        cache.put(b"a", 1, 100, 0);
        assert_eq!(cache.get(b"a", 99), Some(&1));
        assert_eq!(cache.get(b"a", 100), None);
        cache.put(b"b", 2, 100, 100);
        assert_eq!(cache.get(b"b", 0), None, "it was over when it came");
    }

    #[test]
    fn a_full_cache_forgets_the_oldest() {
        let mut cache = Cache::new(4);
        for (at, name) in [b"a", b"b", b"c", b"d", b"e"].into_iter().enumerate() {
            cache.put(name, at, 100, 0);
        }
        assert!(cache.entries.len() <= 4);
        assert_eq!(cache.get(b"a", 0), None);
        assert_eq!(cache.get(b"e", 0), Some(&4));
        cache.forget(b"e");
        assert_eq!(cache.get(b"e", 0), None);
        cache.clear();
        assert_eq!(cache.get(b"d", 0), None);
    }
}
