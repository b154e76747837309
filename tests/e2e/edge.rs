//! What comes before a request: how many connections an address may have, how fast they may
//! come, and how slowly bytes may.

use std::thread::sleep;
use std::time::Duration;

use crate::support::certificates::Authority;
use crate::support::curl::{curl_text, try_curl};
use crate::support::{Client, Driver, Gateway, Origin, Setup, ok, on_both_drivers, wait_until};

on_both_drivers!(
    an_address_has_its_most_connections,
    a_refused_connection_is_told_nothing_before_tls,
    addresses_behind_a_balancer_are_those_it_tells,
    an_address_opens_connections_at_its_rate,
    a_listener_takes_connections_at_its_rate,
    connections_count_over_reloads,
    an_upload_that_drips_ends,
    an_answer_that_is_taken_in_drips_ends,
    a_slow_origin_is_not_the_clients_fault,
);

/// What curl gets that comes from another address of this machine.
fn from_elsewhere(gateway: &Gateway) -> String {
    let url = format!("http://{}/a", gateway.address());
    curl_text(&["--interface", "127.0.0.2", &url])
}

fn refused(gateway: &Gateway) -> f64 {
    gateway.metric("ringgate_faults_total", &[("code", "address_cap")])
}

fn an_address_has_its_most_connections(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "connections_per_address_max", "3")
        .start();
    let mut kept: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/a").text(), "x");
    }
    gateway.client().expect_closed();
    assert_eq!(from_elsewhere(&gateway), "x");
    for client in &mut kept {
        assert_eq!(client.get("/b").text(), "x", "those inside are not touched");
    }
    assert!(refused(&gateway) >= 1.0);
    let lines = gateway.log(5);
    let line = lines.iter().find(|line| line["code"] == "address_cap");
    assert_eq!(line.unwrap()["client"], "127.0.0.1");
    kept.pop();
    wait_until("there is a place again", || {
        let mut client = gateway.client();
        client.try_send(crate::support::get("/c")) && client.try_response("GET").is_ok()
    });
}

fn a_refused_connection_is_told_nothing_before_tls(driver: Driver) {
    let (origin, authority) = (Origin::named("x"), Authority::new());
    let gateway = Setup::proxy(driver, origin.address())
        .certificates(&[&authority.server(&["gateway.test"])])
        .set("limits", "connections_per_address_max", "1")
        .start();
    let first = gateway.client();
    gateway.client().expect_closed();
    drop(first);
    let port = gateway.address().rsplit(':').next().unwrap();
    let url = format!("https://gateway.test:{port}/a");
    let resolve = format!("gateway.test:{port}:127.0.0.1");
    let ca = authority.ca();
    let ca = ca.to_str().unwrap();
    wait_until("there is a place again", || {
        let arguments = ["--cacert", ca, "--resolve", &resolve, &url];
        try_curl(&arguments).success
    });
}

fn addresses_behind_a_balancer_are_those_it_tells(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "proxy_protocol_from", "[\"127.0.0.0/8\"]")
        .set("limits", "connections_per_address_max", "1")
        .start();
    let open = |header: &str| {
        let mut client = gateway.client();
        client.send(format!("{header}\r\n"));
        client
    };
    let served = |header: &str| {
        let mut client = open(header);
        assert_eq!(client.get("/a").text(), "x", "{header}");
        client
    };
    let first = served("PROXY TCP4 203.0.113.7 192.0.2.1 51234 443");
    open("PROXY TCP4 203.0.113.7 192.0.2.1 51235 443").expect_closed();
    let _other = served("PROXY TCP4 203.0.113.8 192.0.2.1 51234 443");
    let _network = served("PROXY TCP6 2001:db8::7 2001:db8::1 51234 443");
    open("PROXY TCP6 2001:db8::8 2001:db8::1 51235 443").expect_closed();
    let _neighbour = served("PROXY TCP6 2001:db8:0:1::7 2001:db8::1 51236 443");
    // What the balancer asks for itself is not bounded.
    let _own = [served("PROXY UNKNOWN"), served("PROXY UNKNOWN")];
    assert_eq!(refused(&gateway), 2.0);
    drop(first);
    wait_until("there is a place again", || {
        let mut client = open("PROXY TCP4 203.0.113.7 192.0.2.1 51236 443");
        client.try_send(crate::support::get("/c")) && client.try_response("GET").is_ok()
    });
}

const THREE_AN_HOUR: &str = "{ limit = 1, per = \"1h\", burst = 3 }";

fn an_address_opens_connections_at_its_rate(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "connection_rate_per_address", THREE_AN_HOUR)
        .start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/a").text(), "x");
    }
    gateway.client().expect_closed();
    assert_eq!(from_elsewhere(&gateway), "x");
    // A bucket is not filled by a reload.
    assert_eq!(gateway.reload().status, 200);
    gateway.client().expect_closed();
    assert_eq!(refused(&gateway), 2.0);
}

fn a_listener_takes_connections_at_its_rate(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "connection_rate", THREE_AN_HOUR)
        .start();
    let mut kept = gateway.client();
    assert_eq!(kept.get("/a").text(), "x");
    for _ in 0..2 {
        assert_eq!(from_elsewhere(&gateway), "x");
    }
    gateway.client().expect_closed();
    assert_eq!(kept.get("/a").text(), "x", "one that is open goes on");
    let lines = gateway.log(5);
    let line = lines.iter().find(|line| line["code"] == "address_cap");
    let told = line.unwrap().to_string();
    assert!(told.contains("connection_rate"), "{told}");
}

fn connections_count_over_reloads(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "workers", "2")
        .set("limits", "connections_per_address_max", "4")
        .start();
    let mut kept: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for _ in 0..5 {
        for client in &mut kept {
            assert_eq!(client.get("/a").text(), "x");
        }
        gateway.client().expect_closed();
        assert_eq!(gateway.reload().status, 200);
    }
}

fn an_upload_that_drips_ends(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(ok("x"));
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "rate_min", "\"1KiB\"")
        .start();
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000000\r\n\r\n");
    // Much more often than body_timeout asks for, and much less than the rate.
    wait_until("it is refused", || {
        sleep(Duration::from_millis(100));
        client.try_send("xxxx");
        client.has_bytes()
    });
    let response = client.response("POST");
    assert_eq!(
        (response.status, response.field("connection")),
        (408, Some("close"))
    );
    drop(client);
    assert_eq!(gateway.log_line()["code"], "slow_client");
    assert!(origin.requests().is_empty());
}

const LONG: usize = 64 << 20;

fn an_answer_that_is_taken_in_drips_ends(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n"));
            conn.send(vec![b'x'; LONG]);
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "rate_min", "\"64KiB\"")
        .set("limits", "send_timeout", "\"5m\"")
        .start();
    let mut client = gateway.client();
    client.send(crate::support::get("/a"));
    assert_eq!(client.head("GET").status, 200);
    wait_until("the exchange is over", || {
        sleep(Duration::from_millis(100));
        client.take(100);
        gateway.metric("ringgate_faults_total", &[("code", "slow_client")]) > 0.0
    });
    drop(client);
    assert_eq!(gateway.log_line()["code"], "slow_client");
}

fn a_slow_origin_is_not_the_clients_fault(driver: Driver) {
    /// More than a window, in which the origin takes nothing and then sends little.
    const STEPS: usize = 24;
    const STEP: Duration = Duration::from_millis(500);
    let origin = Origin::start(|conn| {
        let Some(head) = conn.head() else { return };
        sleep(STEP * 12);
        if conn.body(head).is_none() {
            return;
        }
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {STEPS}\r\n\r\n"
        ));
        for _ in 0..STEPS {
            sleep(STEP);
            conn.send("x");
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "rate_min", "\"1MiB\"")
        .set("limits", "body_max", "\"64MiB\"")
        .start();
    let mut client = gateway.client();
    let body = vec![b'x'; 16 << 20];
    client.send(format!(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(body);
    assert_eq!(client.response("POST").body.len(), STEPS);
}
