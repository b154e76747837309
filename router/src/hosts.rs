//! From a request's host to the path trees to search: the exact host, then wildcards from the
//! longest suffix to the shortest, then any host.

use ahash::AHashMap;

use crate::host::{HOST_LEN_MAX, HostPattern, without_root_dot};

/// The root of each host pattern's path tree.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: AHashMap<Box<[u8]>, u32>,
    wildcards: AHashMap<Box<[u8]>, u32>,
    /// Bit `n` says that some wildcard suffix has `n` bytes; other suffixes are not hashed.
    wildcard_lengths: [u64; 4],
    any: Option<u32>,
}

impl Hosts {
    pub(crate) fn root(&self, pattern: &HostPattern) -> Option<u32> {
        match pattern {
            HostPattern::Any => self.any,
            HostPattern::Exact(name) => self.exact.get(name.as_bytes()).copied(),
            HostPattern::Wildcard(suffix) => self.wildcards.get(suffix.as_bytes()).copied(),
        }
    }

    pub(crate) fn insert(&mut self, pattern: &HostPattern, root: u32) {
        match pattern {
            HostPattern::Any => self.any = Some(root),
            HostPattern::Exact(name) => {
                self.exact.insert(name.as_bytes().into(), root);
            }
            HostPattern::Wildcard(suffix) => {
                self.wildcard_lengths[suffix.len() / 64] |= 1 << (suffix.len() % 64);
                self.wildcards.insert(suffix.as_bytes().into(), root);
            }
        }
    }

    /// Replaces every root by what `map` gives for it.
    pub(crate) fn map_roots(&mut self, map: impl Fn(u32) -> u32) {
        let named = self.exact.values_mut().chain(self.wildcards.values_mut());
        named
            .chain(&mut self.any)
            .for_each(|root| *root = map(*root));
    }

    /// Calls `search` with the roots that apply to `host`, the most specific first, until it
    /// returns something.
    #[inline]
    pub(crate) fn find_map<T>(
        &self,
        host: &[u8],
        mut search: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        if !(self.exact.is_empty() && self.wildcards.is_empty()) {
            let found = self.find_named(host, &mut search);
            if found.is_some() {
                return found;
            }
        }
        search(self.any?)
    }

    fn find_named<T>(&self, host: &[u8], search: &mut impl FnMut(u32) -> Option<T>) -> Option<T> {
        let host = without_root_dot(host);
        let mut lower = [0; HOST_LEN_MAX];
        let lower = lower.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        if let Some(&root) = self.exact.get(&*lower) {
            let found = search(root);
            if found.is_some() {
                return found;
            }
        }
        if self.wildcards.is_empty() {
            return None;
        }
        memchr::memchr_iter(b'.', lower)
            .filter(|dot| *dot > 0)
            .map(|dot| &lower[dot + 1..])
            .filter(|suffix| {
                self.wildcard_lengths[suffix.len() / 64] & (1 << (suffix.len() % 64)) != 0
            })
            .filter_map(|suffix| self.wildcards.get(suffix))
            .find_map(|&root| search(root))
    }
}
