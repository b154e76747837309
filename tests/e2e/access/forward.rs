//! Forward authentication: a service of the operator's own decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Driver, Origin, Setup, ok, on_both_drivers, run, wait_until};

on_both_drivers!(
    the_service_decides_and_says_who_it_is,
    what_clients_send_in_its_place_does_not_reach_origins,
    an_answer_is_asked_for_once,
    a_service_that_is_away_lets_nobody_pass,
    explain_says_what_would_be_asked,
);

fn says(status: &str, fields: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n{fields}\r\nno")
}

/// Knows one token.
fn service() -> Origin {
    Origin::replying(|request| {
        let known = request.fields.all("authorization") == ["Bearer alice"];
        let answer = match (known, &*request.target) {
            (true, _) => says("200 OK", "X-User: alice\r\nX-App: app\r\nX-Roles: a, b\r\n"),
            (false, _) => says("302 Found", "Location: /login\r\nX-Secret: 1\r\n"),
        };
        answer.into_bytes()
    })
}

fn guarded(driver: Driver, origin: &Origin, auth: &str, more: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .upstream("auth", auth, "")
        .body(&format!(
            "[filter.ask]\ntype = \"forward_auth\"\nupstream = \"auth\"\npath = \"/verify\"\n\
             response_headers = [\"x-user\"]\nsubject_header = \"x-user\"\n\
             consumer_header = \"x-app\"\ngroups_header = \"x-roles\"\n{more}"
        ))
        .route("open", "/open", "upstream = \"app\"")
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"ask\"]")
}

const ALICE: &str = "Authorization: Bearer alice\r\n";

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
}

fn the_service_decides_and_says_who_it_is(driver: Driver) {
    let (origin, auth) = (Origin::named("x"), service());
    let gateway = guarded(driver, &origin, auth.address(), "").start();
    let mut client = gateway.client();
    let forged = format!("{ALICE}X-Forwarded-Uri: /open\r\nX-Forwarded-Method: OPTIONS\r\n");
    client.send(get("/a/../b?c=d", &forged));
    assert_eq!(client.response("GET").status, 200);
    let asked = auth.request();
    assert_eq!((&*asked.method, &*asked.target), ("GET", "/verify"));
    assert_eq!(asked.fields.all("x-forwarded-uri"), ["/b?c=d"]);
    assert_eq!(asked.fields.all("x-forwarded-method"), ["GET"]);
    assert_eq!(asked.fields.all("x-forwarded-host"), ["a.test"]);
    assert_eq!(asked.fields.all("x-forwarded-for"), ["127.0.0.1"]);
    let got = origin.request();
    assert_eq!(got.fields.all("x-user"), ["alice"]);
    assert_eq!(got.fields.all("x-consumer"), ["app"]);
    assert_eq!(got.fields.all("x-consumer-groups"), ["a,b"]);
    assert_eq!(gateway.log_line()["consumer"], "app");
    let refused = client.exchange(get("/a", ""));
    assert_eq!((refused.status, refused.text()), (302, "no"));
    assert_eq!(refused.field("location"), Some("/login"));
    assert_eq!(refused.field("x-secret"), None);
    let line = &gateway.log(2)[1];
    assert_eq!(line["code"], "auth_refused");
    assert_eq!(origin.requests().len(), 1);
}

fn what_clients_send_in_its_place_does_not_reach_origins(driver: Driver) {
    let origin = Origin::named("x");
    // It names nobody.
    let auth = Origin::answering(ok(""));
    let gateway = guarded(driver, &origin, auth.address(), "").start();
    let mut client = gateway.client();
    for path in ["/a", "/open"] {
        assert_eq!(client.exchange(get(path, "X-User: root\r\n")).status, 200);
    }
    for request in origin.requests() {
        assert!(!request.fields.has("x-user"), "{request:?}");
    }
}

fn an_answer_is_asked_for_once(driver: Driver) {
    let (origin, auth) = (Origin::named("x"), service());
    let cache = "cache = { key = [\"header:authorization\", \"path\"], ttl = \"1h\" }";
    // What one core knows, another one asks for itself.
    let gateway = guarded(driver, &origin, auth.address(), cache)
        .set("runtime", "workers", "1")
        .start();
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.exchange(get("/a", ALICE)).status, 200);
        let bad = get("/a", "Authorization: Bearer mallory\r\n");
        assert_eq!(client.exchange(bad).status, 302);
    }
    assert_eq!(auth.requests().len(), 2);
    assert_eq!(client.exchange(get("/b", ALICE)).status, 200);
    assert_eq!(auth.requests().len(), 3, "the path is part of the key");
    assert_eq!(
        gateway.metric("ringgate_auth_asked_total", &[("filter", "ask")]),
        3.0
    );
}

fn a_service_that_is_away_lets_nobody_pass(driver: Driver) {
    let origin = Origin::named("x");
    let stands = Arc::new(AtomicBool::new(false));
    let still = Arc::clone(&stands);
    let auth = Origin::start(move |conn| {
        while conn.request().is_some() {
            if still.load(Ordering::SeqCst) {
                return conn.stall();
            }
            conn.send(
                says("204 No Content", "")
                    .replace("Content-Length: 2\r\n", "")
                    .replace("no", ""),
            );
        }
    });
    let gateway = guarded(driver, &origin, auth.address(), "timeout = \"200ms\"").start();
    assert_eq!(gateway.get("/a").status, 200);
    stands.store(true, Ordering::SeqCst);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(get("/a", ALICE));
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").status, 503);
    }
    let lines = gateway.log(21);
    assert!(
        lines[1..]
            .iter()
            .all(|line| line["code"] == "auth_unavailable"),
        "{lines:?}"
    );
    let refused = gateway.metric("ringgate_auth_refused_total", &[("filter", "ask")]);
    assert_eq!(refused, 20.0);
    assert_eq!(origin.requests().len(), 1);
    stands.store(false, Ordering::SeqCst);
    wait_until("it passes again", || gateway.get("/a").status == 200);
}

fn explain_says_what_would_be_asked(driver: Driver) {
    let (origin, auth) = (Origin::named("x"), service());
    let gateway = guarded(driver, &origin, auth.address(), "").start();
    let file = gateway.file().to_str().unwrap();
    let url = "http://a.test/a";
    let text = run(&["explain", file, "GET", url, "-H", "Cookie: s=1"]).stdout;
    assert!(
        text.contains("asks upstream auth: GET /verify, with cookie"),
        "{text}"
    );
    assert!(auth.requests().is_empty(), "nobody is asked");
}
