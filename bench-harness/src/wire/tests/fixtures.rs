//! What the tests of the wires share: certificates, and a runtime that lives as long as the test.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use ringgate_core::tls::{ClientTls, ServerTls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::serve::{self, DriverChoice};
use super::tls::{self, Alpn, Resumption, Trust};

/// A certificate for `localhost` that is its own authority, as PEM files.
pub struct Certificate {
    /// Where the files are; removed with this.
    _directory: tempfile::TempDir,
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    pub fn new() -> Certificate {
        Certificate::made(CertificateParams::new(["localhost".to_owned()]).unwrap())
    }

    /// One that says it is an authority, as OpenSSL makes them.
    pub fn of_authority() -> Certificate {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Certificate::made(params)
    }

    fn made(params: CertificateParams) -> Certificate {
        let signing_key = KeyPair::generate().unwrap();
        let made = params.self_signed(&signing_key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        std::fs::write(&chain, made.pem()).unwrap();
        std::fs::write(&key, signing_key.serialize_pem()).unwrap();
        Certificate {
            _directory: directory,
            chain,
            key,
        }
    }

    pub fn server(&self, protocols: &[Alpn], resumption: Resumption) -> ServerTls {
        tls::server_from_files(&self.chain, &self.key, protocols, resumption).unwrap()
    }

    pub fn client(&self, alpn: Alpn, resumption: Resumption) -> ClientTls {
        let trust = Trust::File(self.chain.clone());
        tls::client("localhost", &trust, alpn, resumption).unwrap()
    }
}

/// A server whose certificate nobody has heard of.
pub fn stranger() -> ServerTls {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    tls::server(chain, key, &[], Resumption::Off).unwrap()
}

/// Runs what `begin` makes on a thread with a runtime, and returns what it comes to. The
/// runtime is not dropped: operations may be under way.
pub fn on_runtime<F, W, T>(begin: F) -> T
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    let (done, outcome) = channel();
    let driver = DriverChoice::Auto.driver().unwrap();
    serve::start("test", None, driver, move || {
        let work = begin();
        async move {
            let _ = done.send(work.await);
            io::Result::Ok(())
        }
    })
    .unwrap();
    outcome.recv_timeout(Duration::from_secs(60)).unwrap()
}
