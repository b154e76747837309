//! `${env:NAME}` in string values. What comes from the environment is never shown: messages name
//! the reference instead.

use super::reader::{Reader, quote};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// A string value with its references expanded.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub value: Box<str>,
    /// The text with its references as written, when it has any: what may be shown of it.
    pub written: Option<Box<str>>,
}

impl Text {
    /// What may be shown to people.
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(&self.value)
    }

    pub fn is_from_env(&self) -> bool {
        self.written.is_some()
    }
}

impl Reader<'_> {
    pub(super) fn expand(&mut self, raw: &str, span: Span) -> Option<Text> {
        if !has_reference(raw) {
            return Some(Text {
                value: Box::from(raw),
                written: None,
            });
        }
        let mut value = String::with_capacity(raw.len());
        let mut complete = true;
        let mut expanded = false;
        let mut rest = raw;
        while let Some(at) = rest.find('$') {
            value.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                value.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let Some((reference, after)) = after.split_once('}') else {
                    self.bad_reference(raw, rest, span);
                    return None;
                };
                let written = &rest[..reference.len() + 3];
                match self.resolve(raw, written, reference, span) {
                    Some(found) => value.push_str(&found),
                    None => complete = false,
                }
                expanded = true;
                rest = after;
            } else {
                value.push('$');
                rest = &rest[1..];
            }
        }
        value.push_str(rest);
        let written = expanded.then(|| Box::from(raw));
        complete.then(|| Text {
            value: value.into_boxed_str(),
            written,
        })
    }

    fn resolve(&mut self, raw: &str, written: &str, reference: &str, span: Span) -> Option<String> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let Some(name) = reference.strip_prefix("env:").filter(|name| is_name(name)) else {
            self.bad_reference(raw, written, span);
            return None;
        };
        let found = match self.known_env.get(name) {
            Some(found) => found.clone(),
            None => {
                let found = (self.env)(name);
                self.known_env.insert(name.to_owned(), found.clone());
                found
            }
        };
        if found.is_none() {
            let span = self.reference_span(raw, written, span);
            self.report(
                Diagnostic::error(
                    "missing-env",
                    format!("environment variable {} is not set", quote(name)),
                    span,
                )
                .label("not set where this runs")
                .help(format!(
                    "set it, such as `{name}=... ringgate check FILE`, or write the value"
                )),
            );
        }
        found
    }

    fn bad_reference(&mut self, raw: &str, written: &str, span: Span) {
        let span = self.reference_span(raw, written, span);
        self.report(
            Diagnostic::error(
                "invalid-reference",
                "not a reference to the environment",
                span,
            )
            .label("expected `${env:NAME}`")
            .help("write `$${` for the characters `${` themselves"),
        );
    }

    /// Where `written`, a part of `raw`, stands.
    fn reference_span(&self, raw: &str, written: &str, span: Span) -> Span {
        let at = written.as_ptr() as usize - raw.as_ptr() as usize;
        self.part_of(span, raw, at..at + written.len())
    }
}

/// Whether a string refers to the environment.
pub(super) fn has_reference(raw: &str) -> bool {
    raw.contains("${")
}
