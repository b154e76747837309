//! `ringgate explain`: what the gateway would do with a request, decided by the production code
//! on a snapshot compiled as `run` compiles it. Listens on nothing, sends nothing, resolves no
//! names.

mod dry;
mod losing;
mod report;
mod request;
mod sequence;
#[cfg(test)]
mod tests;
mod text;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringgate_config::{Style, Verdict};

use crate::checked;
use dry::Dry;
use request::{Asked, Parts};

/// Explain what the gateway would do with a request; nothing is sent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Explain {
    /// The configuration
    file: PathBuf,
    /// The request's method, such as GET
    #[arg(required_unless_present = "requests")]
    method: Option<String>,
    /// Its URL, or only a path; sent as given, without normalising
    #[arg(required_unless_present = "requests")]
    url: Option<String>,
    /// A header field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the connection comes from
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    peer: IpAddr,
    /// The listener that the request comes to [default: the first]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The length of the request's body in bytes
    #[arg(long, value_name = "N")]
    body_length: Option<u64>,
    /// A file with a timed sequence of requests, explained one after the other
    #[arg(
        long,
        value_name = "SEQ.toml",
        conflicts_with_all = ["method", "url", "headers", "body_length"]
    )]
    requests: Option<PathBuf>,
    /// Quote the lines of the configuration that decided
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Examples:
  ringgate explain gate.toml GET http://api.example.com/api/users/7 -H 'x-version: 2'
  ringgate explain gate.toml POST /upload --body-length 2000000 --verbose

A sequence is a TOML file of [[request]] tables: url; and where they differ from
the default method (\"GET\"), at (\"0s\"), repeat (1), headers ({ name = \"value\" }),
peer (--peer), body_length (none).

Exit codes: 0 routed or answered, 4 the gateway would refuse the request (404,
405, 413 ...), 2 invalid configuration, 3 it needs parts this build has not,
1 usage.";

/// How an explanation ends, as the exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Routed or answered.
    Served,
    /// The gateway would refuse a request.
    Refused,
    /// The configuration is invalid.
    Invalid,
    /// The configuration needs what this build has not.
    Unsupported,
    /// The command line or the sequence file is at fault.
    Usage,
}

impl Ending {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Ending::Served => 0,
            Ending::Usage => 1,
            Ending::Invalid => 2,
            Ending::Unsupported => 3,
            Ending::Refused => 4,
        }
    }
}

/// What is printed, and where.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    ending: Ending,
}

impl Said {
    fn err(ending: Ending, err: impl Into<String>) -> Said {
        Said {
            out: String::new(),
            err: err.into(),
            ending,
        }
    }
}

impl Explain {
    /// Explains, prints, and tells the exit code.
    pub fn run(&self) -> ExitCode {
        let said = self.say(style_of(&std::io::stdout()), style_of(&std::io::stderr()));
        // A reader that went away (`| head`) needs no error.
        let _ = std::io::stdout().write_all(said.out.as_bytes());
        let _ = std::io::stderr().write_all(said.err.as_bytes());
        ExitCode::from(said.ending.code())
    }

    fn say(&self, style: Style, err_style: Style) -> Said {
        let dry = match checked::check(&self.file) {
            Ok(checked) => Dry::new(checked),
            Err(refused) => {
                let ending = match refused.verdict {
                    Verdict::Unsupported => Ending::Unsupported,
                    _ => Ending::Invalid,
                };
                return Said::err(ending, refused.findings.render(err_style));
            }
        };
        let listener = match dry.listener(self.listener.as_deref()) {
            Ok(listener) => listener,
            Err(problem) => return Said::err(Ending::Usage, format!("error: {problem}\n")),
        };
        if let Some(file) = &self.requests {
            return self.say_sequence(file, &dry, listener, style);
        }
        let asked = Asked::new(&Parts {
            method: self.method.as_deref().unwrap_or("GET"),
            url: self.url.as_deref().unwrap_or("/"),
            headers: &self.headers,
            body_length: self.body_length,
            peer: self.peer,
            fallback_host: &dry.address_of(listener),
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(problem) => return Said::err(Ending::Usage, format!("error: {problem}\n")),
        };
        let report = dry.explain(&asked, listener, unix_ms());
        let out = match self.json {
            true => json(&report),
            false => text::render(&report, style, self.detail()),
        };
        Said {
            out,
            err: String::new(),
            ending: report.ending(),
        }
    }

    fn say_sequence(&self, file: &Path, dry: &Dry, listener: usize, style: Style) -> Said {
        let defaults = sequence::Defaults {
            peer: self.peer,
            listener,
            start_ms: unix_ms(),
        };
        let rows = match sequence::read(file).and_then(|list| list.explain(dry, &defaults)) {
            Ok(rows) => rows,
            Err(problem) => {
                let place = file.display();
                return Said::err(Ending::Usage, format!("error: {place}: {problem}\n"));
            }
        };
        let refused = rows
            .iter()
            .any(|row| row.report.ending() == Ending::Refused);
        let out = match self.json {
            true => json(&rows),
            false => text::render_rows(&rows, style, self.detail()),
        };
        Said {
            out,
            err: String::new(),
            ending: match refused {
                true => Ending::Refused,
                false => Ending::Served,
            },
        }
    }

    fn detail(&self) -> text::Detail {
        match self.verbose {
            true => text::Detail::Quoted,
            false => text::Detail::Brief,
        }
    }
}

fn json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")) + "\n"
}

/// Colours on a terminal, unless `NO_COLOR` says otherwise (no-color.org).
fn style_of(stream: &impl std::io::IsTerminal) -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match stream.is_terminal() && !unwanted {
        true => Style::Colour,
        false => Style::Plain,
    }
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}
