//! Version 1: one line of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Pair, ProxyError, ProxyHeader, ProxyVersion, Read, may_become};

/// The longest line with its CRLF.
const LINE_MAX: usize = 107;

const BEGIN: &[u8] = b"PROXY ";

pub(super) fn read(bytes: &[u8]) -> Result<Read, ProxyError> {
    if !may_become(bytes, BEGIN) {
        return Err(ProxyError::Signature);
    }
    let Some(family) = Family::of(bytes.get(BEGIN.len()..).unwrap_or_default())? else {
        return Ok(Read::Partial);
    };
    let Some(end) = line_end(bytes)? else {
        return Ok(Read::Partial);
    };
    let addresses = bytes.get(BEGIN.len() + family.word().len()..end);
    let addresses = addresses.unwrap_or_default();
    let pair = match family {
        Family::Tcp4 => Some(pair(addresses, |text| {
            text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        })?),
        Family::Tcp6 => Some(pair(addresses, |text| {
            text.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        })?),
        Family::Unknown => None,
    };
    Ok(Read::Complete {
        len: end + CRLF.len(),
        header: ProxyHeader {
            version: ProxyVersion::V1,
            source: pair.map(|pair| pair.source),
            destination: pair.map(|pair| pair.destination),
        },
    })
}

const CRLF: &[u8] = b"\r\n";

/// Where the line's CRLF begins, once it has come. A byte that stands in no line is refused at
/// once.
fn line_end(bytes: &[u8]) -> Result<Option<usize>, ProxyError> {
    const ENDS_MAX: usize = LINE_MAX - CRLF.len();
    let known = bytes.get(..=ENDS_MAX).unwrap_or(bytes);
    let text = known.iter().take_while(|byte| matches!(byte, b' '..=b'~'));
    let end = text.count();
    match (bytes.get(end), bytes.get(end + 1)) {
        _ if end > ENDS_MAX => Err(ProxyError::LineTooLong),
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(end)),
        _ => Err(ProxyError::Line),
    }
}

/// What stands behind `PROXY `.
#[derive(Clone, Copy)]
enum Family {
    Tcp4,
    Tcp6,
    /// Whatever follows on the line is skipped.
    Unknown,
}

impl Family {
    /// None until the word and the byte behind it have come.
    fn of(rest: &[u8]) -> Result<Option<Family>, ProxyError> {
        let mut all = [Family::Tcp4, Family::Tcp6, Family::Unknown].into_iter();
        let family = all.find(|family| may_become(rest, family.word()));
        let family = family.ok_or(ProxyError::Line)?;
        match (family, rest.get(family.word().len())) {
            (_, None) => Ok(None),
            (Family::Unknown, Some(b' ' | b'\r')) => Ok(Some(family)),
            (Family::Unknown, Some(_)) => Err(ProxyError::Line),
            (_, Some(_)) => Ok(Some(family)),
        }
    }

    const fn word(self) -> &'static [u8] {
        match self {
            Family::Tcp4 => b"TCP4 ",
            Family::Tcp6 => b"TCP6 ",
            Family::Unknown => b"UNKNOWN",
        }
    }
}

/// `source destination source-port destination-port`, one space between each.
fn pair(text: &[u8], ip: impl Fn(&str) -> Option<IpAddr>) -> Result<Pair, ProxyError> {
    let text = std::str::from_utf8(text).map_err(|_| ProxyError::Line)?;
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(ProxyError::Line);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(ProxyError::Line);
    }
    let ip = |text| ip(text).ok_or(ProxyError::Address);
    Ok(Pair {
        source: SocketAddr::new(ip(source)?, port(source_port)?),
        destination: SocketAddr::new(ip(destination)?, port(destination_port)?),
    })
}

/// Digits alone: `parse` would take a sign and leading zeros.
fn port(text: &str) -> Result<u16, ProxyError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match digits && (text == "0" || !text.starts_with('0')) {
        true => text.parse().map_err(|_| ProxyError::Port),
        false => Err(ProxyError::Port),
    }
}

pub(super) fn write(pair: Option<Pair>, out: &mut Vec<u8>) {
    let Some(Pair {
        source,
        destination,
    }) = pair
    else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    out.extend_from_slice(BEGIN);
    out.extend_from_slice(match source {
        SocketAddr::V4(_) => Family::Tcp4.word(),
        SocketAddr::V6(_) => Family::Tcp6.word(),
    });
    let (from, to) = (source.ip(), destination.ip());
    let (from_port, to_port) = (source.port(), destination.port());
    // Writing into a vector cannot fail.
    let _ = write!(out, "{from} {to} {from_port} {to_port}\r\n");
}
