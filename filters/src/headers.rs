//! Sets, adds and removes fields of requests and responses. Names and values are constants
//! that the configuration has checked; fields that frame messages never occur among them.

use ringgate_core::chain::{BodyVerdict, RequestPhase, ResponsePhase, Verdict};
use ringgate_core::http::{FieldLine, Fields};

use crate::Filter;

/// Changes to the fields of both heads.
#[derive(Debug, Default)]
pub struct Headers {
    /// Of requests, before they are sent upstream.
    pub request: HeaderEdits,
    /// Of responses, before they are sent to the client.
    pub response: HeaderEdits,
}

/// Changes to one head, made in the order remove, set, add. Names are in lower case.
#[derive(Debug, Default)]
pub struct HeaderEdits {
    /// Fields of these names are dropped.
    pub remove: Box<[Box<str>]>,
    /// Each replaces all fields of its name.
    pub set: Box<[FieldLine]>,
    /// Each comes behind the fields of its name.
    pub add: Box<[FieldLine]>,
}

impl Headers {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        self.request.apply(&mut phase.head.fields);
        Verdict::Continue
    }

    pub(crate) fn response_head(&self, phase: &mut ResponsePhase<'_, Filter>) -> BodyVerdict {
        self.response.apply(&mut phase.head.fields);
        BodyVerdict::Continue
    }

    pub(crate) fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (head, edits) in [("request", &self.request), ("response", &self.response)] {
            let removed = edits.remove.iter().map(|name| format!("-{name}"));
            let named = |sign, line: &FieldLine| format!("{sign}{}", line.name());
            let set = edits.set.iter().map(|line| named("=", line));
            let added = edits.add.iter().map(|line| named("+", line));
            let all: Vec<String> = removed.chain(set).chain(added).collect();
            if !all.is_empty() {
                parts.push(format!("{head} {}", all.join(" ")));
            }
        }
        format!("headers: {}", parts.join(", "))
    }
}

impl HeaderEdits {
    fn apply(&self, fields: &mut Fields) {
        for name in &self.remove {
            fields.remove(name);
        }
        // What can fail here is only that the head is full: a field more or less must not cost
        // the request, and the encoder would refuse nothing that was left out.
        for line in &self.set {
            let _ = fields.set_line(line);
        }
        for line in &self.add {
            let _ = fields.add_line(line);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_core::http::ResponseHead;

    fn lines(list: &[(&str, &str)]) -> Box<[FieldLine]> {
        let each = list.iter();
        each.map(|(name, value)| FieldLine::new(name, value).unwrap())
            .collect()
    }

    fn edits() -> HeaderEdits {
        HeaderEdits {
            remove: ["x-secret".into(), "user-agent".into()].into(),
            set: lines(&[("x-set", "new")]),
            add: lines(&[("x-add", "more"), ("accept", "b/b")]),
        }
    }

    fn shown(fields: &Fields) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
        let each = fields.iter();
        each.map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }

    #[test]
    fn removes_sets_and_adds_request_fields() {
        let filter = Filter::Headers(Headers {
            request: edits(),
            ..Headers::default()
        });
        let mut exchange = Exchange::default();
        let fields = &mut exchange.head.fields;
        for (name, value) in [
            ("X-Set", "old"),
            ("x-set", "older"),
            ("x-add", "first"),
            ("X-Secret", "s"),
            ("User-Agent", "curl"),
            ("accept", "a/a"),
        ] {
            fields.add(name, value.as_bytes()).unwrap();
        }
        assert!(passes(&exchange.request_head(&filter)));
        assert_eq!(
            shown(&exchange.head.fields),
            [
                "x-add: first",
                "accept: a/a",
                "x-set: new",
                "x-add: more",
                "accept: b/b"
            ]
        );
    }

    #[test]
    fn leaves_the_other_head_alone() {
        let filter = Filter::Headers(Headers {
            response: edits(),
            ..Headers::default()
        });
        let mut exchange = Exchange::default();
        exchange.head.fields.add("x-secret", b"s").unwrap();
        exchange.request_head(&filter);
        assert_eq!(shown(&exchange.head.fields), ["x-secret: s"]);
        let mut response = ResponseHead::default();
        response.fields.add("x-secret", b"s").unwrap();
        exchange.response_head(&filter, &mut response);
        assert_eq!(
            shown(&response.fields),
            ["x-set: new", "x-add: more", "accept: b/b"]
        );
    }

    #[test]
    fn says_which_fields_it_touches() {
        let headers = Headers {
            request: edits(),
            response: HeaderEdits::default(),
        };
        assert_eq!(
            headers.describe(),
            "headers: request -x-secret -user-agent =x-set +x-add +accept"
        );
    }
}
