//! Deadlines that must not strike: each waits for its own kind of silence and for nothing
//! else. The pauses here are longer than the deadlines that do not apply.

use std::thread::sleep;
use std::time::Duration;

use crate::support::{Conn, Driver, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    a_slow_upload_is_no_slow_response,
    a_steady_response_outlives_the_read_timeout,
    a_steady_upload_outlives_the_body_timeout,
    a_slow_answer_is_no_idle_connection,
    the_wait_for_a_next_request_is_no_slow_head,
    a_busy_tunnel_is_not_idle,
    a_tunnel_outlives_the_request_timeout,
    a_route_can_lift_the_request_timeout,
    a_pool_outlives_its_timeout_while_in_use,
    a_reader_that_is_slow_but_reads_is_served,
);

const SHORT: &str = "\"1s\"";
const STEP: Duration = Duration::from_millis(250);

fn a_slow_upload_is_no_slow_response(driver: Driver) {
    let origin = Origin::named("got it");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "response_timeout = \"1s\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 8\r\n\r\n");
    for _ in 0..8 {
        sleep(STEP);
        client.send("x");
    }
    assert_eq!(client.response("POST").text(), "got it");
}

fn a_steady_response_outlives_the_read_timeout(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for _ in 0..8 {
            sleep(STEP);
            conn.send("x");
        }
    });
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "read_timeout = \"1s\"")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/a").text(), "xxxxxxxx");
}

fn a_steady_upload_outlives_the_body_timeout(driver: Driver) {
    let origin = Origin::named("got it");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_timeout", SHORT)
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for byte in "4\r\nabcd\r\n0\r\n\r\n".bytes() {
        sleep(STEP);
        client.send([byte]);
    }
    assert_eq!(client.response("POST").text(), "got it");
    assert_eq!(origin.request().body, b"abcd");
}

/// Answers after longer than the short deadline.
fn slowly(conn: &mut Conn) {
    while conn.request().is_some() {
        sleep(Duration::from_millis(1800));
        conn.send(ok("at last"));
    }
}

fn a_slow_answer_is_no_idle_connection(driver: Driver) {
    let origin = Origin::start(slowly);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "idle_timeout", SHORT)
        .set("limits", "header_timeout", SHORT)
        .set("limits", "body_timeout", SHORT)
        .start();
    assert_eq!(gateway.get("/a").text(), "at last");
}

fn the_wait_for_a_next_request_is_no_slow_head(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "header_timeout", SHORT)
        .start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.get("/a").text(), "x");
        sleep(Duration::from_millis(1800));
    }
    assert_eq!(client.get("/a").text(), "x");
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches protocols and sends each byte back.
fn echo(conn: &mut Conn) {
    conn.request();
    conn.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    while let Some(byte) = conn.take(1) {
        conn.send(byte);
    }
}

fn a_busy_tunnel_is_not_idle(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "tunnel_idle_timeout", "\"2s\"")
        .start();
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    for _ in 0..6 {
        sleep(Duration::from_millis(500));
        client.send("x");
        assert_eq!(client.take(1), b"x");
    }
}

fn a_tunnel_outlives_the_request_timeout(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "request_timeout", SHORT)
        .set("limits", "idle_timeout", SHORT)
        .set("limits", "body_timeout", SHORT)
        .start();
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    sleep(Duration::from_millis(1800));
    client.send("x");
    assert_eq!(client.take(1), b"x");
}

fn a_route_can_lift_the_request_timeout(driver: Driver) {
    let origin = Origin::start(slowly);
    let gateway = Setup::new(driver)
        .set("limits", "request_timeout", SHORT)
        .upstream("app", origin.address(), "")
        .route(
            "patient",
            "/patient",
            "upstream = \"app\"\ntimeout = \"off\"",
        )
        .route("longer", "/longer", "upstream = \"app\"\ntimeout = \"10s\"")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/patient").text(), "at last");
    assert_eq!(gateway.get("/longer").text(), "at last");
    assert_eq!(gateway.get("/other").status, 504);
}

fn a_pool_outlives_its_timeout_while_in_use(driver: Driver) {
    let origin = Origin::start(slowly);
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "idle_timeout = \"1s\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert_eq!(client.exchange(get("/a")).text(), "at last");
    }
    assert_eq!(origin.accepted(), 1);
}

fn a_reader_that_is_slow_but_reads_is_served(driver: Driver) {
    const SIZE: usize = 16 << 20;
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        conn.send(vec![b'x'; SIZE]);
        conn.stall();
    });
    let gateway = Setup::new(driver)
        .set("limits", "send_timeout", SHORT)
        .upstream("app", origin.address(), "read_timeout = \"1s\"")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    assert_eq!(client.head("GET").status, 200);
    for _ in 0..SIZE >> 20 {
        sleep(STEP);
        client.take(1 << 20);
    }
}
