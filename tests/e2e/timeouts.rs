//! Every deadline ends with its own status and log code. Limits are short here so that
//! they pass; no case looks at how long that took.

use crate::support::{Driver, Gateway, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    a_head_that_does_not_end_gets_408,
    a_dripping_head_gets_408,
    an_idle_connection_closes_silently,
    a_body_that_stops_gets_408,
    a_silent_origin_gets_504,
    a_response_head_that_does_not_end_gets_504,
    a_response_body_that_stops_is_cut,
    a_request_over_its_time_gets_504,
    a_route_can_have_its_own_time,
    a_response_over_its_time_is_cut,
    a_refused_connection_gets_502,
    an_endpoint_that_does_not_accept_gets_504,
    a_client_that_reads_nothing_is_dropped,
    an_idle_tunnel_is_closed,
);

fn stalling() -> Origin {
    Origin::start(|conn| {
        conn.request();
        conn.stall();
    })
}

fn assert_logged(gateway: &Gateway, status: u16, code: &str) {
    let line = gateway.log_line();
    assert_eq!(line["status"], status, "{line}");
    assert_eq!(line["code"], code, "{line}");
}

fn a_head_that_does_not_end_gets_408(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "header_timeout", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    client.send("GET /a HTTP/1.1\r\nHost: gate");
    assert_eq!(client.response("GET").status, 408);
    client.expect_closed();
    assert_eq!(origin.accepted(), 0);
    assert_logged(&gateway, 408, "head_timeout");
}

fn a_dripping_head_gets_408(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "header_timeout", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    // Each byte is progress; the deadline is for the whole head. It never becomes whole.
    client.send("GET /a HTTP/1.1\r\nX-Drip: ");
    crate::support::wait_until("the gateway answers", || {
        client.try_send("x");
        std::thread::sleep(std::time::Duration::from_millis(5));
        client.has_bytes()
    });
    assert_eq!(client.response("GET").status, 408);
}

fn an_idle_connection_closes_silently(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "idle_timeout", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").text(), "x");
    client.expect_closed();
}

fn a_body_that_stops_gets_408(driver: Driver) {
    let origin = stalling();
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_timeout", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(client.response("POST").status, 408);
    client.expect_closed();
    origin.wait_until_closed();
    assert_logged(&gateway, 408, "body_timeout");
}

fn with_upstream(driver: Driver, origin: &Origin, more: &str) -> Gateway {
    Setup::new(driver)
        .upstream("app", origin.address(), more)
        .catch_all("app")
        .start()
}

fn a_silent_origin_gets_504(driver: Driver) {
    let origin = stalling();
    let gateway = with_upstream(driver, &origin, "response_timeout = \"300ms\"");
    let mut client = gateway.client();
    assert_eq!(client.get("/a").status, 504);
    origin.wait_until_closed();
    assert_logged(&gateway, 504, "response_timeout");
}

fn a_response_head_that_does_not_end_gets_504(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-");
        conn.stall();
    });
    let gateway = with_upstream(driver, &origin, "response_timeout = \"300ms\"");
    assert_eq!(gateway.get("/a").status, 504);
    origin.wait_until_closed();
}

fn a_response_body_that_stops_is_cut(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        conn.stall();
    });
    let gateway = with_upstream(driver, &origin, "read_timeout = \"300ms\"");
    let mut client = gateway.client();
    client.send(get("/a"));
    assert_eq!(client.head("GET").status, 200);
    assert_eq!(client.rest(), b"half");
    origin.wait_until_closed();
    assert_logged(&gateway, 200, "read_timeout");
}

fn a_request_over_its_time_gets_504(driver: Driver) {
    let origin = stalling();
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "request_timeout", "\"300ms\"")
        .start();
    assert_eq!(gateway.get("/a").status, 504);
    origin.wait_until_closed();
    assert_logged(&gateway, 504, "request_timeout");
}

fn a_route_can_have_its_own_time(driver: Driver) {
    let origin = stalling();
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route("all", "/{rest*}", "upstream = \"app\"\ntimeout = \"300ms\"")
        .start();
    assert_eq!(gateway.get("/a").status, 504);
    origin.wait_until_closed();
}

fn a_response_over_its_time_is_cut(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conn.send("1\r\nx\r\n") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "request_timeout", "\"300ms\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    assert!(client.try_response("GET").is_err());
    origin.wait_until_closed();
}

/// A port that refuses: it was bound and is closed again.
fn refusing() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn a_refused_connection_gets_502(driver: Driver) {
    let gateway = Setup::proxy(driver, &refusing()).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").status, 502);
    assert_logged(&gateway, 502, "connect_failed");
    // The client's connection is not to blame.
    assert_eq!(client.get("/b").status, 502);
}

fn an_endpoint_that_does_not_accept_gets_504(driver: Driver) {
    // The accept queue is filled, so that the kernel drops further SYNs.
    let (listener, queued) = full_listener();
    let address = listener.local_addr().unwrap().to_string();
    let gateway = Setup::new(driver)
        .upstream("app", &address, "connect_timeout = \"300ms\"")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/a").status, 504);
    assert_logged(&gateway, 504, "connect_timeout");
    drop(queued);
}

fn full_listener() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    crate::support::sys::shrink_accept_queue(&listener);
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let wait = std::time::Duration::from_millis(300);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, wait) {
        queued.push(stream);
        assert!(queued.len() < 64, "the accept queue has no end");
    }
    (listener, queued)
}

fn a_client_that_reads_nothing_is_dropped(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\n");
        while conn.send(vec![b'x'; 1 << 16]) {}
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "send_timeout", "\"500ms\"")
        .start();
    let mut client = gateway.client();
    client.send(get("/a"));
    origin.wait_until_closed();
    drop(client);
}

fn an_idle_tunnel_is_closed(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        conn.stall();
    });
    let gateway = Setup::new(driver)
        .set("limits", "tunnel_idle_timeout", "\"1s\"")
        .upstream("app", origin.address(), "")
        .route(
            "all",
            "/{rest*}",
            "upstream = \"app\"\nupgrade = \"websocket\"",
        )
        .start();
    let mut client = gateway.client();
    let response = client.exchange(
        "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(response.status, 101);
    client.expect_closed();
    origin.wait_until_closed();
}

mod after {
    use super::{Driver, Setup, get, ok, on_both_drivers, stalling};
    use crate::support::Origin;

    on_both_drivers!(serves_on_after_a_timeout);

    fn serves_on_after_a_timeout(driver: Driver) {
        let slow = stalling();
        let quick = Origin::answering(ok("quick"));
        let gateway = Setup::new(driver)
            .upstream("slow", slow.address(), "response_timeout = \"300ms\"")
            .upstream("quick", quick.address(), "")
            .route("slow", "/slow", "upstream = \"slow\"")
            .route("quick", "/quick", "upstream = \"quick\"")
            .start();
        let mut client = gateway.client();
        client.send(get("/slow") + &get("/quick"));
        let response = client.response("GET");
        assert_eq!(response.status, 504);
        if response.field("connection") != Some("close") {
            assert_eq!(client.response("GET").text(), "quick");
        }
    }
}
