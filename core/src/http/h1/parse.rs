//! Heads from bytes, in place: httparse finds the lines, the rules of this gateway decide.
//!
//! A head is tried as soon as bytes are there. While it is incomplete only new bytes are
//! searched for its end, so a peer that sends byte by byte costs no more than one that does not.

use std::mem::MaybeUninit;

use crate::block::Block;
use crate::http::authority::Authority;
use crate::http::fields::{Fields, Line, Span};
use crate::http::h1::diagnose;
use crate::http::h1::error::HeadError;
use crate::http::h1::rules::{self, Hop};
use crate::http::h1::target::read_target;
use crate::http::head::{RequestHead, ResponseHead, TargetForm, TrailersOk, is_target};
use crate::http::known::{Known, KnownSet};
use crate::http::limits::{HEADERS_MAX, METHOD_MAX};
use crate::http::method::{Method, Version};

/// Bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Start line and fields together, in bytes.
    pub head_max: usize,
    /// The request target, in bytes.
    pub uri_max: usize,
    /// Field lines; more than [`HEADERS_MAX`] counts as that.
    pub headers_max: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits {
            head_max: 32 << 10,
            uri_max: 8 << 10,
            headers_max: 100,
        }
    }
}

/// What a try to parse a head came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head's end is not there yet.
    Partial,
    /// The head is whole.
    Complete {
        /// Bytes of the payload up to the body, a leading empty line included.
        head_len: usize,
    },
}

/// Where the search for a head's end stopped. Starts anew with every message, and resets itself
/// when a head is complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resume {
    /// Payload bytes already searched for an empty line.
    searched: usize,
    /// Payload length at the last try.
    tried: usize,
}

impl Resume {
    /// Whether parsing can come to more than last time: the end of the head may be there, or the
    /// payload has doubled (so that garbage without an end is found early and at linear cost).
    fn wants_try(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return false;
        }
        if self.tried != 0 {
            let from = self.searched.saturating_sub(2);
            self.searched = bytes.len();
            let new = bytes.get(from..).unwrap_or_default();
            if !has_empty_line(new) && bytes.len() < self.tried.saturating_mul(2) {
                return false;
            }
        }
        self.searched = bytes.len();
        self.tried = bytes.len();
        true
    }
}

fn has_empty_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes)
        .any(|at| matches!(&bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

/// Parses the request head at the begin of the payload. The spans of `head` are offsets into
/// the block's memory: give it the block with `head.fields.put_text(block)` once it is complete.
/// `head` is expected clear, and is unspecified after [`Parse::Partial`] and errors.
pub fn parse_request(
    block: &Block,
    limits: &HeadLimits,
    resume: &mut Resume,
    head: &mut RequestHead,
) -> Result<Parse, HeadError> {
    let bytes = &block[..];
    if !resume.wants_try(bytes) {
        return partial_request(bytes, limits);
    }
    let skipped = match bytes {
        [b'\r', b'\n', b'\r' | b'\n', ..] => return Err(HeadError::EmptyLine),
        // RFC 9112, 2.2: one empty line before a request line is passed over.
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(Parse::Partial),
        [b'\r', ..] => return Err(HeadError::BareCr),
        [b'\n', ..] => return Err(HeadError::BareLf),
        _ => 0,
    };
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = &mut slots[..limits.headers_max.min(HEADERS_MAX)];
    let mut raw = httparse::Request::new(&mut []);
    let len = match raw.parse_with_uninit_headers(&bytes[skipped..], slots) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial_request(bytes, limits),
        Err(error) => return Err(diagnose::request(&bytes[skipped..], error)),
    };
    let source = Source {
        memory: block.memory(),
        end: block.window().start + skipped + len,
    };
    *resume = Resume::default();
    request_line(&source, &raw, limits, head)?;
    if skipped + len > limits.head_max {
        return Err(HeadError::HeadTooLarge);
    }
    source.ends_in_crlf()?;
    let hop = take_fields(&source, raw.headers, &rules::OF_REQUEST, &mut head.fields)?;
    finish_request(&source, &hop, head)?;
    Ok(Parse::Complete {
        head_len: skipped + len,
    })
}

/// Parses the response head at the begin of the payload, the answer to a request with `method`.
/// Otherwise like [`parse_request`].
pub fn parse_response(
    block: &Block,
    limits: &HeadLimits,
    resume: &mut Resume,
    method: Method,
    head: &mut ResponseHead,
) -> Result<Parse, HeadError> {
    let bytes = &block[..];
    if !resume.wants_try(bytes) {
        return partial(bytes, limits);
    }
    if matches!(bytes, [b'\r' | b'\n', ..]) {
        return Err(HeadError::EmptyLine);
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let slots = &mut slots[..limits.headers_max.min(HEADERS_MAX)];
    let mut raw = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut raw, bytes, slots);
    let len = match parsed {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(bytes, limits),
        Err(error) => return Err(diagnose::response(bytes, error)),
    };
    let source = Source {
        memory: block.memory(),
        end: block.window().start + len,
    };
    *resume = Resume::default();
    status_line(&source, bytes, &raw, head)?;
    if len > limits.head_max {
        return Err(HeadError::HeadTooLarge);
    }
    source.ends_in_crlf()?;
    let hop = take_fields(&source, raw.headers, &rules::OF_RESPONSE, &mut head.fields)?;
    finish_response(&hop, method, head)?;
    Ok(Parse::Complete { head_len: len })
}

/// The memory that a head lies in, and the head's end there.
struct Source<'a> {
    memory: &'a [u8],
    end: usize,
}

impl Source<'_> {
    /// Where a piece of the memory lies in it.
    #[inline]
    fn at(&self, piece: &[u8]) -> usize {
        let at = piece
            .as_ptr()
            .addr()
            .wrapping_sub(self.memory.as_ptr().addr());
        debug_assert!(at + piece.len() <= self.memory.len());
        at
    }

    #[inline]
    fn span(&self, piece: &[u8]) -> Span {
        Span::in_block(self.at(piece), piece.len())
    }

    /// httparse takes LF for CRLF; here is where it would show.
    #[inline]
    fn line_ends_at(&self, at: usize) -> Result<(), HeadError> {
        match self.memory.get(at) {
            Some(b'\r') => Ok(()),
            _ => Err(HeadError::BareLf),
        }
    }

    /// How many blanks stand between the end of a value and that of its line, which is CRLF.
    #[inline]
    fn blanks_behind(&self, end: usize) -> Result<usize, HeadError> {
        match self.memory.get(end) {
            Some(b'\r') => Ok(0),
            _ => self.some_blanks_behind(end),
        }
    }

    #[cold]
    fn some_blanks_behind(&self, end: usize) -> Result<usize, HeadError> {
        let rest = self.memory.get(end..).unwrap_or_default();
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t'));
        let blanks = blanks.count();
        self.line_ends_at(end + blanks)?;
        Ok(blanks)
    }

    /// Whether a value stands behind a name, a colon and one space.
    #[inline]
    fn stands_behind_name(&self, value: &[u8], name: &[u8]) -> bool {
        let name_end = self.at(name) + name.len();
        self.at(value) == name_end + 2 && self.memory.get(name_end + 1) == Some(&b' ')
    }

    #[inline]
    fn ends_in_crlf(&self) -> Result<(), HeadError> {
        self.line_ends_at(self.end.wrapping_sub(2))
    }
}

fn request_line(
    source: &Source<'_>,
    raw: &httparse::Request<'_, '_>,
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let method = raw.method.unwrap_or_default().as_bytes();
    let target = raw.path.unwrap_or_default().as_bytes();
    if method.len() > METHOD_MAX {
        return Err(HeadError::Method);
    }
    if target.len() > limits.uri_max {
        return Err(HeadError::TargetTooLong);
    }
    head.method = Method::of(method);
    if head.method == Method::Extension {
        head.extension = source.span(method);
    }
    head.version = version(raw.version);
    source.line_ends_at(source.at(target) + target.len() + " HTTP/1.1".len())?;
    if !is_target(target) {
        return Err(HeadError::Target);
    }
    head.target = source.span(target);
    read_target(target, head)
}

fn status_line(
    source: &Source<'_>,
    bytes: &[u8],
    raw: &httparse::Response<'_, '_>,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    match memchr::memchr(b'\n', bytes) {
        Some(at) if at > 0 && bytes[at - 1] == b'\r' => {}
        _ => return Err(HeadError::BareLf),
    }
    head.version = version(raw.version);
    head.status = raw.code.unwrap_or_default();
    if head.status < 100 {
        return Err(HeadError::StatusLine);
    }
    // For a reason with obs-text httparse lends an empty constant from elsewhere.
    let reason = raw.reason.unwrap_or_default().as_bytes();
    if !reason.is_empty() {
        head.reason = source.span(reason);
    }
    Ok(())
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::Http10,
        _ => Version::Http11,
    }
}

/// Puts the field lines into the table and collects what concerns the hop.
fn take_fields(
    source: &Source<'_>,
    lines: &[httparse::Header<'_>],
    watched: &KnownSet,
    fields: &mut Fields,
) -> Result<Hop, HeadError> {
    let mut hop = Hop::default();
    fields.reserve(lines.len());
    for line in lines {
        let (name, value) = (line.name.as_bytes(), line.value);
        let (name_span, value_span) = (source.span(name), source.span(value));
        let known = Known::of(name);
        let blanks = source.blanks_behind(source.at(value) + value.len())?;
        let shape = if KnownSet::HOP_BY_HOP.contains(known)
            || (known == Known::Other && rules::is_alias(name))
        {
            Line::Dead
        } else if blanks == 0 && source.stands_behind_name(value, name) {
            Line::Exact
        } else {
            Line::Parts
        };
        fields.push_parsed((name, name_span), value_span, known, shape);
        if watched.contains(known) {
            hop.see(known, value, value_span)?;
        }
    }
    if hop.names_fields {
        rules::remove_named(fields, source.memory)?;
    }
    Ok(hop)
}

fn finish_request(source: &Source<'_>, hop: &Hop, head: &mut RequestHead) -> Result<(), HeadError> {
    match hop.host {
        Some(span) => take_host(source, span, head)?,
        None if head.version == Version::Http11 => return Err(HeadError::NoHost),
        None => {}
    }
    head.framing = hop.request_framing(head.version)?;
    head.connection = hop.connection;
    let may_upgrade = head.version == Version::Http11 && hop.upgrade.is_some();
    head.connection.upgrade &= may_upgrade;
    if head.connection.upgrade {
        head.upgrade = hop.upgrade;
    }
    if hop.te_trailers {
        head.trailers = TrailersOk::Yes;
    }
    // RFC 9110, 10.1.1: from an HTTP/1.0 client it means nothing.
    head.expect_continue =
        hop.expect_continue && head.version == Version::Http11 && !head.framing.is_empty();
    head.fields.remove_known(Known::Expect);
    Ok(())
}

/// Checks `Host` and, where the target names an authority too, that both are the same. RFC
/// 9112, 3.2.2 would let the target win; two answers to "which host" are refused here.
fn take_host(source: &Source<'_>, span: Span, head: &mut RequestHead) -> Result<(), HeadError> {
    let host = source.text(span);
    let parts = Authority::parse(host).ok_or(HeadError::Authority)?;
    if matches!(head.form, TargetForm::Origin | TargetForm::Asterisk) {
        head.authority = span;
        head.host_len = parts.host_len as u32;
        head.port = parts.port;
        return Ok(());
    }
    let named = source.text(head.authority);
    let same = named.eq_ignore_ascii_case(host)
        || (head.form == TargetForm::Authority
            && parts.port.is_none()
            && named[..head.host_len as usize].eq_ignore_ascii_case(host));
    if same {
        Ok(())
    } else {
        Err(HeadError::HostMismatch)
    }
}

impl Source<'_> {
    fn text(&self, span: Span) -> &[u8] {
        span.of(self.memory)
    }
}

fn finish_response(hop: &Hop, method: Method, head: &mut ResponseHead) -> Result<(), HeadError> {
    head.framing = hop.response_framing(head.version, head.status, method)?;
    if matches!(head.status, 100..=199 | 204)
        || (method == Method::Connect && head.status / 100 == 2)
    {
        // RFC 9110, 8.6: no Content-Length there; an origin's is not passed on.
        head.fields.remove_known(Known::ContentLength);
    }
    head.connection = hop.connection;
    head.connection.upgrade &= hop.upgrade.is_some() && head.version == Version::Http11;
    if head.connection.upgrade {
        head.upgrade = hop.upgrade;
    }
    Ok(())
}

/// An incomplete request head: is it already too large?
fn partial_request(bytes: &[u8], limits: &HeadLimits) -> Result<Parse, HeadError> {
    // Method, two spaces, version, line end, and an empty line in front.
    let line_max = limits.uri_max + METHOD_MAX + 14;
    if bytes.len() > line_max && memchr::memchr(b'\n', &bytes[2..=line_max]).is_none() {
        return Err(HeadError::TargetTooLong);
    }
    partial(bytes, limits)
}

fn partial(bytes: &[u8], limits: &HeadLimits) -> Result<Parse, HeadError> {
    if bytes.len() >= limits.head_max {
        return Err(HeadError::HeadTooLarge);
    }
    Ok(Parse::Partial)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_head_is_not_parsed_at_every_byte() {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(8000)
        );
        let mut resume = Resume::default();
        let tries = (1..=text.len())
            .filter(|&len| resume.wants_try(&text.as_bytes()[..len]))
            .count();
        assert!(tries <= 15, "{tries} tries");
    }

    #[test]
    fn nothing_is_tried_without_bytes() {
        let block = Block::empty();
        let mut head = RequestHead::default();
        let parse = parse_request(
            &block,
            &HeadLimits::default(),
            &mut Resume::default(),
            &mut head,
        );
        assert_eq!(parse, Ok(Parse::Partial));
    }
}
