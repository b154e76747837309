//! `${env:NAME}`, `${file:PATH}` and `${command:PROGRAM ARGUMENT...}` in string values. What they
//! stand for is never shown: messages name the reference instead.

use std::path::Path;

use super::reader::{Reader, quote};
use crate::diagnostic::Diagnostic;
use crate::references::NotRun;
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

    /// Whether some of it comes from outside the configuration.
    pub fn is_expanded(&self) -> bool {
        self.written.is_some()
    }

    /// Whose value it is, for messages about one that is not shown.
    pub fn whose(&self) -> &'static str {
        let written = self.shown();
        match (written.contains("${file:"), written.contains("${command:")) {
            (false, false) => "the environment's value",
            (true, false) => "the file's value",
            (false, true) => "the command's value",
            (true, true) => "the value",
        }
    }
}

/// What came of asking for a reference's value.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    value: Option<String>,
    /// What is wrong with it; never without one when there is no value.
    finding: Option<Diagnostic>,
}

impl Resolved {
    fn fine(value: String) -> Self {
        Self {
            value: Some(value),
            finding: None,
        }
    }

    fn wrong(finding: Diagnostic) -> Self {
        Self {
            value: None,
            finding: Some(finding),
        }
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
        let at = self.reference_span(raw, written, span);
        let key = (at.file, written.to_owned());
        let resolved = match self.known.get(&key) {
            Some(known) => known.clone(),
            None => match self.ask(reference, at) {
                Some(resolved) => resolved,
                None => {
                    self.bad_reference(raw, written, span);
                    return None;
                }
            },
        };
        // What is wrong with it is said wherever it stands, though it was asked but once.
        let finding = resolved.finding.clone().map(|finding| Diagnostic {
            span: Some(at),
            ..finding
        });
        self.diagnostics.extend(finding);
        let value = resolved.value.clone();
        self.known.insert(key, resolved);
        value
    }

    fn ask(&mut self, reference: &str, at: Span) -> Option<Resolved> {
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        Some(match reference.split_once(':')? {
            ("env", name) if is_name(name) => self.of_env(name, at),
            ("file", path) if !path.is_empty() && !path.contains('\0') => {
                self.of_file(Path::new(path), at)
            }
            ("command", line) if !line.trim_ascii().is_empty() => self.of_command(line, at),
            _ => return None,
        })
    }

    fn of_env(&mut self, name: &str, at: Span) -> Resolved {
        match self.references.env(name) {
            Some(value) => Resolved::fine(value),
            None => Resolved::wrong(
                Diagnostic::error(
                    "missing-env",
                    format!("environment variable {} is not set", quote(name)),
                    at,
                )
                .label("not set where this runs")
                .help(format!(
                    "set it, such as `{name}=... ringgate check FILE`, or write the value"
                )),
            ),
        }
    }

    /// A path is relative to the file that has it, as all paths are.
    fn of_file(&mut self, path: &Path, at: Span) -> Resolved {
        let beside = self.sources.path(at.file).parent();
        let path = beside.unwrap_or(Path::new("")).join(path);
        let shown = quote(&path.to_string_lossy());
        let found = self.references.file(&path);
        self.named.push(path);
        match found {
            Ok(found) => Resolved {
                finding: (found.mode & 0o004 != 0).then(|| {
                    let message = format!("every user of this machine can read {shown}");
                    Diagnostic::warning("open-secret", message, at)
                        .label(format!("its mode is {:04o}", found.mode))
                        .help("if it holds a secret: chmod o-r, and let the gateway's user own it")
                }),
                value: Some(without_newline(found.text)),
            },
            Err(why) => Resolved::wrong(
                Diagnostic::error("missing-file", format!("cannot read {shown}: {why}"), at)
                    .label("its value is not known")
                    .help("a file that holds one value, such as a mounted secret"),
            ),
        }
    }

    /// Words are separated by spaces, and no shell sees them. Who may write an included file
    /// is not thereby somebody who may have programs run.
    fn of_command(&mut self, line: &str, at: Span) -> Resolved {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if self.sources.ids().next() != Some(at.file) {
            return Resolved::wrong(
                Diagnostic::error("command", "a command in an included file", at)
                    .label("only the main file may have programs run")
                    .help("move it there, or use `${env:NAME}` or `${file:PATH}` here"),
            );
        }
        let program = quote(words.first().copied().unwrap_or_default());
        let wrong = |what: &str| Diagnostic::error("command", format!("{program} {what}"), at);
        match self.references.command(&words) {
            Ok(found) => Resolved::fine(without_newline(found)),
            Err(NotRun::Unasked(help)) => Resolved::wrong(
                wrong("was not run, so its value is not known")
                    .label("commands are not run here")
                    .help(help),
            ),
            Err(NotRun::Failed(why)) => Resolved::wrong(
                wrong(&why)
                    .label("it has to write the value and nothing else")
                    .help("run it by hand, as the user that the gateway runs as"),
            ),
        }
    }

    fn bad_reference(&mut self, raw: &str, written: &str, span: Span) {
        let span = self.reference_span(raw, written, span);
        self.report(
            Diagnostic::error(
                "invalid-reference",
                "not a reference to a value elsewhere",
                span,
            )
            .label("expected `${env:NAME}`, `${file:PATH}` or `${command:PROGRAM ARGUMENT}`")
            .help("write `$${` for the characters `${` themselves"),
        );
    }

    /// Where `written`, a part of `raw`, stands.
    fn reference_span(&self, raw: &str, written: &str, span: Span) -> Span {
        let at = written.as_ptr() as usize - raw.as_ptr() as usize;
        self.part_of(span, raw, at..at + written.len())
    }
}

/// Editors and tools end what they write with a line break, which is no part of a value.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Whether a string refers to a value elsewhere.
pub(super) fn has_reference(raw: &str) -> bool {
    raw.contains("${")
}
