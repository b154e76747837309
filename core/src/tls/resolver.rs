//! Which certificate a client is shown: by the name it asks for, an exact name before a
//! wildcard, and of several for one name the first whose signatures it can check. Names are in
//! lower case, as rustls hands over the one that a client sent.

use std::fmt;
use std::sync::Arc;

use ahash::AHashMap;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::acme::{Challenges, TLS_ALPN01_PROTOCOL};

/// What becomes of a client that asks for a name without a certificate, or for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnlistedName {
    /// It is shown the first certificate.
    #[default]
    First,
    /// Its handshake fails.
    Refused,
}

/// A certificate and the names it is shown for.
#[derive(Clone, Debug)]
pub struct Named {
    /// Exact names, and wildcards such as `*.example.com`, which stand for one label (RFC 6125
    /// section 6.4.3). May be empty: then it can only be the first, for other names.
    pub names: Vec<Box<str>>,
    /// Its chain and key.
    pub key: Arc<CertifiedKey>,
    /// An OCSP response to show with it.
    pub staple: Option<Staple>,
}

/// An OCSP response (RFC 6960) that goes with a certificate for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// In DER.
    pub response: Vec<u8>,
    /// It is shown no more from then on: clients refuse one that is out of date, and most do
    /// without.
    pub stale_at: Option<UnixTime>,
}

/// The certificates of a listener.
pub struct Certificates {
    exact: AHashMap<Box<str>, Choices>,
    /// By what follows `*.`.
    wildcard: AHashMap<Box<str>, Choices>,
    first: Choices,
    unlisted: UnlistedName,
    challenges: Option<Arc<Challenges>>,
}

impl Certificates {
    /// From certificates in the order in which they are preferred; `None` if there is none.
    /// With `challenges`, TLS-ALPN-01 handshakes are answered from them.
    pub fn new(
        certificates: &[Named],
        unlisted: UnlistedName,
        challenges: Option<Arc<Challenges>>,
    ) -> Option<Self> {
        let (mut exact, mut wildcard) = (AHashMap::new(), AHashMap::new());
        for Named { names, key, staple } in certificates {
            let shown = Shown::new(key, staple.as_ref());
            for name in names {
                let name = name.to_ascii_lowercase();
                let (map, name): (&mut AHashMap<Box<str>, Choices>, &str) =
                    match name.strip_prefix("*.") {
                        Some(parent) => (&mut wildcard, parent),
                        None => (&mut exact, &name),
                    };
                map.entry(name.into()).or_default().add(&shown);
            }
        }
        let leader = certificates.first()?;
        let mut first = Choices::default();
        for Named { names, key, staple } in certificates {
            // The first one's twins with other kinds of keys.
            if Arc::ptr_eq(key, &leader.key) || names.iter().any(|n| leader.names.contains(n)) {
                first.add(&Shown::new(key, staple.as_ref()));
            }
        }
        Some(Self {
            exact,
            wildcard,
            first,
            unlisted,
            challenges,
        })
    }

    /// The certificate for a client that asks for `name` and can check `schemes`.
    pub fn select(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| self.named(name));
        let choices = match (named, self.unlisted) {
            (Some(choices), _) => choices,
            (None, UnlistedName::First) => &self.first,
            (None, UnlistedName::Refused) => return None,
        };
        choices.select(schemes)
    }

    fn named(&self, name: &str) -> Option<&Choices> {
        self.exact.get(name).or_else(|| {
            let (label, parent) = name.split_once('.')?;
            match label.is_empty() {
                true => None,
                false => self.wildcard.get(parent),
            }
        })
    }

    /// Whether the client asks for the certificate of a challenge: it offers that protocol and
    /// no other (RFC 8737 section 3).
    fn is_challenge<'a>(mut alpn: impl Iterator<Item = &'a [u8]>) -> bool {
        alpn.next() == Some(TLS_ALPN01_PROTOCOL) && alpn.next().is_none()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(challenges) = &self.challenges
            && hello.alpn().is_some_and(Self::is_challenge)
        {
            return challenges.tls_alpn01(hello.server_name()?);
        }
        self.select(hello.server_name(), hello.signature_schemes())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("exact", &self.exact.len())
            .field("wildcard", &self.wildcard.len())
            .field("unlisted", &self.unlisted)
            .finish_non_exhaustive()
    }
}

/// A certificate as it is shown.
#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// The same with a staple, and when to stop.
    stapled: Option<(Arc<CertifiedKey>, Option<UnixTime>)>,
}

impl Shown {
    fn new(key: &Arc<CertifiedKey>, staple: Option<&Staple>) -> Self {
        let stapled = staple.map(|staple| {
            let mut stapled = CertifiedKey::clone(key);
            stapled.ocsp = Some(staple.response.clone());
            (Arc::new(stapled), staple.stale_at)
        });
        let key = Arc::clone(key);
        Self { key, stapled }
    }

    fn now(&self) -> Arc<CertifiedKey> {
        let fresh = self.stapled.as_ref().filter(|(_, stale_at)| {
            stale_at.is_none_or(|stale_at| UnixTime::now().as_secs() < stale_at.as_secs())
        });
        Arc::clone(fresh.map_or(&self.key, |(stapled, _)| stapled))
    }
}

/// The certificates for one name; never empty once made.
#[derive(Default)]
struct Choices(Vec<Shown>);

impl Choices {
    /// Keeps the cheapest to sign with before the others, which is a fact of the algorithms:
    /// an ECDSA signature costs a tenth of an RSA one.
    fn add(&mut self, shown: &Shown) {
        let rank = |shown: &Shown| match shown.key.key.algorithm() {
            SignatureAlgorithm::ECDSA => 0,
            SignatureAlgorithm::RSA => 2,
            _ => 1,
        };
        let at = self.0.partition_point(|other| rank(other) <= rank(shown));
        self.0.insert(at, shown.clone());
    }

    /// Without one that suits the client the first is shown, so that the handshake fails for
    /// the reason that it has.
    fn select(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let suits = |shown: &&Shown| shown.key.key.choose_scheme(schemes).is_some();
        let suitable = match &self.0[..] {
            [only] => Some(only),
            several => several.iter().find(suits).or(several.first()),
        };
        suitable.map(Shown::now)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustls::sign::{Signer, SigningKey};

    #[derive(Debug)]
    struct Mute(SignatureAlgorithm);

    impl Signer for Mute {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
            Ok(Vec::new())
        }
        fn scheme(&self) -> SignatureScheme {
            scheme(self.0)
        }
    }

    impl SigningKey for Mute {
        fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            let scheme = scheme(self.0);
            offered
                .contains(&scheme)
                .then(|| Box::new(Mute(self.0)) as _)
        }
        fn algorithm(&self) -> SignatureAlgorithm {
            self.0
        }
    }

    fn scheme(algorithm: SignatureAlgorithm) -> SignatureScheme {
        match algorithm {
            SignatureAlgorithm::RSA => SignatureScheme::RSA_PSS_SHA256,
            _ => SignatureScheme::ECDSA_NISTP256_SHA256,
        }
    }

    const BOTH: [SignatureScheme; 2] = [
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
    ];

    fn named(names: &[&str], algorithm: SignatureAlgorithm) -> Named {
        let key = CertifiedKey::new(Vec::new(), Arc::new(Mute(algorithm)));
        Named {
            names: names.iter().map(|name| (*name).into()).collect(),
            key: Arc::new(key),
            staple: None,
        }
    }

    fn shown(certificates: &[Named], unlisted: UnlistedName, name: Option<&str>) -> Option<usize> {
        let resolver = Certificates::new(certificates, unlisted, None).unwrap();
        let key = resolver.select(name, &BOTH)?;
        let mut each = certificates.iter();
        each.position(|named| Arc::ptr_eq(&named.key, &key))
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_both_before_the_first() {
        let certificates = [
            named(&["other.example"], SignatureAlgorithm::ECDSA),
            named(&["*.example.com"], SignatureAlgorithm::ECDSA),
            named(&["A.example.com"], SignatureAlgorithm::ECDSA),
            named(&["*.b.example.com"], SignatureAlgorithm::ECDSA),
        ];
        for (name, index) in [
            (Some("a.example.com"), 2),
            (Some("b.example.com"), 1),
            (Some("x.b.example.com"), 3),
            (Some("x.y.example.com"), 0),
            (Some("example.com"), 0),
            (Some(".example.com"), 0),
            (Some(""), 0),
            (None, 0),
        ] {
            let found = shown(&certificates, UnlistedName::First, name);
            assert_eq!(found, Some(index), "{name:?}");
        }
    }

    #[test]
    fn a_strict_listener_shows_nothing_for_other_names_and_none() {
        let certificates = [named(
            &["a.example", "*.b.example"],
            SignatureAlgorithm::ECDSA,
        )];
        for (name, index) in [
            (Some("a.example"), Some(0)),
            (Some("x.b.example"), Some(0)),
            (Some("b.example"), None),
            (Some("a.example."), None),
            (None, None),
        ] {
            let found = shown(&certificates, UnlistedName::Refused, name);
            assert_eq!(found, index, "{name:?}");
        }
    }

    #[test]
    fn the_client_gets_the_key_that_it_can_check() {
        let certificates = [
            named(&["a.example"], SignatureAlgorithm::RSA),
            named(&["a.example"], SignatureAlgorithm::ECDSA),
            named(&["z.example"], SignatureAlgorithm::ECDSA),
        ];
        let resolver = Certificates::new(&certificates, UnlistedName::First, None).unwrap();
        for name in [Some("a.example"), Some("unknown"), None] {
            let index = |schemes: &[SignatureScheme]| {
                let key = resolver.select(name, schemes).unwrap();
                let mut each = certificates.iter();
                each.position(|named| Arc::ptr_eq(&named.key, &key))
            };
            assert_eq!(index(&BOTH), Some(1), "{name:?}");
            assert_eq!(index(&BOTH[..1]), Some(0), "{name:?}");
            assert_eq!(index(&BOTH[1..]), Some(1), "{name:?}");
            assert_eq!(index(&[]), Some(1), "{name:?}");
        }
    }

    #[test]
    fn a_challenge_is_asked_for_by_its_protocol_alone() {
        let asks = |offered: &[&'static [u8]]| Certificates::is_challenge(offered.iter().copied());
        assert!(asks(&[b"acme-tls/1"]));
        assert!(!asks(&[]));
        assert!(!asks(&[b"h2"]));
        assert!(!asks(&[b"acme-tls/1", b"h2"]));
        assert!(!asks(&[b"h2", b"acme-tls/1"]));
    }

    #[test]
    fn a_staple_is_shown_until_it_is_stale() {
        let mut certificate = named(&["a.example"], SignatureAlgorithm::ECDSA);
        let stapled = |stale_at: Option<u64>| {
            let after = std::time::Duration::from_secs;
            certificate.staple = Some(Staple {
                response: vec![1],
                stale_at: stale_at.map(|at| UnixTime::since_unix_epoch(after(at))),
            });
            let certificates = [certificate.clone()];
            let resolver = Certificates::new(&certificates, UnlistedName::First, None).unwrap();
            resolver.select(None, &BOTH).unwrap().ocsp.clone()
        };
        let shown: Vec<_> = [None, Some(u64::MAX), Some(0)]
            .into_iter()
            .map(stapled)
            .collect();
        assert_eq!(shown, [Some(vec![1]), Some(vec![1]), None]);
    }

    #[test]
    fn no_certificate_makes_no_resolver() {
        assert!(Certificates::new(&[], UnlistedName::First, None).is_none());
    }
}
