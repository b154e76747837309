//! The fields of a head: a block of bytes and a table of offsets.
//!
//! Every span lies either in the block that the head was received in or in `extra`, which holds
//! what was written since. Names and values never hold CR, LF or NUL, so writing them out
//! cannot make a new line.

mod line;
mod span;

use crate::block::Block;
use crate::http::known::{Known, KnownSet};
use crate::http::limits::{EXTRA_KEPT_MAX, EXTRA_MAX, FIELDS_MAX};
use crate::http::text::token_tag;
use line::check;
pub use line::{FieldLine, InvalidField};
pub(crate) use line::{put_line, put_named};
pub use span::Span;

/// One field line of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name; an empty span stands for the name of `known`.
    name: Span,
    value: Span,
    known: Known,
    line: Line,
}

/// How a field's line is written where its value is, and whether it still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// `name: value CRLF` to the byte: it can be copied as it stands.
    Exact,
    /// It has to be written from its parts.
    Parts,
    /// Removed.
    Dead,
}

impl Field {
    /// Which field it is.
    #[inline]
    pub const fn known(&self) -> Known {
        self.known
    }

    /// The value of a parsed field, given the memory of the block it was parsed from.
    pub(crate) fn value_in<'a>(&self, memory: &'a [u8]) -> &'a [u8] {
        self.value.of(memory)
    }
}

/// The fields of one head, in the order they came.
///
/// Cleared between messages, never rebuilt: the table and the extra bytes keep their capacity.
pub struct Fields {
    text: Block,
    extra: Vec<u8>,
    table: Vec<Field>,
    /// The known fields that have a live line.
    present: KnownSet,
    /// By known field, for those in `present` alone: the index of its first live line.
    first: [u16; Known::COUNT],
    /// The tags of all other fields that are or were here.
    others: Tags,
}

/// A set of the tags that names have: a name whose tag is not in it is not there, and the table
/// need not be searched.
#[derive(Clone, Copy, Default)]
struct Tags([u64; 4]);

impl Tags {
    #[inline]
    fn insert(&mut self, tag: u8) {
        self.0[usize::from(tag >> 6)] |= 1 << (tag & 63);
    }

    #[inline]
    fn contains(&self, tag: u8) -> bool {
        self.0[usize::from(tag >> 6)] & 1 << (tag & 63) != 0
    }
}

impl Fields {
    /// Forgets every field and the text.
    pub fn clear(&mut self) {
        self.text = Block::empty();
        self.extra.clear();
        if self.extra.capacity() > EXTRA_KEPT_MAX {
            self.extra.shrink_to(EXTRA_KEPT_MAX);
        }
        self.table.clear();
        self.present = KnownSet::default();
        self.others = Tags::default();
    }

    /// The live fields as (name as spelled, value), in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.live()
            .map(|field| (self.name_of(field), self.text_of(field.value)))
    }

    /// How many live fields there are.
    pub fn len(&self) -> usize {
        self.live().count()
    }

    /// Whether there is no live field.
    pub fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// The value of the first field of this kind; no search.
    #[inline]
    pub fn value(&self, known: Known) -> Option<&[u8]> {
        let field = self.table.get(self.first_of(known)?)?;
        Some(self.text_of(field.value))
    }

    /// Whether there is a field of this kind.
    #[inline]
    pub fn has(&self, known: Known) -> bool {
        self.present.contains(known)
    }

    /// The values of all fields of this kind, in order.
    pub fn values(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let from = match self.first_of(known) {
            Some(first) => &self.table[first..],
            None => &[],
        };
        from.iter()
            .filter(move |field| field.known == known && field.line != Line::Dead)
            .map(|field| self.text_of(field.value))
    }

    /// The value of the first field called `name`, in any case.
    pub fn value_of(&self, name: &str) -> Option<&[u8]> {
        match Known::of(name.as_bytes()) {
            Known::Other => self.values_of(name).next(),
            known => self.value(known),
        }
    }

    /// The values of all fields called `name`, in any case and in order.
    pub fn values_of(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let known = Known::of(name.as_bytes());
        self.live()
            .filter(move |field| {
                field.known == known
                    && (known != Known::Other
                        || self.name_of(field).eq_ignore_ascii_case(name.as_bytes()))
            })
            .map(|field| self.text_of(field.value))
    }

    /// Replaces every field called `name` by one with this value.
    pub fn set(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        check(name.as_bytes(), value)?;
        self.remove(name);
        self.append(name, value)
    }

    /// Adds a field behind those there are.
    pub fn add(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        check(name.as_bytes(), value)?;
        self.append(name, value)
    }

    /// Replaces every field of the line's name by this line.
    pub fn set_line(&mut self, line: &FieldLine) -> Result<(), InvalidField> {
        match line.known {
            Known::Other if self.others.contains(line.tag) => {
                self.remove_other(line.name().as_bytes());
            }
            Known::Other => {}
            known => self.remove_known(known),
        }
        self.add_line(line)
    }

    /// Adds a line behind those there are.
    pub fn add_line(&mut self, line: &FieldLine) -> Result<(), InvalidField> {
        if self.table.len() >= FIELDS_MAX {
            return Err(InvalidField::Full);
        }
        let text = self.keep(line.text.as_bytes()).ok_or(InvalidField::Full)?;
        let (name, value) = line.spans(text);
        if line.known == Known::Other {
            self.others.insert(line.tag);
        }
        self.push(Field {
            name,
            value,
            known: line.known,
            line: Line::Exact,
        });
        Ok(())
    }

    /// Removes every field called `name`, in any case.
    pub fn remove(&mut self, name: &str) {
        match Known::of(name.as_bytes()) {
            Known::Other if self.others.contains(token_tag(name.as_bytes())) => {
                self.remove_other(name.as_bytes());
            }
            Known::Other => {}
            known => self.remove_known(known),
        }
    }

    /// Removes every field of this kind.
    pub fn remove_known(&mut self, known: Known) {
        if let Some(first) = self.first_of(known) {
            self.present.remove(known);
            for field in &mut self.table[first..] {
                if field.known == known {
                    field.line = Line::Dead;
                }
            }
        }
    }

    /// Gives the head the block that it was parsed from.
    pub fn put_text(&mut self, text: Block) {
        self.text = text;
    }

    /// Takes the block out, to send what lies behind the head from the same memory. Until it is
    /// put back, everything that was parsed reads as empty.
    pub fn take_text(&mut self) -> Block {
        std::mem::take(&mut self.text)
    }

    /// The block that the head was parsed from.
    pub fn text(&self) -> &Block {
        &self.text
    }

    /// The bytes of a span of this head.
    #[inline]
    pub fn text_of(&self, span: Span) -> &[u8] {
        let (from, at) = if span.at & Span::IN_EXTRA == 0 {
            (self.text.memory(), span.at as usize)
        } else {
            (&self.extra[..], (span.at & !Span::IN_EXTRA) as usize)
        };
        from.get(at..at + span.len as usize).unwrap_or_default()
    }

    /// Writes bytes that no field holds (a new path, a host); `None` when the head is full.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Option<Span> {
        let at = self.extra.len();
        if at + bytes.len() > EXTRA_MAX {
            return None;
        }
        self.extra.extend_from_slice(bytes);
        Some(Span::in_extra(at, bytes.len()))
    }

    /// Adds a field found by the parser, `name` being the bytes of the span beside it. `line` is
    /// [`Line::Exact`] only if the bytes say so.
    #[inline]
    pub(crate) fn push_parsed(
        &mut self,
        (name, name_span): (&[u8], Span),
        value: Span,
        known: Known,
        line: Line,
    ) {
        if known == Known::Other {
            self.others.insert(token_tag(name));
        }
        self.push(Field {
            name: name_span,
            value,
            known,
            line,
        });
    }

    /// Removes the fields called `name` while the head does not have its block yet.
    pub(crate) fn remove_parsed(&mut self, name: &[u8], memory: &[u8]) {
        match Known::of(name) {
            Known::Other => {
                for field in &mut self.table {
                    if field.known == Known::Other
                        && field.name.of(memory).eq_ignore_ascii_case(name)
                    {
                        field.line = Line::Dead;
                    }
                }
            }
            known => self.remove_known(known),
        }
    }

    /// The table with dead lines.
    pub(crate) fn table(&self) -> &[Field] {
        &self.table
    }

    #[inline]
    pub(crate) fn reserve(&mut self, fields: usize) {
        self.table.reserve(fields);
    }

    fn append(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidField> {
        if self.table.len() >= FIELDS_MAX {
            return Err(InvalidField::Full);
        }
        let known = Known::of(name.as_bytes());
        let name = match known {
            Known::Other => {
                self.others.insert(token_tag(name.as_bytes()));
                self.keep(name.as_bytes()).ok_or(InvalidField::Full)?
            }
            _ => Span::default(),
        };
        let value = self.keep(value).ok_or(InvalidField::Full)?;
        self.push(Field {
            name,
            value,
            known,
            line: Line::Parts,
        });
        Ok(())
    }

    #[inline]
    fn push(&mut self, field: Field) {
        if field.line != Line::Dead
            && !self.present.contains(field.known)
            && let Some(first) = self.first.get_mut(field.known as usize)
        {
            *first = self.table.len() as u16;
            self.present.insert(field.known);
        }
        self.table.push(field);
    }

    #[inline]
    fn first_of(&self, known: Known) -> Option<usize> {
        match self.present.contains(known) {
            true => self
                .first
                .get(known as usize)
                .map(|&first| usize::from(first)),
            false => None,
        }
    }

    fn remove_other(&mut self, name: &[u8]) {
        for i in 0..self.table.len() {
            let field = self.table[i];
            if field.known == Known::Other && self.name_of(&field).eq_ignore_ascii_case(name) {
                self.table[i].line = Line::Dead;
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &Field> {
        self.table.iter().filter(|field| field.line != Line::Dead)
    }

    #[inline]
    pub(crate) fn name_of(&self, field: &Field) -> &[u8] {
        if field.name.is_empty() {
            field.known.name().as_bytes()
        } else {
            self.text_of(field.name)
        }
    }

    /// Appends the live lines that are not in `skip` to `out`, each with its CRLF. Neighbours
    /// that stand in the block as they must be written are copied in one piece.
    pub(crate) fn write(&self, skip: KnownSet, out: &mut Vec<u8>) {
        // Spans of lines that follow each other, both in the block or both in `extra`.
        let mut run = Span::default();
        for field in &self.table {
            if field.line == Line::Dead || skip.contains(field.known) {
                continue;
            }
            if field.line == Line::Parts {
                self.write_run(&mut run, out);
                put_line(self.name_of(field), self.text_of(field.value), out);
                continue;
            }
            if field.name.at != run.at + run.len {
                self.write_run(&mut run, out);
                run.at = field.name.at;
            }
            run.len = field.value.at + field.value.len + CRLF_LEN - run.at;
        }
        self.write_run(&mut run, out);
    }

    #[inline]
    fn write_run(&self, run: &mut Span, out: &mut Vec<u8>) {
        if !run.is_empty() {
            out.extend_from_slice(self.text_of(*run));
        }
        *run = Span::default();
    }
}

const CRLF_LEN: u32 = 2;

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            text: Block::empty(),
            extra: Vec::new(),
            table: Vec::new(),
            present: KnownSet::default(),
            first: [0; Known::COUNT],
            others: Tags::default(),
        }
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| {
                (
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(value),
                )
            }))
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
