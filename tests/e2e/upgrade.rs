//! Protocol upgrades: WebSocket tunnels pass, everything else does not become a tunnel.

use crate::support::{Conn, Driver, Gateway, Origin, Setup, on_both_drivers};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

on_both_drivers!(
    opens_a_tunnel,
    passes_bytes_in_the_segment_of_the_101,
    passes_bytes_in_the_segment_of_the_request,
    passes_half_closes_both_ways,
    closes_the_client_when_the_origin_resets,
    closes_the_origin_when_the_client_vanishes,
    relays_a_refusal_and_keeps_the_connection,
    drops_the_upgrade_where_the_route_forbids_it,
    drops_an_upgrade_to_h2c,
    refuses_a_101_nobody_asked_for,
    carries_much_data_both_ways,
    refuses_a_switch_to_another_protocol,
);

fn tunnel(driver: Driver, origin: &Origin) -> Gateway {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route(
            "all",
            "/{rest*}",
            "upstream = \"app\"\nupgrade = \"websocket\"",
        )
        .start()
}

/// Switches and then sends every byte back until the client ends.
fn echo(conn: &mut Conn) {
    if conn.request().is_none() {
        return;
    }
    conn.send(SWITCHING);
    loop {
        let held = conn.reader().held().len();
        if held > 0 {
            let bytes = conn.take(held).unwrap();
            conn.send(bytes);
        }
        if !matches!(conn.reader().fill(), Ok(n) if n > 0) {
            break;
        }
    }
}

fn opens_a_tunnel(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    let response = client.exchange(UPGRADE);
    assert_eq!(response.status, 101);
    assert_eq!(
        response
            .field("upgrade")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("websocket")
    );
    assert!(
        response
            .field("connection")
            .unwrap()
            .to_ascii_lowercase()
            .contains("upgrade")
    );
    for word in ["one", "two", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(word);
        assert_eq!(client.take(word.len()), word.as_bytes());
    }
    let request = origin.request();
    assert_eq!(request.fields.one("upgrade"), Some("websocket"));
    assert_eq!(
        request
            .fields
            .one("connection")
            .map(str::to_ascii_lowercase)
            .as_deref(),
        Some("upgrade")
    );
    assert_eq!(request.fields.one("sec-websocket-version"), Some("13"));
}

fn passes_bytes_in_the_segment_of_the_101(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(format!("{SWITCHING}\x01\x02first frame"));
        conn.stall();
    });
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    assert_eq!(client.take(13), b"\x01\x02first frame");
}

fn passes_bytes_in_the_segment_of_the_request(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    // RFC 6455 has the client wait; one that does not must not lose or leak its bytes.
    client.send(format!("{UPGRADE}eager"));
    let response = client.response("GET");
    if response.status == 101 {
        assert_eq!(client.take(5), b"eager");
    } else {
        assert_eq!(response.status, 400);
    }
}

fn passes_half_closes_both_ways(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(SWITCHING);
        // The client's end arrives while this side goes on sending.
        conn.stall();
        conn.send("still here");
        conn.finish_sending();
    });
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    client.send("bye");
    client.finish_sending();
    assert_eq!(client.take(10), b"still here");
    client.expect_closed();
    assert!(origin.seen()[0].ends_with(b"bye"));
    origin.wait_until_closed();
}

fn closes_the_client_when_the_origin_resets(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(SWITCHING);
        conn.take(2);
        conn.reset();
    });
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    client.send("go");
    client.expect_closed();
}

fn closes_the_origin_when_the_client_vanishes(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    client.send("x");
    assert_eq!(client.take(1), b"x");
    client.reset();
    origin.wait_until_closed();
}

fn relays_a_refusal_and_keeps_the_connection(driver: Driver) {
    let origin = Origin::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    let response = client.exchange(UPGRADE);
    assert_eq!((response.status, response.text()), (403, "no"));
    assert_eq!(client.get("/next").status, 403);
}

fn drops_the_upgrade_where_the_route_forbids_it(driver: Driver) {
    let origin = Origin::named("plain");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .route("all", "/{rest*}", "upstream = \"app\"\nupgrade = \"off\"")
        .start();
    let response = gateway.client().exchange(UPGRADE);
    assert_eq!((response.status, response.text()), (200, "plain"));
    let request = origin.request();
    assert!(!request.fields.has("upgrade"));
    assert!(!request.fields.has("connection"));
}

fn drops_an_upgrade_to_h2c(driver: Driver) {
    let origin = Origin::named("plain");
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    let response = client.exchange(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    );
    assert_eq!((response.status, response.text()), (200, "plain"));
    let request = origin.request();
    assert!(!request.fields.has("upgrade"));
    assert!(!request.fields.has("http2-settings"));
    assert_eq!(client.get("/next").text(), "plain");
}

fn refuses_a_101_nobody_asked_for(driver: Driver) {
    let origin = Origin::answering(SWITCHING);
    let gateway = tunnel(driver, &origin);
    assert_eq!(gateway.get("/a").status, 502);
}

fn carries_much_data_both_ways(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tunnel(driver, &origin);
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    let sent: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251) as u8).collect();
    let copy = sent.clone();
    let address = client.peer().tcp().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        (&address).write_all(&copy).unwrap();
        address.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let received = client.rest();
    writer.join().unwrap();
    assert!(
        received == sent,
        "{} of {} bytes came back intact",
        received.len(),
        sent.len()
    );
}

fn refuses_a_switch_to_another_protocol(driver: Driver) {
    let origin = Origin::answering(SWITCHING.replace("Upgrade: websocket", "Upgrade: h2c"));
    let gateway = tunnel(driver, &origin);
    let response = gateway.client().exchange(UPGRADE);
    assert_eq!(response.status, 502);
}
