//! What a TLS stream is made from: trust, certificates, protocols, resumption. The provider is
//! always named, so that nothing depends on what the process has installed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringgate_core::rt::wheel::Ticks;
use ringgate_core::tls::{ClientTls, IdentityFields, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use super::tickets::Sessions;
use crate::fault::{Fault, Result};

/// Protocols that are negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `http/1.1`
    Http1,
    /// `h2`
    H2,
}

impl Alpn {
    /// The name on the wire (RFC 7301, 6).
    pub const fn name(self) -> &'static [u8] {
        match self {
            Alpn::Http1 => b"http/1.1",
            Alpn::H2 => b"h2",
        }
    }

    /// The protocol of a name.
    pub fn of(name: &[u8]) -> Option<Alpn> {
        [Alpn::Http1, Alpn::H2]
            .into_iter()
            .find(|alpn| alpn.name() == name)
    }
}

/// Which servers a client believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those whose certificates the system's authorities have signed.
    System,
    /// Those whose certificates are in this PEM file, or signed by one in it.
    File(PathBuf),
    /// All of them, without looking.
    Anyone,
}

/// Whether sessions are resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// Every handshake is a full one.
    Off,
    /// Tickets are given out, kept and used.
    On,
}

/// A client that expects `server` (a DNS name or an IP address) and offers one protocol; clones
/// share their tickets.
///
/// # Errors
/// When the name is none, or the authorities cannot be read.
pub fn client(
    server: &str,
    trust: &Trust,
    alpn: Alpn,
    resumption: Resumption,
) -> Result<ClientTls> {
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
        Fault::Setup(format!(
            "`{server}` is neither a DNS name nor an IP address: give --server-name"
        ))
    })?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelievesAnyone(provider()))),
        Trust::File(path) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelievesFile::new(path)?)),
        Trust::System => builder.with_root_certificates(authorities(&system_file()?)?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.resumption = match resumption {
        Resumption::Off => rustls::client::Resumption::disabled(),
        Resumption::On => rustls::client::Resumption::store(Arc::new(Sessions::default())),
    };
    Ok(ClientTls {
        config: Arc::new(config),
        name: Some(name),
    })
}

/// A server with a certificate chain and its key, both PEM files. A client that offers protocols
/// and none of these is refused.
///
/// # Errors
/// When the files cannot be read or do not belong together.
pub fn server_from_files(
    certificates: &Path,
    key: &Path,
    protocols: &[Alpn],
    resumption: Resumption,
) -> Result<ServerTls> {
    let chain = certificates_in(certificates)?;
    let key_of = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable("a private key", key, &error))?;
    server(chain, key_of, protocols, resumption)
}

/// A server with a certificate chain and its key.
///
/// # Errors
/// When they do not belong together.
pub fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    protocols: &[Alpn],
    resumption: Resumption,
) -> Result<ServerTls> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            Fault::Setup(format!("certificate and key do not fit together: {error}"))
        })?;
    config.alpn_protocols = protocols.iter().map(|alpn| alpn.name().to_vec()).collect();
    match resumption {
        Resumption::On => config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?,
        Resumption::Off => {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
    }
    Ok(ServerTls {
        config: Arc::new(config),
        handshake_timeout: HANDSHAKE_TIMEOUT,
        identity: IdentityFields::Off,
    })
}

/// What every peer is offered alike: key exchange without the hybrids of post-quantum
/// cryptography, which not all of them know, and AES with 128 bits first, as browsers have it.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::{cipher_suite, kx_group};
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| *suite != first);
    Arc::new(provider)
}

fn refused(error: rustls::Error) -> Fault {
    Fault::Setup(format!("TLS cannot be set up: {error}"))
}

fn unreadable(what: &str, path: &Path, error: &dyn fmt::Display) -> Fault {
    Fault::Setup(format!(
        "cannot read {what} from {}: {error}; a PEM file is expected",
        path.display()
    ))
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |error| unreadable("certificates", path, &error);
    let read: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect();
    let read = read.map_err(unreadable)?;
    match read.is_empty() {
        true => Err(Fault::Setup(format!(
            "{} holds no certificate; a PEM file is expected",
            path.display()
        ))),
        false => Ok(read),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates_in(path)?);
    match added {
        0 => Err(Fault::Setup(format!(
            "{} holds no certificate that can be an authority",
            path.display()
        ))),
        _ => Ok(roots),
    }
}

fn system_file() -> Result<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let known = SYSTEM_FILES.iter().map(PathBuf::from);
    named
        .into_iter()
        .chain(known)
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Fault::Setup(
                "the system's certificate authorities were not found: install ca-certificates, \
                 or give --ca FILE or --insecure"
                    .to_owned(),
            )
        })
}

/// Debian and Alpine, Fedora, openSUSE.
const SYSTEM_FILES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// For a client of the bench's own servers.
const HANDSHAKE_TIMEOUT: Ticks = Ticks(100);

/// Believes the authorities in a file, and its certificates themselves: what `openssl req -x509`
/// makes is an authority, which no server may present otherwise.
#[derive(Debug)]
struct BelievesFile {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl BelievesFile {
    fn new(path: &Path) -> Result<BelievesFile> {
        let roots = Arc::new(authorities(path)?);
        let authorities = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        Ok(BelievesFile {
            authorities: authorities.map_err(|error| {
                Fault::Setup(format!(
                    "{} cannot be a list of authorities: {error}",
                    path.display()
                ))
            })?,
            certificates: certificates_in(path)?,
        })
    }
}

impl ServerCertVerifier for BelievesFile {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if self.certificates.iter().any(|known| known == end_entity) {
            let presented = ParsedCertificate::try_from(end_entity)?;
            verify_server_name(&presented, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let authorities = &self.authorities;
        authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let authorities = &self.authorities;
        authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let authorities = &self.authorities;
        authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Believes every certificate, but not that its holder lacks the key: the signatures of the
/// handshake are checked, so that its cost is the usual one.
#[derive(Debug)]
struct BelievesAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for BelievesAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
