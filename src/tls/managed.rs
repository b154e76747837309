//! Certificates that are ordered from an authority (ACME): what its storage holds for a name, and
//! a self-signed one in its place until there is any, so that the listener can start.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::model::Acme;
use ringgate_config::{Diagnostic, Severity, Spanned};
use ringgate_core::tls::Named;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::coverage::may_serve;
use super::files::Missing;
use super::pair::Purpose;
use super::reader::{PROVIDER, Reader};
use super::server::at;

impl Reader {
    /// The certificate of a managed name; none while one of the `others`, by their names, can
    /// stand in for it. What is wrong with a stored one is a warning, since it will be
    /// replaced, and must not keep everything else from working.
    pub fn managed(
        &mut self,
        acme: &Acme,
        name: &Spanned<Box<str>>,
        others: &[Box<str>],
    ) -> Option<Named> {
        let [cert, key] = paths(acme, name).map(|path| at(path, name));
        let absent = |reader: &mut Self, path: &Spanned<PathBuf>| matches!(reader.files.read(&path.value), Err(error) if error.kind == Missing::Absent);
        // Both are asked for, so that both are watched.
        let stored = match [absent(self, &cert), absent(self, &key)] {
            [true, _] | [_, true] => None,
            [false, false] => {
                let found_before = self.findings.len();
                let pair = self.pair(&cert, &key, Purpose::Server);
                for finding in &mut self.findings[found_before..] {
                    if finding.severity == Severity::Error {
                        finding.severity = Severity::Warning;
                    }
                }
                pair
            }
        };
        let names = vec![name.value.clone()];
        let key = match stored {
            Some(pair) => pair.key,
            None if others.iter().any(|other| may_serve(other, name)) => return None,
            None => self.placeholder(name)?,
        };
        Some(Named {
            names,
            key,
            staple: None,
        })
    }

    fn placeholder(&mut self, name: &Spanned<Box<str>>) -> Option<Arc<CertifiedKey>> {
        match self_signed(&name.value) {
            Ok(key) => Some(Arc::new(key)),
            Err(error) => {
                let message = format!("no certificate can be made for {}: {error}", name.value);
                let finding = Diagnostic::error("tls-placeholder", message, name.span);
                self.findings.push(finding.help("correct the name"));
                None
            }
        }
    }
}

/// Where the storage has the certificate and the key of a name.
pub fn paths(acme: &Acme, name: &str) -> [PathBuf; 2] {
    let of_name = acme.storage.value.join(name);
    ["cert.pem", "key.pem"].map(|file| of_name.join(file))
}

fn self_signed(name: &str) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let chain = vec![certificate.der().clone()];
    Ok(CertifiedKey::from_der(chain, private, &PROVIDER)?)
}
