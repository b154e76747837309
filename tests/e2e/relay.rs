//! The relay: full duplex, bounded memory, back-pressure, and what a vanished client means.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::support::{Driver, Origin, Setup, get, ok, on_both_drivers, settle, wait_until};

/// Far more than the socket buffers between two peers hold.
const LARGE: usize = 64 << 20;
/// What a process with bounded relay buffers may grow by, blocks and allocator included.
const GROWTH_MAX: u64 = 24 << 20;

on_both_drivers!(
    passes_a_response_while_the_request_still_flows,
    answers_early_and_stops_reading,
    streams_both_ways_at_once,
    passes_a_large_request_body,
    passes_a_large_response_body,
    holds_the_origin_back_for_a_slow_reader,
    holds_the_client_back_for_a_slow_origin,
    cancels_the_upstream_request_when_the_client_aborts,
    cancels_the_upload_when_the_client_aborts,
    cuts_the_client_when_the_origin_cuts_a_body,
    answers_a_half_closed_client_when_allowed,
    cancels_for_a_half_closed_client_when_not_allowed,
    delivers_small_pieces_as_they_come,
    holds_back_a_client_that_pipelines_and_never_reads,
    tells_a_client_that_uploads_to_nowhere,
    never_reads_the_rest_of_a_body_as_requests,
);

fn passes_a_response_while_the_request_still_flows(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(head) = conn.head() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly");
            conn.body(head);
            conn.send("later");
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 6\r\n\r\nabc");
    let response = client.head("POST");
    assert_eq!(response.status, 200);
    assert_eq!(client.take(5), b"early");
    client.send("def");
    assert_eq!(client.take(5), b"later");
    assert_eq!(origin.request().body, b"abcdef");
    assert_eq!(client.exchange(get("/b")).status, 200);
}

fn answers_early_and_stops_reading(driver: Driver) {
    let origin = Origin::start(|conn| {
        let Some(head) = conn.head() else { return };
        conn.count(&head);
        conn.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
        conn.finish_sending();
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    let response = client.response("POST");
    assert_eq!((response.status, response.text()), (413, "no"));
}

fn streams_both_ways_at_once(driver: Driver) {
    let origin = Origin::start(|conn| {
        let Some(_) = conn.head() else { return };
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Ok(Some(chunk)) = conn.reader().chunk() {
            conn.send(format!("{:x}\r\n", chunk.len()));
            conn.send(&chunk);
            conn.send("\r\n");
        }
        conn.send("0\r\n\r\n");
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head("POST").status, 200);
    for turn in 0..50 {
        let word = format!("turn {turn}");
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        let mut got = Vec::new();
        while got.len() < word.len() {
            got.extend(client.chunk().unwrap());
        }
        assert_eq!(got, word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.chunk(), None);
}

/// A body whose bytes tell their place.
fn block(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len)
        .map(|i| (i.wrapping_mul(31) >> 3) as u8)
        .collect()
}

fn passes_a_large_request_body(driver: Driver) {
    let origin = Origin::start(|conn| {
        let Some(_) = conn.head() else { return };
        let mut intact = true;
        for offset in (0..LARGE).step_by(1 << 16) {
            intact &= conn
                .take(1 << 16)
                .is_some_and(|b| b == block(offset, 1 << 16));
        }
        conn.send(ok(if intact { "intact" } else { "changed" }));
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"off\"")
        .start();
    let before = gateway.resident();
    let mut client = gateway.client();
    client.send(format!(
        "PUT /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {LARGE}\r\n\r\n"
    ));
    for offset in (0..LARGE).step_by(1 << 16) {
        client.send(block(offset, 1 << 16));
    }
    assert_eq!(client.response("PUT").text(), "intact");
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
}

fn passes_a_large_response_body(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
            ));
            for offset in (0..LARGE).step_by(1 << 16) {
                conn.send(block(offset, 1 << 16));
            }
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let before = gateway.resident();
    let mut client = gateway.client();
    client.send(get("/a"));
    assert_eq!(client.head("GET").status, 200);
    for offset in (0..LARGE).step_by(1 << 16) {
        assert!(
            client.take(1 << 16) == block(offset, 1 << 16),
            "changed near {offset}"
        );
    }
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
}

fn holds_the_origin_back_for_a_slow_reader(driver: Driver) {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        for offset in (0..LARGE).step_by(1 << 16) {
            if !conn.send(block(offset, 1 << 16)) {
                return;
            }
            counter.fetch_add(1 << 16, Ordering::SeqCst);
        }
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let before = gateway.resident();
    let mut client = gateway.client();
    client.send(get("/a"));
    assert_eq!(client.head("GET").status, 200);
    wait_until("the origin is held back", || {
        let earlier = sent.load(Ordering::SeqCst);
        settle();
        settle();
        earlier > 0 && sent.load(Ordering::SeqCst) == earlier
    });
    assert!(
        sent.load(Ordering::SeqCst) < LARGE as u64,
        "nothing held the origin back"
    );
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
    for offset in (0..LARGE).step_by(1 << 16) {
        assert!(
            client.take(1 << 16) == block(offset, 1 << 16),
            "changed near {offset}"
        );
    }
}

fn holds_the_client_back_for_a_slow_origin(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        let Some(_) = conn.head() else { return };
        let _ = gone.lock().unwrap().recv();
        let mut intact = true;
        for offset in (0..LARGE).step_by(1 << 16) {
            intact &= conn
                .take(1 << 16)
                .is_some_and(|b| b == block(offset, 1 << 16));
        }
        conn.send(ok(if intact { "intact" } else { "changed" }));
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"off\"")
        .start();
    let before = gateway.resident();
    let mut client = gateway.client();
    client.send(format!(
        "PUT /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {LARGE}\r\n\r\n"
    ));
    let mut writer = client.peer().tcp().try_clone().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let uploading = thread::spawn(move || {
        for offset in (0..LARGE).step_by(1 << 16) {
            writer.write_all(&block(offset, 1 << 16)).unwrap();
            counter.fetch_add(1 << 16, Ordering::SeqCst);
        }
    });
    wait_until("the client is held back", || {
        let earlier = sent.load(Ordering::SeqCst);
        settle();
        settle();
        earlier > 0 && sent.load(Ordering::SeqCst) == earlier
    });
    assert!(
        sent.load(Ordering::SeqCst) < LARGE as u64,
        "nothing held the client back"
    );
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
    go.send(()).unwrap();
    uploading.join().unwrap();
    assert_eq!(client.response("PUT").text(), "intact");
}

fn cancels_the_upstream_request_when_the_client_aborts(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    client.reset();
    origin.wait_until_closed();
    let line = gateway.log_line();
    assert_eq!(line["code"], "client_closed", "{line}");
}

fn cancels_the_upload_when_the_client_aborts(driver: Driver) {
    let origin = Origin::start(|conn| {
        let Some(head) = conn.head() else { return };
        conn.count(&head);
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10\r\n\r\nhalf");
    origin.wait_for_requests(1);
    client.reset();
    origin.wait_until_closed();
    // The origin must be able to tell that the body is not whole.
    let seen = &origin.seen()[0];
    assert!(crate::support::message::requests_in(seen).is_err());
}

fn cuts_the_client_when_the_origin_cuts_a_body(driver: Driver) {
    for framing in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf",
    ] {
        let origin = Origin::start(move |conn| {
            conn.request();
            conn.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        });
        let gateway = Setup::proxy(driver, origin.address()).start();
        let mut client = gateway.client();
        client.send(get("/a"));
        // A strict client sees that the message is not whole; a tidy end would be a lie.
        let outcome = client.try_response("GET");
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

fn answers_a_half_closed_client_when_allowed(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            settle();
            conn.send(ok("still served"));
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "half_close", "\"allow\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    client.finish_sending();
    assert_eq!(client.response("GET").text(), "still served");
    client.expect_closed();
}

fn cancels_for_a_half_closed_client_when_not_allowed(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "half_close", "\"abort\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    client.finish_sending();
    origin.wait_until_closed();
    client.rest();
}

fn delivers_small_pieces_as_they_come(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for i in 0..3 {
            conn.send(format!("data: {i}\n\n"));
            // The next event waits until the client has this one.
            let _ = gone.lock().unwrap().recv();
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(get("/events"));
    assert_eq!(client.head("GET").status, 200);
    for i in 0..3 {
        assert_eq!(client.chunk().unwrap(), format!("data: {i}\n\n").as_bytes());
        go.send(()).unwrap();
    }
    assert_eq!(client.chunk(), None);
    let mut left = [0; 2];
    client
        .peer()
        .tcp()
        .read_exact(&mut left)
        .unwrap_or_default();
}

fn holds_back_a_client_that_pipelines_and_never_reads(driver: Driver) {
    let origin = Origin::answering(ok(&"x".repeat(10_000)));
    let gateway = Setup::proxy(driver, origin.address()).start();
    gateway.get("/warm");
    let before = gateway.resident();
    let mut client = gateway.client();
    let writer = client.peer().tcp().try_clone().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let sending = thread::spawn(move || {
        let requests = get("/p").repeat(1000);
        for _ in 0..200 {
            if (&writer).write_all(requests.as_bytes()).is_err() {
                return;
            }
            counter.fetch_add(1000, Ordering::SeqCst);
        }
    });
    wait_until("the client is held back", || {
        let earlier = sent.load(Ordering::SeqCst);
        settle();
        settle();
        earlier > 0 && sent.load(Ordering::SeqCst) == earlier
    });
    assert!(
        sent.load(Ordering::SeqCst) < 200_000,
        "all of it was taken in"
    );
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {grown} bytes");
    for _ in 0..2000 {
        assert_eq!(client.response("GET").body.len(), 10_000);
    }
    let socket = client.peer().tcp();
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
}

fn tells_a_client_that_uploads_to_nowhere(driver: Driver) {
    let gateway = Setup::new(driver)
        .set("limits", "body_max", "\"off\"")
        .route(
            "ping",
            "/ping",
            "respond = { status = 200, body = \"pong\" }",
        )
        .start();
    for (target, status) in [("/nowhere", 404), ("/ping", 200)] {
        let mut client = gateway.client();
        client.send(format!(
            "POST {target} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        // A client that writes all before it reads; the gateway need not take it all.
        for offset in (0..LARGE).step_by(1 << 16) {
            if !client.try_send(block(offset, 1 << 16)) {
                break;
            }
        }
        assert_eq!(client.response("POST").status, status);
    }
}

fn never_reads_the_rest_of_a_body_as_requests(driver: Driver) {
    // The origin answers early and whole; what is left of the body looks like requests.
    for closes in [false, true] {
        let origin = Origin::start(move |conn| {
            while let Some(head) = conn.head() {
                conn.count(&head);
                conn.send(ok(&head.target));
                if head.method == "POST" {
                    if closes {
                        return;
                    }
                    conn.body(head);
                }
            }
        });
        let gateway = Setup::proxy(driver, origin.address()).start();
        for size in [10, 1000, 30_000, 60_000, 300_000, 3_000_000] {
            let evil = get("/evil");
            let body = evil.repeat(size / evil.len() + 1);
            let mut client = gateway.client();
            client.send(format!(
                "POST /early HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ));
            let early = client.response("POST");
            assert!([200, 502].contains(&early.status), "{early:?}");
            if !client.try_send(body + &get("/next")) {
                continue;
            }
            match client.try_response("GET") {
                Ok(next) => assert_eq!(next.text(), "/next", "behind {size} bytes"),
                Err(error) => assert!(!matches!(
                    error,
                    crate::support::message::ReadError::TimedOut
                )),
            }
        }
        assert!(origin.requests().iter().all(|r| r.target != "/evil"));
    }
}
