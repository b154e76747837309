//! SIGTERM: what is in flight ends well, what is idle ends now, and grace has an end.

use crate::support::sys::Signal;
use crate::support::{Driver, Origin, Setup, get, ok, on_both_drivers, settle, wait_until};

on_both_drivers!(
    ends_at_once_when_nothing_is_in_flight,
    closes_idle_connections,
    finishes_requests_in_flight,
    finishes_a_body_in_flight,
    accepts_nobody_while_it_ends,
    ends_after_the_grace,
    ends_on_an_interrupt_too,
    readyz_says_so_while_it_ends,
    a_second_signal_ends_at_once,
    cuts_tunnels_after_the_grace,
);

fn ends_at_once_when_nothing_is_in_flight(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    assert!(gateway.stop().success(), "{}", gateway.stderr());
}

fn closes_idle_connections(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    let mut used = gateway.client();
    assert_eq!(used.get("/a").text(), "x");
    let mut fresh = gateway.client();
    settle();
    gateway.signal(Signal::Terminate);
    used.expect_closed();
    fresh.expect_closed();
    assert!(gateway.wait().success());
    origin.wait_until_closed();
}

fn finishes_requests_in_flight(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            let _ = gone.lock().unwrap().recv();
            conn.send(ok("finished"));
        }
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    gateway.signal(Signal::Terminate);
    settle();
    assert!(gateway.runs());
    go.send(()).unwrap();
    let response = client.response("GET");
    assert_eq!(response.text(), "finished");
    assert_eq!(response.field("connection"), Some("close"));
    client.expect_closed();
    assert!(gateway.wait().success());
    assert_eq!(
        gateway.log_line()["status"],
        200,
        "the last line is written out"
    );
}

fn finishes_a_body_in_flight(driver: Driver) {
    let origin = Origin::start(|conn| {
        let Some(head) = conn.head() else { return };
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        conn.body(head);
        conn.send("more");
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 4\r\n\r\nab");
    assert_eq!(client.head("POST").status, 200);
    assert_eq!(client.take(4), b"half");
    gateway.signal(Signal::Terminate);
    settle();
    client.send("cd");
    assert_eq!(client.take(4), b"more");
    client.expect_closed();
    assert!(gateway.wait().success());
}

fn accepts_nobody_while_it_ends(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    gateway.signal(Signal::Terminate);
    wait_until("connections are refused", || {
        std::net::TcpStream::connect(gateway.address()).is_err()
    });
    assert!(gateway.runs());
    client.reset();
    assert!(gateway.wait().success());
}

fn ends_after_the_grace(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    gateway.signal(Signal::Terminate);
    gateway.wait();
    client.rest();
    origin.wait_until_closed();
}

fn ends_on_an_interrupt_too(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/a").text(), "x");
    gateway.signal(Signal::Interrupt);
    assert!(gateway.wait().success());
}

fn readyz_says_so_while_it_ends(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    assert_eq!(gateway.admin("GET", "/readyz").status, 200);
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    gateway.signal(Signal::Terminate);
    wait_until("readyz turns", || {
        gateway.admin("GET", "/readyz").status == 503
    });
    assert_eq!(gateway.admin("GET", "/healthz").status, 200);
    client.reset();
    assert!(gateway.wait().success());
}

fn a_second_signal_ends_at_once(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"10m\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_for_requests(1);
    gateway.signal(Signal::Terminate);
    wait_until("the shutdown has begun", || {
        gateway.stderr().contains("shutting down")
    });
    gateway.signal(Signal::Terminate);
    gateway.wait();
    client.rest();
}

fn cuts_tunnels_after_the_grace(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        conn.stall();
    });
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    let response = client.exchange(
        "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(response.status, 101);
    gateway.signal(Signal::Terminate);
    gateway.wait();
    client.rest();
    origin.wait_until_closed();
}
