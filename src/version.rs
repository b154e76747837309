//! What this binary is: for `--version`, the admin API and the start line.

use std::sync::LazyLock;

use ringgate_core::rt::Driver;
use serde_json::{Value, json};

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version and build facts on several lines, without the program's name.
pub fn long() -> &'static str {
    &LONG
}

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{VERSION}\ncommit:  {}\nbuild:   {PROFILE} for {TARGET}\nrust:    {RUSTC}\ndrivers: {}\nconfig:  TOML, see `ringgate schema`",
        COMMIT.unwrap_or("none, built outside a checkout"),
        DRIVERS.map(Driver::name).join(", "),
    )
});

/// The same facts for programs.
pub fn facts() -> Value {
    json!({
        "version": VERSION,
        "commit": COMMIT,
        "profile": PROFILE,
        "target": TARGET,
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "rust": RUSTC,
        "drivers": DRIVERS.map(Driver::name),
    })
}

// The build script finds these out.
const COMMIT: Option<&str> = option_env!("RINGGATE_COMMIT");
const RUSTC: &str = env!("RINGGATE_RUSTC");
const TARGET: &str = env!("RINGGATE_TARGET");
const PROFILE: &str = env!("RINGGATE_PROFILE");

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_knows_its_compiler_and_target() {
        assert!(RUSTC.starts_with("rustc "), "{RUSTC}");
        assert!(TARGET.contains("-linux-"), "{TARGET}");
        for fact in [RUSTC, TARGET, PROFILE] {
            assert!(long().contains(fact), "{}", long());
            assert!(!fact.contains("unknown") || fact == TARGET, "{fact}");
        }
    }
}
