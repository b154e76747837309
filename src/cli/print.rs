//! Output of commands. A reader that goes away (`| head`) is no failure.

use std::io::{self, IsTerminal, Write};

use ringgate_config::{Style, Verdict};

use super::Exit;

/// Writes a text and a line end to standard output.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a text and a line end to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// JSON for people and programs.
pub fn pretty(value: &serde_json::Value) -> String {
    // A value has string keys only, so this cannot fail; the compact form is as good.
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Whether a stream wants colours.
pub fn style_of(stream: &impl IsTerminal) -> Style {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match stream.is_terminal() && !refused {
        true => Style::Colour,
        false => Style::Plain,
    }
}

/// The exit code of a verdict over a configuration.
pub fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Runnable => Exit::Fine,
        Verdict::Unsupported => Exit::Unsupported,
        Verdict::Invalid => Exit::Invalid,
    }
}
