//! Checks files without knowing the router's patterns: `cargo run -p ringgate-config --example
//! check -- FILE...`
#![allow(clippy::print_stdout)]

use std::path::Path;

use ringgate_config::{AnyPattern, Style, load, render};

fn main() {
    for file in std::env::args().skip(1) {
        let loaded = load(
            Path::new(&file),
            &|name| std::env::var(name).ok(),
            &AnyPattern,
        );
        print!(
            "{}",
            render(&loaded.diagnostics, &loaded.sources, Style::Plain)
        );
        println!("{file}: {:?}", loaded.verdict());
    }
}
