//! What a client's first TLS flight asks for, read without answering it: the server name that a
//! passed connection is routed by, and whether an ACME authority is calling.
//!
//! Every length is checked against what holds it and the whole is bounded. What cannot be read
//! to its end is malformed, never a connection without a name. The origin reads the same bytes
//! again, so nothing is judged here that does not change where they go.

use std::borrow::Cow;
use std::net::IpAddr;

/// Bytes of a flight that are looked at; a ClientHello that does not end within is malformed.
pub const FLIGHT_MAX: usize = 16 << 10;

/// What the first bytes of a connection hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The beginning of a ClientHello.
    Partial,
    /// A ClientHello.
    Complete(Asked),
    /// Something other than a TLS handshake; the first two bytes tell.
    NotTls,
    /// A TLS handshake that breaks RFC 8446, RFC 6066 or RFC 7301, or is too long.
    Malformed,
}

/// What a ClientHello asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The server name in lower case, without a final dot. None where the client named none,
    /// or an IP address, which is no name (RFC 6066, 3).
    pub name: Option<Box<str>>,
    /// Whether it wants to see the proof of an ACME challenge.
    pub acme: AcmeTls,
}

/// Whether a client offers `acme-tls/1` (RFC 8737).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcmeTls {
    /// It does.
    Offered,
    /// It does not.
    Unoffered,
}

/// Reads the ClientHello that `bytes`, the first of a connection, begin with.
pub fn server_name(bytes: &[u8]) -> Hello {
    // A handshake record of some 3.x (RFC 8446, 5.1); HTTP/1, HTTP/2 and SSH begin otherwise.
    let not_tls = match bytes {
        [] => false,
        [first] => *first != HANDSHAKE,
        [first, major, ..] => *first != HANDSHAKE || *major != 3,
    };
    if not_tls {
        return Hello::NotTls;
    }
    let known = bytes.get(..FLIGHT_MAX).unwrap_or(bytes);
    match client_hello(known) {
        Ok(hello) => match asked(&hello) {
            Some(asked) => Hello::Complete(asked),
            None => Hello::Malformed,
        },
        Err(Short::Partial) if known.len() < FLIGHT_MAX => Hello::Partial,
        Err(_) => Hello::Malformed,
    }
}

/// The content type of records and the type of the message in them.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Bytes of a record, or of the message, before what it holds.
const RECORD_HEADER_LEN: usize = 5;
const MESSAGE_HEADER_LEN: usize = 4;

/// The longest record without protection (RFC 8446, 5.1).
const RECORD_MAX: usize = 1 << 14;

/// Why there is no whole message.
#[derive(Clone, Copy)]
enum Short {
    Partial,
    Malformed,
}

/// The body of the ClientHello, put together where it lies in several records.
fn client_hello(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Short> {
    let mut rest = bytes;
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        let (piece, behind) = record(rest)?;
        rest = behind;
        match message.is_empty() {
            true => message = Cow::Borrowed(piece),
            false => message.to_mut().extend_from_slice(piece),
        }
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Short::Malformed);
        }
        if let Some(&[_, high, middle, low]) = message.get(..MESSAGE_HEADER_LEN) {
            let len = u32::from_be_bytes([0, high, middle, low]) as usize;
            if len > FLIGHT_MAX - RECORD_HEADER_LEN - MESSAGE_HEADER_LEN {
                return Err(Short::Malformed);
            }
            let end = MESSAGE_HEADER_LEN + len;
            if message.len() >= end {
                return Ok(match message {
                    Cow::Borrowed(whole) => Cow::Borrowed(&whole[MESSAGE_HEADER_LEN..end]),
                    Cow::Owned(whole) => Cow::Owned(whole[MESSAGE_HEADER_LEN..end].to_vec()),
                });
            }
        }
        if rest.is_empty() {
            return Err(Short::Partial);
        }
    }
}

/// What has come of the record that `bytes` begin with, and what lies behind it. A handshake
/// record holds at least a byte (RFC 8446, 5.1).
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Short> {
    match bytes {
        [kind, ..] if *kind != HANDSHAKE => return Err(Short::Malformed),
        [_, major, ..] if *major != 3 => return Err(Short::Malformed),
        _ => {}
    }
    let Some((&[_, _, _, high, low], rest)) = bytes.split_first_chunk::<RECORD_HEADER_LEN>() else {
        return Err(Short::Partial);
    };
    match usize::from(u16::from_be_bytes([high, low])) {
        1..=RECORD_MAX if rest.is_empty() => Err(Short::Partial),
        len @ 1..=RECORD_MAX => Ok(rest.split_at(len.min(rest.len()))),
        _ => Err(Short::Malformed),
    }
}

/// The extensions that matter (RFC 6066, 3 and RFC 7301, 3.1).
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;

/// What a whole ClientHello (RFC 8446, 4.1.2) asks for; `None` when it is malformed.
fn asked(hello: &[u8]) -> Option<Asked> {
    let mut hello = Cursor(hello);
    let [major, _minor] = hello.array()?;
    let _random: [u8; 32] = hello.array()?;
    let session = hello.short_vector()?;
    let suites = hello.vector()?;
    let compressions = hello.short_vector()?;
    let well_formed = major == 3
        && session.len() <= 32
        && !suites.is_empty()
        && suites.len() % 2 == 0
        && !compressions.is_empty();
    if !well_formed {
        return None;
    }
    let mut asked = Asked {
        name: None,
        acme: AcmeTls::Unoffered,
    };
    // Before TLS 1.3 a client could leave the extensions out altogether.
    if hello.is_empty() {
        return Some(asked);
    }
    let mut extensions = Cursor(hello.vector()?);
    if !hello.is_empty() {
        return None;
    }
    let (mut names, mut protocols) = (0, 0);
    while !extensions.is_empty() {
        let kind = u16::from_be_bytes(extensions.array()?);
        let data = extensions.vector()?;
        match kind {
            SERVER_NAME => {
                names += 1;
                asked.name = host_name(data)?;
            }
            PROTOCOLS => {
                protocols += 1;
                asked.acme = acme(data)?;
            }
            _ => {}
        }
    }
    // Whoever reads the first of two goes elsewhere than who reads the last.
    (names <= 1 && protocols <= 1).then_some(asked)
}

/// The one name of a server name list. Other types of names do not exist, and two names of one
/// type are forbidden.
fn host_name(data: &[u8]) -> Option<Option<Box<str>>> {
    let mut data = Cursor(data);
    let mut list = Cursor(data.vector()?);
    let [kind] = list.array()?;
    let name = list.vector()?;
    if kind != 0 || !list.is_empty() || !data.is_empty() {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    match name.parse::<IpAddr>() {
        Ok(_) => Some(None),
        Err(_) if is_host(name) => Some(Some(name.to_ascii_lowercase().into())),
        Err(_) => None,
    }
}

/// Whether it is a name as the DNS has it: labels of up to 63 letters, digits, hyphens and
/// underscores, no hyphen at an end of one; 253 bytes in all.
fn is_host(name: &str) -> bool {
    let is_label = |label: &[u8]| {
        matches!(label.len(), 1..=63)
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.as_bytes().split(|byte| *byte == b'.').all(is_label)
}

/// Whether a protocol list names the ACME challenge's.
fn acme(data: &[u8]) -> Option<AcmeTls> {
    let mut data = Cursor(data);
    let mut list = Cursor(data.vector()?);
    if list.is_empty() || !data.is_empty() {
        return None;
    }
    let mut acme = AcmeTls::Unoffered;
    while !list.is_empty() {
        match list.short_vector()? {
            [] => return None,
            b"acme-tls/1" => acme = AcmeTls::Offered,
            _ => {}
        }
    }
    Some(acme)
}

/// What is left to read of a structure; every step is `None` where it would overrun.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A vector behind one byte of length.
    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let [len] = self.array()?;
        self.take(usize::from(len))
    }

    /// A vector behind two bytes of length.
    fn vector(&mut self) -> Option<&'a [u8]> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
