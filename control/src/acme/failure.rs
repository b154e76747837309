//! Why a certificate could not be had, in words an operator can act on, and in kinds that say
//! how soon it makes sense to ask again.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use instant_acme::{Error as AcmeError, Problem};

use super::https::Transport;

/// Why a certificate could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// One line.
    pub(super) text: String,
    /// When the authority wants to be asked again, from now.
    pub(super) retry_after: Option<Duration>,
}

/// The kinds of failure; the metrics' label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No answer of the authority.
    Unreachable,
    /// The authority has a failure of its own, or answers what cannot be understood.
    Authority,
    /// The authority does not know the account, which is made anew.
    Account,
    /// The authority takes no more orders for a while.
    RateLimited,
    /// The authority could not verify a name, or does not issue for it.
    Refused,
    /// The storage directory cannot be read or written.
    Storage,
    /// The certificate lies in storage, and the reload that would have it served was refused.
    NotServed,
}

impl FailureKind {
    pub(super) const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Authority,
        Self::Account,
        Self::RateLimited,
        Self::Refused,
        Self::Storage,
        Self::NotServed,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Authority => "authority",
            Self::Account => "account",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::Storage => "storage",
            Self::NotServed => "not_served",
        }
    }
}

impl Failure {
    pub(super) fn new(kind: FailureKind, text: impl fmt::Display) -> Self {
        Self {
            kind,
            text: one_line(&text.to_string()),
            retry_after: None,
        }
    }

    /// `doing` says what was under way: "ordering", "making the account".
    pub(super) fn of(doing: &str, error: AcmeError, retry_after: Option<Duration>) -> Self {
        let (kind, text) = match error {
            AcmeError::Api(problem) => (kind_of(&problem), problem_text(&problem)),
            AcmeError::Other(error) => match error.downcast_ref::<Transport>() {
                Some(Transport::Unreachable(_)) => (FailureKind::Unreachable, error.to_string()),
                _ => (FailureKind::Authority, chain(&*error)),
            },
            AcmeError::Timeout(_) => (
                FailureKind::Authority,
                "the authority does not come to an end with it".to_owned(),
            ),
            error => (FailureKind::Authority, chain(&error)),
        };
        Self {
            retry_after,
            ..Self::new(kind, format_args!("{doing}: {text}"))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The authority's words about one problem, with what to do about the kinds that have a remedy.
pub(super) fn problem_text(problem: &Problem) -> String {
    let kind = error_type(problem);
    let mut text = problem.detail.clone().unwrap_or_default();
    for part in &problem.subproblems {
        text.push_str("; ");
        text.push_str(&part.to_string());
    }
    if text.is_empty() {
        "the authority gives no reason".clone_into(&mut text);
    }
    match kind {
        "" => text,
        "externalAccountRequired" => format!(
            "{text} (this authority wants an external account binding, which is not spoken here; use another acme.directory)"
        ),
        "userActionRequired" => format!(
            "{text} (read the authority's new terms and agree to them at the address it names)"
        ),
        kind => format!("{text} ({kind})"),
    }
}

/// The errors from one to its first cause.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        // Some errors repeat their cause.
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        cause = error.source();
    }
    text
}

/// RFC 8555 section 6.7.
fn kind_of(problem: &Problem) -> FailureKind {
    match error_type(problem) {
        "rateLimited" => FailureKind::RateLimited,
        "accountDoesNotExist" => FailureKind::Account,
        "serverInternal" | "badNonce" | "" => FailureKind::Authority,
        _ => FailureKind::Refused,
    }
}

fn error_type(problem: &Problem) -> &str {
    let uri = problem.r#type.as_deref().unwrap_or_default();
    uri.strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or_default()
}

/// The authority's text goes into a log line: no control characters, and not without end.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(TEXT_BYTES_MAX));
    for character in text.chars() {
        if line.len() >= TEXT_BYTES_MAX {
            line.push('…');
            break;
        }
        line.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    line
}

const TEXT_BYTES_MAX: usize = 1_024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn problems_fall_into_kinds() {
        for (kind, expected) in [
            ("rateLimited", FailureKind::RateLimited),
            ("accountDoesNotExist", FailureKind::Account),
            ("serverInternal", FailureKind::Authority),
            ("rejectedIdentifier", FailureKind::Refused),
            ("caa", FailureKind::Refused),
        ] {
            let problem = problem(&format!(
                r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"no"}}"#
            ));
            let failure = Failure::of("ordering", AcmeError::Api(problem), None);
            assert_eq!(failure.kind, expected, "{kind}");
            assert_eq!(failure.text, format!("ordering: no ({kind})"));
        }
    }

    #[test]
    fn the_authoritys_text_stays_on_one_bounded_line() {
        let problem = problem(&format!(
            r#"{{"detail":"first\nsecond\u001b[31m{}"}}"#,
            "x".repeat(10_000)
        ));
        let failure = Failure::of("ordering", AcmeError::Api(problem), None);
        assert!(failure.text.starts_with("ordering: first second [31mxx"));
        assert!(failure.text.len() < TEXT_BYTES_MAX + 8);
    }

    #[test]
    fn names_that_an_authority_rejects_are_told() {
        let problem = problem(
            r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"some names","subproblems":[
                {"identifier":{"type":"dns","value":"a.example"},"detail":"blocked"}]}"#,
        );
        let text = problem_text(&problem);
        assert!(text.contains("a.example"), "{text}");
        assert!(text.contains("blocked"), "{text}");
    }
}
