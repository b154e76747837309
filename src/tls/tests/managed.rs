//! Certificates that an authority issues while the gateway runs.

use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::*;

fn text(challenge: &str) -> String {
    format!(
        "[acme]\nterms_agreed = true\nstorage = \"acme\"\nchallenge = \"{challenge}\"\n\
         [[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:443\"\nacme = [\"a.example\"]\n\
         [[listener]]\nname = \"p\"\nlisten = \"127.0.0.1:80\"\n"
    )
}

fn certified(issued: &Issued) -> CertifiedKey {
    let key = PrivateKeyDer::Pkcs8(issued.key.serialize_der().into());
    CertifiedKey::from_der(vec![leaf(issued).into()], key, &PROVIDER).unwrap()
}

#[test]
fn a_placeholder_stands_until_there_is_a_certificate() {
    let (place, root) = (Place::new(), authority("Root"));
    let before = place.load(&text("http-01"));
    let files = before
        .files
        .iter()
        .filter_map(|path| path.strip_prefix(place.path()).ok());
    let files: Vec<_> = files.map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["acme/a.example/cert.pem", "acme/a.example/key.pem"]);
    let before = fine(before);
    assert!(meet(&server_of(&before), &Arc::new(trusting(&root)), "a.example").is_err());
    let issued = issue(&["a.example"], &root);
    place.write("acme/a.example/cert.pem", &issued.chain);
    place.write("acme/a.example/key.pem", issued.key.serialize_pem());
    let after = fine(place.reload(&text("http-01"), Some(&before)));
    let met = meet(&server_of(&after), &Arc::new(trusting(&root)), "a.example").unwrap();
    assert_eq!(met.shown(), leaf(&issued));
}

#[test]
fn the_placeholder_outlives_a_reload() {
    let place = Place::new();
    let before = fine(place.load(&text("http-01")));
    let after = fine(place.reload(&text("http-01"), Some(&before)));
    assert!(Arc::ptr_eq(
        &before.server("l").unwrap(),
        &after.server("l").unwrap()
    ));
}

#[test]
fn a_broken_or_expired_store_is_a_warning_only() {
    let (place, root) = (Place::new(), authority("Root"));
    let old = lasting(params(&["a.example"]), -9, -3);
    let old = issue_as(old, &root, KeyPair::generate().unwrap());
    place.write("acme/a.example/cert.pem", &old.chain);
    place.write("acme/a.example/key.pem", old.key.serialize_pem());
    let loaded = place.load(&text("http-01"));
    assert!(
        place
            .shown(&loaded.findings[0])
            .starts_with("warning tls-expired")
    );
    fine(loaded);
    place.write("acme/a.example/key.pem", "");
    let loaded = place.load(&text("http-01"));
    assert!(
        loaded
            .findings
            .iter()
            .all(|one| one.severity == Severity::Warning)
    );
    assert!(fine(loaded).server("l").is_some());
}

#[test]
fn a_challenge_is_answered_with_its_certificate_and_nothing_else() {
    let (place, root) = (Place::new(), authority("Root"));
    let proof = issue(&["a.example"], &root);
    place
        .challenges
        .open_tls_alpn01("a.example", Arc::new(certified(&proof)))
        .unwrap();
    let server = place.server(&text("tls-alpn-01"));
    let offering = |offered: &[&[u8]]| {
        let mut client = trusting(&root);
        client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        Arc::new(client)
    };
    let met = meet(&server, &offering(&[b"acme-tls/1"]), "a.example").unwrap();
    assert_eq!(met.shown(), leaf(&proof));
    assert_eq!(met.server.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert!(meet(&server, &offering(&[b"acme-tls/1"]), "b.example").is_err());
    let both: [&[u8]; 2] = [b"acme-tls/1", b"h2"];
    assert!(
        meet(&server, &offering(&both), "a.example").is_err(),
        "the placeholder is shown"
    );
    place.challenges.close_tls_alpn01("a.example");
    assert!(meet(&server, &offering(&[b"acme-tls/1"]), "a.example").is_err());
}

#[test]
fn a_certificate_of_the_operator_stands_in_before_a_placeholder() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("w", &issue(&["*.b.example"], &root));
    let written = "acme = [\"a.b.example\", \"a.other.example\"]\n[[listener.certificate]]\ncert = \"w.pem\"\nkey = \"w.key\"\n";
    let text = text("http-01").replace("acme = [\"a.example\"]\n", written);
    let server = place.server(&text);
    let client = Arc::new(trusting(&root));
    assert!(meet(&server, &client, "a.b.example").is_ok());
    assert!(meet(&server, &client, "a.other.example").is_err());
}
