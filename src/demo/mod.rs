//! `ringgate demo`: three services and the real gateway before them in one process, on a
//! configuration that is written out to be read and edited.

mod banner;
mod services;
mod settings;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tries;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use ringgate_config::Style;

use crate::cli::Exit;
use crate::cli::print::{complain, say, style_of};
use crate::gateway::{self, NotStarted};
use banner::Banner;
use settings::Settings;

/// The arguments of `ringgate demo`.
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// The gateway's port; with 0 the system chooses all [default: 8080, or a free one].
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Where the configuration is written.
    #[arg(long, value_name = "FILE", default_value = "ringgate-demo.toml")]
    config_out: PathBuf,
    /// Data-plane threads.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    workers: u16,
    /// Prints what runs where and the commands as one line of JSON.
    #[arg(long, hide = true)]
    list_json: bool,
}

const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

impl Demo {
    /// Runs until a signal ends it.
    pub fn execute(self) -> Exit {
        match self.serve() {
            Ok(()) => Exit::Fine,
            Err(problem) => {
                complain(&format!("ringgate: {problem}"));
                Exit::Failed
            }
        }
    }

    fn serve(&self) -> Result<(), String> {
        let services =
            services::start().map_err(|error| format!("the services cannot start: {error}"))?;
        let mut moved = Vec::new();
        let (gateway, admin) = self.addresses(&mut moved)?;
        let settings = Settings {
            gateway,
            admin,
            workers: usize::from(self.workers),
            services,
            file: self.config_out.clone(),
        };
        let former = settings.write()?;
        let running = gateway::start(settings.file.clone()).map_err(|error| match error {
            NotStarted::Failed(error) => error.to_string(),
            NotStarted::Refused(refused) => refused.findings.render(Style::Plain),
        })?;
        let banner = Banner {
            settings: &settings,
            moved: &moved,
            former: &former,
            ringgate: &banner::ringgate(),
        };
        say(&match self.list_json {
            true => banner.json().to_string(),
            false => banner.text(style_of(&io::stdout())),
        });
        running.wait();
        if !self.list_json {
            let (file, log) = (settings.file.display(), settings.access_log());
            let log = log.display();
            say(&format!(
                "\nThe demo has ended. Its configuration is still in {file}, its access log in {log}."
            ));
        }
        Ok(())
    }

    /// The gateway's and the admin API's.
    fn addresses(&self, moved: &mut Vec<String>) -> Result<(SocketAddr, SocketAddr), String> {
        match self.port {
            Some(0) => two_free_ports().map_err(no_port),
            Some(port) => {
                let gateway = try_port(port).map_err(|error| {
                    format!("cannot listen on port {port}: {error}; name another, or 0 for any")
                })?;
                Ok((gateway, wanted(ADMIN_PORT, moved)?))
            }
            None => Ok((wanted(PORT, moved)?, wanted(ADMIN_PORT, moved)?)),
        }
    }
}

/// The port if it can be had, else a free one and a line that says so.
fn wanted(port: u16, moved: &mut Vec<String>) -> Result<SocketAddr, String> {
    if let Ok(address) = try_port(port) {
        return Ok(address);
    }
    let address = try_port(0).map_err(no_port)?;
    moved.push(format!(
        "port {port} is taken: {} is used instead",
        address.port()
    ));
    Ok(address)
}

fn no_port(error: io::Error) -> String {
    format!("no port can be had: {error}")
}

/// Both are held until both are known, so that they differ.
fn two_free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind(("127.0.0.1", 0));
    let (one, other) = (bind()?, bind()?);
    Ok((one.local_addr()?, other.local_addr()?))
}

/// Binds the port and lets it go again: the gateway opens it for itself, from the configuration.
fn try_port(port: u16) -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", port))?.local_addr()
}
