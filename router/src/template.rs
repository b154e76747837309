//! Templates for rewritten paths and redirect targets: literals and `{name}` captures.

use crate::capture::Captures;
use crate::pattern::{PathPattern, PatternError};

/// A parsed template such as `/v2/users/{rest}`, bound to the captures of one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Box<[Piece]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<[u8]>),
    Capture(usize),
}

impl Template {
    /// Parses `text`; each `{name}` must be a parameter of `pattern`. Literals may be any
    /// visible ASCII, so a whole URI is allowed.
    ///
    /// # Errors
    /// A [`PatternError`] for unknown names, unbalanced braces and characters that a URI
    /// cannot have.
    pub fn parse(text: &str, pattern: &PathPattern) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::new(0..0, "a template must not be empty"));
        }
        if let Some((at, c)) = text.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
            return Err(PatternError::new(
                at..at + c.len_utf8(),
                "percent-encode this character, it cannot stand in a URI",
            ));
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let literal_len = rest.find(['{', '}']).unwrap_or(rest.len());
            if literal_len > 0 {
                pieces.push(Piece::Literal(rest.as_bytes()[..literal_len].into()));
                at += literal_len;
                continue;
            }
            let close = match rest.find('}') {
                Some(0) => return Err(PatternError::new(at..at + 1, "`}` without `{`")),
                Some(close) => close,
                None => return Err(PatternError::new(at..text.len(), "`{` is never closed")),
            };
            let index = capture_index(&rest[1..close], pattern)
                .map_err(|message| PatternError::new(at..at + close + 1, message))?;
            pieces.push(Piece::Capture(index));
            at += close + 1;
        }
        Ok(Template {
            pieces: pieces.into(),
        })
    }

    /// Appends the template to `out`, captures filled in from `path`, the path that was looked
    /// up. Captures are inserted as they stand, percent-encoded.
    ///
    /// Slashes at the start of a capture are dropped where the output so far is a single `/`:
    /// `//host` would be taken for an authority (RFC 3986, section 4.2) by a client that is
    /// redirected there.
    pub fn expand(&self, path: &[u8], captures: &Captures, out: &mut Vec<u8>) {
        let start = out.len();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => out.extend_from_slice(literal),
                Piece::Capture(index) => {
                    let mut value = captures.get(*index, path).unwrap_or_default();
                    if out[start..] == *b"/" {
                        while let [b'/', after @ ..] = value {
                            value = after;
                        }
                    }
                    out.extend_from_slice(value);
                }
            }
        }
    }
}

fn capture_index(name: &str, pattern: &PathPattern) -> Result<usize, String> {
    let names = pattern.capture_names();
    if let Some(index) = names.iter().position(|known| &**known == name) {
        return Ok(index);
    }
    if let Some(bare) = name.strip_suffix('*')
        && names.iter().any(|known| &**known == bare)
    {
        return Err(format!(
            "write `{{{bare}}}`: the `*` belongs to the pattern only"
        ));
    }
    if names.is_empty() {
        return Err(format!("the path `{pattern}` has no parameters"));
    }
    let known: Vec<String> = names.iter().map(|name| format!("`{{{name}}}`")).collect();
    Err(format!(
        "the path `{pattern}` has no parameter `{name}`, only {}",
        known.join(", ")
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Lookup, Request, RouteSpec, RouterBuilder, RouterOptions};

    fn expand(pattern: &str, template: &str, path: &str) -> String {
        let pattern = PathPattern::parse(pattern).unwrap();
        let template = Template::parse(template, &pattern).unwrap();
        let mut builder = RouterBuilder::new(RouterOptions::default());
        let id = builder.route(RouteSpec::new(pattern));
        let router = builder.build().unwrap();
        let request = Request {
            host: b"",
            path: path.as_bytes(),
            query: b"",
            method: b"GET",
        };
        let mut captures = Captures::new();
        assert_eq!(
            router.lookup(&request, &(), &mut captures),
            Lookup::Found(id)
        );
        let mut out = b"> ".to_vec();
        template.expand(path.as_bytes(), &captures, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fills_in_captures() {
        assert_eq!(
            expand("/api/users/{rest*}", "/v2/users/{rest}", "/api/users/7/x"),
            "> /v2/users/7/x"
        );
        assert_eq!(
            expand("/{a}/{b}", "https://x/{b}?a={a}", "/1/2"),
            "> https://x/2?a=1"
        );
        assert_eq!(expand("/old/{rest*}", "/{rest}", "/old/"), "> /");
    }

    #[test]
    fn a_capture_cannot_turn_a_path_into_an_authority() {
        assert_eq!(
            expand("/old/{rest*}", "/{rest}", "/old///evil.example"),
            "> /evil.example"
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let pattern = PathPattern::parse("/{a}/{rest*}").unwrap();
        let error = Template::parse("/x/{b}", &pattern).unwrap_err();
        assert_eq!(error.span, 3..6);
        assert!(error.message.contains("`{a}`, `{rest}`"));
        assert!(
            Template::parse("/{rest*}", &pattern)
                .unwrap_err()
                .message
                .contains("write `{rest}`")
        );
        for text in ["", "/{a", "/a}", "/ ", "/é"] {
            assert!(Template::parse(text, &pattern).is_err(), "{text}");
        }
    }
}
