//! The forms of a request target, and that no spelling of a path reaches what its plain
//! spelling would not.

use crate::support::{Driver, Origin, Setup, ok, on_both_drivers};

on_both_drivers!(
    takes_the_host_from_an_absolute_target,
    ignores_the_host_field_beside_an_absolute_target,
    answers_or_forwards_options_for_the_server,
    refuses_connect,
    refuses_the_asterisk_with_other_methods,
    forwards_the_query_untouched,
    resolves_dot_segments,
    no_spelling_slips_past_a_route,
    refuses_targets_of_no_known_form,
    refuses_a_fragment,
);

fn takes_the_host_from_an_absolute_target(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange("GET http://named.test/a?b=c HTTP/1.1\r\nHost: named.test\r\n\r\n");
    assert_eq!(response.text(), "x");
    let request = origin.request();
    assert_eq!(request.target, "/a?b=c");
    assert_eq!(request.fields.one("host"), Some("named.test"));
}

fn ignores_the_host_field_beside_an_absolute_target(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway
        .client()
        .exchange("GET http://right.test/a HTTP/1.1\r\nHost: wrong.test\r\n\r\n");
    // RFC 9112, section 3.2.2: the target wins; refusing the contradiction is stricter.
    if response.status == 400 {
        assert!(origin.requests().is_empty());
    } else {
        assert_eq!(origin.request().fields.one("host"), Some("right.test"));
    }
}

fn answers_or_forwards_options_for_the_server(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange("OPTIONS * HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert!(response.status < 300, "{response:?}");
    for request in origin.requests() {
        assert_eq!(request.target, "*");
    }
    assert_eq!(client.get("/a").text(), "x");
}

fn refuses_connect(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    let response = client.response("GET");
    assert!(
        [403, 405, 501, 400].contains(&response.status),
        "{response:?}"
    );
    // Bytes meant for a tunnel must not be read as requests.
    client.expect_closed();
    assert!(origin.requests().is_empty());
}

fn refuses_the_asterisk_with_other_methods(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    let response = client.exchange("GET * HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    assert_eq!(response.status, 400);
    client.expect_closed();
    assert!(origin.requests().is_empty());
}

fn forwards_the_query_untouched(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for query in ["a=1&b=%2F%41&c", "next=/../x//y", "?", "a=b+c&d=%zz", ""] {
        let before = origin.requests().len();
        assert_eq!(gateway.get(&format!("/p?{query}")).text(), "x");
        let target = origin.requests()[before].target.clone();
        assert!(
            target == format!("/p?{query}") || (query.is_empty() && target == "/p"),
            "{target}"
        );
    }
}

fn resolves_dot_segments(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for (spelling, plain) in [
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/%61/b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a%3fb", "/a%3Fb"),
    ] {
        let before = origin.requests().len();
        assert_eq!(gateway.get(spelling).status, 200, "{spelling}");
        let seen = origin.requests()[before].target.clone();
        assert!(seen.eq_ignore_ascii_case(plain), "{spelling} became {seen}");
    }
    // Above the root there is nothing; RFC 3986 would have it resolve to the root.
    let above = gateway.get("/../../b");
    assert!(above.status == 400 || origin.requests().last().unwrap().target == "/b");
}

/// Spellings that some server somewhere reads as `/admin/secret`.
const SPELLINGS: &[&str] = &[
    "/admin/secret",
    "/%61dmin/secret",
    "/%61%64%6d%69%6e/secret",
    "/./admin/secret",
    "/public/../admin/secret",
    "/public/%2e%2e/admin/secret",
    "/public/.%2e/admin/secret",
    "/public/x/../../admin/secret",
    "//admin/secret",
    "///admin//secret",
    "/public//../admin/secret",
    "/public/..//admin/secret",
    "/public/..%2fadmin/secret",
    "/public%2f..%2fadmin/secret",
    "/public/%2e%2e%2fadmin/secret",
    "/public\\..\\admin\\secret",
    "/public/..\\admin/secret",
    "/public%5c..%5cadmin/secret",
    "\\admin\\secret",
    "/admin%2fsecret",
    "/admin%5csecret",
    "/admin\\secret",
    "/admin/./secret",
    "/admin/x/../secret",
    "/public/%252e%252e/admin/secret",
    "/%2561dmin/secret",
    "/public/%c0%ae%c0%ae/admin/secret",
    "/public/..;/admin/secret",
    "/public/..%00/admin/secret",
    "/public/%00/../admin/secret",
    "/public/..%09/admin/secret",
    "http://gateway.test/admin/secret",
    "http://gateway.test/public/../admin/secret",
    "http://gateway.test//admin/secret",
];

fn no_spelling_slips_past_a_route(driver: Driver) {
    let guarded = Origin::replying(|r| ok(&format!("guarded {}", r.target)).into_bytes());
    let open = Origin::replying(|r| ok(&format!("open {}", r.target)).into_bytes());
    for policy in policies() {
        let mut setup = Setup::new(driver)
            .upstream("guarded", guarded.address(), "")
            .upstream("open", open.address(), "")
            .route("admin", "/admin/{rest*}", "upstream = \"guarded\"")
            .catch_all("open");
        for (key, value) in &policy.keys {
            setup = setup.set("path", key, value);
        }
        let gateway = setup.start();
        for spelling in SPELLINGS {
            let mut client = gateway.client();
            client.send(format!(
                "GET {spelling} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
            ));
            let response = client.response("GET");
            if response.status == 400 || response.status == 308 {
                continue;
            }
            assert_eq!(response.status, 200, "{spelling} under {:?}", policy.keys);
            let (who, target) = response.text().split_once(' ').unwrap();
            // What the open origin gets must not decode to the guarded path, were it to
            // resolve the target in the laxest way that the policy leaves it.
            let reached = laxest(target, &policy);
            let guarded = reached.starts_with("/admin/");
            assert_eq!(
                who == "guarded",
                guarded,
                "{spelling} came to {target} ({reached}) of {who} under {:?}",
                policy.keys
            );
        }
    }
}

/// A path policy, and what it leaves to the origin by the operator's word.
struct Policy {
    keys: Vec<(&'static str, &'static str)>,
    slashes_merge: bool,
    slashes_decode: bool,
}

fn policies() -> Vec<Policy> {
    let mut all = vec![Policy {
        keys: Vec::new(),
        slashes_merge: true,
        slashes_decode: true,
    }];
    for encoded in ["\"reject\"", "\"keep\"", "\"decode\""] {
        for backslash in ["\"reject\"", "\"slash\""] {
            for merge in ["true", "false"] {
                for dots in ["\"resolve\"", "\"reject\""] {
                    all.push(Policy {
                        keys: vec![
                            ("encoded_slash", encoded),
                            ("backslash", backslash),
                            ("merge_slashes", merge),
                            ("dot_segments", dots),
                        ],
                        slashes_merge: merge == "true",
                        slashes_decode: encoded != "\"keep\"",
                    });
                }
            }
        }
    }
    all
}

/// Resolves a path as a careless server would: decodes once, takes backslashes for
/// slashes, merges slashes, then resolves dot segments.
fn laxest(target: &str, policy: &Policy) -> String {
    let target = match policy.slashes_decode {
        true => target.to_owned(),
        false => target.replace("%2F", "%252F").replace("%2f", "%252F"),
    };
    let text = decoded(&target).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/').skip(1) {
        match segment {
            "" if policy.slashes_merge => {}
            "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3);
        let hex = hex.and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn refuses_targets_of_no_known_form(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    for target in [
        "a",
        "a/b",
        "?q",
        "ftp://gateway.test/a",
        "http:///a",
        "http://",
        "//user@",
        "http://user:pass@gateway.test/",
        "gateway.test:80",
        "/a\u{7f}",
        "/a\"<>",
        "/%",
        "/%g1",
        "/%4",
    ] {
        let mut client = gateway.client();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
        ));
        let response = client.response("GET");
        assert!(
            response.status == 400 || (response.status == 200 && target.starts_with('/')),
            "{target}: {response:?}"
        );
    }
    for request in origin.strict() {
        assert!(request.target.starts_with('/'), "{request:?}");
    }
}

fn refuses_a_fragment(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway.get("/a#b");
    assert_eq!(response.status, 400);
    assert!(origin.requests().is_empty());
}
