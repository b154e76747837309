//! What a client reads when the gateway itself answers.

use crate::support::{Driver, Gateway, Response, Setup, on_both_drivers};

on_both_drivers!(
    speaks_json_to_who_accepts_it,
    speaks_text_to_who_prefers_it,
    tells_the_request_id,
    keeps_inner_details_to_itself,
    leaves_out_the_body_for_head,
    keeps_the_connection_after_a_404,
);

fn gateway(driver: Driver) -> Gateway {
    Setup::proxy(driver, "127.0.0.1:1").start()
}

fn ask(gateway: &Gateway, accept: &str) -> Response {
    gateway.client().exchange(format!(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\n{accept}\r\n"
    ))
}

fn speaks_json_to_who_accepts_it(driver: Driver) {
    let gateway = gateway(driver);
    for accept in [
        "Accept: application/json\r\n",
        "Accept: */*\r\n",
        "Accept: application/*, text/plain;q=0.5\r\n",
        "Accept: text/plain;q=0.2, application/json;q=0.9\r\n",
        "",
    ] {
        let response = ask(&gateway, accept);
        assert_eq!(response.status, 502);
        assert!(
            response
                .field("content-type")
                .unwrap()
                .starts_with("application/json"),
            "{accept}"
        );
        assert!(response.json().is_object());
    }
}

fn speaks_text_to_who_prefers_it(driver: Driver) {
    let gateway = gateway(driver);
    for accept in [
        "Accept: text/plain\r\n",
        "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n",
        "Accept: text/*\r\n",
        "Accept: application/json;q=0, text/*\r\n",
    ] {
        let response = ask(&gateway, accept);
        assert_eq!(response.status, 502);
        assert!(
            response
                .field("content-type")
                .unwrap()
                .starts_with("text/plain"),
            "{accept}"
        );
        assert!(serde_json::from_slice::<serde_json::Value>(&response.body).is_err());
    }
}

fn tells_the_request_id(driver: Driver) {
    let gateway = gateway(driver);
    let response = ask(&gateway, "Accept: application/json\r\n");
    let logged = gateway.log_line()["id"].as_str().unwrap().to_owned();
    assert!(
        response.text().contains(&logged),
        "{} without {logged}",
        response.text()
    );
}

fn keeps_inner_details_to_itself(driver: Driver) {
    let gateway = gateway(driver);
    for accept in ["Accept: application/json\r\n", "Accept: text/plain\r\n"] {
        let response = ask(&gateway, accept);
        for secret in ["127.0.0.1", "app", "refused", "errno", "src/"] {
            let text = response.text();
            let text = text.replace("application", "");
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

fn leaves_out_the_body_for_head(driver: Driver) {
    let gateway = gateway(driver);
    let mut client = gateway.client();
    let head = "HEAD /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
    assert_eq!(client.exchange(head).status, 502);
    assert_eq!(client.exchange(head).status, 502);
}

fn keeps_the_connection_after_a_404(driver: Driver) {
    let gateway = Setup::new(driver)
        .route(
            "ping",
            "/ping",
            "respond = { status = 200, body = \"pong\" }",
        )
        .start();
    let mut client = gateway.client();
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.get("/ping").text(), "pong");
}
