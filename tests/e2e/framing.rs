//! Where bodies end, on both sides.

use crate::support::{Driver, Framing, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    passes_a_body_with_a_length,
    passes_a_chunked_body,
    passes_request_trailers,
    drops_chunk_extensions_of_a_request,
    drops_chunk_extensions_of_a_response,
    passes_a_chunked_response_with_trailers,
    unchunks_a_response_for_http_1_0,
    frames_a_close_delimited_response_anew,
    closes_a_close_delimited_response_for_http_1_0,
    reads_a_chunked_request_split_at_every_byte,
    reads_a_chunked_response_split_at_every_byte,
    answers_head_without_a_body,
    answers_204_without_a_body,
    answers_304_without_a_body,
    keeps_the_length_of_a_head_response,
    passes_an_empty_body,
    answers_an_http_1_0_origin,
);

fn passes_a_body_with_a_length(driver: Driver) {
    let origin = Origin::replying(|r| ok(std::str::from_utf8(&r.body).unwrap()).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response =
        client.exchange("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(response.text(), "hello");
    assert_eq!(origin.request().fields.one("content-length"), Some("5"));
    assert_eq!(client.get("/b").text(), "");
}

fn passes_a_chunked_body(driver: Driver) {
    let origin = Origin::replying(|r| ok(std::str::from_utf8(&r.body).unwrap()).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let head = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let response = client.exchange(format!("{head}5\r\nhello\r\nA\r\n, gateways\r\n0\r\n\r\n"));
    assert_eq!(response.text(), "hello, gateways");
    let request = origin.request();
    assert!(!request.fields.has("content-length"));
    assert_eq!(client.get("/b").text(), "");
}

fn passes_request_trailers(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\nContent-Length: 3\r\n\r\n",
    );
    // RFC 9110, section 6.5.1: framing fields have no place in trailers. A gateway may
    // refuse them or drop them; it must not pass them on.
    if response.status == 400 {
        assert!(origin.requests().is_empty());
        return;
    }
    assert_eq!(response.text(), "x");
    let request = origin.request();
    assert_eq!(request.trailers.one("x-sum"), Some("42"));
    assert!(!request.trailers.has("content-length"));
}

fn drops_chunk_extensions_of_a_request(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;name=value\r\nabc\r\n2;flag;q=\"a b\"\r\nde\r\n0;last\r\n\r\n",
    );
    assert_eq!(response.text(), "x");
    // The strict reader at the origin refuses extensions.
    assert_eq!(origin.failures(), Vec::<String>::new());
    assert_eq!(origin.request().body, b"abcde");
}

fn drops_chunk_extensions_of_a_response(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/a").text(), "abc");
}

fn passes_a_chunked_response_with_trailers(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    );
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(response.text(), "abcdefg");
    assert_eq!(response.trailers.one("x-sum"), Some("7"));
    assert_eq!(client.get("/b").text(), "abcdefg");
}

fn unchunks_a_response_for_http_1_0(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n");
    assert_ne!(response.framing, Framing::Chunked);
    assert_eq!(response.text(), "abcde");
    client.expect_closed();
}

fn frames_a_close_delimited_response_anew(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send_slowly([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), b"until ", b"the end"]);
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.get("/a");
    assert_eq!(response.text(), "until the end");
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(client.get("/b").text(), "until the end");
    assert_eq!(origin.accepted(), 2);
}

fn closes_a_close_delimited_response_for_http_1_0(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange("GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(response.framing, Framing::Close);
    assert_eq!(response.text(), "until the end");
}

fn reads_a_chunked_request_split_at_every_byte(driver: Driver) {
    let origin = Origin::replying(|r| ok(std::str::from_utf8(&r.body).unwrap()).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let request = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3;x\r\nabc\r\n0b\r\nhello world\r\n0\r\nX-T: 1\r\n\r\n";
    for byte in request.as_bytes() {
        client.send([*byte]);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(client.response("POST").text(), "abchello world");
    assert_eq!(client.get("/b").status, 200);
}

fn reads_a_chunked_response_split_at_every_byte(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                3;x\r\nabc\r\n0B\r\nhello world\r\n0\r\nX-T: 1\r\n\r\n";
            for byte in response {
                conn.send([*byte]);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").text(), "abchello world");
    assert_eq!(client.get("/b").text(), "abchello world");
    assert_eq!(origin.accepted(), 1);
}

fn answers_head_without_a_body(driver: Driver) {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.exchange("HEAD /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        assert_eq!(response.status, 200);
    }
    assert_eq!(origin.accepted(), 1);
}

fn keeps_the_length_of_a_head_response(driver: Driver) {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.exchange("HEAD /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        assert_eq!(response.field("content-length"), Some("12345"));
    }
}

fn answers_204_without_a_body(driver: Driver) {
    let origin = Origin::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/a");
        assert_eq!(response.status, 204);
        // RFC 9110, section 8.6 and RFC 9112, section 6.1.
        assert!(!response.fields.has("content-length"));
        assert!(!response.fields.has("transfer-encoding"));
    }
    assert_eq!(origin.accepted(), 1);
}

fn answers_304_without_a_body(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nContent-Length: 99\r\n\r\n",
    );
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/a");
        assert_eq!(response.status, 304);
        assert_eq!(response.field("etag"), Some("\"v1\""));
    }
    assert_eq!(origin.accepted(), 1);
}

fn passes_an_empty_body(driver: Driver) {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let request = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(client.exchange(request).text(), "");
    }
    assert_eq!(origin.requests()[0].fields.one("content-length"), Some("0"));
    client.send(get("/after"));
    assert_eq!(client.response("GET").status, 200);
}

fn answers_an_http_1_0_origin(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold");
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").text(), "old");
    assert_eq!(client.get("/b").text(), "old");
    assert_eq!(
        origin.accepted(),
        2,
        "an HTTP/1.0 origin does not keep its connection"
    );
}
