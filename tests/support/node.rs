//! The peers of tests/scripts that run on Node.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Process, output};

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
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
        let mut command = Command::new("node");
        command
            .arg(scripts.join(name))
            .args(arguments)
            .env("OIDC_MODULES", modules(&scripts));
        let process = Process::start(command);
        let port = &process.json()["port"];
        let address = format!("127.0.0.1:{port}");
        Self { process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends it a signal by name, such as `-STOP`.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let pid = self.process.pid().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success(), "kill {signal} {pid}");
    }
}

/// The packages of package.json.
#[track_caller]
fn modules(scripts: &Path) -> PathBuf {
    let mut modules = Command::new(scripts.join("modules"));
    modules.arg("path");
    let path = PathBuf::from(output(modules, b"").text().trim());
    assert!(
        path.join("complete").exists(),
        "the Node packages of tests/scripts are missing; run ./tests/run, which installs them"
    );
    path
}
