//! Frames that cost a client nothing: so many, and no more.

use super::{is_counted, memory_stays, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, PREFACE, code, flag, kind, request};
use crate::support::hpack::{integer, literal};
use crate::support::{Driver, on_both_drivers, wait_until};

on_both_drivers!(
    what_is_within_the_limits_is_no_flood,
    rapid_resets_end_the_connection,
    pings_end_the_connection,
    a_flood_in_the_first_bytes_is_one,
    settings_end_the_connection,
    empty_frames_end_the_connection,
    window_updates_end_the_connection,
    requests_beyond_the_rate_end_the_connection,
    continuations_without_end_keep_no_memory,
    empty_continuations_end_the_connection,
    header_lists_that_unfold_keep_no_memory,
    a_flood_of_malformed_requests_ends_the_connection,
);

fn what_is_within_the_limits_is_no_flood(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    for i in 0..15 {
        client.send_all(&[
            Frame::get(2 * i + 1, "/cancelled"),
            Frame::reset(2 * i + 1, code::CANCEL),
            Frame::ping([1; 8]),
        ]);
    }
    client.send(&Frame::post(101, "/empty"));
    for _ in 0..15 {
        client.send(&Frame::data(101, flag::NONE, ""));
    }
    for _ in 0..5 {
        client.send(&Frame::settings(&[]));
    }
    client.send(&Frame::data(101, flag::END_STREAM, ""));
    assert_eq!(client.outcome(101).answer().text(), "POST /empty");
    assert_eq!(client.pongs, 15);
    assert!(gateway.metric("ringgate_faults_total", &[("code", "http2_flood")]) < 1.0);
}

/// `frames` one time too often, then far too often, on connections of their own.
fn flood(driver: Driver, before: &[Frame], frame: &Frame, limit: usize) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut bystander = Http2::connect(gateway.address());
    assert_eq!(bystander.get(1, "/other").answer().status, 200);

    let mut first = Http2::connect(gateway.address());
    // Our SETTINGS have been taken when the gateway's are there.
    assert!(first.turn());
    first.send_all(before);
    first.send_all(&vec![frame.clone(); limit + 1]);
    assert_eq!(first.gone(), Some(code::ENHANCE_YOUR_CALM), "{frame:?}");

    memory_stays(&gateway, 16 << 20, || {
        let mut second = Http2::connect(gateway.address());
        assert!(second.turn());
        second.send_all(before);
        let batch = vec![frame.clone(); 500];
        let took_all = (0..1000).all(|_| second.send_all(&batch));
        assert!(!took_all, "half a million of {frame:?} were taken");
        // What was on its way when the gateway closed may have cost us its word.
        let word = second.gone();
        assert!(
            matches!(word, None | Some(code::ENHANCE_YOUR_CALM)),
            "{word:?}"
        );
    });
    is_counted(&gateway, "http2_flood", 2);
    assert_eq!(bystander.get(3, "/other").answer().status, 200);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn pings_end_the_connection(driver: Driver) {
    flood(driver, &[], &Frame::ping(*b"12345678"), 20);
}

/// Together with the preface, before a frame of ours was sent.
fn a_flood_in_the_first_bytes_is_one(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut start = vec![PREFACE.to_vec(), Frame::settings(&[]).bytes()];
    start.extend(vec![Frame::ping([0; 8]).bytes(); 21]);
    let mut client = Http2::bare(gateway.address());
    client.send_bytes(&start.concat());
    client.gone();
    is_counted(&gateway, "http2_flood", 1);
    others_are_served(&gateway);
}

fn settings_end_the_connection(driver: Driver) {
    // The first SETTINGS counts.
    flood(driver, &[], &Frame::settings(&[]), 9);
}

fn empty_frames_end_the_connection(driver: Driver) {
    let open = [Frame::post(1, "/open")];
    // A request makes two frames without content good; DATA is none of them.
    flood(driver, &open, &Frame::data(1, flag::NONE, ""), 20);
    flood(
        driver,
        &open,
        &Frame::data(1, flag::PADDED, [3, 0, 0, 0]),
        20,
    );
    flood(
        driver,
        &[],
        &Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 3, 16]),
        20,
    );
    flood(driver, &[], &Frame::new(0x42, 0, 0, "what is this"), 20);
}

fn window_updates_end_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    let batch = vec![Frame::window_update(0, 1); 1000];
    let took_all = (0..500).all(|_| client.send_all(&batch));
    assert!(!took_all, "half a million were taken");
    client.gone();
    is_counted(&gateway, "http2_flood", 1);
    others_are_served(&gateway);
}

fn rapid_resets_end_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut bystander = Http2::connect(gateway.address());
    memory_stays(&gateway, 16 << 20, || {
        let mut client = Http2::connect(gateway.address());
        let pair = |i: u32| {
            [
                Frame::get(2 * i + 1, "/never"),
                Frame::reset(2 * i + 1, code::CANCEL),
            ]
        };
        let took_all = (0..5000).all(|i| {
            let batch: Vec<Frame> = (0..10).flat_map(|j| pair(10 * i + j)).collect();
            client.send_all(&batch)
        });
        assert!(!took_all, "fifty thousand resets were taken");
        let word = client.gone();
        assert!(
            matches!(word, None | Some(code::ENHANCE_YOUR_CALM)),
            "{word:?}"
        );
    });
    is_counted(&gateway, "http2_flood", 1);
    assert_eq!(bystander.get(1, "/other").answer().status, 200);
    others_are_served(&gateway);
    // Requests that were cancelled at once need not reach the origin, and few did.
    assert!(origin.requests().len() <= 24, "{}", origin.requests().len());
    // What is pooled may stay; what was cancelled must not.
    wait_until("cancelled requests leave the origin", || origin.open() <= 2);
}

fn requests_beyond_the_rate_end_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("listener", "http2", "{ requests_per_second_max = 5 }")
        .start();
    let mut client = Http2::connect(gateway.address());
    assert!(client.turn());
    // Even when a second ends between them.
    let frames: Vec<Frame> = (0..12).map(|i| Frame::get(2 * i + 1, "/other")).collect();
    client.send_all(&frames);
    assert_eq!(client.gone(), Some(code::ENHANCE_YOUR_CALM));
    is_counted(&gateway, "http2_flood", 1);
    others_are_served(&gateway);
}

/// CVE-2024-27316 and its like: a header block that does not end.
fn continuations_without_end_keep_no_memory(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut bystander = Http2::connect(gateway.address());
    let mut field = Vec::new();
    literal(0x00, b"x-long", &[b'y'; 1000], &mut field);
    for fragment in [field.repeat(16), field, b"\x00".to_vec()] {
        memory_stays(&gateway, 16 << 20, || {
            let mut client = Http2::connect(gateway.address());
            let head = Frame::headers(1, flag::END_STREAM, &request("GET", "/smuggled"));
            client.send(&head);
            let batch = vec![Frame::continuation(1, flag::NONE, fragment.clone()); 16];
            let took_all = (0..4000).all(|_| client.send_all(&batch));
            assert!(
                !took_all,
                "64000 pieces of {} bytes were taken",
                fragment.len()
            );
            client.gone();
        });
    }
    wait_until("the floods are counted", || {
        let count = |code| gateway.metric("ringgate_faults_total", &[("code", code)]);
        count("http2_flood") + count("http2_protocol") >= 3.0
    });
    assert_eq!(bystander.get(1, "/other").answer().status, 200);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn empty_continuations_end_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    assert!(client.turn());
    client.send(&Frame::headers(
        1,
        flag::END_STREAM,
        &request("GET", "/smuggled"),
    ));
    client.send_all(&vec![Frame::continuation(1, flag::NONE, ""); 21]);
    assert_eq!(client.gone(), Some(code::ENHANCE_YOUR_CALM));
    is_counted(&gateway, "http2_flood", 1);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

/// An entry of 4000 bytes in the table, named by a byte each time: 48 MB in one frame.
fn header_lists_that_unfold_keep_no_memory(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut bystander = Http2::connect(gateway.address());
    memory_stays(&gateway, 16 << 20, || {
        for _ in 0..50 {
            let mut block = Frame::get(1, "/smuggled").payload;
            literal(0x40, b"x", &[b'y'; 4000], &mut block);
            while block.len() < 16_000 {
                integer(0x80, 7, 62, &mut block);
            }
            let mut client = Http2::connect(gateway.address());
            client.send(&Frame::new(kind::HEADERS, flag::WHOLE, 1, block));
            let outcome = client.outcome(1);
            assert!(super::heads::is_refusal(&outcome), "{outcome:?}");
        }
    });
    assert_eq!(bystander.get(1, "/other").answer().status, 200);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

/// Each is refused alone; who sends nothing else is not worth a connection.
fn a_flood_of_malformed_requests_ends_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    memory_stays(&gateway, 16 << 20, || {
        let mut client = Http2::connect(gateway.address());
        for i in 0..20_000 {
            let lines = [&request("GET", "/smuggled")[..], &[("connection", "close")]].concat();
            if !client.send(&Frame::headers(2 * i + 1, flag::WHOLE, &lines)) {
                break;
            }
            // Reading keeps the answers from filling the way back.
            if i % 50 == 0 && matches!(client.outcome(2 * i + 1), Outcome::Gone(_)) {
                break;
            }
        }
    });
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}
