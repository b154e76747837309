//! A table of a parsed file beside the [`Section`] that says what may stand in it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::expand::{Text, has_reference};
use super::reader::{Reader, quote, span_of};
use crate::diagnostic::Diagnostic;
use crate::keys::{Kind, Section, Word};
use crate::leaf::{self, Fault};
use crate::model::Cap;
use crate::span::{FileId, Span, Spanned};

/// An opened table.
#[derive(Clone, Copy)]
pub(crate) struct Table<'t> {
    pub file: FileId,
    pub span: Span,
    pub section: &'static Section,
    pub entries: &'t DeTable<'t>,
}

/// A value with what is known about it before it is read.
#[derive(Clone, Copy)]
pub(crate) struct Item<'t> {
    pub file: FileId,
    /// The key it stands under.
    pub name: &'t str,
    pub kind: &'static Kind,
    pub value: &'t TomlSpanned<DeValue<'t>>,
}

impl Item<'_> {
    pub fn span(&self) -> Span {
        span_of(self.file, self.value)
    }

    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Whether the value is a string that refers to the environment.
    pub fn is_reference(&self) -> bool {
        self.value.get_ref().as_str().is_some_and(has_reference)
    }
}

impl<'t> Table<'t> {
    /// The value of a key of the section, if it is written.
    pub fn item(&self, key: &'static str) -> Option<Item<'t>> {
        let kind = match self.section.key(key) {
            Some(known) => &known.kind,
            None => {
                debug_assert!(false, "{key} is not a key of {}", self.section.title);
                return None;
            }
        };
        self.entries.get(key).map(|value| Item {
            file: self.file,
            name: key,
            kind,
            value,
        })
    }

    /// The value of a key that must be written; its absence is reported.
    pub fn required(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Item<'t>> {
        let item = self.item(key);
        if item.is_none() {
            let kind = self.section.key(key).map(|known| known.kind.describe());
            r.report(
                Diagnostic::error(
                    "missing-key",
                    format!("{} has no `{key}`", self.section.title),
                    self.span,
                )
                .label(format!("`{key}` is missing"))
                .help(format!("add `{key}`: {}", kind.unwrap_or_default())),
            );
        }
        item
    }

    /// Where a key is written, or the whole table when it is not.
    pub fn span_of(&self, key: &'static str) -> Span {
        self.item(key).map_or(self.span, |item| item.span())
    }

    /// Where a key itself stands, if it is written.
    pub fn key_span(&self, key: &'static str) -> Option<Span> {
        debug_assert!(self.section.key(key).is_some(), "{key} is no key");
        let entry = self.entries.get_key_value(key);
        entry.map(|(key, _)| span_of(self.file, key))
    }

    pub fn duration(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Duration> {
        r.duration(&self.item(key)?)
    }

    pub fn duration_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> Duration {
        self.duration(r, key)
            .unwrap_or_else(|| self.section.default_duration(key))
    }

    pub fn size(&self, r: &mut Reader<'_>, key: &'static str) -> Option<u64> {
        r.size(&self.item(key)?)
    }

    pub fn size_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> u64 {
        self.size(r, key)
            .unwrap_or_else(|| self.section.default_size(key))
    }

    pub fn duration_cap(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Cap<Duration>> {
        r.cap(&self.item(key)?, Reader::duration)
    }

    pub fn size_cap(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Cap<u64>> {
        r.cap(&self.item(key)?, Reader::size)
    }

    /// An integer within the bounds of the key's kind.
    pub fn integer(&self, r: &mut Reader<'_>, key: &'static str) -> Option<i64> {
        let item = self.item(key)?;
        bounded_integer(r, &item)
    }

    /// A number within the bounds of the key's kind.
    pub fn ratio(&self, r: &mut Reader<'_>, key: &'static str) -> Option<f64> {
        let item = self.item(key)?;
        match item.kind {
            Kind::Ratio { min, max } => r.ratio(&item, *min, *max),
            _ => None,
        }
    }

    pub fn ratio_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> f64 {
        self.ratio(r, key)
            .unwrap_or_else(|| self.section.default_ratio(key))
    }

    pub fn integer_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> i64 {
        self.integer(r, key)
            .unwrap_or_else(|| self.section.default_integer(key))
    }

    pub fn bool_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> bool {
        let item = self.item(key);
        item.and_then(|item| r.boolean(&item))
            .unwrap_or_else(|| self.section.default_bool(key))
    }

    pub fn word_or_default<T: Word>(&self, r: &mut Reader<'_>, key: &'static str) -> T {
        let item = self.item(key);
        item.and_then(|item| r.word(&item))
            .map_or_else(|| self.section.default_word(key), |word| word.value)
    }

    pub fn text(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Spanned<Text>> {
        r.text(&self.item(key)?)
    }

    pub fn parsed<T>(
        &self,
        r: &mut Reader<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        r.parsed(&self.item(key)?, parse)
    }

    /// The path of a file; see [`file_path`].
    pub fn file(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Spanned<PathBuf>> {
        file_path(r, &self.item(key)?)
    }

    /// The entries of a list, none when it is absent.
    pub fn list(&self, r: &mut Reader<'_>, key: &'static str) -> Vec<Item<'t>> {
        let item = self.item(key);
        item.and_then(|item| r.list(&item)).unwrap_or_default()
    }

    /// A table under a key.
    pub fn table(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Table<'t>> {
        let item = self.item(key)?;
        match part(item.kind, |kind| matches!(kind, Kind::Table(_))) {
            Some(Kind::Table(section)) => r.open(&item, section),
            _ => None,
        }
    }

    /// A table under a key, or one in which every key has its default.
    pub fn table_or_empty(
        &self,
        r: &mut Reader<'_>,
        key: &'static str,
        section: &'static Section,
    ) -> Table<'t> {
        self.table(r, key).unwrap_or(Table {
            file: self.file,
            span: self.span,
            section,
            entries: &EMPTY,
        })
    }

    /// The tables under a key that is written `[[key]]`.
    pub fn tables(&self, r: &mut Reader<'_>, key: &'static str) -> Vec<Table<'t>> {
        let Some(item) = self.item(key) else {
            return Vec::new();
        };
        let Kind::Tables(section) = item.kind else {
            debug_assert!(false, "{key} does not hold tables");
            return Vec::new();
        };
        let DeValue::Array(values) = item.value.get_ref() else {
            r.wrong_type(&item);
            return Vec::new();
        };
        let each = values.iter().map(|value| Item { value, ..item });
        each.filter_map(|item| r.open(&item, section)).collect()
    }
}

static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);

/// The path of a file or directory, joined to the directory of the file that names it, so that
/// a configuration can be moved with its files, and means the same wherever it is read from.
pub(crate) fn file_path(r: &mut Reader<'_>, item: &Item<'_>) -> Option<Spanned<PathBuf>> {
    let path = r.parsed(item, leaf::file_path)?;
    let beside = r.sources.path(path.span.file).parent();
    let base = beside.unwrap_or(Path::new(""));
    Some(path.map(|path| base.join(path)))
}

/// Puts an entry in a list where it is not in it yet, else reports that.
pub(crate) fn add_distinct<T: PartialEq + Display>(
    r: &mut Reader<'_>,
    list: &mut Vec<Spanned<T>>,
    entry: Spanned<T>,
    what: &str,
) {
    match list.iter().find(|other| other.value == entry.value) {
        Some(first) => r.report(
            Diagnostic::error(
                "duplicate-entry",
                format!("the {what} {} is listed twice", quote(&entry.to_string())),
                entry.span,
            )
            .label("listed again")
            .help("remove it")
            .related(first.span, "first here"),
        ),
        None => list.push(entry),
    }
}

/// Reports a list that must hold something.
pub(crate) fn no_entries(r: &mut Reader<'_>, list: &Item<'_>, label: &str, help: &str) {
    let message = format!("`{}` is an empty list", list.name);
    r.report(
        Diagnostic::error("empty-list", message, list.span())
            .label(label)
            .help(help),
    );
}

pub(crate) fn entries_of<'t>(
    file: FileId,
    entries: &'t DeTable<'t>,
    kind: &'static Kind,
) -> impl Iterator<Item = (Span, Item<'t>)> + use<'t> {
    entries.iter().map(move |(key, value)| {
        let item = Item {
            file,
            name: key.get_ref().as_ref(),
            kind,
            value,
        };
        (span_of(file, key), item)
    })
}

/// An integer within the bounds of the item's kind.
pub(crate) fn bounded_integer(r: &mut Reader<'_>, item: &Item<'_>) -> Option<i64> {
    match part(item.kind, |kind| matches!(kind, Kind::Integer { .. })) {
        Some(Kind::Integer { min, max }) => r.integer(item, *min, *max),
        _ => {
            debug_assert!(false, "{} is no integer", item.name);
            None
        }
    }
}

/// The kind itself, or the first of its alternatives, that `wanted` holds for.
pub(crate) fn part(kind: &'static Kind, wanted: impl Fn(&Kind) -> bool) -> Option<&'static Kind> {
    match kind {
        Kind::Either(kinds) => kinds.iter().find(|kind| wanted(kind)),
        kind if wanted(kind) => Some(kind),
        _ => None,
    }
}

pub(crate) fn duration_bounds(kind: &'static Kind) -> Option<(&'static str, &'static str)> {
    match part(kind, |kind| matches!(kind, Kind::Duration { .. }))? {
        Kind::Duration { min, max } => Some((min, max)),
        _ => None,
    }
}

pub(crate) fn size_bounds(kind: &'static Kind) -> Option<(&'static str, &'static str)> {
    match part(kind, |kind| matches!(kind, Kind::Size { .. }))? {
        Kind::Size { min, max } => Some((min, max)),
        _ => None,
    }
}

/// How to write a value of the wrong type so that it has the right one, where that is plain.
pub(crate) fn type_fix(item: &Item<'_>) -> Option<String> {
    let wants = |wanted: fn(&Kind) -> bool| part(item.kind, wanted).is_some();
    match item.value.get_ref() {
        DeValue::Integer(number) if wants(|kind| matches!(kind, Kind::Duration { .. })) => {
            Some(format!("write a unit: \"{number}s\""))
        }
        DeValue::Integer(number) if wants(|kind| matches!(kind, Kind::Size { .. })) => {
            Some(format!("write a unit: \"{number}B\""))
        }
        DeValue::String(text) if wants(|kind| matches!(kind, Kind::Integer { .. })) => {
            let bare = text.parse::<i64>().ok()?;
            Some(format!("write it without quotes: {bare}"))
        }
        DeValue::String(text) if wants(|kind| matches!(kind, Kind::Bool)) => {
            let bare = text.parse::<bool>().ok()?;
            Some(format!("write it without quotes: {bare}"))
        }
        DeValue::String(_) if wants(|kind| matches!(kind, Kind::List(_))) => {
            Some("put it in brackets: [\"...\"]".to_owned())
        }
        DeValue::Table(_) if wants(|kind| matches!(kind, Kind::Tables(_))) => Some(format!(
            "write its header with two brackets: [[{}]]",
            item.name
        )),
        DeValue::Array(_) if wants(|kind| matches!(kind, Kind::Table(_))) => {
            Some("write its header with one bracket: there is only one such table".to_owned())
        }
        _ => None,
    }
}
