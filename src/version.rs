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
        "{VERSION}\ncommit:  {}\nbuild:   {} {}-{}\nrust:    {} or later\ndrivers: {}\nconfig:  TOML, see `ringgate schema`",
        COMMIT.unwrap_or("unknown"),
        PROFILE,
        std::env::consts::ARCH,
        std::env::consts::OS,
        env!("CARGO_PKG_RUST_VERSION"),
        DRIVERS.map(Driver::name).join(", "),
    )
});

/// The same facts for programs.
pub fn facts() -> Value {
    json!({
        "version": VERSION,
        "commit": COMMIT,
        "profile": PROFILE,
        "arch": std::env::consts::ARCH,
        "os": std::env::consts::OS,
        "rust": env!("CARGO_PKG_RUST_VERSION"),
        "drivers": DRIVERS.map(Driver::name),
    })
}

/// Set by whoever builds a release.
const COMMIT: Option<&str> = option_env!("RINGGATE_COMMIT");

const PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

const DRIVERS: [Driver; 2] = [Driver::IoUring, Driver::Epoll];
