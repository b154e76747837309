//! Certificates ordered from a real authority, Pebble, by a control plane whose node answers
//! challenges with servers of a few lines.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringgate_control::acme::{ChallengeKind, Names, Proof, Settings};
use ringgate_control::{
    AdminOptions, Cause, ControlPlane, Exposition, Handle, Node, Options, Readiness, ReloadRefused,
    ReloadReport, Shutdown, Target,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::{eventually, get, metric, quiet};
use crate::pebble::{Pebble, PebbleSettings};

/// Answers challenges on two ports, and counts reloads for certificates.
struct AcmeNode {
    settings: Mutex<Option<Settings>>,
    tokens: Mutex<HashMap<String, String>>,
    handshakes: Mutex<HashMap<String, CertifiedKey>>,
    reloads: AtomicU64,
    http: u16,
    tls: u16,
}

impl AcmeNode {
    fn start() -> Arc<Self> {
        let http = TcpListener::bind("127.0.0.1:0").unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").unwrap();
        let node = Arc::new(Self {
            settings: Mutex::default(),
            tokens: Mutex::default(),
            handshakes: Mutex::default(),
            reloads: AtomicU64::new(0),
            http: http.local_addr().unwrap().port(),
            tls: tls.local_addr().unwrap().port(),
        });
        let answering = Arc::clone(&node);
        std::thread::spawn(move || answering.serve_http(&http));
        let answering = Arc::clone(&node);
        std::thread::spawn(move || answering.serve_tls(&tls));
        node
    }

    fn serve_http(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            if lines.read_line(&mut line).is_err() {
                continue;
            }
            let path = line.split(' ').nth(1).unwrap_or_default();
            let token = path.strip_prefix("/.well-known/acme-challenge/");
            let tokens = self.tokens.lock().unwrap();
            let answer = token.and_then(|token| tokens.get(token));
            let (status, body) = match answer {
                Some(body) => ("200 OK", body.as_str()),
                None => ("404 Not Found", ""),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    }

    fn serve_tls(&self, listener: &TcpListener) {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let shown = self.handshakes.lock().unwrap().values().next().cloned();
            let Some(shown) = shown else {
                continue;
            };
            let mut config = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
            config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
            let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            while connection.is_handshaking() {
                if connection.complete_io(&mut stream).is_err() {
                    break;
                }
            }
        }
    }
}

impl Node for AcmeNode {
    fn metrics(&self, _: &mut Exposition) {}
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }
    fn config(&self) -> Value {
        Value::Null
    }
    fn upstreams(&self) -> Value {
        Value::Null
    }
    fn routes(&self) -> Value {
        Value::Null
    }
    fn version(&self) -> Value {
        Value::Null
    }
    fn reload(&self, cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        assert_eq!(cause, Cause::Certificate);
        self.reloads.fetch_add(1, Relaxed);
        Ok(ReloadReport::default())
    }
    fn resolved(&self, _: &str, _: &str, _: &[SocketAddr]) {}
    fn resolve_targets(&self) -> Vec<Target> {
        Vec::new()
    }
    fn watched_files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
    fn acme(&self) -> Option<Settings> {
        self.settings.lock().unwrap().clone()
    }
    fn prove(&self, proof: &Proof) -> Result<(), String> {
        match proof.clone() {
            Proof::Http01 {
                token,
                key_authorisation,
            } => {
                let mut tokens = self.tokens.lock().unwrap();
                tokens.insert(token, key_authorisation);
            }
            Proof::TlsAlpn01 {
                name,
                certificate,
                key,
            } => {
                let key = PrivateKeyDer::Pkcs8(key.into());
                let key = any_supported_type(&key).map_err(|error| error.to_string())?;
                // Not checked against each other: no verifier knows the critical extension.
                let shown = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
                self.handshakes.lock().unwrap().insert(name, shown);
            }
        }
        Ok(())
    }
    fn withdraw(&self, proof: &Proof) {
        match proof {
            Proof::Http01 { token, .. } => {
                self.tokens.lock().unwrap().remove(token);
            }
            Proof::TlsAlpn01 { name, .. } => {
                self.handshakes.lock().unwrap().remove(name);
            }
        }
    }
    fn shutdown(&self, _: Shutdown) {}
    fn reopen_logs(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An authority, a storage and a node.
struct Case {
    pebble: Pebble,
    storage: TempDir,
    node: Arc<AcmeNode>,
}

impl Case {
    fn new(lifetime: Duration) -> Self {
        let node = AcmeNode::start();
        let pebble = Pebble::start(PebbleSettings {
            http_port: node.http,
            tls_port: node.tls,
            lifetime,
        });
        Self {
            pebble,
            storage: tempfile::tempdir().unwrap(),
            node,
        }
    }

    fn want(&self, challenge: ChallengeKind, names: &[&str]) {
        *self.node.settings.lock().unwrap() = Some(Settings {
            directory: self.pebble.directory(),
            contact: vec!["mailto:ops@gateway.test".to_owned()],
            storage: self.storage.path().join("acme"),
            challenge,
            ca: Some(self.pebble.ca()),
            renew_before: DAY * 30,
            certificates: vec![Names::new(names).unwrap()],
        });
    }

    fn run(&self) -> (Handle, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let node: Arc<dyn Node> = Arc::clone(&self.node) as _;
        let options = Options {
            admin: Some(AdminOptions::new(listener)),
            ..quiet()
        };
        (ControlPlane::start(node, options).unwrap(), address)
    }

    fn stored(&self, name: &str) -> Option<String> {
        let place = self.storage.path().join("acme").join(name);
        read(&place.join("key.pem"))?;
        read(&place.join("cert.pem"))
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn standing(admin: SocketAddr) -> Value {
    let (_, _, body) = get(admin, "/acme");
    serde_json::from_str::<Value>(&body).unwrap()["certificates"][0].clone()
}

fn orders(admin: SocketAddr, name: &str, result: &str) -> u64 {
    let sample = format!("ringgate_acme_orders_total{{name=\"{name}\",result=\"{result}\"}}");
    metric(admin, &sample)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn is_obtained(challenge: ChallengeKind) {
    let case = Case::new(YEAR);
    case.want(challenge, &["www.gateway.test", "gateway.test"]);
    let (handle, admin) = case.run();
    eventually("a reload for the certificate", || {
        case.node.reloads.load(Relaxed) == 1
    });
    assert!(case.stored("www.gateway.test").is_some());
    assert!(case.node.tokens.lock().unwrap().is_empty());
    assert!(case.node.handshakes.lock().unwrap().is_empty());
    eventually("it is shown", || standing(admin)["state"] == "valid");
    assert_eq!(orders(admin, "www.gateway.test", "issued"), 1);
    handle.stop();
}

#[test]
fn a_certificate_is_obtained_by_http_01() {
    is_obtained(ChallengeKind::Http01);
}

#[test]
fn a_certificate_is_obtained_by_tls_alpn_01() {
    let case = Case::new(YEAR);
    case.want(ChallengeKind::TlsAlpn01, &["www.gateway.test"]);
    let (handle, admin) = case.run();
    eventually("a reload for the certificate", || {
        case.node.reloads.load(Relaxed) == 1
    });
    assert!(case.stored("www.gateway.test").is_some());
    assert!(case.node.handshakes.lock().unwrap().is_empty());
    assert_eq!(orders(admin, "www.gateway.test", "failed"), 0);
    handle.stop();
}

#[test]
fn what_lies_in_storage_is_kept_over_a_restart_and_without_the_authority() {
    let mut case = Case::new(YEAR);
    case.want(ChallengeKind::Http01, &["www.gateway.test"]);
    let (handle, _) = case.run();
    eventually("the certificate", || case.node.reloads.load(Relaxed) == 1);
    handle.stop();
    case.pebble.stop();
    let first = case.stored("www.gateway.test").unwrap();
    let (handle, admin) = case.run();
    eventually("it is shown", || standing(admin)["state"] == "valid");
    assert_eq!(orders(admin, "www.gateway.test", "issued"), 0);
    assert_eq!(orders(admin, "www.gateway.test", "failed"), 0);
    assert_eq!(case.stored("www.gateway.test").unwrap(), first);
    assert_eq!(case.node.reloads.load(Relaxed), 1);
    handle.stop();
}

#[test]
fn an_authority_that_is_away_is_asked_again() {
    let mut case = Case::new(YEAR);
    case.pebble.stop();
    case.want(ChallengeKind::Http01, &["www.gateway.test"]);
    let (handle, admin) = case.run();
    eventually("it is shown", || {
        standing(admin)["last_error"]["kind"] == "unreachable"
    });
    case.pebble.start_again();
    eventually("the certificate", || case.node.reloads.load(Relaxed) == 1);
    eventually("the error is over", || {
        standing(admin)["last_error"].is_null()
    });
    handle.stop();
}

#[test]
fn what_the_authority_could_not_verify_is_said_by_name() {
    let case = Case::new(YEAR);
    case.want(ChallengeKind::TlsAlpn01, &["www.gateway.test"]);
    // The node is to answer over TLS what nobody answers: it has no such handshake.
    let node = &case.node;
    let deaf = Pebble::start(PebbleSettings {
        http_port: node.http,
        tls_port: node.http,
        lifetime: YEAR,
    });
    {
        let mut settings = node.settings.lock().unwrap();
        let settings = settings.as_mut().unwrap();
        settings.directory = deaf.directory();
        settings.ca = Some(deaf.ca());
    }
    let (handle, admin) = case.run();
    eventually("the refusal is shown", || {
        standing(admin)["last_error"]["kind"] == "refused"
    });
    let error = standing(admin)["last_error"]["text"].to_string();
    assert!(error.contains("www.gateway.test"), "{error}");
    let failing = "ringgate_acme_failing{name=\"www.gateway.test\",error=\"refused\"}";
    assert_eq!(metric(admin, failing), 1);
    assert!(case.node.handshakes.lock().unwrap().is_empty());
    handle.stop();
}

#[test]
fn a_short_life_is_renewed_before_its_end_by_an_authority_that_forgot_the_account() {
    let mut case = Case::new(Duration::from_secs(15));
    case.want(ChallengeKind::Http01, &["www.gateway.test"]);
    let (handle, admin) = case.run();
    eventually("the certificate", || case.node.reloads.load(Relaxed) == 1);
    let first = case.stored("www.gateway.test").unwrap();
    case.pebble.stop();
    case.pebble.start_again();
    eventually("the next one", || case.node.reloads.load(Relaxed) >= 2);
    assert_ne!(case.stored("www.gateway.test").unwrap(), first);
    eventually("it is counted", || {
        orders(admin, "www.gateway.test", "issued") >= 2
    });
    let aside = fs::read_dir(case.storage.path().join("acme"))
        .unwrap()
        .any(|entry| {
            entry
                .unwrap()
                .path()
                .extension()
                .is_some_and(|e| e == "unknown")
        });
    assert!(aside, "the account that the authority forgot is kept aside");
    handle.stop();
}
