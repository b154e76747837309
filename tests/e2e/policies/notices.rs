//! What the operational log says of what policies do by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::{in_front_of, saying, status};
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    a_breaker_that_turns_has_its_lines,
    an_ejected_endpoint_has_its_lines,
    panic_has_its_lines,
    overload_has_its_lines,
    a_canary_that_halts_has_its_line,
);

const APP: &str = "\"upstream\":\"app\"";

/// Waits for lines with all of these words, which requests bring about.
fn wait_for_line(gateway: &Gateway, words: &[&str]) {
    wait_until(&format!("a line with {words:?}"), || {
        gateway.get("/");
        let said = gateway.stderr();
        said.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    });
}

/// An origin whose status can be changed.
fn changing(code: u16) -> (Origin, Arc<AtomicU16>) {
    let code = Arc::new(AtomicU16::new(code));
    let said = Arc::clone(&code);
    let origin = Origin::replying(move |_| status(said.load(Ordering::SeqCst)));
    (origin, code)
}

fn a_breaker_that_turns_has_its_lines(driver: Driver) {
    let (origin, code) = changing(500);
    let more = "[upstream.breaker]\nminimum_requests = 10\nopen_for = \"2s\"";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    let about = [APP, "\"endpoint\":\"all\""];
    let line = |words: &[&str]| wait_for_line(&gateway, &[&about, words].concat());
    line(&["the circuit breaker has opened", "requests failed", "WARN"]);
    code.store(200, Ordering::SeqCst);
    line(&["the circuit breaker has closed again", "INFO"]);
}

fn an_ejected_endpoint_has_its_lines(driver: Driver) {
    let ((bad, code), good) = (changing(500), saying(200));
    let more = "[upstream.outlier]\nconsecutive_5xx = 3\nejection = \"2s\"\nejected_max = 0.5";
    let gateway = in_front_of(driver, &[bad.address(), good.address()], more).start();
    let endpoint = format!("\"endpoint\":\"{}\"", bad.address());
    let about = [APP, &endpoint];
    let line = |words: &[&str]| wait_for_line(&gateway, &[&about, words].concat());
    line(&["the endpoint is ejected", "failed in a row", "WARN"]);
    code.store(200, Ordering::SeqCst);
    line(&["the endpoint is back", "INFO"]);
}

fn panic_has_its_lines(driver: Driver) {
    let origins: [_; 2] = std::array::from_fn(|_| changing(503));
    let health = "[upstream.health]\npath = \"/\"\ninterval = \"500ms\"\nunhealthy_after = 1\nhealthy_after = 1";
    let addresses = [origins[0].0.address(), origins[1].0.address()];
    let gateway = in_front_of(driver, &addresses, health).start();
    wait_for_line(&gateway, &["too few endpoints are well", APP]);
    for (_, code) in &origins {
        code.store(200, Ordering::SeqCst);
    }
    wait_for_line(&gateway, &["enough endpoints are well again"]);
}

fn overload_has_its_lines(driver: Driver) {
    let origin = saying(200);
    let mut gateway = in_front_of(driver, &[origin.address()], "")
        .set("overload", "memory_max", "\"16MiB\"")
        .start();
    wait_for_line(&gateway, &["the worker has too much to do", "\"worker\":0"]);
    gateway.rewrite(|setup| setup.set("overload", "memory_max", "\"64GiB\""));
    assert_eq!(gateway.reload().status, 200);
    wait_for_line(&gateway, &["refuses no requests for overload any more"]);
}

fn a_canary_that_halts_has_its_line(driver: Driver) {
    let (stable, canary) = (saying(200), saying(500));
    let route = "upstream = \"stable\"\n\
                 canary = { upstream = \"canary\", from = 0.5, to = 0.5, over = \"1h\", \
                 halt = { error_ratio = 0.5, minimum_requests = 10, window = \"1m\" } }";
    let gateway = Setup::new(driver)
        .upstream("stable", stable.address(), "")
        .upstream("canary", canary.address(), "")
        .route("all", "/{rest*}", route)
        .start();
    wait_for_line(
        &gateway,
        &["the canary has halted", "\"route\":\"all\"", "WARN"],
    );
    let resumed = gateway.admin("POST", "/routes/all/canary/resume");
    assert_eq!(resumed.status, 200);
}
