//! Corners of the protocol that intermediaries have their own rules for: upgrades, TRACE,
//! CONNECT, `Max-Forwards`, `Connection`, and what origins are told about the client.

use crate::support::{Client, Driver, Gateway, Origin, Request, Setup, get, on_both_drivers};

on_both_drivers!(
    refuses_more_connection_options_than_it_looks_up,
    a_101_must_name_what_was_asked_for,
    an_upgrade_with_a_body_is_an_ordinary_request,
    refuses_connect_with_the_methods_it_takes,
    refuses_trace_where_no_route_lists_it,
    forwards_trace_where_a_route_lists_it,
    answers_for_the_origin_when_no_forwards_are_left,
    counts_forwards_down,
    ignores_max_forwards_of_other_methods,
    an_absolute_options_target_without_a_path_is_the_server,
    a_slash_redirect_stays_on_its_host,
    a_redirect_stays_on_its_host,
    the_forwarded_host_is_what_the_client_asked_for,
    keeps_a_trusted_request_id_when_it_writes_none,
    says_unknown_of_clients_without_an_address,
);

fn refuses_more_connection_options_than_it_looks_up(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let with = |count: usize| {
        let options: Vec<String> = (0..count).map(|i| format!("x-{i}")).collect();
        let options = options.join(", ");
        let head =
            format!("GET /a HTTP/1.1\r\nHost: gateway.test\r\nConnection: {options}\r\n\r\n");
        gateway.client().exchange(head).status
    };
    assert_eq!(with(32), 200);
    assert_eq!(with(33), 431);
    assert_eq!(with(1000), 431);
    let log = gateway.log(3);
    assert_eq!(log[1]["code"], "too_many_fields", "{}", log[1]);
    assert_eq!(origin.requests().len(), 1);
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn a_101_must_name_what_was_asked_for(driver: Driver) {
    for fields in [
        "Connection: Upgrade\r\nUpgrade: chat\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, chat\r\n",
        "Connection: Upgrade\r\n",
        "Upgrade: h2c\r\n",
        "",
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\nhello");
        let origin = Origin::answering(answer);
        let gateway = Setup::proxy(driver, origin.address()).start();
        let mut client = gateway.client();
        let head = format!("GET /ws HTTP/1.1\r\nHost: gateway.test\r\n{UPGRADE}\r\n");
        assert_eq!(client.exchange(head).status, 502, "{fields}");
        assert_eq!(gateway.log_line()["code"], "bad_upgrade", "{fields}");
        origin.wait_until_closed();
    }
}

fn an_upgrade_with_a_body_is_an_ordinary_request(driver: Driver) {
    let origin = Origin::named("plain");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for (framing, body) in [
        ("Content-Length: 5", "hello"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let response = client.exchange(format!(
            "GET /ws HTTP/1.1\r\nHost: gateway.test\r\n{UPGRADE}{framing}\r\n\r\n{body}"
        ));
        assert_eq!((response.status, response.text()), (200, "plain"));
    }
    for request in origin.requests() {
        assert_eq!(request.body, b"hello");
        assert!(!request.fields.has("upgrade"), "{request:?}");
        assert!(!request.fields.has("connection"), "{request:?}");
    }
}

/// Sends a request that is refused with 405; the methods that are allowed.
fn allowed(gateway: &Gateway, head: &str) -> (Client, String) {
    let mut client = gateway.client();
    client.send(head);
    let response = client.response("GET");
    assert_eq!(response.status, 405, "{head}");
    let allow = response.field("allow").unwrap().to_owned();
    (client, allow)
}

fn refuses_connect_with_the_methods_it_takes(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let head = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    let (mut client, allow) = allowed(&gateway, &(head.to_owned() + &get("/smuggled")));
    assert!(
        allow.contains("GET") && !allow.contains("CONNECT"),
        "{allow}"
    );
    client.expect_closed();
    assert!(origin.requests().is_empty());
}

fn refuses_trace_where_no_route_lists_it(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for fields in ["", "Max-Forwards: 3\r\n", "Max-Forwards: 0\r\n"] {
        let head = format!("TRACE /a HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n");
        let (mut client, allow) = allowed(&gateway, &head);
        assert!(allow.contains("GET") && !allow.contains("TRACE"), "{allow}");
        assert_eq!(client.get("/b").text(), "x");
    }
    assert_eq!(origin.requests().len(), 3);
}

fn forwards_trace_where_a_route_lists_it(driver: Driver) {
    let origin = Origin::named("traced");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route("trace", "/a", "methods = [\"TRACE\"]\nupstream = \"app\"")
        .start();
    let response = gateway
        .client()
        .exchange("TRACE /a HTTP/1.1\r\nHost: gateway.test\r\nMax-Forwards: 2\r\n\r\n");
    assert_eq!((response.status, response.text()), (200, "traced"));
    let request = origin.request();
    assert_eq!(request.method, "TRACE");
    assert_eq!(request.fields.one("max-forwards"), Some("1"));
}

fn with_max_forwards(method: &str, value: &str) -> String {
    format!("{method} /a HTTP/1.1\r\nHost: gateway.test\r\nMax-Forwards: {value}\r\n\r\n")
}

fn answers_for_the_origin_when_no_forwards_are_left(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange(with_max_forwards("OPTIONS", "0"));
    assert!([200, 204].contains(&response.status), "{response:?}");
    assert!(response.field("allow").unwrap().contains("GET"));
    assert!(origin.requests().is_empty());
    assert_eq!(client.get("/b").text(), "x");
}

fn counts_forwards_down(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for (given, passed) in [("1", "0"), ("10", "9"), ("1000", "999")] {
        let before = origin.requests().len();
        assert_eq!(
            client.exchange(with_max_forwards("OPTIONS", given)).text(),
            "x"
        );
        let request = &origin.requests()[before];
        assert_eq!(request.fields.one("max-forwards"), Some(passed));
    }
}

fn ignores_max_forwards_of_other_methods(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway.client().exchange(with_max_forwards("GET", "0"));
    assert_eq!(response.text(), "x");
    assert_eq!(origin.request().fields.one("max-forwards"), Some("0"));
}

fn an_absolute_options_target_without_a_path_is_the_server(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for target in ["http://gateway.test", "http://gateway.test:80", "*"] {
        let response = client.exchange(format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
        ));
        assert!([200, 204].contains(&response.status), "{response:?}");
        assert!(response.field("allow").unwrap().contains("GET"));
    }
    assert!(origin.requests().is_empty());
    // With a path it asks about that path.
    let response =
        client.exchange("OPTIONS http://gateway.test/ HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(response.text(), "x");
    assert_eq!(origin.request().target, "/");
}

const FOREIGN: &[&str] = &[
    "//evil.example/x",
    "//evil.example/x/",
    "//evil.example",
    "//evil.example/",
    "///evil.example/x",
    "///evil.example/x/",
    "//evil.example/x?y=//z",
    "/%2Fevil.example/x",
    "/.//evil.example/x",
    "/a/..//evil.example/x/",
    "/old//evil.example/x",
    "/old///evil.example/x/",
    "/old/%2F/evil.example",
];

/// Asks for every path that a careless redirect would send to another host; how many were
/// redirected at all.
fn redirects(gateway: &Gateway) -> usize {
    let mut count = 0;
    for path in FOREIGN {
        let response = gateway.get(path);
        let Some(location) = response.field("location") else {
            continue;
        };
        count += 1;
        assert!(location.starts_with('/'), "{path} leads to {location}");
        assert!(!location.starts_with("//"), "{path} leads to {location}");
    }
    count
}

fn a_slash_redirect_stays_on_its_host(driver: Driver) {
    let mut setup = Setup::new(driver)
        .set("path", "merge_slashes", "false")
        .set("path", "encoded_slash", "\"decode\"")
        .set("path", "trailing_slash", "\"redirect\"");
    setup = setup.route("rest", "/old/{rest*}", "respond = { status = 204 }");
    // Of the paths with and without a last slash, one has a route.
    for (i, pattern) in [
        "/{a}/",
        "/{a}/{b}",
        "/{a}/{b}/{c}/",
        "/{a}/{b}/{c}/{d}",
        "/{a}/{b}/{c}/{d}/{e}/",
    ]
    .iter()
    .enumerate()
    {
        setup = setup.route(&format!("r{i}"), pattern, "respond = { status = 204 }");
    }
    let gateway = setup.start();
    redirects(&gateway);
    let response = gateway.get("/a/b/c?d");
    assert_eq!(response.field("location"), Some("/a/b/c/?d"));
}

fn a_redirect_stays_on_its_host(driver: Driver) {
    for to in ["/{rest}", "/{rest}?a=b"] {
        let gateway = Setup::new(driver)
            .set("path", "merge_slashes", "false")
            .set("path", "encoded_slash", "\"decode\"")
            .route(
                "old",
                "/old/{rest*}",
                &format!("redirect = {{ to = \"{to}\" }}"),
            )
            .start();
        assert!(redirects(&gateway) > 0, "no path was redirected");
    }
}

fn the_forwarded_host_is_what_the_client_asked_for(driver: Driver) {
    for upstream_host in ["upstream", "inner.example.com", "preserve"] {
        let origin = Origin::named("x");
        let gateway = Setup::new(driver)
            .upstream("app", origin.address(), "")
            .route(
                "all",
                "/{rest*}",
                &format!(
                    "upstream = \"app\"\nupstream_host = \"{upstream_host}\"\nrewrite = \"/r/{{rest}}\""
                ),
            )
            .start();
        let mut client = gateway.client();
        client.exchange("GET /a HTTP/1.1\r\nHost: asked.test:8080\r\n\r\n");
        client.exchange("GET http://asked.test:8080/a HTTP/1.1\r\nHost: asked.test:8080\r\n\r\n");
        for request in origin.requests() {
            let told = request.fields.one("x-forwarded-host");
            assert_eq!(told, Some("asked.test:8080"), "{request:?}");
            let forwarded = request.fields.one("forwarded").unwrap();
            assert!(
                forwarded.contains("host=\"asked.test:8080\""),
                "{forwarded}"
            );
            assert_eq!(request.target, "/r/a");
            let host = request.fields.one("host");
            assert_eq!(host == Some("asked.test:8080"), upstream_host == "preserve");
        }
        assert_eq!(origin.requests().len(), 2);
    }
}

fn keeps_a_trusted_request_id_when_it_writes_none(driver: Driver) {
    for (trusted, passed) in [("[\"127.0.0.0/8\"]", Some("theirs")), ("[]", None)] {
        let origin = Origin::named("x");
        let gateway = Setup::proxy(driver, origin.address())
            .set("forwarded", "trusted", trusted)
            .set("forwarded", "request_id", "\"off\"")
            .start();
        let response = gateway
            .client()
            .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Request-Id: theirs\r\n\r\n");
        assert_eq!(response.status, 200);
        assert_eq!(origin.request().fields.one("x-request-id"), passed);
    }
}

fn says_unknown_of_clients_without_an_address(driver: Driver) {
    let origin = Origin::named("x");
    let setup = Setup::proxy(driver, origin.address());
    let address = format!("unix:{}", setup.dir().join("public.sock").display());
    let gateway = setup
        .set("listener", "listen", &format!("{address:?}"))
        .start();
    let response = gateway
        .client()
        .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n");
    assert_eq!(response.status, 200);
    let request: Request = origin.request();
    assert_eq!(request.fields.one("x-forwarded-for"), Some("unknown"));
    let forwarded = request.fields.one("forwarded").unwrap();
    assert!(forwarded.starts_with("for=unknown"), "{forwarded}");
}
