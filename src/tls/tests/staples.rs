//! OCSP responses.

use super::*;

const SERIAL: u64 = 77;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    match length {
        0..0x80 => [&[tag, length], content].concat(),
        _ => [&[tag, 0x81, length], content].concat(),
    }
}

/// A response (RFC 6960 section 4.2.1) about a serial number: status as its tag, and when the
/// next one comes.
fn response(serial: u8, status: u8, next_update: &str) -> Vec<u8> {
    let time = tlv(0x18, b"20200101000000Z");
    let id = [
        tlv(0x30, &[]),
        tlv(0x04, &[1; 20]),
        tlv(0x04, &[2; 20]),
        tlv(0x02, &[serial]),
    ];
    let mut single = [tlv(0x30, &id.concat()), tlv(status, &[]), time.clone()].concat();
    if !next_update.is_empty() {
        single.extend(tlv(0xa0, &tlv(0x18, next_update.as_bytes())));
    }
    let responses = tlv(0x30, &tlv(0x30, &single));
    let data = tlv(
        0x30,
        &[tlv(0xa2, &tlv(0x04, &[3; 20])), time, responses].concat(),
    );
    let basic = tlv(0x30, &data);
    let bytes = [tlv(0x06, &[43, 6, 1, 5, 5, 7, 48, 1, 1]), tlv(0x04, &basic)].concat();
    let bytes = tlv(0xa0, &tlv(0x30, &bytes));
    tlv(0x30, &[tlv(0x0a, &[0]), bytes].concat())
}

fn place() -> (Place, Issuer, String) {
    let (place, root) = (Place::new(), authority("Root"));
    let mut params = params(&["a.example"]);
    params.serial_number = Some(rcgen::SerialNumber::from(SERIAL));
    place.put("a", &issue_as(params, &root, KeyPair::generate().unwrap()));
    let text = listener(&["a"], "").replace("a.key\"", "a.key\"\nocsp = \"a.ocsp\"");
    (place, root, text)
}

/// What the resolver of a listener with such a response shows, and what is found.
fn with(content: &[u8]) -> Vec<String> {
    let (place, _, text) = place();
    place.write("a.ocsp", content);
    place.findings(&text)
}

#[test]
fn a_good_response_is_stapled() {
    let (place, root, text) = place();
    let good = response(77, 0x80, "29991231235959Z");
    place.write("a.ocsp", &good);
    assert_eq!(place.findings(&text), [""; 0]);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut client = trusting(&root);
    client
        .dangerous()
        .set_certificate_verifier(Arc::new(Noting {
            seen: Arc::clone(&seen),
        }));
    meet(&place.server(&text), &Arc::new(client), "a.example").unwrap();
    assert_eq!(*seen.lock().unwrap(), good);
}

#[test]
fn base64_is_read_too() {
    let der = response(77, 0x80, "");
    let mut text = Vec::new();
    let mut encoder = ringgate_core::base64::Encoder::default();
    encoder.push(&der, &mut text);
    encoder.finish(&mut text);
    assert_eq!(with(&text), [""; 0]);
    let lines = text
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<_> = lines.collect();
    let pem = format!(
        "-----BEGIN OCSP RESPONSE-----\n{}\n-----END OCSP RESPONSE-----\n",
        lines.join("\n")
    );
    assert_eq!(with(pem.as_bytes()), [""; 0]);
}

#[test]
fn a_stale_response_is_a_warning_and_not_shown() {
    let found = with(&response(77, 0x80, "20200108000000Z"));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("warning tls-ocsp: a.ocsp holds an OCSP response that went stale"),
        "{found:?}"
    );
}

#[test]
fn what_cannot_be_shown_is_an_error() {
    for (content, message) in [
        (
            response(78, 0x80, ""),
            "holds an OCSP response about another certificate",
        ),
        (
            response(77, 0xa1, ""),
            "says that the certificate has been revoked",
        ),
        (vec![], "holds no OCSP response"),
        (b"hello".to_vec(), "holds no OCSP response"),
        (tlv(0x30, &tlv(0x0a, &[6])), "holds no OCSP response"),
    ] {
        assert_eq!(
            with(&content),
            [format!("error tls-ocsp: a.ocsp {message}")]
        );
    }
}

#[test]
fn a_hostile_response_never_panics() {
    let good = response(77, 0x80, "29991231235959Z");
    let (place, _, text) = place();
    for at in 0..good.len() {
        let mut hostile = good.clone();
        hostile[at] ^= 0xff;
        for content in [&hostile[..], &good[..at]] {
            place.write("a.ocsp", content);
            place.load(&text);
        }
    }
}

#[derive(Debug)]
struct Noting {
    seen: Arc<std::sync::Mutex<Vec<u8>>>,
}

mod noting {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    impl ServerCertVerifier for super::Noting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            ocsp: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            *self.seen.lock().unwrap() = ocsp.to_vec();
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}
