//! Path patterns: literals in canonical form, `{name}` for one non-empty segment (with a
//! literal before or after it in the segment if need be, as `/files/{name}.json`), and
//! `{name*}` for the rest of the path, zero or more bytes with slashes.
//!
//! `/a/{rest*}` matches `/a/` and `/a/x/y`, not `/a`: `/a` and `/a/` are different paths
//! unless the router ignores trailing slashes.

use std::fmt;
use std::ops::Range;

use crate::TrailingSlash;
use crate::capture::CAPTURES_MAX;
use crate::path::{Normal, PathPolicy, normalise};

/// A parsed path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    parts: Box<[Part]>,
    names: Box<[Box<str>]>,
    segments: u32,
}

/// A piece of a pattern. Two patterns with equal parts match the same paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Bytes that stand for themselves; never next to another literal.
    Literal(Box<[u8]>),
    /// A non-empty piece of one segment, up to the segment's end but for `suffix`.
    Param {
        /// What must follow before the segment ends.
        suffix: Box<[u8]>,
    },
    /// The rest of the path; only last.
    Rest,
}

/// A pattern longer than this is a mistake.
const PATTERN_LEN_MAX: usize = 4096;
/// More segments than any API has; it bounds the search for witnesses.
pub(crate) const SEGMENTS_MAX: usize = 64;

impl PathPattern {
    /// Parses a pattern whose literals must be canonical under the default [`PathPolicy`].
    ///
    /// # Errors
    /// A [`PatternError`] that says where the pattern is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::parse_with(text, &PathPolicy::default())
    }

    /// Parses a pattern whose literals must be canonical under `policy`.
    ///
    /// # Errors
    /// As [`PathPattern::parse`].
    pub fn parse_with(text: &str, policy: &PathPolicy) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::new(
                0..text.len().min(1),
                "a path pattern starts with `/`",
            ));
        }
        if text.len() > PATTERN_LEN_MAX {
            return Err(PatternError::new(
                PATTERN_LEN_MAX..text.len(),
                format!("a path pattern has at most {PATTERN_LEN_MAX} bytes"),
            ));
        }
        let mut parser = Parser {
            text,
            parts: Vec::new(),
            names: Vec::new(),
            spans: Vec::new(),
            literal: Vec::new(),
        };
        let segments = parser.run()?;
        parser.check_canonical(policy)?;
        Ok(PathPattern {
            text: text.into(),
            parts: parser.parts.into(),
            names: parser.names.into(),
            segments,
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of the captures, in order.
    #[must_use]
    pub fn capture_names(&self) -> &[Box<str>] {
        &self.names
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Segments of the pattern, the rest counted as one.
    pub(crate) fn segments(&self) -> u32 {
        self.segments
    }

    /// Whether `path` (canonical) matches, by itself and without the trie.
    pub(crate) fn matches(&self, path: &[u8], slash: TrailingSlash) -> bool {
        match slash {
            TrailingSlash::Strict | TrailingSlash::Redirect => matches_parts(&self.parts, path),
            TrailingSlash::Ignore => {
                let bare = without_trailing_slash(path);
                let slashed = |path: &[u8]| matches_parts(&self.parts, &[path, b"/"].concat());
                match self.parts.last() {
                    Some(Part::Rest) => matches_parts(&self.parts, path) || slashed(bare),
                    Some(Part::Literal(tail)) if tail.ends_with(b"/") && &*self.text != "/" => {
                        slashed(bare)
                    }
                    _ => matches_parts(&self.parts, bare),
                }
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `/a/` as `/a`; the root stays as it is.
pub(crate) fn without_trailing_slash(path: &[u8]) -> &[u8] {
    match path {
        [bare @ .., b'/'] if !bare.is_empty() => bare,
        _ => path,
    }
}

fn matches_parts(parts: &[Part], path: &[u8]) -> bool {
    let mut rest = path;
    for part in parts {
        match part {
            Part::Literal(literal) => match rest.strip_prefix(&**literal) {
                Some(after) => rest = after,
                None => return false,
            },
            Part::Param { suffix } => {
                let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
                if end <= suffix.len() || !rest[..end].ends_with(suffix) {
                    return false;
                }
                rest = &rest[end..];
            }
            Part::Rest => return true,
        }
    }
    rest.is_empty()
}

/// What is wrong with a host or path pattern or a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Byte offsets into the parsed text.
    pub span: Range<usize>,
    /// What is wrong and what to write.
    pub message: String,
}

impl PatternError {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        PatternError {
            span,
            message: message.into(),
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {})", self.message, self.span.start)
    }
}

impl std::error::Error for PatternError {}

struct Parser<'a> {
    text: &'a str,
    parts: Vec<Part>,
    names: Vec<Box<str>>,
    /// Where each `{...}` stands.
    spans: Vec<Range<usize>>,
    literal: Vec<u8>,
}

impl Parser<'_> {
    /// Parses all segments and returns their number.
    fn run(&mut self) -> Result<u32, PatternError> {
        let text = self.text;
        let mut at = 0;
        let mut count = 0;
        for segment in text[1..].split('/') {
            at += 1;
            count += 1;
            self.literal.push(b'/');
            if count as usize > SEGMENTS_MAX {
                return Err(PatternError::new(
                    at..text.len(),
                    format!("a path pattern has at most {SEGMENTS_MAX} segments"),
                ));
            }
            if self.parts.last() == Some(&Part::Rest) {
                return Err(PatternError::new(
                    at - 1..text.len(),
                    "nothing may follow `{name*}`",
                ));
            }
            self.segment(segment, at)?;
            at += segment.len();
        }
        self.end_literal();
        Ok(count)
    }

    fn segment(&mut self, segment: &str, at: usize) -> Result<(), PatternError> {
        let Some(open) = segment.find(['{', '}']) else {
            self.literal.extend_from_slice(segment.as_bytes());
            return Ok(());
        };
        if segment.as_bytes()[open] == b'}' {
            return Err(PatternError::new(
                at + open..at + open + 1,
                "`}` without `{`; a literal brace is written `%7D`",
            ));
        }
        let Some(close) = segment.find('}').filter(|close| *close > open) else {
            return Err(PatternError::new(
                at + open..at + segment.len(),
                "`{` is never closed",
            ));
        };
        let span = at + open..at + close + 1;
        let (prefix, inner, suffix) = (
            &segment[..open],
            &segment[open + 1..close],
            &segment[close + 1..],
        );
        if let Some(second) = suffix.find(['{', '}']) {
            let second = at + close + 1 + second;
            return Err(PatternError::new(
                second..second + 1,
                "a segment holds at most one parameter",
            ));
        }
        let (name, is_rest) = match inner.strip_suffix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        self.name(name, span.clone())?;
        if is_rest && !(prefix.is_empty() && suffix.is_empty()) {
            return Err(PatternError::new(
                span,
                "`{name*}` must be a segment of its own",
            ));
        }
        self.spans.push(span);
        self.literal.extend_from_slice(prefix.as_bytes());
        self.end_literal();
        self.parts.push(if is_rest {
            Part::Rest
        } else {
            Part::Param {
                suffix: suffix.as_bytes().into(),
            }
        });
        Ok(())
    }

    fn name(&mut self, name: &str, span: Range<usize>) -> Result<(), PatternError> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let all_well = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !starts_well || !all_well {
            return Err(PatternError::new(
                span,
                "a parameter is `{name}` or `{name*}`, its name of letters, digits, `_` and `-`",
            ));
        }
        if self.names.iter().any(|known| &**known == name) {
            return Err(PatternError::new(
                span,
                format!("the parameter `{name}` occurs twice"),
            ));
        }
        if self.names.len() == CAPTURES_MAX {
            return Err(PatternError::new(
                span,
                format!("a pattern has at most {CAPTURES_MAX} parameters"),
            ));
        }
        self.names.push(name.into());
        Ok(())
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts
                .push(Part::Literal(std::mem::take(&mut self.literal).into()));
        }
    }

    /// A request's path is normalised before it is matched, so another spelling of a literal
    /// could never match.
    fn check_canonical(&self, policy: &PathPolicy) -> Result<(), PatternError> {
        let stand_in = |index: usize| format!("~-{index}-~parameter~");
        let mut filled = Vec::new();
        let mut at = 0;
        for (index, span) in self.spans.iter().enumerate() {
            encode_foreign(&self.text[at..span.start], &mut filled);
            filled.extend_from_slice(stand_in(index).as_bytes());
            at = span.end;
        }
        encode_foreign(&self.text[at..], &mut filled);

        let mut out = Vec::new();
        let canonical = match normalise(&filled, policy, &mut out) {
            Err(error) => {
                return Err(PatternError::new(
                    0..self.text.len(),
                    format!("no request can have this path: {error}"),
                ));
            }
            Ok(Normal::Unchanged) => filled,
            Ok(Normal::Rewritten) => out,
        };
        let mut canonical = String::from_utf8_lossy(&canonical).into_owned();
        for (index, span) in self.spans.iter().enumerate() {
            canonical = canonical.replace(&stand_in(index), &self.text[span.clone()]);
        }
        if canonical == self.text {
            return Ok(());
        }
        let differs = |(left, right): (u8, u8)| left != right;
        let start = self
            .text
            .bytes()
            .zip(canonical.bytes())
            .position(differs)
            .unwrap_or(canonical.len().min(self.text.len()));
        let start = (0..=start)
            .rev()
            .find(|at| self.text.is_char_boundary(*at))
            .unwrap_or(0);
        Err(PatternError::new(
            start..self.text.len(),
            format!("paths are normalised before they are matched; write `{canonical}`"),
        ))
    }
}

/// Encodes what a person may write in a pattern and a request must encode.
fn encode_foreign(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'?' && byte != b'#' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern)
            .unwrap()
            .matches(path.as_bytes(), TrailingSlash::Strict)
    }

    #[test]
    fn a_parameter_is_one_segment_that_is_not_empty() {
        assert!(matches("/users/{id}", "/users/7"));
        assert!(!matches("/users/{id}", "/users/"));
        assert!(!matches("/users/{id}", "/users/7/x"));
        assert!(matches("/f/v{n}.json/x", "/f/v1.json/x"));
        assert!(!matches("/f/v{n}.json", "/f/v.json"));
    }

    #[test]
    fn the_rest_may_be_empty_but_its_slash_may_not_be_missing() {
        assert!(matches("/a/{rest*}", "/a/"));
        assert!(matches("/a/{rest*}", "/a/x/y"));
        assert!(!matches("/a/{rest*}", "/a"));
        let rest = PathPattern::parse("/a/{rest*}").unwrap();
        assert!(rest.matches(b"/a", TrailingSlash::Ignore));
    }

    #[test]
    fn ignoring_the_trailing_slash_works_both_ways() {
        for (pattern, path) in [("/a", "/a/"), ("/a/", "/a"), ("/{x}/", "/b"), ("/", "/")] {
            let pattern = PathPattern::parse(pattern).unwrap();
            assert!(
                pattern.matches(path.as_bytes(), TrailingSlash::Ignore),
                "{pattern}"
            );
        }
    }

    #[test]
    fn errors_point_at_the_offence() {
        for (text, span) in [
            ("", 0..0),
            ("a", 0..1),
            ("/{a", 1..3),
            ("/a}", 2..3),
            ("/{a}{b}", 4..5),
            ("/{}", 1..3),
            ("/{1}", 1..4),
            ("/{a:[0-9]+}", 1..11),
            ("/{a}/{a}", 5..8),
            ("/{a*}/b", 5..7),
            ("/x{a*}", 2..6),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert_eq!(error.span, span, "{text}: {error}");
        }
    }

    #[test]
    fn other_spellings_are_answered_with_the_canonical_one() {
        for (text, canonical) in [
            ("/caf%c3%a9/{x}", "/caf%C3%A9/{x}"),
            ("/café", "/caf%C3%A9"),
            ("/a//b", "/a/b"),
            ("/a/../{x}.json", "/{x}.json"),
            ("/%61", "/a"),
            ("/a b", "/a%20b"),
        ] {
            let error = PathPattern::parse(text).unwrap_err();
            assert!(
                error.message.contains(&format!("`{canonical}`")),
                "{text}: {error}"
            );
        }
        assert!(PathPattern::parse("/a%2Fb").is_err());
        assert!(PathPattern::parse("/a/..").is_err() && PathPattern::parse("/..").is_err());
    }

    #[test]
    fn limits_are_enforced() {
        let many = |count: usize| (0..count).map(|n| format!("/{{p{n}}}")).collect::<String>();
        assert!(PathPattern::parse(&many(CAPTURES_MAX)).is_ok());
        assert!(PathPattern::parse(&many(CAPTURES_MAX + 1)).is_err());
        assert!(PathPattern::parse(&"/a".repeat(SEGMENTS_MAX)).is_ok());
        assert!(PathPattern::parse(&"/a".repeat(SEGMENTS_MAX + 1)).is_err());
    }
}
