//! A certificate chain with its key: read, checked, and made ready to sign with. What clients
//! would stumble over later is found here.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::Spanned;
use ringgate_core::tls::subject_text;
use rustls::pki_types::pem::SectionKind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::reader::{PROVIDER, Reader};

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Clients are shown it.
    Server,
    /// Origins are shown it.
    Client,
}

/// A chain and its key.
pub struct Pair {
    pub key: Arc<CertifiedKey>,
    /// The names that the certificate is for, in lower case.
    pub names: Vec<Box<str>>,
}

impl Reader {
    /// Reads a chain and its key. Where something is wrong with them it is noted; what can be
    /// used in spite of it is returned, so that more can be checked.
    pub fn pair(
        &mut self,
        cert: &Spanned<PathBuf>,
        key: &Spanned<PathBuf>,
        purpose: Purpose,
    ) -> Option<Pair> {
        let chain = self.certificates(cert);
        let private = self.private_key(key);
        let chain = chain?;
        let parsed: Vec<X509Certificate<'_>> = chain
            .iter()
            .filter_map(|der| Some(X509Certificate::from_der(der).ok()?.1))
            .collect();
        if parsed.len() < chain.len() {
            let help = "write the file anew with the certificates of its authority";
            self.error(
                "tls-certificate",
                cert,
                "holds a malformed certificate",
                help,
            );
            return None;
        }
        self.check_dates(cert, &parsed);
        self.check_chain(cert, &parsed);
        self.check_purpose(cert, &parsed[0], purpose);
        let names = names(&parsed[0]);
        let key = self.matching(cert, key, chain.clone(), private?)?;
        Some(Pair { key, names })
    }

    fn private_key(&mut self, path: &Spanned<PathBuf>) -> Option<PrivateKeyDer<'static>> {
        let content = self.content(path)?;
        if content.mode & 0o004 != 0 {
            let what = format!("can be read by every user (mode {:o})", content.mode);
            let help =
                "take the right away: chmod o-rwx FILE; then think about whether somebody has it";
            self.warning("tls-key-permissions", path, what, help);
        }
        let encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        if encrypted.iter().any(|mark| content.contains(mark)) {
            let help = "Ringgate asks for no passphrase; decrypt it, openssl pkey -in FILE -out FILE.key, and protect that by its permissions";
            self.error("tls-key", path, "holds an encrypted private key", help);
            return None;
        }
        let sections = match content.sections() {
            Ok(sections) => sections,
            Err(error) => {
                let what = format!("has a malformed PEM block: {error}");
                self.error("tls-key", path, what, "write the file anew");
                return None;
            }
        };
        let mut keys = sections.into_iter().filter_map(|(kind, der)| match kind {
            SectionKind::PrivateKey => Some(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::RsaPrivateKey => Some(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::EcPrivateKey => Some(PrivateKeyDer::Sec1(der.into())),
            _ => None,
        });
        let key = keys.next();
        if keys.next().is_some() {
            let what = "holds more than one private key: the first is used";
            self.warning(
                "tls-key",
                path,
                what,
                "leave only the certificate's own key in it",
            );
        }
        if key.is_none() {
            let help = match content.looks_like_der() {
                true => {
                    "it looks like DER: convert it, openssl pkey -inform der -in FILE -out FILE.key"
                }
                false => {
                    "it must hold a PEM block that begins with -----BEGIN PRIVATE KEY-----, or with EC or RSA before PRIVATE"
                }
            };
            self.error("tls-key", path, "holds no private key", help);
        }
        key
    }

    fn matching(
        &mut self,
        cert: &Spanned<PathBuf>,
        path: &Spanned<PathBuf>,
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
    ) -> Option<Arc<CertifiedKey>> {
        let key = match PROVIDER.key_provider.load_private_key(private) {
            Ok(key) => key,
            Err(_) => {
                let what = "holds a private key of a kind that cannot be used";
                let help =
                    "use ECDSA on P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 8192 bits";
                self.error("tls-key", path, what, help);
                return None;
            }
        };
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
                Some(Arc::new(certified))
            }
            Err(Error::InconsistentKeys(_)) => {
                let later = certified.cert.iter().skip(1).any(|other| {
                    let other = vec![other.clone()];
                    CertifiedKey::new(other, Arc::clone(&certified.key)).keys_match() == Ok(())
                });
                match later {
                    true => self.error(
                        "tls-chain",
                        cert,
                        "does not begin with the certificate of the key",
                        "put the host's own certificate first, then the one that signed it, and so on",
                    ),
                    false => self.error(
                        "tls-key-mismatch",
                        path,
                        format!("is not the key of the certificate in {}", cert.value.display()),
                        "name the key that the certificate was made for; openssl x509 -pubkey -noout -in CERT and openssl pkey -pubout -in KEY print the same when they fit",
                    ),
                }
                None
            }
            Err(error) => {
                let what = format!("holds a certificate that cannot be used: {error}");
                self.error("tls-certificate", cert, what, "have it issued anew");
                None
            }
        }
    }

    fn check_dates(&mut self, path: &Spanned<PathBuf>, chain: &[X509Certificate<'_>]) {
        for (index, certificate) in chain.iter().enumerate() {
            let begin = certificate.validity().not_before.timestamp();
            let end = certificate.validity().not_after.timestamp();
            let leaf = index == 0;
            let of = match leaf {
                true => String::new(),
                false => format!(" of {}", shown(certificate.subject())),
            };
            let (code, fate, is_error) = match () {
                () if end < self.now => {
                    ("tls-expired", format!("expired {}", self.when(end)), leaf)
                }
                () if begin > self.now => {
                    let fate = format!("becomes valid {}", self.when(begin));
                    ("tls-not-yet-valid", fate, leaf)
                }
                () if leaf && end < self.now + SOON_SECS => {
                    let fate = format!("expires {}", self.when(end));
                    ("tls-expires-soon", fate, false)
                }
                () => continue,
            };
            let what = format!("holds a certificate{of} that {fate}");
            let help = match code {
                "tls-not-yet-valid" => "check the clock of this machine, or wait",
                _ => "renew it and replace the file: it is read again when it changes",
            };
            match is_error {
                true => self.error(code, path, what, help),
                false => self.warning(code, path, what, help),
            }
        }
    }

    /// A chain must lead from the host's certificate upwards (RFC 8446 section 4.4.2); its root
    /// may be left out, as clients have it.
    fn check_chain(&mut self, path: &Spanned<PathBuf>, chain: &[X509Certificate<'_>]) {
        let leaf = &chain[0];
        if is_self_signed(leaf) {
            return;
        }
        let signer_is_there = chain[1..]
            .iter()
            .any(|other| other.subject().as_raw() == leaf.issuer().as_raw());
        if !signer_is_there {
            let what = format!(
                "has a missing intermediate: the certificate of its issuer, {}, is not in it",
                shown(leaf.issuer())
            );
            let help = "append it (often a file named fullchain.pem or chain.pem); without it only clients that have it already trust this certificate";
            self.warning("tls-chain", path, what, help);
            return;
        }
        let in_order = chain
            .windows(2)
            .all(|pair| pair[0].issuer().as_raw() == pair[1].subject().as_raw());
        if !in_order {
            let help = "each certificate must be followed by the one that signed it";
            self.warning("tls-chain", path, "has its chain out of order", help);
        }
    }

    fn check_purpose(
        &mut self,
        path: &Spanned<PathBuf>,
        leaf: &X509Certificate<'_>,
        purpose: Purpose,
    ) {
        let Ok(Some(usage)) = leaf.extended_key_usage() else {
            return;
        };
        let (fits, word) = match purpose {
            Purpose::Server => (usage.value.server_auth, "servers"),
            Purpose::Client => (usage.value.client_auth, "clients"),
        };
        if !fits && !usage.value.any {
            let what = format!("is not for {word}: its extended key usage forbids it");
            let help = "have a certificate issued for this use; peers refuse this one";
            self.warning("tls-certificate", path, what, help);
        }
    }
}

/// The host names that a certificate is for: its alternative names, and the common name only
/// where there are none of these (RFC 6125 section 6.4.4).
pub fn names(leaf: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        let name: Box<str> = name.to_ascii_lowercase().into();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    match leaf.subject_alternative_name() {
        Ok(Some(extension)) => {
            for name in &extension.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    add(name);
                }
            }
        }
        Ok(None) | Err(_) => {
            let mut common = leaf.subject().iter_common_name();
            if let Some(name) = common.next().and_then(|name| name.as_str().ok())
                && !name.contains(' ')
            {
                add(name);
            }
        }
    }
    names
}

fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    certificate.issuer().as_raw() == certificate.subject().as_raw()
}

/// A subject as people read it.
pub fn shown(name: &x509_parser::x509::X509Name<'_>) -> String {
    match subject_text(name) {
        text if text.is_empty() => "an authority without a name".to_owned(),
        text => format!("\"{text}\""),
    }
}

/// Certificates that live for 90 days are renewed long before this.
const SOON_SECS: i64 = 14 * 24 * 60 * 60;
