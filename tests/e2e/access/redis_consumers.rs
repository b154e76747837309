//! Consumers that are kept in a real Redis server, which is paused, killed and started again
//! under load.

use std::time::Duration;

use crate::support::load::{Load, Told, count};
use crate::support::redis::Redis;
use crate::support::{Driver, Gateway, Origin, Setup, get, on_both_drivers, wait_until};

on_both_drivers!(
    a_key_is_looked_up_and_remembered,
    a_server_that_comes_and_goes_lets_nobody_in_who_is_not_known,
    a_reload_keeps_what_is_known,
);

/// Of "good" and of "broken".
const GOOD: &str = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c";
const BROKEN: &str = "f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b";

fn setup(driver: Driver, origin: &Origin, redis: &Redis, ttl: &str) -> Setup {
    Setup::new(driver)
        .set("limits", "requests_per_connection_max", "\"off\"")
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[redis.people]\nurl = {:?}\ntimeout = \"200ms\"\n\
             [consumers]\nredis = \"people\"\nttl = {ttl:?}\nttl_unknown = \"0s\"\n\
             [filter.key]\ntype = \"api_key\"",
            redis.url()
        ))
        .route("open", "/open", "respond = { status = 204 }")
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"key\"]")
}

fn put(redis: &Redis, digest: &str, entry: &str) {
    let name = format!("ringgate:key:{digest}");
    assert_eq!(redis.say(&["SET", &name, entry]), "OK");
}

fn up(gateway: &Gateway) -> bool {
    gateway.metric("ringgate_consumer_store_up", &[]) == 1.0
}

fn lookups(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric("ringgate_consumer_lookups_total", &[("result", result)])
}

fn with_key(key: &str) -> String {
    format!("GET /a HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n\r\n")
}

fn ask(gateway: &Gateway, key: &str) -> u16 {
    gateway.client().exchange(with_key(key)).status
}

fn a_key_is_looked_up_and_remembered(driver: Driver) {
    let (redis, origin) = (Redis::start(), Origin::named("x"));
    put(&redis, GOOD, r#"{"name":"app","groups":["partners"]}"#);
    put(&redis, BROKEN, r#"{"name":"a b"}"#);
    let gateway = setup(driver, &origin, &redis, "1m").start();
    wait_until("it is there", || up(&gateway));
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "good"), 200);
    }
    assert_eq!(lookups(&gateway, "found"), 1.0);
    let requests = origin.requests();
    assert_eq!(requests[0].fields.one("x-consumer"), Some("app"));
    assert_eq!(
        requests[0].fields.one("x-consumer-groups"),
        Some("partners")
    );
    for _ in 0..2 {
        assert_eq!(ask(&gateway, "bad"), 401);
    }
    assert_eq!(lookups(&gateway, "nobody"), 2.0, "they were not to be kept");
    assert_eq!(ask(&gateway, "broken"), 503);
    assert_eq!(lookups(&gateway, "invalid"), 1.0);
    let codes: Vec<_> = gateway.log(6).iter().map(|l| l["code"].clone()).collect();
    assert_eq!(codes[3], "invalid_credentials", "{codes:?}");
    assert_eq!(codes[5], "auth_unavailable", "{codes:?}");
    assert!(!gateway.stderr().contains(GOOD));
}

fn only(all: &[Told], statuses: [u16; 2]) -> bool {
    statuses
        .iter()
        .map(|status| count(all, *status))
        .sum::<usize>()
        == all.len()
}

fn a_server_that_comes_and_goes_lets_nobody_in_who_is_not_known(driver: Driver) {
    let (mut redis, origin) = (Redis::start(), Origin::named("x"));
    put(&redis, GOOD, r#"{"name":"app"}"#);
    let gateway = setup(driver, &origin, &redis, "0s").start();
    wait_until("it is there", || up(&gateway));
    let good = Load::start(&[gateway.address()], 3, &with_key("good"));
    let bad = Load::start(&[gateway.address()], 3, &with_key("bad"));
    let open = Load::start(&[gateway.address()], 1, &get("/open"));
    let moment = || std::thread::sleep(Duration::from_millis(700));
    moment();
    redis.pause();
    wait_until("it is slow", || !up(&gateway));
    assert_eq!(ask(&gateway, "good"), 503);
    moment();
    redis.resume();
    wait_until("it is back", || up(&gateway));
    assert_eq!(ask(&gateway, "good"), 200);
    moment();
    redis.kill();
    wait_until("it is away", || !up(&gateway));
    assert_eq!(ask(&gateway, "good"), 503);
    moment();
    redis.start_again();
    wait_until("it is there again", || up(&gateway));
    assert_eq!(ask(&gateway, "good"), 401, "it came back empty");
    let (good, bad, open) = (good.stop(), bad.stop(), open.stop());
    assert!(count(&good, 200) > 0 && count(&good, 503) > 0);
    assert_eq!(
        count(&good, 200) + count(&good, 401) + count(&good, 503),
        good.len()
    );
    assert!(only(&bad, [401, 503]), "nobody passes whom nobody knows");
    assert_eq!(count(&open, 204), open.len(), "others do not wait");
    assert!(lookups(&gateway, "failed") > 0.0);
    let said = gateway.stderr();
    for line in ["consumers are not found", "consumers are found again"] {
        assert_eq!(said.matches(line).count(), 2, "once a change: {said}");
    }
}

fn a_reload_keeps_what_is_known(driver: Driver) {
    let (mut redis, origin) = (Redis::start(), Origin::named("x"));
    put(&redis, GOOD, r#"{"name":"app"}"#);
    let mut gateway = setup(driver, &origin, &redis, "1h").start();
    wait_until("it is there", || up(&gateway));
    assert_eq!(ask(&gateway, "good"), 200);
    redis.kill();
    wait_until("it is away", || !up(&gateway));
    gateway.rewrite(|setup| setup.route("more", "/more", "respond = { status = 204 }"));
    assert_eq!(gateway.reload().status, 200);
    wait_until("the reload is seen", || gateway.get("/more").status == 204);
    assert_eq!(ask(&gateway, "good"), 200);
    assert_eq!(ask(&gateway, "bad"), 503);
}
