//! Diagnostics for people, as compilers print them, and for machines, as JSON.

use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

use crate::diagnostic::{Diagnostic, Severity};
use crate::leaf::CREDENTIALS;
use crate::span::{Sources, Span};

/// Whether output may use terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// ANSI colours.
    Colour,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Colour if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Error => "1;31",
            Severity::Unsupported => "1;35",
            Severity::Warning => "1;33",
        };
        self.paint(code, text)
    }

    fn gutter(self, text: &str) -> String {
        self.paint("1;34", text)
    }
}

/// Renders findings one after the other, each with its excerpt. Empty for no findings.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, style: Style) -> String {
    let each: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| render_one(diagnostic, sources, style))
        .collect();
    each.join("\n")
}

/// Renders one finding: message, place, excerpt with carets, help.
#[must_use]
pub fn render_one(diagnostic: &Diagnostic, sources: &Sources, style: Style) -> String {
    let severity = format!("{}[{}]", diagnostic.severity.as_str(), diagnostic.code);
    let mut out = format!(
        "{}{}\n",
        style.severity(diagnostic.severity, &severity),
        style.paint("1", &format!(": {}", printable(&diagnostic.message))),
    );
    let spans = diagnostic.span.iter().copied();
    let spans = spans.chain(diagnostic.related.iter().map(|related| related.span));
    let last_line = spans.map(|span| sources.position(span).line).max();
    let width = last_line.map_or(1, |line| line.to_string().len());
    let bar = style.gutter(&format!("{:width$} |", ""));
    if let Some(span) = diagnostic.span {
        let carets = |text: &str| style.severity(diagnostic.severity, text);
        place(
            &mut out,
            sources,
            span,
            style.gutter(&format!("{:width$}-->", "")),
        );
        excerpt(
            &mut out,
            sources,
            span,
            &diagnostic.label,
            '^',
            width,
            style,
            &carets,
        );
    }
    for related in &diagnostic.related {
        let carets = |text: &str| style.gutter(text);
        place(
            &mut out,
            sources,
            related.span,
            style.gutter(&format!("{:width$}:::", "")),
        );
        excerpt(
            &mut out,
            sources,
            related.span,
            &related.message,
            '-',
            width,
            style,
            &carets,
        );
    }
    if let Some(help) = &diagnostic.help {
        if diagnostic.span.is_some() {
            let _ = writeln!(out, "{bar}");
        }
        let equals = style.gutter(&format!("{:width$} =", ""));
        let _ = writeln!(
            out,
            "{equals} {}: {}",
            style.paint("1", "help"),
            printable(help)
        );
    }
    out
}

fn place(out: &mut String, sources: &Sources, span: Span, arrow: String) {
    let position = sources.position(span);
    let path = sources.path(span.file).to_string_lossy();
    let _ = writeln!(
        out,
        "{arrow} {}:{}:{}",
        printable(&path),
        position.line,
        position.column
    );
}

#[allow(clippy::too_many_arguments)] // one line of output, every part of it named
fn excerpt(
    out: &mut String,
    sources: &Sources,
    span: Span,
    label: &str,
    mark: char,
    width: usize,
    style: Style,
    carets: &dyn Fn(&str) -> String,
) {
    let line = Excerpt::of(sources, span);
    let bar = style.gutter(&format!("{:width$} |", ""));
    let number = style.gutter(&format!("{:width$} |", line.number));
    let marks = mark.to_string().repeat(line.marked.len().max(1));
    let under = match label.is_empty() {
        true => marks,
        false => format!("{marks} {}", printable(label)),
    };
    let _ = writeln!(out, "{bar}");
    let _ = writeln!(out, "{}", format!("{number} {}", line.text).trim_end());
    let _ = writeln!(
        out,
        "{bar} {:indent$}{}",
        "",
        carets(&under),
        indent = line.marked.start
    );
}

/// One line as it is printed, with the columns that are marked.
struct Excerpt {
    number: usize,
    text: String,
    marked: Range<usize>,
}

const COLUMNS_MAX: usize = 120; // a wrapped excerpt loses its carets
const TAB: &str = "    ";

impl Excerpt {
    fn of(sources: &Sources, span: Span) -> Self {
        let (number, line) = sources.line_at(span.file, span.start as usize);
        let text = sources.text(span.file).get(line.clone()).unwrap_or("");
        let hidden = hidden_parts(sources, span, &line, text);
        let start = (span.start as usize).clamp(line.start, line.end) - line.start;
        let end = (span.end as usize).clamp(line.start, line.end) - line.start;
        let mut cells = Vec::with_capacity(text.len());
        let mut marked = None;
        let mut marked_end = 0;
        for (offset, c) in text.char_indices() {
            if offset >= start && marked.is_none() {
                marked = Some(cells.len());
            }
            match c {
                _ if hidden.iter().any(|part| part.contains(&offset)) => cells.push('*'),
                '\t' => cells.extend(TAB.chars()),
                c if is_printable(c) => cells.push(c),
                _ => cells.push(char::REPLACEMENT_CHARACTER),
            }
            if offset < end {
                marked_end = cells.len();
            }
        }
        let first = marked.unwrap_or(cells.len());
        Self::windowed(number, &cells, first..marked_end.max(first))
    }

    /// Cuts a long line down to what surrounds the marked part.
    fn windowed(number: usize, cells: &[char], marked: Range<usize>) -> Self {
        if cells.len() <= COLUMNS_MAX {
            let text = cells.iter().collect();
            return Self {
                number,
                text,
                marked,
            };
        }
        const MORE: &str = "...";
        let room = COLUMNS_MAX - 2 * MORE.len();
        let from = marked
            .start
            .saturating_sub(room / 3)
            .min(cells.len() - room);
        let to = from + room;
        let mut text = String::new();
        let mut shift = 0;
        if from > 0 {
            text.push_str(MORE);
            shift = MORE.len();
        }
        text.extend(&cells[from..to]);
        if to < cells.len() {
            text.push_str(MORE);
        }
        let marked = marked.start - from + shift..marked.end.min(to) - from + shift;
        Self {
            number,
            text,
            marked,
        }
    }
}

/// What must not be printed of a line: marked secrets, and anything that looks like one in a
/// file that could not be parsed.
fn hidden_parts(
    sources: &Sources,
    span: Span,
    line: &Range<usize>,
    text: &str,
) -> Vec<Range<usize>> {
    let mut hidden = sources.hidden_in(span.file, line);
    for (at, prefix) in text.match_indices("sha256:") {
        let start = at + prefix.len();
        let digits = text[start..]
            .bytes()
            .take_while(u8::is_ascii_hexdigit)
            .count();
        hidden.push(start..start + digits);
    }
    if let Some(start) = text.find("redis://").or_else(|| text.find("rediss://"))
        && let Some(end) = text.rfind('@').filter(|end| *end > start)
    {
        hidden.push(start..end);
    }
    if hidden.is_empty() {
        let lower = text.to_ascii_lowercase();
        for key in CREDENTIALS.into_iter().chain(["api_keys", "secret"]) {
            let at = lower.find(key);
            if let Some(equals) = at.and_then(|at| Some(at + text[at..].find('=')?)) {
                hidden.push(equals + 1..text.len());
            }
        }
        for key in ["hash", "users", "password", "pem"] {
            let ends = lower.match_indices(key).map(|(at, key)| at + key.len());
            let equals = ends.filter_map(|end| {
                let rest = &text[end..];
                let blanks = rest.len() - rest.trim_start().len();
                rest[blanks..].starts_with('=').then_some(end + blanks)
            });
            hidden.extend(equals.map(|equals| equals + 1..text.len()));
        }
    }
    hidden
}

fn is_printable(c: char) -> bool {
    // Bidirectional controls would let a file rearrange its own excerpt.
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_printable(c) {
                c
            } else {
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect()
}

/// A finding as machines get it.
#[derive(Debug, Serialize)]
struct Record<'a> {
    severity: &'static str,
    code: &'static str,
    message: &'a str,
    #[serde(flatten)]
    place: Option<Place>,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related: Vec<RelatedRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct RelatedRecord<'a> {
    message: &'a str,
    #[serde(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
struct Place {
    file: String,
    line: usize,
    column: usize,
    /// Byte offsets in the file.
    start: u32,
    end: u32,
}

impl Place {
    fn of(sources: &Sources, span: Span) -> Self {
        let position = sources.position(span);
        Self {
            file: sources.path(span.file).to_string_lossy().into_owned(),
            line: position.line,
            column: position.column,
            start: span.start,
            end: span.end,
        }
    }
}

/// Findings as a JSON array of objects with `severity`, `code`, `message`, `file`, `line`,
/// `column`, `start`, `end` (byte offsets), and where there are any `label`, `help`, `related`.
#[must_use]
pub fn to_json(diagnostics: &[Diagnostic], sources: &Sources) -> serde_json::Value {
    let records: Vec<Record<'_>> = diagnostics
        .iter()
        .map(|diagnostic| Record {
            severity: diagnostic.severity.as_str(),
            code: diagnostic.code,
            message: &diagnostic.message,
            place: diagnostic.span.map(|span| Place::of(sources, span)),
            label: &diagnostic.label,
            help: diagnostic.help.as_deref(),
            related: diagnostic
                .related
                .iter()
                .map(|related| RelatedRecord {
                    message: &related.message,
                    place: Place::of(sources, related.span),
                })
                .collect(),
        })
        .collect();
    serde_json::to_value(records).unwrap_or(serde_json::Value::Null)
}
