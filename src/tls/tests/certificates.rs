//! What is found to be wrong with certificates and keys.

use super::*;

/// What is found about a listener with one certificate, after a change to its files.
fn found(change: impl FnOnce(&Place, &Issuer)) -> Vec<String> {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    change(&place, &root);
    place.findings(&listener(&["a"], ""))
}

#[test]
fn a_good_certificate_is_nothing_to_talk_about() {
    assert_eq!(found(|_, _| {}), [""; 0]);
}

#[test]
fn a_missing_file_is_an_error_at_the_place_that_names_it() {
    let place = Place::new();
    let config = place.config(&listener(&["a"], ""));
    let loaded = Configured::load(&config, None, &place.challenges, SystemTime::now());
    let shown = ringgate_config::render(
        &loaded.findings,
        config.sources(),
        ringgate_config::Style::Plain,
    );
    for part in [
        "a.pem does not exist",
        "ringgate.toml:5:8",
        "\"a.pem\"\n",
        "^^^^",
        "a.key does not exist",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn a_directory_is_no_certificate() {
    let found = found(|place, _| {
        fs::remove_file(place.path().join("a.pem")).unwrap();
        fs::create_dir(place.path().join("a.pem")).unwrap();
    });
    assert_eq!(found, ["error tls-file: a.pem is a directory"]);
}

#[test]
fn files_without_pem_hold_nothing() {
    let found = found(|place, _| {
        place.write("a.pem", "hello");
        place.write("a.key", "hello");
    });
    assert_eq!(
        found,
        [
            "error tls-certificate: a.pem holds no certificate",
            "error tls-key: a.key holds no private key",
        ]
    );
}

#[test]
fn der_is_recognised() {
    let (place, root) = (Place::new(), authority("Root"));
    let issued = issue(&["a.example"], &root);
    place.write("a.pem", leaf(&issued));
    place.write("a.key", issued.key.serialize_der());
    let findings = place.load(&listener(&["a"], "")).findings;
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert!(finding.help.unwrap().contains("-inform der"));
    }
}

#[test]
fn a_malformed_certificate_is_an_error() {
    let found = found(|place, _| {
        let pem = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
        place.write("a.pem", pem);
    });
    assert_eq!(
        found,
        ["error tls-certificate: a.pem holds a malformed certificate"]
    );
}

#[test]
fn a_cut_pem_block_is_an_error() {
    let found = found(|place, _| {
        let whole = fs::read_to_string(place.path().join("a.pem")).unwrap();
        place.write("a.pem", &whole[..200]);
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("error tls-certificate: a.pem "),
        "{found:?}"
    );
}

#[test]
fn the_key_of_another_certificate_is_an_error() {
    let found = found(|place, root| {
        let other = issue(&["b.example"], root);
        place.write("a.key", other.key.serialize_pem());
    });
    assert_eq!(
        found,
        ["error tls-key-mismatch: a.key is not the key of the certificate in a.pem"]
    );
}

#[test]
fn an_encrypted_key_is_refused_with_a_way_out() {
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,1\n\nMAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let found = found(|place, _| place.write("a.key", text));
        assert_eq!(
            found,
            ["error tls-key: a.key holds an encrypted private key"]
        );
    }
}

#[test]
fn a_malformed_key_is_an_error() {
    let found = found(|place, _| {
        let pem = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";
        place.write("a.key", pem);
    });
    assert_eq!(
        found,
        ["error tls-key: a.key holds a private key of a kind that cannot be used"]
    );
}

#[test]
fn a_key_that_all_may_read_is_a_warning() {
    let found = found(|place, _| {
        let key = place.path().join("a.key");
        fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    });
    assert_eq!(
        found,
        ["warning tls-key-permissions: a.key can be read by every user (mode 644)"]
    );
}

#[test]
fn one_file_may_hold_chain_and_key() {
    let (place, root) = (Place::new(), authority("Root"));
    let issued = issue(&["a.example"], &root);
    let both = issued.chain.clone() + &issued.key.serialize_pem();
    place.write("a.pem", &both);
    place.write("a.key", both);
    assert_eq!(place.findings(&listener(&["a"], "")), [""; 0]);
}

/// What is found about a certificate that lasts so many days.
fn found_with_dates(from: i64, to: i64) -> Vec<String> {
    found(|place, root| {
        let params = lasting(params(&["a.example"]), from, to);
        place.put("a", &issue_as(params, root, KeyPair::generate().unwrap()));
    })
}

#[test]
fn dates_are_judged() {
    for (from, to, expected) in [
        (
            -9,
            -3,
            "error tls-expired: a.pem holds a certificate that expired 3 days ago",
        ),
        (
            3,
            9,
            "error tls-not-yet-valid: a.pem holds a certificate that becomes valid in",
        ),
        (
            -9,
            13,
            "warning tls-expires-soon: a.pem holds a certificate that expires in",
        ),
    ] {
        let found = found_with_dates(from, to);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
    assert_eq!(found_with_dates(-9, 15), [""; 0]);
}

#[test]
fn an_intermediate_out_of_its_time_is_a_warning() {
    let (place, root) = (Place::new(), authority("Root"));
    let old = lasting(authority_params("Old"), -9, -3);
    let old = CertifiedIssuer::signed_by(old, KeyPair::generate().unwrap(), &root).unwrap();
    place.put("a", &issue(&["a.example"], &old));
    let found = place.findings(&listener(&["a"], ""));
    assert_eq!(found.len(), 1, "{found:?}");
    let expected =
        "warning tls-expired: a.pem holds a certificate of \"CN=Old\" that expired 3 days ago";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[test]
fn a_missing_intermediate_is_a_warning_that_names_it() {
    let (place, root) = (Place::new(), authority("Root"));
    let middle = intermediate("Middle", &root);
    let issued = issue(&["a.example"], &middle);
    let chain = issued.alone.clone();
    place.put("a", &Issued { chain, ..issued });
    assert_eq!(
        place.findings(&listener(&["a"], "")),
        [
            "warning tls-chain: a.pem has a missing intermediate: the certificate of its issuer, \"CN=Middle\", is not in it"
        ]
    );
}

#[test]
fn a_chain_out_of_order_is_a_warning() {
    let (place, root) = (Place::new(), authority("Root"));
    let upper = intermediate("Upper", &root);
    let lower = intermediate("Lower", &upper);
    let issued = issue(&["a.example"], &lower);
    let chain = issued.chain.clone() + &upper.pem();
    place.put("a", &Issued { chain, ..issued });
    assert_eq!(place.findings(&listener(&["a"], "")), [""; 0]);
    let issued = issue(&["a.example"], &lower);
    let chain = issued.alone.clone() + &upper.pem() + &lower.pem();
    place.put("a", &Issued { chain, ..issued });
    assert_eq!(
        place.findings(&listener(&["a"], "")),
        ["warning tls-chain: a.pem has its chain out of order"]
    );
}

#[test]
fn a_chain_that_begins_with_its_authority_is_an_error() {
    let (place, root) = (Place::new(), authority("Root"));
    let issued = issue(&["a.example"], &root);
    let chain = root.pem() + &issued.chain;
    place.put("a", &Issued { chain, ..issued });
    assert_eq!(
        place.findings(&listener(&["a"], "")),
        ["error tls-chain: a.pem does not begin with the certificate of the key"]
    );
}

#[test]
fn a_self_signed_certificate_has_no_chain_to_miss() {
    let place = Place::new();
    let key = KeyPair::generate().unwrap();
    let alone = params(&["a.example"]).self_signed(&key).unwrap().pem();
    place.write("a.pem", alone);
    place.write("a.key", key.serialize_pem());
    assert_eq!(place.findings(&listener(&["a"], "")), [""; 0]);
}

#[test]
fn a_certificate_for_clients_is_none_for_servers() {
    let found = found(|place, root| {
        let mut params = params(&["a.example"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        place.put("a", &issue_as(params, root, KeyPair::generate().unwrap()));
    });
    assert_eq!(
        found,
        ["warning tls-certificate: a.pem is not for servers: its extended key usage forbids it"]
    );
}

#[test]
fn two_certificates_for_one_name_and_kind_of_key_are_a_warning() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example", "x.example"], &root));
    place.put("b", &issue(&["b.example", "x.example"], &root));
    let loaded = place.load(&listener(&["a", "b"], ""));
    assert_eq!(loaded.findings.len(), 1);
    assert_eq!(
        place.shown(&loaded.findings[0]),
        "warning tls-name-twice: two certificates with ECDSA keys are for x.example: only the first is shown for it"
    );
    assert_eq!(loaded.findings[0].related.len(), 1);
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    place.put("b", &issue_as(params(&["x.example"]), &root, key));
    assert_eq!(place.findings(&listener(&["a", "b"], "")), [""; 0]);
}

#[test]
fn a_host_that_no_strict_listener_could_serve_is_a_warning() {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    let route = "[[route]]\nname = \"h\"\nhosts = [\"a.example\", \"b.example\"]\npath = \"/h\"\nrespond = { status = 204 }\n";
    let text = listener(&["a"], "strict_sni = true") + route;
    assert_eq!(
        place.findings(&text),
        [
            "warning tls-uncovered-host: no certificate is for b.example: with strict_sni no client can ask for it over TLS"
        ]
    );
    let plain = "[[listener]]\nname = \"p\"\nlisten = \"127.0.0.1:0\"\n";
    assert_eq!(place.findings(&(text + plain)), [""; 0]);
    let text = listener(&["a"], "") + route;
    assert_eq!(place.findings(&text), [""; 0]);
}
