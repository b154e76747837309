//! Ringgate's configuration: from text to a checked, typed tree.
//!
//! TOML with `${env:NAME}` references and `include` globs goes in; a [`Config`] comes out, or
//! [`Diagnostic`]s that say for each fault where it is and what to write instead. Nothing is
//! parsed and ignored: an unknown key is an error, and a key that this build does not act on yet
//! is reported as such.

mod diagnostic;
mod fuzz;
mod keys;
mod leaf;
mod limits;
mod link;
mod load;
pub mod model;
mod nearest;
mod networks;
mod pattern;
mod read;
mod redact;
mod reference;
mod references;
mod render;
mod schema;
mod span;
mod syntax;
mod units;

pub use diagnostic::{Diagnostic, Related, Severity};
pub use fuzz::fuzz_config;
pub use leaf::{PasswordHashFault, check_password_hash};
pub use load::{Loaded, Verdict, load, load_str, load_with};
pub use model::Config;
pub use networks::{FAULTS_MAX, NetworkList};
pub use pattern::{AnyPattern, PatternCheck, PatternFault};
pub use reference::reference;
pub use references::{NotRun, References, Secret, VALUE_LEN_MAX};
pub use render::{Style, render, render_one, to_json};
pub use schema::schema;
pub use span::{FileId, Position, Sources, Span, Spanned};

/// Whether a text is a moment as the configuration writes them: RFC 3339, since 1970.
#[must_use]
pub fn is_moment(text: &str) -> bool {
    leaf::moment(text).is_ok()
}
