//! Faults of the TOML itself, in words that help with the mistakes people make.

use toml::de::Error;

use crate::diagnostic::Diagnostic;
use crate::read::Reader;
use crate::span::{FileId, Span};

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
        let message = error.message().replace('\n', "; ");
        let written = r.sources.snippet(span).to_owned();
        let mut out = Diagnostic::error("syntax", message, span);
        if let Some(help) = hint(error.message(), &written) {
            out = out.help(help);
        }
        r.report(out);
    }
}

fn hint(message: &str, _written: &str) -> Option<&'static str> {
    if message.contains("duplicate key") {
        return Some("each key and each [table] is written once; tables that repeat are [[table]]");
    }
    if message.contains("missing") && message.contains("value") {
        return Some("text needs quotes: key = \"text\"");
    }
    None
}
