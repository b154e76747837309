//! The text of a flat head, written from a map of fields: lines of `name: value CRLF`.

use http::HeaderMap;
use http::header::COOKIE;

use crate::block::{Block, BlockClass};
use crate::http::fields::{Fields, Line, Span};
use crate::http::h1::rules::{self, Hop};
use crate::http::h1::{HeadError, HeadLimits};
use crate::http::known::{Known, KnownSet};
use crate::http::text::{every, is_token_byte, is_value_byte, is_word};

/// What to announce as SETTINGS_MAX_HEADER_LIST_SIZE so that a head that these limits allow is
/// never refused by the codec: there each field counts 32 bytes more than it has (RFC 9113,
/// 6.5.2), and cookies may come in pieces.
pub const fn list_size_max(limits: &HeadLimits) -> u32 {
    let size = limits.head_max.saturating_add(2 * 32 * limits.headers_max);
    if size > u32::MAX as usize {
        u32::MAX
    } else {
        size as u32
    }
}

/// How large a list of fields is, written as HTTP/1.1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    /// Bytes of the lines, CRLF included.
    pub(super) bytes: usize,
    /// Lines; the pieces of `cookie` are one.
    pub(super) lines: usize,
}

impl Size {
    pub(super) fn of(fields: &HeaderMap) -> Size {
        let mut size = Size::default();
        let mut crumbs = 0;
        for (name, value) in fields {
            size.bytes += line_len(name.as_str().len(), value.len());
            size.lines += 1;
            crumbs += usize::from(*name == COOKIE);
        }
        size.lines -= crumbs.saturating_sub(1);
        size
    }
}

pub(super) const fn line_len(name: usize, value: usize) -> usize {
    name + ": ".len() + value + "\r\n".len()
}

/// The text as it grows in its block.
pub(super) struct Text {
    block: Block,
}

impl Text {
    /// Room for `len` bytes.
    pub(super) fn with_room(len: usize) -> Text {
        let block = match BlockClass::fitting(len) {
            Some(class) => Block::new(class),
            None => {
                let mut block = Block::from_slice(&vec![0; len]);
                block.clear();
                block
            }
        };
        Text { block }
    }

    /// Appends bytes; the room was made for them.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) -> Span {
        let at = self.block.window().end;
        let put = self.block.append(bytes);
        debug_assert_eq!(put, bytes.len());
        Span::in_block(at, put)
    }

    /// Appends a line; tells where name and value lie.
    #[inline]
    pub(super) fn put_line(&mut self, name: &[u8], value: &[u8]) -> (Span, Span) {
        let name = self.put(name);
        self.put(b": ");
        let value = self.put(value);
        self.put(b"\r\n");
        (name, value)
    }

    pub(super) fn into_block(self) -> Block {
        self.block
    }

    /// Writes the fields that reach the other side, and collects what concerns the hop. `Host`
    /// is the caller's.
    pub(super) fn put_fields(
        &mut self,
        from: &HeaderMap,
        watched: &KnownSet,
        fields: &mut Fields,
    ) -> Result<Hop, HeadError> {
        let mut hop = Hop::default();
        for (name, value) in from {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            check(name, value)?;
            let known = Known::of(name);
            if REFUSED.contains(known) || (known == Known::Te && !is_word(value, "trailers")) {
                return Err(HeadError::HopField);
            }
            if watched.contains(known) && known != Known::Host {
                hop.see(known, value, Span::default())?;
            }
            let stays = !LEFT_OUT.contains(known)
                && (known != Known::Other || !rules::is_alias(name))
                && (known != Known::Cookie || !fields.has(Known::Cookie));
            if stays {
                let (name_span, value_span) = match known {
                    Known::Cookie => self.put_cookies(from),
                    _ => self.put_line(name, value),
                };
                fields.push_parsed((name, name_span), value_span, known, Line::Exact);
            }
        }
        Ok(hop)
    }

    /// One line of all the pieces that a cookie field came in (RFC 9113, 8.2.3); an empty piece
    /// would leave a blank at an end.
    fn put_cookies(&mut self, from: &HeaderMap) -> (Span, Span) {
        let name = self.put(COOKIE.as_str().as_bytes());
        self.put(b": ");
        let start = self.block.window().end;
        let crumbs = from.get_all(COOKIE).iter();
        for crumb in crumbs.filter(|crumb| !crumb.is_empty()) {
            if self.block.window().end > start {
                self.put(b"; ");
            }
            self.put(crumb.as_bytes());
        }
        let value = Span::in_block(start, self.block.window().end - start);
        self.put(b"\r\n");
        (name, value)
    }
}

/// Refuses what could not stand in a line of HTTP/1.1, or would read another way there.
#[inline]
pub(super) fn check(name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    // RFC 9113, 8.2.1. The codec takes `"` for a token's byte.
    let is_name = |byte: u8| is_token_byte(byte) & !byte.is_ascii_uppercase();
    if name.is_empty() || !name.iter().fold(true, |ok, &byte| ok & is_name(byte)) {
        return Err(match name.is_empty() {
            true => HeadError::EmptyFieldName,
            false => HeadError::FieldName,
        });
    }
    if !every(value, is_value_byte) {
        return Err(HeadError::FieldValue);
    }
    if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value {
        return Err(HeadError::FieldBlanks);
    }
    Ok(())
}

/// Fields of the connection, which make a message malformed (RFC 9113, 8.2.2).
const REFUSED: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::ProxyConnection,
    Known::KeepAlive,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// What is taken out of a head and kept in it as a value, or nobody behind us may see.
const LEFT_OUT: KnownSet = KnownSet::HOP_BY_HOP.union(KnownSet::of(&[Known::Host, Known::Expect]));
