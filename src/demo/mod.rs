//! `ringgate demo`: three services and the real gateway before them in one process, on a
//! configuration that is written out to be read and edited.

mod banner;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod tries;

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use ringgate_config::Style;

use crate::gateway;
use crate::log::OperationalLog;
use crate::checked;
use banner::Banner;
use settings::Settings;

/// Run a gateway before three small services, with commands to try
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The gateway's port; 0 lets the system choose, the admin API's too [default: 8080, or a
    /// free one when that is taken]
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Where the configuration is written
    #[arg(long, value_name = "FILE", default_value = "ringgate-demo.toml")]
    config_out: PathBuf,
    /// Data-plane threads
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Print what runs where and the commands as one line of JSON
    #[arg(long, hide = true)]
    list_json: bool,
}

const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

impl Demo {
    /// Runs until a signal ends it.
    pub fn run(&self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                let _ = writeln!(io::stderr(), "error: {problem}");
                ExitCode::from(1)
            }
        }
    }

    fn serve(&self) -> Result<(), String> {
        let mut moved = Vec::new();
        let (gateway, admin) = match self.port {
            Some(0) => (free_port()?, free_port()?),
            Some(port) => (taken_as_asked(port)?, wanted(ADMIN_PORT, &mut moved)?),
            None => (
                wanted(PORT, &mut moved)?,
                wanted(ADMIN_PORT, &mut moved)?,
            ),
        };
        let services =
            services::start().map_err(|error| format!("the services cannot start: {error}"))?;
        let settings = Settings {
            gateway,
            admin,
            workers: usize::from(self.workers),
            services,
            file: self.config_out.clone(),
        };
        let former = settings.write()?;
        let checked = checked::check(&settings.file)
            .map_err(|refused| refused.findings.render(Style::Plain))?;
        let log = OperationalLog::start(&checked.config.log);
        let running = gateway::start(settings.file.clone(), checked, log)
            .map_err(|error| error.to_string())?;
        let banner = Banner {
            settings: &settings,
            moved: &moved,
            former: &former,
            ringgate: &banner::ringgate(),
        };
        say(&match self.list_json {
            true => format!("{}\n", banner.json()),
            false => banner.text(style()),
        });
        running.wait();
        if !self.list_json {
            say(&format!(
                "\nThe demo has ended. Its configuration is still in {}, its access log in {}.\n",
                settings.file.display(),
                settings.access_log().display()
            ));
        }
        Ok(())
    }
}

/// Somebody who stopped reading does not stop the demo.
fn say(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn style() -> Style {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match io::stdout().is_terminal() && !unwanted {
        true => Style::Colour,
        false => Style::Plain,
    }
}

/// The port if it can be had, else a free one and a line that says so.
fn wanted(port: u16, moved: &mut Vec<String>) -> Result<SocketAddr, String> {
    if let Ok(address) = try_port(port) {
        return Ok(address);
    }
    let address = free_port()?;
    moved.push(format!(
        "port {port} is taken: {} is used instead",
        address.port()
    ));
    Ok(address)
}

fn taken_as_asked(port: u16) -> Result<SocketAddr, String> {
    try_port(port).map_err(|error| {
        format!("cannot listen on port {port}: {error}; name another port, or 0 for any")
    })
}

fn free_port() -> Result<SocketAddr, String> {
    try_port(0).map_err(|error| format!("no port can be had: {error}"))
}

/// Binds the port and lets it go again: the gateway opens it for itself, from the configuration.
fn try_port(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", port))?.local_addr()
}
