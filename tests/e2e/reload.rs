//! A reload changes what it must, keeps the rest, and closes nothing.

use std::fs;

use crate::support::sys::Signal;
use crate::support::{
    Client, Driver, Gateway, Origin, Setup, get, ok, on_both_drivers, run, settle, wait_until,
};

on_both_drivers!(
    swaps_routes_on_a_post_to_the_admin_api,
    swaps_routes_on_sighup,
    swaps_routes_on_the_command,
    swaps_routes_when_the_file_changes,
    an_invalid_file_changes_nothing_and_says_why,
    the_command_says_why_a_file_is_refused,
    keeps_client_connections,
    keeps_pooled_connections_of_the_same_upstream,
    closes_pooled_connections_of_a_removed_upstream,
    finishes_requests_in_flight_as_they_began,
    adds_a_listener,
    removes_a_listener,
    reports_what_changed,
    refuses_what_only_a_restart_can_change,
    notices_a_changed_include,
    notices_a_swapped_link,
    limits_change_for_open_connections,
);

/// A gateway whose only route answers `word`; without a file watch racing the case.
fn saying(driver: Driver, word: &str) -> Gateway {
    said(Setup::new(driver), word).start()
}

fn said(setup: Setup, word: &str) -> Setup {
    setup.route(
        "word",
        "/word",
        &format!("respond = {{ status = 200, body = \"{word}\" }}"),
    )
}

fn says(gateway: &Gateway, word: &str) {
    wait_until(&format!("the gateway says {word}"), || {
        gateway.get("/word").text() == word
    });
}

fn swaps_routes_on_a_post_to_the_admin_api(driver: Driver) {
    let mut gateway = saying(driver, "one");
    assert_eq!(gateway.get("/word").text(), "one");
    gateway.rewrite(|setup| said(setup.without_body(), "two"));
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(
        gateway.get("/word").text(),
        "two",
        "the swap is done when the report comes"
    );
}

fn swaps_routes_on_sighup(driver: Driver) {
    let mut gateway = saying(driver, "one");
    gateway.rewrite(|setup| said(setup.without_body(), "two"));
    gateway.signal(Signal::Hangup);
    says(&gateway, "two");
}

fn swaps_routes_on_the_command(driver: Driver) {
    let mut gateway = saying(driver, "one");
    gateway.rewrite(|setup| said(setup.without_body(), "two"));
    let outcome = run(&["reload", "--admin", gateway.admin_address()]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    says(&gateway, "two");
}

fn swaps_routes_when_the_file_changes(driver: Driver) {
    let mut gateway = saying(driver, "one");
    for word in ["two", "three", "four"] {
        gateway.rewrite(|setup| said(setup.without_body(), word));
        says(&gateway, word);
    }
}

fn an_invalid_file_changes_nothing_and_says_why(driver: Driver) {
    let gateway = saying(driver, "one");
    let text = fs::read_to_string(gateway.file()).unwrap();
    gateway.write_config(&text.replace("respond", "respnod"));
    let report = gateway.reload();
    assert_eq!(report.status, 422, "{}", report.text());
    assert!(report.text().contains("respnod"), "{}", report.text());
    assert!(
        report.text().contains("respond"),
        "the nearest key is named: {}",
        report.text()
    );
    assert_eq!(gateway.get("/word").text(), "one");
    gateway.write_config("this is not TOML [");
    assert_eq!(gateway.reload().status, 422);
    fs::remove_file(gateway.file()).unwrap();
    let report = gateway.reload();
    assert!(report.status >= 400, "{}", report.text());
    assert_eq!(gateway.get("/word").text(), "one");
    assert_eq!(gateway.admin("GET", "/readyz").status, 200);
    gateway.write_config(&text.replace("\"one\"", "\"two\""));
    assert_eq!(gateway.reload().status, 200);
    says(&gateway, "two");
}

fn the_command_says_why_a_file_is_refused(driver: Driver) {
    let gateway = saying(driver, "one");
    let text = fs::read_to_string(gateway.file()).unwrap();
    gateway.write_config(&text.replace("respond", "respnod"));
    let outcome = run(&["reload", "--admin", gateway.admin_address()]);
    assert_ne!(outcome.code, 0);
    assert!(
        outcome.stderr.contains("respnod"),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
}

fn keeps_client_connections(driver: Driver) {
    let mut gateway = saying(driver, "0");
    let mut clients: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    for turn in 0..20 {
        for client in &mut clients {
            assert_eq!(client.get("/word").text(), turn.to_string());
        }
        gateway.rewrite(|setup| said(setup.without_body(), &(turn + 1).to_string()));
        assert_eq!(gateway.reload().status, 200);
        says(&gateway, &(turn + 1).to_string());
    }
}

fn proxied(setup: Setup, origin: &Origin, word: &str) -> Setup {
    said(setup.without_body(), word)
        .upstream("app", origin.address(), "")
        .catch_all("app")
}

fn keeps_pooled_connections_of_the_same_upstream(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = proxied(Setup::new(driver), &origin, "0").start();
    for turn in 1..10 {
        assert_eq!(gateway.get("/a").text(), "x");
        gateway.rewrite(|setup| proxied(setup, &origin, &turn.to_string()));
        assert_eq!(gateway.reload().status, 200);
        says(&gateway, &turn.to_string());
    }
    assert_eq!(origin.accepted(), 1, "the pool outlives reloads");
}

fn closes_pooled_connections_of_a_removed_upstream(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = proxied(Setup::new(driver), &origin, "one").start();
    assert_eq!(gateway.get("/a").text(), "x");
    gateway.rewrite(|setup| said(setup.without_body(), "two"));
    assert_eq!(gateway.reload().status, 200);
    says(&gateway, "two");
    assert_eq!(gateway.get("/a").status, 404);
    origin.wait_until_closed();
}

fn finishes_requests_in_flight_as_they_began(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let old = Origin::start(move |conn| {
        while conn.request().is_some() {
            let _ = gone.lock().unwrap().recv();
            conn.send(ok("old"));
        }
    });
    let new = Origin::named("new");
    let mut gateway = proxied(Setup::new(driver), &old, "one").start();
    let mut client = gateway.client();
    client.send(get("/a"));
    old.wait_for_requests(1);
    gateway.rewrite(|setup| proxied(setup, &new, "two"));
    assert_eq!(gateway.reload().status, 200);
    says(&gateway, "two");
    assert_eq!(gateway.get("/a").text(), "new");
    go.send(()).unwrap();
    assert_eq!(client.response("GET").text(), "old");
    assert_eq!(client.get("/a").text(), "new");
    old.wait_until_closed();
}

const SECOND: &str = "[[listener]]\nname = \"second\"\nlisten = ";

fn adds_a_listener(driver: Driver) {
    let setup = Setup::new(driver);
    let address = format!("unix:{}", setup.dir().join("second.sock").display());
    let mut gateway = said(setup, "one").start();
    let line = format!("{SECOND}{address:?}");
    gateway.rewrite(|setup| said(setup.without_body(), "two").body(&line));
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
    says(&gateway, "two");
    assert_eq!(Client::connect(&address).get("/word").text(), "two");
}

fn removes_a_listener(driver: Driver) {
    let setup = Setup::new(driver);
    let address = format!("unix:{}", setup.dir().join("second.sock").display());
    let line = format!("{SECOND}{address:?}");
    let mut gateway = said(setup, "one").body(&line).start();
    let mut client = Client::connect(&address);
    assert_eq!(client.get("/word").text(), "one");
    gateway.rewrite(|setup| said(setup.without_body(), "two"));
    assert_eq!(gateway.reload().status, 200);
    wait_until("nobody listens any more", || {
        std::os::unix::net::UnixStream::connect(&address["unix:".len()..]).is_err()
    });
    // Connections of a removed listener end in order: at the latest after a request.
    if client.try_send(get("/word")) {
        let _ = client.try_response("GET");
    }
    client.rest();
    assert_eq!(gateway.get("/word").text(), "two");
}

fn reports_what_changed(driver: Driver) {
    let mut gateway = saying(driver, "one");
    gateway.rewrite(|setup| {
        said(setup.without_body(), "two").route("extra", "/x", "respond = { status = 204 }")
    });
    let report = gateway.reload().json();
    // The file watch may have come first; then this reload finds nothing to change.
    if report["changes"].as_object().is_some_and(|c| !c.is_empty()) {
        assert_eq!(report["changes"]["route"]["added"][0], "extra", "{report}");
        assert_eq!(report["changes"]["route"]["changed"][0], "word", "{report}");
    }
    assert_eq!(report["connections_closed"], 0, "{report}");
    assert!(report["longest_core_stall_us"].is_u64(), "{report}");
    assert!(report["memory_delta_bytes"].is_i64(), "{report}");
    assert!(report["generation"].as_u64().unwrap() > 1, "{report}");
}

fn refuses_what_only_a_restart_can_change(driver: Driver) {
    let mut gateway = saying(driver, "one");
    gateway.rewrite(|setup| said(setup.without_body(), "two").set("runtime", "workers", "2"));
    let report = gateway.reload();
    assert_eq!(report.status, 409, "{}", report.text());
    settle();
    assert_eq!(gateway.get("/word").text(), "one");
}

fn notices_a_changed_include(driver: Driver) {
    let setup = Setup::new(driver);
    let routes = setup.dir().join("routes.d");
    fs::create_dir(&routes).unwrap();
    let route = |word: &str| {
        format!(
            "[[route]]\nname = \"word\"\npath = \"/word\"\n\
             respond = {{ status = 200, body = \"{word}\" }}\n"
        )
    };
    fs::write(routes.join("a.toml"), route("one")).unwrap();
    let gateway = setup.include("routes.d/*.toml").start();
    assert_eq!(gateway.get("/word").text(), "one");
    fs::write(routes.join("a.toml"), route("two")).unwrap();
    says(&gateway, "two");
    let more = "[[route]]\nname = \"more\"\npath = \"/more\"\nrespond = { status = 204 }\n";
    fs::write(routes.join("b.toml"), more).unwrap();
    wait_until("a new file counts", || gateway.get("/more").status == 204);
    fs::remove_file(routes.join("b.toml")).unwrap();
    wait_until("a removed file counts", || {
        gateway.get("/more").status == 404
    });
}

fn notices_a_swapped_link(driver: Driver) {
    // Mounted configuration comes as a link to a directory that is replaced at once.
    let setup = said(Setup::new(driver), "one");
    let dir = setup.dir().to_owned();
    let text = setup.render();
    for (version, word) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(dir.join(version)).unwrap();
        let text = text.replace("\"one\"", &format!("{word:?}"));
        fs::write(dir.join(version).join("c.toml"), text).unwrap();
    }
    std::os::unix::fs::symlink("v1", dir.join("current")).unwrap();
    let gateway = Gateway::start_on(&dir.join("current/c.toml"));
    assert_eq!(gateway.get("/word").text(), "one");
    std::os::unix::fs::symlink("v2", dir.join("next")).unwrap();
    fs::rename(dir.join("next"), dir.join("current")).unwrap();
    says(&gateway, "two");
}

fn limits_change_for_open_connections(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = proxied(Setup::new(driver), &origin, "one").start();
    let mut client = gateway.client();
    let post = "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 20\r\n\r\n\
                01234567890123456789";
    assert_eq!(client.exchange(post).text(), "x");
    gateway.rewrite(|setup| proxied(setup, &origin, "two").set("limits", "body_max", "\"10B\""));
    assert_eq!(gateway.reload().status, 200);
    says(&gateway, "two");
    assert_eq!(client.exchange(post).status, 413);
}

#[test]
fn a_log_that_cannot_be_opened_has_its_own_refusal() {
    let mut gateway = saying(Driver::Epoll, "one");
    gateway.rewrite(|setup| {
        let setup = setup.set("log", "access", "\"/nowhere/at/all/access.log\"");
        said(setup.without_body(), "two")
    });
    let report = gateway.reload();
    assert_eq!(report.status, 409, "{}", report.text());
    assert_eq!(report.json()["refusal"], "cannot_apply");
    assert!(
        report.text().contains("/nowhere/at/all"),
        "{}",
        report.text()
    );
    assert_eq!(gateway.get("/word").text(), "one");
}

#[test]
fn the_command_tells_an_unsupported_file_from_an_invalid_one() {
    let gateway = saying(Driver::Epoll, "one");
    let text = fs::read_to_string(gateway.file()).unwrap();
    let code = || run(&["reload", "--admin", gateway.admin_address()]).code;
    gateway.write_config(&text.replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        "[admin]\nlisten = \"unix:/run/a.sock\"",
    ));
    assert_eq!(code(), 3);
    gateway.write_config(&text.replace("respond", "respnod"));
    assert_eq!(code(), 2);
    gateway.write_config(&text);
    assert_eq!(code(), 0);
}

#[test]
fn the_log_says_why_without_escaping_twice() {
    let gateway = saying(Driver::Epoll, "one");
    let text = fs::read_to_string(gateway.file()).unwrap();
    gateway.write_config(&text.replace("respond", "respnod"));
    assert_eq!(gateway.reload().status, 422);
    let stderr = gateway.stderr();
    let mut lines = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let refused = lines.find(|line: &serde_json::Value| line["refusal"].is_string());
    let refused = refused.unwrap_or_else(|| panic!("{stderr}"));
    assert_eq!(refused["refusal"], "invalid_config");
    let diagnostics = refused["diagnostics"].as_str().unwrap();
    assert!(
        diagnostics.contains("unknown key `respnod`"),
        "{diagnostics}"
    );
    assert!(!diagnostics.contains('\\'), "{diagnostics}");
}

#[test]
fn the_command_finds_the_admin_api_on_localhost() {
    let gateway = saying(Driver::Epoll, "one");
    let (_, port) = gateway.admin_address().rsplit_once(':').unwrap();
    let outcome = run(&["reload", "--admin", &format!("localhost:{port}")]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let outcome = run(&["reload", "--admin", "gateway.internal:1"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("IP address"), "{}", outcome.stderr);
}

#[test]
fn the_admin_api_answers_under_configured_names() {
    let gateway = said(Setup::new(Driver::Epoll), "one")
        .set("admin", "hosts", "[\"Metrics.internal\"]")
        .start();
    let status = |host: &str| {
        let mut client = Client::connect(gateway.admin_address());
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.exchange(request).status
    };
    assert_eq!(status("metrics.internal:9901"), 200);
    assert_eq!(status("other.internal"), 403);
}
