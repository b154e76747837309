//! HTTP/2 frame by frame against the real binary: every frame of a case is its own, lawful or
//! not. Whatever a client does, the origin gets what was meant and nothing else, the fault is
//! told and counted, and the other clients do not notice.

mod bodies;
mod broken;
mod floods;
mod heads;
mod plain;
mod starts;
mod streams;
mod windows;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::frames::Http2;
use crate::support::{Conn, Driver, Gateway, Origin, Request, Setup, ok, wait_until};

/// Budgets that a case can reach, and be far from.
const LIMITS: &str = "{ resets_max = 20, pings_max = 20, settings_max = 10, \
                      empty_frames_max = 20, streams_max = 100 }";

/// An origin that answers with method and target, or does what the target says.
fn origin() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/never" => return conn.stall(),
                "/endless" => return without_end(conn),
                _ => conn.send(echo(&request)),
            };
        }
    })
}

fn echo(request: &Request) -> String {
    let answer = ok(&format!("{} {}", request.method, request.target));
    match request.method.as_str() {
        "HEAD" => answer[..answer.find("\r\n\r\n").unwrap() + 4].to_owned(),
        _ => answer,
    }
}

fn without_end(conn: &mut Conn) {
    conn.send("HTTP/1.1 200 OK\r\n\r\n");
    while conn.send(vec![b'x'; 1 << 16]) {}
}

fn setup(driver: Driver, origin: &Origin) -> Setup {
    Setup::proxy(driver, origin.address()).set("listener", "http2", LIMITS)
}

/// Whoever else comes is served, whichever version it speaks.
#[track_caller]
fn others_are_served(gateway: &Gateway) {
    assert_eq!(gateway.get("/other").text(), "GET /other");
    let answer = Http2::connect(gateway.address()).get(1, "/other").answer();
    assert_eq!((answer.status, answer.text()), (200, "GET /other".into()));
}

/// Waits until a fault of this code was counted `count` times.
#[track_caller]
fn is_counted(gateway: &Gateway, code: &str, count: usize) {
    gateway.wait_for_metric("ringgate_faults_total", &[("code", code)], count as f64);
}

/// Fails if the origin got a whole request for another target, or what is no request.
#[track_caller]
fn origin_got_only(origin: &Origin, targets: &[&str]) {
    for request in origin.requests() {
        assert!(targets.contains(&request.target.as_str()), "{request:#?}");
    }
    for failure in origin.failures() {
        assert!(!failure.contains("malformed"), "{failure}");
    }
}

/// Runs `attack` and fails when the gateway has kept much more memory for it.
#[track_caller]
fn memory_stays(gateway: &Gateway, most: u64, attack: impl FnOnce()) {
    let before = gateway.resident();
    attack();
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown <= most, "resident memory grew by {grown} bytes");
}

/// An origin that answers `/hold` once it is let go.
fn holding() -> (Origin, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&go);
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/hold" {
                wait_until("the case lets go", || gone.load(Ordering::SeqCst));
            }
            conn.send(echo(&request));
        }
    });
    (origin, go)
}
