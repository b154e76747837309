//! Uploads that take their time: which deadline runs when, and that an answer that comes
//! before the end reaches a client that is still sending.

use std::thread;
use std::time::Duration;

use crate::support::{Client, Conn, Driver, Gateway, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    the_response_timeout_waits_for_the_end_of_an_upload,
    the_response_timeout_runs_from_the_end_of_an_upload,
    an_upload_that_nobody_called_for_has_its_time,
    an_origin_may_think_before_it_calls_for_the_body,
    a_body_that_was_called_for_must_come,
    a_late_100_starts_no_wait_for_a_body,
    a_408_reaches_a_client_that_goes_on_sending,
    a_502_reaches_a_client_that_goes_on_sending,
    a_413_reaches_a_client_that_goes_on_sending,
    an_early_answer_spends_the_origins_connection,
    an_early_answer_keeps_a_client_with_little_left,
    an_early_answer_closes_on_a_client_with_much_left,
    an_early_answer_closes_on_a_client_of_unknown_length,
);

fn with_upstream(driver: Driver, origin: &Origin, more: &str) -> Gateway {
    Setup::new(driver)
        .set("limits", "body_timeout", "\"5s\"")
        .upstream("app", origin.address(), more)
        .catch_all("app")
        .start()
}

fn post(length: usize) -> String {
    format!("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {length}\r\n\r\n")
}

/// Sends `pieces` pieces for longer than the deadlines of these cases.
fn drip(client: &mut Client, pieces: usize, piece: &[u8]) {
    for _ in 0..pieces {
        assert!(client.try_send(piece), "the gateway is gone");
        thread::sleep(Duration::from_millis(60));
    }
}

fn the_response_timeout_waits_for_the_end_of_an_upload(driver: Driver) {
    let origin = Origin::named("thanks");
    let gateway = with_upstream(driver, &origin, "response_timeout = \"300ms\"");
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(post(200));
        drip(&mut client, 20, b"0123456789");
        assert_eq!(client.response("POST").text(), "thanks");
    }
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    drip(&mut client, 20, b"1\r\nx\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.response("POST").text(), "thanks");
    assert_eq!(origin.accepted(), 1);
}

fn the_response_timeout_runs_from_the_end_of_an_upload(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let gateway = with_upstream(driver, &origin, "response_timeout = \"300ms\"");
    let mut client = gateway.client();
    client.send(post(200));
    drip(&mut client, 20, b"0123456789");
    assert_eq!(client.response("POST").status, 504);
    assert_eq!(gateway.log_line()["code"], "response_timeout");
    origin.wait_until_closed();
}

const EXPECTING: &str = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 200\r\n\
                         Expect: 100-continue\r\n\r\n";

fn an_upload_that_nobody_called_for_has_its_time(driver: Driver) {
    // RFC 9110, section 10.1.1: a client need not wait for 100 for ever.
    let origin = Origin::named("thanks");
    let gateway = with_upstream(driver, &origin, "response_timeout = \"500ms\"");
    let mut client = gateway.client();
    client.send(EXPECTING);
    thread::sleep(Duration::from_millis(150));
    drip(&mut client, 20, b"0123456789");
    assert_eq!(client.response("POST").text(), "thanks");
}

fn thinking(think: u64) -> Origin {
    Origin::start(move |conn| {
        while let Some(head) = conn.head() {
            thread::sleep(Duration::from_millis(think));
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            if conn.body(head).is_none() {
                return;
            }
            conn.send(ok("thanks"));
        }
    })
}

fn expecting_gateway(driver: Driver, origin: &Origin) -> Gateway {
    Setup::new(driver)
        .set("limits", "body_timeout", "\"300ms\"")
        .upstream("app", origin.address(), "response_timeout = \"20s\"")
        .catch_all("app")
        .start()
}

fn an_origin_may_think_before_it_calls_for_the_body(driver: Driver) {
    let origin = thinking(900);
    let gateway = expecting_gateway(driver, &origin);
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(EXPECTING);
        assert_eq!(client.response("POST").status, 100);
        client.send([b'x'; 200]);
        assert_eq!(client.response("POST").text(), "thanks");
    }
}

fn a_body_that_was_called_for_must_come(driver: Driver) {
    let origin = thinking(0);
    let gateway = expecting_gateway(driver, &origin);
    let mut client = gateway.client();
    client.send(EXPECTING);
    assert_eq!(client.response("POST").status, 100);
    assert_eq!(client.response("POST").status, 408);
    origin.wait_until_closed();
}

fn a_late_100_starts_no_wait_for_a_body(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            thread::sleep(Duration::from_millis(900));
            conn.send(ok("thanks"));
        }
    });
    let gateway = expecting_gateway(driver, &origin);
    let mut client = gateway.client();
    for apart in [false, true] {
        client.send(EXPECTING);
        if apart {
            crate::support::settle();
        }
        client.send([b'x'; 200]);
        let mut response = client.response("POST");
        if response.status == 100 {
            response = client.response("POST");
        }
        assert_eq!(response.text(), "thanks");
        assert_ne!(response.field("connection"), Some("close"));
    }
    for line in gateway.log(2) {
        assert_eq!(line["end"], "--", "{line}");
    }
}

/// Sends a part, waits for the answer to be there, and goes on sending before it reads.
fn answer_behind_more(client: &mut Client, piece: usize) -> u16 {
    crate::support::wait_until("the gateway answers", || client.has_bytes());
    let piece = vec![b'x'; piece];
    for _ in 0..20 {
        // Whether the gateway takes it is not the point, but it must not reset.
        client.try_send(&piece);
        thread::sleep(Duration::from_millis(10));
    }
    let response = client.response("POST");
    assert_eq!(response.field("connection"), Some("close"));
    response.status
}

fn a_408_reaches_a_client_that_goes_on_sending(driver: Driver) {
    let origin = Origin::start(Conn::stall);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_timeout", "\"300ms\"")
        .start();
    for piece in [1, 20_000] {
        let mut client = gateway.client();
        client.send(post(1_000_000) + "half");
        assert_eq!(answer_behind_more(&mut client, piece), 408);
    }
}

fn a_502_reaches_a_client_that_goes_on_sending(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.head();
        conn.take(10);
    });
    let resetting = Origin::start(|conn| {
        conn.head();
        conn.take(10);
        conn.reset();
    });
    for origin in [origin, resetting] {
        let gateway = Setup::proxy(driver, origin.address()).start();
        for piece in [1, 20_000] {
            let mut client = gateway.client();
            client.send(post(1_000_000) + "0123456789");
            assert_eq!(answer_behind_more(&mut client, piece), 502);
        }
    }
}

fn a_413_reaches_a_client_that_goes_on_sending(driver: Driver) {
    let origin = Origin::start(Conn::stall);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"100B\"")
        .start();
    let chunked = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1000\r\n";
    for head in [post(1_000_000), chunked.to_owned()] {
        let mut client = gateway.client();
        client.send(head + &"x".repeat(200));
        assert_eq!(answer_behind_more(&mut client, 10_000), 413);
    }
}

/// Answers as soon as the head is there, and keeps the connection.
fn hasty() -> Origin {
    Origin::start(|conn| {
        while let Some(head) = conn.head() {
            conn.count(&head);
            conn.send(ok("early"));
            if head.method == "POST" {
                conn.stall();
                return;
            }
        }
    })
}

fn an_early_answer_spends_the_origins_connection(driver: Driver) {
    let origin = hasty();
    let gateway = Setup::proxy(driver, origin.address()).start();
    for turn in 1..6 {
        let mut client = gateway.client();
        client.send(post(100) + "part");
        assert_eq!(client.response("POST").text(), "early");
        drop(client);
        assert_eq!(gateway.get("/next").text(), "early");
        origin.wait_for_requests(2 * turn);
    }
    for bytes in origin.seen() {
        let text = String::from_utf8_lossy(&bytes);
        let uploads = text.matches("POST /a").count();
        let behind = text.split("POST /a").nth(1).unwrap_or_default();
        assert!(uploads < 2 && !behind.contains("GET /next"), "{text}");
    }
}

fn an_early_answer_keeps_a_client_with_little_left(driver: Driver) {
    let origin = hasty();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..4 {
        client.send(post(60_000));
        client.send([b'x'; 1000]);
        let response = client.response("POST");
        assert_eq!(response.text(), "early");
        assert_ne!(response.field("connection"), Some("close"));
        client.send(vec![b'x'; 59_000]);
        assert_eq!(client.get("/next").text(), "early");
    }
}

/// The answer comes with a close, and the close with an end rather than a reset.
fn assert_closes(mut client: Client) {
    let response = client.response("POST");
    assert_eq!(response.text(), "early");
    assert_eq!(response.field("connection"), Some("close"));
    client.expect_closed();
}

fn an_early_answer_closes_on_a_client_with_much_left(driver: Driver) {
    let origin = hasty();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(post(10_000_000));
    client.send(vec![b'x'; 100_000]);
    assert_closes(client);
    assert_eq!(gateway.client().exchange(get("/next")).text(), "early");
}

fn an_early_answer_closes_on_a_client_of_unknown_length(driver: Driver) {
    let origin = hasty();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    assert_closes(client);
}
