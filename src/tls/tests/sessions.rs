//! Tickets: shared by workers, kept by reloads, and worth nothing once clients are judged
//! otherwise.

use rustls::HandshakeKind;

use super::*;

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

/// Whether a client that met `first` resumes its session with `second`.
fn resumes(first: &Arc<ServerConfig>, second: &Arc<ServerConfig>, client: ClientConfig) -> bool {
    let client = Arc::new(client);
    let met = meet(first, &client, "a.example").unwrap();
    assert_ne!(met.server.handshake_kind(), Some(HandshakeKind::Resumed));
    let met = meet(second, &client, "a.example").unwrap();
    met.server.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn place() -> (Place, Issuer) {
    let (place, root) = (Place::new(), authority("Root"));
    place.put("a", &issue(&["a.example"], &root));
    place.write("ca.pem", root.pem());
    (place, root)
}

#[test]
fn sessions_are_resumed_by_ticket_in_both_versions() {
    let (place, root) = place();
    let server = place.server(&listener(&["a"], ""));
    for version in VERSIONS {
        assert!(
            resumes(&server, &server, client(&root, &[version])),
            "{version:?}"
        );
    }
}

#[test]
fn no_tickets_no_resumption() {
    let (place, root) = place();
    let server = place.server(&listener(&["a"], "session_tickets = false"));
    for version in VERSIONS {
        assert!(
            !resumes(&server, &server, client(&root, &[version])),
            "{version:?}"
        );
    }
}

#[test]
fn an_unchanged_listener_stays_the_same_object() {
    let (place, _) = place();
    let text = listener(&["a"], "");
    let before = fine(place.load(&text));
    let after = fine(place.reload(&format!("# a comment\n{text}"), Some(&before)));
    assert!(after.changes_since(&before).is_empty());
    assert!(Arc::ptr_eq(
        &before.server("l").unwrap(),
        &after.server("l").unwrap()
    ));
}

#[test]
fn another_certificate_keeps_the_tickets() {
    let (place, root) = place();
    let text = listener(&["a"], "");
    let before = fine(place.load(&text));
    let renewed = issue(&["a.example"], &root);
    place.put("a", &renewed);
    let after = fine(place.reload(&text, Some(&before)));
    assert_eq!(after.changes_since(&before), ["listener l"]);
    let (before, after) = (server_of(&before), server_of(&after));
    for version in VERSIONS {
        assert!(
            resumes(&before, &after, client(&root, &[version])),
            "{version:?}"
        );
    }
    let met = meet(&after, &Arc::new(trusting(&root)), "a.example").unwrap();
    assert_eq!(met.shown(), leaf(&renewed));
}

#[test]
fn another_demand_on_clients_voids_the_tickets() {
    let (place, root) = place();
    let optional = "client_auth = \"optional\"\nclient_ca = \"ca.pem\"\n";
    let steps: [(&str, &dyn Fn()); 4] = [
        (optional, &|| {}),
        (optional, &|| {
            place.write("ca.pem", root.pem() + &authority("Other").pem());
        }),
        ("", &|| {}),
        ("ticket_rotation = \"1h\"", &|| {}),
    ];
    let mut before = fine(place.load(&listener(&["a"], "")));
    for (tls, change) in steps {
        change();
        let after = fine(place.reload(&listener(&["a"], tls), Some(&before)));
        let (old, new) = (server_of(&before), server_of(&after));
        assert!(!resumes(&old, &new, trusting(&root)), "{tls}");
        assert!(resumes(&new, &new, trusting(&root)), "{tls}");
        before = after;
    }
}

#[test]
fn a_broken_reload_leaves_what_was_there() {
    let (place, _) = place();
    let text = listener(&["a"], "");
    let before = fine(place.load(&text));
    place.write("a.key", "");
    let broken = place.reload(&text, Some(&before));
    assert!(
        broken
            .findings
            .iter()
            .any(|one| one.severity == Severity::Error)
    );
    assert!(broken.configured.server("l").is_none());
    assert!(before.server("l").is_some());
}

#[test]
fn early_data_is_never_accepted() {
    let (place, _) = place();
    let server = place.server(&listener(&["a"], ""));
    assert_eq!(server.max_early_data_size, 0);
}
