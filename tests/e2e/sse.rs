//! Server-sent events: each event is at the client before the origin sends the next.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};

use crate::support::certificates::Authority;
use crate::support::process::{Process, tool};
use crate::support::python::Server;
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    passes_each_event_at_once_from_http_1,
    passes_each_event_at_once_from_http_2,
    tells_the_origin_when_the_reader_leaves,
);

/// An origin that sends one event for each word from the sender, chunked.
fn origin() -> (Origin, Sender<()>) {
    let (sender, turns) = mpsc::channel();
    let turns = Mutex::new(turns);
    let origin = Origin::start(move |conn| {
        if conn.request().is_none() {
            return;
        }
        conn.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        );
        for number in 0..3 {
            if turns.lock().unwrap().recv().is_err() {
                return;
            }
            let event = format!("id: {number}\ndata: event {number}\n\n");
            conn.send(format!("{:x}\r\n{event}\r\n", event.len()));
        }
        conn.send("0\r\n\r\n");
        conn.stall();
    });
    (origin, sender)
}

/// A gateway with a plain and a TLS listener.
fn gateway(driver: Driver, authority: &Authority, endpoint: &str, more: &str) -> Gateway {
    Setup::new(driver)
        .body(&format!(
            "[[listener]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\ncertificate = [{}]",
            authority.server(&["gateway.test"]).toml()
        ))
        .upstream("app", endpoint, more)
        .catch_all("app")
        .start()
}

/// curl that writes out each line as it comes.
fn reader(gateway: &Gateway, authority: &Authority, listener: &str, how: &str) -> Process {
    let port = gateway.listener(listener).rsplit(':').next().unwrap();
    let scheme = if listener == "secure" {
        "https"
    } else {
        "http"
    };
    let mut command = tool("curl");
    command
        .args([
            "--silent",
            "--no-buffer",
            "--max-time",
            "30",
            "--noproxy",
            "*",
            how,
        ])
        .args(["--cacert", &authority.trust(), "--resolve"])
        .arg(format!("gateway.test:{port}:127.0.0.1"))
        .arg(format!("{scheme}://gateway.test:{port}/events?n=3"));
    Process::start(command)
}

const READERS: [(&str, &str); 4] = [
    ("public", "--http1.1"),
    ("public", "--http2-prior-knowledge"),
    ("secure", "--http1.1"),
    ("secure", "--http2"),
];

#[track_caller]
fn expect_event(reader: &Process, number: usize) {
    assert_eq!(reader.line(), format!("id: {number}"));
    assert_eq!(reader.line(), format!("data: event {number}"));
    assert_eq!(reader.line(), "");
}

fn passes_each_event_at_once_from_http_1(driver: Driver) {
    let authority = Authority::new();
    for (listener, how) in READERS {
        let (origin, turn) = origin();
        let gateway = gateway(driver, &authority, origin.address(), "");
        let mut reader = reader(&gateway, &authority, listener, how);
        for number in 0..3 {
            turn.send(()).unwrap();
            expect_event(&reader, number);
        }
        assert!(reader.wait().success(), "{}", reader.stderr());
    }
}

fn passes_each_event_at_once_from_http_2(driver: Driver) {
    let authority = Authority::new();
    let mut origin = Server::start("h2_origin.py", &[]);
    let gateway = gateway(driver, &authority, origin.address(), "protocol = \"h2\"");
    for (listener, how) in READERS {
        let mut reader = reader(&gateway, &authority, listener, how);
        for number in 0..3 {
            origin.process.tell("\n");
            expect_event(&reader, number);
        }
        assert!(reader.wait().success(), "{}", reader.stderr());
    }
}

fn tells_the_origin_when_the_reader_leaves(driver: Driver) {
    let authority = Authority::new();
    let mut origin = Server::start("h2_origin.py", &[]);
    let gateway = gateway(driver, &authority, origin.address(), "protocol = \"h2\"");
    for (listener, how) in READERS {
        let mut reader = reader(&gateway, &authority, listener, how);
        origin.process.tell("\n");
        expect_event(&reader, 0);
        reader.kill();
        assert_eq!(origin.process.json_with("reset")["path"], "/events?n=3");
    }
}
