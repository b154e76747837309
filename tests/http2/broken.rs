//! Frames that break HTTP/2: where they may not be, of a length they may not have.

use super::{is_counted, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, code, flag, kind, setting};
use crate::support::{Driver, on_both_drivers};

on_both_drivers!(
    errors_of_the_connection_end_it,
    errors_of_a_stream_end_no_other,
);

const PROTOCOL: &[u32] = &[code::PROTOCOL_ERROR];
const SIZE: &[u32] = &[code::FRAME_SIZE_ERROR, code::PROTOCOL_ERROR];
const CLOSED: &[u32] = &[code::STREAM_CLOSED, code::PROTOCOL_ERROR];
const FLOW: &[u32] = &[code::FLOW_CONTROL_ERROR];
const SETTING: &[u32] = &[code::PROTOCOL_ERROR, code::FLOW_CONTROL_ERROR];

/// What is wrong, the frames, and the codes that may tell it.
type Case = (&'static str, Vec<Frame>, &'static [u32]);

/// The head of a DATA frame that is larger than anybody takes. What it announces does not come.
const LARGE: &[u8] = &[0xff, 0xff, 0xff, kind::DATA, 0, 0, 0, 0, 1];

/// Frames on a stream where they may not be.
fn of_places() -> Vec<Case> {
    let open = Frame::post(1, "/open");
    vec![
        (
            "DATA on an idle stream",
            vec![Frame::data(1, 0, "x")],
            CLOSED,
        ),
        ("DATA on stream 0", vec![Frame::data(0, 0, "x")], PROTOCOL),
        (
            "HEADERS on stream 0",
            vec![Frame::get(0, "/open")],
            PROTOCOL,
        ),
        (
            "HEADERS on an even stream",
            vec![Frame::get(2, "/open")],
            PROTOCOL,
        ),
        (
            "a stream below the last",
            vec![Frame::post(5, "/open"), Frame::get(3, "/open")],
            CLOSED,
        ),
        (
            "PUSH_PROMISE",
            vec![
                open.clone(),
                Frame::new(kind::PUSH_PROMISE, 4, 1, [0, 0, 0, 2]),
            ],
            PROTOCOL,
        ),
        (
            "SETTINGS on a stream",
            vec![Frame::new(kind::SETTINGS, 0, 1, [])],
            PROTOCOL,
        ),
        (
            "PING on a stream",
            vec![Frame::new(kind::PING, 0, 1, [0; 8])],
            PROTOCOL,
        ),
        (
            "GOAWAY on a stream",
            vec![Frame::new(kind::GOAWAY, 0, 1, [0; 8])],
            PROTOCOL,
        ),
        (
            "RST_STREAM of an idle stream",
            vec![Frame::reset(1, code::CANCEL)],
            PROTOCOL,
        ),
        (
            "RST_STREAM on stream 0",
            vec![Frame::reset(0, code::CANCEL)],
            PROTOCOL,
        ),
        (
            "WINDOW_UPDATE of an idle stream",
            vec![Frame::window_update(1, 1)],
            PROTOCOL,
        ),
    ]
}

/// Header blocks that are begun, continued or ended where they may not be.
fn of_blocks() -> Vec<Case> {
    let open = Frame::post(1, "/open");
    let begun = Frame::new(
        kind::HEADERS,
        flag::END_STREAM,
        1,
        Frame::get(1, "/open").payload,
    );
    vec![
        (
            "CONTINUATION behind nothing",
            vec![Frame::continuation(1, flag::END_HEADERS, "x")],
            PROTOCOL,
        ),
        (
            "CONTINUATION behind a whole block",
            vec![open, Frame::continuation(1, flag::END_HEADERS, "")],
            PROTOCOL,
        ),
        (
            "a PING within a block",
            vec![begun.clone(), Frame::ping([0; 8])],
            PROTOCOL,
        ),
        (
            "an unknown frame within a block",
            vec![begun.clone(), Frame::new(0x42, 0, 0, [])],
            PROTOCOL,
        ),
        (
            "CONTINUATION of another stream",
            vec![begun, Frame::continuation(3, flag::END_HEADERS, "x")],
            PROTOCOL,
        ),
    ]
}

/// Frames of a length that they may not have.
fn of_lengths() -> Vec<Case> {
    let open = Frame::post(1, "/open");
    let bare = |kind, stream, payload: &[u8]| vec![Frame::new(kind, 0, stream, payload)];
    vec![
        (
            "SETTINGS of five bytes",
            bare(kind::SETTINGS, 0, &[0; 5]),
            SIZE,
        ),
        (
            "an acknowledgement with content",
            vec![Frame::new(kind::SETTINGS, flag::ACK, 0, [0; 6])],
            SIZE,
        ),
        ("PING of seven bytes", bare(kind::PING, 0, &[0; 7]), SIZE),
        ("PING of nine bytes", bare(kind::PING, 0, &[0; 9]), SIZE),
        (
            "WINDOW_UPDATE of three bytes",
            bare(kind::WINDOW_UPDATE, 0, &[0; 3]),
            SIZE,
        ),
        ("GOAWAY of four bytes", bare(kind::GOAWAY, 0, &[0; 4]), SIZE),
        (
            "RST_STREAM of three bytes",
            vec![open.clone(), Frame::new(kind::RST_STREAM, 0, 1, [0; 3])],
            SIZE,
        ),
        (
            "more padding than DATA",
            vec![open.clone(), Frame::data(1, flag::PADDED, [5, 0])],
            PROTOCOL,
        ),
        (
            "more padding than block",
            vec![Frame::new(
                kind::HEADERS,
                flag::WHOLE | flag::PADDED,
                1,
                [9, 0x82],
            )],
            PROTOCOL,
        ),
        (
            "a block cut within its priority",
            vec![Frame::new(
                kind::HEADERS,
                flag::WHOLE | flag::PRIORITY,
                1,
                [0; 3],
            )],
            SIZE,
        ),
    ]
}

/// Values that windows and settings may not have.
fn of_values() -> Vec<Case> {
    let set = |name, value| vec![Frame::settings(&[(name, value)])];
    vec![
        (
            "no increment for the connection",
            vec![Frame::window_update(0, 0)],
            PROTOCOL,
        ),
        (
            "a connection's window beyond the last",
            vec![Frame::window_update(0, 0x7fff_ffff)],
            FLOW,
        ),
        (
            "a window of 2^31",
            set(setting::INITIAL_WINDOW_SIZE, 1 << 31),
            SETTING,
        ),
        (
            "frames of 100 bytes",
            set(setting::MAX_FRAME_SIZE, 100),
            PROTOCOL,
        ),
        (
            "frames of 2^24 bytes",
            set(setting::MAX_FRAME_SIZE, 1 << 24),
            PROTOCOL,
        ),
        ("a push of 2", set(setting::ENABLE_PUSH, 2), PROTOCOL),
    ]
}

/// Plays every case and reports all that fail, not only the first.
fn errors_of_the_connection_end_it(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut bystander = Http2::connect(gateway.address());
    let mut failures = Vec::new();
    let cases = [of_places(), of_blocks(), of_lengths(), of_values()].concat();
    for (at, (what, frames, codes)) in cases.iter().enumerate() {
        let mut client = Http2::connect(gateway.address());
        client.send_all(frames);
        match client.gone() {
            Some(code) if codes.contains(&code) => {}
            other => failures.push(format!("{what}: {other:?}")),
        }
        let stream = 2 * at as u32 + 1;
        assert_eq!(
            bystander.get(stream, "/other").answer().status,
            200,
            "after {what}"
        );
    }
    let mut client = Http2::connect(gateway.address());
    client.send(&Frame::post(1, "/open"));
    client.send_bytes(LARGE);
    let word = client.gone();
    assert_eq!(word, Some(code::FRAME_SIZE_ERROR), "a frame of 16 MiB");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    is_counted(&gateway, "http2_protocol", cases.len() + 1);
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

/// Errors that need not end the connection: whether they do or not, the origin sees no request
/// end that the client did not.
fn errors_of_a_stream_end_no_other(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let open = Frame::post(1, "/smuggled");
    let mut on_itself = vec![0, 0, 0, 1, 16];
    on_itself.extend(&open.payload);
    let on_itself = Frame::new(
        kind::HEADERS,
        flag::END_HEADERS | flag::PRIORITY,
        1,
        on_itself,
    );
    let cases: [Case; 4] = [
        (
            "no increment",
            vec![open.clone(), Frame::window_update(1, 0)],
            PROTOCOL,
        ),
        (
            "a window beyond the last",
            vec![open.clone(), Frame::window_update(1, 0x7fff_ffff)],
            FLOW,
        ),
        (
            "a priority on itself behind the head",
            vec![open, Frame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 1, 16])],
            PROTOCOL,
        ),
        ("a priority on itself", vec![on_itself], PROTOCOL),
    ];
    for (what, frames, codes) in cases {
        let mut client = Http2::connect(gateway.address());
        client.send_all(&frames);
        match client.outcome(1) {
            Outcome::Reset(code) => {
                assert!(codes.contains(&code), "{what}: {code}");
                assert_eq!(client.get(3, "/other").answer().status, 200, "after {what}");
            }
            Outcome::Gone(Some(code)) => assert!(codes.contains(&code), "{what}: {code}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}
