//! gRPC end to end: grpcio on both sides, every kind of call, deadlines, cancellation, and what
//! the gateway itself answers.

use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::curl::curl_text;
use crate::support::python::{self, Server};
use crate::support::{Driver, Gateway, Setup, on_both_drivers};

on_both_drivers!(
    carries_every_kind_of_call,
    carries_every_kind_of_call_in_tls,
    carries_calls_to_an_origin_in_tls,
    carries_messages_of_4_mib,
    carries_status_and_metadata,
    carries_many_calls_at_once,
    opens_connections_when_streams_run_out,
    bounds_a_call_by_its_deadline,
    passes_the_deadline_on,
    answers_for_an_origin_that_ignores_the_deadline,
    bounds_a_call_by_the_routes_time,
    tells_the_origin_of_a_cancelled_call,
    answers_its_own_errors_as_status,
    answers_health_checks,
);

const KINDS: [&str; 5] = [
    "unary",
    "empty",
    "client_stream",
    "server_stream",
    "bidirectional",
];

fn setup(driver: Driver, origin: &Server) -> Setup {
    Setup::new(driver)
        .upstream("grpc", origin.address(), "protocol = \"h2\"")
        .catch_all("grpc")
        .set("limits", "body_max", "\"64MiB\"")
}

/// What came of `cases` against `address`.
#[track_caller]
fn call(address: &str, tls: Option<&Authority>, cases: &[&str]) -> Value {
    let mut arguments = vec![address, "--name", "gateway.test"];
    let trusted = tls.map(Authority::trust);
    if let Some(ca) = &trusted {
        arguments.extend(["--ca", ca]);
    }
    arguments.extend(cases);
    python::client("grpc_client.py", &arguments)
}

#[track_caller]
fn expect_every_kind(found: &Value) {
    let unary = &found["unary"];
    assert_eq!(unary["code"], "OK", "{unary}");
    assert_eq!(unary["reply"], "hello");
    assert_eq!(unary["initial"]["echo-word"], "x y", "{unary}");
    assert_eq!(unary["initial"]["echo-raw-bin"], "0001feff", "{unary}");
    assert_eq!(unary["trailing"]["behind"], "it all", "{unary}");
    assert_eq!(unary["trailing"]["behind-bin"], "00ff80", "{unary}");
    assert_eq!(found["empty"], json!({"code": "OK", "length": 0}));
    for kind in ["client_stream", "server_stream"] {
        assert_eq!(found[kind]["code"], "OK", "{}", found[kind]);
        assert_eq!(found[kind]["count"], 200);
        assert_eq!(found[kind]["whole"], true, "{}", found[kind]);
    }
    let talk = &found["bidirectional"];
    let replies: Vec<String> = (0..20).map(|i| format!("re: word {i}")).collect();
    assert_eq!(talk["replies"], json!(replies), "{talk}");
}

fn carries_every_kind_of_call(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    expect_every_kind(&call(gateway.address(), None, &KINDS));
}

fn carries_every_kind_of_call_in_tls(driver: Driver) {
    let authority = Authority::new();
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin)
        .certificates(&[&authority.server(&["gateway.test"])])
        .start();
    expect_every_kind(&call(gateway.address(), Some(&authority), &KINDS));
}

fn carries_calls_to_an_origin_in_tls(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let origin = Server::start(
        "grpc_server.py",
        &["--cert", pair.cert(), "--key", pair.key()],
    );
    let tls = format!(
        "[upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"\n",
        authority.ca()
    );
    let gateway = Setup::new(driver)
        .upstream("grpc", origin.address(), &tls)
        .catch_all("grpc")
        .start();
    expect_every_kind(&call(gateway.address(), None, &KINDS));
}

fn carries_messages_of_4_mib(driver: Driver) {
    let authority = Authority::new();
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin)
        .certificates(&[&authority.server(&["gateway.test"])])
        .start();
    let found = call(
        gateway.address(),
        Some(&authority),
        &["large", "large_streams"],
    );
    assert_eq!(found["large"], json!({"code": "OK", "same": true}));
    let length = (4 << 20) + "re: ".len();
    assert_eq!(
        found["large_streams"],
        json!({"code": "OK", "lengths": [length, length, length, length]})
    );
}

fn carries_status_and_metadata(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let found = call(
        gateway.address(),
        None,
        &["trailers_only", "late_failure", "unimplemented", "metadata"],
    );
    let failed = &found["trailers_only"];
    assert_eq!(failed["code"], "FAILED_PRECONDITION", "{failed}");
    assert_eq!(failed["details"], "no: 50% of ünïcode\n", "{failed}");
    assert_eq!(failed["trailing"]["why"], "asked to", "{failed}");
    let late = &found["late_failure"];
    assert_eq!(late["code"], "ABORTED", "{late}");
    assert_eq!(late["got"], json!(["one", "two"]), "{late}");
    assert_eq!(found["unimplemented"]["code"], "UNIMPLEMENTED");
    assert_eq!(found["unimplemented"]["details"], "Method not found!");
    let metadata = &found["metadata"]["metadata"];
    assert_eq!(metadata["x-raw-bin"], json!(["0080ff"]), "{metadata}");
    assert_eq!(metadata["x-spaces"], json!(["a  b"]), "{metadata}");
    // RFC 9110, section 5.3: two lines or one with both are the same.
    let words = metadata["x-word"].to_string();
    assert!(words.contains("one") && words.contains("two"), "{metadata}");
}

fn carries_many_calls_at_once(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let found = call(
        gateway.address(),
        None,
        &["many_at_once", "streams_at_once"],
    );
    assert_eq!(found["many_at_once"], json!({"code": "OK", "same": true}));
    assert_eq!(found["streams_at_once"], json!({"code": "OK", "whole": 20}));
    let opened = gateway.metric("ringgate_upstream_connects_total", &[("upstream", "grpc")]);
    assert!(opened <= 8.0, "{opened} connections for one worker");
}

fn opens_connections_when_streams_run_out(driver: Driver) {
    let origin = Server::start("grpc_server.py", &["--streams", "5"]);
    let gateway = setup(driver, &origin).start();
    let found = call(gateway.address(), None, &["streams_at_once"]);
    let lines = gateway.log(20);
    let ends: Vec<_> = lines.iter().map(|l| (&l["end"], &l["code"])).collect();
    assert_eq!(found["streams_at_once"]["whole"], 20, "{ends:?}");
    let opened = gateway.metric("ringgate_upstream_connects_total", &[("upstream", "grpc")]);
    assert!(opened >= 4.0, "20 streams, 5 to a connection: {opened}");
}

fn bounds_a_call_by_its_deadline(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let found = call(gateway.address(), None, &["deadline"]);
    let found = &found["deadline"];
    assert_eq!(found["code"], "DEADLINE_EXCEEDED", "{found}");
    assert_eq!(found["origin"]["came"], true, "the origin goes on: {found}");
}

fn passes_the_deadline_on(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let found = call(gateway.address(), None, &["deadline_told"]);
    let found = &found["deadline_told"];
    let remaining = found["remaining"].as_f64().unwrap_or(f64::MAX);
    // The client gave 15 s; grpcio rounds up by a little.
    assert!(remaining <= 15.5, "{found}");
}

/// A client that waits for ever, as one whose own clock stands still: the time it wrote down
/// counts.
fn answers_for_an_origin_that_ignores_the_deadline(driver: Driver) {
    let origin = Server::start("h2_origin.py", &[]);
    let gateway = setup(driver, &origin).start();
    let head = curl_text(&[
        "--http2-prior-knowledge",
        "-D",
        "-",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        "-H",
        "grpc-timeout: 300m",
        "--data-binary",
        "x",
        &format!("http://{}/hang", gateway.address()),
    ]);
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    assert!(head.contains("grpc-status: 4\r\n"), "{head}");
    let request = origin.process.json_with("request");
    assert!(
        request.to_string().contains("grpc-timeout"),
        "the origin is told: {request}"
    );
    // CANCEL (RFC 9113, section 7), or any other end of the stream.
    assert_eq!(origin.process.json_with("reset")["path"], "/hang");
    assert_eq!(gateway.log_line()["code"], "request_timeout");
}

fn bounds_a_call_by_the_routes_time(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = Setup::new(driver)
        .upstream("grpc", origin.address(), "protocol = \"h2\"")
        .route(
            "all",
            "/{rest*}",
            "upstream = \"grpc\"\ntimeout = \"500ms\"",
        )
        .start();
    let found = call(gateway.address(), None, &["gateway_deadline"]);
    assert_eq!(
        found["gateway_deadline"]["code"], "DEADLINE_EXCEEDED",
        "{found}"
    );
}

fn tells_the_origin_of_a_cancelled_call(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let cases = [
        "cancel_unary",
        "cancel_server_stream",
        "cancel_client_stream",
    ];
    let found = call(gateway.address(), None, &cases);
    for case in cases {
        assert_eq!(found[case]["origin"]["came"], true, "{case}: {found}");
    }
}

fn erring(driver: Driver, origin: &Server) -> Gateway {
    Setup::new(driver)
        .upstream("grpc", origin.address(), "protocol = \"h2\"")
        .upstream("dead", "127.0.0.1:1", "protocol = \"h2\"")
        .route("proof", "/proof.Proof/{rest*}", "upstream = \"grpc\"")
        .route("dead", "/dead.Dead/{rest*}", "upstream = \"dead\"")
        .route(
            "small",
            "/small.Small/{rest*}",
            "upstream = \"grpc\"\nbody_max = \"1KiB\"",
        )
        .start()
}

fn answers_its_own_errors_as_status(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = erring(driver, &origin);
    let cases = ["no_route", "unavailable", "too_large", "unary"];
    let found = call(gateway.address(), None, &cases);
    assert_eq!(found["no_route"]["code"], "UNIMPLEMENTED", "{found}");
    assert_eq!(found["unavailable"]["code"], "UNAVAILABLE", "{found}");
    assert_eq!(found["too_large"]["code"], "RESOURCE_EXHAUSTED", "{found}");
    assert_eq!(
        found["unary"]["code"], "OK",
        "the connection goes on: {found}"
    );
    // As status in a 200, not as an HTTP error that clients have to guess at.
    let head = curl_text(&[
        "--http2-prior-knowledge",
        "-D",
        "-",
        "-H",
        "content-type: application/grpc+proto",
        "-H",
        "te: trailers",
        "-d",
        "",
        &format!("http://{}/nowhere.Nothing/Call", gateway.address()),
    ]);
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    assert!(head.contains("content-type: application/grpc"), "{head}");
    assert!(head.contains("grpc-status: 12\r\n"), "{head}");
}

fn answers_health_checks(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let found = call(gateway.address(), None, &["health"]);
    let found = &found["health"];
    assert_eq!(found["check"], "0801", "serving: {found}");
    assert_eq!(found["unknown"]["code"], "NOT_FOUND", "{found}");
    assert_eq!(found["watch"], json!(["0801", "0802"]), "{found}");
}
