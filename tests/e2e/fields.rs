//! What happens to fields on the way: hop-by-hop ones end here, ours are added, and only
//! trusted peers are believed about the client.

use crate::support::{Driver, Origin, Request, Setup, on_both_drivers};

on_both_drivers!(
    removes_hop_by_hop_request_fields,
    removes_fields_named_by_connection,
    removes_hop_by_hop_response_fields,
    connection_cannot_remove_end_to_end_protection,
    keeps_order_and_repeats_of_other_fields,
    keeps_bytes_above_ascii_in_values,
    adds_what_is_known_of_the_client,
    believes_no_stranger_about_the_client,
    believes_a_trusted_peer_about_the_client,
    makes_a_request_id_that_is_a_uuid_v7,
    adds_via_both_ways,
    passes_the_clients_host,
    sends_the_endpoints_host_when_told,
    sends_a_literal_host_when_told,
    cookies_pass_both_ways,
);

fn exchange(driver: Driver, setup: impl Fn(Setup) -> Setup, fields: &str) -> Request {
    let origin = Origin::named("x");
    let gateway = setup(Setup::proxy(driver, origin.address())).start();
    let head = format!("GET /a HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n");
    let response = gateway.client().exchange(head);
    assert_eq!(response.status, 200, "{}", response.text());
    origin.request()
}

fn removes_hop_by_hop_request_fields(driver: Driver) {
    let request = exchange(
        driver,
        |s| s,
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic eA==\r\nTE: gzip\r\nTrailer: X\r\nUpgrade: foo\r\n\
         X-Kept: 1\r\n",
    );
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!request.fields.has(name), "{name} in {request:#?}");
    }
    assert_ne!(request.fields.one("te"), Some("gzip"));
    assert_eq!(request.fields.one("x-kept"), Some("1"));
}

fn removes_fields_named_by_connection(driver: Driver) {
    let request = exchange(
        driver,
        |s| s,
        "Connection: X-Drop, close-ish,\tx-also , ,\r\nX-Drop: 1\r\nx-ALSO: 2\r\n\
         Close-Ish: 3\r\nX-Kept: 4\r\n",
    );
    for name in ["x-drop", "x-also", "close-ish", "connection"] {
        assert!(!request.fields.has(name), "{name} in {request:#?}");
    }
    assert_eq!(request.fields.one("x-kept"), Some("4"));
}

fn removes_hop_by_hop_response_fields(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\n\
         Keep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway.get("/a");
    for name in ["x-secret", "keep-alive", "upgrade"] {
        assert!(!response.fields.has(name), "{name} in {response:#?}");
    }
    assert_eq!(response.field("x-kept"), Some("1"));
}

fn connection_cannot_remove_end_to_end_protection(driver: Driver) {
    // Naming our own or framing fields must not strip what the gateway says itself.
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for named in [
        "Host",
        "Content-Length",
        "X-Forwarded-For",
        "Forwarded",
        "Via",
        "X-Request-Id",
    ] {
        let before = origin.requests().len();
        let mut client = gateway.client();
        let response = client.exchange(format!(
            "POST /a HTTP/1.1\r\nHost: gateway.test\r\nConnection: close, {named}\r\n\
             Content-Length: 3\r\n\r\nabc"
        ));
        if response.status == 400 {
            assert_eq!(origin.requests().len(), before);
            continue;
        }
        let request = origin.requests()[before].clone();
        assert_eq!(request.body, b"abc", "{named}");
        assert_eq!(request.fields.one("host"), Some("gateway.test"), "{named}");
        assert_eq!(
            request.fields.one("x-forwarded-for"),
            Some("127.0.0.1"),
            "{named}"
        );
        assert!(request.fields.has("x-request-id"), "{named}");
    }
}

fn keeps_order_and_repeats_of_other_fields(driver: Driver) {
    let request = exchange(
        driver,
        |s| s,
        "X-A: 1\r\nx-b: 2\r\nX-A: 3\r\nX-Empty:\r\nX-A: 1\r\n",
    );
    assert_eq!(request.fields.all("x-a"), ["1", "3", "1"]);
    assert_eq!(request.fields.one("x-empty"), Some(""));
    let names: Vec<_> = request
        .fields
        .0
        .iter()
        .map(|(n, _)| n.to_ascii_lowercase())
        .filter(|n| ["x-a", "x-b", "x-empty"].contains(&n.as_str()))
        .collect();
    assert_eq!(names, ["x-a", "x-b", "x-a", "x-empty", "x-a"]);
}

fn keeps_bytes_above_ascii_in_values(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(b"GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Name: Z\xc3\xbcrich \xff\r\n\r\n");
    assert_eq!(client.response("GET").status, 200);
    assert!(
        origin.seen()[0]
            .windows(9)
            .any(|w| w == b"Z\xc3\xbcrich \xff")
    );
}

fn adds_what_is_known_of_the_client(driver: Driver) {
    let request = exchange(driver, |s| s.set("forwarded", "forwarded", "true"), "");
    assert_eq!(request.fields.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.fields.one("x-forwarded-proto"), Some("http"));
    assert_eq!(request.fields.one("x-forwarded-host"), Some("gateway.test"));
    let forwarded = request.fields.one("forwarded").unwrap();
    for part in ["for=127.0.0.1", "proto=http", "host=gateway.test"] {
        assert!(forwarded.replace('"', "").contains(part), "{forwarded}");
    }
}

const CLAIMS: &str = "X-Forwarded-For: 203.0.113.7, 198.51.100.2\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: claimed.test\r\nX-Request-Id: chosen-by-the-client\r\n\
                      Forwarded: for=203.0.113.7;proto=https\r\n";

fn believes_no_stranger_about_the_client(driver: Driver) {
    let request = exchange(
        driver,
        |s| s.set("forwarded", "trusted", "[\"192.0.2.0/24\"]"),
        CLAIMS,
    );
    assert_eq!(request.fields.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.fields.one("x-forwarded-proto"), Some("http"));
    assert_eq!(request.fields.one("x-forwarded-host"), Some("gateway.test"));
    assert_ne!(
        request.fields.one("x-request-id"),
        Some("chosen-by-the-client")
    );
    assert!(
        request
            .fields
            .all("forwarded")
            .iter()
            .all(|v| !v.contains("203.0.113.7"))
    );
}

fn believes_a_trusted_peer_about_the_client(driver: Driver) {
    let request = exchange(
        driver,
        |s| {
            s.set(
                "forwarded",
                "trusted",
                "[\"127.0.0.0/8\", \"198.51.100.0/24\"]",
            )
        },
        CLAIMS,
    );
    let chain = request.fields.all("x-forwarded-for").join(", ");
    assert_eq!(chain, "203.0.113.7, 198.51.100.2, 127.0.0.1");
    assert_eq!(request.fields.one("x-forwarded-proto"), Some("https"));
    assert_eq!(request.fields.one("x-forwarded-host"), Some("claimed.test"));
    assert_eq!(
        request.fields.one("x-request-id"),
        Some("chosen-by-the-client")
    );
}

fn makes_a_request_id_that_is_a_uuid_v7(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let mut ids = Vec::new();
    for _ in 0..100 {
        client.get("/a");
    }
    for request in origin.requests() {
        let id = request.fields.one("x-request-id").unwrap().to_owned();
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "7", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        ids.push(id);
    }
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
}

fn adds_via_both_ways(driver: Driver) {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n");
    let gateway = Setup::proxy(driver, origin.address())
        .set("forwarded", "via", "\"edge-1\"")
        .start();
    let response = gateway
        .client()
        .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nVia: 1.0 outer\r\n\r\n");
    let request = origin.request();
    // RFC 9110, section 7.6.3: every hop, in order.
    assert_eq!(
        request.fields.all("via").join(", "),
        "1.0 outer, 1.1 edge-1"
    );
    let back = response.fields.all("via").join(", ");
    assert!(back.starts_with("1.1 inner"), "{back}");
}

fn passes_the_clients_host(driver: Driver) {
    assert_eq!(
        exchange(driver, |s| s, "").fields.one("host"),
        Some("gateway.test")
    );
}

fn host_seen_with(driver: Driver, upstream_host: &str) -> (String, Option<String>) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route(
            "all",
            "/{rest*}",
            &format!("upstream = \"app\"\nupstream_host = \"{upstream_host}\""),
        )
        .start();
    assert_eq!(gateway.get("/a").status, 200);
    let host = origin.request().fields.one("host").map(str::to_owned);
    (origin.address().to_owned(), host)
}

fn sends_the_endpoints_host_when_told(driver: Driver) {
    let (address, host) = host_seen_with(driver, "upstream");
    assert_eq!(host, Some(address));
}

fn sends_a_literal_host_when_told(driver: Driver) {
    let (_, host) = host_seen_with(driver, "inner.example.com");
    assert_eq!(host.as_deref(), Some("inner.example.com"));
}

fn cookies_pass_both_ways(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nCookie: a=1; b=2\r\n\r\n");
    assert_eq!(response.fields.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(origin.request().fields.one("cookie"), Some("a=1; b=2"));
}
