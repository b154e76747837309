//! The peers of tests/scripts in their Python environment.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::{Process, output};

/// A script as a command, with arguments.
#[track_caller]
pub fn script(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command
        .arg(scripts().join(name))
        .args(arguments)
        // Nothing is written beside the sources, and no proxy of the machine is asked.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GRPC_VERBOSITY", "NONE")
        .env("no_proxy", "*");
    command
}

/// A script that serves; it announces its port in its first line.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    address: String,
}

impl Server {
    /// Starts it and waits until it listens.
    #[track_caller]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let process = Process::start(script(name, arguments));
        let port = &process.json()["port"];
        let address = format!("127.0.0.1:{port}");
        Self { process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Runs a client's script to its end and returns the last line it said.
#[track_caller]
pub fn client(name: &str, arguments: &[&str]) -> Value {
    let mut process = Process::start(script(name, arguments));
    let mut last = process.json();
    while last
        .as_object()
        .is_some_and(|said| said.contains_key("open"))
    {
        last = process.json();
    }
    process.finish();
    last
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

/// The interpreter with what requirements.txt names.
#[track_caller]
fn interpreter() -> PathBuf {
    let mut venv = Command::new(scripts().join("venv"));
    venv.arg("path");
    let path = PathBuf::from(output(venv, b"").text().trim());
    assert!(
        path.with_file_name("../complete").exists(),
        "the Python environment of tests/scripts is missing; run ./tests/run, which makes it"
    );
    path
}
