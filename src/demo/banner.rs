//! What the demo prints: what runs where, and the commands to try.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ringgate_config::Style;
use serde_json::{Value, json};

use super::settings::{Former, Settings};
use super::tries::{TRIES, Try};

/// What the banner is made from.
#[derive(Debug)]
pub struct Banner<'a> {
    /// What runs where.
    pub settings: &'a Settings,
    /// Ports that were wanted and not to be had, with those taken instead.
    pub moved: &'a [String],
    /// What became of an earlier configuration.
    pub former: &'a Former,
    /// This program as a shell would find it.
    pub ringgate: &'a str,
}

impl Banner<'_> {
    /// For people.
    pub fn text(&self, style: Style) -> String {
        let paint = |code: &str, text: &str| match style {
            Style::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Style::Plain => text.to_owned(),
        };
        let settings = self.settings;
        let services = &settings.services;
        let file = settings.file.display();
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} {}: a gateway before three small services, in one process\n",
            paint("1", "Ringgate demo"),
            env!("CARGO_PKG_VERSION")
        );
        for (name, what) in [
            ("gateway", format!("http://{}", settings.gateway)),
            ("admin", format!("http://{}", settings.admin)),
            ("config", format!("{file}   edit it, the gateway follows")),
            ("access log", settings.access_log().display().to_string()),
            (
                "services",
                format!(
                    "users :{}  products :{} (next release :{})  orders :{}",
                    services.users.port(),
                    services.products.port(),
                    services.products_next.port(),
                    services.orders.port()
                ),
            ),
        ] {
            let _ = writeln!(out, "  {name:10}  {what}");
        }
        for note in self.notes() {
            let _ = writeln!(out, "  {}", paint("33", &note));
        }
        out.push_str("\nTry in another terminal, in this directory:\n");
        let mut topic = "";
        for each in TRIES {
            if each.topic != topic {
                topic = each.topic;
                let _ = writeln!(out, "\n{}", paint("1", topic));
            }
            let _ = writeln!(out, "{}", paint("2", &format!("  # {}", each.shows)));
            let _ = writeln!(out, "  {}", self.command(each));
        }
        out.push_str("\nCtrl-C ends the demo.\n");
        out
    }

    /// For programs: where everything is, and the commands with what to expect of each.
    pub fn json(&self) -> Value {
        let settings = self.settings;
        let commands: Vec<Value> = TRIES
            .iter()
            .map(|each| {
                json!({
                    "topic": each.topic,
                    "shows": each.shows,
                    "command": self.command(each),
                    "expect": each.expect,
                    "status": each.status(),
                })
            })
            .collect();
        json!({
            "gateway": settings.gateway.to_string(),
            "admin": settings.admin.to_string(),
            "config": settings.file,
            "access_log": settings.access_log(),
            "commands": commands,
        })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.moved.to_vec();
        if let Former::Kept(kept) = self.former {
            notes.push(format!("your edited file is kept as {}", kept.display()));
        }
        notes
    }

    fn command(&self, each: &Try) -> String {
        let settings = self.settings;
        each.command
            .replace("@GATEWAY@", &format!("http://{}", settings.gateway))
            .replace("@GATEWAY_ADDRESS@", &settings.gateway.to_string())
            .replace("@ADMIN@", &format!("http://{}", settings.admin))
            .replace("@CONFIG@", &quoted(&settings.file.to_string_lossy()))
            .replace("@RINGGATE@", self.ringgate)
    }
}

impl Try {
    /// The status that the output begins with, when the command shows it.
    fn status(&self) -> Option<u16> {
        let line = self.expect.first()?.strip_prefix("HTTP/1.1 ")?;
        line.parse().ok()
    }
}

/// This program as a shell in the same directory would find it.
pub fn ringgate() -> String {
    let Ok(program) = std::env::current_exe() else {
        return "ringgate".to_owned();
    };
    if found_in_path("ringgate").is_some_and(|found| found == program) {
        return "ringgate".to_owned();
    }
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| Some(program.strip_prefix(here).ok()?.to_owned()));
    let path = match short {
        // Without a slash a shell would look in PATH only.
        Some(short) if short.components().count() == 1 => Path::new(".").join(short),
        Some(short) => short,
        None => program,
    };
    quoted(&path.to_string_lossy())
}

fn found_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())?;
    found.canonicalize().ok()
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
