//! Routes that can never win, each with the routes that take its requests and a witness.
//!
//! A route is dead if every request it matches is won by another. Only finitely many requests
//! need a look. A host: the pattern's own, or one with a label that no route names, because no
//! finite set of hosts covers a wildcard. A path: a value that no route names for each
//! parameter, because whatever matches that value matches all; for a rest, such values in
//! every number up to the longest pattern's. Of methods and predicates: see [`cover`]. For
//! each such host and path the trie itself says which routes come first.
//!
//! Routes for which the search would take too long are taken to be alive; the limits are far
//! beyond what people write.

mod cover;
mod fresh;
mod index;

use std::fmt;

use ahash::AHashMap;

use crate::capture::Captures;
use crate::host::HostPattern;
use crate::path::Merge;
use crate::pattern::Part;
use crate::predicate::Fact;
use crate::router::{RouteId, RouteSpec, Router};
use cover::{Cover, Point, cover};
use fresh::Fresh;
use index::{GroupIndex, Needs};

/// A route that can never win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The route.
    pub route: RouteId,
    /// Whether it repeats another.
    pub kind: ConflictKind,
    /// The routes that take its requests, in configuration order; one of them alone, if one
    /// alone does.
    pub by: Vec<RouteId>,
    /// A request that the route matches and the router gives to another.
    pub witness: Witness,
}

/// The kinds of [`Conflict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// The other route matches exactly the same requests.
    Duplicate,
    /// The others match all its requests and more.
    Shadowed,
}

/// A request that proves a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The host without port.
    pub host: String,
    /// The method.
    pub method: String,
    /// The canonical path.
    pub path: String,
    /// The query without `?`, encoded; empty if there is none.
    pub query: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What is known of who makes it.
    pub facts: Vec<(Fact, Vec<u8>)>,
}

/// Reads like the arguments of `ringgate explain` and curl.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} http://{}{}", self.method, self.host, self.path)?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        for (name, value) in &self.headers {
            write!(f, " -H '{name}: {}'", String::from_utf8_lossy(value))?;
        }
        for (fact, value) in &self.facts {
            write!(f, ", {fact} {}", String::from_utf8_lossy(value))?;
        }
        Ok(())
    }
}

impl Router {
    /// All routes that can never win. Takes time in proportion to the number of routes unless
    /// very many share one pattern and their predicates.
    #[must_use]
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut analysis = Analysis::new(self);
        (0..self.specs.len() as u32)
            .filter_map(|route| analysis.conflict(route))
            .collect()
    }
}

struct Analysis<'r> {
    router: &'r Router,
    fresh: Fresh,
    /// The most segments of any pattern, by root.
    depths: AHashMap<u32, u32>,
    /// Indices of large groups of entries, by the address of the group.
    indices: AHashMap<usize, GroupIndex<'r>>,
}

/// What became of one route under one host pattern.
enum Fate {
    Alive,
    Dead(Point),
}

impl<'r> Analysis<'r> {
    fn new(router: &'r Router) -> Self {
        let mut depths = AHashMap::new();
        for spec in &router.specs {
            for host in spec.distinct_hosts() {
                if let Some(root) = router.hosts.root(host) {
                    let depth = depths.entry(root).or_insert(0);
                    *depth = spec.path.segments().max(*depth);
                }
            }
        }
        Analysis {
            router,
            fresh: Fresh::new(router),
            depths,
            indices: AHashMap::new(),
        }
    }

    fn conflict(&mut self, route: u32) -> Option<Conflict> {
        let spec = &self.router.specs[route as usize];
        let needs = Needs::new(spec, &self.fresh)?;
        let mut by = Vec::new();
        let mut witness = None;
        for host in spec.distinct_hosts() {
            let root = self.router.hosts.root(host)?;
            for path in self.paths(spec, root)? {
                let Fate::Dead(point) = self.fate(route, root, &path, &needs, &mut by) else {
                    return None;
                };
                witness.get_or_insert((host, path, point));
            }
        }
        let (host, path, point) = witness?;
        by.sort_unstable();
        by.dedup();
        let by: Vec<RouteId> = by.into_iter().map(RouteId).collect();
        Some(Conflict {
            route: RouteId(route),
            kind: self.kind(spec, &by),
            witness: Witness {
                host: self.host(host)?,
                method: self.router.methods.name_of_bit(point.method),
                path: String::from_utf8_lossy(&path).into_owned(),
                query: point.query(),
                headers: point.headers(),
                facts: point.facts(),
            },
            by,
        })
    }

    fn kind(&self, spec: &RouteSpec, by: &[RouteId]) -> ConflictKind {
        let [other] = by else {
            return ConflictKind::Shadowed;
        };
        let other = &self.router.specs[other.index()];
        let hosts = |left: &RouteSpec, right: &RouteSpec| {
            let right = right.distinct_hosts();
            left.distinct_hosts()
                .iter()
                .all(|host| right.contains(host))
        };
        let same = hosts(spec, other)
            && hosts(other, spec)
            && spec.path.parts() == other.path.parts()
            && spec.methods == other.methods
            && same_set(&spec.headers, &other.headers)
            && same_set(&spec.query, &other.query)
            && same_set(&spec.facts, &other.facts);
        if same {
            ConflictKind::Duplicate
        } else {
            ConflictKind::Shadowed
        }
    }

    /// Whether `route` wins a request for `path` under `root`; adds those that take its
    /// requests to `by` if not.
    fn fate(
        &mut self,
        route: u32,
        root: u32,
        path: &[u8],
        needs: &Needs<'r>,
        by: &mut Vec<u32>,
    ) -> Fate {
        let router = self.router;
        let mut rivals = Vec::new();
        let len = router.matched_len(path);
        let mut own_mask = 0;
        let reached = router
            .trie
            .walk(root, path, len, &mut Captures::new(), |entries| {
                let index = (entries.len() > index::GROUP_SMALL).then(|| {
                    let address = entries.as_ptr() as usize;
                    &*self
                        .indices
                        .entry(address)
                        .or_insert_with(|| GroupIndex::new(router, entries))
                });
                let own = match index {
                    Some(index) => index.position(route),
                    None => entries.iter().position(|entry| entry.route == route),
                };
                let before = &entries[..own.unwrap_or(entries.len())];
                match index {
                    Some(index) => rivals.extend(
                        index
                            .rivals(before.len(), needs)
                            .map(|place| entries[place]),
                    ),
                    None => rivals.extend_from_slice(before),
                }
                own_mask = entries[own?].methods;
                Some(())
            });
        debug_assert!(
            reached.is_some(),
            "the witness path must match the route's own pattern"
        );
        if reached.is_none() {
            return Fate::Alive;
        }
        match cover(router, &self.fresh, needs, own_mask, &rivals) {
            Cover::Covered { by: routes, point } => {
                by.extend(routes);
                Fate::Dead(point)
            }
            Cover::Open | Cover::Undecided => Fate::Alive,
        }
    }

    /// The paths that tell whether a pattern is reachable under `root`; `None` if there is no
    /// unused value for its parameters.
    fn paths(&self, spec: &RouteSpec, root: u32) -> Option<Vec<Vec<u8>>> {
        let mut base = Vec::new();
        for part in spec.path.parts() {
            match part {
                Part::Literal(literal) => base.extend_from_slice(literal),
                Part::Param { suffix } => {
                    base.extend_from_slice(self.fresh.segment()?);
                    base.extend_from_slice(suffix);
                }
                Part::Rest => {
                    let depth = self.depths.get(&root).copied().unwrap_or(0);
                    let depth = (depth + 2).saturating_sub(spec.path.segments()) as usize;
                    return Some(self.rest_paths(&base, depth, self.fresh.segment()?));
                }
            }
        }
        Some(vec![base])
    }

    /// Rests of up to `depth` segments, longer ones first: those are taken least often.
    fn rest_paths(&self, base: &[u8], depth: usize, segment: &[u8]) -> Vec<Vec<u8>> {
        let rest = |count: usize, tail: &[u8]| {
            let segments = vec![segment; count].join(&b'/');
            [base, &segments, tail].concat()
        };
        let mut paths = Vec::new();
        if self.router.options.merge_slashes == Merge::Keep {
            let long = [&b"//"[..], &vec![segment; depth].join(&b'/')].concat();
            paths.push([base, &long[1..]].concat());
            paths.extend((1..=depth).map(|count| rest(count, &long)));
        }
        for count in (1..=depth).rev() {
            paths.push(rest(count, b""));
            paths.push(rest(count, b"/"));
        }
        paths.push(base.to_vec());
        paths
    }

    /// A host that `pattern` matches and no pattern that is more specific does.
    fn host(&self, pattern: &HostPattern) -> Option<String> {
        let root = self.router.hosts.root(pattern)?;
        let is_first = |host: &String| {
            self.router.hosts.find_map(host.as_bytes(), Some) == Some(root)
                && pattern.matches(host.as_bytes())
        };
        match pattern {
            HostPattern::Exact(name) => Some(name.to_string()),
            HostPattern::Wildcard(suffix) => (0..)
                .map(|number| format!("host{number}.{suffix}"))
                .find(is_first),
            HostPattern::Any => (0..)
                .map(|number| format!("host{number}.test{number}"))
                .find(is_first),
        }
    }
}

fn same_set<T: PartialEq>(left: &[T], right: &[T]) -> bool {
    left.iter().all(|item| right.contains(item)) && right.iter().all(|item| left.contains(item))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
