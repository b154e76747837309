//! The binary as a command that runs to its end.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// The binary under test: the one built with these tests, or the one that the environment
/// variable `RINGGATE_BINARY` names, such as a release build or an installed package.
pub fn ringgate() -> OsString {
    std::env::var_os("RINGGATE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_ringgate").into())
}

/// The outcome of a command that ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the binary with `arguments` to its end.
#[track_caller]
pub fn run(arguments: &[&str]) -> Run {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments)
}

/// The same in a directory.
#[track_caller]
pub fn run_in(directory: &Path, arguments: &[&str]) -> Run {
    let mut child = Command::new(ringgate())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = thread::spawn(drain(child.stdout.take().unwrap()));
    let stderr = thread::spawn(drain(child.stderr.take().unwrap()));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("ringgate {arguments:?} did not end");
        }
        thread::sleep(std::time::Duration::from_millis(2));
    };
    Run {
        code: status.code().unwrap_or(-1),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn drain(mut source: impl Read + Send + 'static) -> impl FnOnce() -> String + Send + 'static {
    move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
