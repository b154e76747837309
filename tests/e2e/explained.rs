//! `explain` and the running gateway are one code path: for every request of a table they
//! must name the same route, and send the same head.

use crate::support::{Driver, Gateway, Origin, Response, Setup, on_both_drivers, run};

on_both_drivers!(
    explain_names_the_route_that_serves,
    explain_shows_the_head_that_is_sent
);

/// Routes whose precedence is worth a question; each answers or forwards under its name.
const ROUTES: &[(&str, &str, &str)] = &[
    ("root", "/", ""),
    ("rest", "/{rest*}", ""),
    ("user", "/users/{id}", "methods = [\"GET\", \"HEAD\"]"),
    ("me", "/users/me", ""),
    ("posts", "/users/{id}/posts/{post}", ""),
    ("drafts", "/users/{id}/posts/drafts", "methods = [\"GET\"]"),
    ("v2", "/users/{id}", "match.headers = { x-version = \"2\" }"),
    (
        "preview",
        "/users/{id}",
        "match.query = { preview = \"true\" }",
    ),
    (
        "both",
        "/users/{id}",
        "match.headers = { x-version = \"2\" }\nmatch.query = { preview = \"true\" }",
    ),
    ("files", "/files/{name}.json", ""),
    (
        "exact-host",
        "/hosted/{rest*}",
        "hosts = [\"api.example.org\"]",
    ),
    (
        "wild-host",
        "/hosted/{rest*}",
        "hosts = [\"*.example.org\"]",
    ),
    ("deep", "/a/b/c/{rest*}", ""),
    (
        "urgent",
        "/users/{id}",
        "match.headers = { x-urgent = \"1\" }\npriority = 10",
    ),
    ("write", "/write-only", "methods = [\"PUT\", \"DELETE\"]"),
];

/// Method, host, target and one field.
const REQUESTS: &[(&str, &str, &str, &str)] = &[
    ("GET", "gateway.test", "/", ""),
    ("GET", "gateway.test", "/users/7", ""),
    ("HEAD", "gateway.test", "/users/7", ""),
    ("POST", "gateway.test", "/users/7", ""),
    ("GET", "gateway.test", "/users/me", ""),
    ("GET", "gateway.test", "/users/%6de", ""),
    ("GET", "gateway.test", "/users/7/", ""),
    ("GET", "gateway.test", "/users/", ""),
    ("GET", "gateway.test", "/users", ""),
    ("GET", "gateway.test", "/users/7/posts/8", ""),
    ("GET", "gateway.test", "/users/7/posts/drafts", ""),
    ("POST", "gateway.test", "/users/7/posts/drafts", ""),
    ("GET", "gateway.test", "/users/7/posts/../posts/drafts", ""),
    ("GET", "gateway.test", "/users/7", "x-version: 2"),
    ("GET", "gateway.test", "/users/7", "x-version: 1"),
    ("GET", "gateway.test", "/users/7?preview=true", ""),
    ("GET", "gateway.test", "/users/7?preview=false", ""),
    (
        "GET",
        "gateway.test",
        "/users/7?preview=true",
        "x-version: 2",
    ),
    (
        "GET",
        "gateway.test",
        "/users/7?x=preview%3Dtrue",
        "x-version: 2",
    ),
    (
        "POST",
        "gateway.test",
        "/users/7?preview=true",
        "x-urgent: 1",
    ),
    ("GET", "gateway.test", "/files/a.json", ""),
    ("GET", "gateway.test", "/files/a.xml", ""),
    ("GET", "gateway.test", "/files/.json", ""),
    ("GET", "api.example.org", "/hosted/a", ""),
    ("GET", "www.example.org", "/hosted/a", ""),
    ("GET", "API.EXAMPLE.ORG:8080", "/hosted/a", ""),
    ("GET", "example.org", "/hosted/a", ""),
    ("GET", "gateway.test", "/hosted/a", ""),
    ("GET", "gateway.test", "/a/b/c/d/e", ""),
    ("GET", "gateway.test", "/a/b/c", ""),
    ("GET", "gateway.test", "//a//b/c/", ""),
    ("DELETE", "gateway.test", "/write-only", ""),
    ("GET", "gateway.test", "/write-only", ""),
    ("OPTIONS", "gateway.test", "/write-only", ""),
    ("GET", "gateway.test", "/%zz", ""),
    ("GET", "gateway.test", "/a%2Fb", ""),
];

fn gateway(driver: Driver, origin: &Origin) -> Gateway {
    let mut setup = Setup::new(driver).upstream("app", origin.address(), "");
    for (name, path, more) in ROUTES {
        setup = setup
            .body(&format!(
                "[filter.{name}]\ntype = \"headers\"\nresponse.set = {{ x-route = \"{name}\" }}"
            ))
            .route(
                name,
                path,
                &format!("upstream = \"app\"\nfilters = [\"{name}\"]\n{more}"),
            );
    }
    setup.start()
}

fn serve(gateway: &Gateway, request: (&str, &str, &str, &str)) -> Response {
    let (method, host, target, field) = request;
    let field = if field.is_empty() {
        String::new()
    } else {
        format!("{field}\r\n")
    };
    gateway.client().exchange(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{field}\r\n"
    ))
}

fn explain(gateway: &Gateway, request: (&str, &str, &str, &str)) -> serde_json::Value {
    let (method, host, target, field) = request;
    let url = format!("http://{host}{target}");
    let file = gateway.file().to_str().unwrap();
    let mut arguments = vec!["explain", file, method, &url, "--json"];
    if !field.is_empty() {
        arguments.extend(["-H", field]);
    }
    let outcome = run(&arguments);
    serde_json::from_str(&outcome.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}{}", outcome.stdout, outcome.stderr))
}

fn bodiless(request: &crate::support::Request) -> Vec<u8> {
    let length = if request.method == "HEAD" {
        ""
    } else {
        "Content-Length: 0\r\n"
    };
    format!("HTTP/1.1 200 OK\r\n{length}\r\n").into_bytes()
}

fn explain_names_the_route_that_serves(driver: Driver) {
    let origin = Origin::replying(bodiless);
    let gateway = gateway(driver, &origin);
    let mut failures = Vec::new();
    for request in REQUESTS {
        let served = serve(&gateway, *request);
        let said = explain(&gateway, *request);
        let served = match served.field("x-route") {
            Some(route) => route.to_owned(),
            None => served.status.to_string(),
        };
        let outcome = &said["outcome"];
        let said = match outcome["route"].as_str() {
            Some(route) => route.to_owned(),
            None => outcome["status"].to_string(),
        };
        if served != said {
            failures.push(format!(
                "{request:?} is served as {served}, explained as {outcome}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn explain_shows_the_head_that_is_sent(driver: Driver) {
    let origin = Origin::replying(bodiless);
    let gateway = gateway(driver, &origin);
    for request in REQUESTS {
        let before = origin.requests().len();
        serve(&gateway, *request);
        let Some(sent) = origin.requests().get(before).cloned() else {
            continue;
        };
        let said = explain(&gateway, *request);
        let head = said["outcome"]["head"].as_str().unwrap();
        let (first, fields) = head.split_once('\n').unwrap();
        assert_eq!(first, format!("{} {} HTTP/1.1", sent.method, sent.target));
        let said: Vec<_> = fields
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let sent: Vec<_> = sent
            .fields
            .0
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        // Request ids differ by nature.
        let known = |all: Vec<(&str, &str)>| -> Vec<String> {
            all.iter()
                .filter(|(n, _)| !n.eq_ignore_ascii_case("x-request-id"))
                .map(|(n, v)| format!("{}: {v}", n.to_ascii_lowercase()))
                .collect()
        };
        assert_eq!(known(said), known(sent), "{request:?}");
    }
}
