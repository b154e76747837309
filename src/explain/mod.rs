//! `ringgate explain`: what the gateway would do with a request, decided by the production code
//! on a snapshot compiled as `run` compiles it. Listens on nothing, sends nothing, resolves no
//! names.

mod dry;
mod losing;
mod policies;
mod report;
mod request;
mod sequence;
mod shown;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod text;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ringgate_config::Style;

use crate::checked;
use crate::cli::Exit;
use crate::cli::print::{exit_of, style_of};
use crate::references::Commands;
use dry::{Dry, Time};
use request::{Asked, Parts};

/// The arguments of `ringgate explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Explain {
    /// The configuration
    file: PathBuf,
    /// The request's method, such as GET.
    #[arg(required_unless_present = "requests")]
    method: Option<String>,
    /// Its URL, or only a path; taken as given, without normalising.
    #[arg(required_unless_present = "requests")]
    url: Option<String>,
    /// A header field of the request; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The address that the connection comes from.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    peer: IpAddr,
    /// The listener that the request comes to [default: the first that takes requests].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The length of the request's body in bytes.
    #[arg(long, value_name = "N")]
    body_length: Option<u64>,
    /// A file with a timed sequence of requests instead.
    #[arg(
        long,
        value_name = "SEQ.toml",
        conflicts_with_all = ["method", "url", "headers", "body_length"]
    )]
    requests: Option<PathBuf>,
    /// Runs the programs of `${command:...}` references, whose values are not known otherwise.
    #[arg(long)]
    run_commands: bool,
    /// Quotes the lines of the configuration that decided.
    #[arg(short, long)]
    verbose: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
Examples:
  ringgate explain gate.toml GET http://api.example.com/api/users/7 -H 'x-version: 2'
  ringgate explain gate.toml POST /upload --body-length 2000000 --verbose

A sequence is a TOML file of [[request]] tables with url and, where not the default,
method (\"GET\"), at (\"0s\"), repeat (1), headers ({ name = \"value\" }), peer (--peer)
and body_length (none).

Exit codes: 0 routed or answered, 1 wrong usage, 2 invalid configuration, 3 valid
configuration that uses what this build does not do yet, 4 the gateway would refuse
the request (404, 405, 413 ...).";

/// What is printed, and where.
#[derive(Debug)]
struct Said {
    out: String,
    err: String,
    exit: Exit,
}

impl Said {
    fn err(exit: Exit, err: String) -> Said {
        let out = String::new();
        Said { out, err, exit }
    }
}

impl Explain {
    /// Explains and prints.
    pub fn execute(self) -> Exit {
        let said = self.say(style_of(&std::io::stdout()), style_of(&std::io::stderr()));
        // A reader that went away (`| head`) needs no error.
        let _ = std::io::stdout().write_all(said.out.as_bytes());
        let _ = std::io::stderr().write_all(said.err.as_bytes());
        said.exit
    }

    fn say(&self, style: Style, err_style: Style) -> Said {
        let dry = match checked::check(&self.file, Commands::asked(self.run_commands)) {
            Ok(checked) => Dry::new(checked),
            Err(refused) => {
                let text = refused.findings.render(err_style);
                return Said::err(exit_of(refused.verdict), text);
            }
        };
        let listener = match dry.listener(self.listener.as_deref()) {
            Ok(listener) => listener,
            Err(problem) => return Said::err(Exit::Failed, format!("ringgate: {problem}\n")),
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
            fallback_host: &dry.host_of(listener),
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(problem) => return Said::err(Exit::Failed, format!("ringgate: {problem}\n")),
        };
        let report = dry.explain(&asked, listener, Time::now());
        let out = match self.json {
            true => json(&report),
            false => text::render(&report, style, self.detail()),
        };
        Said {
            out,
            err: String::new(),
            exit: report.exit(),
        }
    }

    fn say_sequence(&self, file: &Path, dry: &Dry, listener: usize, style: Style) -> Said {
        let defaults = sequence::Defaults {
            peer: self.peer,
            listener,
            start: Time::now(),
        };
        let rows = match sequence::read(file).and_then(|list| list.explain(dry, &defaults)) {
            Ok(rows) => rows,
            Err(problem) => {
                let place = file.display();
                return Said::err(Exit::Failed, format!("ringgate: {place}: {problem}\n"));
            }
        };
        let refused = rows.iter().any(|row| row.report.exit() == Exit::Refused);
        let out = match self.json {
            true => json(&rows),
            false => text::render_rows(&rows, style, self.detail()),
        };
        Said {
            out,
            err: String::new(),
            exit: match refused {
                true => Exit::Refused,
                false => Exit::Fine,
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
