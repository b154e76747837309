//! Clients that leave while their requests wait for something other than an answer. What they
//! wait for is longer than a case may take: only their departure can end the wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{in_front_of, saying};
use crate::support::frames::{Frame, Http2};
use crate::support::{
    Client, Driver, Gateway, Origin, Setup, get, ok, on_both_drivers, wait_until,
};

on_both_drivers!(
    leaves_a_queue,
    leaves_a_queue_with_its_body_unread,
    leaves_a_queue_as_a_stream,
    leaves_during_a_pause_between_attempts,
    leaves_during_a_delay,
    leaves_two_attempts_side_by_side,
    who_half_closes_may_wait_where_that_is_allowed,
);

const ONE_AT_A_TIME: &str =
    "[upstream.concurrency]\nmax = 1\nqueue_max = 9\nqueue_timeout = \"10m\"";

/// An origin that answers nothing but `/quick`.
fn stuck() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match &*request.target {
                "/quick" => drop(conn.send(ok("quick"))),
                _ => conn.stall(),
            }
        }
    })
}

/// A client whose request has the only place.
fn holder(gateway: &Gateway, origin: &Origin) -> Client {
    let mut first = gateway.client();
    first.send(get("/first"));
    origin.wait_for_requests(1);
    first
}

fn queued(gateway: &Gateway, count: u32) {
    let labels = [("upstream", "app")];
    wait_until("so many wait", || {
        gateway.metric("ringgate_upstream_queued", &labels) == f64::from(count)
    });
}

fn leaves_a_queue(driver: Driver) {
    let origin = stuck();
    let gateway = in_front_of(driver, &[origin.address()], ONE_AT_A_TIME).start();
    let first = holder(&gateway, &origin);
    for (before, reset) in [false, true].into_iter().enumerate() {
        let mut second = gateway.client();
        second.send(get("/second"));
        queued(&gateway, 1);
        match reset {
            true => second.reset(),
            false => drop(second),
        }
        let line = &gateway.log(before + 1)[before];
        assert_eq!(
            (&line["code"], &line["end"]),
            (&"client_closed".into(), &"CP".into())
        );
        queued(&gateway, 0);
    }
    drop(first);
    wait_until("the place is free", || {
        gateway.get("/quick").text() == "quick"
    });
}

fn leaves_a_queue_with_its_body_unread(driver: Driver) {
    let origin = stuck();
    let gateway = in_front_of(driver, &[origin.address()], ONE_AT_A_TIME).start();
    let _first = holder(&gateway, &origin);
    let mut second = gateway.client();
    second.send("PUT /second HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 100000\r\n\r\n");
    queued(&gateway, 1);
    second.send("x".repeat(1000));
    drop(second);
    assert_eq!(gateway.log_line()["code"], "client_closed");
    queued(&gateway, 0);
}

fn leaves_a_queue_as_a_stream(driver: Driver) {
    let origin = stuck();
    let gateway = in_front_of(driver, &[origin.address()], ONE_AT_A_TIME).start();
    let _first = holder(&gateway, &origin);
    let mut client = Http2::connect(gateway.address());
    client.send(&Frame::get(1, "/second"));
    queued(&gateway, 1);
    // CANCEL.
    client.send(&Frame::reset(1, 8));
    assert_eq!(gateway.log_line()["code"], "client_closed");
    queued(&gateway, 0);
}

fn leaves_during_a_pause_between_attempts(driver: Driver) {
    let origin = saying(503);
    let more = "[upstream.retry]\nattempts = 10\non = [\"503\"]\nbudget_minimum = 100\n\
                backoff = \"1m\"\nbackoff_max = \"10m\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let mut client = gateway.client();
    client.send(get("/"));
    origin.wait_for_requests(1);
    drop(client);
    let line = gateway.log_line();
    assert_eq!(
        (&line["code"], &line["status"]),
        (&"client_closed".into(), &0.into())
    );
}

fn leaves_during_a_delay(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body("[filter.late]\ntype = \"fault\"\ndelay = \"1m\"")
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"late\"]")
        .start();
    let mut client = gateway.client();
    client.send(get("/"));
    gateway.wait_for_metric("ringgate_worker_active_requests", &[], 1.0);
    drop(client);
    let line = gateway.log_line();
    assert_eq!(
        (&line["code"], &line["end"]),
        (&"client_closed".into(), &"CP".into())
    );
    assert!(origin.requests().is_empty());
}

fn leaves_two_attempts_side_by_side(driver: Driver) {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = || {
        let asked = Arc::clone(&asked);
        Origin::start(move |conn| {
            while let Some(request) = conn.request() {
                if request.target != "/stuck" {
                    conn.send(ok("quick"));
                    continue;
                }
                asked.fetch_add(1, Ordering::SeqCst);
                conn.stall();
            }
        })
    };
    let (one, other) = (origin(), origin());
    let more = "response_timeout = \"10m\"\n[upstream.retry]\nattempts = 1\nbudget = 1.0\n\
                budget_minimum = 100\nhedge = { after_percentile = 0.9, after_minimum = \"20ms\" }";
    let gateway = in_front_of(driver, &[one.address(), other.address()], more).start();
    // What is usual has to be known first.
    for _ in 0..400 {
        gateway.get("/");
    }
    gateway.log(400);
    let mut client = gateway.client();
    client.send(get("/stuck"));
    wait_until("both are asked", || asked.load(Ordering::SeqCst) == 2);
    drop(client);
    let lines = gateway.log(401);
    let line = &lines[400];
    assert_eq!(
        (&line["code"], &line["end"]),
        (&"client_closed".into(), &"CW".into())
    );
    assert_eq!(line["attempts"], 2);
    assert!(line["us"]["wait"].is_u64(), "{line}");
}

fn who_half_closes_may_wait_where_that_is_allowed(driver: Driver) {
    let origin = stuck();
    let gateway = in_front_of(driver, &[origin.address()], ONE_AT_A_TIME)
        .set("listener", "half_close", "\"allow\"")
        .start();
    let first = holder(&gateway, &origin);
    let mut second = gateway.client();
    second.send(get("/quick"));
    queued(&gateway, 1);
    second.finish_sending();
    crate::support::settle();
    first.reset();
    assert_eq!(second.response("GET").text(), "quick");
}
