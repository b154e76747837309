//! How long a client's connection lives and in which order it is answered.

use crate::support::{Driver, Framing};
use crate::support::{Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    serves_many_requests_on_one_connection,
    reuses_the_upstream_connection,
    keeps_the_order_of_pipelined_requests,
    keeps_the_order_when_the_first_answer_is_slow,
    closes_when_the_client_asks,
    closes_after_a_plain_http_1_0_request,
    keeps_an_http_1_0_connection_that_asks,
    answers_the_request_before_a_broken_one,
    skips_one_empty_line_before_a_request,
    takes_an_http_1_0_post,
);

fn serves_many_requests_on_one_connection(driver: Driver) {
    let origin = Origin::replying(|request| ok(&request.target).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for i in 0..50 {
        let response = client.get(&format!("/n/{i}"));
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), format!("/n/{i}"));
        assert_eq!(response.framing, Framing::Length);
    }
}

fn reuses_the_upstream_connection(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for _ in 0..10 {
        assert_eq!(gateway.get("/a").status, 200);
    }
    assert_eq!(origin.accepted(), 1, "one worker needs one connection");
}

fn keeps_the_order_of_pipelined_requests(driver: Driver) {
    let origin = Origin::replying(|request| ok(&request.target).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let all: String = (0..40).map(|i| get(&format!("/p/{i}"))).collect();
    client.send(all);
    for i in 0..40 {
        assert_eq!(client.response("GET").text(), format!("/p/{i}"));
    }
}

fn keeps_the_order_when_the_first_answer_is_slow(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
            if request.target == "/slow" {
                conn.send_slowly([head.as_bytes(), b"s", b"l", b"o", b"w", b"!"]);
            } else {
                conn.send(format!("{head}quick"));
            }
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(get("/slow") + &get("/quick"));
    assert_eq!(client.response("GET").text(), "slow!");
    assert_eq!(client.response("GET").text(), "quick");
}

fn closes_when_the_client_asks(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response =
        client.exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n");
    assert_eq!(response.text(), "x");
    assert_eq!(response.field("connection"), Some("close"));
    client.expect_closed();
}

fn closes_after_a_plain_http_1_0_request(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(response.text(), "x");
    client.expect_closed();
    assert_eq!(origin.request().version, "HTTP/1.1");
}

fn keeps_an_http_1_0_connection_that_asks(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let request = "GET /a HTTP/1.0\r\nHost: gateway.test\r\nConnection: keep-alive\r\n\r\n";
    let response = client.exchange(request);
    assert_eq!(response.text(), "x");
    // RFC 9112, section 9.3 leaves both to the server; what it says must hold.
    if response
        .field("connection")
        .is_some_and(|v| v.eq_ignore_ascii_case("keep-alive"))
    {
        assert_eq!(client.exchange(request).text(), "x");
    } else {
        client.expect_closed();
    }
}

fn answers_the_request_before_a_broken_one(driver: Driver) {
    let origin = Origin::named("good");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(get("/good") + "GET /bad HTTP/1.1\r\nHost : x\r\n\r\n" + &get("/never"));
    assert_eq!(client.response("GET").text(), "good");
    assert_eq!(client.response("GET").status, 400);
    client.expect_closed();
    assert_eq!(origin.request().target, "/good");
}

fn skips_one_empty_line_before_a_request(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    // RFC 9112, section 2.2 asks servers for this; 400 would be lawful strictness too,
    // but browsers of old sent it after a POST.
    client.send("\r\n".to_owned() + &get("/a"));
    assert_eq!(client.response("GET").text(), "x");
}

fn takes_an_http_1_0_post(driver: Driver) {
    let origin = Origin::replying(|r| ok(std::str::from_utf8(&r.body).unwrap()).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response =
        client.exchange("POST /a HTTP/1.0\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(response.text(), "abc");
    client.expect_closed();
}
