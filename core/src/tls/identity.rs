//! Who a client's certificate says it is, as text that may stand in a header field: printable
//! ASCII only, everything else and every separator escaped, bounded in length. The certificate
//! has been verified before, but what is in it was written by whoever asked for it.

use std::fmt::Write as _;

use rustls::pki_types::UnixTime;
use x509_parser::asn1_rs::{Any, Oid, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The identity in a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject as RFC 4514 writes it, such as `CN=alice,O=Example`; bytes other than
    /// printable ASCII are escaped as `\xx`. Empty when there is none, or when it is longer
    /// than [`SUBJECT_BYTES_MAX`]: half a name would be another name.
    pub subject: Box<str>,
    /// Alternative names with their kind: `DNS:a.example`, `URI:spiffe://a/b`,
    /// `EMAIL:a@b.example`, `IP:192.0.2.1`, in the order of the certificate. Commas, spaces,
    /// backslashes and all that is not printable ASCII are escaped as `\xx`, so that the names
    /// may be joined with commas. Other kinds are left out, and so is what does not fit into
    /// [`SANS_MAX`] names of [`SANS_BYTES_MAX`] bytes together.
    pub sans: Vec<Box<str>>,
    /// SHA-256 of the certificate, as 64 hexadecimal digits in lower case.
    pub fingerprint: Box<str>,
}

/// A longer subject is left out.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// More alternative names are left out.
pub const SANS_MAX: usize = 32;
/// For all alternative names together; one that does not fit is left out.
pub const SANS_BYTES_MAX: usize = 2048;

impl ClientIdentity {
    /// Reads a certificate in DER; `None` when it is none.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Self {
            subject: subject(parsed.subject()).into(),
            sans: sans(&parsed),
            fingerprint: fingerprint(certificate).into(),
        })
    }

    /// The alternative names joined with commas, for a header field.
    pub fn joined_sans(&self) -> String {
        self.sans.join(",")
    }
}

/// Whether a certificate in DER is in its time at `now`; false for what is none.
///
/// To be asked of a client's certificate when its session was resumed: nothing else judges it
/// then, and every resumption brings a new ticket, so that a client which keeps coming back
/// would outlive its certificate without end.
pub fn is_in_time(certificate: &[u8], now: UnixTime) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let (begin, end) = (parsed.validity().not_before, parsed.validity().not_after);
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    (begin.timestamp()..=end.timestamp()).contains(&now)
}

/// The subject of a certificate as RFC 4514 writes it; empty when it is too long.
pub fn subject(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    // RFC 4514 section 2.1: the last one first.
    let rdns: Vec<_> = name.iter_rdn().take(RDNS_MAX + 1).collect();
    if rdns.len() > RDNS_MAX {
        return String::new();
    }
    for (index, rdn) in rdns.into_iter().rev().enumerate() {
        for (at, attribute) in rdn.iter().enumerate() {
            match (index, at) {
                (0, 0) => {}
                (_, 0) => out.push(','),
                _ => out.push('+'),
            }
            push_attribute(&mut out, attribute);
            if out.len() > SUBJECT_BYTES_MAX {
                return String::new();
            }
        }
    }
    out
}

fn push_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type();
    let value = attribute.attr_value();
    let Some(name) = short_name(oid) else {
        // RFC 4514 section 2.4: a type without a short name has its value in hexadecimal.
        let _ = write!(out, "{}", oid.to_id_string());
        return push_encoded(out, value);
    };
    out.push_str(name);
    match text(value) {
        Some(text) => {
            out.push('=');
            push_value(out, &text);
        }
        None => push_encoded(out, value),
    }
}

/// The names of RFC 4514 section 3.
fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    match oid.to_id_string().as_str() {
        "2.5.4.3" => Some("CN"),
        "2.5.4.7" => Some("L"),
        "2.5.4.8" => Some("ST"),
        "2.5.4.10" => Some("O"),
        "2.5.4.11" => Some("OU"),
        "2.5.4.6" => Some("C"),
        "2.5.4.9" => Some("STREET"),
        "0.9.2342.19200300.100.1.25" => Some("DC"),
        "0.9.2342.19200300.100.1.1" => Some("UID"),
        _ => None,
    }
}

/// The text of a string type, in UTF-8. No type is guessed at.
fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString => {
            std::str::from_utf8(value.data).ok().map(str::to_owned)
        }
        Tag::BmpString if value.data.len().is_multiple_of(2) => {
            let pairs = value.data.chunks_exact(2);
            let units = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

fn push_encoded(out: &mut String, value: &Any<'_>) {
    out.push_str("=#");
    for byte in value.to_der_vec().unwrap_or_default() {
        if out.len() > SUBJECT_BYTES_MAX {
            return;
        }
        let _ = write!(out, "{byte:02x}");
    }
}

/// RFC 4514 section 2.4. An equals sign need not be escaped there; here it is, for the sake of
/// whoever looks for `CN=` in the text.
fn push_value(out: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\20"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => push_escaped(out, byte),
        }
        if out.len() > SUBJECT_BYTES_MAX {
            return;
        }
    }
}

fn push_escaped(out: &mut String, byte: u8) {
    let _ = write!(out, "\\{byte:02X}");
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let (mut names, mut bytes) = (Vec::new(), 0);
    for name in &extension.value.general_names {
        let Some(text) = san(name) else {
            continue;
        };
        if names.len() < SANS_MAX && bytes + text.len() < SANS_BYTES_MAX {
            bytes += text.len() + 1;
            names.push(text.into());
        }
    }
    names
}

fn san(name: &GeneralName<'_>) -> Option<String> {
    let (kind, value) = match name {
        GeneralName::DNSName(name) => ("DNS:", *name),
        GeneralName::URI(uri) => ("URI:", *uri),
        GeneralName::RFC822Name(address) => ("EMAIL:", *address),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                16 => <[u8; 16]>::try_from(*bytes).ok()?.into(),
                _ => return None,
            };
            let address: std::net::IpAddr = address;
            return Some(format!("IP:{address}"));
        }
        _ => return None,
    };
    // Nothing that is longer fits; escaping it first would be work for nothing.
    if value.len() > SANS_BYTES_MAX {
        return None;
    }
    let mut out = kind.to_owned();
    for byte in value.bytes() {
        match byte {
            b',' | b'\\' | b'"' => push_escaped(&mut out, byte),
            b'!'..=b'~' => out.push(char::from(byte)),
            _ => push_escaped(&mut out, byte),
        }
    }
    Some(out)
}

/// SHA-256 in hexadecimal.
fn fingerprint(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Real subjects have fewer than ten.
const RDNS_MAX: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
