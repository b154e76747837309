//! Requests at a time, and those that wait for their turn.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use super::in_front_of;
use crate::support::{Driver, Origin, get, ok, on_both_drivers, wait_until};

on_both_drivers!(
    queues_what_does_not_fit_and_refuses_what_does_not_fit_the_queue,
    who_waits_too_long_is_refused,
    a_client_that_leaves_gives_its_turn_up,
    hands_places_over_between_workers,
    an_endpoint_gets_no_more_than_it_may,
    queues_of_two_limits_do_not_mix,
);

/// An origin that answers when it is told to.
fn held() -> (Origin, std::sync::mpsc::Sender<()>) {
    let (go, wait) = channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
            conn.send(ok("done"));
        }
    });
    (origin, go)
}

fn queues_what_does_not_fit_and_refuses_what_does_not_fit_the_queue(driver: Driver) {
    let (origin, go) = held();
    let more = "[upstream.concurrency]\nmax = 1\nqueue_max = 1\nqueue_timeout = \"20s\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let mut first = gateway.client();
    first.send(get("/first"));
    wait_until("the first arrives", || origin.requests().len() == 1);
    let mut second = gateway.client();
    second.send(get("/second"));
    gateway.wait_for_metric("ringgate_upstream_queued", &[("upstream", "app")], 1.0);
    let third = gateway.get("/third");
    assert_eq!(third.status, 503);
    assert_eq!(gateway.log_line()["code"], "concurrency_limit");
    assert_eq!(origin.requests().len(), 1);
    go.send(()).unwrap();
    assert_eq!(first.response("GET").text(), "done");
    wait_until("the second arrives", || origin.requests().len() == 2);
    go.send(()).unwrap();
    assert_eq!(second.response("GET").text(), "done");
}

fn who_waits_too_long_is_refused(driver: Driver) {
    let (origin, go) = held();
    let more = "[upstream.concurrency]\nmax = 1\nqueue_max = 5\nqueue_timeout = \"50ms\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let mut first = gateway.client();
    first.send(get("/first"));
    wait_until("the first arrives", || origin.requests().len() == 1);
    assert_eq!(gateway.get("/second").status, 503);
    assert_eq!(gateway.log_line()["code"], "queue_timeout");
    go.send(()).unwrap();
    assert_eq!(first.response("GET").text(), "done");
    go.send(()).unwrap();
    assert_eq!(gateway.get("/third").text(), "done");
}

fn a_client_that_leaves_gives_its_turn_up(driver: Driver) {
    let (origin, go) = held();
    let more = "[upstream.concurrency]\nmax = 1\nqueue_max = 5\nqueue_timeout = \"500ms\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let mut first = gateway.client();
    first.send(get("/first"));
    wait_until("the first arrives", || origin.requests().len() == 1);
    for _ in 0..3 {
        let mut leaving = gateway.client();
        leaving.send(get("/leaving"));
        leaving.reset();
    }
    gateway.log(3);
    go.send(()).unwrap();
    assert_eq!(first.response("GET").text(), "done");
    go.send(()).unwrap();
    assert_eq!(gateway.get("/last").text(), "done");
}

fn hands_places_over_between_workers(driver: Driver) {
    let (origin, go) = held();
    let more = "[upstream.concurrency]\nmax = 2\nqueue_max = 100\nqueue_timeout = \"20s\"";
    let gateway = in_front_of(driver, &[origin.address()], more)
        .set("runtime", "workers", "2")
        .start();
    let address = gateway.address().to_owned();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || crate::support::Client::connect(&address).get("/").status)
        })
        .collect();
    for done in 0..20 {
        wait_until("the next ones arrive", || {
            origin.requests().len() >= (done + 2).min(20)
        });
        assert!(
            origin.requests().len() <= done + 2,
            "never more than two at a time"
        );
        go.send(()).unwrap();
    }
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
}

fn an_endpoint_gets_no_more_than_it_may(driver: Driver) {
    let (origin, go) = held();
    let more = "endpoint_requests_max = 1";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let mut first = gateway.client();
    first.send(get("/first"));
    wait_until("the first arrives", || origin.requests().len() == 1);
    assert_eq!(gateway.get("/second").status, 503);
    assert_eq!(gateway.log_line()["code"], "concurrency_limit");
    go.send(()).unwrap();
    assert_eq!(first.response("GET").text(), "done");
}

fn queues_of_two_limits_do_not_mix(driver: Driver) {
    let ((one, go_one), (two, go_two)) = (held(), held());
    let more = "concurrency = { max = 1, queue_max = 5, queue_timeout = \"20s\" }";
    let gateway = crate::support::Setup::new(driver)
        .upstream("one", one.address(), more)
        .upstream("two", two.address(), more)
        .route("one", "/one", "upstream = \"one\"")
        .route("two", "/two", "upstream = \"two\"")
        .start();
    let ask = |path| {
        let mut client = gateway.client();
        client.send(get(path));
        client
    };
    let (mut first_one, mut first_two) = (ask("/one"), ask("/two"));
    wait_until("both arrive", || {
        one.requests().len() + two.requests().len() == 2
    });
    let (mut next_one, mut next_two) = (ask("/one"), ask("/two"));
    for name in ["one", "two"] {
        gateway.wait_for_metric("ringgate_upstream_queued", &[("upstream", name)], 1.0);
    }
    go_one.send(()).unwrap();
    assert_eq!(first_one.response("GET").status, 200);
    go_one.send(()).unwrap();
    assert_eq!(next_one.response("GET").status, 200);
    go_two.send(()).unwrap();
    assert_eq!(first_two.response("GET").status, 200);
    go_two.send(()).unwrap();
    assert_eq!(next_two.response("GET").status, 200);
}
