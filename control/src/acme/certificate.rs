//! What is read out of a certificate, and the certificates and requests that are made here.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// What matters here of the first certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) lifetime: Lifetime,
    pub(super) der: CertificateDer<'static>,
    names: Vec<String>,
    public_key: Vec<u8>,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Leaf {
    /// The first of a PEM chain.
    pub(super) fn of(chain: &str) -> Result<Self, String> {
        let der = CertificateDer::pem_slice_iter(chain.as_bytes())
            .next()
            .ok_or("no certificate in it")?
            .map_err(|error| error.to_string())?;
        let (_, leaf) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let names = leaf
            .subject_alternative_name()
            .map_err(|error| error.to_string())?
            .map(|extension| &extension.value.general_names[..])
            .unwrap_or_default()
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        Ok(Self {
            lifetime: Lifetime {
                not_before: system_time(leaf.validity.not_before),
                not_after: system_time(leaf.validity.not_after),
            },
            names,
            public_key: leaf.public_key().raw.to_vec(),
            der: der.clone(),
        })
    }

    /// Whether it holds for all of `names`, taken literally.
    pub(super) fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }

    /// Whether the private key in PEM is its own.
    pub(super) fn belongs_to(&self, key: &str) -> bool {
        KeyPair::from_pem(key).is_ok_and(|key| key.subject_public_key_info() == self.public_key)
    }
}

/// A fresh key and the request for a certificate of `names`.
pub(super) struct Request {
    /// PKCS #10 in DER.
    pub(super) csr: Vec<u8>,
    /// PKCS #8 in PEM.
    pub(super) key: String,
}

impl Request {
    /// With an ECDSA key on P-256, which every client takes and which costs the least to serve.
    pub(super) fn new(names: &[String]) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        // RFC 8555 section 7.4: the names alone are what is ordered.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?;
        Ok(Self {
            csr: csr.der().to_vec(),
            key: key.serialize_pem(),
        })
    }
}

/// The self-signed certificate that answers a TLS-ALPN-01 challenge (RFC 8737 section 3), and
/// its key, both in DER. `digest` is the SHA-256 of the key authorisation.
pub(super) fn tls_alpn01(name: &str, digest: &[u8]) -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
    debug_assert_eq!(digest.len(), 32, "a SHA-256");
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().to_vec(), key.serialize_der()))
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    match time.timestamp() {
        0.. => SystemTime::UNIX_EPOCH + seconds,
        _ => SystemTime::UNIX_EPOCH - seconds,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use x509_parser::oid_registry::Oid;

    use super::*;

    /// A self-signed chain of one and its key, valid from the start of one year to that of
    /// another.
    pub(in super::super) fn issued(names: &[&str], from: i32, to: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_leaf_tells_its_names_lifetime_and_key() {
        let (chain, key) = issued(&["a.example", "B.example"], 2026, 2027);
        let leaf = Leaf::of(&chain).unwrap();
        assert!(leaf.covers(&owned(&["b.example", "a.example"])));
        assert!(!leaf.covers(&owned(&["a.example", "c.example"])));
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert_eq!(leaf.lifetime.not_before + year, leaf.lifetime.not_after);
        assert!(leaf.belongs_to(&key));
        let (_, other) = issued(&["a.example"], 2026, 2027);
        assert!(!leaf.belongs_to(&other));
        assert!(!leaf.belongs_to("no key"));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "hello", junk] {
            assert!(Leaf::of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_challenge_certificate_has_the_critical_digest_and_the_one_name() {
        let (der, _) = tls_alpn01("a.example", &[7; 32]).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let oid = Oid::from(&[1, 3, 6, 1, 5, 5, 7, 1, 31]).unwrap();
        let extension = certificate.get_extension_unique(&oid).unwrap().unwrap();
        assert!(extension.critical);
        assert_eq!(extension.value, [&[4, 32][..], &[7; 32]].concat());
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName("a.example")]
        );
    }
}
