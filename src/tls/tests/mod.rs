//! Configurations with certificates made on the spot, and handshakes without sockets.

mod certificates;
mod clients;
mod managed;
mod names;
mod origins;
mod sessions;
mod staples;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use ringgate_config::{Config, Diagnostic, Severity};
use ringgate_core::acme::Challenges;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::reader::PROVIDER;
use super::{Configured, Loaded};

/// A directory with a configuration and its files.
struct Place {
    dir: tempfile::TempDir,
    challenges: Arc<Challenges>,
}

impl Place {
    fn new() -> Place {
        Place {
            dir: tempfile::tempdir().unwrap(),
            challenges: Arc::default(),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn put(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.chain);
        self.write(&format!("{name}.key"), issued.key.serialize_pem());
    }

    fn config(&self, text: &str) -> Config {
        let file = self.path().join("ringgate.toml");
        let route = "[[route]]\nname = \"r\"\npath = \"/\"\nrespond = { status = 204 }\n";
        fs::write(&file, format!("{text}\n{route}")).unwrap();
        let patterns = crate::compile::RouterPatterns;
        let loaded = ringgate_config::load(&file, &|_| None, &patterns);
        let style = ringgate_config::Style::Plain;
        let shown = ringgate_config::render(&loaded.diagnostics, &loaded.sources, style);
        loaded.config.unwrap_or_else(|| panic!("{shown}"))
    }

    fn load(&self, text: &str) -> Loaded {
        self.reload(text, None)
    }

    fn reload(&self, text: &str, former: Option<&Configured>) -> Loaded {
        let now = SystemTime::now();
        Configured::load(&self.config(text), former, &self.challenges, now)
    }

    /// What is found, each as `error tls-code: message`, without the directory.
    fn findings(&self, text: &str) -> Vec<String> {
        let loaded = self.load(text);
        loaded.findings.iter().map(|one| self.shown(one)).collect()
    }

    fn shown(&self, finding: &Diagnostic) -> String {
        let text = format!(
            "{} {}: {}",
            finding.severity.as_str(),
            finding.code,
            finding.message
        );
        text.replace(&format!("{}/", self.path().display()), "")
    }

    /// The configuration of the only listener, which must be without errors.
    fn server(&self, text: &str) -> Arc<ServerConfig> {
        server_of(&fine(self.load(text)))
    }
}

fn fine(loaded: Loaded) -> Configured {
    let errors: Vec<_> = loaded
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    loaded.configured
}

fn server_of(configured: &Configured) -> Arc<ServerConfig> {
    Arc::clone(&configured.server("l").unwrap().config)
}

/// A listener with the certificates `NAME.pem`.
fn listener(names: &[&str], tls: &str) -> String {
    let mut text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n".to_owned();
    for name in names {
        text += &format!("[[listener.certificate]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n");
    }
    text + "[listener.tls]\n" + tls + "\n"
}

/// An upstream with TLS.
fn upstream(keys: &str, tls: &str) -> String {
    format!(
        "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n[[upstream]]\nname = \"u\"\n\
         endpoints = [\"127.0.0.1:1\"]\n{keys}\n[upstream.tls]\n{tls}\n\
         [[route]]\nname = \"u\"\npath = \"/u\"\nupstream = \"u\"\n"
    )
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A root.
fn authority(name: &str) -> Issuer {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

/// An authority that another one has certified.
fn intermediate(name: &str, root: &Issuer) -> Issuer {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authority_params(name), key, root).unwrap()
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A chain in PEM, its first certificate alone, and the key of that.
struct Issued {
    chain: String,
    alone: String,
    key: KeyPair,
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

fn issue(names: &[&str], by: &Issuer) -> Issued {
    issue_as(params(names), by, KeyPair::generate().unwrap())
}

fn issue_as(params: CertificateParams, by: &Issuer, key: KeyPair) -> Issued {
    let alone = params.signed_by(&key, by).unwrap().pem();
    Issued {
        chain: alone.clone() + &by.pem(),
        alone,
        key,
    }
}

fn client_certificate(name: &str, by: &Issuer) -> Issued {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue_as(params, by, KeyPair::generate().unwrap())
}

/// Begins and ends, as days from now.
fn lasting(mut params: CertificateParams, from: i64, to: i64) -> CertificateParams {
    let day = |days: i64| {
        let (now, apart) = (
            SystemTime::now(),
            Duration::from_secs(days.unsigned_abs() * 86_400),
        );
        match days {
            0.. => (now + apart).into(),
            _ => (now - apart).into(),
        }
    };
    (params.not_before, params.not_after) = (day(from), day(to));
    params
}

/// A client that trusts `root`.
fn trusting(root: &Issuer) -> ClientConfig {
    client(root, &[&rustls::version::TLS13, &rustls::version::TLS12])
}

fn client(root: &Issuer, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Both ends of a handshake that has come to its end.
struct Met {
    client: ClientConnection,
    server: ServerConnection,
}

/// Has the two meet. An error is that of whoever fails first.
fn meet(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &str,
) -> Result<Met, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut met = Met {
        client: ClientConnection::new(Arc::clone(client), name)?,
        server: ServerConnection::new(Arc::clone(server))?,
    };
    while met.client.is_handshaking() || met.server.is_handshaking() || met.server.wants_write() {
        let mut bytes = Vec::new();
        while met.client.wants_write() {
            met.client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            met.server.read_tls(&mut rest).unwrap();
            met.server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while met.server.wants_write() {
            met.server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            met.client.read_tls(&mut rest).unwrap();
            met.client.process_new_packets()?;
        }
    }
    Ok(met)
}

impl Met {
    /// The certificate that the client was shown, in DER.
    fn shown(&self) -> Vec<u8> {
        self.client.peer_certificates().unwrap()[0].to_vec()
    }
}

/// The first certificate of a chain, in DER.
fn leaf(issued: &Issued) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(issued.chain.as_bytes());
    der.unwrap().to_vec()
}

#[test]
fn the_files_that_are_missing_are_watched_too() {
    let place = Place::new();
    let loaded = place.load(&listener(&["a"], ""));
    let files: Vec<_> = loaded
        .files
        .iter()
        .filter_map(|path| path.file_name())
        .collect();
    assert_eq!(files, ["a.key", "a.pem"]);
}

#[test]
fn a_listener_without_certificates_has_no_tls() {
    let place = Place::new();
    let text = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n";
    assert!(fine(place.load(text)).server("l").is_none());
}
