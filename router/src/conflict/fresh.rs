//! Values that no route names.

use crate::pattern::Part;
use crate::predicate::ValueTest;
use crate::router::Router;

/// A path segment and a field value that no literal of a router's routes equals, contains or
/// starts to spell. `None` if the routes leave no character for that.
#[derive(Debug)]
pub(crate) struct Fresh {
    segment: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

impl Fresh {
    pub(crate) fn new(router: &Router) -> Self {
        let mut segments = Literals::default();
        let mut values = Literals::default();
        for spec in &router.specs {
            segments
                .text
                .extend_from_slice(spec.path.as_str().as_bytes());
            segments.text.push(b'\n');
            let mut before = &b""[..];
            for part in spec.path.parts() {
                match part {
                    Part::Literal(literal) => before = literal,
                    Part::Param { suffix } => {
                        let prefix = before
                            .rsplit(|&byte| byte == b'/')
                            .next()
                            .unwrap_or_default();
                        segments.mark(prefix);
                        segments.mark(suffix);
                        before = b"";
                    }
                    Part::Rest => {}
                }
            }
            let headers = spec.headers.iter().map(|header| header.test());
            for test in headers.chain(spec.query.iter().map(|query| query.test())) {
                match test {
                    ValueTest::Present | ValueTest::Absent => {}
                    ValueTest::Exact(value) => values.add(value),
                    ValueTest::OneOf(set) => set.iter().for_each(|value| values.add(value)),
                    ValueTest::Prefix(prefix) => {
                        values.add(prefix);
                        values.mark(prefix);
                    }
                }
            }
        }
        Fresh {
            segment: segments.fresh(),
            value: values.fresh(),
        }
    }

    pub(crate) fn segment(&self) -> Option<&[u8]> {
        self.segment.as_deref()
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

struct Literals {
    /// All literals, with separators that no fresh value has.
    text: Vec<u8>,
    /// Bytes of literals that the start or the end of a value is compared with.
    partial: [bool; 256],
}

impl Default for Literals {
    fn default() -> Self {
        Literals {
            text: Vec::new(),
            partial: [false; 256],
        }
    }
}

impl Literals {
    fn add(&mut self, literal: &[u8]) {
        self.text.extend_from_slice(literal);
        self.text.push(b'\n');
    }

    fn mark(&mut self, literal: &[u8]) {
        for &byte in literal {
            self.partial[usize::from(byte)] = true;
        }
    }

    /// A value between two characters that no partial literal has.
    fn fresh(&self) -> Option<Vec<u8>> {
        let letters = (b'a'..=b'z').rev().chain((b'A'..=b'Z').rev());
        let outer = letters
            .chain(*b"~_-!$'()*,:@")
            .find(|byte| !self.partial[usize::from(*byte)])?;
        let outer = char::from(outer);
        (0..)
            .map(|number| format!("{outer}{number}{outer}").into_bytes())
            .find(|value| memchr::memmem::find(&self.text, value).is_none())
    }
}
