//! OCSP responses to staple (RFC 6960), read only as far as it takes to tell a good one from a
//! stale, wrong or revoking one; clients check the signature.

use std::path::PathBuf;

use ringgate_config::Spanned;
use ringgate_core::base64::Decoder;
use ringgate_core::tls::Staple;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::asn1_rs::{FromDer as _, GeneralizedTime};
use x509_parser::certificate::X509Certificate;

use super::reader::Reader;

impl Reader {
    /// The response in a file, for the certificate it must be about; none when it cannot be
    /// used, which has been noted.
    pub fn staple(&mut self, path: &Spanned<PathBuf>, leaf: &CertificateDer<'_>) -> Option<Staple> {
        const FETCH: &str =
            "fetch it anew: openssl ocsp -issuer CHAIN -cert CERT -url URL -respout FILE";
        let content = self.content(path)?;
        let der = match content.looks_like_der() {
            true => Some(content.bytes.clone()),
            false => from_base64(&content.bytes),
        };
        let Some(response) = der.as_deref().and_then(response) else {
            self.error("tls-ocsp", path, "holds no OCSP response", FETCH);
            return None;
        };
        let serial = X509Certificate::from_der(leaf)
            .ok()?
            .1
            .tbs_certificate
            .raw_serial()
            .to_vec();
        let Some(single) = response.into_iter().find(|single| single.serial == serial) else {
            let what = "holds an OCSP response about another certificate";
            self.error("tls-ocsp", path, what, FETCH);
            return None;
        };
        if single.status == Status::Revoked {
            let what = "says that the certificate has been revoked";
            self.error("tls-ocsp", path, what, "have a new certificate issued");
            return None;
        }
        if let Some(end) = single.next_update.filter(|end| *end < self.now) {
            let what = format!(
                "holds an OCSP response that went stale {}; it is not shown",
                self.when(end)
            );
            self.warning("tls-ocsp", path, what, FETCH);
            return None;
        }
        let seconds = single.next_update.and_then(|end| u64::try_from(end).ok());
        Some(Staple {
            response: der?,
            stale_at: seconds
                .map(|at| UnixTime::since_unix_epoch(std::time::Duration::from_secs(at))),
        })
    }
}

/// The answer about one certificate.
struct Single {
    serial: Vec<u8>,
    status: Status,
    next_update: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

/// PEM of any label, or bare base64.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (mut decoder, mut der) = (Decoder::default(), Vec::new());
    for line in text.lines().filter(|line| !line.starts_with("-----")) {
        decoder.push(line.trim().as_bytes(), &mut der).ok()?;
    }
    decoder.is_between_groups().then_some(der)
}

/// The answers in an OCSPResponse (RFC 6960 section 4.2.1); none when it is none, or when it
/// says that there is none.
fn response(der: &[u8]) -> Option<Vec<Single>> {
    let (outer, _) = expect(der, SEQUENCE)?;
    let (status, rest) = expect(outer, ENUMERATED)?;
    if status != [0] {
        return None;
    }
    let (bytes, _) = expect(rest, CONTEXT_0)?;
    let (bytes, _) = expect(bytes, SEQUENCE)?;
    let (_, rest) = expect(bytes, OBJECT_IDENTIFIER)?;
    let (basic, _) = expect(rest, OCTET_STRING)?;
    let (basic, _) = expect(basic, SEQUENCE)?;
    let (data, _) = expect(basic, SEQUENCE)?;
    // The version is left out when it is the first.
    let rest = expect(data, CONTEXT_0).map_or(data, |(_, rest)| rest);
    let (_, _, rest) = element(rest)?;
    let (_, rest) = expect(rest, GENERALIZED_TIME)?;
    let (mut responses, _) = expect(rest, SEQUENCE)?;
    let mut singles = Vec::new();
    while !responses.is_empty() {
        let (one, rest) = expect(responses, SEQUENCE)?;
        singles.push(single(one)?);
        responses = rest;
    }
    Some(singles)
}

fn single(der: &[u8]) -> Option<Single> {
    let (id, rest) = expect(der, SEQUENCE)?;
    let (_, id) = expect(id, SEQUENCE)?;
    let (_, id) = expect(id, OCTET_STRING)?;
    let (_, id) = expect(id, OCTET_STRING)?;
    let (serial, _) = expect(id, INTEGER)?;
    let (tag, _, rest) = element(rest)?;
    let status = match tag & 0x1f {
        0 => Status::Good,
        1 => Status::Revoked,
        _ => Status::Unknown,
    };
    let (_, rest) = expect(rest, GENERALIZED_TIME)?;
    let next_update = match expect(rest, CONTEXT_0) {
        Some((time, _)) => {
            let (_, time) = GeneralizedTime::from_der(time).ok()?;
            Some(time.utc_datetime().ok()?.unix_timestamp())
        }
        None => None,
    };
    Some(Single {
        serial: serial.to_vec(),
        status,
        next_update,
    })
}

fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag, content and what follows, of an element with a one-byte tag.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let big_endian = length.iter();
            let length = big_endian.fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;
