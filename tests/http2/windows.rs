//! Flow control as a weapon: windows that stay shut, that open by a byte, that are not kept to.

use std::time::Duration;

use super::{holding, is_counted, memory_stays, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, Windows, code, flag, setting};
use crate::support::{Driver, Origin, on_both_drivers, wait_until};

on_both_drivers!(
    a_window_that_stays_shut_times_out,
    a_hundred_shut_windows_keep_little_memory,
    a_client_that_reads_nothing_times_out,
    windows_of_a_byte_deliver_all,
    a_window_changed_on_the_way_counts_for_open_streams,
    a_client_that_ignores_our_window_is_cut_off,
    one_stream_does_not_stop_another,
);

fn a_window_that_stays_shut_times_out(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "send_timeout", "\"1s\"")
        .start();
    memory_stays(&gateway, 16 << 20, || {
        let shut = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let mut client = Http2::connect_with(gateway.address(), &shut);
        let outcome = client.get(1, "/endless");
        assert!(
            !matches!(outcome, Outcome::Answer(_)),
            "an answer without an end ended"
        );
        assert!(
            client
                .partial(1)
                .is_none_or(|answer| answer.body.is_empty())
        );
    });
    is_counted(&gateway, "send_timeout", 1);
    wait_until("the origin is let go", || origin.open() == 0);
    others_are_served(&gateway);
}

fn a_hundred_shut_windows_keep_little_memory(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "send_timeout", "\"2s\"")
        .start();
    memory_stays(&gateway, 48 << 20, || {
        let shut = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let mut client = Http2::connect_with(gateway.address(), &shut);
        let frames: Vec<Frame> = (0..100)
            .map(|i| Frame::get(2 * i + 1, "/endless"))
            .collect();
        client.send_all(&frames);
        origin.wait_for_requests(100);
        others_are_served(&gateway);
        for i in 0..100 {
            let outcome = client.outcome(2 * i + 1);
            assert!(!matches!(outcome, Outcome::Answer(_)), "{i}");
        }
    });
    wait_until("the origin is let go", || origin.open() <= 1);
    others_are_served(&gateway);
}

fn a_client_that_reads_nothing_times_out(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "send_timeout", "\"1s\"")
        .start();
    let mut bystander = Http2::connect(gateway.address());
    memory_stays(&gateway, 16 << 20, || {
        let wide = [(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)];
        let mut client = Http2::connect_with(gateway.address(), &wide);
        client.send_all(&[
            Frame::window_update(0, 0x7fff_ffff - 65_535),
            Frame::get(1, "/endless"),
        ]);
        is_counted(&gateway, "send_timeout", 1);
        wait_until("the origin is let go", || origin.open() == 0);
    });
    assert_eq!(bystander.get(1, "/other").answer().status, 200);
    others_are_served(&gateway);
}

fn windows_of_a_byte_deliver_all(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let byte = [(setting::INITIAL_WINDOW_SIZE, 1)];
    let mut client = Http2::connect_with(gateway.address(), &byte);
    client.windows = Windows::GivenBack;
    let path = format!("/{}", "p".repeat(500));
    let answer = client.get(1, &path).answer();
    assert_eq!(answer.text(), format!("GET {path}"));
}

/// RFC 9113, 6.9.2: the change counts for streams that are open, and may make a window negative.
fn a_window_changed_on_the_way_counts_for_open_streams(driver: Driver) {
    let (origin, go) = holding();
    let gateway = setup(driver, &origin).start();
    let wide = [(setting::INITIAL_WINDOW_SIZE, 100)];
    let mut client = Http2::connect_with(gateway.address(), &wide);
    client.send(&Frame::get(1, "/hold"));
    origin.wait_for_requests(1);
    client.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 3)]));
    // Its acknowledgement says that the change counts.
    client.send(&Frame::ping([7; 8]));
    while client.pongs == 0 {
        assert!(client.turn());
    }
    go.store(true, std::sync::atomic::Ordering::SeqCst);
    while client.partial(1).is_none_or(|answer| answer.body.len() < 3) {
        assert!(client.turn());
    }
    assert_eq!(client.partial(1).unwrap().body, b"GET");
    client.send(&Frame::window_update(1, 100));
    assert_eq!(client.outcome(1).answer().text(), "GET /hold");
}

fn a_client_that_ignores_our_window_is_cut_off(driver: Driver) {
    let origin = Origin::start(|conn| {
        // It takes the head and not a byte of the body.
        let _ = conn.head().map(|request| conn.count(&request));
        std::thread::sleep(Duration::from_secs(20));
    });
    let gateway = setup(driver, &origin)
        .set(
            "listener",
            "http2",
            "{ stream_window = \"64KiB\", connection_window = \"128KiB\" }",
        )
        .start();
    memory_stays(&gateway, 16 << 20, || {
        let mut client = Http2::connect(gateway.address());
        client.send(&Frame::post(1, "/flood"));
        let piece = Frame::data(1, flag::NONE, vec![b'x'; 16_384]);
        let took_all = (0..4096).all(|_| client.send(&piece));
        match client.outcome(1) {
            Outcome::Reset(code) | Outcome::Gone(Some(code)) => {
                assert_eq!(code, code::FLOW_CONTROL_ERROR);
            }
            Outcome::Gone(None) => assert!(!took_all),
            Outcome::Answer(answer) => panic!("{}", answer.status),
        }
    });
}

fn one_stream_does_not_stop_another(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    // The first takes what the stream allows, and keeps it; the connection has room left.
    client.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 30_000)]));
    client.send(&Frame::get(1, "/endless"));
    while client
        .partial(1)
        .is_none_or(|answer| answer.body.len() < 30_000)
    {
        assert!(client.turn());
    }
    for stream in [3, 5, 7] {
        assert_eq!(client.get(stream, "/other").answer().text(), "GET /other");
    }
    client.send(&Frame::reset(1, code::CANCEL));
    assert_eq!(client.get(9, "/other").answer().status, 200);
    wait_until("the origin is let go", || origin.open() <= 1);
    origin_got_only(&origin, &["/other", "/endless"]);
}
