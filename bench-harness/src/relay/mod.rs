//! `ringgate-bench relay`: passes bytes on and nothing else. It does what no proxy on this
//! runtime can leave out, so its cost is the floor under theirs.

use std::io;
use std::net::{Shutdown, SocketAddr};

use clap::Args;
use ringgate_core::block::BlockClass;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{self, Addr, CHUNK_TAILROOM, Likely, Socket};

use crate::Ended;
use crate::cores::Cores;
use crate::fault::Result;
use crate::wire::serve::{self, DriverChoice};

/// Options of `relay`.
#[derive(Debug, Args)]
pub struct Command {
    /// Where it accepts; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where it connects to, once for each connection that it accepts.
    #[arg(long, value_name = "ADDRESS")]
    to: SocketAddr,
    /// The core to run on; without it the kernel chooses.
    #[arg(long, value_name = "LIST")]
    cores: Option<Cores>,
    /// How it waits for the kernel.
    #[arg(long, value_enum, default_value_t)]
    driver: DriverChoice,
}

impl Command {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// When it cannot listen, or its thread cannot be set up.
    pub fn run(&self) -> Result<Ended> {
        // Two descriptors a connection; what the limit is shows when it is hit.
        let _ = rt::raise_descriptor_limit();
        let (address, listeners) = serve::listen(self.listen, 1)?;
        let core = serve::core_of(self.cores.as_ref(), 0);
        let driver = self.driver.driver()?;
        let to = Addr::Tcp(self.to);
        for listener in listeners {
            let to = to.clone();
            serve::start("relay", core, driver, move || {
                serve::accept_all(listener, move |client| {
                    rt::spawn(connect_and_pass(client, to.clone()));
                })
            })?;
        }
        serve::until_stopped(address)
    }
}

async fn connect_and_pass(client: Socket, to: Addr) {
    // Dropping the client tells it that there is nobody.
    if let Ok(origin) = Socket::connect(&to, CONNECT_TIMEOUT).await {
        pass(&client, &origin).await;
    }
}

/// Passes bytes both ways until both sides have ended.
async fn pass(client: &Socket, origin: &Socket) {
    rt::join(direction(client, origin), direction(origin, client)).await;
}

async fn direction(from: &Socket, to: &Socket) {
    if copy(from, to).await.is_ok() {
        to.shutdown(Shutdown::Write);
    } else {
        // A broken side is broken for the other one, too.
        from.shutdown(Shutdown::Both);
        to.shutdown(Shutdown::Both);
    }
}

async fn copy(from: &Socket, to: &Socket) -> io::Result<()> {
    let mut class = BlockClass::Small;
    let mut likely = Likely::Later;
    loop {
        let (received, block) = from.recv_block(class, likely).await;
        if received? == 0 {
            return Ok(());
        }
        likely = Likely::Later;
        if block.tailroom() <= CHUNK_TAILROOM {
            class = class.larger();
            likely = Likely::Now;
        }
        to.send(block, || Ticks::NEVER).await.0?;
    }
}

const CONNECT_TIMEOUT: Ticks = Ticks(50);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
