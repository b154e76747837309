//! Rate limits under real load: never more than is allowed, hardly less, by the key that is
//! meant, and kept over reloads.

use std::time::Duration;

use crate::support::load::{Load, count, most_within, span};
use crate::support::{Client, Driver, Gateway, Setup, get, on_both_drivers, settle};

on_both_drivers!(
    a_bucket_admits_no_more_and_nearly_all,
    a_sliding_window_admits_no_more_and_nearly_all,
    wrk_cannot_get_past_the_limit,
    keys_are_counted_apart,
    clients_are_those_that_trusted_proxies_name,
    refusals_say_when_to_come_again,
    a_dry_run_refuses_nobody,
    requests_weigh_what_is_configured,
    several_limits_hold_at_once,
    a_reload_keeps_what_was_used,
    a_refused_reload_changes_no_limit,
    reloads_under_load_keep_the_limit,
    an_ipv4_network_can_be_one_key,
);

const OK: &str = "respond = { status = 200, body = \"ok\" }\nfilters = [\"limit\"]";

/// Two workers, and one route with the filter `limit`.
fn setup(driver: Driver, limit: &str) -> Setup {
    Setup::new(driver)
        .set("runtime", "workers", "2")
        .set("log", "access", "\"off\"")
        .set("limits", "requests_per_connection_max", "\"off\"")
        .body(&format!("[filter.limit]\ntype = \"rate_limit\"\n{limit}"))
        .route("all", "/{rest*}", OK)
}

fn with(fields: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n")
}

/// The statuses of the same request, sent so often on a connection of its own.
fn statuses(gateway: &Gateway, request: &str, times: usize) -> Vec<u16> {
    let mut client = gateway.client();
    (0..times)
        .map(|_| client.exchange(request).status)
        .collect()
}

fn passed(gateway: &Gateway, request: &str, times: usize) -> usize {
    let all = statuses(gateway, request, times);
    assert!(
        all.iter().all(|status| [200, 429].contains(status)),
        "{all:?}"
    );
    all.iter().filter(|status| **status == 200).count()
}

fn presses(driver: Driver, limit: &str, bound: usize, rate: f64) {
    let gateway = setup(driver, limit).start();
    let all = Load::start(&[gateway.address()], 8, &get("/x")).for_time(Duration::from_secs(4));
    assert_eq!(count(&all, 200) + count(&all, 429), all.len());
    let most = most_within(&all, Duration::from_secs(1));
    assert!(most <= bound, "{most} in a window, at most {bound}");
    let least = rate * 0.98 * span(&all).as_secs_f64().floor();
    let passed = count(&all, 200);
    assert!(passed as f64 >= least, "{passed} passed, at least {least}");
    let refused = gateway.metric("ringgate_limit_refused_total", &[("filter", "limit")]);
    assert_eq!(refused as usize, count(&all, 429));
}

fn a_bucket_admits_no_more_and_nearly_all(driver: Driver) {
    let limit = "key = \"route\"\nlimit = 400\nper = \"1s\"\nburst = 40";
    presses(driver, limit, 440, 400.0);
}

fn a_sliding_window_admits_no_more_and_nearly_all(driver: Driver) {
    let limit = "key = \"route\"\nlimit = 400\nper = \"1s\"\nalgorithm = \"sliding_window\"";
    presses(driver, limit, 400, 400.0);
}

fn wrk_cannot_get_past_the_limit(driver: Driver) {
    let limit = "key = \"route\"\nlimit = 500\nper = \"1s\"\nburst = 50";
    let gateway = setup(driver, limit).start();
    let url = format!("http://{}/x", gateway.address());
    let mut wrk = crate::support::process::tool("wrk");
    wrk.args(["-t2", "-c32", "-d5s", &url]);
    let said = crate::support::process::output(wrk, b"");
    assert!(said.success, "{}", said.all());
    let admitted = gateway.metric("ringgate_limit_admitted_total", &[("filter", "limit")]);
    let seconds: f64 = {
        let text = said.text();
        let line = text.lines().find(|line| line.contains(" requests in "));
        let words: Vec<&str> = line.expect(&text).split_whitespace().collect();
        words[3].trim_end_matches("s,").parse().unwrap()
    };
    // wrk connects before its clock starts and lets the last answers come after it.
    assert!(
        admitted <= 500.0 * (seconds + 1.0) + 50.0,
        "{admitted} in {seconds}"
    );
    assert!(
        admitted >= 0.98 * 500.0 * seconds.floor(),
        "{admitted} in {seconds}"
    );
}

fn keys_are_counted_apart(driver: Driver) {
    let limit = "key = [\"header:x-api-key\", \"cookie:uid\"]\nlimit = 3\nper = \"1h\"";
    let gateway = setup(driver, limit).start();
    let alice = with("X-Api-Key: alice\r\nCookie: a=b; uid=1\r\n");
    assert_eq!(statuses(&gateway, &alice, 5), [200, 200, 200, 429, 429]);
    let other_cookie = with("X-Api-Key: alice\r\nCookie: uid=2\r\n");
    assert_eq!(passed(&gateway, &other_cookie, 5), 3);
    let other_header = with("X-Api-Key: bob\r\nCookie: uid=1\r\n");
    assert_eq!(passed(&gateway, &other_header, 5), 3);
    assert_eq!(passed(&gateway, &with(""), 5), 3, "those without are one");
    assert_eq!(passed(&gateway, &alice, 5), 0, "on whatever worker");
}

fn clients_are_those_that_trusted_proxies_name(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 3\nper = \"1h\"";
    let forwarded = |client: &str| with(&format!("X-Forwarded-For: {client}\r\n"));
    // Nobody is trusted: what a client says of itself changes nothing.
    let gateway = setup(driver, limit).start();
    let spoofed = (0..12).map(|n| passed(&gateway, &forwarded(&format!("192.0.2.{n}")), 1));
    assert_eq!(spoofed.sum::<usize>(), 3);

    let trusting = setup(driver, limit).set("forwarded", "trusted", "[\"127.0.0.0/8\"]");
    let gateway = trusting.start();
    assert_eq!(passed(&gateway, &forwarded("192.0.2.1"), 5), 3);
    assert_eq!(passed(&gateway, &forwarded("192.0.2.2"), 5), 3);
    // The last address that no trusted proxy has is the client; what stands before it is its own.
    assert_eq!(
        passed(&gateway, &forwarded("198.51.100.9, 192.0.2.1"), 5),
        0
    );
    assert_eq!(passed(&gateway, &forwarded("2001:db8::1"), 5), 3);
    assert_eq!(
        passed(&gateway, &forwarded("2001:db8::2"), 5),
        0,
        "a /64 is one client"
    );
    assert_eq!(passed(&gateway, &forwarded("2001:db8:0:1::1"), 5), 3);
}

fn an_ipv4_network_can_be_one_key(driver: Driver) {
    let limit = "key = \"client_ip\"\nipv4_prefix = 24\nlimit = 3\nper = \"1h\"";
    let gateway = setup(driver, limit)
        .set("forwarded", "trusted", "[\"127.0.0.0/8\"]")
        .start();
    let forwarded = |client: &str| with(&format!("X-Forwarded-For: {client}\r\n"));
    assert_eq!(passed(&gateway, &forwarded("192.0.2.1"), 2), 2);
    assert_eq!(passed(&gateway, &forwarded("192.0.2.200"), 3), 1);
    assert_eq!(passed(&gateway, &forwarded("192.0.3.1"), 3), 3);
}

fn refusals_say_when_to_come_again(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 2\nper = \"60s\"";
    let gateway = setup(driver, limit).start();
    let mut client = gateway.client();
    let first = client.get("/x");
    assert_eq!(first.field("ratelimit-policy"), Some("\"limit\";q=2;w=60"));
    let left = first.field("ratelimit").unwrap();
    assert!(left.starts_with("\"limit\";r=1;t="), "{left}");
    client.get("/x");
    let refused = client.get("/x");
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    // Counted by parts of the window, the last of which has to end as well.
    assert!((1..=62).contains(&seconds), "{seconds}");
    let left = refused.field("ratelimit").unwrap();
    assert!(left.starts_with("\"limit\";r=0;t="), "{left}");

    let silent = format!("{limit}\nfields = false\nstatus = 503");
    let gateway = setup(driver, &silent).start();
    let mut client = gateway.client();
    let all: Vec<_> = (0..3).map(|_| client.get("/x")).collect();
    assert_eq!(all[2].status, 503);
    assert!(all.iter().all(|answer| answer.field("ratelimit").is_none()));
}

fn a_dry_run_refuses_nobody(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 2\nper = \"1h\"\ndry_run = true";
    let setup = setup(driver, limit);
    let file = format!("{:?}", setup.dir().join("access.log"));
    let gateway = setup.set("log", "access", &file).start();
    assert_eq!(passed(&gateway, &get("/x"), 5), 5);
    let labels = [("filter", "limit")];
    assert_eq!(
        gateway.metric("ringgate_limit_dry_refused_total", &labels),
        3.0
    );
    assert_eq!(gateway.metric("ringgate_limit_refused_total", &labels), 0.0);
    let lines = gateway.log(5);
    let named: Vec<bool> = lines
        .iter()
        .map(|line| line["dry_run"] == serde_json::json!(["limit"]))
        .collect();
    assert_eq!(named, [false, false, true, true, true], "{lines:#?}");
    assert_eq!(lines[4]["end"], "--");
}

fn requests_weigh_what_is_configured(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 10\nper = \"1h\"\n\
                 weight = { methods = { DELETE = 4 }, header = \"x-cost\", max = 5 }";
    let gateway = setup(driver, limit).start();
    let delete = "DELETE /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    assert_eq!(statuses(&gateway, delete, 3), [200, 200, 429]);
    assert_eq!(passed(&gateway, &get("/x"), 5), 2, "what is left of ten");

    let gateway = setup(driver, limit).start();
    let dear = with("X-Cost: 999999999999\r\n");
    assert_eq!(passed(&gateway, &dear, 5), 2, "five at most");
}

fn several_limits_hold_at_once(driver: Driver) {
    let limit = "key = \"client_ip\"\n\
                 limits = [{ limit = 2, per = \"1h\" }, { limit = 100, per = \"24h\" }]";
    let gateway = setup(driver, limit).start();
    assert_eq!(passed(&gateway, &get("/x"), 6), 2);
    let limit = limit.replace("limit = 2,", "limit = 200,");
    let gateway = setup(driver, &limit.replace("100", "3")).start();
    assert_eq!(passed(&gateway, &get("/x"), 6), 3, "the other one");
    let page = gateway.admin("GET", "/limits").json();
    let limits = page["limits"].as_array().unwrap();
    assert_eq!(limits.len(), 2, "{page}");
    assert_eq!(limits[1]["limit"], 3, "{page}");
    assert_eq!(limits[1]["keys"], 1, "{page}");
}

fn a_reload_keeps_what_was_used(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 4\nper = \"1h\"";
    let mut gateway = setup(driver, limit).start();
    assert_eq!(passed(&gateway, &get("/x"), 3), 3);
    gateway.rewrite(|setup| setup.route("more", "/more", OK));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(passed(&gateway, &get("/more"), 3), 1);
    // A larger limit is taken over and grants the difference alone.
    let larger = limit.replace("limit = 4", "limit = 6");
    gateway.rewrite(|old| {
        let body = format!("[filter.limit]\ntype = \"rate_limit\"\n{larger}");
        old.without_body().body(&body).route("all", "/{rest*}", OK)
    });
    assert_eq!(gateway.reload().status, 200);
    // A worker believes its last refusal for as long as a lease lives.
    settle();
    assert_eq!(passed(&gateway, &get("/x"), 6), 2);
}

fn a_refused_reload_changes_no_limit(driver: Driver) {
    let limit = "key = \"client_ip\"\nlimit = 4\nper = \"1h\"";
    let mut gateway = setup(driver, limit).start();
    assert_eq!(passed(&gateway, &get("/x"), 2), 2);
    // It compiles, and then its listener cannot be had.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!(
        "[filter.limit]\ntype = \"rate_limit\"\nkey = \"client_ip\"\nlimit = 400\nper = \"1h\"\n\
         [[listener]]\nname = \"other\"\nlisten = \"{}\"",
        taken.local_addr().unwrap()
    );
    gateway.rewrite(|old| old.without_body().body(&other).route("all", "/{rest*}", OK));
    assert_ne!(gateway.reload().status, 200);
    assert_eq!(passed(&gateway, &get("/x"), 9), 2);
}

fn reloads_under_load_keep_the_limit(driver: Driver) {
    let limit = "key = \"route\"\nlimit = 300\nper = \"1s\"\nburst = 30";
    let mut gateway = setup(driver, limit).start();
    let load = Load::start(&[gateway.address()], 4, &get("/x"));
    for n in 0..40 {
        let route = format!("extra-{n}");
        gateway.rewrite(|setup| setup.route(&route, &format!("/{route}"), OK));
        assert_eq!(gateway.reload().status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let all = load.stop();
    assert_eq!(count(&all, 200) + count(&all, 429), all.len());
    let most = most_within(&all, Duration::from_secs(1));
    assert!(most <= 330, "{most} in a window");
    let least = 300.0 * 0.98 * span(&all).as_secs_f64().floor();
    assert!(
        count(&all, 200) as f64 >= least,
        "{} of {least}",
        count(&all, 200)
    );
}

/// The admin API says of whom it is asked; this is what it must not be asked by.
#[test]
fn the_admin_api_guards_quotas_and_limits() {
    let gateway = setup(Driver::Epoll, "key = \"route\"\nlimit = 1\nper = \"1s\"").start();
    for (method, path) in [
        ("GET", "/limits"),
        ("GET", "/quotas"),
        ("POST", "/quotas/reset?filter=a&key=b"),
    ] {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n");
        let refused = Client::connect(gateway.admin_address()).exchange(head);
        assert!((400..500).contains(&refused.status), "{}", refused.status);
        assert_ne!(refused.status, 404, "{path}");
    }
    assert_eq!(
        gateway.admin("GET", "/quotas").status,
        404,
        "there are none"
    );
}
