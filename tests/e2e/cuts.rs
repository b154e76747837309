//! What was cut short never passes for whole: no last chunk, a reset where only the close
//! tells the end, one attempt, and a log line that counts what was really sent.

use crate::support::{
    Client, Conn, Driver, Gateway, Origin, Setup, get, ok, on_both_drivers, settle,
};

on_both_drivers!(
    a_client_that_ends_gets_no_last_chunk,
    an_answer_over_its_time_gets_no_last_chunk,
    a_broken_upload_ends_no_early_answer,
    an_unfinished_upload_ends_no_early_answer,
    http_1_0_clients_get_a_reset_when_the_origin_resets,
    http_1_0_clients_get_a_reset_when_the_origin_stalls,
    http_1_0_clients_get_a_reset_when_their_upload_breaks,
    http_1_0_clients_get_the_whole_of_a_closed_answer,
    a_hint_rules_out_a_second_attempt,
    a_cut_answer_is_logged_with_what_was_sent,
    an_answer_nobody_reads_is_not_logged_as_sent,
    phases_tell_where_an_exchange_ended,
);

/// Streams an answer without a length and then waits.
fn endless() -> Origin {
    Origin::start(|conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 200 OK\r\n\r\npart");
            conn.stall();
        }
    })
}

/// Reads the head and the first piece of [`endless`].
fn begin(client: &mut Client, request: &str) {
    client.send(request);
    assert_eq!(client.head("POST").status, 200);
    assert_eq!(client.chunk().as_deref(), Some(&b"part"[..]));
}

fn assert_unfinished(mut client: Client) {
    let rest = client.rest();
    assert!(
        rest.is_empty(),
        "behind the cut: {:?}",
        String::from_utf8_lossy(&rest)
    );
}

fn a_client_that_ends_gets_no_last_chunk(driver: Driver) {
    let origin = endless();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    begin(&mut client, &get("/a"));
    client.finish_sending();
    assert_unfinished(client);
    origin.wait_until_closed();
    assert_eq!(gateway.log_line()["code"], "client_closed");
}

fn an_answer_over_its_time_gets_no_last_chunk(driver: Driver) {
    let origin = endless();
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "request_timeout", "\"400ms\"")
        .start();
    let mut client = gateway.client();
    begin(&mut client, &get("/a"));
    assert_unfinished(client);
    origin.wait_until_closed();
}

fn upload_gateway(driver: Driver, origin: &Origin) -> Gateway {
    Setup::proxy(driver, origin.address())
        .set("limits", "body_timeout", "\"300ms\"")
        .set("listener", "half_close", "\"allow\"")
        .start()
}

const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nabc\r\n";

fn a_broken_upload_ends_no_early_answer(driver: Driver) {
    let origin = endless();
    let gateway = upload_gateway(driver, &origin);
    let mut client = gateway.client();
    begin(&mut client, CHUNKED);
    client.send("no size\r\n");
    assert_unfinished(client);
    origin.wait_until_closed();
}

fn an_unfinished_upload_ends_no_early_answer(driver: Driver) {
    for ends in [true, false] {
        let origin = endless();
        let gateway = upload_gateway(driver, &origin);
        let mut client = gateway.client();
        begin(&mut client, CHUNKED);
        if ends {
            client.finish_sending();
        }
        assert_unfinished(client);
        origin.wait_until_closed();
    }
}

/// The answer to an HTTP/1.0 client that `end` brings about.
fn http_1_0(driver: Driver, request: &str, end: fn(&mut Conn)) -> Option<Vec<u8>> {
    let origin = Origin::start(move |conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 200 OK\r\n\r\npart");
            settle();
            end(conn);
        }
    });
    let gateway = Setup::new(driver)
        .set("limits", "body_timeout", "\"300ms\"")
        .upstream("app", origin.address(), "read_timeout = \"300ms\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    client.send(request);
    client
        .try_response("POST")
        .ok()
        .map(|response| response.body)
}

const OLD: &str = "GET /a HTTP/1.0\r\nHost: gateway.test\r\n\r\n";

fn http_1_0_clients_get_a_reset_when_the_origin_resets(driver: Driver) {
    assert_eq!(http_1_0(driver, OLD, Conn::reset), None);
}

fn http_1_0_clients_get_a_reset_when_the_origin_stalls(driver: Driver) {
    assert_eq!(http_1_0(driver, OLD, Conn::stall), None);
}

fn http_1_0_clients_get_a_reset_when_their_upload_breaks(driver: Driver) {
    let upload = "POST /a HTTP/1.0\r\nHost: gateway.test\r\nContent-Length: 100\r\n\r\nabc";
    assert_eq!(http_1_0(driver, upload, Conn::stall), None);
}

fn http_1_0_clients_get_the_whole_of_a_closed_answer(driver: Driver) {
    let whole = http_1_0(driver, OLD, |_| ());
    assert_eq!(whole.as_deref(), Some(&b"part"[..]));
}

fn a_hint_rules_out_a_second_attempt(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(ok("first"));
        if conn.request().is_some() {
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/1").text(), "first");
    assert_eq!(client.get("/2").status, 103);
    assert_eq!(client.response("GET").status, 502);
    let targets: Vec<_> = origin.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(targets, ["/1", "/2"]);
    assert_eq!(origin.accepted(), 1);
}

fn a_cut_answer_is_logged_with_what_was_sent(driver: Driver) {
    let origin = Origin::start(|conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            conn.send(vec![b'x'; 300_000]);
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(get("/a"));
    assert_eq!(client.head("GET").status, 200);
    let received = client.rest().len();
    let line = gateway.log_line();
    assert_eq!(line["bytes_out"], received, "{line}");
    assert_eq!(line["end"], "OR", "{line}");
}

fn an_answer_nobody_reads_is_not_logged_as_sent(driver: Driver) {
    const SIZE: usize = 64 << 20;
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::start(move |conn| {
        if conn.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            conn.send(head);
            let piece = vec![b'x'; 1 << 16];
            let pieces = (0..SIZE / piece.len()).take_while(|_| conn.send(&piece));
            // The piece that failed may have gone out in part.
            let _ = tell.lock().unwrap().send((pieces.count() + 1) << 16);
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "send_timeout", "\"500ms\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    let given = told.recv_timeout(crate::support::PATIENCE).unwrap();
    assert!(given < SIZE, "somebody took it all");
    let line = gateway.log_line();
    assert_eq!(line["code"], "send_timeout", "{line}");
    assert_eq!(line["end"], "CR", "{line}");
    let sent = usize::try_from(line["bytes_out"].as_u64().unwrap()).unwrap();
    let kept = client.rest().len();
    assert!(sent <= given, "{sent} of {given}");
    assert!(
        kept <= sent + (256 << 10) + 1000,
        "{kept} received, {sent} logged"
    );
}

/// The end and code logged for one request to an origin with this script.
fn end_of(driver: Driver, request: &str, script: fn(&mut Conn)) -> (String, String) {
    let origin = Origin::start(script);
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "response_timeout = \"300ms\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    // The body comes apart from the head, so that it is an upload of its own.
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    client.send(format!("{head}\r\n\r\n"));
    settle();
    client.try_send(body);
    let _ = client.try_response("GET");
    let line = gateway.log_line();
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    (text("end"), text("code"))
}

fn phases_tell_where_an_exchange_ended(driver: Driver) {
    let whole = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\nhello";
    let part = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 500\r\n\r\nhello";
    let said = |end: &str, code: &str| (end.to_owned(), code.to_owned());
    let silent: fn(&mut Conn) = |conn| {
        conn.request();
        conn.stall();
    };
    let closing: fn(&mut Conn) = |conn| {
        conn.request();
    };
    let refusing: fn(&mut Conn) = |conn| {
        conn.head();
        conn.take(5);
    };
    let resetting: fn(&mut Conn) = |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
    };
    for request in [whole, &get("/a")] {
        assert_eq!(
            end_of(driver, request, silent),
            said("OW", "response_timeout")
        );
        assert_eq!(
            end_of(driver, request, closing),
            said("OW", "origin_closed")
        );
        let (end, _) = end_of(driver, request, resetting);
        assert_eq!(end, "OR");
    }
    assert_eq!(end_of(driver, part, refusing), said("OQ", "origin_closed"));
}
