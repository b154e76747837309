//! Where certificates are ordered.

use std::path::PathBuf;
use std::time::Duration;

use crate::Spanned;
use crate::keys::words;

/// `[acme]`: the account that orders the certificates of listeners' `acme` names (RFC 8555). Its
/// holder has agreed to the authority's terms, or the configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The URL of the authority's directory; `https://`.
    pub directory: Spanned<Box<str>>,
    /// `mailto:` URLs that the authority may write to.
    pub contact: Vec<Spanned<Box<str>>>,
    /// The directory that keeps the account's key and the certificates.
    pub storage: Spanned<PathBuf>,
    /// How it is shown that a name is ours.
    pub challenge: Spanned<Challenge>,
    /// Authorities of the directory server's own certificate; the system's without it.
    pub ca: Option<Spanned<PathBuf>>,
    /// How long before its end a certificate is renewed.
    pub renew_before: Duration,
}

/// How it is shown that a name is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// By an answer to a request on port 80 (RFC 8555, section 8.3).
    Http01,
    /// By a certificate in a handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

words!(Challenge { Http01 = "http-01", TlsAlpn01 = "tls-alpn-01" });
