//! Faults of the TOML itself, in words that help with the mistakes people make.

use toml::de::Error;

use crate::diagnostic::Diagnostic;
use crate::read::{Reader, quote};
use crate::span::{FileId, Sources, Span};

/// Faults beyond this many in one file are noise: the parser has lost its way.
const REPORTED_MAX: usize = 20;

/// Reports the faults of a file, at most one for each line.
pub(crate) fn report(r: &mut Reader<'_>, file: FileId, errors: &[Error]) {
    let mut last_line = 0;
    let mut reported = 0;
    for error in errors {
        let length = r.sources.text(file).len();
        let range = error.span().unwrap_or(length..length);
        let span = Span::new(file, range);
        let (line, _) = r.sources.line_at(file, span.start as usize);
        if line == last_line || reported == REPORTED_MAX {
            continue;
        }
        last_line = line;
        reported += 1;
        let diagnostic = explain(&r.sources, error.message(), span);
        r.report(diagnostic);
    }
}

fn explain(sources: &Sources, message: &str, span: Span) -> Diagnostic {
    let (_, line) = sources.line_at(span.file, span.start as usize);
    let text = sources.text(span.file);
    let before = text
        .get(line.start..span.start as usize)
        .unwrap_or("")
        .trim_end();
    let rest = text.get(span.start as usize..line.end).unwrap_or("");
    let written = sources.snippet(span);
    let error = |message: &str| Diagnostic::error("syntax", message, span);
    if message.contains("duplicate key") {
        return error(&format!("{} is written twice", quote(written)))
            .label("written before")
            .help("each key and each [table] is written once; tables that repeat are [[table]]");
    }
    let value_expected = message.contains("must be quoted") || message.contains("invalid float");
    if value_expected && rest.trim().is_empty() {
        return error("a value is missing").label("nothing stands here");
    }
    if value_expected && let Some(word) = bare_word(before, rest) {
        return error("this value needs quotes")
            .label("neither a number nor true nor false")
            .help(format!("write \"{word}\""));
    }
    if message.contains("key with no value") {
        let help = "TOML is `key = value`; tables begin with [header]";
        return error("a key without a value")
            .label("expected `=`")
            .help(help);
    }
    match message.split_once(", expected ") {
        Some((message, expected)) => error(message).label(format!("expected {expected}")),
        None => error(&message.replace('\n', "; ")),
    }
}

/// The unquoted word at a value's place, if it is plain enough to be repeated in quotes.
fn bare_word<'a>(before: &'a str, rest: &'a str) -> Option<&'a str> {
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}' | '#' | '"');
    // The parser may point into the word: it tries numbers first.
    let inside = before
        .rsplit(|c: char| is_end(c) || matches!(c, '=' | '['))
        .next()?;
    let word = rest.split(is_end).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/*-".contains(c);
    (inside.is_empty() && !word.is_empty() && word.chars().all(plain)).then_some(word)
}
