//! The value that a request has of one part of a key.

use std::io::Write;
use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

use super::VALUE_TEXT_MAX;
use crate::http::query::{decoded, parameters};
use crate::http::{Fields, Known};
use crate::principal::Claims;

/// What a request has of a part.
pub(super) enum Value<'a> {
    /// Nothing.
    Absent,
    /// As it stands in the head.
    Bytes(&'a [u8]),
    /// As it stands in the head, with escapes such as `%61`.
    Encoded(&'a [u8]),
    /// Several lines of a field, one list in effect (RFC 9110, 5.3).
    Pieces((&'a Fields, &'a str)),
    /// Several values of a claim.
    Values((&'a Claims, &'a str)),
    /// A host that is not spelled in lower case.
    Folded(&'a [u8]),
    /// A masked address: 4 or 16 octets of which `prefix` bits are left.
    Address {
        octets: [u8; 16],
        len: u8,
        prefix: u8,
    },
}

impl<'a> Value<'a> {
    pub(super) fn maybe(bytes: Option<&'a [u8]>) -> Value<'a> {
        bytes.map_or(Value::Absent, Value::Bytes)
    }

    pub(super) fn lines(fields: &'a Fields, name: &'a str) -> Value<'a> {
        let mut lines = fields.values_of(name);
        match (lines.next(), lines.next()) {
            (None, _) => Value::Absent,
            (Some(line), None) => Value::Bytes(line),
            (Some(_), Some(_)) => Value::Pieces((fields, name)),
        }
    }

    pub(super) fn claim(claims: &'a Claims, name: &'a str) -> Value<'a> {
        let mut values = claims.values(name);
        match (values.next(), values.next()) {
            (None, _) => Value::Absent,
            (Some(value), None) => Value::Bytes(value.as_bytes()),
            (Some(_), Some(_)) => Value::Values((claims, name)),
        }
    }

    /// The host of an authority without its port and the dot of a full name.
    pub(super) fn host(authority: &'a [u8]) -> Value<'a> {
        let colon = authority.iter().rposition(|byte| *byte == b':');
        let port = colon.filter(|at| authority[*at..].iter().all(|byte| *byte != b']'));
        let host = &authority[..port.unwrap_or(authority.len())];
        let host = host.strip_suffix(b".").unwrap_or(host);
        match host {
            b"" => Value::Absent,
            host if host.iter().any(u8::is_ascii_uppercase) => Value::Folded(host),
            host => Value::Bytes(host),
        }
    }

    /// An address without the bits behind the prefix of its kind. IPv4 that is mapped into
    /// IPv6 is IPv4, or the same client would count twice on a socket that takes both.
    pub(super) fn address(ip: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Value<'a> {
        match ip.to_canonical() {
            // A peer of a UNIX socket has none.
            ip if ip.is_unspecified() => Value::Absent,
            IpAddr::V4(v4) => {
                let prefix = ipv4_prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&(v4.to_bits() & mask).to_be_bytes());
                Value::Address {
                    octets,
                    len: 4,
                    prefix,
                }
            }
            IpAddr::V6(v6) => {
                let prefix = ipv6_prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Value::Address {
                    octets: (v6.to_bits() & mask).to_be_bytes(),
                    len: 16,
                    prefix,
                }
            }
        }
    }

    /// Shows the value piece by piece; an address has none.
    pub(super) fn pieces(&self, mut show: impl FnMut(&[u8])) {
        match self {
            Value::Absent | Value::Address { .. } => {}
            Value::Bytes(bytes) => show(bytes),
            Value::Encoded(text) => {
                let mut plain = [0; 64];
                let mut bytes = decoded(text);
                loop {
                    let mut len = 0;
                    for (place, byte) in plain.iter_mut().zip(&mut bytes) {
                        *place = byte;
                        len += 1;
                    }
                    match len {
                        0 => return,
                        len => show(&plain[..len]),
                    }
                }
            }
            Value::Pieces((fields, name)) => {
                for (index, line) in fields.values_of(name).enumerate() {
                    if index > 0 {
                        show(b", ");
                    }
                    show(line);
                }
            }
            Value::Values((claims, name)) => {
                for (index, value) in claims.values(name).enumerate() {
                    if index > 0 {
                        show(b", ");
                    }
                    show(value.as_bytes());
                }
            }
            Value::Folded(host) => {
                let mut lower = [0; 64];
                for chunk in host.chunks(lower.len()) {
                    let lower = &mut lower[..chunk.len()];
                    lower.copy_from_slice(chunk);
                    lower.make_ascii_lowercase();
                    show(lower);
                }
            }
        }
    }

    /// Appends the value as `Key::write` has it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Absent => out.push(b'-'),
            Value::Address {
                octets,
                len,
                prefix,
            } => write_address(octets, *len, *prefix, out),
            _ => {
                let begin = out.len();
                self.pieces(|piece| out.extend_from_slice(piece));
                match &out[begin..] {
                    // Or it would be taken for a missing one.
                    b"-" => out.splice(begin.., *b"\\2d").for_each(drop),
                    _ => escape(begin, out),
                }
            }
        }
    }
}

fn write_address(octets: &[u8; 16], len: u8, prefix: u8, out: &mut Vec<u8>) {
    let ip = match len {
        4 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
        _ => IpAddr::from(*octets),
    };
    // Writing to a vector cannot fail.
    let _ = match u32::from(prefix) == u32::from(len) * 8 {
        true => write!(out, "{ip}"),
        false => write!(out, "{ip}/{prefix}"),
    };
}

/// Escapes what lies behind `begin`, and cuts it when it is too long.
fn escape(begin: usize, out: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'|' | b'\\');
    let len = out.len() - begin;
    if len <= VALUE_TEXT_MAX && out[begin..].iter().all(plain) {
        return;
    }
    let raw = out.split_off(begin);
    for byte in raw.iter().take(VALUE_TEXT_MAX) {
        match plain(byte) {
            true => out.push(*byte),
            false => {
                let _ = write!(out, "\\{byte:02x}");
            }
        }
    }
    if len > VALUE_TEXT_MAX {
        let _ = write!(out, "\\..{:016x}", xxh3_64(&raw));
    }
}

/// Cookies of a request that are looked through.
const COOKIES_MAX: usize = 256;

/// The first cookie of this name (RFC 6265, 5.4 sends the most specific one first). Names are
/// compared byte by byte, and a pair without `=` is no cookie.
pub(crate) fn cookie<'h>(fields: &'h Fields, name: &str) -> Option<&'h [u8]> {
    let pairs = fields
        .values(Known::Cookie)
        .flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.take(COOKIES_MAX).find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// The first parameter of this name, however either is escaped; one without `=` has an empty
/// value.
pub(super) fn query<'h>(query: Option<&'h [u8]>, name: &str) -> Value<'h> {
    let value = parameters(query, name).next().map(|(_, value)| value);
    match value {
        Some(value) if value.contains(&b'%') => Value::Encoded(value),
        value => Value::maybe(value),
    }
}
