//! Answers to the challenges of a certificate authority (RFC 8555): what proves to it that a
//! name leads here. The control plane writes them, every worker reads them without a lock; the
//! table never changes, it is replaced.

use std::fmt;
use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::sign::CertifiedKey;

/// Where an authority asks for the answer to an HTTP-01 challenge (RFC 8555 section 8.3); the
/// token follows.
pub const HTTP01_PREFIX: &[u8] = b"/.well-known/acme-challenge/";

/// The application protocol of a TLS-ALPN-01 handshake (RFC 8737 section 6.2). A listener whose
/// certificates come by ACME offers it beside its own; who agreed on it is closed after the
/// handshake.
pub const TLS_ALPN01_PROTOCOL: &[u8] = b"acme-tls/1";

/// The challenges that are open now, empty almost always. One for the whole process; share it
/// behind an `Arc`.
#[derive(Default)]
pub struct Challenges {
    open: ArcSwap<Open>,
}

impl Challenges {
    /// No challenge is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// The key authorisation of `token`: the whole body of the answer, to be sent as
    /// `application/octet-stream`. None for an unknown token and for what cannot be one.
    pub fn http01(&self, token: &[u8]) -> Option<Bytes> {
        if !is_token(token) {
            return None;
        }
        self.open.load().tokens.get(token).cloned()
    }

    /// As [`http01`](Self::http01), for the path of a request as it came in, without a query.
    /// Two comparisons for a path that is no challenge.
    pub fn http01_at(&self, path: &[u8]) -> Option<Bytes> {
        self.http01(path.strip_prefix(HTTP01_PREFIX)?)
    }

    /// The certificate that answers a TLS-ALPN-01 challenge for `name`, in any case. Only for a
    /// client that offers [`TLS_ALPN01_PROTOCOL`] and nothing else (RFC 8737 section 3).
    pub fn tls_alpn01(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let open = self.open.load();
        if open.names.is_empty() || !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return None;
        }
        let mut folded = [0; NAME_BYTES_MAX];
        let folded = &mut folded[..name.len()];
        folded.copy_from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        open.names.get(&*folded).cloned()
    }

    /// Answers `token` with `key_authorisation` from now on.
    ///
    /// # Errors
    /// When the token or the answer has a form that no authority sends, or too many are open.
    pub fn open_http01(&self, token: &str, key_authorisation: &str) -> Result<(), Unanswerable> {
        // RFC 8555 section 8.1: the token, a full stop, the account key's thumbprint.
        let thumbprint = key_authorisation
            .strip_prefix(token)
            .and_then(|rest| rest.strip_prefix('.'));
        if !is_token(token.as_bytes()) || !thumbprint.is_some_and(|text| is_token(text.as_bytes()))
        {
            return Err(Unanswerable::Form);
        }
        let answer = Bytes::copy_from_slice(key_authorisation.as_bytes());
        self.change(|open| open.tokens.insert(token.as_bytes().into(), answer.clone()))
    }

    /// Answers TLS-ALPN-01 handshakes for `name` with `certificate` from now on.
    ///
    /// # Errors
    /// When the name is empty or longer than a name can be, or too many are open.
    pub fn open_tls_alpn01(
        &self,
        name: &str,
        certificate: Arc<CertifiedKey>,
    ) -> Result<(), Unanswerable> {
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
            return Err(Unanswerable::Form);
        }
        let name = name.to_ascii_lowercase().into_bytes();
        self.change(|open| {
            open.names
                .insert(name.as_slice().into(), Arc::clone(&certificate))
        })
    }

    /// Forgets `token`; one that is not open is no error.
    pub fn close_http01(&self, token: &str) {
        self.open.rcu(|open| {
            let mut next = Open::clone(open);
            next.tokens.remove(token.as_bytes());
            next
        });
    }

    /// Forgets `name`; one that is not open is no error.
    pub fn close_tls_alpn01(&self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.open.rcu(|open| {
            let mut next = Open::clone(open);
            next.names.remove(name.as_bytes());
            next
        });
    }

    fn change<T>(&self, insert: impl Fn(&mut Open) -> Option<T>) -> Result<(), Unanswerable> {
        let mut full = false;
        self.open.rcu(|open| {
            let mut next = Open::clone(open);
            insert(&mut next);
            full = next.tokens.len() + next.names.len() > OPEN_MAX;
            if full {
                Arc::clone(open)
            } else {
                Arc::new(next)
            }
        });
        if full {
            Err(Unanswerable::TooMany)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open.load();
        f.debug_struct("Challenges")
            .field("http01", &open.tokens.len())
            .field("tls_alpn01", &open.names.len())
            .finish()
    }
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswerable {
    /// Its token, name or answer is not what RFC 8555 describes.
    Form,
    /// More challenges are open than one node can have.
    TooMany,
}

impl fmt::Display for Unanswerable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("the authority's challenge is not of the form of RFC 8555"),
            Self::TooMany => write!(f, "{OPEN_MAX} challenges are open already"),
        }
    }
}

impl std::error::Error for Unanswerable {}

/// Names are in lower case.
#[derive(Clone, Default)]
struct Open {
    tokens: AHashMap<Box<[u8]>, Bytes>,
    names: AHashMap<Box<[u8]>, Arc<CertifiedKey>>,
}

/// RFC 8555 section 8.3: characters of base64url without padding. Anything else, a slash or a
/// percent sign above all, is a path and no token.
fn is_token(text: &[u8]) -> bool {
    (1..=TOKEN_BYTES_MAX).contains(&text.len())
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Let's Encrypt's have 43; nothing asks for more than 256 bits.
const TOKEN_BYTES_MAX: usize = 128;
/// RFC 1035 section 2.3.4, without the last full stop.
const NAME_BYTES_MAX: usize = 253;
/// Ten orders of a hundred names, which is what authorities allow in one.
const OPEN_MAX: usize = 1_024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA";
    const ANSWER: &str =
        "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    fn certificate() -> Arc<CertifiedKey> {
        #[derive(Debug)]
        struct Silent;
        impl rustls::sign::SigningKey for Silent {
            fn choose_scheme(
                &self,
                _: &[rustls::SignatureScheme],
            ) -> Option<Box<dyn rustls::sign::Signer>> {
                None
            }
            fn algorithm(&self) -> rustls::SignatureAlgorithm {
                rustls::SignatureAlgorithm::ECDSA
            }
        }
        Arc::new(CertifiedKey::new(Vec::new(), Arc::new(Silent)))
    }

    #[test]
    fn an_open_token_is_answered_until_it_is_closed() {
        let challenges = Challenges::new();
        challenges.open_http01(TOKEN, ANSWER).unwrap();
        let path = [HTTP01_PREFIX, TOKEN.as_bytes()].concat();
        assert_eq!(challenges.http01_at(&path).unwrap(), ANSWER.as_bytes());
        assert_eq!(challenges.http01(b"evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"), None);
        challenges.close_http01(TOKEN);
        assert_eq!(challenges.http01_at(&path), None);
    }

    #[test]
    fn only_base64url_of_a_bounded_length_is_a_token() {
        let challenges = Challenges::new();
        for token in [
            "",
            "../x",
            "a/b",
            "a%2fb",
            "a.b",
            "a=",
            "a b",
            &"a".repeat(129),
        ] {
            assert_eq!(challenges.http01(token.as_bytes()), None, "{token}");
            let answer = format!("{token}.x");
            assert_eq!(
                challenges.open_http01(token, &answer),
                Err(Unanswerable::Form),
                "{token}"
            );
        }
    }

    #[test]
    fn an_answer_belongs_to_its_token() {
        let challenges = Challenges::new();
        for answer in ["", "a", "a.", "b.x", "a.x\r\ny", "a.x.y"] {
            assert_eq!(
                challenges.open_http01("a", answer),
                Err(Unanswerable::Form),
                "{answer}"
            );
        }
    }

    #[test]
    fn other_paths_are_no_challenges() {
        let challenges = Challenges::new();
        challenges.open_http01("a", "a.b").unwrap();
        for path in [
            "/",
            "a",
            "/a",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/a/",
            "/.well-known/acme-challenge//a",
        ] {
            assert_eq!(challenges.http01_at(path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        let challenges = Challenges::new();
        challenges
            .open_tls_alpn01("WWW.example.org", certificate())
            .unwrap();
        assert!(challenges.tls_alpn01("www.EXAMPLE.org").is_some());
        assert!(challenges.tls_alpn01("example.org").is_none());
        assert!(challenges.tls_alpn01("").is_none());
        assert!(challenges.tls_alpn01(&"a".repeat(254)).is_none());
        challenges.close_tls_alpn01("www.example.ORG");
        assert!(challenges.tls_alpn01("www.example.org").is_none());
    }

    #[test]
    fn open_challenges_are_bounded_and_one_more_leaves_the_others() {
        let challenges = Challenges::new();
        for number in 0..OPEN_MAX {
            let token = format!("t{number}");
            challenges
                .open_http01(&token, &format!("{token}.k"))
                .unwrap();
        }
        assert_eq!(
            challenges.open_http01("more", "more.k"),
            Err(Unanswerable::TooMany)
        );
        assert_eq!(
            challenges.open_tls_alpn01("a.example", certificate()),
            Err(Unanswerable::TooMany)
        );
        assert_eq!(challenges.http01(b"t0").unwrap(), "t0.k");
        challenges.open_http01("t0", "t0.other").unwrap();
        assert_eq!(challenges.http01(b"t0").unwrap(), "t0.other");
    }
}
