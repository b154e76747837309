//! A load in progress: it takes values out of a parsed file, expands references, and collects
//! every finding instead of stopping at the first.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned as TomlSpanned;
use toml::de::DeValue;

use super::expand::{Resolved, Text, has_reference};
use super::table::{Item, Table};
use crate::diagnostic::{Diagnostic, Severity};
use crate::keys::{Kind, Section, Stage, Word};
use crate::leaf::{self, Fault};
use crate::model::{Cap, Name};
use crate::nearest::nearest;
use crate::pattern::{PatternCheck, PatternFault};
use crate::references::References;
use crate::span::{FileId, Sources, Span, Spanned};
use crate::units;

pub(crate) struct Reader<'a> {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    pub checks: &'a dyn PatternCheck,
    pub(super) references: &'a dyn References,
    /// What references stand for, by the file that has them and as written there.
    pub(super) known: HashMap<(FileId, String), Resolved>,
    /// Files that references name.
    pub named: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub fn new(references: &'a dyn References, checks: &'a dyn PatternCheck) -> Self {
        Self {
            sources: Sources::default(),
            diagnostics: Vec::new(),
            checks,
            references,
            known: HashMap::new(),
            named: Vec::new(),
        }
    }

    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Opens a table: every key that its section does not know is reported, and so is every key
    /// that this build does not act on.
    pub fn open<'t>(&mut self, item: &Item<'t>, section: &'static Section) -> Option<Table<'t>> {
        let DeValue::Table(entries) = item.value.get_ref() else {
            self.wrong_type(item);
            return None;
        };
        let table = Table {
            file: item.file,
            span: item.span(),
            section,
            entries,
        };
        self.check_keys(&table);
        Some(table)
    }

    pub fn check_keys(&mut self, table: &Table<'_>) {
        for (key, _) in table.entries {
            let span = Span::new(table.file, key.span());
            match table.section.key(key.get_ref()) {
                None => self.unknown_key(table.section, key.get_ref(), span),
                Some(known) if known.stage == Stage::Later => {
                    let what = format!("`{}` in {}", known.name, table.section.title);
                    self.unsupported(&what, span);
                }
                Some(_) => {}
            }
        }
    }

    fn unknown_key(&mut self, section: &'static Section, written: &str, span: Span) {
        let known = section.keys.iter().map(|key| key.name);
        let longer: Vec<String> = known
            .clone()
            .filter(|name| written.len() >= 4 && name.contains(written))
            .map(|name| format!("`{name}`"))
            .collect();
        let help = match (
            nearest(written, known.clone()),
            super::misplaced(written, section),
        ) {
            _ if longer.len() > 1 => format!("did you mean one of {}?", longer.join(", ")),
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(misplaced)) => misplaced,
            (None, None) => {
                let known: Vec<String> = known.map(|name| format!("`{name}`")).collect();
                format!("known keys: {}", known.join(", "))
            }
        };
        let written = quote(written);
        self.report(
            Diagnostic::error(
                "unknown-key",
                format!("unknown key {written} in {}", section.title),
                span,
            )
            .label("unknown key")
            .help(help),
        );
    }

    pub fn unsupported(&mut self, what: &str, span: Span) {
        self.report(
            Diagnostic::new(
                Severity::Unsupported,
                "not-supported-yet",
                format!("{what} is not supported yet"),
                span,
            )
            .label("checked, but this build does not act on it")
            .help("`ringgate run` refuses this file until it is removed"),
        );
    }

    pub fn wrong_type(&mut self, item: &Item<'_>) {
        let found = match item.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let mut out = Diagnostic::error(
            "wrong-type",
            format!("{} cannot be {found}", quote(item.name)),
            item.span(),
        )
        .label(format!("expected {}", item.kind.describe()));
        if let Some(fix) = super::table::type_fix(item) {
            out = out.help(fix);
        }
        self.report(out);
    }

    /// A value that its parser refused.
    pub fn refuse(&mut self, item: &Item<'_>, text: &Text, fault: Fault) {
        self.refuse_at(text, fault, item.span());
    }

    fn refuse_at(&mut self, text: &Text, fault: Fault, span: Span) {
        let message = format!("invalid {} {}", fault.what, quote(text.shown()));
        let expected = format!("expected {}", fault.expected);
        let diagnostic = Diagnostic::error("invalid-value", message, span);
        let diagnostic = if text.is_expanded() {
            diagnostic
                .label(format!("{} is not a valid {}", text.whose(), fault.what))
                .help(expected)
        } else {
            diagnostic
                .label(fault.label)
                .help(fault.help.unwrap_or(expected))
        };
        self.report(diagnostic);
    }

    /// Reads a text that must not be shown, whatever is wrong with it.
    pub fn hidden<T>(
        &mut self,
        item: &Item<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        // Hidden before it is looked at: somebody may have pasted the secret itself.
        self.sources.hide(item.span());
        let text = self.text(item)?;
        match parse(&text.value.value) {
            Ok(value) => Some(Spanned::new(value, item.span())),
            Err(fault) => {
                let expected = format!("expected {}", fault.expected);
                let message = format!("invalid {}", fault.what);
                self.report(
                    Diagnostic::error("invalid-value", message, item.span())
                        .label(fault.label)
                        .help(expected),
                );
                None
            }
        }
    }

    /// A name that stands as a key, such as a header's.
    pub fn refuse_key(&mut self, written: &str, fault: Fault, span: Span) {
        let text = Text {
            value: Box::from(written),
            written: None,
        };
        self.refuse_at(&text, fault, span);
    }

    /// A text that the pattern check refused.
    pub fn refuse_pattern(
        &mut self,
        what: &str,
        text: &Spanned<Text>,
        fault: PatternFault,
    ) -> Option<&mut Diagnostic> {
        let message = format!("invalid {what} {}", quote(text.shown()));
        let diagnostic = if text.is_expanded() {
            Diagnostic::error("invalid-pattern", message, text.span)
                .label(format!("{} is not a valid {what}", text.value.whose()))
        } else {
            let span = self.part_of(text.span, &text.value.value, fault.range);
            let out = Diagnostic::error("invalid-pattern", message, span).label(fault.message);
            match fault.help {
                Some(help) => out.help(help),
                None => out,
            }
        };
        self.report(diagnostic);
        self.diagnostics.last_mut()
    }

    /// The place of `range` of a string value, or all of it when escapes hide where that is.
    pub fn part_of(&self, span: Span, value: &str, range: std::ops::Range<usize>) -> Span {
        let snippet = self.sources.snippet(span);
        let inner = snippet.get(1..snippet.len().saturating_sub(1));
        if inner != Some(value) || range.end > value.len() || range.start >= range.end {
            return span;
        }
        span.slice(range.start + 1..range.end + 1)
    }

    pub fn text(&mut self, item: &Item<'_>) -> Option<Spanned<Text>> {
        let DeValue::String(raw) = item.value.get_ref() else {
            self.wrong_type(item);
            return None;
        };
        let text = self.expand(raw, item.span())?;
        Some(Spanned::new(text, item.span()))
    }

    /// Reads a text and gives it to a parser.
    pub fn parsed<T>(
        &mut self,
        item: &Item<'_>,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        let text = self.text(item)?;
        match parse(&text.value.value) {
            Ok(value) => Some(Spanned::new(value, item.span())),
            Err(fault) => {
                self.refuse(item, &text.value, fault);
                None
            }
        }
    }

    pub fn name(&mut self, item: &Item<'_>) -> Option<Spanned<Name>> {
        self.parsed(item, leaf::name)
    }

    pub fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        match item.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            DeValue::String(raw) if has_reference(raw) => {
                let text = self.expand(raw, item.span())?;
                let parsed = text.value.parse().ok();
                if parsed.is_none() {
                    self.bad_expansion(item, &text);
                }
                parsed
            }
            _ => {
                self.wrong_type(item);
                None
            }
        }
    }

    pub fn integer(&mut self, item: &Item<'_>, min: i64, max: i64) -> Option<i64> {
        let value = match item.value.get_ref() {
            DeValue::Integer(digits) => {
                i64::from_str_radix(digits.as_str(), digits.radix()).unwrap_or(i64::MAX)
            }
            DeValue::String(raw) if has_reference(raw) => {
                let text = self.expand(raw, item.span())?;
                match text.value.trim().parse::<i64>() {
                    Ok(value) if (min..=max).contains(&value) => value,
                    _ => {
                        self.bad_expansion(item, &text);
                        return None;
                    }
                }
            }
            _ => {
                self.wrong_type(item);
                return None;
            }
        };
        if !(min..=max).contains(&value) {
            self.out_of_range(item, &format!("from {min} to {max}"));
            return None;
        }
        Some(value)
    }

    pub fn ratio(&mut self, item: &Item<'_>, min: f64, max: f64) -> Option<f64> {
        let value = match item.value.get_ref() {
            DeValue::Float(text) => text.as_str().parse::<f64>().unwrap_or(f64::NAN),
            DeValue::Integer(digits) => digits.as_str().parse::<f64>().unwrap_or(f64::NAN),
            _ => {
                self.wrong_type(item);
                return None;
            }
        };
        if !(min..=max).contains(&value) {
            self.out_of_range(item, &format!("from {min} to {max}"));
            return None;
        }
        Some(value)
    }

    fn bad_expansion(&mut self, item: &Item<'_>, text: &Text) {
        self.report(
            Diagnostic::error(
                "invalid-value",
                format!(
                    "invalid value {} for {}",
                    quote(text.shown()),
                    quote(item.name)
                ),
                item.span(),
            )
            .label(format!("{} does not fit here", text.whose()))
            .help(format!("expected {}", item.kind.describe())),
        );
    }

    fn out_of_range(&mut self, item: &Item<'_>, range: &str) {
        self.report(
            Diagnostic::error(
                "out-of-range",
                format!("{} is out of range", quote(item.name)),
                item.span(),
            )
            .label(format!("must be {range}")),
        );
    }

    /// A duration within the bounds of the item's kind.
    pub fn duration(&mut self, item: &Item<'_>) -> Option<Duration> {
        let found = self.parsed(item, |text| {
            units::duration(text).map_err(|fault| {
                let expected =
                    "a whole number and `ms`, `s`, `m`, `h` or `d`, such as \"250ms\" or \"30s\"";
                leaf::quantity_fault("duration", expected, fault)
            })
        })?;
        if let Some((min, max)) = super::table::duration_bounds(item.kind) {
            let bounds = (units::duration(min).ok()?, units::duration(max).ok()?);
            if found.value < bounds.0 || found.value > bounds.1 {
                self.out_of_range(item, &format!("from \"{min}\" to \"{max}\""));
                return None;
            }
        }
        Some(found.value)
    }

    /// A size in bytes within the bounds of the item's kind.
    pub fn size(&mut self, item: &Item<'_>) -> Option<u64> {
        let found = self.parsed(item, |text| {
            units::size(text).map_err(|fault| {
                let expected = "a whole number and `B`, `KiB`, `MiB` or `GiB`, such as \"16KiB\"";
                leaf::quantity_fault("size", expected, fault)
            })
        })?;
        if let Some((min, max)) = super::table::size_bounds(item.kind) {
            let bounds = (units::size(min).ok()?, units::size(max).ok()?);
            if found.value < bounds.0 || found.value > bounds.1 {
                self.out_of_range(item, &format!("from \"{min}\" to \"{max}\""));
                return None;
            }
        }
        Some(found.value)
    }

    /// `"off"`, or what `read` makes of it.
    pub fn cap<T>(
        &mut self,
        item: &Item<'_>,
        read: impl FnOnce(&mut Self, &Item<'_>) -> Option<T>,
    ) -> Option<Cap<T>> {
        if self.is_off(item) {
            return Some(Cap::Off);
        }
        read(self, item).map(Cap::At)
    }

    fn is_off(&mut self, item: &Item<'_>) -> bool {
        let Some(raw) = item.value.get_ref().as_str() else {
            return false;
        };
        // Faults of the reference are reported by whoever reads the value next.
        let reported = self.diagnostics.len();
        let text = self.expand(raw, item.span());
        self.diagnostics.truncate(reported);
        text.is_some_and(|text| *text.value == *"off")
    }

    pub fn word<T: Word>(&mut self, item: &Item<'_>) -> Option<Spanned<T>> {
        let text = self.text(item)?;
        let index = self.choice(item, &text, T::WORDS)?;
        Some(Spanned::new(T::VALUES[index], item.span()))
    }

    /// Which of `words` a text is.
    pub fn choice(
        &mut self,
        item: &Item<'_>,
        text: &Spanned<Text>,
        words: &[&str],
    ) -> Option<usize> {
        let index = words.iter().position(|word| **word == *text.value.value);
        if index.is_none() {
            let expected = format!("expected {}", crate::keys::words_or(words));
            let near = match text.is_expanded() {
                true => None,
                false => nearest(&text.value.value, words.iter().copied()),
            };
            let message = format!("unknown value {} for `{}`", quote(text.shown()), item.name);
            let out = Diagnostic::error("invalid-value", message, item.span()).label(expected);
            self.report(match near {
                Some(near) => out.help(format!("did you mean \"{near}\"?")),
                None => out,
            });
        }
        index
    }

    /// The entries of a list, each as an item of the list's inner kind.
    pub fn list<'t>(&mut self, item: &Item<'t>) -> Option<Vec<Item<'t>>> {
        let inner = match super::table::part(item.kind, |kind| matches!(kind, Kind::List(_))) {
            Some(Kind::List(inner)) => inner,
            _ => item.kind,
        };
        let DeValue::Array(values) = item.value.get_ref() else {
            self.wrong_type(item);
            return None;
        };
        let entry = |value| Item {
            value,
            kind: inner,
            ..*item
        };
        Some(values.iter().map(entry).collect())
    }
}

const QUOTED_MAX: usize = 60; // longer texts would push what matters off the line

/// A text from a file between backticks: escaped, and cut when it is long.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == QUOTED_MAX {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            c => out.extend(c.escape_debug()),
        }
    }
    out.push('`');
    out
}

/// The span of a parsed value.
pub(crate) fn span_of<T>(file: FileId, value: &TomlSpanned<T>) -> Span {
    Span::new(file, value.span())
}
