//! Names, versions, suites and protocols, as a client meets them.

use super::*;

#[test]
fn each_name_is_shown_its_certificate() {
    let (place, root) = (Place::new(), authority("Root"));
    let issued = [
        issue(&["a.example"], &root),
        issue(&["*.b.example"], &root),
        issue(&["c.b.example"], &root),
    ];
    for (name, issued) in ["a", "b", "c"].iter().zip(&issued) {
        place.put(name, issued);
    }
    let server = place.server(&listener(&["a", "b", "c"], ""));
    let client = Arc::new(trusting(&root));
    for (name, index) in [("a.example", 0), ("x.b.example", 1), ("C.b.example", 2)] {
        let met = meet(&server, &client, name).unwrap();
        assert_eq!(met.shown(), leaf(&issued[index]), "{name}");
    }
    let error = meet(&server, &client, "other.example").err().unwrap();
    assert!(
        matches!(error, rustls::Error::InvalidCertificate(_)),
        "the first is shown, and the client says no: {error}"
    );
}

#[test]
fn a_strict_listener_refuses_other_names_and_none() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example", "127.0.0.1"], &root));
    let client = Arc::new(trusting(&root));
    let server = place.server(&listener(&["a"], "strict_sni = true"));
    assert!(meet(&server, &client, "a.example").is_ok());
    for name in ["b.example", "127.0.0.1"] {
        let error = meet(&server, &client, name).err().unwrap();
        assert!(
            matches!(error, rustls::Error::General(_)),
            "{name}: {error}"
        );
    }
    let server = place.server(&listener(&["a"], ""));
    assert!(meet(&server, &client, "127.0.0.1").is_ok());
}

#[test]
fn a_common_name_counts_only_without_alternative_names() {
    let (place, root) = (Place::new(), authority("Root"));
    let mut with = params(&["a.example"]);
    with.distinguished_name
        .push(DnType::CommonName, "b.example");
    let mut without = params(&[]);
    without
        .distinguished_name
        .push(DnType::CommonName, "C.example");
    place.put("a", &issue_as(with, &root, KeyPair::generate().unwrap()));
    place.put("c", &issue_as(without, &root, KeyPair::generate().unwrap()));
    let configured = fine(place.load(&listener(&["a", "c"], "")));
    let names: Vec<&str> = configured.servers["l"]
        .names
        .iter()
        .map(|name| &**name)
        .collect();
    assert_eq!(names, ["a.example", "c.example"]);
}

#[test]
fn a_client_without_ecdsa_gets_the_rsa_certificate() {
    let (place, root) = (Place::new(), authority("Root"));
    let ecdsa = issue(&["a.example"], &root);
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let rsa = issue_as(params(&["a.example"]), &root, key);
    place.put("e", &ecdsa);
    place.put("r", &rsa);
    let server = place.server(&listener(&["r", "e"], ""));
    let both = Arc::new(trusting(&root));
    assert_eq!(
        meet(&server, &both, "a.example").unwrap().shown(),
        leaf(&ecdsa)
    );
    let mut provider = rustls::crypto::CryptoProvider::clone(&PROVIDER);
    provider
        .cipher_suites
        .retain(|suite| suite.suite().as_str().unwrap().contains("_RSA_"));
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let rsa_only = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let met = meet(&server, &Arc::new(rsa_only), "a.example").unwrap();
    assert_eq!(met.shown(), leaf(&rsa));
}

#[test]
fn versions_and_suites_are_kept_to() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    let old = Arc::new(client(&root, &[&rustls::version::TLS12]));
    let new = Arc::new(trusting(&root));
    let server = place.server(&listener(&["a"], "min_version = \"1.3\""));
    assert!(meet(&server, &old, "a.example").is_err());
    assert!(meet(&server, &new, "a.example").is_ok());
    let server = place.server(&listener(&["a"], "max_version = \"1.2\""));
    let met = meet(&server, &new, "a.example").unwrap();
    assert_eq!(
        met.client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_2)
    );
    let ciphers =
        "ciphers = [\"TLS_CHACHA20_POLY1305_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let server = place.server(&listener(&["a"], ciphers));
    for (client, suite) in [
        (&new, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (
            &old,
            rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ),
    ] {
        let met = meet(&server, client, "a.example").unwrap();
        assert_eq!(met.client.negotiated_cipher_suite().unwrap().suite(), suite);
    }
}

#[test]
fn protocols_are_offered_as_written() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    let agreed = |keys: &str, offered: &[&[u8]]| {
        let text = listener(&["a"], "").replace("listen =", &format!("{keys}\nlisten ="));
        let mut client = trusting(&root);
        client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let met = meet(&place.server(&text), &Arc::new(client), "a.example").ok()?;
        met.server.alpn_protocol().map(<[u8]>::to_vec)
    };
    let both: [&[u8]; 2] = [b"http/1.1", b"h2"];
    assert_eq!(agreed("", &both).unwrap(), b"h2");
    assert_eq!(agreed("", &both[..1]).unwrap(), b"http/1.1");
    assert_eq!(agreed("alpn = [\"http/1.1\"]", &both).unwrap(), b"http/1.1");
    assert_eq!(agreed("", &[]), None);
    assert_eq!(agreed("", &[b"acme-tls/1"]), None);
}
