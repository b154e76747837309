//! Certificates from an authority: ordered, verified through the gateway's own listeners,
//! served, kept and renewed. The authority is Pebble, which verifies for real.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

use crate::support::message::Reader;
use crate::support::pebble::{Pebble, PebbleSettings, free_port};
use crate::support::{
    Driver, Gateway, PATIENCE, Response, Setup, get, on_both_drivers, wait_until,
};

on_both_drivers!(
    http_01_is_answered_and_the_certificate_served,
    tls_alpn_01_is_answered_and_the_certificate_served,
    a_restart_serves_what_lies_in_storage_without_an_order,
    a_renewal_is_served_to_new_connections_and_closes_none,
    an_authority_that_is_away_stands_in_nobodys_way,
);

const NAME: &str = "www.gateway.test";
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An authority, and a configuration whose listeners are where it looks.
struct Case {
    pebble: Pebble,
    ports: PebbleSettings,
}

impl Case {
    fn new(lifetime: Duration) -> Self {
        let ports = PebbleSettings {
            http_port: free_port(),
            tls_port: free_port(),
            lifetime,
        };
        Self {
            pebble: Pebble::start(ports),
            ports,
        }
    }

    /// A plain listener and one with a certificate to come; every path is answered.
    fn setup(&self, driver: Driver, challenge: &str) -> Setup {
        let setup = Setup::new(driver);
        let storage = setup.dir().join("acme");
        let listen = format!("\"127.0.0.1:{}\"", self.ports.http_port);
        setup.set("listener", "listen", &listen).body(&format!(
            "[[listener]]\nname = \"secure\"\nlisten = \"127.0.0.1:{}\"\nacme = [\"{NAME}\"]\n\
             [acme]\ndirectory = \"{}\"\nca = {:?}\nstorage = {storage:?}\n\
             challenge = \"{challenge}\"\ncontact = [\"ops@gateway.test\"]\nterms_agreed = true\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest*}}\"\n\
             respond = {{ status = 200, body = \"served\" }}\n",
            self.ports.tls_port,
            self.pebble.directory(),
            self.pebble.ca(),
        ))
    }

    fn connect(&self) -> Https {
        Https::connect(self.ports.tls_port)
    }

    /// Waits until new connections are shown what lies in storage, and returns it.
    #[track_caller]
    fn served(&self, gateway: &Gateway) -> Vec<u8> {
        let mut shown = Vec::new();
        wait_until("the certificate in storage is served", || {
            shown = self.connect().certificate();
            stored(gateway).as_ref() == Some(&shown)
        });
        shown
    }
}

/// The certificate in storage.
fn stored(gateway: &Gateway) -> Option<Vec<u8>> {
    let path = gateway.file().with_file_name("acme").join(NAME);
    let chain = fs::read(path.join("cert.pem")).ok()?;
    let leaf = CertificateDer::pem_slice_iter(&chain).next()?.ok()?;
    Some(leaf.to_vec())
}

fn orders(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("name", NAME), ("result", result)];
    gateway.metric("ringgate_acme_orders_total", &labels)
}

fn is_served(driver: Driver, challenge: &str) {
    let case = Case::new(YEAR);
    let gateway = case.setup(driver, challenge).start();
    case.served(&gateway);
    assert_eq!(case.connect().get("/x").text(), "served");
    gateway.wait_for_metric("ringgate_acme_orders_total", &[("result", "issued")], 1.0);
    let expires = gateway.metric(
        "ringgate_acme_certificate_expires_seconds",
        &[("name", NAME)],
    );
    assert!(expires > 300.0 * 24.0 * 3600.0, "{expires}");
    let page = gateway.admin("GET", "/acme").json();
    assert_eq!(page["certificates"][0]["state"], "valid", "{page}");
    // What is no open challenge is a path like any other.
    let path = "/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ";
    assert_eq!(gateway.get(path).text(), "served");
    assert_eq!(orders(&gateway, "failed"), 0.0);
}

fn http_01_is_answered_and_the_certificate_served(driver: Driver) {
    is_served(driver, "http-01");
}

fn tls_alpn_01_is_answered_and_the_certificate_served(driver: Driver) {
    is_served(driver, "tls-alpn-01");
}

fn a_restart_serves_what_lies_in_storage_without_an_order(driver: Driver) {
    let mut case = Case::new(YEAR);
    let mut gateway = case.setup(driver, "http-01").start();
    let first = case.served(&gateway);
    gateway.stop();
    case.pebble.stop();
    let again = Gateway::start_on(gateway.file());
    assert_eq!(case.connect().certificate(), first);
    wait_until("the storage is read", || {
        let page = again.admin("GET", "/acme").json();
        page["certificates"][0]["state"] == "valid"
    });
    assert_eq!(orders(&again, "issued"), 0.0);
    assert_eq!(orders(&again, "failed"), 0.0);
}

fn a_renewal_is_served_to_new_connections_and_closes_none(driver: Driver) {
    let case = Case::new(Duration::from_secs(9));
    let gateway = case.setup(driver, "tls-alpn-01").start();
    let first = case.served(&gateway);
    let mut kept = case.connect();
    assert_eq!(kept.certificate(), first);
    assert_eq!(kept.get("/before").text(), "served");
    wait_until("another certificate is served", || {
        // Requests go on on the connection that was there before.
        assert_eq!(kept.get("/meanwhile").text(), "served");
        case.connect().certificate() != first
    });
    assert_eq!(kept.get("/after").text(), "served");
    assert_eq!(kept.certificate(), first);
    assert!(orders(&gateway, "issued") >= 2.0);
}

fn an_authority_that_is_away_stands_in_nobodys_way(driver: Driver) {
    let mut case = Case::new(YEAR);
    case.pebble.stop();
    let gateway = case.setup(driver, "http-01").start();
    let failing = [("name", NAME), ("error", "unreachable")];
    gateway.wait_for_metric("ringgate_acme_failing", &failing, 1.0);
    assert_eq!(gateway.get("/plain").text(), "served");
    // The listener stands, if only with a certificate of the gateway's own making.
    assert_eq!(case.connect().get("/secure").text(), "served");
    case.pebble.start_again();
    case.served(&gateway);
    wait_until("the failure is over", || {
        gateway.metric("ringgate_acme_failing", &failing) == 0.0
    });
}

/// A connection over TLS that takes any certificate and remembers it.
struct Https {
    reader: Reader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Https {
    #[track_caller]
    fn connect(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(aws_lc_rs::default_provider())))
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        Self {
            reader: Reader::new(StreamOwned::new(connection, stream)),
        }
    }

    fn certificate(&self) -> Vec<u8> {
        let chain = self.reader.source().conn.peer_certificates();
        chain.unwrap()[0].to_vec()
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Response {
        use std::io::Write as _;
        let stream = self.reader.source_mut();
        stream.write_all(get(path).as_bytes()).unwrap();
        stream.flush().unwrap();
        self.reader.response("GET").unwrap()
    }
}

/// What is shown is compared with what is stored, so nobody needs to be believed.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
