use ringgate_control::{DnsOptions, Options, Target};

use crate::fake::{Event, FakeNode, METRICS, PATIENCE, RESOLVED, get, metric, quiet, start};
use crate::name_server::{NameServer, Reply};

#[test]
fn a_panic_in_an_answer_costs_that_answer() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    *node.panics[METRICS].lock().unwrap() = 1;
    let (status, _, body) = get(address, "/metrics");
    assert_eq!(status, 500);
    assert!(body.contains("the log says why"));
    assert_eq!(get(address, "/metrics").0, 200);
    handle.stop();
}

#[test]
fn a_task_that_panics_starts_again() {
    let server = NameServer::start();
    server.set("users.test", Reply::addresses(&["10.0.0.1"], 60));
    let (node, events) = FakeNode::new();
    *node.targets.lock().unwrap() = vec![Target {
        upstream: "users".into(),
        endpoint: "users.test".into(),
        port: 80,
    }];
    *node.panics[RESOLVED].lock().unwrap() = 2;
    let options = Options {
        dns: DnsOptions {
            nameservers: vec![server.address],
            ..DnsOptions::default()
        },
        ..quiet()
    };
    let (handle, address) = start(&node, options);
    let event = events.recv_timeout(PATIENCE).unwrap();
    let expected = vec!["10.0.0.1:80".parse().unwrap()];
    assert_eq!(
        event,
        Event::Resolved("users".into(), "users.test".into(), expected)
    );
    let restarts = "ringgate_control_task_restarts_total{task=\"dns\"}";
    assert_eq!(metric(address, restarts), 2);
    handle.stop();
}

#[test]
fn stopping_ends_the_thread_and_frees_the_port() {
    let (node, _events) = FakeNode::new();
    let (handle, address) = start(&node, quiet());
    assert_eq!(get(address, "/healthz").0, 200);
    handle.stop();
    assert!(std::net::TcpStream::connect(address).is_err());
    let (handle, address) = start(&node, quiet());
    drop(handle);
    crate::fake::eventually("a dropped handle stops too", || {
        std::net::TcpStream::connect(address).is_err()
    });
}
