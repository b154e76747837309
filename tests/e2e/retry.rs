//! When a request may be sent once more, and when never.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Driver, Origin, Setup, get, ok, on_both_drivers, wait_until};

on_both_drivers!(
    replays_on_a_pooled_connection_that_died,
    never_replays_a_post_that_was_sent,
    does_not_reuse_a_connection_that_the_origin_closed,
    answers_502_when_fresh_connections_die,
    does_not_replay_once_the_response_began,
    does_not_replay_a_streamed_body,
    expires_idle_upstream_connections,
    keeps_no_connection_when_told_so,
    honours_an_origin_that_closes,
    sends_a_large_body_once_after_a_stale_connection,
);

/// Serves one request on the first connection and closes it, unanswered, at the second.
fn dies_when_reused() -> (Origin, Arc<AtomicUsize>) {
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let origin = Origin::start(move |conn| {
        let mut first = true;
        while conn.request().is_some() {
            if conn.index == 0 && !first {
                return;
            }
            first = false;
            counter.fetch_add(1, Ordering::SeqCst);
            conn.send(ok("served"));
        }
    });
    (origin, served)
}

fn replays_on_a_pooled_connection_that_died(driver: Driver) {
    let (origin, served) = dies_when_reused();
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/1").text(), "served");
    assert_eq!(gateway.get("/2").text(), "served");
    assert_eq!(served.load(Ordering::SeqCst), 2);
    assert_eq!(origin.accepted(), 2);
    let targets: Vec<_> = origin.requests().iter().map(|r| r.target.clone()).collect();
    assert_eq!(targets, ["/1", "/2", "/2"]);
}

fn never_replays_a_post_that_was_sent(driver: Driver) {
    let (origin, _) = dies_when_reused();
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/1").text(), "served");
    let response = gateway
        .client()
        .exchange("POST /pay HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\n100");
    assert_eq!(response.status, 502);
    let pays = origin
        .requests()
        .iter()
        .filter(|r| r.target == "/pay")
        .count();
    assert_eq!(pays, 1, "a payment must not be made twice");
}

fn does_not_reuse_a_connection_that_the_origin_closed(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(ok("once"));
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    for i in 0..20 {
        // The origin has closed before the next request, which may even be a POST.
        wait_until("the origin closes", || origin.open() == 0);
        let response = gateway.client().exchange(format!(
            "POST /{i} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1\r\n\r\nx"
        ));
        assert_eq!(response.text(), "once");
        crate::support::settle();
    }
    assert_eq!(origin.requests().len(), 20);
}

fn answers_502_when_fresh_connections_die(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway.get("/a");
    assert_eq!(response.status, 502);
    assert!(origin.accepted() <= 2, "{} attempts", origin.accepted());
    assert_eq!(gateway.log_line()["code"], "origin_closed");
}

fn does_not_replay_once_the_response_began(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(ok("fine"));
        conn.request();
        conn.send("HTTP/1.1 200 O");
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/1").text(), "fine");
    assert_eq!(gateway.get("/2").status, 502);
    assert_eq!(origin.requests().len(), 2);
}

fn does_not_replay_a_streamed_body(driver: Driver) {
    let origin = Origin::start(|conn| {
        if conn.index == 0 {
            conn.request();
            conn.send(ok("fine"));
            // The body has begun when the connection ends.
            conn.head();
            conn.take(100_000);
            return;
        }
        while conn.request().is_some() {
            conn.send(ok("again"));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/1").text(), "fine");
    let mut client = gateway.client();
    client.send("PUT /big HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000000\r\n\r\n");
    client.try_send(vec![b'x'; 1_000_000]);
    let response = client.try_response("PUT");
    // 502, or a reset that overtook it while the body was still on its way.
    if let Ok(response) = response {
        assert_eq!(response.status, 502);
    }
    assert!(origin.requests().iter().all(|r| r.target != "/big"));
}

fn expires_idle_upstream_connections(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "idle_timeout = \"300ms\"")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/a").text(), "x");
    origin.wait_until_closed();
    assert_eq!(gateway.get("/b").text(), "x");
}

fn keeps_no_connection_when_told_so(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "keepalive_max = 0")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.exchange(get("/a")).text(), "x");
        origin.wait_until_closed();
    }
    assert_eq!(origin.accepted(), 3);
}

fn honours_an_origin_that_closes(driver: Driver) {
    // The origin says so and then waits: a second request would never be answered.
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for i in 1..5 {
        let response = client.exchange(get("/a"));
        assert_eq!(response.text(), "ok");
        assert_ne!(
            response.field("connection"),
            Some("close"),
            "that was for the gateway"
        );
        assert_eq!(origin.accepted(), i);
    }
}

fn sends_a_large_body_once_after_a_stale_connection(driver: Driver) {
    let origin = Origin::start(|conn| {
        // Every connection serves one request and is closed without a word.
        conn.request();
        conn.send(ok("fine"));
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let body = "x".repeat(300_000);
    for i in 0..20 {
        let response = gateway.client().exchange(format!(
            "PUT /{i} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 300000\r\n\r\n{body}"
        ));
        // The close may cross the request; then 502, as a body that flowed cannot be replayed.
        assert!(
            response.status == 200 || response.status == 502,
            "{response:?}"
        );
        wait_until("the origin closes", || origin.open() == 0);
    }
    assert!(origin.requests().iter().all(|r| r.body.len() == 300_000));
}
