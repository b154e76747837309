//! The certificate of the scenarios with TLS: made anew in each run, signed by itself.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Result};

/// Files of a certificate for `localhost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, which is its own authority, in PEM.
    pub cert: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// Both in one file, as HAProxy reads them.
    pub both: PathBuf,
}

impl Certificate {
    /// Makes one with a key on the curve P-256 in an existing directory.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn make(directory: &Path) -> Result<Certificate> {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| Fault::Setup(format!("cannot make a certificate: {error}")))?;
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            fs::write(&path, text)
                .map(|()| path)
                .map_err(|error| Fault::io("write the certificate", &error))
        };
        Ok(Certificate {
            both: write("both.pem", format!("{cert}{key}"))?,
            cert: write("cert.pem", cert)?,
            key: write("key.pem", key)?,
        })
    }
}
