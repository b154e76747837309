//! The commands, their output and their exit codes: 0 fine, 1 a runtime or usage error,
//! 2 an invalid configuration, 3 a valid one that needs parts this build has not.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::sys::{self, Signal};
use crate::support::{PATIENCE, Run, ringgate, run, run_in, wait_until};

const GOOD: &str = "[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:0\"\n\n\
    [[upstream]]\nname = \"users\"\nendpoints = [\"127.0.0.1:9001\"]\n\n\
    [[route]]\nname = \"users\"\npath = \"/api/users/{rest*}\"\nmethods = [\"GET\"]\n\
    rewrite = \"/v2/{rest}\"\nupstream = \"users\"\n";

fn check(text: &str, more: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    fs::write(&file, text).unwrap();
    let mut arguments = vec!["check"];
    arguments.extend(more);
    arguments.push("c.toml");
    run_in(dir.path(), &arguments)
}

#[test]
fn version_tells_the_build() {
    let outcome = run(&["--version"]);
    assert_eq!(outcome.code, 0);
    assert!(
        outcome.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        outcome.stdout
    );
}

#[test]
fn version_names_the_compiler() {
    let outcome = run(&["--version"]);
    let line = outcome.stdout.lines().find(|l| l.starts_with("rust:"));
    let line = line.unwrap_or_else(|| panic!("{}", outcome.stdout));
    assert!(line.contains("rustc 1."), "{line}");
    assert!(!line.contains("unknown"), "{line}");
}

#[test]
fn help_lists_every_command() {
    let outcome = run(&["--help"]);
    assert_eq!(outcome.code, 0);
    for command in [
        "run",
        "check",
        "explain",
        "demo",
        "reload",
        "upstreams",
        "drain",
        "undrain",
        "schema",
        "completions",
    ] {
        assert!(
            outcome.stdout.contains(command),
            "{command} in {}",
            outcome.stdout
        );
    }
}

#[test]
fn wrong_usage_exits_with_1() {
    for arguments in [
        &["frobnicate"][..],
        &["check"],
        &["check", "--no-such-flag", "x"],
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.code, 1, "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty());
    }
}

#[test]
fn check_accepts_a_good_file() {
    let outcome = check(GOOD, &[]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn check_points_at_an_unknown_key() {
    let outcome = check(&GOOD.replace("endpoints", "endpoint"), &[]);
    assert_eq!(outcome.code, 2);
    let said = outcome.stdout + &outcome.stderr;
    for part in ["c.toml:7:1", "endpoint", "endpoints", "^"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn check_tells_problems_to_machines() {
    let outcome = check(
        &GOOD.replace("upstream = \"users\"\n", "upstream = \"usres\"\n"),
        &["--json"],
    );
    assert_eq!(outcome.code, 2);
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let text = report.to_string();
    assert!(text.contains("usres") && text.contains("users"), "{text}");
}

#[test]
fn check_proves_a_shadowed_route() {
    let twin = "\n[[route]]\nname = \"never\"\npath = \"/api/users/{x*}\"\nmethods = [\"GET\"]\n\
                upstream = \"users\"\n";
    let outcome = check(&format!("{GOOD}{twin}"), &[]);
    assert_eq!(outcome.code, 2, "{}{}", outcome.stdout, outcome.stderr);
    let said = outcome.stdout + &outcome.stderr;
    assert!(
        said.contains("never") && said.contains("/api/users/"),
        "{said}"
    );
}

#[test]
fn check_names_what_this_build_does_not_run() {
    let later = "\n[admin]\nlisten = \"unix:/run/admin.sock\"\n";
    let outcome = check(&format!("{GOOD}{later}"), &[]);
    assert_eq!(outcome.code, 3, "{}{}", outcome.stdout, outcome.stderr);
    let said = outcome.stdout + &outcome.stderr;
    assert!(said.contains("not supported yet"), "{said}");
}

#[test]
fn check_reads_the_environment_and_includes() {
    let dir = tempfile::tempdir().unwrap();
    let (head, route) = GOOD.split_at(GOOD.find("[[route]]").unwrap());
    let head = head.replace("127.0.0.1:9001", "${env:RINGGATE_TEST_ENDPOINT}");
    fs::create_dir(dir.path().join("routes")).unwrap();
    fs::write(
        dir.path().join("c.toml"),
        format!("include = [\"routes/*.toml\"]\n{head}"),
    )
    .unwrap();
    fs::write(dir.path().join("routes/users.toml"), route).unwrap();
    let unset = run_in(dir.path(), &["check", "c.toml"]);
    assert_eq!(unset.code, 2);
    assert!((unset.stdout + &unset.stderr).contains("RINGGATE_TEST_ENDPOINT"));
    let set = Command::new(ringgate())
        .args(["check", "c.toml"])
        .current_dir(dir.path())
        .env("RINGGATE_TEST_ENDPOINT", "127.0.0.1:9001")
        .output()
        .unwrap();
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
}

#[test]
fn run_refuses_an_invalid_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), GOOD.replace("path", "psth")).unwrap();
    assert_eq!(run_in(dir.path(), &["run", "c.toml"]).code, 2);
    let missing = run_in(dir.path(), &["run", "missing.toml"]);
    assert_ne!(missing.code, 0);
    assert!(missing.stderr.contains("missing.toml"));
}

#[test]
fn run_says_which_address_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("c.toml"),
        GOOD.replace("127.0.0.1:0", &address),
    )
    .unwrap();
    let outcome = run_in(dir.path(), &["run", "c.toml"]);
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&address), "{}", outcome.stderr);
}

#[test]
fn explain_tells_route_and_upstream_and_sends_nothing() {
    let origin = crate::support::Origin::named("never asked");
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("c.toml"),
        GOOD.replace("127.0.0.1:9001", origin.address()),
    )
    .unwrap();
    let url = "http://gateway.test/api/users/7?x=1";
    let outcome = run_in(
        dir.path(),
        &["explain", "c.toml", "GET", url, "-H", "x-version: 2"],
    );
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    for part in ["users", origin.address(), "/v2/7?x=1"] {
        assert!(
            outcome.stdout.contains(part),
            "{part} in {}",
            outcome.stdout
        );
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn explain_tells_why_a_route_lost() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), GOOD).unwrap();
    let url = "http://gateway.test/api/users/7";
    let outcome = run_in(dir.path(), &["explain", "c.toml", "POST", url]);
    let said = outcome.stdout + &outcome.stderr;
    assert!(
        said.contains("405") && said.to_lowercase().contains("method"),
        "{said}"
    );
    // The line of the losing condition.
    let line = GOOD.lines().position(|l| l.starts_with("methods")).unwrap() + 1;
    assert!(said.contains(&format!("c.toml:{line}")), "{said}");
}

#[test]
fn explain_speaks_json() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), GOOD).unwrap();
    let url = "http://gateway.test/api/users/7";
    let outcome = run_in(dir.path(), &["explain", "c.toml", "GET", url, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(value.to_string().contains("/v2/7"), "{value}");
}

#[test]
fn explain_follows_a_sequence() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), GOOD).unwrap();
    let sequence = "[[request]]\nurl = \"/api/users/7\"\nrepeat = 3\n\
                    [[request]]\nat = \"2s\"\nmethod = \"POST\"\nurl = \"/nowhere\"\n";
    fs::write(dir.path().join("seq.toml"), sequence).unwrap();
    let explain = |more: &[&str]| {
        let mut arguments = vec!["explain", "c.toml", "--requests", "seq.toml"];
        arguments.extend(more);
        run_in(dir.path(), &arguments)
    };
    let told = explain(&[]);
    assert_eq!(told.code, 4, "{}{}", told.stdout, told.stderr);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", told.stdout);
    assert!(
        lines[0].contains("x3") && lines[0].contains("/v2/7"),
        "{}",
        told.stdout
    );
    assert!(
        lines[1].contains("2s") && lines[1].contains("404"),
        "{}",
        told.stdout
    );
    let rows: serde_json::Value = serde_json::from_str(&explain(&["--json"]).stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    fs::write(dir.path().join("seq.toml"), "[[request]]\n").unwrap();
    let broken = explain(&[]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("url"), "{}", broken.stderr);
}

#[test]
fn schema_is_json_schema() {
    let outcome = run(&["schema"]);
    assert_eq!(outcome.code, 0);
    let schema: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    for key in ["listener", "upstream", "route", "filter", "limits"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&["completions", shell]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stdout.contains("ringgate"));
    }
}

#[test]
fn reload_without_a_gateway_says_so() {
    let outcome = run(&["reload", "--admin", "127.0.0.1:1"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("127.0.0.1:1"), "{}", outcome.stderr);
}

#[test]
fn demo_starts_and_its_commands_work_and_an_interrupt_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(ringgate())
        .args(["demo", "--port", "0"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut commands = Vec::new();
    // The commands are over when a while passes without a further line.
    let mut wait = PATIENCE;
    while let Ok(line) = lines.recv_timeout(wait) {
        if let Some(at) = line.find("curl ") {
            commands.push(line[at..].to_owned());
            wait = std::time::Duration::from_secs(2);
        }
    }
    assert!(commands.len() >= 3, "{commands:?}");
    for command in &commands {
        let output = Command::new("/bin/sh")
            .args(["-c", command])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !said.is_empty(),
            "{command}: {output:?}"
        );
    }
    sys::signal(child.id(), Signal::Interrupt);
    let mut status = None;
    wait_until("the demo ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(0));
}
