//! Connections to origins.

use rustls::HandshakeKind;

use super::*;

fn client_of(configured: &Configured) -> Arc<ClientConfig> {
    Arc::clone(&configured.client("u").unwrap().config)
}

/// An origin with a certificate for a.example by `root`, as a listener of ours.
fn origin(place: &Place, root: &Issuer, tls: &str) -> Arc<ServerConfig> {
    place.put("a", &issue(&["a.example", "127.0.0.1"], root));
    place.server(&listener(&["a"], tls))
}

#[test]
fn the_origin_is_verified_by_the_given_authority_and_name() {
    let (place, root) = (Place::new(), authority("Root"));
    let origin = origin(&place, &root, "");
    place.write("ca.pem", root.pem());
    let configured = fine(place.load(&upstream(
        "",
        "ca = \"ca.pem\"\nserver_name = \"a.example\"",
    )));
    let name = configured.client("u").unwrap().name.clone().unwrap();
    assert_eq!(name.to_str(), "a.example");
    let client = client_of(&configured);
    assert!(meet(&origin, &client, "a.example").is_ok());
    assert!(meet(&origin, &client, "127.0.0.1").is_ok());
    assert!(meet(&origin, &client, "b.example").is_err());
    place.write("ca.pem", authority("Other").pem());
    let configured = fine(place.load(&upstream("", "ca = \"ca.pem\"")));
    assert!(configured.client("u").unwrap().name.is_none());
    assert!(meet(&origin, &client_of(&configured), "a.example").is_err());
}

#[test]
fn an_unverified_origin_may_be_anybody() {
    let (place, root) = (Place::new(), authority("Root"));
    let origin = origin(&place, &root, "");
    let text = upstream("", "verify = false");
    let client = client_of(&fine(place.load(&text)));
    assert!(meet(&origin, &client, "b.example").is_ok());
}

#[test]
fn an_origin_may_demand_a_certificate() {
    let (place, root) = (Place::new(), authority("Root"));
    place.write("ca.pem", root.pem());
    let demanding = "client_auth = \"required\"\nclient_ca = \"ca.pem\"";
    let origin = origin(&place, &root, demanding);
    place.put("me", &client_certificate("me", &root));
    let keys = "ca = \"ca.pem\"\ncert = \"me.pem\"\nkey = \"me.key\"";
    let client = client_of(&fine(place.load(&upstream("", keys))));
    assert!(meet(&origin, &client, "a.example").is_ok());
    let client = client_of(&fine(place.load(&upstream("", "ca = \"ca.pem\""))));
    assert!(meet(&origin, &client, "a.example").is_err());
    place.write("me.key", KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(
        place.findings(&upstream("", keys)),
        ["error tls-key-mismatch: me.key is not the key of the certificate in me.pem"]
    );
}

#[test]
fn protocols_follow_the_upstream() {
    let (place, root) = (Place::new(), authority("Root"));
    place.write("ca.pem", root.pem());
    for (keys, offered) in [
        ("", vec!["h2", "http/1.1"]),
        ("protocol = \"auto\"", vec!["h2", "http/1.1"]),
        ("protocol = \"h2\"", vec!["h2"]),
        ("protocol = \"http/1.1\"", vec!["http/1.1"]),
    ] {
        let client = client_of(&fine(place.load(&upstream(keys, "ca = \"ca.pem\""))));
        assert_eq!(
            client.alpn_protocols,
            offered
                .iter()
                .map(|name| name.as_bytes())
                .collect::<Vec<_>>(),
            "{keys}"
        );
    }
}

#[test]
fn sessions_outlive_a_reload_that_changes_nothing() {
    let (place, root) = (Place::new(), authority("Root"));
    let origin = origin(&place, &root, "");
    place.write("ca.pem", root.pem());
    let text = upstream("", "ca = \"ca.pem\"");
    let before = fine(place.load(&text));
    meet(&origin, &client_of(&before), "a.example").unwrap();
    let after = fine(place.reload(&text, Some(&before)));
    let met = meet(&origin, &client_of(&after), "a.example").unwrap();
    assert_eq!(met.client.handshake_kind(), Some(HandshakeKind::Resumed));
    place.write("ca.pem", root.pem() + &authority("Other").pem());
    let after = fine(place.reload(&text, Some(&after)));
    let met = meet(&origin, &client_of(&after), "a.example").unwrap();
    assert_eq!(met.client.handshake_kind(), Some(HandshakeKind::Full));
}
