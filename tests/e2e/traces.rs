//! What one exchange leaves behind never shows in another one: exchanges, heads and blocks
//! are used again, their contents are not.

use crate::support::{Client, Driver, Framing, Gateway, Origin, Setup, get, on_both_drivers};

on_both_drivers!(
    trailers_of_an_answer_stay_with_it,
    trailers_of_a_request_stay_with_it,
    a_refused_head_has_an_id_of_its_own,
    a_refused_head_shows_nothing_of_an_earlier_client,
);

/// Answers `/trailers` with trailers and everything else until it closes.
fn with_and_without_trailers() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/trailers" {
                conn.send(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3\r\nabc\r\n0\r\nX-Secret: 1\r\n\r\n",
                );
            } else {
                conn.send("HTTP/1.1 200 OK\r\n\r\nplain");
                return;
            }
        }
    })
}

fn trailers_of_an_answer_stay_with_it(driver: Driver) {
    let origin = with_and_without_trailers();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let (mut first, mut second) = (gateway.client(), gateway.client());
    for _ in 0..5 {
        let response = first.get("/trailers");
        assert_eq!(response.trailers.one("x-secret"), Some("1"));
        for client in [&mut second, &mut first] {
            let response = client.get("/plain");
            assert_eq!(response.framing, Framing::Chunked);
            assert_eq!(response.text(), "plain");
            assert!(!response.trailers.has("x-secret"), "{response:?}");
        }
    }
}

fn trailers_of_a_request_stay_with_it(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut clients = [gateway.client(), gateway.client()];
    for turn in 0..6 {
        let trailers = if turn % 2 == 0 { "X-Secret: 1\r\n" } else { "" };
        let post = format!(
            "POST /{turn} HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\n{trailers}\r\n"
        );
        assert_eq!(clients[turn / 2 % 2].exchange(post).text(), "x");
    }
    for (turn, request) in origin.requests().iter().enumerate() {
        assert_eq!(request.body, b"abc");
        assert_eq!(request.trailers.has("x-secret"), turn % 2 == 0, "{turn}");
    }
}

/// Sends a head that is refused; the answer's request id.
fn refused_id(gateway: &Gateway, head: &str, status: u16) -> String {
    let mut client = gateway.client();
    client.send(head);
    let response = client.response("GET");
    assert_eq!(response.status, status, "{}", response.text());
    let id = response.field("x-request-id").unwrap().to_owned();
    assert_eq!(response.json()["request_id"], id.as_str());
    id
}

fn a_refused_head_has_an_id_of_its_own(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut kept = gateway.client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let response = kept.get("/a");
        ids.push(response.field("x-request-id").unwrap().to_owned());
        let broken = "GET /a HTTP/1.1\r\nHost: gateway.test\r\nBad Name: x\r\n\r\n";
        ids.push(refused_id(&gateway, broken, 400));
        let many = format!(
            "{}{}\r\n",
            &get("/a")[..get("/a").len() - 2],
            "A: b\r\n".repeat(300)
        );
        ids.push(refused_id(&gateway, &many, 431));
    }
    let logged: Vec<String> = gateway
        .log(ids.len())
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(logged, ids);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 9, "no id came twice");
}

fn a_refused_head_shows_nothing_of_an_earlier_client(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("forwarded", "trusted", "[\"127.0.0.0/8\"]")
        .start();
    let first = gateway.client().exchange(
        "GET /secret HTTP/1.1\r\nHost: secret.test\r\nX-Forwarded-For: 203.0.113.7\r\n\
         User-Agent: secret\r\nX-Request-Id: secret-id\r\n\r\n",
    );
    assert_eq!(first.field("x-request-id"), Some("secret-id"));
    for broken in ["nonsense\r\n\r\n", "GET /b HTTP/1.1\r\nHost : x\r\n\r\n"] {
        let mut client: Client = gateway.client();
        client.send(broken);
        let response = client.response("GET");
        assert_eq!(response.status, 400);
        assert!(!format!("{response:?}").contains("secret"), "{response:?}");
    }
    for line in &gateway.log(3)[1..] {
        assert_eq!(line["client"], "127.0.0.1", "{line}");
        assert!(!line.to_string().contains("secret"), "{line}");
    }
}
