use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringgate_control::{
    AdminClient, AdminError, AdminOptions, ControlPlane, NotReady, ObjectChanges, Options,
    Readiness, Refusal, ReloadRefused, ReloadReport, post_reload,
};
use serde_json::Value;

use crate::fake::{FakeNode, PATIENCE, ask, get, quiet, raw, start};

#[test]
fn metrics_come_in_the_prometheus_text_format() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let (status, head, body) = get(address, "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(head.contains("cache-control: no-store"));
    assert!(
        body.contains(
            "# TYPE ringgate_fake_total counter\nringgate_fake_total{route=\"a\\\"b\"} 7\n"
        )
    );
    assert!(body.contains("ringgate_control_task_restarts_total{task=\"dns\"} 0\n"));
    handle.stop();
}

#[test]
fn readiness_says_why_not() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    assert_eq!(get(address, "/readyz").0, 200);
    *node.readiness.lock().unwrap() = Readiness::NotReady(vec![
        NotReady::Draining,
        NotReady::WorkerStalled {
            worker: 3,
            silent_ms: 900,
        },
    ]);
    let (status, _, body) = get(address, "/readyz");
    assert_eq!(status, 503);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["reasons"][0]["reason"], "draining");
    assert_eq!(body["reasons"][1]["worker"], 3);
    assert_eq!(get(address, "/healthz").0, 200, "draining is not dead");
    handle.stop();
}

#[test]
fn shows_the_node_as_json() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    for path in ["/config", "/upstreams", "/routes", "/version"] {
        let (status, head, body) = get(address, path);
        assert_eq!(status, 200, "{path}");
        assert!(head.contains("content-type: application/json"), "{path}");
        serde_json::from_str::<Value>(&body).unwrap();
    }
    let (status, _, body) = ask(address, "HEAD", "/config", "");
    assert_eq!((status, body.as_str()), (200, ""));
    handle.stop();
}

#[test]
fn index_lists_endpoints_for_people_and_for_terminals() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let (_, head, body) = get(address, "/");
    assert!(head.contains("text/plain"));
    assert!(body.contains("POST /reload"));
    let (_, head, body) = ask(address, "GET", "/", "Accept: text/html,*/*\r\n");
    assert!(head.contains("text/html"));
    assert!(body.contains("<a href=\"/metrics\">"));
    handle.stop();
}

#[test]
fn unknown_paths_and_methods_say_what_there_is() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let (status, _, body) = get(address, "/metric");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 404);
    assert_eq!(body["endpoints"].as_array().unwrap().len(), 18);
    let (status, head, body) = get(address, "/reload");
    assert_eq!(status, 405);
    assert!(head.contains("allow: post"), "{head}");
    assert!(body.contains("does not take GET"));
    handle.stop();
}

#[test]
fn browsers_and_rebound_names_are_kept_out() {
    let (node, events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let origin = "Origin: http://localhost:3000\r\n";
    let (status, _, body) = ask(address, "POST", "/reload", origin);
    assert_eq!(status, 403);
    assert!(body.contains("web pages"));
    for request in [
        "GET /config HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        assert!(
            raw(address, request).starts_with("HTTP/1.1 403"),
            "{request}"
        );
    }
    let probe = raw(address, "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(probe.starts_with("HTTP/1.0 200"), "{probe}");
    assert!(events.try_recv().is_err(), "no reload happened");
    handle.stop();
}

#[test]
fn configured_host_names_are_let_in() {
    let (node, _events) = FakeNode::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let admin = AdminOptions {
        hosts: vec!["gw1.internal".into()],
        ..AdminOptions::new(listener)
    };
    let options = Options {
        admin: Some(admin),
        ..quiet()
    };
    let handle = ControlPlane::start(node, options).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nHost: gw1.internal:9901\r\nConnection: close\r\n\r\n";
    assert!(raw(address, request).starts_with("HTTP/1.1 200"));
    handle.stop();
}

#[test]
fn large_heads_and_bodies_are_refused() {
    let (node, events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let field = format!("X-Large: {}\r\n", "x".repeat(20_000));
    assert_eq!(ask(address, "GET", "/healthz", &field).0, 431);
    let (status, _, _) = ask(address, "POST", "/reload", "Content-Length: 100000\r\n");
    assert_eq!(status, 413);
    assert!(events.try_recv().is_err());
    handle.stop();
}

#[test]
fn connections_beyond_the_cap_are_told_so() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let open: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let mut extra = TcpStream::connect(address).unwrap();
    extra.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    extra.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("64 at most"));
    drop(open);
    crate::fake::eventually("slots come back", || {
        raw(
            address,
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .starts_with("HTTP/1.1 200")
    });
    handle.stop();
}

#[test]
fn a_head_that_never_ends_loses_its_connection() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    let mut slow = TcpStream::connect(address).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: local")
        .unwrap();
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).unwrap();
    handle.stop();
}

fn report() -> ReloadReport {
    let mut report = ReloadReport {
        generation: 2,
        memory_delta_bytes: -4_096,
        ..ReloadReport::default()
    };
    let added = ObjectChanges {
        added: vec!["users".into()],
        ..ObjectChanges::default()
    };
    report.record("route", added);
    report
}

#[test]
fn client_reads_reports_and_refusals() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    *node.on_reload.lock().unwrap() = Arc::new(|_| Ok(report()));
    assert_eq!(post_reload(address, PATIENCE).unwrap(), Ok(report()));
    for (refusal, status) in [
        (Refusal::InvalidConfig, 422),
        (Refusal::UnsupportedConfig, 422),
        (Refusal::NeedsRestart, 409),
        (Refusal::CannotApply, 409),
        (Refusal::Draining, 409),
        (Refusal::Internal, 500),
    ] {
        let refused = ReloadRefused::new(refusal, "ringgate.toml:3:5: no such key\n    ^");
        let answer = refused.clone();
        *node.on_reload.lock().unwrap() = Arc::new(move |_| Err(answer.clone()));
        assert_eq!(post_reload(address, PATIENCE).unwrap(), Err(refused));
        assert_eq!(ask(address, "POST", "/reload", "").0, status);
    }
    let answer = AdminClient::new(address, PATIENCE).fetch("/nope").unwrap();
    assert_eq!(answer.status, 404);
    handle.stop();
}

#[test]
fn client_says_what_is_wrong() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = free.local_addr().unwrap();
    let silent = post_reload(address, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(silent, AdminError::Timeout { .. }), "{silent}");
    drop(free);
    let nobody = post_reload(address, PATIENCE).unwrap_err();
    assert!(matches!(nobody, AdminError::NothingListens { .. }));
    assert!(nobody.to_string().contains("is ringgate running"));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let mut request = [0; 1_024];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
    });
    let stranger = post_reload(address, PATIENCE).unwrap_err();
    assert!(stranger.to_string().contains("SSH-2.0"), "{stranger}");
    server.join().unwrap();
}
