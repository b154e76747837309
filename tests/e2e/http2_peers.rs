//! Every direction of translation between HTTP/1.1 and HTTP/2 with peers that nobody here wrote:
//! curl in all its ways of speaking, against a scripted origin of each version.

mod endings;
mod load;
mod origins;

use std::fs;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::curl::{curl, curl_text, try_curl};
use crate::support::message::Request;
use crate::support::python::Server;
use crate::support::{Conn, Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    translates_plain_requests,
    translates_uploads,
    translates_downloads,
    translates_answers_without_a_body,
    translates_trailers_of_answers,
    translates_early_hints,
    grants_100_continue,
    sends_nothing_of_http_1_to_an_http_2_origin,
    sends_a_host_to_an_http_1_origin,
    answers_an_upgrade_to_h2c_in_http_1,
    refuses_prior_knowledge_where_it_is_off,
    picks_what_a_tls_origin_speaks,
    fails_on_an_origin_of_another_protocol,
);

/// How curl speaks, and the version that the client then has.
const CLIENTS: [(&str, &[&str], &str); 4] = [
    ("http", &["--http1.1"], "1.1"),
    ("http", &["--http2-prior-knowledge"], "2"),
    ("https", &["--http1.1"], "1.1"),
    ("https", &["--http2"], "2"),
];

/// A gateway with a plain and a TLS listener, an HTTP/1.1 origin below `/one` and an HTTP/2
/// origin below `/two`.
struct Edge {
    gateway: Gateway,
    authority: Authority,
    one: Origin,
    two: Server,
}

impl Edge {
    fn start(driver: Driver) -> Self {
        let authority = Authority::new();
        let pair = authority.server(&["gateway.test"]);
        let (one, two) = (Origin::start(script), Server::start("h2_origin.py", &[]));
        let gateway = Setup::new(driver)
            .body(&format!(
                "[[listener]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\ncertificate = [{}]",
                pair.toml()
            ))
            .upstream("one", one.address(), "")
            .upstream("two", two.address(), "protocol = \"h2\"")
            .route(
                "one",
                "/one/{rest*}",
                "rewrite = \"/{rest}\"\nupstream = \"one\"",
            )
            .route(
                "two",
                "/two/{rest*}",
                "rewrite = \"/{rest}\"\nupstream = \"two\"",
            )
            .start();
        Self {
            gateway,
            authority,
            one,
            two,
        }
    }

    /// curl's arguments for `path` in one of the ways of [`CLIENTS`].
    fn arguments(&self, scheme: &str, how: &[&str], path: &str, more: &[&str]) -> Vec<String> {
        let listener = if scheme == "http" { "public" } else { "secure" };
        let port = self.gateway.listener(listener).rsplit(':').next().unwrap();
        let mut all: Vec<String> = how.iter().chain(more).map(|s| (*s).to_owned()).collect();
        all.extend([
            "--cacert".to_owned(),
            self.authority.trust(),
            "--resolve".to_owned(),
            format!("gateway.test:{port}:127.0.0.1"),
            format!("{scheme}://gateway.test:{port}{path}"),
        ]);
        all
    }

    #[track_caller]
    fn curl(&self, scheme: &str, how: &[&str], path: &str, more: &[&str]) -> Vec<u8> {
        let arguments = self.arguments(scheme, how, path, more);
        curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Calls `check` for each client and each origin: `fetch(path, curl's arguments)`.
    fn each_direction(&self, check: impl Fn(&str, &dyn Fn(&str, &[&str]) -> Vec<u8>)) {
        for (scheme, how, version) in CLIENTS {
            for origin in ["one", "two"] {
                let direction = format!("{scheme} {version} to {origin}");
                check(&direction, &|path, more| {
                    self.curl(scheme, how, &format!("/{origin}{path}"), more)
                });
            }
        }
    }
}

/// The HTTP/1.1 origin: the same paths as in tests/scripts/h2_origin.py.
fn script(conn: &mut Conn) {
    while let Some(head) = conn.head() {
        if head.fields.has("expect") {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Some(request) = conn.body(head) else {
            return;
        };
        if !answer(conn, &request) {
            return;
        }
    }
}

fn answer(conn: &mut Conn, request: &Request) -> bool {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let count = query.strip_prefix("n=").map(|n| n.parse().unwrap());
    match path {
        "/echo" => conn.send(sized(&request.body)),
        "/sized" if request.method == "HEAD" => {
            let length = count.unwrap();
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ))
        }
        "/sized" => conn.send(sized(&pattern(count.unwrap()))),
        "/unsized" => {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for piece in pattern(count.unwrap()).chunks(10_000) {
                conn.send(format!("{:x}\r\n", piece.len()));
                conn.send(piece);
                conn.send("\r\n");
            }
            conn.send("0\r\n\r\n")
        }
        "/hints" => conn.send(
            "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhinted",
        ),
        "/trailers" => conn.send(
            "HTTP/1.1 200 OK\r\nTrailer: x-digest\r\nTransfer-Encoding: chunked\r\n\r\n\
             d\r\nwith trailers\r\n0\r\nX-Digest: 0c65\r\n\r\n",
        ),
        "/status/204" => conn.send("HTTP/1.1 204 No Content\r\nETag: \"e\"\r\n\r\n"),
        "/status/304" => conn.send("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n"),
        _ => conn.send(sized(b"hello over one")),
    }
}

fn sized(body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    answer.reserve(body.len());
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// Bytes that tell where they belong.
fn pattern(size: usize) -> Vec<u8> {
    let words = 0..u32::try_from(size / 4 + 1).unwrap();
    let mut bytes: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
    bytes.truncate(size);
    bytes
}

fn lowered(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

fn translates_plain_requests(driver: Driver) {
    let edge = Edge::start(driver);
    for (scheme, how, version) in CLIENTS {
        for origin in ["one", "two"] {
            let path = format!("/{origin}/hello");
            let said = edge.curl(scheme, how, &path, &["-w", " in %{http_version}"]);
            let expected = format!("hello over {origin} in {version}");
            assert_eq!(String::from_utf8(said).unwrap(), expected, "{scheme}");
        }
    }
    let protocols: Vec<Value> = edge.gateway.log(8);
    let count = |protocol: &str| {
        let with = protocols.iter().filter(|line| line["protocol"] == protocol);
        with.count()
    };
    assert_eq!(
        (count("HTTP/1.1"), count("HTTP/2.0") + count("HTTP/2")),
        (4, 4)
    );
}

fn translates_uploads(driver: Driver) {
    let edge = Edge::start(driver);
    let file = edge.gateway.setup().dir().join("upload");
    let sent = pattern(3_000_001);
    fs::write(&file, &sent).unwrap();
    let data = format!("@{}", file.display());
    edge.each_direction(|direction, fetch| {
        let sized = fetch("/echo", &["--data-binary", &data]);
        assert!(sized == sent, "{direction} changed a sized body");
        let file = file.to_str().unwrap();
        let chunked = ["-T", file, "-H", "Transfer-Encoding: chunked"];
        let unsized_ = fetch(
            "/echo",
            if direction.contains("1.1") {
                &chunked
            } else {
                &chunked[..2]
            },
        );
        assert!(unsized_ == sent, "{direction} changed an unsized body");
        assert!(fetch("/echo", &["-d", ""]).is_empty(), "{direction}");
    });
}

fn translates_downloads(driver: Driver) {
    let edge = Edge::start(driver);
    let expected = pattern(3_000_001);
    edge.each_direction(|direction, fetch| {
        for path in ["/sized", "/unsized"] {
            let got = fetch(&format!("{path}?n=3000001"), &[]);
            assert!(got == expected, "{direction}: {path} came changed");
        }
    });
}

fn translates_answers_without_a_body(driver: Driver) {
    let edge = Edge::start(driver);
    edge.each_direction(|direction, fetch| {
        let head = lowered(&fetch("/sized?n=12", &["-I"]));
        assert!(
            head.contains("content-length: 12\r\n"),
            "{direction}: {head}"
        );
        for status in ["204", "304"] {
            let head = lowered(&fetch(&format!("/status/{status}"), &["-D", "-"]));
            let line = head.lines().next().unwrap();
            assert!(line.contains(status), "{direction}: {head}");
            assert!(head.contains("etag: \"e\"\r\n"), "{direction}: {head}");
            assert!(head.ends_with("\r\n\r\n"), "{direction}: a body: {head}");
        }
    });
}

fn translates_trailers_of_answers(driver: Driver) {
    let edge = Edge::start(driver);
    edge.each_direction(|direction, fetch| {
        let said = lowered(&fetch("/trailers", &["-D", "-", "-H", "TE: trailers"]));
        assert!(said.contains("x-digest: 0c65"), "{direction}: {said}");
        assert!(said.contains("with trailers"), "{direction}: {said}");
    });
}

fn translates_early_hints(driver: Driver) {
    let edge = Edge::start(driver);
    edge.each_direction(|direction, fetch| {
        let said = lowered(&fetch("/hints", &["-D", "-"]));
        let hint = said.find("link: </style.css>; rel=preload; as=style\r\n");
        let (early, last) = (said.find(" 103"), said.find(" 200"));
        assert!(
            early.is_some() && early < hint && hint < last,
            "{direction}: {said}"
        );
        assert!(said.ends_with("hinted"), "{direction}: {said}");
    });
}

fn grants_100_continue(driver: Driver) {
    let edge = Edge::start(driver);
    let file = edge.gateway.setup().dir().join("upload");
    fs::write(&file, pattern(50_000)).unwrap();
    let data = format!("@{}", file.display());
    // Were it not granted, curl would wait for longer than it may.
    let more = [
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "60",
        "--data-binary",
        &data,
    ];
    edge.each_direction(|direction, fetch| {
        assert!(fetch("/echo", &more) == pattern(50_000), "{direction}");
    });
}

/// The head of the one request that came to the HTTP/2 origin.
#[track_caller]
fn head_at(two: &Server) -> Vec<(String, String)> {
    let said = two.process.json_with("request");
    serde_json::from_value(said["request"].clone()).unwrap()
}

fn sends_nothing_of_http_1_to_an_http_2_origin(driver: Driver) {
    let edge = Edge::start(driver);
    let more = [
        "-H",
        "Connection: keep-alive, x-hop",
        "-H",
        "X-Hop: secret",
        "-H",
        "Keep-Alive: timeout=5",
        "-H",
        "TE: trailers",
        "-H",
        "X-Kept: yes",
    ];
    edge.curl("http", &["--http1.1"], "/two/hello?a=b", &more);
    let head = head_at(&edge.two);
    let pseudo: Vec<&str> = head.iter().map(|(n, _)| n.as_str()).take(4).collect();
    for name in [":method", ":scheme", ":path", ":authority"] {
        assert!(pseudo.contains(&name), "first of all: {head:?}");
    }
    let value = |name: &str| {
        head.iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(value(":path"), Some("/hello?a=b"));
    assert!(
        value(":authority").unwrap().starts_with("gateway.test:"),
        "{head:?}"
    );
    assert_eq!(value("x-kept"), Some("yes"));
    for name in [
        "host",
        "connection",
        "keep-alive",
        "x-hop",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
    ] {
        assert_eq!(value(name), None, "{head:?}");
    }
    assert!(
        head.iter().all(|(n, _)| *n == n.to_ascii_lowercase()),
        "{head:?}"
    );
}

fn sends_a_host_to_an_http_1_origin(driver: Driver) {
    let edge = Edge::start(driver);
    edge.curl(
        "https",
        &["--http2"],
        "/one/hello?a=b",
        &["-H", "X-Kept: yes"],
    );
    let request = edge.one.request();
    assert_eq!(request.target, "/hello?a=b");
    assert!(
        request
            .fields
            .one("host")
            .unwrap()
            .starts_with("gateway.test:")
    );
    assert_eq!(request.fields.one("x-kept"), Some("yes"));
    assert_eq!(request.fields.one("x-forwarded-proto"), Some("https"));
    assert!(
        request
            .fields
            .0
            .iter()
            .all(|(name, _)| !name.starts_with(':'))
    );
}

fn answers_an_upgrade_to_h2c_in_http_1(driver: Driver) {
    let edge = Edge::start(driver);
    let said = edge.curl(
        "http",
        &["--http2"],
        "/one/hello",
        &["-w", " %{http_version}"],
    );
    assert_eq!(String::from_utf8(said).unwrap(), "hello over one 1.1");
}

fn refuses_prior_knowledge_where_it_is_off(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "h2c", "false")
        .start();
    let url = format!("http://{}/", gateway.address());
    assert!(!try_curl(&["--http2-prior-knowledge", &url]).success);
    assert_eq!(curl_text(&["--http1.1", &url]), "x");
    assert_eq!(origin.requests().len(), 1);
}

fn picks_what_a_tls_origin_speaks(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let two = Server::start(
        "h2_origin.py",
        &["--cert", pair.cert(), "--key", pair.key()],
    );
    let tls = format!(
        "[upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"\n",
        authority.ca()
    );
    let gateway = Setup::new(driver)
        .upstream("app", two.address(), &tls)
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/hello").text(), "hello over two");
    // A second request finds the first one's connection.
    assert_eq!(gateway.get("/hello").text(), "hello over two");
    let connects = gateway.metric("ringgate_upstream_connects_total", &[]);
    assert_eq!(connects, 1.0);
    let scheme = head_at(&two).into_iter().find(|(n, _)| n == ":scheme");
    assert_eq!(scheme.unwrap().1, "https");
}

fn fails_on_an_origin_of_another_protocol(driver: Driver) {
    // As servers of HTTP/1.1 answer HTTP/2's preface (RFC 9113, section 3.4).
    let one = Origin::start(|conn| {
        if conn.take(16).is_some() {
            conn.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        conn.stall();
    });
    let gateway = Setup::new(driver)
        .upstream("app", one.address(), "protocol = \"h2\"")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/").status, 502);
    assert_eq!(gateway.log_line()["code"], "origin_protocol");
}
