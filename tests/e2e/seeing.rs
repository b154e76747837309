//! The access log, the metrics and the other pages of the admin API.

use crate::support::{Client, Driver, Origin, Setup, get, on_both_drivers, settle};

on_both_drivers!(
    logs_a_request_as_json,
    logs_a_request_in_the_combined_format,
    logs_to_standard_output,
    logs_nothing_when_told_so,
    escapes_what_clients_send,
    logs_refused_heads,
    logs_bytes_of_both_bodies,
    counts_requests_by_route_and_class,
    counts_upstream_connections,
    healthz_and_readyz_answer,
    config_shows_what_is_in_force,
    the_admin_api_refuses_what_it_does_not_know,
    no_client_forges_a_log_line,
    gauges_return_to_nothing,
    opens_the_log_again_after_rotation,
    picks_a_driver_by_itself,
    every_request_has_its_line,
);

fn logs_a_request_as_json(driver: Driver) {
    let origin = Origin::named("hello");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let response = gateway.client().exchange(
        "GET /a?b=c HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: the \"agent\"\r\n\
         Referer: http://r.test/\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let line = gateway.log_line();
    assert_eq!(line["status"], 200, "{line}");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["target"], "/a?b=c");
    assert_eq!(line["host"], "gateway.test");
    assert_eq!(line["route"], "all");
    assert_eq!(line["upstream"], "app");
    assert_eq!(line["endpoint"], origin.address());
    assert_eq!(line["bytes_out"], 5);
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["user_agent"], "the \"agent\"");
    let seen = origin.request();
    assert_eq!(line["id"].as_str(), seen.fields.one("x-request-id"));
}

fn logs_a_request_in_the_combined_format(driver: Driver) {
    let origin = Origin::named("hello");
    let gateway = Setup::proxy(driver, origin.address())
        .set("log", "format", "\"text\"")
        .start();
    gateway.client().exchange(
        "GET /a?b=c HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: agent\r\n\
         Referer: http://r.test/\r\n\r\n",
    );
    let line = gateway.log_lines(1).remove(0);
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let rest = "] \"GET /a?b=c HTTP/1.1\" 200 5 \"http://r.test/\" \"agent\"";
    assert!(line.contains(rest), "{line}");
    assert!(line.ends_with(" -- - - -\n"), "{line}");
}

fn logs_to_standard_output(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("log", "access", "\"stdout\"")
        .start();
    gateway.get("/logged");
    crate::support::wait_until("a line on standard output", || {
        gateway.stdout().contains('\n')
    });
    let line: serde_json::Value = serde_json::from_str(gateway.stdout().trim()).unwrap();
    assert_eq!(line["target"], "/logged");
}

fn logs_nothing_when_told_so(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("log", "access", "\"off\"")
        .start();
    assert_eq!(gateway.get("/quiet").status, 200);
    assert!(gateway.stop().success());
    assert_eq!(gateway.stdout(), "");
    assert!(!gateway.stderr().contains("/quiet"));
}

fn escapes_what_clients_send(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send(
        b"GET /a?\"'\\b HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: \xff\"\\\t\xc3\xa9\r\n\r\n",
    );
    let status = client.response("GET").status;
    // Whatever the verdict, the line is one line of valid JSON.
    assert_eq!(gateway.log_line()["status"], status);
}

fn logs_refused_heads(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    client.send("GET /a HTTP/1.1\r\nHost: gateway.test\r\nBad Name: x\r\n\r\n");
    assert_eq!(client.response("GET").status, 400);
    let line = gateway.log_line();
    assert_eq!(line["status"], 400, "{line}");
    assert!(
        line["code"].as_str().is_some_and(|f| !f.is_empty()),
        "{line}"
    );
    assert_eq!(line["end"], "CH", "{line}");
}

fn logs_bytes_of_both_bodies(driver: Driver) {
    let origin = Origin::named("12345");
    let gateway = Setup::proxy(driver, origin.address()).start();
    gateway.client().exchange(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;ext\r\nabc\r\n0\r\n\r\n",
    );
    let line = gateway.log_line();
    assert_eq!(line["bytes_in"], 3, "{line}");
    assert_eq!(line["bytes_out"], 5, "{line}");
}

fn counts_requests_by_route_and_class(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route("good", "/good", "upstream = \"app\"")
        .route("tea", "/tea", "respond = { status = 418, body = \"\" }")
        .start();
    let mut client = gateway.client();
    for _ in 0..5 {
        client.get("/good");
    }
    for _ in 0..3 {
        client.get("/tea");
    }
    client.get("/nowhere");
    let total = "ringgate_requests_total";
    gateway.wait_for_metric(total, &[], 9.0);
    assert_eq!(
        gateway.metric(total, &[("route", "good"), ("class", "2xx")]),
        5.0
    );
    assert_eq!(
        gateway.metric(total, &[("route", "tea"), ("class", "4xx")]),
        3.0
    );
    let seconds = "ringgate_request_duration_seconds_count";
    assert_eq!(gateway.metric(seconds, &[("route", "good")]), 5.0);
}

fn counts_upstream_connections(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for _ in 0..4 {
        client.get("/a");
    }
    let labels = [("upstream", "app")];
    gateway.wait_for_metric("ringgate_upstream_requests_total", &labels, 4.0);
    assert_eq!(
        gateway.metric("ringgate_upstream_connects_total", &labels),
        1.0
    );
    assert_eq!(
        gateway.metric("ringgate_upstream_reused_total", &labels),
        3.0
    );
}

fn healthz_and_readyz_answer(driver: Driver) {
    let gateway = Setup::proxy(driver, "127.0.0.1:1").start();
    assert_eq!(gateway.admin("GET", "/healthz").status, 200);
    assert_eq!(gateway.admin("GET", "/readyz").status, 200);
    assert_eq!(gateway.readiness()["driver"], driver.as_str());
    assert_eq!(gateway.readiness()["pid"], gateway.pid());
}

fn config_shows_what_is_in_force(driver: Driver) {
    let gateway = Setup::proxy(driver, "127.0.0.1:1").start();
    let config = gateway.admin("GET", "/config");
    assert_eq!(config.status, 200);
    for word in ["app", "127.0.0.1:1", "/{rest*}"] {
        assert!(config.text().contains(word), "{word} in {}", config.text());
    }
    let upstreams = gateway.admin("GET", "/upstreams");
    assert_eq!(upstreams.status, 200);
    assert!(upstreams.text().contains("127.0.0.1:1"));
}

fn the_admin_api_refuses_what_it_does_not_know(driver: Driver) {
    let gateway = Setup::proxy(driver, "127.0.0.1:1").start();
    assert_eq!(gateway.admin("GET", "/nothing").status, 404);
    assert_eq!(gateway.admin("GET", "/reload").status, 405);
    assert_eq!(gateway.admin("DELETE", "/config").status, 405);
    let mut client = Client::connect(gateway.admin_address());
    client.send("nonsense\r\n\r\n");
    client.rest();
    settle();
    assert_eq!(gateway.admin("GET", "/healthz").status, 200);
    let mut client = gateway.client();
    client.send(get("/metrics"));
    assert_eq!(
        client.response("GET").status,
        502,
        "the admin API is not on the public listener"
    );
}

fn no_client_forges_a_log_line(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("log", "format", "\"text\"")
        .start();
    let mut client = gateway.client();
    client.send(b"GET /a?\" HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: a\" 200 0 \"-\" \"\xe2\x80\xa8\x85\r\n\r\n");
    let _ = client.try_response("GET");
    gateway.get("/b");
    let lines = gateway.log_lines(2);
    assert_eq!(lines.len(), 2, "{lines:?}");
    // Quotes inside fields are escaped, so the columns stay where they are.
    assert!(!lines[0].contains("a\" 200 0"), "{}", lines[0]);
}

fn gauges_return_to_nothing(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let clients: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = gateway.client();
            client.send(get("/a"));
            client
        })
        .collect();
    origin.wait_for_requests(20);
    gateway.wait_for_metric("ringgate_worker_active_requests", &[], 20.0);
    gateway.wait_for_metric("ringgate_upstream_active_requests", &[], 20.0);
    drop(clients);
    for gauge in [
        "ringgate_worker_active_requests",
        "ringgate_upstream_active_requests",
        "ringgate_worker_connections",
        "ringgate_listener_connections",
    ] {
        crate::support::wait_until(gauge, || gateway.metric(gauge, &[]) == 0.0);
    }
}

fn opens_the_log_again_after_rotation(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    gateway.get("/before");
    gateway.log(1);
    let log = gateway.setup().dir().join("access.log");
    std::fs::rename(&log, gateway.setup().dir().join("access.log.1")).unwrap();
    gateway.signal(crate::support::sys::Signal::Reopen);
    crate::support::wait_until("a new log", || {
        gateway.get("/after");
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/after"))
    });
}

fn picks_a_driver_by_itself(driver: Driver) {
    let origin = Origin::named("x");
    let auto = Setup::proxy(driver, origin.address())
        .set("runtime", "driver", "\"auto\"")
        .start();
    assert_eq!(auto.get("/a").text(), "x");
    let picked = auto.readiness()["driver"].as_str().unwrap().to_owned();
    assert!(["io_uring", "epoll"].contains(&picked.as_str()), "{picked}");
}

fn every_request_has_its_line(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "workers", "2")
        .start();
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(get("/a").repeat(100));
        for _ in 0..100 {
            assert_eq!(client.response("GET").status, 200);
        }
    }
    assert!(gateway.stop().success());
    let lines = gateway.log(2000);
    assert_eq!(lines.len(), 2000);
    let ids: std::collections::HashSet<String> =
        lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), 2000, "each request has an id of its own");
}

#[test]
fn a_full_disk_costs_lines_but_no_traffic() {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(Driver::Epoll, origin.address())
        .set("log", "access", "\"/dev/full\"")
        .start();
    assert_eq!(gateway.get("/a").status, 200);
    gateway.wait_for_metric("ringgate_log_write_errors_total", &[], 1.0);
    assert_eq!(gateway.get("/b").text(), "x");
    gateway.wait_for_metric("ringgate_log_write_errors_total", &[], 2.0);
    let stderr = gateway.stderr();
    let said = stderr.matches("the access log cannot be written").count();
    assert_eq!(said, 1, "{stderr}");
}
