//! Version 2: a signature, command and family, a length, addresses, attributes.

use std::net::{IpAddr, SocketAddr};

use super::{HEADER_MAX, Pair, ProxyError, ProxyHeader, ProxyVersion, Read, may_become};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const FIXED_LEN: usize = 16;

pub(super) fn read(bytes: &[u8]) -> Result<Read, ProxyError> {
    if !may_become(bytes, SIGNATURE) {
        return Err(ProxyError::Signature);
    }
    let command = bytes.get(12).map(|byte| Command::of(*byte)).transpose()?;
    let family = match (command, bytes.get(13)) {
        (Some(Command::Proxy), Some(byte)) => Some(Family::of(*byte)?),
        // Of a connection of the proxy's own, everything that follows is to be skipped.
        (Some(Command::Local), Some(_)) => Some(Family::Unspecified),
        _ => None,
    };
    let (Some(family), Some(&[high, low])) = (family, bytes.get(14..FIXED_LEN)) else {
        return Ok(Read::Partial);
    };
    let len = FIXED_LEN + usize::from(u16::from_be_bytes([high, low]));
    if len > HEADER_MAX {
        return Err(ProxyError::TooLong);
    }
    let attributes_at = FIXED_LEN + family.addresses_len();
    if attributes_at > len {
        return Err(ProxyError::Length);
    }
    let Some(header) = bytes.get(..len) else {
        return Ok(Read::Partial);
    };
    // Where the family is none, nobody can say where its attributes would begin.
    if family != Family::Unspecified {
        check_attributes(header, attributes_at)?;
    }
    let addresses = header.get(FIXED_LEN..attributes_at).unwrap_or_default();
    let pair = family.pair(addresses);
    Ok(Read::Complete {
        len,
        header: ProxyHeader {
            version: ProxyVersion::V2,
            source: pair.map(|pair| pair.source),
            destination: pair.map(|pair| pair.destination),
        },
    })
}

#[derive(Clone, Copy)]
enum Command {
    /// The proxy itself has made the connection.
    Local,
    /// It passes one on.
    Proxy,
}

impl Command {
    fn of(byte: u8) -> Result<Command, ProxyError> {
        match (byte >> 4, byte & 15) {
            (2, 0) => Ok(Command::Local),
            (2, 1) => Ok(Command::Proxy),
            (2, _) => Err(ProxyError::Command),
            _ => Err(ProxyError::Version),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspecified,
    Tcp4,
    Tcp6,
    Unix,
}

impl Family {
    fn of(byte: u8) -> Result<Family, ProxyError> {
        match byte {
            0x00 => Ok(Family::Unspecified),
            TCP4 => Ok(Family::Tcp4),
            TCP6 => Ok(Family::Tcp6),
            0x31 => Ok(Family::Unix),
            _ => Err(ProxyError::Family),
        }
    }

    const fn addresses_len(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::Tcp4 => 12,
            Family::Tcp6 => 36,
            Family::Unix => 216,
        }
    }

    fn pair(self, addresses: &[u8]) -> Option<Pair> {
        match self {
            Family::Unspecified | Family::Unix => None,
            Family::Tcp4 => pair_of::<4>(addresses),
            Family::Tcp6 => pair_of::<16>(addresses),
        }
    }
}

const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Two addresses of `N` bytes, then their ports.
fn pair_of<const N: usize>(bytes: &[u8]) -> Option<Pair>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk()?;
    let destination_port = rest.first_chunk()?;
    let addr =
        |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new((*ip).into(), u16::from_be_bytes(*port));
    Some(Pair {
        source: addr(source, source_port),
        destination: addr(destination, destination_port),
    })
}

/// The attribute that holds the checksum of the whole header, itself as zeros.
const CRC32C: u8 = 0x03;

/// Whether the attributes fill the header to its end, and the checksum is right where there is
/// one. What they say is not looked at.
fn check_attributes(header: &[u8], from: usize) -> Result<(), ProxyError> {
    let mut at = from;
    let mut checksum = None;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return Err(ProxyError::Attribute);
        };
        let value_at = at + 3;
        at = value_at + usize::from(u16::from_be_bytes([high, low]));
        let value = header.get(value_at..at).ok_or(ProxyError::Attribute)?;
        if kind == CRC32C {
            let told = value.try_into().map_err(|_| ProxyError::Attribute)?;
            if checksum
                .replace((value_at, u32::from_be_bytes(told)))
                .is_some()
            {
                return Err(ProxyError::Attribute);
            }
        }
    }
    let Some((value_at, told)) = checksum else {
        return Ok(());
    };
    let (before, rest) = header.split_at(value_at);
    let state = crc32c(u32::MAX, before);
    let state = crc32c(state, &[0; 4]);
    match !crc32c(state, &rest[4..]) == told {
        true => Ok(()),
        false => Err(ProxyError::Checksum),
    }
}

/// Castagnoli's checksum (RFC 3309) carried on over `bytes`; it begins with all ones and ends
/// inverted.
pub(super) fn crc32c(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, byte| {
        TABLE[usize::from(state as u8 ^ byte)] ^ (state >> 8)
    })
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = (value >> 1) ^ (0x82f6_3b78 * (value & 1));
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

pub(super) fn write(pair: Option<Pair>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let Some(Pair {
        source,
        destination,
    }) = pair
    else {
        out.extend_from_slice(&[0x20, 0x00, 0, 0]);
        return;
    };
    let family = match source {
        SocketAddr::V4(_) => TCP4,
        SocketAddr::V6(_) => TCP6,
    };
    out.extend_from_slice(&[0x21, family, 0]);
    // The two have one family.
    out.push(match source {
        SocketAddr::V4(_) => Family::Tcp4.addresses_len() as u8,
        SocketAddr::V6(_) => Family::Tcp6.addresses_len() as u8,
    });
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
}
