//! Origins that break off or talk nonsense.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Conn, Driver, Origin, Setup, get, ok, on_both_drivers, settle, wait_until};

on_both_drivers!(
    malformed_responses_get_502,
    malformed_bodies_cut_the_client,
    breaking_off_gets_502_and_spares_the_next,
    extra_bytes_poison_the_connection,
    an_unasked_response_poisons_an_idle_connection,
    bytes_behind_a_bodiless_response_poison_the_connection,
    a_response_before_the_request_is_whole_is_no_harm,
    an_endless_stream_of_interim_responses_ends,
);

/// Response heads that no strict reader takes.
const MALFORMED: &[&str] = &[
    "nonsense\r\n\r\n",
    "\r\n",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200\n\n",
    "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
    "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n Content-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxy",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
];

/// Answers `/good` well and everything else with `bytes`.
fn answering_badly(bytes: String) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/good" {
                conn.send(ok("good"));
            } else {
                conn.send(&bytes);
                conn.finish_sending();
            }
        }
    }
}

fn malformed_responses_get_502(driver: Driver) {
    let mut failures = Vec::new();
    for bytes in MALFORMED {
        let origin = Origin::start(answering_badly((*bytes).to_owned()));
        let gateway = Setup::proxy(driver, origin.address()).start();
        assert_eq!(gateway.get("/good").text(), "good");
        let status = gateway.get("/bad").status;
        let after = gateway.get("/good");
        if status != 502 || after.text() != "good" || origin.accepted() != 2 {
            failures.push(format!(
                "{bytes:?} became {status}, then {} over {} connections",
                after.status,
                origin.accepted()
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const MALFORMED_BODIES: &[&str] = &[
    "xyz\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "-1\r\n\r\n",
    "fffffffffffffffff\r\n",
    "3\r\nabc\r\n0\r\nBad Name: x\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: a\rb\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
];

fn malformed_bodies_cut_the_client(driver: Driver) {
    for bytes in MALFORMED_BODIES {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        let origin = Origin::start(answering_badly(format!("{head}{bytes}")));
        let gateway = Setup::proxy(driver, origin.address()).start();
        let mut client = gateway.client();
        client.send(get("/bad"));
        match client.try_response("GET") {
            Err(_) => {}
            Ok(response) => assert_eq!(response.status, 502, "{bytes:?} passed as {response:?}"),
        }
        assert_eq!(gateway.get("/good").text(), "good", "after {bytes:?}");
    }
}

fn breaking_off_gets_502_and_spares_the_next(driver: Driver) {
    for (sent, how) in [
        ("", "reset"),
        ("", "close"),
        ("HTTP/1.1 200", "reset"),
        ("HTTP/1.1 200", "close"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "reset"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "close"),
    ] {
        let origin = Origin::start(move |conn| {
            while let Some(request) = conn.request() {
                if request.target == "/good" {
                    conn.send(ok("good"));
                    continue;
                }
                conn.send(sent);
                settle();
                if how == "reset" {
                    conn.reset();
                }
                return;
            }
        });
        let gateway = Setup::proxy(driver, origin.address()).start();
        let mut client = gateway.client();
        assert_eq!(client.get("/bad").status, 502, "{how} after {sent:?}");
        assert_eq!(client.get("/good").text(), "good", "{how} after {sent:?}");
    }
}

fn extra_bytes_poison_the_connection(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let mut answer = ok(&request.target);
            if request.target == "/extra" {
                answer += "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            }
            conn.send(answer);
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/extra").text(), "/extra");
        assert_eq!(client.get("/mine").text(), "/mine");
    }
    assert!(
        origin.accepted() >= 5,
        "a poisoned connection was used again"
    );
}

fn an_unasked_response_poisons_an_idle_connection(driver: Driver) {
    let forged = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&forged);
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            conn.send(ok(&request.target));
            settle();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for i in 0..5 {
        let path = format!("/{i}");
        assert_eq!(client.get(&path).text(), path);
        // Bytes that come after the next request was sent would be its answer by protocol.
        wait_until("the forged response is sent", || {
            forged.load(Ordering::SeqCst) > i
        });
        settle();
    }
}

fn bytes_behind_a_bodiless_response_poison_the_connection(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                // A body where none may be: RFC 9110, sections 15.3.5 and 9.3.2.
                "/204" => conn.send("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
                "/head" => conn.send(ok("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
                other => conn.send(ok(other)),
            };
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/204").status, 204);
    assert_eq!(client.get("/mine").text(), "/mine");
    client.send("HEAD /head HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(client.response("HEAD").status, 200);
    assert_eq!(client.get("/also-mine").text(), "/also-mine");
}

fn a_response_before_the_request_is_whole_is_no_harm(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(head) = conn.head() {
            conn.count(&head);
            conn.send(ok(&head.target));
            if head.method == "POST" {
                // Closes with the rest of the request unread.
                return;
            }
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    for i in 0..10 {
        let mut client = gateway.client();
        client.send("POST /early HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 100000\r\n\r\n");
        client.try_send(vec![b'x'; 50_000]);
        if let Ok(response) = client.try_response("POST") {
            assert!(
                response.status == 200 || response.status == 502,
                "{response:?}"
            );
        }
        let path = format!("/{i}");
        assert_eq!(gateway.get(&path).text(), path);
    }
}

fn an_endless_stream_of_interim_responses_ends(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        while conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(16)) {}
    });
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "response_timeout = \"2s\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    let last = loop {
        match client.try_response("GET") {
            Ok(response) if response.status == 103 => {}
            Ok(response) => break response.status,
            Err(_) => break 0,
        }
    };
    assert!([502, 504, 0].contains(&last), "{last}");
    origin.wait_until_closed();
}
