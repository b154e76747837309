//! Which route takes a request, and what routes answer by themselves.

use std::collections::HashMap;

use crate::support::{Client, Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    prefers_static_over_captures_over_the_rest,
    prefers_exact_hosts_over_wildcards_over_any,
    compares_hosts_without_case_and_port,
    answers_404_where_no_route_is,
    answers_405_with_the_methods_allowed,
    answers_options_with_the_methods_allowed,
    matches_fields,
    matches_the_query,
    falls_through_to_the_less_special_route,
    prefers_the_higher_priority,
    splits_by_weight,
    responds_with_a_constant,
    redirects_with_captures,
    rewrites_the_path_and_keeps_the_query,
    keeps_trailing_slashes_apart_by_default,
    ignores_trailing_slashes_when_told,
    redirects_trailing_slashes_when_told,
    answers_head_on_a_get_route,
    no_redirect_leaves_the_site,
);

/// A route that answers its own name.
fn names(setup: Setup, name: &str, path: &str, more: &str) -> Setup {
    setup.route(
        name,
        path,
        &format!("respond = {{ status = 200, body = \"{name}\" }}\n{more}"),
    )
}

fn at(gateway: &Gateway, host: &str, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let response = gateway.client().exchange(head);
    if response.status == 200 {
        response.text().to_owned()
    } else {
        response.status.to_string()
    }
}

fn ask(gateway: &Gateway, head: &str) -> crate::support::Response {
    gateway.client().exchange(head)
}

fn prefers_static_over_captures_over_the_rest(driver: Driver) {
    let mut setup = Setup::new(driver);
    for (name, path) in [
        ("rest", "/u/{rest*}"),
        ("one", "/u/{id}"),
        ("me", "/u/me"),
        ("posts", "/u/{id}/posts"),
        ("my-posts", "/u/me/posts"),
        ("root", "/"),
    ] {
        setup = names(setup, name, path, "");
    }
    let gateway = setup.start();
    for (path, name) in [
        ("/u/me", "me"),
        ("/u/you", "one"),
        ("/u/you/posts", "posts"),
        ("/u/me/posts", "my-posts"),
        ("/u/me/likes", "rest"),
        ("/u/a/b/c", "rest"),
        ("/", "root"),
        ("/v", "404"),
    ] {
        assert_eq!(at(&gateway, "gateway.test", path), name, "{path}");
    }
}

fn prefers_exact_hosts_over_wildcards_over_any(driver: Driver) {
    let mut setup = Setup::new(driver);
    setup = names(setup, "any", "/{r*}", "");
    setup = names(setup, "wild", "/{r*}", "hosts = [\"*.example.org\"]");
    setup = names(setup, "deep", "/{r*}", "hosts = [\"*.deep.example.org\"]");
    setup = names(setup, "exact", "/{r*}", "hosts = [\"api.example.org\"]");
    let gateway = setup.start();
    for (host, name) in [
        ("api.example.org", "exact"),
        ("www.example.org", "wild"),
        ("x.deep.example.org", "deep"),
        ("example.org", "any"),
        ("other.test", "any"),
    ] {
        assert_eq!(at(&gateway, host, "/a"), name, "{host}");
    }
}

fn compares_hosts_without_case_and_port(driver: Driver) {
    let setup = names(
        Setup::new(driver),
        "exact",
        "/{r*}",
        "hosts = [\"api.example.org\"]",
    );
    let gateway = setup.start();
    for host in [
        "API.Example.ORG",
        "api.example.org:8080",
        "api.example.org.",
    ] {
        let answer = at(&gateway, host, "/a");
        // A final dot may be refused; it must not reach another route.
        assert!(
            answer == "exact" || (host.ends_with('.') && answer == "400"),
            "{host}: {answer}"
        );
    }
    assert_eq!(at(&gateway, "api.example.com", "/a"), "404");
}

fn answers_404_where_no_route_is(driver: Driver) {
    let gateway = names(Setup::new(driver), "ping", "/ping", "").start();
    assert_eq!(gateway.get("/pong").status, 404);
    assert_eq!(gateway.log_line()["code"], "no_route");
}

fn answers_405_with_the_methods_allowed(driver: Driver) {
    let mut setup = names(Setup::new(driver), "read", "/thing", "methods = [\"GET\"]");
    setup = names(setup, "write", "/thing", "methods = [\"PUT\", \"DELETE\"]");
    let gateway = setup.start();
    let response = ask(
        &gateway,
        "POST /thing HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(response.status, 405);
    for method in ["GET", "PUT", "DELETE"] {
        assert!(response.field("allow").unwrap().contains(method));
    }
    assert!(!response.field("allow").unwrap().contains("POST"));
}

fn answers_options_with_the_methods_allowed(driver: Driver) {
    let gateway = names(Setup::new(driver), "read", "/thing", "methods = [\"GET\"]").start();
    let response = ask(
        &gateway,
        "OPTIONS /thing HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    );
    assert!(
        response.status == 200 || response.status == 204,
        "{response:?}"
    );
    let allow = response.field("allow").unwrap();
    assert!(
        allow.contains("GET") && allow.contains("OPTIONS"),
        "{allow}"
    );
}

fn matches_fields(driver: Driver) {
    let mut setup = names(Setup::new(driver), "plain", "/a", "");
    setup = names(setup, "v2", "/a", "match.headers = { x-version = \"2\" }");
    let gateway = setup.start();
    let with = |fields: &str| {
        ask(
            &gateway,
            &format!("GET /a HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n"),
        )
        .text()
        .to_owned()
    };
    assert_eq!(with(""), "plain");
    assert_eq!(with("X-Version: 1\r\n"), "plain");
    assert_eq!(with("x-VERSION: 2\r\n"), "v2");
    assert_eq!(with("X-Version:2  \r\n"), "v2");
}

fn matches_the_query(driver: Driver) {
    let mut setup = names(Setup::new(driver), "plain", "/a", "");
    setup = names(
        setup,
        "preview",
        "/a",
        "match.query = { preview = \"true\" }",
    );
    let gateway = setup.start();
    for (path, name) in [
        ("/a", "plain"),
        ("/a?preview=false", "plain"),
        ("/a?preview", "plain"),
        ("/a?preview=true", "preview"),
        ("/a?x=1&preview=true&y", "preview"),
        ("/a?preview=tr%75e", "preview"),
        ("/a?xpreview=true", "plain"),
    ] {
        assert_eq!(at(&gateway, "gateway.test", path), name, "{path}");
    }
}

fn falls_through_to_the_less_special_route(driver: Driver) {
    let mut setup = names(Setup::new(driver), "rest", "/u/{r*}", "");
    setup = names(setup, "special", "/u/me", "match.headers = { x-a = \"1\" }");
    let gateway = setup.start();
    assert_eq!(at(&gateway, "gateway.test", "/u/me"), "rest");
}

fn prefers_the_higher_priority(driver: Driver) {
    let mut setup = names(
        Setup::new(driver),
        "a",
        "/p",
        "match.headers = { x-a = \"1\" }\npriority = 1",
    );
    setup = names(
        setup,
        "b",
        "/p",
        "match.headers = { x-b = \"1\" }\npriority = 2",
    );
    let gateway = setup.start();
    let head = "GET /p HTTP/1.1\r\nHost: gateway.test\r\nX-A: 1\r\nX-B: 1\r\n\r\n";
    assert_eq!(ask(&gateway, head).text(), "b");
}

fn splits_by_weight(driver: Driver) {
    let (major, minor) = (Origin::named("major"), Origin::named("minor"));
    let gateway = Setup::new(driver)
        .upstream("major", major.address(), "")
        .upstream("minor", minor.address(), "")
        .route(
            "canary",
            "/{r*}",
            "split = [{ upstream = \"major\", weight = 90 }, { upstream = \"minor\", weight = 10 }]",
        )
        .start();
    let mut client = gateway.client();
    let mut count: HashMap<String, usize> = HashMap::new();
    for _ in 0..1000 {
        *count.entry(client.get("/a").text().to_owned()).or_default() += 1;
    }
    // Ten standard deviations of a fair draw, should the draw be random.
    let minor = count["minor"];
    assert!((5..=200).contains(&minor), "{count:?}");
    assert_eq!(count["major"] + minor, 1000);
}

fn responds_with_a_constant(driver: Driver) {
    let gateway = Setup::new(driver)
        .route(
            "tea",
            "/tea",
            "respond = { status = 418, body = '{\"short\":true}', content_type = \"application/json\" }",
        )
        .route("empty", "/empty", "respond = { status = 204 }")
        .start();
    let mut client = gateway.client();
    let response = client.get("/tea");
    assert_eq!(
        (response.status, response.text()),
        (418, "{\"short\":true}")
    );
    assert_eq!(response.field("content-type"), Some("application/json"));
    assert_eq!(client.get("/empty").status, 204);
    // The body of a request to a constant is read past, or the connection closes.
    let response = client
        .exchange("POST /tea HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(response.status, 418);
    if response.field("connection") == Some("close") {
        client.expect_closed();
    } else {
        assert_eq!(client.get("/empty").status, 204);
    }
}

fn redirects_with_captures(driver: Driver) {
    let gateway = Setup::new(driver)
        .route(
            "old",
            "/old/{rest*}",
            "redirect = { to = \"/new/{rest}\", status = 308 }",
        )
        .route(
            "away",
            "/away/{id}",
            "redirect = { to = \"https://other.test/x/{id}\", status = 302 }",
        )
        .start();
    let mut client = gateway.client();
    let response = client.get("/old/a/b%20c");
    assert_eq!(response.status, 308);
    assert_eq!(response.field("location"), Some("/new/a/b%20c"));
    let response = client.get("/away/7");
    assert_eq!(response.status, 302);
    assert_eq!(response.field("location"), Some("https://other.test/x/7"));
    let location = client
        .get("/old//evil.test/")
        .field("location")
        .map(str::to_owned);
    if let Some(location) = location {
        assert!(!location.starts_with("//"), "{location}");
    }
}

fn rewrites_the_path_and_keeps_the_query(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route(
            "v2",
            "/api/{rest*}",
            "upstream = \"app\"\nrewrite = \"/v2/{rest}\"",
        )
        .start();
    assert_eq!(gateway.get("/api/users/7?x=%2F&y").status, 200);
    assert_eq!(origin.request().target, "/v2/users/7?x=%2F&y");
}

fn slashes(driver: Driver, policy: Option<&str>) -> Gateway {
    let mut setup = names(Setup::new(driver), "thing", "/thing", "");
    if let Some(policy) = policy {
        setup = setup.set("path", "trailing_slash", policy);
    }
    setup.start()
}

fn keeps_trailing_slashes_apart_by_default(driver: Driver) {
    let gateway = slashes(driver, None);
    assert_eq!(gateway.get("/thing").status, 200);
    assert_eq!(gateway.get("/thing/").status, 404);
}

fn ignores_trailing_slashes_when_told(driver: Driver) {
    let gateway = slashes(driver, Some("\"ignore\""));
    assert_eq!(gateway.get("/thing").status, 200);
    assert_eq!(gateway.get("/thing/").status, 200);
}

fn redirects_trailing_slashes_when_told(driver: Driver) {
    let gateway = slashes(driver, Some("\"redirect\""));
    assert_eq!(gateway.get("/thing").status, 200);
    let response = gateway.get("/thing/?q=1");
    assert_eq!(response.status, 308);
    assert_eq!(response.field("location"), Some("/thing?q=1"));
}

fn answers_head_on_a_get_route(driver: Driver) {
    let gateway = names(Setup::new(driver), "thing", "/thing", "methods = [\"GET\"]").start();
    let mut client: Client = gateway.client();
    let response = client.exchange("HEAD /thing HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    // RFC 9110, section 9.1 asks for both; a contract that lists methods may be literal.
    assert!(
        response.status == 200 || response.status == 405,
        "{response:?}"
    );
    assert_eq!(client.get("/thing").status, 200);
}

fn no_redirect_leaves_the_site(driver: Driver) {
    // `//host/` in a Location is another site (RFC 3986, section 4.2).
    let gateway = names(Setup::new(driver), "thing", "/{a}/{b}", "")
        .set("path", "trailing_slash", "\"redirect\"")
        .set("path", "merge_slashes", "false")
        .route(
            "moved",
            "/moved/{rest*}",
            "redirect = { to = \"/{rest}\", status = 302 }",
        )
        .start();
    for path in [
        "/moved//evil.test/a",
        "/moved/%2fevil.test/a",
        "/moved/%5cevil.test/a",
        "/moved/\\evil.test/a",
        "//evil.test/",
        "//evil.test/%2e%2e/",
        "/moved/%0d%0aSet-Cookie:%20a=b",
    ] {
        let mut client = gateway.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"));
        let response = client.response("GET");
        assert!(!response.fields.has("set-cookie"), "{path}");
        if let Some(location) = response.field("location") {
            let second = location.as_bytes().get(1);
            let stays = location.starts_with('/') && !matches!(second, Some(b'/' | b'\\'));
            assert!(stays, "{path} leads to {location}");
        }
    }
}
