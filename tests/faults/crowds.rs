//! Many clients at once.

use std::thread;

use crate::support::{
    Client, Driver, Gateway, Origin, Setup, get, ok, on_both_drivers, sys, wait_until,
};

const IDLE: usize = 10_000;
/// The budget for an idle keep-alive connection, in bytes of resident memory.
const IDLE_BYTES_MAX: u64 = 4096;

on_both_drivers!(
    answers_never_cross_clients,
    ten_thousand_idle_connections_stay_served,
);

fn answers_never_cross_clients(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let token = request.fields.one("x-token").unwrap_or("none").to_owned();
            let body = format!("{token} {}", String::from_utf8_lossy(&request.body));
            match token.len() % 3 {
                0 => drop(conn.send(ok(&body))),
                1 => {
                    let half = body.len() / 2;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    conn.send(head);
                    conn.send_slowly([&body.as_bytes()[..half], &body.as_bytes()[half..]]);
                }
                _ => {
                    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    conn.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
                }
            }
        }
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "workers", "2")
        .start();
    let address = gateway.address().to_owned();
    thread::scope(|scope| {
        for worker in 0..24 {
            let address = &address;
            scope.spawn(move || one_of_many(address, worker));
        }
    });
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}

/// Two hundred requests with tokens of their own; every fifth is abandoned.
fn one_of_many(address: &str, worker: usize) {
    let mut client = Client::connect(address);
    for turn in 0..200 {
        let token = format!("w{worker}-t{turn}{}", "x".repeat(turn % 3));
        let body = format!("body of {token}");
        let request = format!(
            "POST /{token} HTTP/1.1\r\nHost: gateway.test\r\nX-Token: {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if turn % 5 == 4 {
            let cut = request.len() - (turn * 7) % request.len();
            client.try_send(&request.as_bytes()[..cut]);
            if turn % 2 == 0 {
                client.reset();
            }
            client = Client::connect(address);
            continue;
        }
        client.send(request);
        let response = client.response("POST");
        assert_eq!(response.status, 200, "{token}");
        assert_eq!(response.text(), format!("{token} {body}"));
        if response.field("connection") == Some("close") {
            client = Client::connect(address);
        }
    }
}

fn ten_thousand_idle_connections_stay_served(driver: Driver) {
    let limit = sys::raise_descriptor_limit();
    assert!(
        limit > IDLE as u64 + 200,
        "ulimit -n is {limit}; the case needs {IDLE} and some"
    );
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "idle_timeout", "\"10m\"")
        .start();
    let mut warm: Vec<Client> = (0..64).map(|_| gateway.client()).collect();
    for client in &mut warm {
        assert_eq!(client.get("/warm").text(), "x");
    }
    let before = gateway.resident();
    let mut crowd = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut client = gateway.client();
        assert_eq!(client.exchange(get("/a")).text(), "x");
        crowd.push(client);
    }
    budget(&gateway, before);
    for client in crowd.iter_mut().step_by(97) {
        assert_eq!(client.get("/b").text(), "x");
    }
    assert_eq!(gateway.get("/c").text(), "x");
    let open = gateway.descriptors();
    drop(crowd);
    wait_until("their descriptors come back", || {
        gateway.descriptors() + IDLE <= open + 16
    });
    assert_eq!(gateway.get("/d").text(), "x");
}

/// Holds the memory of idle connections to the budget; only release builds are measured.
fn budget(gateway: &Gateway, before: u64) {
    let each = gateway.resident().saturating_sub(before) / IDLE as u64;
    if std::env::var_os("RINGGATE_BENCH").is_some() && !cfg!(debug_assertions) {
        assert!(
            each <= IDLE_BYTES_MAX,
            "{each} bytes for each idle connection"
        );
    } else {
        eprintln!("{each} bytes for each idle connection (not asserted in this build)");
    }
}
