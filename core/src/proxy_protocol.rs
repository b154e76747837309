//! The PROXY protocol, versions 1 and 2: who a connection that another proxy passes on really
//! comes from (HAProxy's proxy-protocol.txt).
//!
//! A header is read before anything else of a connection, from a peer that owes one, so nothing
//! that is not one to the byte passes: neither HTTP nor TLS begins like it, and a difference is
//! told at its first byte. Whatever is read of a header's beginning is [`Read::Partial`] or the
//! error that every continuation has too.

mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

pub use crate::snapshot::ProxyVersion;

/// Bytes of the longest header that is read, and of the longest that is written.
pub const HEADER_MAX: usize = 4 << 10;

/// What the first bytes of a connection hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The beginning of a header.
    Partial,
    /// A header; the connection's own bytes follow it.
    Complete {
        /// Bytes of the header.
        len: usize,
        /// What it says.
        header: ProxyHeader,
    },
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The version that it was written in.
    pub version: ProxyVersion,
    /// The client. None where the proxy speaks for itself (a health check), does not know or
    /// has no IP address to name: then the socket's own address counts.
    pub source: Option<SocketAddr>,
    /// The address that the client called; there exactly when `source` is.
    pub destination: Option<SocketAddr>,
}

/// Why the bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin with neither `PROXY ` nor the signature of version 2.
    Signature,
    /// A line of version 1 that is not one of the three that there are.
    Line,
    /// A line of version 1 without an end within 107 bytes.
    LineTooLong,
    /// An address that is none of its family.
    Address,
    /// A port that is no number up to 65535, or has leading zeros.
    Port,
    /// A binary header of a version other than 2.
    Version,
    /// A command other than LOCAL and PROXY.
    Command,
    /// An address family or transport that no stream has.
    Family,
    /// A length that does not hold the family's addresses.
    Length,
    /// A length beyond [`HEADER_MAX`].
    TooLong,
    /// Attributes that overrun the header, or a checksum that is not the only one of four bytes.
    Attribute,
    /// The checksum is not that of the header.
    Checksum,
}

impl std::fmt::Display for ProxyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ProxyError::Signature => "no PROXY protocol header at the connection's beginning",
            ProxyError::Line => "a PROXY line that is not TCP4, TCP6 or UNKNOWN as specified",
            ProxyError::LineTooLong => "a PROXY line without CRLF within 107 bytes",
            ProxyError::Address => "an address in a PROXY line that is none of its family",
            ProxyError::Port => "a port in a PROXY line that is none",
            ProxyError::Version => "a binary PROXY header of a version other than 2",
            ProxyError::Command => "a PROXY header with an unknown command",
            ProxyError::Family => "a PROXY header for something other than a stream",
            ProxyError::Length => "a PROXY header too short for its addresses",
            ProxyError::TooLong => "a PROXY header of more than 4096 bytes",
            ProxyError::Attribute => "a PROXY header with malformed attributes",
            ProxyError::Checksum => "a PROXY header with a wrong checksum",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Reads the header that `bytes`, the first of a connection, begin with, in either version.
///
/// # Errors
/// When the bytes are not the beginning of any header, as soon as that shows.
pub fn read(bytes: &[u8]) -> Result<Read, ProxyError> {
    // The first byte tells the versions apart: `P` and CR.
    match bytes {
        [] => Ok(Read::Partial),
        [b'P', ..] => v1::read(bytes),
        [b'\r', ..] => v2::read(bytes),
        _ => Err(ProxyError::Signature),
    }
}

/// Appends a header that names the client and the address it called. Without both of them (a
/// UNIX socket) it says that the connection's own addresses count.
pub fn write(
    version: ProxyVersion,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    out: &mut Vec<u8>,
) {
    let pair = source.zip(destination).map(|(from, to)| Pair::of(from, to));
    match version {
        ProxyVersion::V1 => v1::write(pair, out),
        ProxyVersion::V2 => v2::write(pair, out),
    }
}

/// Source and destination, brought to one family: a header has room for one only.
#[derive(Clone, Copy, Debug)]
struct Pair {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Pair {
    /// IPv4 where both are, however a socket of both families spells them; IPv6 otherwise.
    fn of(source: SocketAddr, destination: SocketAddr) -> Pair {
        let to = |addr: SocketAddr, ip: IpAddr| SocketAddr::new(ip, addr.port());
        match (source.ip().to_canonical(), destination.ip().to_canonical()) {
            (from @ IpAddr::V4(_), at @ IpAddr::V4(_)) => Pair {
                source: to(source, from),
                destination: to(destination, at),
            },
            (from, at) => Pair {
                source: to(source, mapped(from)),
                destination: to(destination, mapped(at)),
            },
        }
    }
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 => v6,
    }
}

/// Whether one begins with the other: what has come so far may still become what is due.
fn may_become(bytes: &[u8], due: &[u8]) -> bool {
    let known = bytes.len().min(due.len());
    bytes[..known] == due[..known]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
