//! What strangers send, and how a lenient origin reads it.

use crate::support::Request;

/// Whether a lenient origin would take the request for one of what is protected.
pub fn is_protected(request: &Request) -> bool {
    let path = read_leniently(&request.target);
    let host = request.fields.all("host").concat().to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let writes = ["POST", "PUT", "DELETE"].contains(&&*request.method);
    path == "/admin"
        || path.starts_with("/admin/")
        || host.trim_end_matches('.') == "secret.test"
        || writes && path.starts_with("/items/")
}

/// The path as a lenient origin may read it: decoded, with slashes of either kind, without
/// empty and dot segments.
fn read_leniently(target: &str) -> String {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind
            .get(..2)
            .and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

pub const PATHS: [&str; 36] = [
    "/admin",
    "/admin/",
    "/admin/secret",
    "/admin?x=1",
    "/admin/secret?/../../open",
    "//admin/secret",
    "///admin///secret",
    "/./admin/secret",
    "/admin/./secret",
    "/admin/../admin/secret",
    "/open/../admin/secret",
    "/open/x/../../admin/secret",
    "/open/%2e%2e/admin/secret",
    "/open/.%2E/admin/secret",
    "/open/..%2fadmin/secret",
    "/open%2f..%2fadmin%2fsecret",
    "/open/..%5cadmin/secret",
    "/open\\..\\admin\\secret",
    "\\admin\\secret",
    "/%61dmin/secret",
    "/%61%64%6d%69%6e/secret",
    "/admi%6E/secret",
    "/admin%2fsecret",
    "/admin%2Fsecret",
    "/admin%5csecret",
    "/admin%00/secret",
    "/admin/%00",
    "/admin%20/secret",
    "/admin#/open",
    "/open#/../admin/secret",
    "/..",
    "/../admin/secret",
    "/.//admin/secret",
    "/open/..//admin/secret",
    "/open/.../admin/secret",
    "/open/%c0%ae%c0%ae/admin/secret",
];

/// A line of a head.
pub type Line<'a> = (&'a str, &'a str);

/// Heads that no client would send, with the field that would open, in its usual and its lower
/// case, and its value.
pub fn odd_heads<'a>(name: &'a str, lower: &'a str, value: &'a str) -> Vec<Vec<Line<'a>>> {
    let secret = path("/admin/secret");
    vec![
        vec![METHOD, SCHEME, AUTHORITY, path("/open"), secret],
        vec![METHOD, SCHEME, AUTHORITY, secret, path("/open")],
        vec![METHOD, SCHEME, (":authority", "secret.test"), path("/")],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            path("/"),
            ("host", "secret.test"),
        ],
        vec![METHOD, SCHEME, path("/"), ("host", "secret.test")],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            secret,
            (":protocol", "websocket"),
        ],
        vec![("x-early", "1"), METHOD, SCHEME, AUTHORITY, secret],
        vec![METHOD, SCHEME, AUTHORITY, secret, (name, value)],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            secret,
            (lower, "wrong"),
            (lower, value),
        ],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            secret,
            ("connection", lower),
            (lower, "wrong"),
        ],
        vec![(":method", "CONNECT"), AUTHORITY],
        vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            SCHEME,
            AUTHORITY,
            secret,
        ],
        vec![
            (":method", "GET /admin/secret HTTP/1.1"),
            SCHEME,
            AUTHORITY,
            path("/open"),
        ],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            path("/open HTTP/1.1\r\nHost: x\r\n\r\nGET /admin/secret"),
        ],
        vec![
            METHOD,
            SCHEME,
            AUTHORITY,
            path("/open"),
            ("x-a", "b\r\n\r\nGET /admin/secret HTTP/1.1\r\n"),
        ],
    ]
}

pub fn path(path: &'static str) -> Line<'static> {
    (":path", path)
}

pub const METHOD: (&str, &str) = (":method", "GET");
pub const SCHEME: (&str, &str) = (":scheme", "http");
pub const AUTHORITY: (&str, &str) = (":authority", "gateway.test");
