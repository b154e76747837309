//! Client certificates: asked for, demanded, revoked.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};
use rustls::pki_types::PrivateKeyDer;
use rustls::{CertificateError, Error};

use super::*;

const AUTH: &str = "client_ca = \"ca.pem\"\nclient_auth = ";

fn place() -> (Place, Issuer) {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    place.write("ca.pem", root.pem());
    (place, root)
}

fn showing(root: &Issuer, issued: &Issued) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject as _;
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(issued.chain.as_bytes());
    let key = PrivateKeyDer::Pkcs8(issued.key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}

/// A list of `issuer` that revokes the serial numbers, next updated in so many days.
fn crl(issuer: &Issuer, revoked: &[u64], days: u64) -> String {
    let now = SystemTime::now();
    let params = CertificateRevocationListParams {
        this_update: (now - Duration::from_secs(30 * 86_400)).into(),
        next_update: match days {
            0 => (now - Duration::from_secs(86_400)).into(),
            _ => (now + Duration::from_secs(days * 86_400)).into(),
        },
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

fn with_serial(name: &str, serial: u64, by: &Issuer) -> Issued {
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    issue_as(params, by, KeyPair::generate().unwrap())
}

#[test]
fn a_demanded_certificate_must_be_there_and_good() {
    let (place, root) = place();
    let server = place.server(&listener(&["a"], &format!("{AUTH}\"required\"")));
    let alice = client_certificate("alice", &root);
    let met = meet(&server, &showing(&root, &alice), "a.example").unwrap();
    assert_eq!(
        met.server.peer_certificates().unwrap()[0].to_vec(),
        leaf(&alice)
    );
    let error = meet(&server, &Arc::new(trusting(&root)), "a.example")
        .err()
        .unwrap();
    assert_eq!(error, Error::NoCertificatesPresented);
    let stranger = client_certificate("alice", &authority("Root"));
    let error = meet(&server, &showing(&root, &stranger), "a.example")
        .err()
        .unwrap();
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn an_optional_certificate_may_be_missing_but_not_bad() {
    let (place, root) = place();
    let server = place.server(&listener(&["a"], &format!("{AUTH}\"optional\"")));
    let met = meet(&server, &Arc::new(trusting(&root)), "a.example").unwrap();
    assert!(met.server.peer_certificates().is_none());
    let alice = client_certificate("alice", &root);
    assert!(meet(&server, &showing(&root, &alice), "a.example").is_ok());
    let stranger = client_certificate("alice", &authority("Other"));
    assert!(meet(&server, &showing(&root, &stranger), "a.example").is_err());
}

#[test]
fn a_revoked_certificate_is_refused() {
    let (place, root) = place();
    let tls = format!("{AUTH}\"required\"\nclient_crl = [\"crl.pem\"]");
    place.write("crl.pem", crl(&root, &[7], 9));
    let server = place.server(&listener(&["a"], &tls));
    let (good, bad) = (with_serial("good", 8, &root), with_serial("bad", 7, &root));
    assert!(meet(&server, &showing(&root, &good), "a.example").is_ok());
    let error = meet(&server, &showing(&root, &bad), "a.example")
        .err()
        .unwrap();
    assert_eq!(error, Error::InvalidCertificate(CertificateError::Revoked));
}

#[test]
fn a_client_whose_status_no_list_tells_is_refused() {
    let (place, root) = place();
    let other = authority("Other");
    place.write("ca.pem", root.pem() + &other.pem());
    place.write("crl.pem", crl(&root, &[], 9));
    let tls = format!("{AUTH}\"required\"\nclient_crl = [\"crl.pem\"]");
    let text = listener(&["a"], &tls);
    assert_eq!(
        place.findings(&text),
        [
            "warning tls-crl: ca.pem has an authority without a revocation list: \"CN=Other\"; clients that it certified are refused"
        ]
    );
    let client = client_certificate("alice", &other);
    let error = meet(&place.server(&text), &showing(&root, &client), "a.example");
    assert_eq!(
        error.err().unwrap(),
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus)
    );
}

/// What is found with such a list.
fn found(list: &[u8]) -> Vec<String> {
    let (place, _) = place();
    place.write("crl.pem", list);
    let tls = format!("{AUTH}\"required\"\nclient_crl = [\"crl.pem\"]");
    place.findings(&listener(&["a"], &tls))
}

#[test]
fn a_list_that_cannot_be_used_is_an_error() {
    let root = authority("Root");
    let expired = found(crl(&root, &[], 0).as_bytes());
    let expected =
        "error tls-crl: crl.pem holds a revocation list of \"CN=Root\" that expired 24 hours ago";
    assert!(expired[0].starts_with(expected), "{expired:?}");
    assert_eq!(
        found(b""),
        ["error tls-crl: crl.pem holds no revocation list"]
    );
    assert_eq!(
        found(&[0x30, 0]),
        ["error tls-crl: crl.pem holds a malformed revocation list"]
    );
}

#[test]
fn an_empty_bundle_of_authorities_is_an_error() {
    let (place, _) = place();
    place.write("ca.pem", "# nothing yet\n");
    let text = listener(&["a"], &format!("{AUTH}\"required\""));
    assert_eq!(
        place.findings(&text),
        ["error tls-certificate: ca.pem holds no certificate"]
    );
}

#[test]
fn a_resumed_session_still_tells_who_the_client_is() {
    let (place, root) = place();
    let server = place.server(&listener(&["a"], &format!("{AUTH}\"required\"")));
    let alice = client_certificate("alice", &root);
    let client = showing(&root, &alice);
    for turn in 0..3 {
        let met = meet(&server, &client, "a.example").unwrap();
        let resumed = met.server.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        assert_eq!(resumed, turn > 0);
        let shown = met.server.peer_certificates().unwrap();
        assert_eq!(shown[0].to_vec(), leaf(&alice));
    }
}
