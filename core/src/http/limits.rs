//! Every bound of the codec that is not configured, with its reason. What an operator sets is in
//! [`crate::http::h1::HeadLimits`].

use crate::block::BlockClass;

/// A method token, in bytes. The longest registered one has 17.
pub const METHOD_MAX: usize = 32;

/// Field lines that a head can be allowed. They are found in an array on the stack, 32 bytes
/// each.
pub const HEADERS_MAX: usize = 256;

/// Field lines of a head with those that were written into it, removed ones included.
pub const FIELDS_MAX: usize = 1024;

/// Bytes written into a head after it was parsed: filters that loop must not eat the memory.
pub const EXTRA_MAX: usize = 256 << 10;

/// How much of that memory a cleared head keeps.
pub const EXTRA_KEPT_MAX: usize = 16 << 10;

/// Free bytes to leave behind a received payload, so that it can be sent on as the last chunk of
/// its body: CRLF, `0` CRLF CRLF, and some.
pub const CHUNK_TAILROOM: usize = 16;

/// Extension bytes of one chunk. Nobody is known to use extensions.
pub const EXTENSION_MAX: usize = 256;

/// Framing bytes that a chunked body may have whatever its size.
pub const CHUNK_OVERHEAD_BASE_MAX: u64 = 16 << 10;

/// Framing bytes for each byte of data beyond that. A chunk of one byte has five.
pub const CHUNK_OVERHEAD_PER_BYTE_MAX: u64 = 8;

/// Bytes of a trailer section, lines that are dropped included: as much as many servers allow a
/// whole head.
pub const TRAILERS_MAX: usize = 8 << 10;

/// Lines of a trailer section.
pub const TRAILER_LINES_MAX: usize = 64;

/// A request id that is taken over from a trusted proxy, in bytes: it goes into every log line.
pub const FOREIGN_ID_MAX: usize = 128;

const _: () = {
    assert!(HEADERS_MAX < FIELDS_MAX);
    assert!(FIELDS_MAX < u16::MAX as usize);
    assert!(EXTRA_KEPT_MAX < EXTRA_MAX);
    assert!(CHUNK_TAILROOM >= "\r\n0\r\n\r\n".len());
    assert!(CHUNK_OVERHEAD_PER_BYTE_MAX > "1\r\n\r\n".len() as u64);
    assert!((EXTENSION_MAX as u64) < CHUNK_OVERHEAD_BASE_MAX);
    assert!(TRAILERS_MAX < BlockClass::Small.size());
};
