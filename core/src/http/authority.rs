//! The authority of a request: a host and an optional port.
//!
//! Stricter than RFC 3986: no userinfo, no percent-encoding, no sub-delims, no IPvFuture, no
//! zone, no empty host or port. What is refused here has no meaning for an edge, and has been
//! used to make two servers see two hosts.

use std::net::Ipv6Addr;

/// Where host and port lie in an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Length of the host in bytes, brackets of an IPv6 literal included.
    pub host_len: usize,
    /// The port, when one is given.
    pub port: Option<u16>,
}

impl Authority {
    /// Checks `text`; `None` when it is not `host` or `host:port`.
    pub fn parse(text: &[u8]) -> Option<Authority> {
        let host_len = if text.first() == Some(&b'[') {
            ipv6_literal_len(text)?
        } else {
            name_len(text)?
        };
        let port = match text.get(host_len) {
            None => None,
            Some(b':') => Some(port(&text[host_len + 1..])?),
            Some(_) => return None,
        };
        Some(Authority { host_len, port })
    }
}

/// The length of the registered name or IPv4 address that `text` begins with.
fn name_len(text: &[u8]) -> Option<usize> {
    // A leading dot and an empty label are refused; one trailing dot is a full domain name.
    let mut before = DOT;
    let mut len = 0;
    for &byte in text {
        let class = CLASS[usize::from(byte)];
        if class == END {
            break;
        }
        if class & before == DOT {
            return None;
        }
        before = class;
        len += 1;
    }
    (len > 0).then_some(len)
}

/// What a byte is in a name.
static CLASS: [u8; 256] = {
    let mut table = [END; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'_') {
            table[byte] = INNER;
        }
        byte += 1;
    }
    table[b'.' as usize] = DOT;
    table
};
const END: u8 = 0;
const INNER: u8 = 1;
const DOT: u8 = 2;

fn ipv6_literal_len(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let inner = std::str::from_utf8(&text[1..end]).ok()?;
    inner.parse::<Ipv6Addr>().ok()?;
    Some(end + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let mut port = 0u32;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        port = port * 10 + u32::from(digit - b'0');
    }
    u16::try_from(port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text.as_bytes()).map(|a| (&text[..a.host_len], a.port))
    }

    #[test]
    fn takes_names_and_addresses_with_and_without_port() {
        assert_eq!(parts("a.example"), Some(("a.example", None)));
        assert_eq!(
            parts("a_b-c.example.:80"),
            Some(("a_b-c.example.", Some(80)))
        );
        assert_eq!(parts("127.0.0.1:65535"), Some(("127.0.0.1", Some(65535))));
        assert_eq!(parts("[::1]"), Some(("[::1]", None)));
        assert_eq!(
            parts("[2001:db8::1]:8080"),
            Some(("[2001:db8::1]", Some(8080)))
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":80",
            "a:",
            "a:x",
            "a:65536",
            "a:000080",
            "a:80:80",
            "u@a",
            "a b",
            "a,b",
            "a/b",
            "a%41",
            "[::1",
            "::1",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "[::1]x",
            "[]",
            ".a",
            "a..b",
            "é",
            "a\\b",
            "a:-1",
            "a:+1",
            ".",
            "a?b",
            "a#b",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
