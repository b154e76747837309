//! Much at once: h2load, and few connections to the origin behind it.

use std::fs;

use super::Edge;
use crate::support::process::{Process, output, tool};
use crate::support::{Driver, Setup, on_both_drivers};

on_both_drivers!(
    serves_h2load_over_h2c,
    serves_h2load_in_tls,
    shares_few_connections_among_many_streams,
);

/// Runs h2load and fails unless every request was answered with a 2xx.
#[track_caller]
fn h2load(arguments: &[&str], requests: u32) {
    let mut command = tool("h2load");
    command
        .args(["-n", &requests.to_string(), "-T", "20"])
        .args(arguments);
    let said = output(command, b"").all();
    let all = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(said.contains(&all), "{said}");
    assert!(said.contains(&format!("{requests} 2xx")), "{said}");
}

fn serves_h2load_over_h2c(driver: Driver) {
    let edge = Edge::start(driver);
    let url = format!("http://{}/one/hello", edge.gateway.address());
    h2load(&["-c", "8", "-m", "20", &url], 5000);
    edge.gateway
        .wait_for_metric("ringgate_requests_total", &[("route", "one")], 5000.0);
}

fn serves_h2load_in_tls(driver: Driver) {
    let edge = Edge::start(driver);
    let address = edge.gateway.listener("secure");
    let port = address.rsplit(':').next().unwrap();
    let to = format!("--connect-to={address}");
    let url = format!("https://gateway.test:{port}/one/sized?n=20000");
    h2load(&[&to, "-c", "8", "-m", "20", &url], 2000);
    let url = format!("https://gateway.test:{port}/one/hello");
    h2load(&[&to, "-c", "8", "--h1", &url], 2000);
}

fn shares_few_connections_among_many_streams(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("small"), "x").unwrap();
    let mut command = tool("nghttpd");
    command.args(["--no-tls", "-a", "127.0.0.1", "-m", "1000", "-d"]);
    command.arg(dir.path()).arg("0");
    let nghttpd = Process::start(command);
    let gateway = Setup::new(driver)
        .upstream(
            "app",
            &format!("127.0.0.1:{}", nghttpd.port()),
            "protocol = \"h2\"",
        )
        .catch_all("app")
        .start();
    let url = format!("http://{}/small", gateway.address());
    h2load(&["-c", "8", "-m", "50", &url], 5000);
    let connects = gateway.metric("ringgate_upstream_connects_total", &[]);
    assert!(
        (1.0..=8.0).contains(&connects),
        "{connects} connections of one worker"
    );
}
