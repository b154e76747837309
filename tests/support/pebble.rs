//! Pebble, the ACME server that Let's Encrypt tests clients against, with a name server that
//! leads every name to this machine. It verifies for real, on ports that the case chooses.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// An authority and its name server. Dropping it ends both.
pub struct Pebble {
    server: Child,
    names: Child,
    dir: TempDir,
    settings: PebbleSettings,
    port: u16,
    name_port: u16,
}

/// What a case wants of the authority.
#[derive(Clone, Copy, Debug)]
pub struct PebbleSettings {
    /// Where HTTP-01 is verified.
    pub http_port: u16,
    /// Where TLS-ALPN-01 is verified.
    pub tls_port: u16,
    /// How long certificates hold.
    pub lifetime: Duration,
}

impl Pebble {
    /// Starts it and waits until it answers.
    pub fn start(settings: PebbleSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_certificates(dir.path());
        let (port, name_port) = (free_port(), free_port());
        let names = run(Command::new("pebble-challtestsrv").args([
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-dns01",
            &format!("127.0.0.1:{name_port}"),
            "-management",
            &format!("127.0.0.1:{}", free_port()),
        ]));
        let server = Self::run_server(dir.path(), settings, port, name_port);
        Self {
            server,
            names,
            dir,
            settings,
            port,
            name_port,
        }
    }

    /// The `directory` of a configuration.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The `ca` of a configuration: what its own HTTPS is verified by.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Ends the server as a crash does: it forgets every account and order.
    pub fn stop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again at the same address.
    pub fn start_again(&mut self) {
        let dir = self.dir.path();
        self.server = Self::run_server(dir, self.settings, self.port, self.name_port);
    }

    fn run_server(dir: &Path, settings: PebbleSettings, port: u16, name_port: u16) -> Child {
        let config = dir.join("pebble.json");
        let text = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": "",
            "certificate": dir.join("server.pem"),
            "privateKey": dir.join("server.key"),
            "httpPort": settings.http_port,
            "tlsPort": settings.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": settings.lifetime.as_secs(),
        }});
        fs::write(&config, text.to_string()).unwrap();
        let child = run(Command::new("pebble")
            // Names that were verified before are verified again.
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_VA_NOSLEEP", "1")
            .arg("-strict")
            .arg("-config")
            .arg(&config)
            .args(["-dnsserver", &format!("127.0.0.1:{name_port}")]));
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "pebble does not listen on {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }
}

impl fmt::Debug for Pebble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pebble at {}", self.directory())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.names] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port of 127.0.0.1 that nobody has now, neither for TCP nor for UDP.
pub fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Its output is read and dropped: a pipe that is full would stop it.
fn run(command: &mut Command) -> Child {
    let name = format!("{:?}", command.get_program());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e}; run ./tests/run, which installs it"));
    let mut output = child.stdout.take().unwrap();
    let log = std::env::var_os("RINGGATE_TEST_PEBBLE_LOG");
    std::thread::spawn(move || {
        let mut log = log.map(|path| fs::File::options().create(true).append(true).open(path));
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut block) {
            if let Some(Ok(log)) = &mut log {
                let _ = log.write_all(&block[..n]);
            }
        }
    });
    child
}

fn write_certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "Root of the tests' Pebble");
    let key = KeyPair::generate().unwrap();
    fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let server = params.signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("server.pem"), server.pem()).unwrap();
    fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

const PATIENCE: Duration = Duration::from_secs(20);
