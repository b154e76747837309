//! Whole runs against a server in this process. Nothing here depends on how long something
//! takes; counts of both sides have to agree, and figures stand in an order.

mod server;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;

use super::Command;
use super::plan::Plan;
use super::tally::Tally;
use crate::fault::{Fault, Result};
use crate::results::LoadRun;
use server::{Server, Stall};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    load: Command,
}

fn load(url: &str, options: &str) -> Result<LoadRun> {
    measure(url, options).map(|(_, _, run)| run)
}

fn measure(url: &str, options: &str) -> Result<(Arc<Plan>, Tally, LoadRun)> {
    let words = ["load", url, "--quiet", "--warmup", "0"];
    let line = Line::try_parse_from(words.into_iter().chain(options.split_whitespace()));
    line.unwrap().load.measure()
}

/// Failures of a run in which nothing was answered, by what was said of them.
fn nothing(url: &str, options: &str) -> String {
    match load(url, options) {
        Err(Fault::Premise(what)) => what,
        other => panic!("something was answered: {other:?}"),
    }
}

#[test]
fn counts_agree_with_those_of_the_server() {
    let server = Server::start();
    let run = load(&server.url("/"), "-c 7 -t 2 -s 0.5").unwrap();
    assert_eq!(run.statuses, BTreeMap::from([(200, run.requests)]));
    assert_eq!((run.failures(), run.opened, server.accepted()), (0, 7, 7));
    assert_eq!(run.body_bytes, run.requests * 5);
    // One on each connection may be under way at the end.
    let beyond = server.requests() - run.requests;
    assert!(run.requests > 0 && beyond <= 7, "{beyond} beyond");
}

#[test]
fn both_drivers_measure() {
    let server = Server::start();
    let run = load(&server.url("/"), "-c 3 -s 0.2 --driver epoll").unwrap();
    assert!(run.requests > 0 && run.failures() == 0);
}

#[test]
fn pipelined_requests_are_all_answered() {
    let server = Server::start();
    let run = load(&server.url("/"), "-c 2 -s 0.3 --in-flight 8").unwrap();
    let beyond = server.requests() - run.requests;
    assert!(run.failures() == 0 && beyond <= 16, "{beyond} beyond");
}

#[test]
fn each_request_can_have_a_connection_of_its_own() {
    let server = Server::start();
    let run = load(&server.url("/close"), "-c 2 -s 0.3 --new-connections").unwrap();
    assert_eq!((run.failures(), run.opened), (0, server.accepted()));
    assert!(run.opened >= run.requests && run.opened <= run.requests + 2);
}

#[test]
fn a_server_that_announces_the_close_makes_no_errors() {
    let server = Server::start();
    for options in ["-c 2 -s 0.2", "-c 2 -s 0.2 --in-flight 4"] {
        let run = load(&server.url("/close"), options).unwrap();
        assert!(run.requests > 0 && run.opened > 2, "{options}");
        assert_eq!(run.errors, BTreeMap::new(), "{options}");
    }
}

#[test]
fn framings_and_statuses_are_read() {
    let server = Server::start();
    let run = load(&server.url("/chunked"), "-c 1 -s 0.1").unwrap();
    assert_eq!((run.failures(), run.body_bytes), (0, run.requests * 5));
    let run = load(&server.url("/until-close"), "-c 1 -s 0.1").unwrap();
    assert_eq!((run.failures(), run.body_bytes), (0, run.requests * 5));
    let run = load(&server.url("/gone"), "-c 1 -s 0.1").unwrap();
    assert_eq!(run.statuses, BTreeMap::from([(410, run.requests)]));
}

#[test]
fn failures_are_told_apart() {
    let server = Server::start();
    for (path, kind) in [
        ("/cut", "closed"),
        ("/hang-up", "closed"),
        ("/reset", "reset"),
        ("/garbage", "protocol"),
    ] {
        let what = nothing(&server.url(path), "-c 1 -s 0.1");
        assert!(what.contains(&format!("\n{kind}: ")), "{path}: {what}");
    }
    let what = nothing(&server.url("/silent"), "-c 1 -s 0.5 --timeout 0.1");
    assert!(what.contains("\ntimeout: "), "{what}");
}

#[test]
fn failures_are_counted_beside_answers() {
    let server = Server::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mix = "[[request]]\npaths = ['/ok', '/ok', '/hang-up']\norder = 'sequential'";
    std::fs::write(file.path(), mix).unwrap();
    let options = format!("-c 1 -s 0.3 --requests {}", file.path().display());
    let run = load(&server.url("/"), &options).unwrap();
    let closed = run.errors["closed"];
    assert_eq!(run.errors.len(), 1);
    // Two of three are answered; the run may begin and end anywhere in between.
    assert!(run.requests.abs_diff(closed * 2) <= 2, "{run:?}");
}

#[test]
fn nobody_there_is_no_figure() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", free.local_addr().unwrap());
    drop(free);
    let what = nothing(&url, "-c 2 -s 0.1");
    assert!(
        what.contains("refused") && what.contains("running"),
        "{what}"
    );
}

#[test]
fn bodies_arrive_whole() {
    let server = Server::start();
    let run = load(&server.url("/"), "-c 2 -s 0.3 --body-size 300KiB").unwrap();
    assert_eq!(run.failures(), 0);
    let bytes = server.seen.body_bytes.load(Ordering::SeqCst);
    assert_eq!(bytes, server.requests() * 300 * 1024);
    assert!(run.requests > 0);
}

#[test]
fn idle_connections_make_one_request_and_stay() {
    let server = Server::start();
    let run = load(&server.url("/"), "-c 1 -s 0.2 --idle 20 --rate 50").unwrap();
    assert_eq!((run.opened, server.accepted()), (21, 21));
    assert_eq!(run.warmup_requests, 20);
    assert_eq!(server.requests(), run.requests + 20);
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = Server::start();
    let (plan, tally, run) = measure(&server.url("/"), "-c 4 -t 2 -s 1 --rate 100,300").unwrap();
    assert_eq!((run.requests + run.unsent, run.failures()), (200, 0));
    let steps: u64 = tally.steps.iter().map(|(_, step)| step.len()).sum();
    assert_eq!((tally.steps.len(), steps), (2, run.requests));
    let table = super::show::table(&plan, &tally, &run);
    assert!(table.contains("\n300/s "), "{table}");
    assert_eq!(server.requests(), run.requests);
    let service = run.service.unwrap();
    assert!(service.p50_us <= run.latency.p50_us);
}

#[test]
fn a_stall_shows_in_the_latency_but_not_in_the_service_time() {
    let stall = Stall {
        at: 200,
        length: Duration::from_millis(500),
    };
    let server = Server::stalling(stall);
    let run = load(&server.url("/"), "-c 2 -s 2 --rate 400").unwrap();
    assert_eq!((run.requests + run.unsent, run.failures()), (800, 0));
    let service = run.service.unwrap();
    // 200 of 800 requests were due during the stall, but only two were under way in it.
    assert!(run.latency.p99_9_us > 400_000.0, "{:?}", run.latency);
    assert!(run.latency.p99_us > 4.0 * service.p99_us, "{service:?}");
    assert!(service.max_us > 400_000.0, "{service:?}");
}

#[test]
fn what_a_server_cannot_take_is_told() {
    let server = Server::stalling(Stall {
        at: 1,
        length: Duration::from_millis(1500),
    });
    let run = load(&server.url("/"), "-c 1 -s 1 --rate 100").unwrap();
    assert_eq!((run.requests, run.unsent), (1, 99));
}

#[test]
fn wrong_command_lines_are_explained() {
    for (url, options, says) in [
        ("ftp://127.0.0.1/", "", "http://"),
        ("http://127.0.0.1/", "-c 1 -t 2", "at least one"),
        ("http://127.0.0.1/", "-s 0", "--seconds"),
        ("http://127.0.0.1/", "--new-connections -i 2", "--in-flight"),
        ("http://127.0.0.1/", "--requests /nowhere", "/nowhere"),
        (
            "http://127.0.0.1/",
            "--header connection:close",
            "leave it out",
        ),
        ("http://no.such.host.invalid/", "", "no.such.host.invalid"),
        ("https://127.0.0.1/", "--ca /nowhere", "/nowhere"),
    ] {
        match load(url, options) {
            Err(Fault::Setup(what)) => assert!(what.contains(says), "{options}: {what}"),
            other => panic!("{url} {options}: {other:?}"),
        }
    }
}
