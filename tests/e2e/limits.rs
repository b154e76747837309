//! What a client may cost: every limit answers with its status and protects the origin.

use crate::support::{
    Client, Driver, Origin, Response, Setup, get, ok, on_both_drivers, wait_until,
};

on_both_drivers!(
    a_long_head_gets_431,
    too_many_fields_get_431,
    a_long_target_gets_414,
    a_body_announced_too_long_gets_413,
    a_chunked_body_that_grows_too_long_gets_413,
    a_route_can_take_larger_bodies,
    a_body_of_exactly_the_limit_passes,
    too_many_trailers_are_refused,
    sheds_connections_above_the_cap,
    survives_running_out_of_descriptors,
    closes_after_the_last_request_allowed,
    a_listener_can_have_its_own_limits,
    a_long_response_head_gets_502,
    takes_the_longest_limits,
);

fn refused(response: &Response, status: u16, origin: &Origin) {
    assert_eq!(response.status, status);
    assert_eq!(response.field("connection"), Some("close"));
    assert!(origin.requests().is_empty());
}

fn a_long_head_gets_431(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "head_max", "\"2KiB\"")
        .set("limits", "uri_max", "\"1KiB\"")
        .start();
    let mut client = gateway.client();
    let long = "x".repeat(4000);
    client.send(format!(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Long: {long}\r\n\r\n"
    ));
    refused(&client.response("GET"), 431, &origin);
    client.expect_closed();
}

fn too_many_fields_get_431(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "headers_max", "10")
        .start();
    let fields: String = (0..20).map(|i| format!("X-{i}: 1\r\n")).collect();
    let mut client = gateway.client();
    client.send(format!(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n"
    ));
    refused(&client.response("GET"), 431, &origin);
}

fn a_long_target_gets_414(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "uri_max", "\"256B\"")
        .start();
    let mut client = gateway.client();
    client.send(get(&format!("/{}", "a".repeat(300))));
    refused(&client.response("GET"), 414, &origin);
}

fn a_body_announced_too_long_gets_413(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"1KiB\"")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(client.response("POST").status, 413);
    assert_eq!(origin.accepted(), 0);
    // The gateway may wait for the body, to keep the connection, until the client leaves.
    drop(client);
    assert_eq!(gateway.log_line()["code"], "body_too_large");
}

fn a_chunked_body_that_grows_too_long_gets_413(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(ok("x"));
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"1KiB\"")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..8 {
        if !client.try_send(format!("100\r\n{}\r\n", "x".repeat(256))) {
            break;
        }
    }
    assert_eq!(client.response("POST").status, 413);
    // The origin saw a body that never ended.
    assert!(origin.requests().is_empty());
    origin.wait_until_closed();
}

fn a_route_can_take_larger_bodies(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .set("limits", "body_max", "\"16B\"")
        .upstream("app", origin.address(), "")
        .route(
            "upload",
            "/upload",
            "upstream = \"app\"\nbody_max = \"1KiB\"",
        )
        .catch_all("app")
        .start();
    let body = "x".repeat(1000);
    let post = |path: &str| {
        gateway.client().exchange(format!(
            "POST {path} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n{body}"
        ))
    };
    assert_eq!(post("/upload").status, 200);
    assert_eq!(post("/other").status, 413);
}

fn a_body_of_exactly_the_limit_passes(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"16B\"")
        .start();
    let mut client = gateway.client();
    let head = "POST /a HTTP/1.1\r\nHost: gateway.test\r\n";
    let plain = format!("{head}Content-Length: 16\r\n\r\n0123456789abcdef");
    assert_eq!(client.exchange(plain).status, 200);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n8\r\n01234567\r\n0\r\n\r\n"
    );
    assert_eq!(client.exchange(chunked).status, 200);
}

fn too_many_trailers_are_refused(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    );
    let trailers: String = (0..5000).map(|i| format!("X-{i}: {i}\r\n")).collect();
    client.try_send(trailers + "\r\n");
    if let Ok(response) = client.try_response("POST") {
        assert!((400..500).contains(&response.status), "{response:?}");
    }
    assert!(origin.requests().is_empty());
}

fn sheds_connections_above_the_cap(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "connections_max", "8")
        .start();
    let mut kept: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/a").status, 200);
    }
    let mut extra = gateway.client();
    assert_eq!(extra.response("GET").status, 503);
    extra.expect_closed();
    for client in &mut kept {
        assert_eq!(client.get("/b").status, 200, "those inside are not touched");
    }
    kept.truncate(4);
    wait_until("there is room again", || {
        gateway.client().try_send(get("/c")) && {
            let mut client = gateway.client();
            client.try_send(get("/c"));
            client.try_response("GET").is_ok_and(|r| r.status == 200)
        }
    });
    gateway.wait_for_metric("ringgate_worker_shed_total", &[], 1.0);
}

fn survives_running_out_of_descriptors(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .descriptors_max(96)
        .start();
    let mut first = gateway.client();
    assert_eq!(first.get("/a").status, 200);
    // More than there are descriptors; the kernel's queue takes those not accepted.
    let crowd: Vec<Client> = (0..150).map(|_| gateway.client()).collect();
    crate::support::settle();
    assert_eq!(first.get("/b").status, 200, "an open connection goes on");
    drop(crowd);
    wait_until("new clients are served again", || {
        let mut client = gateway.client();
        client.try_send(get("/c")) && client.try_response("GET").is_ok_and(|r| r.status == 200)
    });
}

fn closes_after_the_last_request_allowed(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "requests_per_connection_max", "3")
        .start();
    let mut client = gateway.client();
    assert_ne!(client.get("/1").field("connection"), Some("close"));
    assert_ne!(client.get("/2").field("connection"), Some("close"));
    assert_eq!(client.get("/3").field("connection"), Some("close"));
    client.expect_closed();
}

fn a_listener_can_have_its_own_limits(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"1KiB\"")
        .set("listener", "limits.body_max", "\"8B\"")
        .start();
    let response = gateway
        .client()
        .exchange("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 9\r\n\r\n123456789");
    assert_eq!(response.status, 413);
}

fn a_long_response_head_gets_502(driver: Driver) {
    let long = "x".repeat(66_000);
    let origin = Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 0\r\n\r\n"
    ));
    let gateway = Setup::proxy(driver, origin.address()).start();
    assert_eq!(gateway.get("/a").status, 502);
}

fn takes_the_longest_limits(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .set("limits", "header_timeout", "\"10m\"")
        .set("limits", "idle_timeout", "\"24h\"")
        .set("limits", "body_timeout", "\"1h\"")
        .set("limits", "send_timeout", "\"1h\"")
        .set("limits", "request_timeout", "\"24h\"")
        .set("limits", "tunnel_idle_timeout", "\"24h\"")
        .set("limits", "head_max", "\"64KiB\"")
        .set("limits", "connections_max", "10000000")
        .upstream("app", origin.address(), "")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    for _ in 0..10 {
        assert_eq!(client.get("/a").text(), "x");
        crate::support::settle();
    }
}
