//! How an upstream's connections speak TLS.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::model::{Upstream, UpstreamProtocol, UpstreamTls};
use ringgate_config::{Diagnostic, Spanned};
use ringgate_core::tls::ClientTls;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::files::{Digest, sha256};
use super::pair::Purpose;
use super::reader::{PROVIDER, Reader};
use super::server::versions;
use super::unverified::Unverified;

/// An upstream's TLS, and what it was made from.
pub struct Client {
    pub tls: Arc<ClientTls>,
    made_from: Ingredients,
}

#[derive(PartialEq, Eq)]
struct Ingredients {
    settings: UpstreamTls,
    protocol: UpstreamProtocol,
    ca: Digest,
    pair: [Digest; 2],
}

/// The system's authorities, read when an upstream first wants them.
#[derive(Default)]
pub struct SystemRoots(Option<(Arc<RootCertStore>, [u8; 32])>);

impl SystemRoots {
    fn load(
        &mut self,
        reader: &mut Reader,
        upstream: &Upstream,
    ) -> Option<(Arc<RootCertStore>, [u8; 32])> {
        if self.0.is_none() {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            let digest = sha256(
                &found
                    .certs
                    .iter()
                    .flat_map(|der| der.to_vec())
                    .collect::<Vec<u8>>(),
            );
            // What old authorities wrote that nothing can read is no reason to refuse the rest.
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let because = found
                    .errors
                    .first()
                    .map_or(String::new(), |e| format!(" ({e})"));
                let finding = Diagnostic::error(
                    "tls-ca",
                    format!(
                        "this system has no certificate authorities{because}, and this upstream names none"
                    ),
                    upstream.name.span,
                );
                let help = "name the origin's authority by `ca` in [upstream.tls], or install the package ca-certificates";
                reader.findings.push(finding.help(help));
                return None;
            }
            self.0 = Some((Arc::new(roots), digest));
        }
        self.0.clone()
    }
}

impl Reader {
    /// The TLS of an upstream: `former` if it would be the same, so that its sessions stay.
    pub fn client(
        &mut self,
        upstream: &Upstream,
        system: &mut SystemRoots,
        former: Option<&Client>,
    ) -> Option<Client> {
        let settings = upstream.tls.as_ref()?;
        let verifier = self.server_verifier(upstream, settings, system);
        let pair = settings.cert.as_ref().zip(settings.key.as_ref());
        let identity = pair.map(|(cert, key)| self.pair(cert, key, Purpose::Client));
        let (verifier, ca) = verifier?;
        let identity = match identity {
            Some(pair) => Some(pair?.key),
            None => None,
        };
        let mut digest = |path: &Option<Spanned<PathBuf>>| {
            path.as_ref()
                .and_then(|path| self.files.digest(&path.value))
        };
        let made_from = Ingredients {
            settings: settings.clone(),
            protocol: upstream.protocol,
            ca,
            pair: [digest(&settings.cert), digest(&settings.key)],
        };
        if let Some(former) = former.filter(|former| former.made_from == made_from) {
            let tls = Arc::clone(&former.tls);
            return Some(Client { tls, made_from });
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&versions(settings.min_version, settings.max_version))
            .ok()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(
                rustls::sign::SingleCertAndKey::from(identity),
            )),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn(upstream.protocol);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        let name = match &settings.server_name {
            Some(name) => Some(self.server_name(name)?),
            None => None,
        };
        let config = Arc::new(config);
        let tls = Arc::new(ClientTls { config, name });
        Some(Client { tls, made_from })
    }

    fn server_name(&mut self, name: &Spanned<Box<str>>) -> Option<ServerName<'static>> {
        let parsed = ServerName::try_from(name.value.to_string());
        if parsed.is_err() {
            let message = format!("\"{}\" cannot be in a certificate", name.value);
            let finding = Diagnostic::error("tls-server-name", message, name.span);
            let help = "write a host name or an IP address";
            self.findings.push(finding.help(help));
        }
        parsed.ok()
    }

    fn server_verifier(
        &mut self,
        upstream: &Upstream,
        settings: &UpstreamTls,
        system: &mut SystemRoots,
    ) -> Option<(Arc<dyn ServerCertVerifier>, Digest)> {
        if !settings.verify {
            return Some((Unverified::new(&PROVIDER), None));
        }
        let (roots, digest) = match &settings.ca {
            Some(path) => (Arc::new(self.roots(path)?), self.files.digest(&path.value)),
            None => {
                let (roots, digest) = system.load(self, upstream)?;
                (roots, Some(digest))
            }
        };
        let provider = Arc::clone(&PROVIDER);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            // Only missing roots and lists of revoked certificates can be wrong.
            .ok()?;
        Some((verifier, digest))
    }
}

fn alpn(protocol: UpstreamProtocol) -> Vec<Vec<u8>> {
    let offered: &[&str] = match protocol {
        UpstreamProtocol::Http1 => &["http/1.1"],
        UpstreamProtocol::Http2 => &["h2"],
        UpstreamProtocol::Auto => &["h2", "http/1.1"],
    };
    offered
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

/// Servers whose sessions are kept for each upstream: as many as it has endpoints, and some
/// names to spare.
const SESSIONS_MAX: usize = 256;
