//! What lawful clients get.

use super::{origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Windows, code, flag, request, setting};
use crate::support::{Driver, Origin, Setup, on_both_drivers};

on_both_drivers!(
    requests_reach_the_origin_as_http1,
    every_byte_may_come_alone,
    bodies_and_trailers_pass_both_ways,
    early_hints_pass,
    responses_without_a_body_end_with_their_head,
    many_requests_share_a_connection,
    large_answers_pass_to_clients_that_open_their_windows_by_bits,
    padding_priorities_and_unknown_frames_change_nothing,
);

fn requests_reach_the_origin_as_http1(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    let fields = [
        ("accept", "*/*"),
        ("cookie", "a=1"),
        ("x-empty", ""),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-twice", "1"),
        ("x-twice", "2"),
    ];
    let lines = [&request("GET", "/a/b?c=d")[..], &fields].concat();
    client.send(&Frame::headers(1, flag::WHOLE, &lines));
    let answer = client.outcome(1).answer();
    assert_eq!((answer.status, answer.text()), (200, "GET /a/b?c=d".into()));
    assert!(!answer.fields.has("connection") && !answer.fields.has("transfer-encoding"));
    let request = origin.request();
    assert_eq!(request.version, "HTTP/1.1");
    assert_eq!(request.fields.one("host"), Some("gateway.test"));
    assert_eq!(request.fields.one("accept"), Some("*/*"));
    assert_eq!(request.fields.one("cookie"), Some("a=1; b=2"));
    assert_eq!(request.fields.one("x-empty"), Some(""));
    assert_eq!(request.fields.all("x-twice"), ["1", "2"]);
    assert!(!request.fields.has("x_forwarded_for") && !request.fields.has("content-length"));
    let line = gateway.log_line();
    assert_eq!(line["status"], 200, "{line}");
}

fn every_byte_may_come_alone(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::bare(gateway.address());
    let frames = [
        Frame::settings(&[]),
        Frame::post(1, "/slow"),
        Frame::data(1, flag::NONE, "ab"),
        Frame::data(1, flag::END_STREAM, "c"),
    ];
    let bytes = frames.iter().flat_map(Frame::bytes);
    let preface = crate::support::frames::PREFACE.iter().copied();
    for byte in preface.chain(bytes) {
        assert!(client.send_bytes(&[byte]));
    }
    assert_eq!(client.outcome(1).answer().text(), "POST /slow");
    assert_eq!(origin.request().body, b"abc");
}

fn bodies_and_trailers_pass_both_ways(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n",
    );
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    client.send_all(&[
        Frame::post(1, "/up"),
        Frame::data(1, flag::NONE, "one"),
        Frame::data(1, flag::NONE, "two"),
        Frame::headers(
            1,
            flag::WHOLE,
            &[("x-check", "8"), ("host", "evil"), ("content-length", "1")],
        ),
    ]);
    let answer = client.outcome(1).answer();
    assert_eq!(answer.body, b"hello");
    assert_eq!(answer.trailers.0, [("x-sum".to_owned(), "7".to_owned())]);
    let request = origin.request();
    assert_eq!(request.body, b"onetwo");
    assert_eq!(request.trailers.0.len(), 1, "{:?}", request.trailers);
    assert_eq!(request.trailers.one("x-check"), Some("8"));
}

fn early_hints_pass(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gateway = setup(driver, &origin).start();
    let answer = Http2::connect(gateway.address()).get(1, "/").answer();
    assert_eq!((answer.interim, answer.status), (vec![103], 200));
}

fn responses_without_a_body_end_with_their_head(driver: Driver) {
    let origin = Origin::replying(|request| {
        match request.target.as_str() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        }
        .into()
    });
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    for (stream, path, status) in [(1, "/204", 204), (3, "/304", 304)] {
        let answer = client.get(stream, path).answer();
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    client.send(&Frame::headers(5, flag::WHOLE, &request("HEAD", "/head")));
    let answer = client.outcome(5).answer();
    assert_eq!(answer.fields.one("content-length"), Some("5"));
    assert!(answer.body.is_empty());
}

fn many_requests_share_a_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    for round in 0..20 {
        let streams: Vec<u32> = (0..50).map(|i| round * 100 + 2 * i + 1).collect();
        let frames: Vec<Frame> = streams
            .iter()
            .map(|stream| Frame::get(*stream, &format!("/{stream}")))
            .collect();
        client.send_all(&frames);
        for stream in streams {
            assert_eq!(
                client.outcome(stream).answer().text(),
                format!("GET /{stream}")
            );
        }
    }
    assert_eq!(origin.requests().len(), 1000);
    assert!(gateway.metric("ringgate_faults_total", &[]) < 1.0);
}

/// A client gives back each DATA frame as it comes, which makes two frames for every one: none
/// of them is a flood.
fn large_answers_pass_to_clients_that_open_their_windows_by_bits(driver: Driver) {
    const SIZE: usize = 64 << 20;
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
            for _ in 0..SIZE >> 16 {
                conn.send(vec![b'x'; 1 << 16]);
            }
        }
    });
    let gateway = setup(driver, &origin).start();
    for window in [1 << 10, 65_535, 1 << 20] {
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut client = Http2::connect_with(gateway.address(), &settings);
        client.windows = Windows::GivenBack;
        assert_eq!(client.get(1, "/").answer().body.len(), SIZE, "{window}");
    }
}

fn padding_priorities_and_unknown_frames_change_nothing(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    let mut padded = vec![3];
    padded.extend([0, 0, 0, 0, 16]);
    padded.extend(Frame::post(1, "/padded").payload);
    padded.extend([0; 3]);
    let head = flag::END_HEADERS | flag::PADDED | flag::PRIORITY;
    let split = Frame::get(3, "/split");
    let (first, rest) = split.payload.split_at(7);
    client.send_all(&[
        Frame::new(0x16, 0xff, 0, "grease"),
        Frame::new(1, head, 1, padded),
        Frame::new(0x42, 0, 1, []),
        Frame::data(1, flag::PADDED, "\x02ab\0\0"),
        Frame::data(1, flag::PADDED | flag::END_STREAM, "\0c"),
        Frame::new(2, 0, 9, [0, 0, 0, 0, 16]),
        Frame::new(1, flag::END_STREAM, 3, first),
        Frame::continuation(3, flag::NONE, rest[..3].to_vec()),
        Frame::continuation(3, flag::END_HEADERS, rest[3..].to_vec()),
    ]);
    assert_eq!(client.outcome(1).answer().text(), "POST /padded");
    assert_eq!(client.outcome(3).answer().text(), "GET /split");
    // An answer that nobody waits for is no fault.
    client.send_all(&[Frame::get(5, "/late"), Frame::reset(5, code::CANCEL)]);
    assert_eq!(client.get(7, "/after").answer().text(), "GET /after");
    let requests = origin.requests();
    let padded = requests.iter().find(|request| request.target == "/padded");
    assert_eq!(padded.unwrap().body, b"abc");
    others_are_served(&gateway);
    origin_got_only(&origin, &["/padded", "/split", "/late", "/after", "/other"]);
}

/// Proof that the setup of these cases is one that takes HTTP/2 by default.
#[test]
fn http2_is_taken_without_a_word_of_configuration() {
    let origin = origin();
    let gateway = Setup::proxy(Driver::Epoll, origin.address()).start();
    assert_eq!(
        Http2::connect(gateway.address())
            .get(1, "/")
            .answer()
            .status,
        200
    );
}
