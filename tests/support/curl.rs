//! curl, told to ask nobody but the gateway.

use super::process::{Output, output, tool};

/// Runs curl with `arguments`; it may fail.
#[track_caller]
pub fn try_curl(arguments: &[&str]) -> Output {
    let mut command = tool("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(arguments);
    output(command, b"")
}

/// Runs curl with `arguments` and returns what it wrote.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = try_curl(arguments);
    assert!(output.success, "curl {arguments:?}: {}", output.stderr);
    output.stdout
}

/// The same as text.
#[track_caller]
pub fn curl_text(arguments: &[&str]) -> String {
    String::from_utf8(curl(arguments)).unwrap()
}
