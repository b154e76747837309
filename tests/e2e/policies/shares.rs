//! Which upstream gets which share of a route's requests, and which endpoint a client.

use std::collections::HashSet;

use super::{in_front_of, saying};
use crate::support::{Driver, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    conditions_of_a_branch_win_over_weights,
    a_key_falls_to_one_side_always,
    a_canary_gets_its_share_and_is_halted_when_it_fails,
    a_cookie_keeps_a_client_with_its_endpoint,
    a_forged_cookie_means_nothing,
    hashes_a_key_to_one_endpoint,
    a_second_group_takes_over_when_the_first_is_gone,
);

fn asking(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: gateway.test\r\n{more}\r\n")
}

fn two(driver: Driver, route: &str) -> (Setup, [Origin; 2]) {
    let origins = [Origin::named("one"), Origin::named("two")];
    let setup = Setup::new(driver)
        .upstream("one", origins[0].address(), "")
        .upstream("two", origins[1].address(), "")
        .route("all", "/{rest*}", route);
    (setup, origins)
}

fn conditions_of_a_branch_win_over_weights(driver: Driver) {
    let split = "split = [{ upstream = \"one\", weight = 1 }, { upstream = \"two\", headers = { x-beta = \"yes\" } }, \
                 { upstream = \"two\", cookies = { beta = \"1\" } }]";
    let (setup, _origins) = two(driver, split);
    let gateway = setup.start();
    for _ in 0..10 {
        let mut client = gateway.client();
        assert_eq!(client.exchange(asking("")).text(), "one");
        assert_eq!(client.exchange(asking("X-Beta: yes\r\n")).text(), "two");
        assert_eq!(client.exchange(asking("X-Beta: no\r\n")).text(), "one");
        assert_eq!(
            client.exchange(asking("Cookie: a=b; beta=1\r\n")).text(),
            "two"
        );
    }
}

fn a_key_falls_to_one_side_always(driver: Driver) {
    let split = "split = [{ upstream = \"one\", weight = 1 }, { upstream = \"two\", weight = 1 }]\n\
                 split_key = \"cookie:uid\"";
    let (setup, _origins) = two(driver, split);
    let gateway = setup.start();
    let mut sides = HashSet::new();
    for uid in 0..40 {
        let ask = asking(&format!("Cookie: uid={uid}\r\n"));
        let first = gateway.client().exchange(&ask).text().to_owned();
        for _ in 0..3 {
            assert_eq!(gateway.client().exchange(&ask).text(), first);
        }
        sides.insert(first);
    }
    assert_eq!(sides.len(), 2);
}

fn a_canary_gets_its_share_and_is_halted_when_it_fails(driver: Driver) {
    let (stable, canary) = (saying(200), saying(500));
    let route = "upstream = \"stable\"\n\
                 canary = { upstream = \"canary\", from = 0.5, to = 0.5, over = \"1h\", \
                 halt = { error_ratio = 0.5, minimum_requests = 10, window = \"1m\" } }";
    let gateway = Setup::new(driver)
        .upstream("stable", stable.address(), "")
        .upstream("canary", canary.address(), "")
        .route("all", "/{rest*}", route)
        .start();
    wait_until("the canary is halted", || {
        (0..20).all(|_| gateway.get("/").status == 200)
    });
    assert!(canary.requests().len() >= 10);
    let sent = canary.requests().len();
    for _ in 0..50 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(canary.requests().len(), sent);
}

const STICKY: &str =
    "sticky = { cookie = \"node\", secret = \"a secret of thirty-two characters\" }";

fn three() -> [Origin; 3] {
    ["a", "b", "c"].map(Origin::named)
}

fn addresses(origins: &[Origin]) -> Vec<&str> {
    origins.iter().map(Origin::address).collect()
}

fn a_cookie_keeps_a_client_with_its_endpoint(driver: Driver) {
    let origins = three();
    let gateway = in_front_of(driver, &addresses(&origins), STICKY).start();
    for _ in 0..6 {
        let first = gateway.get("/");
        let cookie = first.field("set-cookie").unwrap().to_owned();
        let value = cookie.split(';').next().unwrap();
        assert!(cookie.contains("HttpOnly"), "{cookie}");
        for _ in 0..5 {
            let again = gateway
                .client()
                .exchange(asking(&format!("Cookie: {value}\r\n")));
            assert_eq!(again.text(), first.text());
            assert_eq!(again.field("set-cookie"), None);
        }
    }
}

fn a_forged_cookie_means_nothing(driver: Driver) {
    let origins = three();
    let gateway = in_front_of(driver, &addresses(&origins), STICKY).start();
    let cookie = gateway.get("/").field("set-cookie").unwrap().to_owned();
    let value = cookie.split(';').next().unwrap();
    let mut forged = value.to_owned();
    let last = forged.pop().unwrap();
    forged.push(if last == '0' { '1' } else { '0' });
    for bad in [forged.as_str(), "node=", "node=....", "node=\u{e9}"] {
        let answer = gateway
            .client()
            .exchange(asking(&format!("Cookie: {bad}\r\n")));
        assert_eq!(answer.status, 200, "{bad}");
        assert!(answer.field("set-cookie").is_some(), "{bad}");
    }
}

fn hashes_a_key_to_one_endpoint(driver: Driver) {
    let origins = three();
    let more = "balance = \"consistent_hash\"\nhash_key = \"header:x-user\"";
    let gateway = in_front_of(driver, &addresses(&origins), more).start();
    let mut all = HashSet::new();
    for user in 0..30 {
        let ask = asking(&format!("X-User: {user}\r\n"));
        let first = gateway.client().exchange(&ask).text().to_owned();
        assert_eq!(gateway.client().exchange(&ask).text(), first);
        all.insert(first);
    }
    assert_eq!(all.len(), 3);
}

fn a_second_group_takes_over_when_the_first_is_gone(driver: Driver) {
    let spare = Origin::named("spare");
    let dead = super::nobody();
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = [{{ address = \"{dead}\" }}, \
             {{ address = \"{}\", priority = 1 }}]\npanic_below = 0.0\n\
             [upstream.health]\ntype = \"tcp\"\ninterval = \"100ms\"\nunhealthy_after = 1",
            spare.address()
        ))
        .catch_all("app")
        .start();
    wait_until("the spare takes over", || gateway.get("/").status == 200);
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "spare");
    }
}
