//! Interim responses and `Expect: 100-continue`, end to end.

use crate::support::{Driver, Origin, Setup, ok, on_both_drivers};

const EXPECTING: &str = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\
                         Expect: 100-continue\r\n\r\n";

on_both_drivers!(
    relays_103_before_the_answer,
    relays_several_interim_responses,
    keeps_interim_responses_from_http_1_0_clients,
    passes_the_origins_100_to_the_client,
    passes_an_early_refusal_instead_of_100,
    passes_401_instead_of_100,
    serves_a_client_that_does_not_wait_for_100,
    ignores_the_expectation_of_an_http_1_0_client,
    refuses_an_unknown_expectation,
);

fn relays_103_before_the_answer(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let hints = client.get("/a");
        assert_eq!(hints.status, 103);
        assert_eq!(hints.field("link"), Some("</a.css>; rel=preload"));
        assert_eq!(client.response("GET").text(), "x");
    }
}

fn relays_several_interim_responses(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send_slowly([
                b"HTTP/1.1 102 Processing\r\n\r\n".as_slice(),
                b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early",
                b" Hints\r\nLink: </b>\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            ]);
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").status, 102);
    assert_eq!(client.response("GET").field("link"), Some("</a>"));
    assert_eq!(client.response("GET").field("link"), Some("</b>"));
    assert_eq!(client.response("GET").text(), "x");
    assert_eq!(client.get("/b").status, 102);
}

fn keeps_interim_responses_from_http_1_0_clients(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n");
    assert_eq!((response.status, response.text()), (200, "x"));
}

fn passes_the_origins_100_to_the_client(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(head) = conn.head() {
            assert_eq!(head.fields.one("expect"), Some("100-continue"));
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            let request = conn.body(head).unwrap();
            conn.send(ok(std::str::from_utf8(&request.body).unwrap()));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(EXPECTING);
        assert_eq!(client.response("POST").status, 100);
        client.send("hello");
        assert_eq!(client.response("POST").text(), "hello");
    }
    assert_eq!(origin.accepted(), 1);
}

fn refuse_early(driver: Driver, status: &'static str) {
    let origin = Origin::start(move |conn| {
        while let Some(head) = conn.head() {
            conn.count(&head);
            if head.fields.has("expect") {
                conn.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
                conn.stall();
                return;
            }
            conn.send(ok("next"));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let refusal = client.exchange(EXPECTING);
    assert_eq!(refusal.status.to_string(), status[..3]);
    assert_eq!(refusal.text(), "no");
    // The body was never sent. Whether the connection stays is the gateway's choice, but
    // what the client sends next must not be taken for something else.
    if refusal.field("connection") == Some("close") {
        client.expect_closed();
    } else {
        client.send("helloGET /next HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        assert_eq!(client.response("GET").text(), "next");
    }
    assert_eq!(gateway.get("/next").text(), "next");
    assert!(
        origin
            .requests()
            .iter()
            .all(|r| r.target == "/a" || r.target == "/next")
    );
}

fn passes_an_early_refusal_instead_of_100(driver: Driver) {
    refuse_early(driver, "417 Expectation Failed");
}

fn passes_401_instead_of_100(driver: Driver) {
    refuse_early(driver, "401 Unauthorized");
}

fn serves_a_client_that_does_not_wait_for_100(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            // RFC 9110, section 10.1.1: 100 may be left out once the body is there.
            conn.send(ok(std::str::from_utf8(&request.body).unwrap()));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let mut response = client.exchange(format!("{EXPECTING}hello"));
    if response.status == 100 {
        response = client.response("POST");
    }
    assert_eq!(response.text(), "hello");
}

fn ignores_the_expectation_of_an_http_1_0_client(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange(EXPECTING.replace("HTTP/1.1", "HTTP/1.0") + "hello");
    assert_eq!((response.status, response.text()), (200, "x"));
}

fn refuses_an_unknown_expectation(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nExpect: miracles\r\n\r\n");
    assert_eq!(response.status, 417);
    assert!(origin.requests().is_empty());
}
