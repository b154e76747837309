//! Bodies that are not as long as was said, and DATA where none may be.

use super::heads::is_refusal;
use super::{origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, code, flag, request};
use crate::support::{Driver, on_both_drivers};

on_both_drivers!(
    lengths_that_are_not_true_reach_no_origin_as_a_request,
    lengths_that_are_true_pass,
    data_behind_the_end_is_refused,
    a_reset_body_reaches_no_origin_as_a_request,
    bodies_larger_than_the_limit_are_refused,
);

fn post<'a>(path: &'a str, length: &'a str) -> Vec<(&'a str, &'a str)> {
    [&request("POST", path)[..], &[("content-length", length)]].concat()
}

fn lengths_that_are_not_true_reach_no_origin_as_a_request(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let more = "GET /smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    for (length, pieces) in [
        ("5", &["abc"][..]),
        ("5", &["ab", ""]),
        ("5", &[""]),
        ("3", &["abcde"]),
        ("3", &["abc", more]),
        ("0", &[more]),
        ("3", &["ab", "cd", "ef"]),
    ] {
        let mut client = Http2::connect(gateway.address());
        client.send(&Frame::headers(
            1,
            flag::END_HEADERS,
            &post("/smuggled", length),
        ));
        for (i, piece) in pieces.iter().enumerate() {
            let last = i + 1 == pieces.len();
            let flags = if last { flag::END_STREAM } else { flag::NONE };
            client.send(&Frame::data(1, flags, *piece));
        }
        match client.outcome(1) {
            // A head without content may be answered before its stream breaks the promise.
            Outcome::Answer(answer) if length == "0" => assert_eq!(answer.status, 200),
            outcome => assert!(is_refusal(&outcome), "{length} {pieces:?}: {outcome:?}"),
        }
        // Whoever comes next on the same origin connection, if it lives, gets an answer of
        // their own.
        others_are_served(&gateway);
    }
    for request in origin.requests() {
        // What was said came, before the frame that was too much.
        let promised = request.body.is_empty() || request.body == b"abc";
        assert!(request.target == "/other" || promised, "{request:#?}");
    }
    origin_got_only(&origin, &["/other", "/smuggled"]);
    let methods: Vec<_> = origin
        .requests()
        .into_iter()
        .filter(|r| r.target == "/smuggled")
        .map(|r| r.method)
        .collect();
    assert!(methods.iter().all(|m| m == "POST"), "{methods:?}");
}

fn lengths_that_are_true_pass(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    client.send_all(&[
        Frame::headers(1, flag::END_HEADERS, &post("/five", "5")),
        Frame::data(1, flag::NONE, "abc"),
        Frame::data(1, flag::NONE, "de"),
        Frame::data(1, flag::END_STREAM, ""),
        Frame::headers(3, flag::WHOLE, &post("/none", "0")),
        Frame::headers(5, flag::END_HEADERS, &post("/empty", "0")),
        Frame::data(5, flag::END_STREAM, ""),
    ]);
    for stream in [1, 3, 5] {
        assert_eq!(client.outcome(stream).answer().status, 200, "{stream}");
    }
    let requests = origin.requests();
    let five = requests.iter().find(|r| r.target == "/five").unwrap();
    assert_eq!(five.body, b"abcde");
    assert_eq!(five.fields.one("content-length"), Some("5"));
    for target in ["/none", "/empty"] {
        let empty = requests.iter().find(|r| r.target == target).unwrap();
        assert_eq!(empty.fields.one("content-length"), Some("0"), "{target}");
    }
}

fn data_behind_the_end_is_refused(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for late in [
        Frame::data(1, flag::NONE, "late"),
        Frame::data(
            1,
            flag::END_STREAM,
            "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        Frame::headers(1, flag::WHOLE, &[("x-late", "a")]),
        Frame::headers(1, flag::WHOLE, &request("GET", "/smuggled")),
    ] {
        let mut client = Http2::connect(gateway.address());
        client.send_all(&[Frame::get(1, "/never"), late.clone()]);
        let codes = [code::STREAM_CLOSED, code::PROTOCOL_ERROR];
        match client.outcome(1) {
            Outcome::Reset(code) | Outcome::Gone(Some(code)) => {
                assert!(codes.contains(&code), "{late:?}: {code}");
            }
            other => panic!("{late:?}: {other:?}"),
        }
    }
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other", "/never"]);
}

fn a_reset_body_reaches_no_origin_as_a_request(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    for (i, code) in [code::NO_ERROR, code::CANCEL, code::PROTOCOL_ERROR]
        .into_iter()
        .enumerate()
    {
        let stream = 2 * i as u32 + 1;
        client.send_all(&[
            Frame::post(stream, "/smuggled"),
            Frame::data(stream, flag::NONE, "half of it"),
        ]);
        client.send(&Frame::reset(stream, code));
    }
    assert_eq!(client.get(11, "/other").answer().status, 200);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn bodies_larger_than_the_limit_are_refused(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "body_max", "\"10KiB\"")
        .start();
    let mut client = Http2::connect(gateway.address());
    client.send(&Frame::headers(
        1,
        flag::END_HEADERS,
        &post("/smuggled", "10241"),
    ));
    assert_eq!(client.outcome(1).answer().status, 413);
    client.send_all(&[
        Frame::post(3, "/smuggled"),
        Frame::data(3, flag::NONE, vec![b'x'; 8 << 10]),
        Frame::data(3, flag::END_STREAM, vec![b'x'; 8 << 10]),
    ]);
    assert_eq!(client.outcome(3).answer().status, 413);
    assert_eq!(client.get(5, "/other").answer().status, 200);
    origin_got_only(&origin, &["/other"]);
}
