//! Trailers: the field lines behind a chunked body, checked and made ready to be forwarded.

use crate::http::fields::put_line;
use crate::http::h1::error::BodyError;
use crate::http::h1::rules::is_alias;
use crate::http::known::{Known, KnownSet};
use crate::http::limits::{TRAILER_LINES_MAX, TRAILERS_MAX};
use crate::http::text::{is_token_byte, is_value, trim_blanks};

/// A trailer section as it comes in.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    /// Allowed lines as `name: value CRLF`, then the line that is being received.
    text: Vec<u8>,
    /// Where the unfinished line starts.
    line: usize,
    lines: usize,
    received: usize,
}

/// What a piece of a trailer section came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// All bytes taken, more to come.
    Open,
    /// The empty line was found: this many bytes taken.
    Ended(usize),
}

impl Trailers {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.line = 0;
        self.lines = 0;
        self.received = 0;
    }

    /// The finished lines, ready to be written.
    pub(super) fn text(&self) -> &[u8] {
        &self.text[..self.line.min(self.text.len())]
    }

    /// The same, once the section has ended.
    pub(super) fn text_mut(&mut self) -> &mut Vec<u8> {
        self.text.truncate(self.line);
        self.line = usize::MAX;
        &mut self.text
    }

    /// Takes the next bytes up to the end of the section.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Section, BodyError> {
        let mut taken = 0;
        while let Some(len) = memchr::memchr(b'\n', &bytes[taken..]) {
            self.take_piece(&bytes[taken..=taken + len])?;
            taken += len + 1;
            let Some(end) = self
                .text
                .len()
                .checked_sub(2)
                .filter(|end| *end >= self.line)
            else {
                return Err(BodyError::ChunkLine);
            };
            if self.text[end] != b'\r' {
                return Err(BodyError::ChunkLine);
            }
            if end == self.line {
                self.text.truncate(self.line);
                return Ok(Section::Ended(taken));
            }
            self.end_line(end)?;
        }
        self.take_piece(&bytes[taken..])?;
        Ok(Section::Open)
    }

    fn take_piece(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.received += bytes.len();
        if self.received > TRAILERS_MAX {
            return Err(BodyError::TrailersTooLarge);
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    /// Checks the line `self.line..end` and keeps it, in our spelling, when it may be forwarded.
    fn end_line(&mut self, end: usize) -> Result<(), BodyError> {
        self.lines += 1;
        if self.lines > TRAILER_LINES_MAX {
            return Err(BodyError::TrailersTooLarge);
        }
        let line = &self.text[self.line..end];
        let name_len = line.iter().take_while(|&&b| is_token_byte(b)).count();
        if name_len == 0 || line.get(name_len) != Some(&b':') {
            return Err(BodyError::Trailer);
        }
        let value = trim_blanks(&line[name_len + 1..]);
        if !is_value(value) {
            return Err(BodyError::Trailer);
        }
        if !may_be_trailer(&line[..name_len]) {
            self.text.truncate(self.line);
            return Ok(());
        }
        // Most lines stand there as they would be written.
        if line.len() != name_len + 2 + value.len() || line[name_len + 1] != b' ' {
            let line = line.to_vec();
            self.text.truncate(self.line);
            put_line(
                &line[..name_len],
                trim_blanks(&line[name_len + 1..]),
                &mut self.text,
            );
        }
        self.line = self.text.len();
        Ok(())
    }
}

/// Whether a field may come as a trailer: not if it concerns framing, routing, authentication,
/// request modifiers, response control or the content's form (RFC 9110, 6.5.1).
pub fn may_be_trailer(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 7] = [
        b"content-",
        b"if-",
        b"proxy-",
        b"sec-",
        b"x-forwarded-",
        b"x-client-cert-",
        b"access-control-",
    ];
    let known = Known::of(name);
    if FORBIDDEN.contains(known) || KnownSet::HOP_BY_HOP.contains(known) || is_alias(name) {
        return false;
    }
    !PREFIXES.iter().any(|prefix| {
        name.len() > prefix.len() && name[..prefix.len()].eq_ignore_ascii_case(prefix)
    })
}

const FORBIDDEN: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::Trailer,
    Known::Expect,
    Known::XRealIp,
    Known::XRequestId,
    Known::XApiKey,
    Known::Forwarded,
    Known::Via,
    Known::Date,
    Known::Authorization,
    Known::WwwAuthenticate,
    Known::Cookie,
    Known::SetCookie,
    Known::Location,
    Known::CacheControl,
    Known::Pragma,
    Known::Vary,
    Known::RetryAfter,
    Known::Warning,
    Known::MaxForwards,
    Known::Age,
    Known::Expires,
    Known::Range,
    Known::Origin,
    Known::StrictTransportSecurity,
]);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_may_be_forwarded_in_our_spelling() {
        let mut trailers = Trailers::default();
        let section = b"X-Sum:abc \r\ncontent-length: 5\r\ngrpc-status: 0\r\nX-Empty:\r\n\r\nrest";
        assert_eq!(
            trailers.take(section),
            Ok(Section::Ended(section.len() - 4))
        );
        assert_eq!(
            trailers.text(),
            b"X-Sum: abc\r\ngrpc-status: 0\r\nX-Empty: \r\n"
        );
    }

    #[test]
    fn framing_and_routing_fields_are_no_trailers() {
        for name in [
            "Host",
            "Content-Length",
            "transfer-encoding",
            "Content-Anything",
            "authorization",
            "Connection",
            "x-forwarded-for",
            "If-None-Match",
            "set-cookie",
            "x-client-cert-subject",
            "X_Client_Cert_Subject",
            "x_forwarded_for",
        ] {
            assert!(!may_be_trailer(name.as_bytes()), "{name}");
        }
        for name in ["x-checksum", "grpc-status", "etag", "server-timing"] {
            assert!(may_be_trailer(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn bounds_bytes_and_lines() {
        let mut trailers = Trailers::default();
        assert_eq!(
            trailers.take(&[b'a'; TRAILERS_MAX + 1]),
            Err(BodyError::TrailersTooLarge)
        );
        let mut trailers = Trailers::default();
        let lines = b"a: b\r\n".repeat(TRAILER_LINES_MAX + 1);
        assert_eq!(trailers.take(&lines), Err(BodyError::TrailersTooLarge));
    }
}
