//! WebSockets with python's websockets and h2 on either side: over HTTP/1.1, in TLS, and over
//! HTTP/2's extended CONNECT (RFC 8441), in all four directions; and how they end.

use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::process::Process;
use crate::support::python::{self, Server};
use crate::support::sys::Signal;
use crate::support::{Driver, Gateway, Setup, on_both_drivers, settle};

on_both_drivers!(
    carries_messages_in_all_directions,
    carries_messages_in_tls,
    carries_messages_to_an_origin_in_tls,
    carries_large_messages_both_ways,
    agrees_on_subprotocols_and_extensions,
    passes_the_origins_close,
    refuses_where_the_route_has_no_upgrade,
    keeps_other_streams_beside_a_tunnel,
    ends_an_idle_tunnel,
    keeps_a_tunnel_that_is_used,
    ends_a_tunnel_at_the_end_of_its_life,
    says_goodbye_at_shutdown,
    waits_at_shutdown_for_tunnels_that_end,
    logs_a_tunnel,
);

/// The clients' scripts; what both of them print is the same.
const CLIENTS: [&str; 2] = ["ws_client.py", "ws_h2_client.py"];

/// A gateway before an HTTP/1.1 origin at `/echo`, `/close` and `/quiet`, and an HTTP/2 origin at
/// `/ws`.
struct Edge {
    gateway: Gateway,
    one: Server,
    two: Server,
}

impl Edge {
    fn start(driver: Driver) -> Self {
        Self::with(driver, |setup| setup)
    }

    fn with(driver: Driver, change: impl FnOnce(Setup) -> Setup) -> Self {
        let one = Server::start("ws_server.py", &[]);
        let two = Server::start("h2_origin.py", &[]);
        let setup = Setup::new(driver)
            .upstream("one", one.address(), "")
            .upstream("two", two.address(), "protocol = \"h2\"")
            .route("none", "/none", "upstream = \"one\"\nupgrade = \"off\"")
            .route("two", "/ws", "upstream = \"two\"\nupgrade = \"websocket\"")
            .route("plain", "/hello", "upstream = \"two\"")
            .route(
                "one",
                "/{rest*}",
                "upstream = \"one\"\nupgrade = \"websocket\"",
            );
        let gateway = change(setup).start();
        Self { gateway, one, two }
    }

    #[track_caller]
    fn run(&self, script: &str, case: &str, more: &[&str]) -> Value {
        python::client(script, &[&[self.gateway.address(), case], more].concat())
    }

    /// A client that is open, and stays until the other side ends it.
    #[track_caller]
    fn staying(&self, script: &str, case: &str, path: &str) -> Process {
        let arguments = [self.gateway.address(), case, "--path", path];
        let client = Process::start(python::script(script, &arguments));
        assert_eq!(client.json()["open"], true);
        client
    }
}

#[track_caller]
fn expect_echo(found: &Value) {
    assert_eq!(found["got"], json!(["one", "zwei ü", "0001ff"]), "{found}");
    assert_eq!(found["code"], 1000, "{found}");
}

fn carries_messages_in_all_directions(driver: Driver) {
    let edge = Edge::start(driver);
    for script in CLIENTS {
        expect_echo(&edge.run(script, "echo", &["--path", "/echo"]));
        assert_eq!(edge.one.process.json_with("closed")["code"], 1000);
        expect_echo(&edge.run(script, "echo", &["--path", "/ws"]));
        assert_eq!(edge.two.process.json_with("closed")["code"], 1000);
        let ping = edge.run(script, "ping", &[]);
        assert_eq!(ping["answered"], true, "{ping}");
    }
}

fn carries_messages_in_tls(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["gateway.test"]);
    let edge = Edge::with(driver, |setup| setup.certificates(&[&pair]));
    let ca = authority.trust();
    for script in CLIENTS {
        for path in ["/echo", "/ws"] {
            expect_echo(&edge.run(script, "echo", &["--ca", &ca, "--path", path]));
        }
    }
}

fn carries_messages_to_an_origin_in_tls(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let options = ["--cert", pair.cert(), "--key", pair.key()];
    let tls = format!(
        "[upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"\n",
        authority.ca()
    );
    for (server, path) in [("ws_server.py", "/echo"), ("h2_origin.py", "/ws")] {
        let origin = Server::start(server, &options);
        let gateway = Setup::new(driver)
            .upstream("app", origin.address(), &tls)
            .route(
                "all",
                "/{rest*}",
                "upstream = \"app\"\nupgrade = \"websocket\"",
            )
            .start();
        for script in CLIENTS {
            let arguments = [gateway.address(), "echo", "--path", path];
            expect_echo(&python::client(script, &arguments));
        }
    }
}

fn carries_large_messages_both_ways(driver: Driver) {
    let edge = Edge::start(driver);
    for script in CLIENTS {
        for path in ["/echo", "/ws"] {
            let found = edge.run(script, "large", &["--path", path]);
            assert_eq!(found["same"], true, "{script} {path}: {found}");
        }
    }
}

fn agrees_on_subprotocols_and_extensions(driver: Driver) {
    let edge = Edge::start(driver);
    let offers = ["--subprotocol", "chat", "--subprotocol", "other"];
    for script in CLIENTS {
        let found = edge.run(script, "echo", &offers);
        assert_eq!(found["subprotocol"], "chat", "{script}: {found}");
    }
    let found = edge.run("ws_client.py", "echo", &["--deflate"]);
    let agreed = found["extensions"].as_str().unwrap_or_default();
    assert!(agreed.starts_with("permessage-deflate"), "{found}");
    expect_echo(&found);
}

fn passes_the_origins_close(driver: Driver) {
    let edge = Edge::start(driver);
    for script in CLIENTS {
        let found = edge.run(script, "hold", &["--path", "/close"]);
        assert_eq!(found["code"], 4001, "{script}: {found}");
        assert_eq!(found["reason"], "asked to", "{script}: {found}");
    }
}

fn refuses_where_the_route_has_no_upgrade(driver: Driver) {
    let edge = Edge::start(driver);
    for script in CLIENTS {
        let found = edge.run(script, "echo", &["--path", "/none"]);
        let status = found["refused"].to_string();
        let status: u16 = status.trim_matches('"').parse().unwrap_or(0);
        // What a plain request would get, or that there is no such thing here.
        assert!((400..=501).contains(&status), "{script}: {found}");
    }
    // The connection that was refused is no tunnel, and nothing is left of it.
    assert!(edge.gateway.metric("ringgate_worker_active_requests", &[]) == 0.0);
}

fn keeps_other_streams_beside_a_tunnel(driver: Driver) {
    let edge = Edge::start(driver);
    let mut tunnel = edge.staying("ws_h2_client.py", "chat", "/ws");
    for _ in 0..5 {
        assert_eq!(edge.gateway.get("/hello").text(), "hello over two");
    }
    assert!(!tunnel.says_within(std::time::Duration::from_millis(300)));
    tunnel.finish();
}

fn ends_an_idle_tunnel(driver: Driver) {
    let limited = |setup: Setup| setup.set("limits", "tunnel_idle_timeout", "\"1s\"");
    let edge = Edge::with(driver, limited);
    for (count, script) in CLIENTS.into_iter().enumerate() {
        let found = edge.run(script, "hold", &["--path", "/quiet"]);
        assert!(found["code"].is_number(), "{script}: {found}");
        edge.one.process.json_with("closed");
        assert_eq!(edge.gateway.log(count + 1)[count]["code"], "tunnel_idle");
    }
}

fn keeps_a_tunnel_that_is_used(driver: Driver) {
    let limited = |setup: Setup| setup.set("limits", "tunnel_idle_timeout", "\"1s\"");
    let edge = Edge::with(driver, limited);
    for script in CLIENTS {
        let client = edge.staying(script, "chat", "/echo");
        let quiet = std::time::Duration::from_millis(2500);
        assert!(!client.says_within(quiet), "{script}: it was ended");
    }
}

fn ends_a_tunnel_at_the_end_of_its_life(driver: Driver) {
    let limited = |setup: Setup| setup.set("limits", "tunnel_timeout", "\"1s\"");
    let edge = Edge::with(driver, limited);
    for (count, script) in CLIENTS.into_iter().enumerate() {
        let found = edge.run(script, "chat", &["--path", "/echo"]);
        assert!(
            found["exchanged"].as_u64().unwrap() >= 3,
            "{script}: {found}"
        );
        assert_eq!(edge.gateway.log(count + 1)[count]["code"], "tunnel_expired");
    }
}

fn says_goodbye_at_shutdown(driver: Driver) {
    for script in CLIENTS {
        let short = |setup: Setup| setup.set("runtime", "shutdown_grace", "\"1s\"");
        let mut edge = Edge::with(driver, short);
        let client = edge.staying(script, "hold", "/quiet");
        edge.gateway.signal(Signal::Terminate);
        // RFC 6455, section 7.4.1: 1001 is an endpoint that goes away.
        assert_eq!(client.json()["code"], 1001, "{script}");
        assert!(edge.gateway.wait().success());
        edge.one.process.json_with("closed");
        assert_eq!(edge.gateway.log_line()["code"], "shutdown");
    }
}

fn waits_at_shutdown_for_tunnels_that_end(driver: Driver) {
    for script in CLIENTS {
        let long = |setup: Setup| setup.set("runtime", "shutdown_grace", "\"10m\"");
        let mut edge = Edge::with(driver, long);
        let mut client = edge.staying(script, "chat", "/echo");
        edge.gateway.signal(Signal::Terminate);
        settle();
        assert!(edge.gateway.runs(), "a tunnel is open");
        assert!(!client.says_within(std::time::Duration::from_millis(300)));
        client.kill();
        assert!(edge.gateway.wait().success());
    }
}

fn logs_a_tunnel(driver: Driver) {
    let edge = Edge::start(driver);
    edge.run("ws_client.py", "echo", &[]);
    let line = edge.gateway.log_line();
    assert_eq!(line["status"], 101, "{line}");
    assert_eq!(line["end"], "--", "{line}");
    edge.run("ws_h2_client.py", "echo", &[]);
    let line = &edge.gateway.log(2)[1];
    assert_eq!(line["end"], "--", "{line}");
    assert!(line["bytes_in"].as_u64().unwrap() > 0, "{line}");
}
