//! What a listener demands of clients' certificates: who may have issued them, and which have
//! been revoked. A doubt about revocation refuses the client.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::Spanned;
use ringgate_config::model::{ClientAuth, ListenerTls};
use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::SectionKind;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::files::Digest;
use super::pair::shown;
use super::reader::{PROVIDER, Reader};

/// All that a resumed session leaves unchecked: tickets are good only while it stays the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demands {
    auth: ClientAuth,
    ca: Digest,
    crls: Vec<Digest>,
}

impl Reader {
    /// What the listener demands.
    pub fn demands(&mut self, tls: &ListenerTls) -> Demands {
        let ca = tls.client_ca.as_ref();
        Demands {
            auth: tls.client_auth,
            ca: ca.and_then(|path| self.files.digest(&path.value)),
            crls: tls
                .client_crl
                .iter()
                .map(|path| self.files.digest(&path.value))
                .collect(),
        }
    }

    /// The verifier of a listener's clients; none when something is wrong with its files.
    pub fn client_verifier(&mut self, tls: &ListenerTls) -> Option<Arc<dyn ClientCertVerifier>> {
        let Some(ca) = tls.client_ca.as_ref() else {
            return match tls.client_auth {
                ClientAuth::Off => Some(WebPkiClientVerifier::no_client_auth()),
                // The reader of the configuration has refused that.
                ClientAuth::Optional | ClientAuth::Required => None,
            };
        };
        let roots = self.roots(ca);
        let crls = self.crls(&tls.client_crl);
        let (roots, crls) = (roots?, crls?);
        if !crls.is_empty() {
            self.check_coverage(ca, &crls);
        }
        let provider = Arc::clone(&PROVIDER);
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .with_crls(crls)
            .enforce_revocation_expiration();
        let built = match tls.client_auth {
            ClientAuth::Off => return Some(WebPkiClientVerifier::no_client_auth()),
            ClientAuth::Optional => builder.allow_unauthenticated().build(),
            ClientAuth::Required => builder.build(),
        };
        match built {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                let what = format!("and the lists beside it cannot be used: {error}");
                self.error("tls-ca", ca, what, "write them anew");
                None
            }
        }
    }

    /// The authorities in a file; never empty.
    pub fn roots(&mut self, path: &Spanned<PathBuf>) -> Option<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for (index, der) in self.certificates(path)?.into_iter().enumerate() {
            if let Err(error) = roots.add(der) {
                let what = format!(
                    "holds a certificate that cannot be an authority, number {}: {error}",
                    index + 1
                );
                self.error("tls-ca", path, what, "remove it, or write it anew");
                return None;
            }
        }
        Some(roots)
    }

    fn crls(
        &mut self,
        paths: &[Spanned<PathBuf>],
    ) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let mut all = Some(Vec::new());
        for path in paths {
            match (self.crls_in(path), &mut all) {
                (Some(more), Some(all)) => all.extend(more),
                _ => all = None,
            }
        }
        all
    }

    fn crls_in(
        &mut self,
        path: &Spanned<PathBuf>,
    ) -> Option<Vec<CertificateRevocationListDer<'static>>> {
        let content = self.content(path)?;
        // Authorities publish them in DER (RFC 5280 section 4.2.1.13).
        let ders: Vec<Vec<u8>> = match content.looks_like_der() {
            true => vec![content.bytes.clone()],
            false => match content.sections() {
                Ok(sections) => sections
                    .into_iter()
                    .filter(|(kind, _)| *kind == SectionKind::Crl)
                    .map(|(_, der)| der)
                    .collect(),
                Err(error) => {
                    let what = format!("has a malformed PEM block: {error}");
                    self.error("tls-crl", path, what, "write the file anew");
                    return None;
                }
            },
        };
        if ders.is_empty() {
            let help = "it must hold DER, or PEM blocks that begin with -----BEGIN X509 CRL-----";
            self.error("tls-crl", path, "holds no revocation list", help);
            return None;
        }
        for der in &ders {
            let Ok((_, crl)) = CertificateRevocationList::from_der(der) else {
                let help = "fetch it anew from its authority";
                self.error("tls-crl", path, "holds a malformed revocation list", help);
                return None;
            };
            let end = crl.next_update().map(|time| time.timestamp());
            match end {
                Some(end) if end < self.now => {
                    let what = format!(
                        "holds a revocation list of {} that expired {}",
                        shown(crl.issuer()),
                        self.when(end)
                    );
                    let help = "fetch it anew from its authority; with one that is out of date no client of it can be let in";
                    self.error("tls-crl", path, what, help);
                    return None;
                }
                Some(_) => {}
                // RFC 5280 section 5.1.2.5 demands it, and webpki too.
                None => {
                    let help = "have it published with a next update";
                    let what = "holds a revocation list that does not say when the next one comes";
                    self.error("tls-crl", path, what, help);
                    return None;
                }
            }
        }
        Some(ders.into_iter().map(Into::into).collect())
    }

    /// With any list at all, every authority needs one.
    fn check_coverage(
        &mut self,
        ca: &Spanned<PathBuf>,
        crls: &[CertificateRevocationListDer<'static>],
    ) {
        let issuers: Vec<&[u8]> = crls
            .iter()
            .filter_map(|der| Some(CertificateRevocationList::from_der(der).ok()?.1))
            .map(|crl| crl.tbs_cert_list.issuer.as_raw())
            .collect();
        for der in self.certificates(ca).unwrap_or_default() {
            let Ok((_, authority)) = X509Certificate::from_der(&der) else {
                continue;
            };
            if !issuers.contains(&authority.subject().as_raw()) {
                let what = format!(
                    "has an authority without a revocation list: {}; clients that it certified are refused",
                    shown(authority.subject())
                );
                let help = "add its list to client_crl, or remove the authority";
                self.warning("tls-crl", ca, what, help);
            }
        }
    }
}
