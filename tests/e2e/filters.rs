//! The filters so far, through the whole gateway.

use crate::support::{Driver, Origin, Setup, ok, on_both_drivers};

on_both_drivers!(
    edits_request_fields,
    edits_response_fields,
    edits_answers_of_the_gateway_too,
    rewrites_by_prefix,
    rewrites_by_template,
    limits_a_body_by_its_length,
    limits_a_body_as_it_streams,
    runs_filters_in_the_order_of_the_route,
    counts_what_filters_cost,
);

fn edits_request_fields(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(
            "[filter.edit]\ntype = \"headers\"\n\
             request.set = { x-set = \"new\" }\n\
             request.add = { x-add = \"more\" }\n\
             request.remove = [\"x-secret\"]",
        )
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"edit\"]")
        .start();
    let response = gateway.client().exchange(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Set: old\r\nx-SET: older\r\n\
         X-Add: first\r\nX-Secret: s\r\nX-secret: t\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let request = origin.request();
    assert_eq!(request.fields.all("x-set"), ["new"]);
    assert_eq!(request.fields.all("x-add"), ["first", "more"]);
    assert!(!request.fields.has("x-secret"));
}

const RESPONSE_EDIT: &str = "[filter.edit]\ntype = \"headers\"\n\
    response.set = { x-set = \"new\" }\n\
    response.add = { x-add = \"more\" }\n\
    response.remove = [\"server\", \"x-powered-by\"]";

fn edits_response_fields(driver: Driver) {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nServer: inner\r\nX-Powered-By: secret\r\nX-Set: a\r\nX-Add: b\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(RESPONSE_EDIT)
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"edit\"]")
        .start();
    let response = gateway.get("/a");
    assert_eq!(response.fields.all("x-set"), ["new"]);
    assert_eq!(response.fields.all("x-add"), ["b", "more"]);
    assert!(!response.fields.has("x-powered-by"));
    assert_ne!(response.field("server"), Some("inner"));
}

fn edits_answers_of_the_gateway_too(driver: Driver) {
    let gateway = Setup::new(driver)
        .body(RESPONSE_EDIT)
        .route(
            "ping",
            "/ping",
            "respond = { status = 200, body = \"pong\" }\nfilters = [\"edit\"]",
        )
        .start();
    let response = gateway.get("/ping");
    assert_eq!(response.text(), "pong");
    assert_eq!(response.field("x-set"), Some("new"));
}

fn rewritten(driver: Driver, filter: &str, path: &str, target: &str) -> String {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.path]\ntype = \"rewrite\"\n{filter}"))
        .route("all", path, "upstream = \"app\"\nfilters = [\"path\"]")
        .start();
    assert_eq!(gateway.get(target).status, 200);
    origin.request().target
}

fn rewrites_by_prefix(driver: Driver) {
    let filter = "strip_prefix = \"/api\"\nadd_prefix = \"/v2\"";
    assert_eq!(
        rewritten(driver, filter, "/{r*}", "/api/users?a=/api"),
        "/v2/users?a=/api"
    );
    assert_eq!(
        rewritten(driver, filter, "/{r*}", "/apis/users"),
        "/v2/apis/users"
    );
}

fn rewrites_by_template(driver: Driver) {
    let filter = "path = \"/items/{id}/of/{shop}\"";
    assert_eq!(
        rewritten(driver, filter, "/{shop}/{id}", "/fruit/7%2B?x=1"),
        "/items/7%2B/of/fruit?x=1"
    );
}

fn limited(driver: Driver, origin: &Origin) -> crate::support::Gateway {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body("[filter.small]\ntype = \"body_limit\"\nmax = \"1KiB\"")
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"small\"]")
        .start()
}

fn limits_a_body_by_its_length(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = limited(driver, &origin);
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1025\r\n\r\n");
    assert_eq!(client.response("POST").status, 413);
    assert!(origin.seen().iter().all(Vec::is_empty));
    let body = "x".repeat(1024);
    let response = gateway.client().exchange(format!(
        "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1024\r\n\r\n{body}"
    ));
    assert_eq!(response.status, 200);
}

fn limits_a_body_as_it_streams(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = limited(driver, &origin);
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..8 {
        if !client.try_send(format!("100\r\n{}\r\n", "x".repeat(256))) {
            break;
        }
    }
    assert_eq!(client.response("POST").status, 413);
    assert!(origin.requests().is_empty());
    origin.wait_until_closed();
}

fn runs_filters_in_the_order_of_the_route(driver: Driver) {
    let origin = Origin::replying(|r| ok(r.fields.one("x-who").unwrap()).into_bytes());
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(
            "[filter.first]\ntype = \"headers\"\nrequest.set = { x-who = \"first\" }\n\
             [filter.second]\ntype = \"headers\"\nrequest.set = { x-who = \"second\" }",
        )
        .route(
            "a",
            "/a",
            "upstream = \"app\"\nfilters = [\"first\", \"second\"]",
        )
        .route(
            "b",
            "/b",
            "upstream = \"app\"\nfilters = [\"second\", \"first\"]",
        )
        .start();
    assert_eq!(gateway.get("/a").text(), "second");
    assert_eq!(gateway.get("/b").text(), "first");
}

fn counts_what_filters_cost(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = limited(driver, &origin);
    let mut client = gateway.client();
    for _ in 0..10 {
        client.get("/a");
    }
    wait_for(&gateway, 10.0);
    assert!(
        gateway
            .metrics()
            .contains("ringgate_filter_seconds_total{filter=\"small\"")
    );
}

fn wait_for(gateway: &crate::support::Gateway, calls: f64) {
    gateway.wait_for_metric("ringgate_filter_calls_total", &[("filter", "small")], calls);
}
