//! What pages of other sites make browsers send.

use crate::support::python::Server;
use crate::support::{Driver, Origin, Setup, on_both_drivers};

on_both_drivers!(
    a_forged_request_does_not_arrive,
    a_websocket_of_another_site_is_not_opened,
);

fn a_forged_request_does_not_arrive(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body("[filter.csrf]\ntype = \"csrf\"\norigins = [\"https://app.test\"]")
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"csrf\"]")
        .start();
    let post = |fields: &str| {
        let text = format!(
            "POST /pay HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n{fields}\r\n"
        );
        gateway.client().exchange(text).status
    };
    for fields in [
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.test\r\n",
        "Origin: https://evil.test\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://gateway.test\r\nOrigin: https://evil.test\r\n",
        "Cookie: session=1\r\n",
    ] {
        assert_eq!(post(fields), 403, "{fields:?}");
    }
    assert_eq!(gateway.log(6)[0]["code"], "cross_site");
    assert!(origin.requests().is_empty());
    for fields in [
        "Sec-Fetch-Site: same-origin\r\nOrigin: http://gateway.test\r\nCookie: session=1\r\n",
        "Origin: http://gateway.test\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://app.test\r\n",
        "",
    ] {
        assert_eq!(post(fields), 200, "{fields:?}");
    }
}

fn a_websocket_of_another_site_is_not_opened(driver: Driver) {
    let sockets = Server::start("ws_server.py", &[]);
    let gateway = Setup::new(driver)
        .upstream("sockets", sockets.address(), "")
        .body("[filter.csrf]\ntype = \"csrf\"")
        .route(
            "echo",
            "/echo",
            "upstream = \"sockets\"\nupgrade = \"websocket\"\nfilters = [\"csrf\"]",
        )
        .start();
    let handshake = |origin: &str| {
        let text = format!(
            "GET /echo HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {origin}\r\n\r\n"
        );
        let mut client = gateway.client();
        client.send(text);
        client.head("GET").status
    };
    assert_eq!(handshake("https://evil.test"), 403);
    assert_eq!(handshake("http://gateway.test"), 101);
}
