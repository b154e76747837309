//! What this crate asks of whoever owns the pattern language: it holds no routing syntax of its
//! own, so that `check` can never accept a pattern that the router then refuses.

use std::ops::Range;

/// Checks texts whose syntax the router defines.
///
/// Each method is called once per text, at load, with `${env:...}` already expanded.
pub trait PatternCheck {
    /// A route's `path`, such as `/api/users/{id}` or `/files/{rest*}`.
    ///
    /// # Errors
    /// The first fault of the pattern.
    fn path(&self, pattern: &str) -> Result<(), PatternFault>;

    /// One entry of a route's `hosts`, such as `api.example.com` or `*.example.org`.
    ///
    /// # Errors
    /// The first fault of the pattern.
    fn host(&self, pattern: &str) -> Result<(), PatternFault>;

    /// A `rewrite` or `redirect.to` template against the path pattern whose captures it uses.
    /// Called only when `path` passed. A redirect may begin with `http://` or `https://`.
    ///
    /// # Errors
    /// The first fault of the template, such as a capture that `path` does not have.
    fn template(&self, template: &str, path: &str) -> Result<(), PatternFault>;

    /// A regular expression for whole origins; whether it matches one of `samples`. Without a
    /// judge, every expression is taken and matches none of them.
    ///
    /// # Errors
    /// The first fault of the expression.
    fn origin(&self, expression: &str, samples: &[&str]) -> Result<bool, PatternFault> {
        let _ = (expression, samples);
        Ok(false)
    }
}

/// What is wrong with a pattern, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternFault {
    /// Byte range in the text that was checked.
    pub range: Range<usize>,
    /// What is wrong: a short clause in lower case without a full stop.
    pub message: String,
    /// What to write instead, if there is something to say.
    pub help: Option<String>,
}

impl PatternFault {
    /// A fault without further help.
    pub fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range,
            message: message.into(),
            help: None,
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Accepts every text; for programs that only look at the rest of a configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyPattern;

impl PatternCheck for AnyPattern {
    fn path(&self, _: &str) -> Result<(), PatternFault> {
        Ok(())
    }

    fn host(&self, _: &str) -> Result<(), PatternFault> {
        Ok(())
    }

    fn template(&self, _: &str, _: &str) -> Result<(), PatternFault> {
        Ok(())
    }
}
