//! Our lines as the codec's map.

use http::HeaderMap;

use crate::http::h2::fields_of;

fn entries(map: &HeaderMap) -> Vec<(&str, &[u8])> {
    map.iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

#[test]
fn lines_become_fields_in_lower_case() {
    let map =
        fields_of(b"Accept: */*\r\nX-Request-Id: 7\r\nX-A:b \r\nX-A: \r\nX-\xe9: 1\r\nX: \xff\r\n");
    let expected: [(&str, &[u8]); 5] = [
        ("accept", b"*/*"),
        ("x-request-id", b"7"),
        ("x-a", b"b"),
        ("x-a", b""),
        ("x", b"\xff"),
    ];
    assert_eq!(entries(&map), expected);
}

#[test]
fn fields_of_the_hop_stay_out() {
    let map = fields_of(
        b"Host: a\r\nConnection: close, TE\r\nTE: trailers\r\nTE: gzip\r\nKeep-Alive: 1\r\n\
          Transfer-Encoding: chunked\r\nUpgrade: x\r\nProxy-Connection: y\r\n\r\nX: y\r\n",
    );
    assert_eq!(entries(&map), [("te", &b"trailers"[..])]);
}

#[test]
fn what_is_no_line_is_passed_over() {
    for lines in [
        &b""[..],
        b"\r\n",
        b":\r\n",
        b": x\r\n",
        b"x\r\n",
        b"a b: c\r\n",
        b"x: y",
        b"x: \x01\r\n",
    ] {
        assert!(fields_of(lines).is_empty(), "{lines:?}");
    }
}

#[test]
fn secrets_are_not_indexed() {
    let map = fields_of(b"Authorization: x\r\nCookie: y\r\nAccept: z\r\n");
    let secret = |name| map.get(name).unwrap().is_sensitive();
    assert!(secret("authorization") && secret("cookie") && !secret("accept"));
}
