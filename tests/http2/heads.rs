//! Heads that are not what HTTP/2 allows, or that two servers could read in two ways.

use super::{is_counted, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, Outcome, code, flag, request};
use crate::support::hpack::Line;
use crate::support::{Driver, on_both_drivers};

on_both_drivers!(
    malformed_heads_are_refused_and_go_nowhere,
    malformed_trailers_end_the_stream,
    pseudo_headers_of_trailers_go_nowhere,
    heads_beyond_the_limits_are_refused,
    blocks_that_cannot_be_read_end_the_connection,
    odd_heads_pass_unchanged,
);

type List = Vec<(Vec<u8>, Vec<u8>)>;

fn list(lines: &[(&str, &str)]) -> List {
    lines
        .iter()
        .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect()
}

/// A proper request with a line more.
fn with(name: &str, value: &str) -> List {
    list(&[&request("GET", "/smuggled")[..], &[(name, value)]].concat())
}

/// A proper request whose pseudo-header `name` has this value instead.
fn swapped(name: &str, value: &str) -> List {
    let lines = request("GET", "/smuggled");
    list(&lines.map(|(n, v)| if n == name { (n, value) } else { (n, v) }))
}

/// A proper request without the pseudo-header `name`.
fn without(name: &str) -> List {
    let lines = request("GET", "/smuggled");
    let rest: Vec<_> = lines.into_iter().filter(|(n, _)| *n != name).collect();
    list(&rest)
}

/// Whether the request was refused, by an answer, a reset or the end of the connection.
pub(super) fn is_refusal(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answer(answer) => {
            (400..=431).contains(&answer.status) || matches!(answer.status, 501 | 505)
        }
        Outcome::Reset(code) => *code != code::NO_ERROR,
        Outcome::Gone(code) => *code != Some(code::NO_ERROR),
    }
}

/// Lines that a proper request must not have besides.
const FIELDS: &[(&str, &str)] = &[
    ("te", "gzip"),
    ("te", "trailers, chunked"),
    ("X-Upper", "a"),
    ("Host", "evil.test"),
    ("", "a"),
    ("x y", "a"),
    ("x:y", "a"),
    ("x\r\ny", "a"),
    ("x\0y", "a"),
    ("x\"y", "a"),
    ("x\u{e9}", "a"),
    ("x-a", "b\r\nsmuggled: yes"),
    ("x-a", "b\nsmuggled: yes"),
    ("x-a", "b\rc"),
    ("x-a", "b\0c"),
    ("x-a", "b\x7fc"),
    ("x-a", " b"),
    ("x-a", "b\t"),
    ("x-a", "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("host", "evil.test"),
    ("host", "gateway.test:80"),
    ("host", "gateway.test, evil.test"),
    ("host", "user@gateway.test"),
    ("host", ""),
    ("content-length", "5"),
    ("content-length", "+0"),
    ("content-length", "-1"),
    ("content-length", "0x0"),
    ("content-length", "0, 0"),
    ("content-length", "18446744073709551616"),
    (":path", "/two"),
    (":method", "POST"),
    (":unknown", "a"),
    (":status", "200"),
    (":protocol", "websocket"),
    ("expect", "the-unexpected"),
];

/// Values that a pseudo-header must not have.
const PSEUDO_HEADERS: &[(&str, &str)] = &[
    (":path", ""),
    (":path", "smuggled"),
    (":path", "*"),
    (":path", "?smuggled"),
    (":path", "http://gateway.test/smuggled"),
    (":path", "/smuggled HTTP/1.1\r\nx: y"),
    (":path", "/smuggled x"),
    (":path", "/smuggled\0"),
    (":path", "/smuggled\u{e9}"),
    (":method", ""),
    (":method", "GET /smuggled HTTP/1.1\r\nx: y\r\n\r\nGET"),
    (":method", "G T"),
    (":method", "CONNECT"),
    (":scheme", "ftp"),
    (":scheme", ""),
    (":scheme", "http://evil.test/?"),
    (":authority", ""),
    (":authority", "user@gateway.test"),
    (":authority", "gateway.test/evil"),
    (":authority", "gateway.test?evil"),
    (":authority", "gateway.test#evil"),
    (":authority", "gateway.test\r\nx: y"),
    (":authority", "gateway.test:99999"),
    (":authority", "a, b"),
];

fn malformed() -> Vec<List> {
    let mut all = Vec::new();
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ] {
        for value in ["close", "chunked", "x-a", ""] {
            all.push(with(name, value));
        }
    }
    for (name, value) in FIELDS {
        all.push(with(name, value));
    }
    for (name, value) in PSEUDO_HEADERS {
        all.push(swapped(name, value));
    }
    for name in [":path", ":method", ":scheme", ":authority"] {
        all.push(without(name));
        let mut doubled = list(&request("GET", "/smuggled"));
        let line = doubled.iter().find(|(n, _)| n == name.as_bytes()).unwrap();
        doubled.insert(1, line.clone());
        all.push(doubled);
    }
    // A pseudo-header behind a field.
    let mut late = list(&request("GET", "/smuggled"));
    late.insert(3, (b"x-a".to_vec(), b"b".to_vec()));
    all.push(late);
    let two_hosts = [("host", "gateway.test"), ("host", "gateway.test")];
    all.push(list(
        &[&request("GET", "/smuggled")[..], &two_hosts].concat(),
    ));
    let two_lengths = [("content-length", "0"), ("content-length", "0")];
    all.push(list(
        &[&request("GET", "/smuggled")[..], &two_lengths].concat(),
    ));
    all
}

fn text(list: &List) -> String {
    let line = |(n, v): &(Vec<u8>, Vec<u8>)| {
        format!(
            "{:?}: {:?}",
            String::from_utf8_lossy(n),
            String::from_utf8_lossy(v)
        )
    };
    list.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn borrowed(list: &List) -> impl Iterator<Item = Line<'_>> {
    list.iter().map(|(n, v)| (&n[..], &v[..]))
}

/// Plays every list and reports all that are taken, not only the first.
fn malformed_heads_are_refused_and_go_nowhere(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let (mut taken, mut answered, mut ended) = (Vec::new(), 0, 0);
    let all = malformed();
    assert!(all.len() > 80);
    for list in &all {
        let mut client = Http2::connect(gateway.address());
        client.send(&Frame::raw_headers(1, flag::WHOLE, borrowed(list)));
        let outcome = client.outcome(1);
        if !is_refusal(&outcome) {
            taken.push(format!("{}: {outcome:?}", text(list)));
        }
        match outcome {
            Outcome::Answer(_) => answered += 1,
            Outcome::Reset(_) => {}
            Outcome::Gone(_) => {
                ended += 1;
                continue;
            }
        }
        // A malformed request is its stream's error; the connection goes on.
        let next = client.get(3, "/other").answer();
        assert_eq!(next.text(), "GET /other", "after {}", text(list));
    }
    assert!(
        taken.is_empty(),
        "{} taken:\n{}",
        taken.len(),
        taken.join("\n")
    );
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
    is_counted(&gateway, "http2_protocol", ended);
    let by_clients = gateway.metric("ringgate_faults_total", &[("by", "client")]);
    assert!(
        by_clients >= f64::from(answered),
        "{by_clients} of {answered} counted"
    );
}

fn malformed_trailers_end_the_stream(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for lines in [
        &[("connection", "close")][..],
        &[("transfer-encoding", "chunked")],
        &[("X-Upper", "a")],
        &[("x-a", "b\r\nc: d")],
    ] {
        let mut client = Http2::connect(gateway.address());
        client.send_all(&[
            Frame::post(1, "/smuggled"),
            Frame::data(1, flag::NONE, "body"),
            Frame::headers(1, flag::WHOLE, lines),
        ]);
        let outcome = client.outcome(1);
        assert!(is_refusal(&outcome), "{lines:?}: {outcome:?}");
    }
    // Trailers that do not end the stream are no trailers.
    let mut client = Http2::connect(gateway.address());
    client.send_all(&[
        Frame::post(1, "/smuggled"),
        Frame::data(1, flag::NONE, "body"),
        Frame::headers(1, flag::END_HEADERS, &[("x-a", "b")]),
        Frame::data(1, flag::END_STREAM, "more"),
    ]);
    let outcome = client.outcome(1);
    assert!(is_refusal(&outcome), "{outcome:?}");
    others_are_served(&gateway);
    // The origin saw them begin, and none of them end.
    origin_got_only(&origin, &["/other"]);
}

/// The codec drops them unseen where RFC 9113, 8.1, calls the message malformed.
fn pseudo_headers_of_trailers_go_nowhere(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for lines in [
        &[(":path", "/smuggled")][..],
        &[(":method", "DELETE"), ("x-a", "b")],
        &[(":authority", "evil.test"), (":scheme", "https")],
    ] {
        let mut client = Http2::connect(gateway.address());
        client.send_all(&[
            Frame::post(1, "/trailed"),
            Frame::data(1, flag::NONE, "body"),
            Frame::headers(1, flag::WHOLE, lines),
        ]);
        client.outcome(1);
    }
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other", "/trailed"]);
    for request in origin.requests() {
        assert!(
            request.trailers.0.iter().all(|(name, _)| name == "x-a"),
            "{request:#?}"
        );
        assert_eq!(
            request.fields.one("host").map(|host| host == "evil.test"),
            Some(false)
        );
        assert_ne!(request.method, "DELETE");
    }
}

fn heads_beyond_the_limits_are_refused(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "head_max", "\"8KiB\"")
        .set("limits", "uri_max", "\"1KiB\"")
        .set("limits", "headers_max", "20")
        .start();
    let long = "y".repeat(9 << 10);
    let path = format!("/{}", "p".repeat(1024));
    let many: Vec<(String, &str)> = (0..20).map(|i| (format!("x-{i}"), "y")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (&n[..], *v)).collect();
    for (lines, status) in [
        (
            [&request("GET", "/smuggled")[..], &[("x-long", &long)]].concat(),
            431,
        ),
        ([&request("GET", "/smuggled")[..], &many].concat(), 431),
        (request("GET", &path).to_vec(), 414),
    ] {
        let mut client = Http2::connect(gateway.address());
        client.send(&Frame::headers(1, flag::WHOLE, &lines));
        assert_eq!(client.outcome(1).answer().status, status);
        assert_eq!(client.get(3, "/other").answer().status, 200);
    }
    // Far beyond them, in as many frames as it takes.
    let mut client = Http2::connect(gateway.address());
    let lines: Vec<(&str, &str)> = vec![("x-long", &long[..4000]); 30];
    let lines = [&request("GET", "/smuggled")[..], &lines].concat();
    let block = Frame::headers(1, flag::WHOLE, &lines).payload;
    let (first, rest) = block.split_at(16_384);
    client.send(&Frame::new(1, flag::END_STREAM, 1, first));
    let count = rest.chunks(16_384).count();
    for (i, piece) in rest.chunks(16_384).enumerate() {
        let flags = if i + 1 == count {
            flag::END_HEADERS
        } else {
            flag::NONE
        };
        client.send(&Frame::continuation(1, flags, piece));
    }
    let outcome = client.outcome(1);
    assert!(is_refusal(&outcome), "{outcome:?}");
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn blocks_that_cannot_be_read_end_the_connection(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let blocks: [&[u8]; 6] = [
        b"\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\xbe",
        b"\x00\x05x",
        b"\x00\x01x\x81\x00",
        b"\x3f\xe1\xff\xff\x03",
    ];
    for block in blocks {
        let mut client = Http2::connect(gateway.address());
        client.send(&Frame::new(1, flag::WHOLE, 1, block));
        let word = client.gone();
        assert!(
            matches!(word, Some(code::COMPRESSION_ERROR | code::PROTOCOL_ERROR)),
            "{block:?}: {word:?}"
        );
    }
    is_counted(&gateway, "http2_protocol", blocks.len());
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn odd_heads_pass_unchanged(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = Http2::connect(gateway.address());
    let mut lines = list(&request("PROPFIND", "/odd/%2e?a=b?c"));
    lines.push((b"x-obs".to_vec(), b"\xff\xfe".to_vec()));
    lines.push((b"!#$%&'*+-.^_`|~0".to_vec(), b"token".to_vec()));
    lines.push((b"x-tab".to_vec(), b"a\tb".to_vec()));
    client.send(&Frame::raw_headers(1, flag::WHOLE, borrowed(&lines)));
    assert_eq!(client.outcome(1).answer().status, 200);
    let seen = origin.request();
    assert_eq!(seen.method, "PROPFIND");
    assert!(seen.fields.has("x-obs"));
    assert_eq!(seen.fields.one("!#$%&'*+-.^_`|~0"), Some("token"));
    assert_eq!(seen.fields.one("x-tab"), Some("a\tb"));
    // Without :authority, `host` is it (RFC 9113, 8.3.1).
    let mut lines = without(":authority");
    lines.push((b"host".to_vec(), b"gateway.test".to_vec()));
    client.send(&Frame::raw_headers(3, flag::WHOLE, borrowed(&lines)));
    assert_eq!(client.outcome(3).answer().status, 200);
    let seen = origin.requests();
    assert_eq!(seen[1].fields.one("host"), Some("gateway.test"));
}
