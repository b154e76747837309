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
    match path.is_file() {
        true => Ok(path),
        false => Err(format!(
            "there is no {}: build it (cargo build --release -p ringgate), or name it with \
             --gateway",
            path.display()
        )),
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
    let said = process::version(program, flag);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_wheels_are_found_without_their_scripts() {
        let at = |program| in_directory(Path::new("/d"), program);
        assert_eq!(at("envoy"), Path::new("/d/envoy/_bin/envoy"));
        assert_eq!(at("caddy"), Path::new("/d/bin/caddy"));
    }
}
