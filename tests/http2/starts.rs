//! How connections begin: the preface, its likenesses, and those that never get there.

use super::{is_counted, origin, origin_got_only, others_are_served, setup};
use crate::support::frames::{Frame, Http2, PREFACE, code, kind};
use crate::support::{Client, Driver, on_both_drivers};

on_both_drivers!(
    a_preface_that_is_none_goes_nowhere,
    settings_come_first,
    a_slow_preface_times_out,
    an_idle_connection_times_out,
    http2_is_refused_where_it_is_turned_off,
    an_upgrade_from_http1_is_not_taken,
    http1_is_served_beside_http2,
);

fn a_preface_that_is_none_goes_nowhere(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\x0b",
        b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n\r\n",
        b"PRI * HTTP/2.0\r\nHost: gateway.test\r\n\r\n",
        b"PRI /smuggled HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
        b"PRI * HTTP/2.0\n\nSM\n\n",
    ] {
        let mut client = Client::connect(gateway.address());
        client.try_send(bytes);
        client.finish_sending();
        let said = client.rest();
        // A refusal of HTTP/1.1, HTTP/2's GOAWAY or silence; nothing is served.
        let text = String::from_utf8_lossy(&said);
        assert!(!text.contains("200 OK"), "{bytes:?}: {text}");
    }
    others_are_served(&gateway);
    origin_got_only(&origin, &["/other"]);
}

fn settings_come_first(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    for first in [
        Frame::ping([0; 8]),
        Frame::get(1, "/smuggled"),
        Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]),
    ] {
        let mut client = Http2::bare(gateway.address());
        client.send_bytes(PREFACE);
        client.send(&first);
        // The codec may take a request before it has seen SETTINGS; it must not serve it twice.
        match client.frame().map(|frame| frame.kind) {
            None | Some(kind::SETTINGS | kind::GOAWAY) => {}
            other => panic!("{first:?}: {other:?}"),
        }
    }
    others_are_served(&gateway);
}

fn a_slow_preface_times_out(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "header_timeout", "\"1s\"")
        .start();
    for cut in [1, 10, 18, 23] {
        let mut client = Client::connect(gateway.address());
        client.send(&PREFACE[..cut]);
        let said = client.rest();
        assert!(!said.starts_with(b"HTTP/1.1 200"), "{cut}");
    }
    is_counted(&gateway, "head_timeout", 1);
    others_are_served(&gateway);
}

fn an_idle_connection_times_out(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("limits", "idle_timeout", "\"1s\"")
        .start();
    let mut fresh = Http2::connect(gateway.address());
    let mut used = Http2::connect(gateway.address());
    assert_eq!(used.get(1, "/other").answer().status, 200);
    assert_eq!(used.gone(), Some(code::NO_ERROR));
    assert_eq!(fresh.gone(), Some(code::NO_ERROR));
    // A client that keeps a stream open is not idle, whatever it sends or not.
    others_are_served(&gateway);
}

fn http2_is_refused_where_it_is_turned_off(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin)
        .set("listener", "h2c", "false")
        .start();
    let mut client = Client::connect(gateway.address());
    let start = [
        PREFACE,
        &Frame::settings(&[]).bytes(),
        &Frame::get(1, "/smuggled").bytes(),
    ]
    .concat();
    client.try_send(start);
    let said = client.rest();
    assert!(
        said.is_empty() || said.starts_with(b"HTTP/1.1 4") || said.starts_with(b"HTTP/1.1 505"),
        "{:?}",
        String::from_utf8_lossy(&said)
    );
    assert_eq!(gateway.get("/other").text(), "GET /other");
    origin_got_only(&origin, &["/other"]);
}

/// RFC 9113 has dropped the way from HTTP/1.1 by an upgrade.
fn an_upgrade_from_http1_is_not_taken(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = gateway.client();
    let answer = client.exchange(
        "GET /other HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!((answer.status, answer.text()), (200, "GET /other"));
    let request = origin.request();
    assert!(!request.fields.has("upgrade") && !request.fields.has("http2-settings"));
}

fn http1_is_served_beside_http2(driver: Driver) {
    let origin = origin();
    let gateway = setup(driver, &origin).start();
    let mut client = gateway.client();
    // Methods that begin as the preface does.
    for method in ["P", "PR", "PRI", "PRIX", "PUT"] {
        let answer = client.exchange(format!(
            "{method} /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\r\n"
        ));
        assert_eq!(answer.text(), format!("{method} /x"));
    }
}
