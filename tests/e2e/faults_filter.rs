//! Faults that are injected on purpose.

use crate::support::curl::curl_text;
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    an_abort_answers_in_the_origins_place,
    a_delay_lets_others_go_first,
    only_requests_with_the_field_take_part,
    a_share_hits_some,
    a_client_that_leaves_while_it_is_delayed_costs_nothing,
);

fn injecting(driver: Driver, origin: &Origin, fault: &str) -> Gateway {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.trial]\ntype = \"fault\"\n{fault}"))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"trial\"]")
        .start()
}

fn an_abort_answers_in_the_origins_place(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = injecting(driver, &origin, "abort = 502\nabort_share = 1.0");
    let response = gateway.get("/a");
    assert_eq!(response.status, 502);
    assert_eq!(response.json()["code"], "fault_injected");
    let line = gateway.log_line();
    assert_eq!(
        (&line["code"], &line["end"]),
        (&"fault_injected".into(), &"GP".into())
    );
    assert!(origin.requests().is_empty());
}

fn a_delay_lets_others_go_first(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = injecting(driver, &origin, "delay = \"5s\"\nheader = \"x-fault\"");
    let mut delayed = gateway.client();
    delayed.send("GET /late HTTP/1.1\r\nHost: gateway.test\r\nX-Fault: 1\r\n\r\n");
    // The worker has taken it before it takes the next connection.
    gateway.wait_for_metric("ringgate_worker_active_requests", &[], 1.0);
    assert_eq!(gateway.get("/early").text(), "x");
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(delayed.response("GET").text(), "x");
    let requests = origin.requests();
    let targets: Vec<&str> = requests.iter().map(|r| &*r.target).collect();
    assert_eq!(targets, ["/early", "/late"]);
}

fn only_requests_with_the_field_take_part(driver: Driver) {
    let origin = Origin::named("x");
    let fault = "abort = 500\nabort_share = 1.0\nheader = \"x-fault\"";
    let gateway = injecting(driver, &origin, fault);
    let url = format!("http://{}/a", gateway.address());
    assert_eq!(curl_text(&[&url]), "x");
    let status = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "X-Fault: yes",
    ];
    assert_eq!(curl_text(&[&status[..], &[&url]].concat()), "500");
}

fn a_share_hits_some(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = injecting(driver, &origin, "abort = 503\nabort_share = 0.5");
    let mut client = gateway.client();
    let aborted = (0..100).filter(|_| client.get("/a").status == 503).count();
    // Neither comes once in a lifetime.
    assert!((10..90).contains(&aborted), "{aborted}");
    assert_eq!(origin.requests().len(), 100 - aborted);
}

fn a_client_that_leaves_while_it_is_delayed_costs_nothing(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = injecting(driver, &origin, "delay = \"2s\"");
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(crate::support::get("/a"));
        client.reset();
    }
    assert_eq!(gateway.get("/a").text(), "x");
    wait_until("all are gone", || {
        gateway.metric("ringgate_worker_active_requests", &[]) == 0.0
    });
}
