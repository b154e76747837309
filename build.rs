//! Build facts for `--version`: what was built, by which compiler, for what. Builds without git
//! or outside a checkout have no commit, and are otherwise the same.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RINGGATE_COMMIT");
    let commit = env::var("RINGGATE_COMMIT").ok().or_else(commit);
    if let Some(commit) = commit {
        println!("cargo:rustc-env=RINGGATE_COMMIT={commit}");
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = said(Command::new(rustc).arg("--version"));
    let rustc = rustc.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=RINGGATE_RUSTC={rustc}");
    for (fact, variable) in [("TARGET", "TARGET"), ("PROFILE", "PROFILE")] {
        let value = env::var(variable).unwrap_or_else(|_| "unknown".to_owned());
        println!("cargo:rustc-env=RINGGATE_{fact}={value}");
    }
}

/// The commit that is checked out here, in short. A checkout of something around us says
/// nothing.
fn commit() -> Option<String> {
    let git = Path::new(".git");
    if !git.exists() {
        return None;
    }
    // A branch moves without a change of HEAD. A file that is not there would have this script
    // run on every build.
    let head = std::fs::read_to_string(git.join("HEAD")).unwrap_or_default();
    let branch = head.trim().strip_prefix("ref: ").map(|name| git.join(name));
    for file in [Some(git.join("HEAD")), branch].into_iter().flatten() {
        if file.exists() {
            println!("cargo:rerun-if-changed={}", file.display());
        }
    }
    said(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]))
}

/// The first line that a command prints, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
