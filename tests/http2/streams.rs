//! How many streams, in which order, and how they and the connection end.

use std::sync::atomic::Ordering;

use super::{holding, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, Windows, code, flag, kind};
use crate::support::sys::Signal;
use crate::support::{Driver, on_both_drivers, wait_until};

on_both_drivers!(
    streams_beyond_the_limit_are_refused_and_the_others_answered,
    answers_come_in_the_order_they_are_ready,
    a_cancelled_stream_leaves_its_origin,
    a_vanished_client_leaves_every_origin,
    a_client_that_goes_gets_what_it_asked_for,
    a_shutdown_ends_streams_and_takes_no_more,
    a_reload_serves_on,
);

fn streams_beyond_the_limit_are_refused_and_the_others_answered(driver: Driver) {
    let (origin, go) = holding();
    let gateway = setup(driver, &origin)
        .set("listener", "http2", "{ streams_max = 3 }")
        .start();
    let mut client = Http2::connect(gateway.address());
    let frames: Vec<Frame> = (0..5).map(|i| Frame::get(2 * i + 1, "/hold")).collect();
    client.send_all(&frames);
    assert_eq!(client.outcome(7), Outcome::Reset(code::REFUSED_STREAM));
    assert_eq!(client.outcome(9), Outcome::Reset(code::REFUSED_STREAM));
    go.store(true, Ordering::SeqCst);
    for stream in [1, 3, 5] {
        assert_eq!(client.outcome(stream).answer().text(), "GET /hold");
    }
    assert_eq!(client.get(11, "/other").answer().text(), "GET /other");
    assert_eq!(origin.requests().len(), 4);
    others_are_served(&gateway);
}

fn answers_come_in_the_order_they_are_ready(driver: Driver) {
    let (origin, go) = holding();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    client.send_all(&[Frame::get(1, "/hold"), Frame::get(3, "/other")]);
    assert_eq!(client.outcome(3).answer().text(), "GET /other");
    assert!(client.partial(1).is_none());
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.outcome(1).answer().text(), "GET /hold");
}

fn a_cancelled_stream_leaves_its_origin(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    // What was under way still counts for the connection's window.
    client.windows = Windows::GivenBack;
    client.send_all(&[Frame::get(1, "/never"), Frame::get(3, "/endless")]);
    while client
        .partial(3)
        .is_none_or(|answer| answer.body.is_empty())
    {
        assert!(client.turn());
    }
    client.send_all(&[Frame::reset(1, code::CANCEL), Frame::reset(3, code::CANCEL)]);
    origin.wait_until_closed();
    assert_eq!(client.get(5, "/other").answer().status, 200);
    others_are_served(&gateway);
}

fn a_vanished_client_leaves_every_origin(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for how in ["close", "reset"] {
        let mut client = Http2::connect(gateway.address());
        let frames: Vec<Frame> = (0..10).map(|i| Frame::get(2 * i + 1, "/never")).collect();
        client.send_all(&frames);
        wait_until("the requests reach the origin", || origin.open() == 10);
        if how == "reset" {
            client.peer().reset();
        }
        drop(client);
        origin.wait_until_closed();
    }
    others_are_served(&gateway);
}

fn a_client_that_goes_gets_what_it_asked_for(driver: Driver) {
    let (origin, go) = holding();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    client.send_all(&[
        Frame::get(1, "/hold"),
        Frame::new(kind::GOAWAY, flag::NONE, 0, [0; 8]),
    ]);
    origin.wait_for_requests(1);
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.outcome(1).answer().text(), "GET /hold");
    client.gone();
    others_are_served(&gateway);
}

fn a_shutdown_ends_streams_and_takes_no_more(driver: Driver) {
    let (origin, go) = holding();
    let mut gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    let mut idle = Http2::connect(gateway.address());
    assert_eq!(idle.get(1, "/other").answer().status, 200);
    client.send(&Frame::get(1, "/hold"));
    origin.wait_for_requests(2);
    gateway.signal(Signal::Terminate);
    assert_eq!(idle.gone(), Some(code::NO_ERROR));
    // Perhaps first a GOAWAY that names no last stream, and a PING (RFC 9113, 6.8).
    while client.goaway().is_none_or(|(last, _)| last != 1) {
        assert!(client.turn(), "the connection ended with a stream open");
    }
    assert_eq!(client.goaway(), Some((1, code::NO_ERROR)));
    client.send(&Frame::get(3, "/late"));
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.outcome(1).answer().text(), "GET /hold");
    assert_eq!(client.outcome(3), Outcome::Gone(Some(code::NO_ERROR)));
    client.gone();
    assert!(gateway.wait().success());
    origin_got_only(&origin, &["/hold", "/other"]);
}

fn a_reload_serves_on(driver: Driver) {
    let (origin, go) = holding();
    let mut gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    client.send(&Frame::get(1, "/hold"));
    origin.wait_for_requests(1);
    gateway.rewrite(|setup| setup.route("more", "/more", "respond = { status = 418 }"));
    assert_eq!(gateway.reload().status, 200);
    go.store(true, Ordering::SeqCst);
    assert_eq!(client.outcome(1).answer().text(), "GET /hold");
    // The new configuration counts for what comes after it, wherever it comes.
    let status = match client.get(3, "/more") {
        Outcome::Answer(answer) => answer.status,
        Outcome::Gone(Some(code::NO_ERROR)) => {
            Http2::connect(gateway.address())
                .get(1, "/more")
                .answer()
                .status
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(status, 418);
    others_are_served(&gateway);
}
