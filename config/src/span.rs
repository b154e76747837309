//! Where a value was written: a file and a byte range in it, and the texts those ranges point
//! into. A [`Span`] is only meaningful together with the [`Sources`] of the same load.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One loaded file, by its place in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(crate) u16);

/// A byte range in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file that the range points into.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte; never less than `start`.
    pub end: u32,
}

impl Span {
    /// A span from a byte range; ranges beyond 4 GiB saturate (files are capped far below).
    #[must_use]
    pub fn new(file: FileId, range: Range<usize>) -> Self {
        let start = u32::try_from(range.start).unwrap_or(u32::MAX);
        let end = u32::try_from(range.end).unwrap_or(u32::MAX);
        Self {
            file,
            start,
            end: end.max(start),
        }
    }

    /// The byte range inside the file.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The part of this span at `range`, given relative to its start and clamped to it.
    #[must_use]
    pub fn slice(self, range: Range<usize>) -> Self {
        let at = |offset: usize| {
            self.start
                .saturating_add(u32::try_from(offset).unwrap_or(u32::MAX))
                .min(self.end)
        };
        let (start, end) = (at(range.start), at(range.end));
        Self {
            file: self.file,
            start,
            end: end.max(start),
        }
    }
}

/// A value together with the place it was written at.
///
/// Two of them are equal when their values are: a reload that only moves lines changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Ties a value to its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned {
            value: change(self.value),
            span: self.span,
        }
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A place as people say it: both numbers count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line in the file.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    text: Arc<str>,
    line_starts: Vec<u32>,
}

/// The texts of one load, in the order they were read. The first is the main file.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    secrets: Vec<Span>,
}

impl Sources {
    /// Keeps a file's text. `None` when there are more files than ids (65,535).
    pub(crate) fn add(&mut self, path: PathBuf, text: Arc<str>) -> Option<FileId> {
        let id = u16::try_from(self.files.len()).ok()?;
        let breaks = line_starts(&text);
        self.files.push(Source {
            path,
            text,
            line_starts: breaks,
        });
        Some(FileId(id))
    }

    /// Marks a range whose text must not be printed.
    pub(crate) fn hide(&mut self, span: Span) {
        self.secrets.push(span);
    }

    /// The ids of all files, main file first.
    pub fn ids(&self) -> impl Iterator<Item = FileId> + '_ {
        (0..self.files.len()).filter_map(|index| u16::try_from(index).ok().map(FileId))
    }

    /// The path a file was read from, as it was given or found.
    #[must_use]
    pub fn path(&self, file: FileId) -> &Path {
        self.files
            .get(usize::from(file.0))
            .map_or(Path::new("?"), |source| source.path.as_path())
    }

    /// The whole text of a file.
    #[must_use]
    pub fn text(&self, file: FileId) -> &str {
        self.files
            .get(usize::from(file.0))
            .map_or("", |source| &*source.text)
    }

    /// The text of a span, as written; empty when the span is not of these sources.
    #[must_use]
    pub fn snippet(&self, span: Span) -> &str {
        self.text(span.file).get(span.range()).unwrap_or("")
    }

    /// Line and column of a span's first byte.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let (line, range) = self.line_at(span.file, span.start as usize);
        let before = self
            .text(span.file)
            .get(range.start..(span.start as usize).clamp(range.start, range.end))
            .unwrap_or("");
        Position {
            line,
            column: before.chars().count() + 1,
        }
    }

    /// The number (from 1) and byte range, without its line end, of the line at `offset`.
    pub(crate) fn line_at(&self, file: FileId, offset: usize) -> (usize, Range<usize>) {
        let Some(source) = self.files.get(usize::from(file.0)) else {
            return (1, 0..0);
        };
        let offset = u32::try_from(offset.min(source.text.len())).unwrap_or(u32::MAX);
        let line = source.line_starts.partition_point(|&start| start <= offset);
        let start = source.line_starts[line.saturating_sub(1)] as usize;
        let end = source
            .line_starts
            .get(line)
            .map_or(source.text.len(), |&next| next as usize);
        let trimmed = source.text[start..end].trim_end_matches(['\n', '\r']);
        (line, start..start + trimmed.len())
    }

    /// The parts of a line range that must not be printed, relative to the line's start.
    pub(crate) fn hidden_in(&self, file: FileId, line: &Range<usize>) -> Vec<Range<usize>> {
        self.secrets
            .iter()
            .filter(|secret| secret.file == file)
            .map(|secret| secret.range())
            .filter(|secret| secret.start < line.end && secret.end > line.start)
            .map(|secret| {
                secret.start.max(line.start) - line.start..secret.end.min(line.end) - line.start
            })
            .collect()
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    let mut starts = vec![0];
    starts.extend(
        text.bytes()
            .enumerate()
            .filter(|&(_, byte)| byte == b'\n')
            .filter_map(|(index, _)| u32::try_from(index + 1).ok()),
    );
    starts
}
