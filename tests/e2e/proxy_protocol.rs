//! The PROXY protocol, versions 1 and 2: believed from listed peers only, and sent to origins.

use crate::support::certificates::Authority;
use crate::support::curl::curl_text;
use crate::support::{Client, Driver, Nginx, Origin, Setup, get, on_both_drivers};

on_both_drivers!(
    believes_version_1,
    believes_version_2,
    believes_a_header_that_comes_in_pieces,
    takes_the_peers_address_for_local_and_unknown,
    serves_curl_with_a_header,
    serves_tls_behind_a_header,
    closes_a_listed_peer_without_header,
    closes_a_listed_peer_with_a_broken_header,
    believes_nobody_who_is_not_listed,
    sends_the_client_to_nginx,
    sends_the_client_it_was_told_of,
    sends_it_before_tls,
    sends_it_for_passed_tcp,
    serves_each_client_on_connections_of_its_own,
);

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2: PROXY, TCP over IPv6, with a TLV behind the addresses.
fn v2_tcp6() -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, 0x21, 0, 36 + 5]);
    header.extend(
        "2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    header.extend(
        "2001:db8::1"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    header.extend([0xC8, 0x22, 0x01, 0xBB]);
    // PP2_TYPE_NOOP with two bytes.
    header.extend([0x04, 0, 2, 1, 2]);
    header
}

fn v2_local() -> Vec<u8> {
    [SIGNATURE, &[0x20, 0x00, 0, 0]].concat()
}

fn listed(driver: Driver, origin: &Origin) -> Setup {
    Setup::proxy(driver, origin.address()).set(
        "listener",
        "proxy_protocol_from",
        "[\"127.0.0.0/8\"]",
    )
}

/// Sends `header` and a request, and returns who the origin is told the client is.
#[track_caller]
fn told(driver: Driver, header: &[u8]) -> String {
    let origin = Origin::named("x");
    let gateway = listed(driver, &origin).start();
    let mut client = gateway.client();
    client.send([header, get("/a").as_bytes()].concat());
    assert_eq!(client.response("GET").text(), "x");
    // Once for a connection, and every request on it.
    assert_eq!(client.get("/b").text(), "x");
    let requests = origin.requests();
    let seen: Vec<&str> = requests
        .iter()
        .map(|r| r.fields.one("x-forwarded-for").unwrap())
        .collect();
    assert_eq!(seen[0], seen[1]);
    assert_eq!(gateway.log(2)[0]["client"], seen[0]);
    seen[0].to_owned()
}

fn believes_version_1(driver: Driver) {
    assert_eq!(told(driver, V1), "203.0.113.7");
    assert_eq!(
        told(driver, b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n"),
        "2001:db8::7"
    );
}

fn believes_version_2(driver: Driver) {
    assert_eq!(told(driver, &v2_tcp6()), "2001:db8::7");
}

fn believes_a_header_that_comes_in_pieces(driver: Driver) {
    for header in [V1, &v2_tcp6()] {
        let origin = Origin::named("x");
        let gateway = listed(driver, &origin).start();
        let mut client = gateway.client();
        for byte in header {
            client.send([*byte]);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(client.get("/a").text(), "x");
        let request = origin.request();
        assert_ne!(request.fields.one("x-forwarded-for"), Some("127.0.0.1"));
    }
}

fn takes_the_peers_address_for_local_and_unknown(driver: Driver) {
    assert_eq!(told(driver, &v2_local()), "127.0.0.1");
    assert_eq!(told(driver, b"PROXY UNKNOWN\r\n"), "127.0.0.1");
}

fn serves_curl_with_a_header(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = listed(driver, &origin).start();
    let url = format!("http://{}/", gateway.address());
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl_text(&[how, "--haproxy-protocol", &url]), "x");
    }
}

fn serves_tls_behind_a_header(driver: Driver) {
    let (authority, origin) = (Authority::new(), Origin::named("x"));
    let gateway = listed(driver, &origin)
        .certificates(&[&authority.server(&["gateway.test"])])
        .start();
    let port = gateway.address().rsplit(':').next().unwrap();
    let ca = authority.trust();
    let resolve = format!("gateway.test:{port}:127.0.0.1");
    let url = format!("https://gateway.test:{port}/");
    for how in ["--http1.1", "--http2"] {
        let all = [
            how,
            "--haproxy-protocol",
            "--cacert",
            &ca,
            "--resolve",
            &resolve,
            &url,
        ];
        assert_eq!(curl_text(&all), "x");
    }
}

fn closes_a_listed_peer_without_header(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = listed(driver, &origin).start();
    let mut client = gateway.client();
    client.send(get("/a"));
    client.expect_closed();
    assert!(origin.requests().is_empty());
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "proxy_header")], 1.0);
}

fn closes_a_listed_peer_with_a_broken_header(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = listed(driver, &origin).start();
    for header in [
        &b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 extra\r\n"[..],
        b"PROXY TCP4 203.0.113.700 192.0.2.1 51234 443\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\n",
        b"proxy TCP4 203.0.113.7 192.0.2.1 51234 443\r\n",
        &[
            SIGNATURE,
            &[0x31, 0x11, 0, 12, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4],
        ]
        .concat(),
        &[SIGNATURE, &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat(),
    ] {
        let mut client = gateway.client();
        client.try_send([header, get("/a").as_bytes()].concat());
        client.rest();
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "proxy_header")], 6.0);
}

fn believes_nobody_who_is_not_listed(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "proxy_protocol_from", "[\"192.0.2.0/24\"]")
        .start();
    let mut client = gateway.client();
    client.send([V1, get("/a").as_bytes()].concat());
    assert_eq!(client.response("GET").status, 400);
    assert_eq!(gateway.get("/b").text(), "x");
    let request = origin.request();
    assert_eq!(request.fields.one("x-forwarded-for"), Some("127.0.0.1"));
}

const SEEN: &str = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr\"; }";

fn sends_the_client_to_nginx(driver: Driver) {
    for version in ["v1", "v2"] {
        let nginx = Nginx::listening("proxy_protocol", SEEN);
        let gateway = Setup::new(driver)
            .upstream(
                "app",
                &nginx.address(),
                &format!("proxy_protocol = {version:?}"),
            )
            .catch_all("app")
            .start();
        let mut client = gateway.client();
        let ours = client.peer().tcp().local_addr().unwrap();
        for _ in 0..2 {
            let said = client.get("/").text().to_owned();
            assert_eq!(
                said,
                format!("127.0.0.1 {} 127.0.0.1", ours.port()),
                "{version}"
            );
        }
    }
}

fn sends_the_client_it_was_told_of(driver: Driver) {
    for (version, header, expected) in [
        ("v1", V1.to_vec(), "203.0.113.7 51234 192.0.2.1"),
        ("v2", v2_tcp6(), "2001:db8::7 51234 2001:db8::1"),
    ] {
        let nginx = Nginx::listening("proxy_protocol", SEEN);
        let gateway = Setup::new(driver)
            .set("listener", "proxy_protocol_from", "[\"127.0.0.0/8\"]")
            .upstream(
                "app",
                &nginx.address(),
                &format!("proxy_protocol = {version:?}"),
            )
            .catch_all("app")
            .start();
        let mut client = gateway.client();
        client.send(header);
        assert_eq!(client.get("/").text(), expected);
    }
}

fn sends_it_before_tls(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let nginx = Nginx::listening(
        "ssl proxy_protocol",
        &format!(
            "ssl_certificate {};\nssl_certificate_key {};\n{SEEN}",
            pair.cert(),
            pair.key()
        ),
    );
    let more = format!(
        "protocol = \"http/1.1\"\nproxy_protocol = \"v2\"\n\
         [upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"",
        authority.ca()
    );
    let gateway = Setup::new(driver)
        .upstream("app", &nginx.address(), &more)
        .catch_all("app")
        .start();
    assert!(gateway.get("/").text().starts_with("127.0.0.1 "));
}

fn sends_it_for_passed_tcp(driver: Driver) {
    let nginx = Nginx::listening("proxy_protocol", SEEN);
    let gateway = Setup::new(driver)
        .body(
            "[[listener]]\nname = \"raw\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
             upstream = \"app\"",
        )
        .upstream("app", &nginx.address(), "proxy_protocol = \"v1\"")
        .route("ping", "/ping", "respond = { status = 204 }")
        .start();
    let mut client = Client::connect(gateway.listener("raw"));
    let port = client.peer().tcp().local_addr().unwrap().port();
    let said = client.get("/").text().to_owned();
    assert!(said.starts_with(&format!("127.0.0.1 {port} ")), "{said}");
}

/// A pooled connection would tell the origin of the wrong client.
fn serves_each_client_on_connections_of_its_own(driver: Driver) {
    let nginx = Nginx::listening("proxy_protocol", SEEN);
    let gateway = Setup::new(driver)
        .upstream("app", &nginx.address(), "proxy_protocol = \"v1\"")
        .catch_all("app")
        .start();
    for _ in 0..5 {
        let mut client = gateway.client();
        let port = client.peer().tcp().local_addr().unwrap().port();
        let said = client.get("/").text().to_owned();
        assert!(said.starts_with(&format!("127.0.0.1 {port} ")), "{said}");
    }
}
