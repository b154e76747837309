//! Regular expressions for origins.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

/// A regular expression that matches whole origins or not at all.
///
/// It is a finished automaton: a search looks at each byte once, and needs neither memory of its
/// own nor a lock, as the lazily built ones do.
#[derive(Clone, Debug)]
pub struct OriginRegex {
    text: Box<str>,
    automaton: dense::DFA<Vec<u32>>,
}

const EXPRESSION_LEN_MAX: usize = 1000;
const AUTOMATON_BYTES_MAX: usize = 1 << 20;

impl OriginRegex {
    /// Reads an expression in the syntax of the crate `regex`, without Unicode.
    ///
    /// # Errors
    /// What is wrong with it, in a clause.
    pub fn new(expression: &str) -> Result<OriginRegex, String> {
        if expression.len() > EXPRESSION_LEN_MAX {
            return Err(format!("is longer than {EXPRESSION_LEN_MAX} bytes"));
        }
        let dense = dense::Config::new()
            // All ends of a match are found, and the last of them must be the end of the text.
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .determinize_size_limit(Some(4 * AUTOMATON_BYTES_MAX));
        let built = dense::Builder::new()
            .configure(dense)
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(AUTOMATON_BYTES_MAX)),
            )
            .build(expression);
        match built {
            Ok(automaton) => Ok(OriginRegex {
                text: expression.into(),
                automaton,
            }),
            Err(error) if error.is_size_limit_exceeded() => {
                Err("is too large when it is compiled".to_owned())
            }
            Err(error) => Err(reason(&error)),
        }
    }

    /// Whether it matches all of the text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(Anchored::Yes);
        let end = self.automaton.try_search_fwd(&input);
        matches!(end, Ok(Some(end)) if end.offset() == text.len())
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The innermost cause, on one line: the last line of a fault of syntax says what it is.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_origins_match() {
        let regex = OriginRegex::new(r"https://pr-[0-9]+\.example\.(com|com\.au)").unwrap();
        for origin in ["https://pr-1.example.com", "https://pr-77.example.com.au"] {
            assert!(regex.is_match(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://pr-1.example.com.evil.test",
            "xhttps://pr-1.example.com",
            "https://pr-1.example.com\n",
            "https://pr-1xexample.com",
            "",
        ] {
            assert!(!regex.is_match(origin.as_bytes()), "{origin:?}");
        }
    }

    #[test]
    fn no_trick_loosens_the_ends() {
        for (expression, origin) in [
            (
                r"(?m)^https://a\.test$",
                "https://a.test\nhttps://evil.test",
            ),
            ("https://a.test|https://b.test", "https://b.test.evil.test"),
            ("(?:)", "https://evil.test"),
        ] {
            let regex = OriginRegex::new(expression).unwrap();
            assert!(!regex.is_match(origin.as_bytes()), "{expression}");
        }
        assert!(
            OriginRegex::new(r"^https://a\.test$")
                .unwrap()
                .is_match(b"https://a.test")
        );
        assert!(OriginRegex::new("https://a)|(?:.*").is_err());
    }

    #[test]
    fn what_is_wrong_is_said_and_what_is_huge_refused() {
        assert_eq!(OriginRegex::new("(").unwrap_err(), "unclosed group");
        assert!(OriginRegex::new("((a{1,200}){1,200}){1,200}").is_err());
        assert!(OriginRegex::new(&"a".repeat(2000)).is_err());
    }
}
