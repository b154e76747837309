//! Path normalisation for routing: every spelling of a path that an origin could take for
//! the same resource becomes one canonical spelling, or is rejected (RFC 3986, section 6.2.2).
//!
//! Canonical means: starts with `/`; percent-encoded unreserved characters are decoded, all
//! other encodings have upper-case digits; characters that RFC 3986 does not allow in a path
//! (`"<>[]^{|}` and the backquote) are encoded; no dot segments; and what [`PathPolicy`] says
//! about slashes. Decoding happens once: `%252e` stays as it is. Normalising twice changes
//! nothing.

use std::fmt;

/// What to do with spellings on which gateways and origins are known to disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathPolicy {
    /// `%2F` within a segment.
    pub encoded_slash: EncodedSlash,
    /// `\` and `%5C`.
    pub backslash: Backslash,
    /// `//`.
    pub merge_slashes: Merge,
    /// `.` and `..` segments, however they are encoded.
    pub dot_segments: DotSegments,
}

/// The treatment of `%2F`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlash {
    /// The path is refused.
    #[default]
    Reject,
    /// It stays `%2F` and does not end a segment; `..` beside it is still refused.
    Keep,
    /// It becomes `/` before segments are looked at.
    Decode,
}

/// The treatment of `\` and `%5C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backslash {
    /// The path is refused.
    #[default]
    Reject,
    /// It becomes `/`, as some origins read it.
    Slash,
}

/// The treatment of empty segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merge {
    /// `//` becomes `/`, before dot segments are resolved.
    #[default]
    Merge,
    /// Empty segments are kept.
    Keep,
}

/// The treatment of `.` and `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DotSegments {
    /// They are resolved (RFC 3986, section 5.2.4); `..` above the root is refused.
    #[default]
    Resolve,
    /// A path that contains one is refused.
    Reject,
}

/// The outcome of [`normalise`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normal {
    /// The raw path is canonical already; use it. `out` holds nothing of use.
    Unchanged,
    /// `out` holds the canonical path.
    Rewritten,
}

/// Why a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathError {
    /// It does not start with `/`.
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    BadEncoding,
    /// `%00`.
    EncodedNul,
    /// A control character, a space, `?` or `#` as such.
    ForbiddenByte,
    /// A byte above 0x7F as such.
    NonAscii,
    /// `%2F` where the policy refuses it.
    EncodedSlash,
    /// `\` or `%5C` where the policy refuses it.
    Backslash,
    /// `.` or `..` where the policy refuses it.
    DotSegment,
    /// `.` or `..` beside `;` or a kept `%2F`: some origins resolve it, others do not.
    DisguisedDotSegment,
    /// `..` with nothing left to leave.
    AboveRoot,
    /// An over-long UTF-8 encoding of an ASCII character, such as `%C0%AF`.
    Overlong,
}

impl PathError {
    /// A short stable code for logs and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            PathError::NotAbsolute => "path_not_absolute",
            PathError::BadEncoding => "path_bad_encoding",
            PathError::EncodedNul => "path_encoded_nul",
            PathError::ForbiddenByte => "path_forbidden_byte",
            PathError::NonAscii => "path_non_ascii",
            PathError::EncodedSlash => "path_encoded_slash",
            PathError::Backslash => "path_backslash",
            PathError::DotSegment => "path_dot_segment",
            PathError::DisguisedDotSegment => "path_disguised_dot_segment",
            PathError::AboveRoot => "path_above_root",
            PathError::Overlong => "path_overlong",
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathError::NotAbsolute => "the path does not start with `/`",
            PathError::BadEncoding => "`%` is not followed by two hexadecimal digits",
            PathError::EncodedNul => "the path contains `%00`",
            PathError::ForbiddenByte => "the path contains a byte that must be percent-encoded",
            PathError::NonAscii => "the path contains a byte above 0x7F that is not encoded",
            PathError::EncodedSlash => "the path contains an encoded slash (`%2F`)",
            PathError::Backslash => "the path contains a backslash",
            PathError::DotSegment => "the path contains a dot segment",
            PathError::DisguisedDotSegment => "the path contains a disguised dot segment",
            PathError::AboveRoot => "`..` leads above the root",
            PathError::Overlong => "the path contains an over-long UTF-8 encoding",
        })
    }
}

impl std::error::Error for PathError {}

/// Brings `raw`, a path without its query, into canonical form under `policy`.
///
/// A canonical path without `%` costs one branch-free scan. `out` is scratch: it is cleared
/// before use, and holds the path only after [`Normal::Rewritten`].
///
/// # Errors
/// A [`PathError`] when the path has no spelling that all origins agree on.
pub fn normalise(raw: &[u8], policy: &PathPolicy, out: &mut Vec<u8>) -> Result<Normal, PathError> {
    if raw.first() != Some(&b'/') && !matches!(raw.first(), Some(b'\\' | b'%')) {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(raw) {
        return Ok(Normal::Unchanged);
    }
    out.clear();
    out.reserve(raw.len());
    Rewrite {
        policy,
        out,
        segment: 0,
    }
    .run(raw)?;
    if out.as_slice() == raw {
        out.clear();
        return Ok(Normal::Unchanged);
    }
    Ok(Normal::Rewritten)
}

/// Whether `raw` surely is canonical under every policy. `false` only means a closer look.
fn is_plain(raw: &[u8]) -> bool {
    let mut seen = 0;
    let mut previous = 0;
    for &byte in raw {
        let class = CLASS[usize::from(byte)];
        // The second term is set when a slash is followed by a slash or a dot.
        seen |= (class & SPECIAL) | (((previous & AFTER_SLASH) << 1) & class);
        previous = class;
    }
    seen == 0 && raw.first() == Some(&b'/')
}

const AFTER_SLASH: u8 = 1;
const SLASH_OR_DOT: u8 = 2;
const SPECIAL: u8 = 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [SPECIAL; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_path_char(byte as u8) {
            table[byte] = 0;
        }
        byte += 1;
    }
    table[b'/' as usize] = AFTER_SLASH | SLASH_OR_DOT;
    table[b'.' as usize] = SLASH_OR_DOT;
    table
}

/// `unreserved` (RFC 3986, section 2.3).
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` without `pct-encoded` (RFC 3986, section 3.3).
const fn is_path_char(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// One decoded unit of a path.
enum Unit {
    Slash,
    Plain(u8),
    Encoded(u8),
}

struct Rewrite<'a> {
    policy: &'a PathPolicy,
    out: &'a mut Vec<u8>,
    /// Where the current segment starts in `out`.
    segment: usize,
}

impl Rewrite<'_> {
    fn run(&mut self, raw: &[u8]) -> Result<(), PathError> {
        let (first, mut at) = self.unit(raw, 0)?;
        if !matches!(first, Unit::Slash) {
            return Err(PathError::NotAbsolute);
        }
        self.open_segment();
        while at < raw.len() {
            let (unit, width) = self.unit(raw, at)?;
            at += width;
            match unit {
                Unit::Slash => {
                    if self.close_segment(Position::Inner)? {
                        self.open_segment();
                    }
                }
                Unit::Plain(byte) => self.out.push(byte),
                Unit::Encoded(byte) => {
                    let digits = b"0123456789ABCDEF";
                    self.out.extend_from_slice(&[
                        b'%',
                        digits[usize::from(byte >> 4)],
                        digits[usize::from(byte & 15)],
                    ]);
                }
            }
        }
        self.close_segment(Position::Last)?;
        Ok(())
    }

    fn open_segment(&mut self) {
        self.out.push(b'/');
        self.segment = self.out.len();
    }

    /// Ends the segment that stands last in `out`; tells whether a slash follows it.
    fn close_segment(&mut self, position: Position) -> Result<bool, PathError> {
        let segment = &self.out[self.segment..];
        if segment.is_empty() {
            return Ok(self.policy.merge_slashes == Merge::Keep && position == Position::Inner);
        }
        if segment[0] != b'.' && !self.may_hide_dots(segment) {
            return Ok(true);
        }
        let dots = match segment {
            b"." => 1,
            b".." => 2,
            _ => {
                return if self.hides_dots(segment) {
                    Err(PathError::DisguisedDotSegment)
                } else {
                    Ok(true)
                };
            }
        };
        if self.policy.dot_segments == DotSegments::Reject {
            return Err(PathError::DotSegment);
        }
        self.out.truncate(self.segment);
        if dots == 2 {
            let parent = &self.out[..self.segment - 1];
            let slash = memchr::memrchr(b'/', parent).ok_or(PathError::AboveRoot)?;
            self.segment = slash + 1;
            self.out.truncate(self.segment);
        }
        Ok(false)
    }

    fn may_hide_dots(&self, segment: &[u8]) -> bool {
        self.policy.encoded_slash == EncodedSlash::Keep && memchr::memchr(b'%', segment).is_some()
    }

    /// Whether a part of `segment`, as an origin may cut it at `;` or `%2F`, is a dot segment.
    fn hides_dots(&self, segment: &[u8]) -> bool {
        let mut rest = segment;
        loop {
            let (piece, next) = match find(rest, b"%2F") {
                Some(at) => (&rest[..at], Some(&rest[at + 3..])),
                None => (rest, None),
            };
            let name_len = memchr::memchr(b';', piece)
                .into_iter()
                .chain(find(piece, b"%3B"))
                .min()
                .unwrap_or(piece.len());
            if matches!(&piece[..name_len], b"." | b"..") {
                return true;
            }
            match next {
                Some(next) => rest = next,
                None => return false,
            }
        }
    }

    /// Decodes the unit at `at`; returns it with its width in bytes.
    fn unit(&self, raw: &[u8], at: usize) -> Result<(Unit, usize), PathError> {
        let byte = raw[at];
        match byte {
            b'/' => Ok((Unit::Slash, 1)),
            b'\\' => self.backslash().map(|unit| (unit, 1)),
            b'%' => {
                let value = decode_at(raw, at).ok_or(PathError::BadEncoding)?;
                self.encoded(value, decode_at(raw, at + 3))
                    .map(|unit| (unit, 3))
            }
            b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                Ok((Unit::Encoded(byte), 1))
            }
            0x80.. => Err(PathError::NonAscii),
            _ if is_path_char(byte) => Ok((Unit::Plain(byte), 1)),
            _ => Err(PathError::ForbiddenByte),
        }
    }

    fn encoded(&self, value: u8, next: Option<u8>) -> Result<Unit, PathError> {
        match (value, next) {
            (0, _) => Err(PathError::EncodedNul),
            (b'/', _) => match self.policy.encoded_slash {
                EncodedSlash::Reject => Err(PathError::EncodedSlash),
                EncodedSlash::Keep => Ok(Unit::Encoded(value)),
                EncodedSlash::Decode => Ok(Unit::Slash),
            },
            (b'\\', _) => self.backslash(),
            // RFC 3629, section 3: these can only spell what has a shorter encoding.
            (0xC0 | 0xC1, Some(0x80..=0xBF))
            | (0xE0, Some(0x80..=0x9F))
            | (0xF0, Some(0x80..=0x8F)) => Err(PathError::Overlong),
            _ if is_unreserved(value) => Ok(Unit::Plain(value)),
            _ => Ok(Unit::Encoded(value)),
        }
    }

    fn backslash(&self) -> Result<Unit, PathError> {
        match self.policy.backslash {
            Backslash::Reject => Err(PathError::Backslash),
            Backslash::Slash => Ok(Unit::Slash),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Position {
    Inner,
    Last,
}

/// The byte that the percent-encoding at `at` stands for.
pub(crate) fn decode_at(raw: &[u8], at: usize) -> Option<u8> {
    let triple = raw.get(at..at + 3)?;
    if triple[0] != b'%' {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(triple[1])? * 16 + digit(triple[2])?;
    u8::try_from(value).ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
