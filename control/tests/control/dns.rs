use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ringgate_control::{DnsOptions, Handle, Options, Target, resolve_once};

use crate::fake::{Event, FakeNode, PATIENCE, eventually, metric, quiet, start};
use crate::name_server::{NameServer, Reply};

const FAILING: &str = "ringgate_dns_names_failing";

fn target(name: &str) -> Target {
    Target {
        upstream: "u".into(),
        endpoint: name.into(),
        port: 80,
    }
}

fn options(server: &NameServer) -> DnsOptions {
    DnsOptions {
        nameservers: vec![server.address],
        ttl_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(100),
        query_timeout: Some(Duration::from_millis(100)),
        ..DnsOptions::default()
    }
}

fn run(
    server: &NameServer,
    names: &[&str],
) -> (Arc<FakeNode>, Receiver<Event>, Handle, SocketAddr) {
    let (node, events) = FakeNode::new();
    *node.targets.lock().unwrap() = names.iter().map(|name| target(name)).collect();
    let dns = options(server);
    let (handle, address) = start(&node, Options { dns, ..quiet() });
    (node, events, handle, address)
}

fn next(events: &Receiver<Event>) -> (String, Vec<String>) {
    match events.recv_timeout(PATIENCE).unwrap() {
        Event::Resolved(_, name, addresses) => {
            (name, addresses.iter().map(ToString::to_string).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn found(name: &str, addresses: &[&str]) -> (String, Vec<String>) {
    let addresses = addresses.iter().map(|a| (*a).to_owned()).collect();
    (name.to_owned(), addresses)
}

#[test]
fn both_families_arrive_ipv4_first_without_duplicates() {
    let server = NameServer::start();
    let all = ["fd00::1", "10.0.0.2", "10.0.0.1", "10.0.0.1"];
    server.set("a.test", Reply::addresses(&all, 60));
    let (_node, events, handle, _) = run(&server, &["a.test"]);
    assert_eq!(
        next(&events),
        found("a.test", &["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"])
    );
    handle.stop();
}

#[test]
fn a_changed_answer_is_noticed_when_its_ttl_ends() {
    let server = NameServer::start();
    server.set("short.test", Reply::addresses(&["10.0.0.1"], 0));
    server.set("long.test", Reply::addresses(&["10.0.1.1"], 3_600));
    let (_node, events, handle, _) = run(&server, &["short.test", "long.test"]);
    let mut first = [next(&events), next(&events)];
    first.sort();
    assert_eq!(first[1], found("short.test", &["10.0.0.1:80"]));
    server.set("short.test", Reply::addresses(&["10.0.0.9"], 0));
    server.set("long.test", Reply::addresses(&["10.0.1.9"], 3_600));
    assert_eq!(next(&events), found("short.test", &["10.0.0.9:80"]));
    eventually("the short one is asked again and again", || {
        server.asked("short.test") > 5
    });
    assert_eq!(server.asked("long.test"), 1);
    assert_eq!(events.try_recv().ok(), None, "an equal answer is no news");
    handle.stop();
}

#[test]
fn failures_keep_the_last_good_addresses_until_the_name_recovers() {
    for failure in [
        Reply::NXDOMAIN,
        Reply::SERVFAIL,
        Reply::Silence,
        Reply::addresses(&[], 0),
    ] {
        let server = NameServer::start();
        server.set("a.test", Reply::addresses(&["10.0.0.1"], 0));
        let (_node, events, handle, address) = run(&server, &["a.test"]);
        assert_eq!(next(&events), found("a.test", &["10.0.0.1:80"]));
        assert_eq!(metric(address, FAILING), 0);
        server.set("a.test", failure.clone());
        eventually("the failure is seen", || metric(address, FAILING) == 1);
        assert_eq!(events.try_recv().ok(), None, "{failure:?}");
        server.set("a.test", Reply::addresses(&["10.0.0.2"], 0));
        assert_eq!(next(&events), found("a.test", &["10.0.0.2:80"]));
        eventually("the recovery is seen", || metric(address, FAILING) == 0);
        handle.stop();
    }
}

#[test]
fn an_outage_is_logged_when_it_begins_and_when_it_ends() {
    crate::log::collect();
    let server = NameServer::start();
    server.set("outage.test", Reply::SERVFAIL);
    let (_node, events, handle, address) = run(&server, &["outage.test"]);
    eventually("it fails several times", || server.asked("outage.test") > 8);
    server.set("outage.test", Reply::addresses(&["10.0.0.1"], 60));
    next(&events);
    eventually("the recovery is seen", || metric(address, FAILING) == 0);
    handle.stop();
    let lines = crate::log::lines_with("outage.test");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN message=name lookup failed"));
    assert!(lines[1].starts_with("INFO message=name resolves again"));
}

#[test]
fn a_name_that_fails_at_first_is_tried_until_it_resolves() {
    let server = NameServer::start();
    server.set("late.test", Reply::SERVFAIL);
    let (_node, events, handle, _) = run(&server, &["late.test"]);
    eventually("it is tried again", || server.asked("late.test") > 2);
    server.set("late.test", Reply::addresses(&["10.0.0.1"], 60));
    assert_eq!(next(&events), found("late.test", &["10.0.0.1:80"]));
    handle.stop();
}

#[test]
fn refresh_takes_new_targets_and_delivers_known_addresses_again() {
    let server = NameServer::start();
    server.set("a.test", Reply::addresses(&["10.0.0.1"], 3_600));
    server.set("b.test", Reply::addresses(&["10.0.0.2"], 3_600));
    let (node, events, handle, _) = run(&server, &["a.test"]);
    assert_eq!(next(&events), found("a.test", &["10.0.0.1:80"]));
    let other_port = Target {
        upstream: "v".into(),
        port: 81,
        ..target("a.test")
    };
    *node.targets.lock().unwrap() = vec![other_port, target("b.test")];
    handle.refresh();
    let mut delivered = [next(&events), next(&events)];
    delivered.sort();
    assert_eq!(delivered[0], found("a.test", &["10.0.0.1:81"]));
    assert_eq!(delivered[1], found("b.test", &["10.0.0.2:80"]));
    assert_eq!(server.asked("a.test"), 1, "a known name is not asked again");
    handle.stop();
}

#[test]
fn localhost_and_literals_need_no_name_server() {
    let targets = [target("localhost"), target("192.0.2.7"), target("::1")];
    let nobody = DnsOptions {
        nameservers: vec!["127.0.0.1:9".parse().unwrap()],
        ..DnsOptions::default()
    };
    let answers = resolve_once(&targets, PATIENCE, &nobody);
    let local = answers[0].outcome.clone().unwrap();
    assert_eq!(local[0], "127.0.0.1:80".parse().unwrap());
    assert_eq!(
        answers[1].outcome,
        Ok(vec!["192.0.2.7:80".parse().unwrap()])
    );
    assert_eq!(answers[2].outcome, Ok(vec!["[::1]:80".parse().unwrap()]));
}

#[test]
fn resolving_once_answers_every_target_by_the_deadline() {
    let server = NameServer::start();
    server.set("a.test", Reply::addresses(&["10.0.0.1"], 60));
    server.set("gone.test", Reply::NXDOMAIN);
    server.set("broken.test", Reply::SERVFAIL);
    server.set("slow.test", Reply::Silence);
    let names = [
        "a.test",
        "gone.test",
        "broken.test",
        "slow.test",
        "not a name",
        "a.test",
    ];
    let targets = names.map(target);
    let patient = DnsOptions {
        query_timeout: Some(Duration::from_secs(60)),
        ..options(&server)
    };
    let answers = resolve_once(&targets, Duration::from_secs(2), &patient);
    assert_eq!(answers.len(), targets.len());
    let texts: Vec<_> = answers
        .iter()
        .map(|answer| match &answer.outcome {
            Ok(addresses) => format!("{addresses:?}"),
            Err(cause) => cause.clone(),
        })
        .collect();
    assert_eq!(texts[0], "[10.0.0.1:80]");
    assert!(texts[1].contains("NXDOMAIN"), "{texts:?}");
    assert!(texts[2].contains("Server Failure"), "{texts:?}");
    assert!(texts[3].contains("within 2s"), "{texts:?}");
    assert!(texts[4].contains("a name"), "{texts:?}");
    assert_eq!(texts[5], texts[0]);
}

#[test]
fn many_names_are_resolved_in_one_go() {
    let server = NameServer::start();
    let names: Vec<_> = (0..300).map(|i| format!("n{i}.test")).collect();
    for name in &names {
        server.set(name, Reply::addresses(&["10.0.0.1"], 60));
    }
    let targets: Vec<_> = names.iter().map(|name| target(name)).collect();
    let patient = DnsOptions {
        query_timeout: Some(PATIENCE),
        ..options(&server)
    };
    let answers = resolve_once(&targets, PATIENCE, &patient);
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()));
}
