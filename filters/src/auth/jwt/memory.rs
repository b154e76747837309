//! What one core knows of tokens that it has verified.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use ringgate_core::principal::Principal;

use crate::auth::cache::Cache;

/// What lives as long as a filter; the filter's tokens are remembered for as long.
#[derive(Debug, Default)]
pub(super) struct Life(());

/// Tokens, by filter. There are few filters, so they are looked through.
#[derive(Debug, Default)]
pub(crate) struct Memory(Vec<(Weak<Life>, Cache<Known>)>);

/// A token that was verified.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) principal: Rc<Principal>,
    /// Index of the issuer in the filter's.
    pub(super) issuer: usize,
    /// The fingerprint of the key that its signature is of.
    pub(super) key: [u8; 32],
    /// The generation of the issuer's keys that has last been seen to have the key.
    pub(super) generation: Cell<u64>,
}

impl Memory {
    #[inline]
    pub(super) fn recall(&self, life: &Arc<Life>, token: &[u8], unix_ms: u64) -> Option<&Known> {
        let mut all = self.0.iter();
        let (_, cache) = all.find(|(own, _)| is(own, life))?;
        cache.get(token, unix_ms)
    }

    pub(super) fn keep(
        &mut self,
        life: &Arc<Life>,
        entries_max: usize,
        token: &[u8],
        known: Known,
        until_ms: u64,
        unix_ms: u64,
    ) {
        if entries_max == 0 {
            return;
        }
        let place = self.0.iter().position(|(own, _)| is(own, life));
        let place = place.unwrap_or_else(|| {
            // Those of a former configuration.
            self.0.retain(|(own, _)| own.strong_count() > 0);
            let cache = Cache::new(entries_max);
            self.0.push((Arc::downgrade(life), cache));
            self.0.len() - 1
        });
        self.0[place].1.put(token, known, until_ms, unix_ms);
    }
}

fn is(own: &Weak<Life>, life: &Arc<Life>) -> bool {
    std::ptr::eq(own.as_ptr(), Arc::as_ptr(life))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            principal: Rc::default(),
            issuer: 0,
            key: [0; 32],
            generation: Cell::new(1),
        }
    }

    #[test]
    fn a_filter_knows_its_own_tokens_and_those_of_a_former_one_go() {
        let mut memory = Memory::default();
        let (one, two) = (Arc::<Life>::default(), Arc::<Life>::default());
        memory.keep(&one, 4, b"a", known(), 100, 0);
        assert!(memory.recall(&one, b"a", 99).is_some());
        assert!(memory.recall(&one, b"a", 100).is_none());
        assert!(memory.recall(&two, b"a", 0).is_none());
        drop(one);
        memory.keep(&two, 4, b"b", known(), 100, 0);
        assert_eq!(memory.0.len(), 1);
        memory.keep(&two, 0, b"c", known(), 100, 0);
        assert!(memory.recall(&two, b"c", 0).is_none());
    }
}
