//! `ringgate-bench peers` from end to end, with what needs no other program.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;

fn bench(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringgate-bench"));
    command.args(arguments).output().unwrap()
}

#[test]
fn the_relay_is_measured_and_saved() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("run.json");
    let output = bench(&[
        "peers",
        "--scenario=small-get-64,tls-get-64",
        "--peers=relay",
        "--rounds=2",
        "--seconds=1",
        "--json",
        "--save",
        file.to_str().unwrap(),
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let saved: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(printed, saved);
    assert_eq!(saved["kind"], "peers");
    let plain = &saved["scenarios"][0]["peers"][0];
    assert_eq!(plain["name"], "relay");
    assert_eq!(plain["absent"], Value::Null, "{said}");
    assert_eq!(plain["samples"].as_array().unwrap().len(), 2);
    assert_eq!(plain["half"].as_array().unwrap().len(), 2);
    assert!(plain["samples"][0]["system_us"].as_f64().unwrap() > 0.0);
    let secure = &saved["scenarios"][1]["peers"][0];
    assert_eq!(secure["absent"], "it speaks no TLS");
    assert!(secure["samples"].as_array().unwrap().is_empty());
}

#[test]
fn nothing_measured_is_no_success() {
    let output = bench(&["peers", "--scenario=tls-get-64", "--peers=relay"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("not measured: it speaks no TLS"), "{text}");
}

#[test]
fn an_unknown_scenario_is_told_with_those_that_there_are() {
    let output = bench(&["peers", "--scenario=small"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("\"small\"") && text.contains("small-get-64"),
        "{text}"
    );
}
