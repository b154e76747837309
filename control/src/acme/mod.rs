//! Certificates of an authority that speaks ACME (RFC 8555): ordered, kept in a directory and
//! renewed. Nothing here is needed to serve: when the authority is away, what lies in storage
//! stays in use, and it is asked again.

mod authority;
mod certificate;
mod failure;
mod https;
mod keeper;
mod order;
mod schedule;
mod status;
mod storage;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use keeper::Keeper;
pub(crate) use status::Board;

/// What is ordered, where, and where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// URL of the authority's directory, `https` only.
    pub directory: String,
    /// Whom the authority may write to: `mailto:` URLs.
    pub contact: Vec<String>,
    /// The directory that keeps the account and the certificates; made when it is missing.
    pub storage: PathBuf,
    /// How it is proved that the names lead here.
    pub challenge: ChallengeKind,
    /// PEM file with the roots of the authority's own HTTPS; the system's without one.
    pub ca: Option<PathBuf>,
    /// How long before its end a certificate is renewed. A third of its lifetime when that is
    /// shorter.
    pub renew_before: Duration,
    /// The certificates to keep, each name at the head of one list only.
    pub certificates: Vec<Names>,
}

/// How it is proved that a name leads here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a file on port 80 (RFC 8555 section 8.3).
    Http01,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

/// The host names of one certificate: in lower case, without duplicates, never empty. The
/// first names its directory in storage, so it holds nothing that a path could mean otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Names(Vec<String>);

impl Names {
    /// `None` without a name, and when one of them is no plain host name: wildcards take the
    /// DNS-01 challenge, which is not spoken here.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Option<Self> {
        let mut checked = Vec::new();
        for name in names {
            let name = name.as_ref().to_ascii_lowercase();
            if !is_host_name(&name) {
                return None;
            }
            if !checked.contains(&name) {
                checked.push(name);
            }
        }
        (!checked.is_empty()).then_some(Self(checked))
    }

    /// The name that the certificate is known by here.
    pub fn first(&self) -> &str {
        &self.0[0]
    }

    /// All of them.
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

/// What the node shows an authority while a challenge is open.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The body of `/.well-known/acme-challenge/{token}`.
    Http01 {
        /// Base64url, as the authority chose it.
        token: String,
        /// The token and the account key's thumbprint.
        key_authorisation: String,
    },
    /// The certificate of handshakes for `name` with the protocol `acme-tls/1`.
    TlsAlpn01 {
        /// The host name.
        name: String,
        /// The self-signed certificate with the extension `acmeIdentifier`, in DER.
        certificate: Vec<u8>,
        /// Its key, PKCS #8 in DER.
        key: Vec<u8>,
    },
}

impl std::fmt::Debug for Proof {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http01 { token, .. } => write!(f, "http-01 token {token}"),
            Self::TlsAlpn01 { name, .. } => write!(f, "tls-alpn-01 name {name}"),
        }
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_kept_once() {
        let names = Names::new(["WWW.example.org", "example.org", "www.EXAMPLE.org"]).unwrap();
        assert_eq!(names.first(), "www.example.org");
        assert_eq!(names.all(), ["www.example.org", "example.org"]);
    }

    #[test]
    fn what_a_path_could_mean_otherwise_is_no_name() {
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a..b",
            "a.",
            "*.a",
            "-a",
            "a-",
            "a_b",
            "a\0",
            &"a".repeat(64),
            &format!("{}a", "a.".repeat(127)),
        ] {
            assert_eq!(Names::new([name]), None, "{name}");
        }
        assert_eq!(Names::new(Vec::<String>::new()), None);
    }

    #[test]
    fn a_proof_is_shown_without_its_secrets() {
        let proof = Proof::TlsAlpn01 {
            name: "a.example".to_owned(),
            certificate: Vec::new(),
            key: b"secret".to_vec(),
        };
        assert_eq!(format!("{proof:?}"), "tls-alpn-01 name a.example");
    }
}
