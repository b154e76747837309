//! The lookup itself: hosts, then the trie, then methods and predicates.

use crate::capture::Captures;
use crate::methods::{Allowed, is_options, with_options};
use crate::pattern::without_trailing_slash;
use crate::predicate::Probe;
use crate::router::{RouteId, Router, TrailingSlash};
use crate::trie::Entry;

/// What is routed on, besides header fields.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The host without its port, in any case; empty if there is none.
    pub host: &'a [u8],
    /// The path in canonical form (see [`crate::path::normalise`]).
    pub path: &'a [u8],
    /// The raw query without `?`; empty if there is none.
    pub query: &'a [u8],
    /// The method.
    pub method: &'a [u8],
}

/// The outcome of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// This route wins; the captures are its.
    Found(RouteId),
    /// Nothing matches, but this route does with the other spelling of the path. Only under
    /// [`TrailingSlash::Redirect`].
    Redirect(RouteId, Slash),
    /// Something would match with one of these methods: 405.
    MethodNotAllowed(Allowed),
    /// The same for an OPTIONS request that no route takes: the gateway answers it.
    Options(Allowed),
    /// Nothing matches: 404.
    NotFound,
}

/// How to change the path of a redirected request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slash {
    /// Append a slash.
    Add,
    /// Remove the trailing slash.
    Remove,
}

impl Router {
    /// Finds the route of a request. Does not allocate, except for a request that is not found
    /// under [`TrailingSlash::Redirect`]. `captures` are those of the winner, and none if
    /// there is no winner.
    #[inline]
    pub fn lookup<P: Probe + ?Sized>(
        &self,
        request: &Request<'_>,
        probe: &P,
        captures: &mut Captures,
    ) -> Lookup {
        let found = self.search(request, probe, captures);
        if found == Lookup::NotFound && self.options.trailing_slash == TrailingSlash::Redirect {
            return self.search_other_spelling(request, probe, captures);
        }
        found
    }

    /// The lookup without redirects.
    #[inline]
    pub(crate) fn search<P: Probe + ?Sized>(
        &self,
        request: &Request<'_>,
        probe: &P,
        captures: &mut Captures,
    ) -> Lookup {
        let method = self.methods.bit(request.method);
        let len = self.matched_len(request.path);
        let mut allowed = 0;
        let won = self.hosts.find_map(request.host, |root| {
            self.trie
                .walk(root, request.path, len, captures, |entries| {
                    self.select(entries, method, request, probe, &mut allowed)
                })
        });
        match won {
            Some(route) => Lookup::Found(route),
            None => {
                captures.truncate(0);
                match allowed {
                    0 => Lookup::NotFound,
                    _ if is_options(method) => Lookup::Options(with_options(allowed)),
                    _ => Lookup::MethodNotAllowed(with_options(allowed)),
                }
            }
        }
    }

    /// The length of `path` that the trie is to match.
    #[inline]
    pub(crate) fn matched_len(&self, path: &[u8]) -> usize {
        match self.options.trailing_slash {
            TrailingSlash::Ignore => without_trailing_slash(path).len(),
            TrailingSlash::Strict | TrailingSlash::Redirect => path.len(),
        }
    }

    /// The first of `entries` that takes the request; adds the methods of those that only
    /// miss the method to `allowed`.
    #[inline]
    fn select<P: Probe + ?Sized>(
        &self,
        entries: &[Entry],
        method: u64,
        request: &Request<'_>,
        probe: &P,
        allowed: &mut u64,
    ) -> Option<RouteId> {
        for entry in entries {
            if entry.methods & method == 0 && entry.methods & !*allowed == 0 {
                continue;
            }
            if entry.predicates != 0 && !self.predicates_hold(entry.route, request, probe) {
                continue;
            }
            if entry.methods & method != 0 {
                return Some(RouteId(entry.route));
            }
            *allowed |= entry.methods;
        }
        None
    }

    #[inline(never)]
    fn predicates_hold<P: Probe + ?Sized>(
        &self,
        route: u32,
        request: &Request<'_>,
        probe: &P,
    ) -> bool {
        let spec = &self.specs[route as usize];
        spec.headers.iter().all(|predicate| predicate.holds(probe))
            && spec
                .query
                .iter()
                .all(|predicate| predicate.holds(request.query))
            && spec.facts.iter().all(|predicate| predicate.holds(probe))
    }

    #[cold]
    fn search_other_spelling<P: Probe + ?Sized>(
        &self,
        request: &Request<'_>,
        probe: &P,
        captures: &mut Captures,
    ) -> Lookup {
        let bare = without_trailing_slash(request.path);
        let mut spelled = Vec::with_capacity(bare.len() + 1);
        spelled.extend_from_slice(bare);
        let slash = if bare.len() < request.path.len() {
            Slash::Remove
        } else {
            spelled.push(b'/');
            Slash::Add
        };
        let other = Request {
            path: &spelled,
            ..*request
        };
        let found = self.search(&other, probe, captures);
        captures.truncate(0);
        match found {
            Lookup::Found(route) => Lookup::Redirect(route, slash),
            _ => Lookup::NotFound,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
