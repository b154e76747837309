//! Lines that are written: checked ones, and the writing itself.

use super::Span;
use crate::http::known::Known;
use crate::http::text::{is_token, is_value, token_tag};

/// A field line that was checked when it was made, for heads that get it again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLine {
    /// `name: value CRLF`
    pub(super) text: Box<str>,
    name_len: usize,
    pub(super) known: Known,
    /// Of the name.
    pub(super) tag: u8,
}

impl FieldLine {
    /// The line of a field.
    ///
    /// # Errors
    /// When the name is not a token or the value holds a control character.
    pub fn new(name: &str, value: &str) -> Result<FieldLine, InvalidField> {
        check(name.as_bytes(), value.as_bytes())?;
        let known = Known::of(name.as_bytes());
        let name = match known {
            Known::Other => name,
            known => known.name(),
        };
        Ok(FieldLine {
            text: [name, ": ", value, "\r\n"].concat().into(),
            name_len: name.len(),
            known,
            tag: token_tag(name.as_bytes()),
        })
    }

    /// The name as it is written: one that is known in lower case, any other as given.
    pub fn name(&self) -> &str {
        &self.text[..self.name_len]
    }

    /// Where name and value stand in a head that holds the text from `line` on.
    pub(super) fn spans(&self, line: Span) -> (Span, Span) {
        let value = self.name_len + ": ".len();
        let value_len = self.text.len() - value - "\r\n".len();
        (line.part(0, self.name_len), line.part(value, value_len))
    }
}

/// Why a field cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidField {
    /// The name is not a token (RFC 9110, 5.6.2).
    Name,
    /// The value holds a control character.
    Value,
    /// The head holds as many fields, or as many written bytes, as it can.
    Full,
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            InvalidField::Name => "the field name is not a token",
            InvalidField::Value => "the field value holds a control character",
            InvalidField::Full => "the head holds too many fields",
        })
    }
}

impl std::error::Error for InvalidField {}

/// Appends one field line.
pub(crate) fn put_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(is_token(name) && is_value(value));
    out.extend_from_slice(name);
    put_named(b": ", value, out);
}

/// Appends one field line, given its name with colon and space.
#[inline]
pub(crate) fn put_named<const N: usize>(name: &[u8; N], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(name.ends_with(b": ") && is_value(value));
    // As long as the compiler knows, so it becomes a store or two.
    out.extend_from_slice(name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn check(name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
    if !is_token(name) {
        return Err(InvalidField::Name);
    }
    if !is_value(value) {
        return Err(InvalidField::Value);
    }
    Ok(())
}
