//! Our encoder's lines as the map that the codec takes.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::known::{Known, KnownSet};
use crate::http::text::{is_word, trim_blanks};

/// The map of lines of `name: value CRLF`; an empty line and all behind it is passed over. The
/// values share one piece of memory, and names that the gateway knows have none.
///
/// Fields of the connection and `Host` stay out, as HTTP/2 has none (RFC 9113, 8.2.2 and
/// 8.3.1). A line that is not one, which our encoder does not write, is passed over.
pub fn fields_of(lines: &[u8]) -> HeaderMap {
    let memory = Bytes::copy_from_slice(lines);
    let lines = &memory[..];
    let Ok(mut map) = HeaderMap::try_with_capacity((lines.len() / LINE_MEAN).clamp(8, 64)) else {
        return HeaderMap::new();
    };
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        let line = lines[start..end].strip_suffix(b"\r");
        let line = line.unwrap_or(&lines[start..end]);
        if line.is_empty() {
            break;
        }
        start = end + 1;
        if let Some((name, value)) = field(line, &memory)
            && map.try_append(name, value).is_err()
        {
            break;
        }
    }
    map
}

fn field(line: &[u8], memory: &Bytes) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_at(memchr::memchr(b':', line)?);
    // RFC 9113, 8.2.1: no blanks at either end.
    let value = trim_blanks(&value[1..]);
    let known = Known::of(name);
    if LEFT_OUT.contains(known) || (known == Known::Te && !is_word(value, "trailers")) {
        return None;
    }
    let name = match known.header_name() {
        Some(name) => name.clone(),
        None => HeaderName::from_bytes(name).ok()?,
    };
    let mut value = match value {
        [] => HeaderValue::from_static(""),
        value => HeaderValue::from_maybe_shared(memory.slice_ref(value)).ok()?,
    };
    value.set_sensitive(SECRET.contains(known));
    Some((name, value))
}

/// A guess at the bytes of a line, to make room.
const LINE_MEAN: usize = 32;

const LEFT_OUT: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Http2Settings,
    Known::Host,
]);

/// Never put into the table of HPACK: a connection carries the requests of many clients, and a
/// table that they share tells them when they guess right (RFC 7541, 7.1).
const SECRET: KnownSet = KnownSet::of(&[
    Known::Authorization,
    Known::ProxyAuthorization,
    Known::Cookie,
    Known::SetCookie,
    Known::XApiKey,
]);
