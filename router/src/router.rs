//! Building a [`Router`] from routes in configuration order.

use std::cmp::Reverse;
use std::fmt;

use crate::host::HostPattern;
use crate::hosts::Hosts;
use crate::methods::{Allowed, EXTENSIONS_MAX, MethodSet, MethodTable};
use crate::path::Merge;
use crate::pattern::PathPattern;
use crate::predicate::{FactPredicate, HeaderPredicate, QueryPredicate, ValueTest};
use crate::trie::{Draft, Entry, Trie};

/// A route, by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a route matches.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// Any of these hosts; none at all means any host.
    pub hosts: Vec<HostPattern>,
    /// The path pattern.
    pub path: PathPattern,
    /// The methods it takes.
    pub methods: MethodSet,
    /// Conditions on header fields; all must hold.
    pub headers: Vec<HeaderPredicate>,
    /// Conditions on query parameters; all must hold.
    pub query: Vec<QueryPredicate>,
    /// Conditions on who makes the request; all must hold.
    pub facts: Vec<FactPredicate>,
    /// Decides between routes of the same host and pattern; the higher wins, 0 is usual.
    pub priority: i32,
}

impl RouteSpec {
    /// A route for every request with a path like this.
    #[must_use]
    pub fn new(path: PathPattern) -> Self {
        RouteSpec {
            hosts: Vec::new(),
            path,
            methods: MethodSet::any(),
            headers: Vec::new(),
            query: Vec::new(),
            facts: Vec::new(),
            priority: 0,
        }
    }

    /// The distinct hosts, [`HostPattern::Any`] if none is given.
    pub(crate) fn distinct_hosts(&self) -> Vec<&HostPattern> {
        if self.hosts.is_empty() {
            return vec![&HostPattern::Any];
        }
        let mut distinct: Vec<&HostPattern> = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            if !distinct.contains(&host) {
                distinct.push(host);
            }
        }
        distinct
    }

    fn predicate_count(&self) -> usize {
        self.headers.len() + self.query.len() + self.facts.len()
    }

    /// Decides between routes of the same host and pattern: the smaller wins.
    pub(crate) fn rank(&self, id: u32) -> (Reverse<i32>, Reverse<usize>, u32) {
        let listed = usize::from(!self.methods.is_any());
        (
            Reverse(self.priority),
            Reverse(self.predicate_count() + listed),
            id,
        )
    }

    /// The first field or parameter that must be present and absent at once.
    fn contradiction(&self) -> Option<String> {
        let absent = |test: &ValueTest| *test == ValueTest::Absent;
        for predicate in &self.headers {
            let opposed = |other: &&HeaderPredicate| {
                other.name() == predicate.name() && absent(other.test()) != absent(predicate.test())
            };
            if self.headers.iter().any(|other| opposed(&other)) {
                return Some(format!("the header `{}`", predicate.name()));
            }
        }
        for predicate in &self.query {
            let opposed = |other: &&QueryPredicate| {
                other.key() == predicate.key() && absent(other.test()) != absent(predicate.test())
            };
            if self.query.iter().any(|other| opposed(&other)) {
                let key = String::from_utf8_lossy(predicate.key());
                return Some(format!("the query parameter `{key}`"));
            }
        }
        for predicate in &self.facts {
            let opposed = |other: &&FactPredicate| {
                other.fact() == predicate.fact() && absent(other.test()) != absent(predicate.test())
            };
            if self.facts.iter().any(|other| opposed(&other)) {
                return Some(format!("the {}", predicate.fact()));
            }
        }
        None
    }
}

/// Whether `/a` and `/a/` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TrailingSlash {
    /// They are different paths.
    #[default]
    Strict,
    /// They are the same path, in requests and in patterns; `/a/{rest*}` matches `/a` too.
    Ignore,
    /// They are different, but a request that matches nothing is told if the other spelling
    /// would ([`crate::Lookup::Redirect`]).
    Redirect,
}

/// How a router treats paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouterOptions {
    /// What a trailing slash means.
    pub trailing_slash: TrailingSlash,
    /// What [`crate::path::normalise`] does with empty segments before paths get here; the
    /// search for routes that never win needs to know.
    pub merge_slashes: Merge,
}

/// A lookup never enters more trie nodes per host than this, whatever the path.
pub const STEPS_MAX: u64 = 16_384;

/// Collects routes in configuration order.
#[derive(Debug, Default)]
pub struct RouterBuilder {
    options: RouterOptions,
    specs: Vec<RouteSpec>,
}

impl RouterBuilder {
    /// A builder without routes.
    #[must_use]
    pub fn new(options: RouterOptions) -> Self {
        RouterBuilder {
            options,
            specs: Vec::new(),
        }
    }

    /// Adds a route; its id is the number of routes before it.
    pub fn route(&mut self, spec: RouteSpec) -> RouteId {
        self.specs.push(spec);
        RouteId(u32::try_from(self.specs.len() - 1).unwrap_or(u32::MAX))
    }

    /// Compiles the router.
    ///
    /// # Errors
    /// A [`BuildError`] for a route that could never match, and for tables beyond a limit.
    pub fn build(self) -> Result<Router, BuildError> {
        if self.specs.len() >= u32::MAX as usize {
            return Err(BuildError::new(None, BuildErrorKind::TooManyRoutes));
        }
        let mut methods = MethodTable::default();
        let mut hosts = Hosts::default();
        let mut draft = Draft::default();
        for (id, spec) in self.specs.iter().enumerate() {
            let id = id as u32;
            let fail = |kind| BuildError::new(Some(RouteId(id)), kind);
            if let Some(what) = spec.contradiction() {
                return Err(fail(BuildErrorKind::Contradiction(what)));
            }
            let entry = Entry {
                methods: methods
                    .mask_interning(&spec.methods)
                    .ok_or_else(|| fail(BuildErrorKind::TooManyMethods))?,
                route: id,
                predicates: spec.predicate_count() as u32,
            };
            for host in spec.distinct_hosts() {
                let root = hosts.root(host).unwrap_or_else(|| {
                    let root = draft.add_root();
                    hosts.insert(host, root);
                    root
                });
                draft.insert(root, spec.path.parts(), self.options.trailing_slash, entry);
            }
        }
        let specs = self.specs;
        let rank = |entry: &Entry| specs[entry.route as usize].rank(entry.route);
        let (trie, roots) = draft.freeze(|left, right| rank(left).cmp(&rank(right)));
        if trie.steps() > STEPS_MAX {
            return Err(BuildError::new(
                None,
                BuildErrorKind::Ambiguous {
                    steps: trie.steps(),
                },
            ));
        }
        hosts.map_roots(|root| roots[root as usize]);
        Ok(Router {
            options: self.options,
            specs: specs.into(),
            methods,
            hosts,
            trie,
        })
    }
}

/// An immutable table of routes. See the crate documentation for the precedence.
#[derive(Debug)]
pub struct Router {
    pub(crate) options: RouterOptions,
    pub(crate) specs: Box<[RouteSpec]>,
    pub(crate) methods: MethodTable,
    pub(crate) hosts: Hosts,
    pub(crate) trie: Trie,
}

impl Router {
    /// The number of routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.specs.len()
    }

    /// Whether there are no routes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// What a route was built from; `None` for an id of another router.
    #[must_use]
    pub fn spec(&self, route: RouteId) -> Option<&RouteSpec> {
        self.specs.get(route.index())
    }

    /// The names of a route's captures, in the order of [`crate::Captures`].
    #[must_use]
    pub fn capture_names(&self, route: RouteId) -> &[Box<str>] {
        self.spec(route)
            .map_or(&[], |spec| spec.path.capture_names())
    }

    /// The methods behind an [`Allowed`] that this router returned.
    #[must_use]
    pub fn allowed_methods(&self, allowed: Allowed) -> MethodSet {
        self.methods.set_of_mask(allowed.0)
    }

    /// No path makes a lookup enter more trie nodes per host than this.
    #[must_use]
    pub fn steps_max(&self) -> u64 {
        self.trie.steps()
    }

    /// Trie nodes in all; 64 bytes each.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.trie.node_count()
    }
}

/// Why a router could not be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// The route at fault; `None` when it is the table as a whole.
    pub route: Option<RouteId>,
    /// What is wrong.
    pub kind: BuildErrorKind,
}

/// The kinds of [`BuildError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildErrorKind {
    /// More routes than ids.
    TooManyRoutes,
    /// More extension methods in one table than can be told apart.
    TooManyMethods,
    /// Something must be present and absent at once.
    Contradiction(String),
    /// Literals and parameters overlap so much that one path could make a lookup enter
    /// `steps` nodes, more than [`STEPS_MAX`].
    Ambiguous {
        /// The nodes that one path could make a lookup enter.
        steps: u64,
    },
}

impl BuildError {
    fn new(route: Option<RouteId>, kind: BuildErrorKind) -> Self {
        BuildError { route, kind }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            BuildErrorKind::TooManyRoutes => f.write_str("too many routes"),
            BuildErrorKind::TooManyMethods => write!(
                f,
                "more than {EXTENSIONS_MAX} extension methods; leave `methods` out where every method will do"
            ),
            BuildErrorKind::Contradiction(what) => {
                write!(
                    f,
                    "{what} must be both present and absent, so the route never matches"
                )
            }
            BuildErrorKind::Ambiguous { steps } => write!(
                f,
                "literals and parameters overlap so much that one request could need {steps} steps \
                 to route (at most {STEPS_MAX}); use distinct literals or fewer overlapping parameters"
            ),
        }
    }
}

impl std::error::Error for BuildError {}
