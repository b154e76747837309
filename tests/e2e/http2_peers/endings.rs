//! Streams that end otherwise: refused, cut by a connection that goes away, answered early, left
//! by their client, or overtaken by a shutdown.

use std::fs;

use super::{CLIENTS, Edge, pattern};
use crate::support::curl::try_curl;
use crate::support::process::{Process, output, tool};
use crate::support::sys::Signal;
use crate::support::{Driver, on_both_drivers, settle};

on_both_drivers!(
    repeats_a_refused_stream,
    leaves_a_connection_that_goes_away,
    passes_an_early_answer_to_an_upload,
    resets_the_origins_stream_when_the_client_leaves,
    finishes_http_2_requests_at_shutdown,
);

fn repeats_a_refused_stream(driver: Driver) {
    let edge = Edge::start(driver);
    for (scheme, how, version) in CLIENTS {
        let path = format!("/two/refused/{scheme}{version}");
        let said = edge.curl(scheme, how, &path, &[]);
        assert_eq!(String::from_utf8(said).unwrap(), "taken at last");
    }
}

fn leaves_a_connection_that_goes_away(driver: Driver) {
    let edge = Edge::start(driver);
    let get = |path: &str| {
        let said = edge.curl("http", &["--http2-prior-knowledge"], path, &[]);
        String::from_utf8(said).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(get("/two/goaway"), "last");
        assert_eq!(get("/two/hello"), "hello over two");
    }
}

fn passes_an_early_answer_to_an_upload(driver: Driver) {
    let edge = Edge::start(driver);
    let file = edge.gateway.setup().dir().join("upload");
    fs::write(&file, pattern(8_000_000)).unwrap();
    let data = format!("@{}", file.display());
    let more = [
        "--data-binary",
        &data,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ];
    for scheme in ["http", "https"] {
        let arguments = edge.arguments(scheme, &["--http1.1"], "/two/early", &more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // curl may complain that its upload was cut; the answer is what counts.
        assert_eq!(try_curl(&arguments).text(), "413", "{scheme}");
        // Over HTTP/2 curl takes it for an error, so nghttp asks.
        let listener = if scheme == "http" { "public" } else { "secure" };
        let mut command = tool("nghttp");
        command
            .args(["-v", "-n", "--no-verify-peer", "-d"])
            .arg(&file);
        command.arg(format!(
            "{scheme}://{}/two/early",
            edge.gateway.listener(listener)
        ));
        let said = output(command, b"").all();
        assert!(said.contains(":status: 413"), "{scheme}: {said}");
        // RFC 9113, section 8.1: the rest of the upload is not wanted, and nothing is wrong.
        assert!(said.contains("error_code=NO_ERROR"), "{scheme}: {said}");
    }
}

fn resets_the_origins_stream_when_the_client_leaves(driver: Driver) {
    let edge = Edge::start(driver);
    for (scheme, how, version) in CLIENTS {
        let path = format!("/two/hang/{scheme}{version}");
        let arguments = edge.arguments(scheme, how, &path, &["--max-time", "0.5"]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(!try_curl(&arguments).success);
        let reset = edge.two.process.json_with("reset");
        assert_eq!(reset["path"], format!("/hang/{scheme}{version}"));
    }
}

fn finishes_http_2_requests_at_shutdown(driver: Driver) {
    let mut edge = Edge::start(driver);
    let arguments = edge.arguments("https", &["--http2"], "/two/events?n=2", &["-N"]);
    let mut command = tool("curl");
    command
        .args(["--silent", "--max-time", "30", "--noproxy", "*"])
        .args(arguments);
    let mut client = Process::start(command);
    edge.two.process.tell("\n");
    assert_eq!(client.line(), "id: 0");
    edge.gateway.signal(Signal::Terminate);
    settle();
    assert!(edge.gateway.runs(), "a request is in flight");
    edge.two.process.tell("\n");
    while client.line() != "data: event 1" {}
    assert!(client.wait().success(), "{}", client.stderr());
    assert!(edge.gateway.wait().success());
}
