//! Limits that gateways share through a real Redis server, which is paused, killed and started
//! again under load.

use std::time::Duration;

use crate::support::load::{Load, count, most_within, span};
use crate::support::redis::Redis;
use crate::support::{Driver, Gateway, Setup, get, on_both_drivers, wait_until};

on_both_drivers!(
    two_gateways_share_one_limit,
    one_gateway_may_use_what_the_other_leaves,
    a_server_that_comes_and_goes_keeps_the_bound,
    without_a_server_each_has_its_share,
    a_reload_keeps_the_session,
    what_is_not_used_goes_back,
    a_reload_while_the_server_is_away_forgets_nothing,
);

const LIMIT: u64 = 300;
const BURST: u64 = 60;

fn setup(driver: Driver, url: &str) -> Setup {
    Setup::new(driver)
        .set("runtime", "workers", "2")
        .set("log", "access", "\"off\"")
        .set("limits", "requests_per_connection_max", "\"off\"")
        .body(&format!(
            "[redis.shared]\nurl = {url:?}\nnodes = 2\ntimeout = \"200ms\"\n\
             [filter.limit]\ntype = \"rate_limit\"\nkey = \"route\"\nlimit = {LIMIT}\n\
             per = \"1s\"\nburst = {BURST}\nredis = \"shared\""
        ))
        .route(
            "all",
            "/{rest*}",
            "respond = { status = 200, body = \"ok\" }\nfilters = [\"limit\"]",
        )
}

fn up(gateway: &Gateway) -> bool {
    gateway.metric("ringgate_redis_up", &[("redis", "shared")]) == 1.0
}

fn two(driver: Driver, redis: &Redis) -> [Gateway; 2] {
    let gateways = [(), ()].map(|()| setup(driver, &redis.url()).start());
    wait_until("both have it", || gateways.iter().all(up));
    gateways
}

/// What the gauge says that both may admit together.
fn bound(gateway: &Gateway) -> f64 {
    gateway.metric("ringgate_shared_limit_bound", &[("filter", "limit")])
}

fn two_gateways_share_one_limit(driver: Driver) {
    let redis = Redis::start();
    let [a, b] = two(driver, &redis);
    let load = Load::start(&[a.address(), b.address()], 3, &get("/x"));
    let all = load.for_time(Duration::from_secs(4));
    assert_eq!(count(&all, 200) + count(&all, 429), all.len());
    let (most, bound) = (most_within(&all, Duration::from_secs(1)), bound(&a));
    assert!(most as f64 <= bound, "{most} in a window, at most {bound}");
    assert!(
        bound < 2.0 * LIMIT as f64,
        "the bound says something: {bound}"
    );
    let keys = redis.say(&["KEYS", "*"]);
    assert!(keys.starts_with("ringgate:{limit}:0:b1000:"), "{keys}");
    // One limit, and not two.
    let most = bound + LIMIT as f64 * span(&all).as_secs_f64();
    assert!(count(&all, 200) as f64 <= most, "{}", count(&all, 200));
    let least = 0.8 * LIMIT as f64 * span(&all).as_secs_f64().floor();
    assert!(
        count(&all, 200) as f64 >= least,
        "{} of {least}",
        count(&all, 200)
    );
}

fn one_gateway_may_use_what_the_other_leaves(driver: Driver) {
    let redis = Redis::start();
    let [a, _idle] = two(driver, &redis);
    let load = Load::start(&[a.address()], 4, &get("/x"));
    let all = load.for_time(Duration::from_secs(4));
    let share = LIMIT as f64 / 2.0 * span(&all).as_secs_f64();
    assert!(
        count(&all, 200) as f64 > share * 1.2,
        "{}",
        count(&all, 200)
    );
}

fn a_server_that_comes_and_goes_keeps_the_bound(driver: Driver) {
    let mut redis = Redis::start();
    let [a, b] = two(driver, &redis);
    let load = Load::start(&[a.address(), b.address()], 3, &get("/x"));
    let moment = || std::thread::sleep(Duration::from_millis(1_200));
    moment();
    redis.pause();
    wait_until("it is away", || !up(&a) && !up(&b));
    let bound = bound(&a);
    moment();
    redis.resume();
    wait_until("it is back", || up(&a) && up(&b));
    moment();
    redis.kill();
    wait_until("it is away again", || !up(&a) && !up(&b));
    moment();
    redis.start_again();
    wait_until("it is back again", || up(&a) && up(&b));
    moment();
    let all = load.stop();
    assert_eq!(
        count(&all, 200) + count(&all, 429),
        all.len(),
        "nobody waits for it"
    );
    let most = most_within(&all, Duration::from_secs(1));
    assert!(most as f64 <= bound, "{most} in a window, at most {bound}");
    let said = a.stderr();
    for line in [
        "limits are not shared: each node",
        "limits are shared again",
    ] {
        assert_eq!(said.matches(line).count(), 2, "once a change: {said}");
    }
}

fn without_a_server_each_has_its_share(driver: Driver) {
    let mut redis = Redis::start();
    redis.kill();
    let a = setup(driver, &redis.url()).start();
    let load = Load::start(&[a.address()], 4, &get("/x"));
    let all = load.for_time(Duration::from_secs(3));
    let share = LIMIT as f64 / 2.0;
    let passed = count(&all, 200) as f64;
    let credit = bound(&a);
    assert!(
        passed <= share * span(&all).as_secs_f64() + credit,
        "{passed}"
    );
    assert!(
        passed >= 0.8 * share * span(&all).as_secs_f64().floor(),
        "{passed}"
    );
    redis.start_again();
    wait_until("it is there", || up(&a));
    let page = a.admin("GET", "/limits").json();
    assert_eq!(page["redis"][0]["state"], "answers", "{page}");
    assert_eq!(page["limits"][0]["redis"], "shared", "{page}");
}

fn a_reload_keeps_the_session(driver: Driver) {
    let redis = Redis::start();
    let [mut a, _b] = two(driver, &redis);
    let load = Load::start(&[a.address()], 2, &get("/x"));
    for n in 0..10 {
        let route = format!("extra-{n}");
        a.rewrite(|setup| setup.route(&route, &format!("/{route}"), "respond = { status = 204 }"));
        assert_eq!(a.reload().status, 200);
    }
    let all = load.stop();
    assert!(most_within(&all, Duration::from_secs(1)) as f64 <= bound(&a));
    let failed = [("redis", "shared"), ("result", "failed")];
    assert_eq!(a.metric("ringgate_redis_calls_total", &failed), 0.0);
    assert_eq!(a.stderr().matches("limits are shared").count(), 1);
}

/// A limit for an hour, counted in windows.
fn hourly(driver: Driver, url: &str, limit: u64) -> Setup {
    Setup::new(driver)
        .set("runtime", "workers", "2")
        .set("limits", "requests_per_connection_max", "\"off\"")
        .body(&hourly_limit(url, limit))
        .route(
            "all",
            "/{rest*}",
            "respond = { status = 200, body = \"ok\" }\nfilters = [\"limit\"]",
        )
}

fn hourly_limit(url: &str, limit: u64) -> String {
    format!(
        "[redis.shared]\nurl = {url:?}\nnodes = 2\ntimeout = \"500ms\"\n\
         [filter.limit]\ntype = \"rate_limit\"\nkey = \"route\"\nlimit = {limit}\n\
         per = \"1h\"\nreconcile = \"200ms\"\nredis = \"shared\""
    )
}

fn figure(gateway: &Gateway, name: &str) -> f64 {
    let labels = [("filter", "limit"), ("limit", "0")];
    gateway.metric(&format!("ringgate_shared_limit_{name}"), &labels)
}

fn what_is_not_used_goes_back(driver: Driver) {
    let redis = Redis::start();
    let gateway = hourly(driver, &redis.url(), 1_000).start();
    // Leases of a time before the connection go back to nobody.
    wait_until("it has been there for a while", || {
        let page = gateway.admin("GET", "/limits").json();
        up(&gateway) && page["redis"][0]["for_seconds"].as_u64() >= Some(2)
    });
    // More than the credit of 125 at once: the node asks for more, and finds nobody to use it.
    let mut passed = 0;
    let mut client = gateway.client();
    while figure(&gateway, "returned_total") == 0.0 && passed < 900 {
        passed += (0..300).filter(|_| client.get("/x").status == 200).count() as u64;
        let page = || gateway.admin("GET", "/limits").json();
        let calls = || page()["redis"][0]["calls_answered"].as_u64().unwrap();
        let before = calls();
        wait_until("grants are over", || calls() >= before + 2);
    }
    assert!(figure(&gateway, "returned_total") > 0.0);
    wait_until("the account is that of the requests", || {
        let key = redis.say(&["KEYS", "ringgate:*"]);
        let counts = redis.say(&["HVALS", &key]);
        let used: u64 = counts.lines().filter_map(|n| n.parse::<u64>().ok()).sum();
        used == passed
    });
}

fn a_reload_while_the_server_is_away_forgets_nothing(driver: Driver) {
    let mut redis = Redis::start();
    let mut gateway = hourly(driver, &redis.url(), 360_000).start();
    wait_until("it is there", || up(&gateway));
    redis.kill();
    wait_until("it is away", || !up(&gateway));
    let load = Load::start(&[gateway.address()], 1, &get("/x"));
    load.for_time(Duration::from_millis(1_500));
    let before = figure(&gateway, "debt_total");
    let body = hourly_limit(&redis.url(), 361_000);
    gateway.rewrite(|setup| {
        setup.without_body().body(&body).route(
            "all",
            "/{rest*}",
            "respond = { status = 200, body = \"ok\" }\nfilters = [\"limit\"]",
        )
    });
    assert_eq!(gateway.reload().status, 200);
    redis.start_again();
    wait_until("it is back", || up(&gateway));
    wait_until("what was used is settled", || {
        figure(&gateway, "debt_total") > before
    });
}

#[test]
fn passwords_are_used_and_shown_nowhere() {
    let redis = Redis::with_password("opensesame");
    let right = setup(Driver::Epoll, &redis.url()).start();
    wait_until("it is let in", || up(&right));
    let wrong = format!("redis://:hunter2@127.0.0.1:{}/", redis.port());
    let wrong = setup(Driver::Epoll, &wrong).start();
    let failed = [("redis", "shared"), ("result", "failed")];
    wrong.wait_for_metric("ringgate_redis_calls_total", &failed, 2.0);
    for gateway in [&right, &wrong] {
        let pages = ["/limits", "/config", "/metrics"];
        let mut said = gateway.stderr() + &gateway.stdout();
        for page in pages {
            said.push_str(gateway.admin("GET", page).text());
        }
        for secret in ["opensesame", "hunter2"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
    let page = wrong.admin("GET", "/limits").json();
    assert_eq!(page["redis"][0]["state"], "away", "{page}");
    assert!(wrong.stderr().contains("limits are not shared"));
}
