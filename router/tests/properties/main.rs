//! Properties of the router: it agrees with a naive matcher, with its own explanations, and
//! with a brute-force search for dead routes.
#![allow(clippy::unwrap_used, missing_docs)]

mod conflicts;
mod lookups;
mod naive;
mod tables;
