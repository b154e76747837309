//! Ringgate's router: a radix trie over host and path, then predicates. Pure: bytes in, a
//! [`RouteId`] out; a lookup neither allocates nor recurses.
//!
//! # Precedence
//! Of all routes that match a request, the one that wins is decided in this order:
//!
//! 1. **Host.** An exact host before a wildcard, a wildcard with a longer suffix before a
//!    shorter one, any host last.
//! 2. **Path**, segment by segment from the left. At the first segment in which two patterns
//!    differ, a literal beats a parameter and a parameter beats the rest (`{name*}`). Of two
//!    parameters the one with the longer literal before it wins, then the one with the longer
//!    literal after it.
//! 3. **`priority`**, the higher one, between routes of the same host and the same pattern
//!    (names of parameters do not count).
//! 4. **Predicates**, the larger number: each header and each query condition counts one, a
//!    list of methods counts one.
//! 5. **The order in the configuration**, the earlier one.
//!
//! A route whose methods or predicates do not hold does not match, and the search goes on
//! with the next in this order, to less specific paths and hosts. So a request is only
//! without a route if no route matches it.
//!
//! # Methods
//! A route without a list takes every method. A list with GET takes HEAD too (RFC 9110,
//! section 9.3.2). If nothing matches, but something would with another method, the answer is
//! [`Lookup::MethodNotAllowed`] with the union of their methods, or for OPTIONS
//! [`Lookup::Options`], so that the gateway can answer itself.
//!
//! # Cost
//! A lookup takes time in proportion to the path, not to the number of routes. Backtracking
//! (`/a/{x}/c` beside `/{y}/b/{z}`) enters each trie node at most once, and
//! [`RouterBuilder::build`] refuses a table in which one path could make it enter more than
//! [`STEPS_MAX`] nodes of one host.

mod capture;
mod conflict;
mod explain;
pub mod fuzz;
mod host;
mod hosts;
mod lookup;
mod methods;
pub mod path;
mod pattern;
mod predicate;
mod router;
mod template;
mod trie;

pub use capture::{CAPTURES_MAX, Captures};
pub use conflict::{Conflict, ConflictKind, Witness};
pub use explain::{Candidate, Reason, Verdict};
pub use host::HostPattern;
pub use lookup::{Lookup, Request, Slash};
pub use methods::{Allowed, MethodError, MethodSet};
pub use path::{PathError, PathPolicy};
pub use pattern::{PathPattern, PatternError};
pub use predicate::{
    Fact, FactPredicate, HeaderPredicate, PredicateError, Probe, QueryPredicate, ValueTest,
};
pub use router::{
    BuildError, BuildErrorKind, RouteId, RouteSpec, Router, RouterBuilder, RouterOptions,
    STEPS_MAX, TrailingSlash,
};
pub use template::Template;
