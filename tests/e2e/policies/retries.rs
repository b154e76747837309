//! Which requests get another attempt, and how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{in_front_of, nobody, saying, status};
use crate::support::{Driver, Origin, get, ok, on_both_drivers};

on_both_drivers!(
    goes_on_to_another_endpoint_when_one_cannot_be_reached,
    retries_listed_statuses_with_the_kept_body,
    gives_up_behind_the_last_attempt,
    never_repeats_a_post_that_may_have_been_acted_on,
    repeats_a_post_with_an_idempotency_key,
    does_not_keep_more_than_it_may,
    stays_within_its_budget,
    cuts_an_attempt_that_takes_too_long,
    a_route_has_its_own_policy,
    hedges_when_the_first_is_slow,
    tells_origins_how_much_time_is_left,
);

/// Says 503 so often, then what it is asked for.
fn fails_first(times: usize) -> Origin {
    let left = Arc::new(AtomicUsize::new(times));
    Origin::replying(move |request| {
        let failing = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok();
        match failing {
            true => status(503),
            false => ok(&String::from_utf8_lossy(&request.body)).into_bytes(),
        }
    })
}

fn goes_on_to_another_endpoint_when_one_cannot_be_reached(driver: Driver) {
    let (dead, origin) = (nobody(), Origin::named("alive"));
    let gateway = in_front_of(
        driver,
        &[&dead, origin.address()],
        "[upstream.retry]\non = [\"connect\"]\nbackoff = \"1ms\"",
    )
    .start();
    for _ in 0..6 {
        assert_eq!(gateway.get("/").text(), "alive");
    }
    let attempts: Vec<_> = gateway
        .log(6)
        .iter()
        .map(|line| line["attempts"].as_u64().unwrap())
        .collect();
    assert!(attempts.contains(&2), "{attempts:?}");
    // A body that nobody has read yet may go elsewhere whatever the method.
    let post = "POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nabc";
    for _ in 0..4 {
        assert_eq!(gateway.client().exchange(post).text(), "alive");
    }
}

const ON_503: &str = "[upstream.retry]\nattempts = 2\non = [\"503\"]\nbackoff = \"1ms\"";

fn retries_listed_statuses_with_the_kept_body(driver: Driver) {
    let origin = fails_first(2);
    let gateway = in_front_of(driver, &[origin.address()], ON_503).start();
    let put = "PUT /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(gateway.client().exchange(put).text(), "hello");
    assert_eq!(gateway.log_line()["attempts"], 3);
    assert_eq!(origin.requests().len(), 3);
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.body == b"hello")
    );
    assert_eq!(origin.failures(), Vec::<String>::new());
}

fn gives_up_behind_the_last_attempt(driver: Driver) {
    let origin = saying(503);
    let gateway = in_front_of(driver, &[origin.address()], ON_503).start();
    let answer = gateway.get("/");
    assert_eq!((answer.status, answer.text()), (503, "said"));
    assert_eq!(origin.requests().len(), 3);
}

fn never_repeats_a_post_that_may_have_been_acted_on(driver: Driver) {
    let origin = fails_first(1);
    let gateway = in_front_of(driver, &[origin.address()], ON_503).start();
    let post = "POST /pay HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\n100";
    assert_eq!(gateway.client().exchange(post).status, 503);
    assert_eq!(origin.requests().len(), 1);
}

fn repeats_a_post_with_an_idempotency_key(driver: Driver) {
    let origin = fails_first(1);
    let gateway = in_front_of(driver, &[origin.address()], ON_503).start();
    let post = "POST /pay HTTP/1.1\r\nHost: gateway.test\r\nIdempotency-Key: \"k\"\r\n\
                Content-Length: 3\r\n\r\n100";
    assert_eq!(gateway.client().exchange(post).text(), "100");
    assert_eq!(origin.requests().len(), 2);
}

fn does_not_keep_more_than_it_may(driver: Driver) {
    let origin = fails_first(1);
    let more = format!("{ON_503}\nbody_max = \"16B\"");
    let gateway = in_front_of(driver, &[origin.address()], &more).start();
    let put = format!(
        "PUT /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 17\r\n\r\n{}",
        "x".repeat(17)
    );
    assert_eq!(gateway.client().exchange(put).status, 503);
    assert_eq!(origin.requests().len(), 1);
}

fn stays_within_its_budget(driver: Driver) {
    let origin = saying(503);
    let more = format!("{ON_503}\nbudget = 0.2\nbudget_minimum = 0");
    let gateway = in_front_of(driver, &[origin.address()], &more).start();
    for _ in 0..100 {
        assert_eq!(gateway.get("/").status, 503);
    }
    let sent = origin.requests().len();
    assert!(
        (100..=120).contains(&sent),
        "{sent} attempts of 100 requests"
    );
}

fn cuts_an_attempt_that_takes_too_long(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            // The first connection never answers.
            if conn.index > 0 {
                conn.send(ok("at last"));
            }
        }
    });
    let more = "[upstream.retry]\non = [\"timeout\"]\ntry_timeout = \"200ms\"\nbackoff = \"1ms\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    assert_eq!(gateway.get("/").text(), "at last");
    let post = "POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(gateway.client().exchange(post).text(), "at last");
}

fn a_route_has_its_own_policy(driver: Driver) {
    let origin = fails_first(1);
    let gateway = in_front_of(driver, &[origin.address()], ON_503)
        .route(
            "once",
            "/once",
            "upstream = \"app\"\nretry = { attempts = 0 }",
        )
        .start();
    assert_eq!(gateway.get("/once").status, 503);
    assert_eq!(origin.requests().len(), 1);
}

fn hedges_when_the_first_is_slow(driver: Driver) {
    let (slow, quick) = (Arc::new(AtomicUsize::new(0)), Origin::named("quick"));
    let stuck = Arc::clone(&slow);
    let sticky = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/stuck" {
                stuck.fetch_add(1, Ordering::SeqCst);
                // Until the gateway gives this connection up.
                conn.request();
                return;
            }
            conn.send(ok("slow"));
        }
    });
    let more = "[upstream.retry]\nattempts = 1\nbudget = 1.0\nbudget_minimum = 100\n\
                hedge = { after_percentile = 0.9, after_minimum = \"20ms\" }";
    let gateway = in_front_of(driver, &[sticky.address(), quick.address()], more).start();
    // What is usual has to be known first.
    for _ in 0..400 {
        gateway.get("/");
    }
    for _ in 0..6 {
        assert_eq!(gateway.get("/stuck").text(), "quick");
    }
    assert!(slow.load(Ordering::SeqCst) > 0);
    gateway.wait_for_metric(
        "ringgate_upstream_hedges_total",
        &[("upstream", "app")],
        1.0,
    );
    gateway.wait_for_metric(
        "ringgate_upstream_hedge_wins_total",
        &[("upstream", "app")],
        1.0,
    );
}

fn tells_origins_how_much_time_is_left(driver: Driver) {
    let origin = Origin::named("a");
    let gateway = in_front_of(driver, &[origin.address()], "")
        .route(
            "timed",
            "/timed",
            "upstream = \"app\"\ntimeout = \"7s\"\ndeadline_header = \"x-left-ms\"",
        )
        .start();
    let asked = "GET /timed HTTP/1.1\r\nHost: gateway.test\r\nX-Left-Ms: 99999999\r\n\r\n";
    gateway.client().exchange(asked);
    // A client's own shortens it.
    let hasty = "GET /timed HTTP/1.1\r\nHost: gateway.test\r\nX-Left-Ms: 900\r\n\r\n";
    gateway.client().exchange(hasty);
    let told: Vec<u64> = origin
        .requests()
        .iter()
        .map(|request| request.fields.one("x-left-ms").unwrap().parse().unwrap())
        .collect();
    assert!((1000..=7000).contains(&told[0]), "{told:?}");
    assert!((1..=900).contains(&told[1]), "{told:?}");
    assert_eq!(gateway.client().exchange(get("/other")).status, 200);
}
