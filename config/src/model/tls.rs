//! How connections are encrypted, on both sides. Files are named here, not read: paths that are
//! not absolute have been joined to the directory of the file that names them.

use std::path::PathBuf;
use std::time::Duration;

use crate::Spanned;
use crate::keys::words;

/// How a listener speaks TLS: `certificate`, `alpn`, `acme` and `[listener.tls]` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The first is shown to clients that name no host, unless `strict_sni`. Empty only when the
    /// listener has names in [`acme`](super::Listener::acme).
    pub certificates: Vec<Certificate>,
    /// Protocols offered, best first; never empty, none twice.
    pub alpn: Vec<Alpn>,
    /// The lowest version spoken; not above `max_version`.
    pub min_version: TlsVersion,
    /// The highest version spoken.
    pub max_version: TlsVersion,
    /// The only suites used, best first; empty for the provider's own choice.
    pub ciphers: Vec<Spanned<CipherSuite>>,
    /// Whether a client that asks for no name with a certificate is refused.
    pub strict_sni: bool,
    /// For a whole handshake.
    pub handshake_timeout: Duration,
    /// Whether sessions are resumed by tickets.
    pub session_tickets: bool,
    /// How long tickets are made with the same key.
    pub ticket_rotation: Duration,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The authorities that clients' certificates come from; there exactly when they are asked for.
    pub client_ca: Option<Spanned<PathBuf>>,
    /// Lists of revoked client certificates.
    pub client_crl: Vec<Spanned<PathBuf>>,
    /// Whether origins are told who the client's certificate names.
    pub client_identity_headers: bool,
}

/// `[[listener.certificate]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain in PEM, the host's own certificate first.
    pub cert: Spanned<PathBuf>,
    /// Its private key in PEM.
    pub key: Spanned<PathBuf>,
    /// A stapled OCSP response in DER (RFC 6960).
    pub ocsp: Option<Spanned<PathBuf>>,
}

/// A protocol that TLS may agree on (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/2.
    Http2,
    /// HTTP/1.1.
    Http11,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    Off,
    /// One that is shown must be good.
    Optional,
    /// A connection without a good one is refused.
    Required,
}

/// A cipher suite by its IANA name. These are all that this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherSuite {
    /// TLS 1.3, AES-256-GCM.
    Tls13Aes256,
    /// TLS 1.3, AES-128-GCM.
    Tls13Aes128,
    /// TLS 1.3, ChaCha20-Poly1305.
    Tls13ChaCha20,
    /// TLS 1.2, ECDSA, AES-256-GCM.
    EcdsaAes256,
    /// TLS 1.2, ECDSA, AES-128-GCM.
    EcdsaAes128,
    /// TLS 1.2, ECDSA, ChaCha20-Poly1305.
    EcdsaChaCha20,
    /// TLS 1.2, RSA, AES-256-GCM.
    RsaAes256,
    /// TLS 1.2, RSA, AES-128-GCM.
    RsaAes128,
    /// TLS 1.2, RSA, ChaCha20-Poly1305.
    RsaChaCha20,
}

impl CipherSuite {
    /// The only version that it belongs to.
    #[must_use]
    pub const fn version(self) -> TlsVersion {
        match self {
            Self::Tls13Aes256 | Self::Tls13Aes128 | Self::Tls13ChaCha20 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        }
    }
}

/// `[upstream.tls]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that origins' certificates come from; the system's without it.
    pub ca: Option<Spanned<PathBuf>>,
    /// The host name (lower case) or IP address that is asked for and verified; the endpoint's
    /// own without it.
    pub server_name: Option<Spanned<Box<str>>>,
    /// Whether the origin's certificate is verified.
    pub verify: bool,
    /// The chain shown to origins that ask for one; there exactly when `key` is.
    pub cert: Option<Spanned<PathBuf>>,
    /// Its private key.
    pub key: Option<Spanned<PathBuf>>,
    /// The lowest version spoken; not above `max_version`.
    pub min_version: TlsVersion,
    /// The highest version spoken.
    pub max_version: TlsVersion,
}

words!(Alpn { Http2 = "h2", Http11 = "http/1.1" });
words!(TlsVersion { Tls12 = "1.2", Tls13 = "1.3" });
words!(ClientAuth { Off = "off", Optional = "optional", Required = "required" });
words!(CipherSuite {
    Tls13Aes256 = "TLS_AES_256_GCM_SHA384",
    Tls13Aes128 = "TLS_AES_128_GCM_SHA256",
    Tls13ChaCha20 = "TLS_CHACHA20_POLY1305_SHA256",
    EcdsaAes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    EcdsaAes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    EcdsaChaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    RsaAes256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    RsaAes128 = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    RsaChaCha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
});
