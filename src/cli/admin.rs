//! Where commands find the admin API of a running gateway.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ringgate_config::Verdict;
use ringgate_config::model::ListenAddr;
use ringgate_control::AdminClient;

use super::Exit;
use super::print::complain;
use crate::checked;
use crate::references::Commands;

#[derive(Debug, Args)]
pub struct Admin {
    /// The running gateway's configuration: the address of its admin API is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// The address of the admin API; `localhost:PORT` is its loopback.
    #[arg(
        long,
        value_name = "IP:PORT",
        env = "RINGGATE_ADMIN",
        default_value = "127.0.0.1:9901",
        value_parser = admin_address
    )]
    admin: SocketAddr,
}

impl Admin {
    /// A client that waits `timeout` for each answer. What keeps it from one is said.
    pub fn client(&self, timeout: Duration) -> Result<AdminClient, Exit> {
        let address = match &self.config {
            None => Ok(self.admin),
            Some(file) => admin_of(file),
        };
        match address {
            Ok(address) => Ok(AdminClient::new(address, timeout)),
            Err(why) => {
                complain(&format!("ringgate: {why}"));
                Err(Exit::Failed)
            }
        }
    }
}

fn admin_address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "expected an IP address and a port, such as 127.0.0.1:9901".to_owned();
    match text.split_once(':') {
        // Both families' loopback may be meant; the first that listens is taken.
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
            let port = port.parse().map_err(|_| wrong())?;
            let both = [
                SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
                SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
            ];
            let listens = |address: &&SocketAddr| TcpStream::connect(*address).is_ok();
            Ok(*both.iter().find(listens).unwrap_or(&both[0]))
        }
        _ => text.parse().map_err(|_| wrong()),
    }
}

fn admin_of(file: &Path) -> Result<SocketAddr, String> {
    let shown = file.display();
    // A file with errors may be the very one that is to be refused: only the address matters.
    let read = checked::read(file, Commands::Run).map_err(|refused| {
        let what = match refused.verdict {
            Verdict::Unsupported => "uses what this build does not do yet",
            Verdict::Invalid | Verdict::Runnable => "has errors",
        };
        format!(
            "{shown} {what}, so its [admin] listen address is not known; correct it (`ringgate check {shown}`) or name the address with --admin"
        )
    })?;
    match read.config.admin.as_ref().map(|admin| &admin.listen.value) {
        Some(ListenAddr::Tcp(address)) if address.port() != 0 => Ok(*address),
        Some(ListenAddr::Tcp(_)) => Err(format!(
            "{shown} lets the system choose the admin port; name the address with --admin"
        )),
        // A Unix socket here would have been unsupported.
        Some(ListenAddr::Unix(_)) | None => Err(format!(
            "{shown} has no [admin] listen address; send SIGHUP to the process instead"
        )),
    }
}
