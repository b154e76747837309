//! Circuits that open, and endpoints that are ejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{in_front_of, saying, status};
use crate::support::load::{Load, count};
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    opens_when_half_of_the_requests_fail_and_closes_behind_good_trials,
    keeps_its_state_over_reloads,
    counts_over_all_workers,
    breaks_single_endpoints,
    ejects_an_endpoint_that_fails_in_a_row,
    never_ejects_the_only_endpoint,
    a_client_that_is_slow_to_send_breaks_nothing,
    a_thousand_reloads_under_load_lose_no_state,
);

const BREAKER: &str = "[upstream.breaker]\nerror_ratio = 0.5\nwindow = \"10s\"\n\
    minimum_requests = 10\nopen_for = \"300ms\"\nprobes = 2";

/// An origin whose status can be changed.
fn changing() -> (Origin, Arc<AtomicU16>) {
    let code = Arc::new(AtomicU16::new(200));
    let said = Arc::clone(&code);
    let origin = Origin::replying(move |_| status(said.load(Ordering::SeqCst)));
    (origin, code)
}

fn opens_when_half_of_the_requests_fail_and_closes_behind_good_trials(driver: Driver) {
    let (origin, code) = changing();
    let gateway = in_front_of(driver, &[origin.address()], BREAKER).start();
    code.store(500, Ordering::SeqCst);
    wait_until("the circuit opens", || gateway.get("/").status == 503);
    let before = origin.requests().len();
    let refused = gateway.get("/");
    assert_eq!(refused.status, 503);
    assert!(refused.field("retry-after").is_some());
    assert_eq!(
        origin.requests().len(),
        before,
        "nothing reaches the origin"
    );
    let lines = gateway.log(before + 2);
    assert_eq!(lines[before + 1]["code"], "circuit_open");
    assert_eq!(lines[before + 1]["end"], "GC");
    code.store(200, Ordering::SeqCst);
    wait_until("the circuit closes", || gateway.get("/").status == 200);
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }
}

fn keeps_its_state_over_reloads(driver: Driver) {
    let origin = saying(500);
    let breaker = BREAKER
        .replace("300ms", "10m")
        .replace("probes", "open_for_max = \"10m\"\nprobes");
    let mut gateway = in_front_of(driver, &[origin.address()], &breaker).start();
    wait_until("the circuit opens", || gateway.get("/").status == 503);
    for round in 0..5 {
        let path = format!("/more-{round}");
        gateway.rewrite(|setup| {
            setup.route(&format!("r{round}"), &path, "respond = { status = 204 }")
        });
        assert_eq!(gateway.reload().status, 200);
        assert_eq!(gateway.get(&path).status, 204);
        assert_eq!(gateway.get("/").status, 503);
    }
}

fn counts_over_all_workers(driver: Driver) {
    let origin = saying(500);
    let breaker = BREAKER
        .replace("300ms", "10m")
        .replace("probes", "open_for_max = \"10m\"\nprobes");
    let gateway = in_front_of(driver, &[origin.address()], &breaker)
        .set("runtime", "workers", "2")
        .set("runtime", "cores", "\"auto\"")
        .start();
    wait_until("the circuit opens", || gateway.get("/").status == 503);
    // Both workers hear of it: fresh connections fall to either.
    wait_until("everybody knows", || {
        (0..20).all(|_| gateway.get("/").status == 503)
    });
    let sent = origin.requests().len();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 503);
    }
    assert_eq!(origin.requests().len(), sent);
}

fn breaks_single_endpoints(driver: Driver) {
    let (bad, good) = (saying(500), saying(200));
    let breaker = BREAKER.replace("300ms", "10m").replace(
        "probes",
        "open_for_max = \"10m\"\nscope = \"endpoint\"\nprobes",
    );
    let gateway = in_front_of(driver, &[bad.address(), good.address()], &breaker).start();
    wait_until("its circuit opens", || {
        (0..10).all(|_| gateway.get("/").status == 200)
    });
    let sent = bad.requests().len();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }
    assert_eq!(bad.requests().len(), sent);
}

fn ejects_an_endpoint_that_fails_in_a_row(driver: Driver) {
    let ((bad, code), good) = (changing(), saying(200));
    code.store(500, Ordering::SeqCst);
    let more = "[upstream.outlier]\nconsecutive_5xx = 3\nejection = \"300ms\"\nejected_max = 0.5";
    let gateway = in_front_of(driver, &[bad.address(), good.address()], more).start();
    wait_until("it is ejected", || {
        gateway.get("/").status == 200 && bad.requests().len() >= 3
    });
    code.store(200, Ordering::SeqCst);
    let sent = bad.requests().len();
    wait_until("it is back", || {
        assert_eq!(gateway.get("/").status, 200);
        bad.requests().len() > sent
    });
}

fn never_ejects_the_only_endpoint(driver: Driver) {
    let bad = saying(500);
    let more =
        "[upstream.outlier]\nconsecutive_5xx = 3\nejection = \"10m\"\nejection_max = \"10m\"";
    let gateway = in_front_of(driver, &[bad.address()], more).start();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 500);
    }
    assert_eq!(bad.requests().len(), 20);
}

fn a_client_that_is_slow_to_send_breaks_nothing(driver: Driver) {
    let origin = saying(200);
    let more = BREAKER.replace("minimum_requests = 10", "minimum_requests = 1");
    let gateway = in_front_of(driver, &[origin.address()], &more)
        .set("limits", "body_timeout", "\"300ms\"")
        .start();
    for _ in 0..3 {
        let mut client = gateway.client();
        client.send("POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 100000\r\n\r\nslow");
        assert_eq!(client.response("POST").status, 408);
    }
    assert_eq!(gateway.get("/").status, 200);
}

fn a_thousand_reloads_under_load_lose_no_state(driver: Driver) {
    let (bad, good, dead) = (saying(500), saying(200), super::nobody());
    let breaker = BREAKER
        .replace("300ms", "10m")
        .replace("probes", "open_for_max = \"10m\"\nprobes");
    let gateway_of = |round: usize| {
        format!(
            "[[upstream]]\nname = \"bad\"\nendpoints = [\"{}\"]\n{breaker}\n\
             [[upstream]]\nname = \"app\"\nendpoints = [\"{}\", \"{}\"]\npanic_below = 0.2\n\
             [upstream.health]\ntype = \"tcp\"\ninterval = \"100ms\"\nunhealthy_after = 1\n\
             [filter.few]\ntype = \"rate_limit\"\nkey = \"route\"\nlimit = 3\nper = \"1h\"\n\
             [[route]]\nname = \"few\"\npath = \"/few\"\nfilters = [\"few\"]\nrespond = {{ status = 204 }}\n\
             [[route]]\nname = \"bad\"\npath = \"/bad\"\nupstream = \"bad\"\n\
             [[route]]\nname = \"app\"\npath = \"/app\"\nupstream = \"app\"\n\
             [[route]]\nname = \"round\"\npath = \"/round-{round}\"\nrespond = {{ status = 204 }}\n",
            bad.address(),
            good.address(),
            dead,
        )
    };
    let mut gateway = Setup::new(driver).body(&gateway_of(0)).start();
    wait_until("the circuit opens", || gateway.get("/bad").status == 503);
    wait_until("the check has failed", || {
        (0..10).all(|_| gateway.get("/app").status == 200)
    });
    let few = |gateway: &Gateway| (0..5).filter(|_| gateway.get("/few").status == 204).count();
    assert_eq!(few(&gateway), 3);
    let asked = crate::support::get("/app");
    let load = Load::start(&[gateway.address()], 2, &asked);
    for round in 1..=1000 {
        gateway.rewrite(|setup| setup.without_body().body(&gateway_of(round)));
        assert_eq!(gateway.reload().status, 200);
        if round % 100 == 0 {
            assert_eq!(gateway.get("/bad").status, 503, "round {round}");
            assert_eq!(few(&gateway), 0, "round {round}");
        }
    }
    let all = load.stop();
    assert_eq!(count(&all, 200), all.len());
}
