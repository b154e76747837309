//! Tunnels: bytes both ways behind a 101, until both sides have ended or nobody speaks.

use std::cell::Cell;
use std::io;
use std::net::Shutdown;

use crate::block::{Block, BlockClass};
use crate::error::Fault;
use crate::halves::{CLIENT, ORIGIN, PeerFaults};
use crate::rt::wheel::{Due, Ticks};
use crate::rt::{Likely, Socket, join};

/// What passed through a tunnel, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) from_client: u64,
    pub(crate) from_origin: u64,
}

/// Relays bytes between a client and an origin. Each side may end its direction while the
/// other one goes on.
pub(crate) async fn relay(
    client: &Socket,
    origin: &Socket,
    ahead: (Option<Block>, Option<Block>),
    idle: Ticks,
    send: Ticks,
) -> (Passed, Option<Fault>) {
    let (from_client, from_origin) = (Cell::new(0), Cell::new(0));
    let pair = Pair {
        idle,
        send,
        sending: Cell::new(0),
    };
    let (up, down) = join(
        pair.direction(client, origin, ahead.0, &from_client, (&CLIENT, &ORIGIN)),
        pair.direction(origin, client, ahead.1, &from_origin, (&ORIGIN, &CLIENT)),
    )
    .await;
    let passed = Passed {
        from_client: from_client.get(),
        from_origin: from_origin.get(),
    };
    (passed, up.err().or(down.err()))
}

struct Pair {
    idle: Ticks,
    send: Ticks,
    /// Directions that wait for their peer to take something.
    sending: Cell<u8>,
}

impl Pair {
    async fn direction(
        &self,
        from: &Socket,
        to: &Socket,
        ahead: Option<Block>,
        passed: &Cell<u64>,
        (from_faults, to_faults): (&PeerFaults, &PeerFaults),
    ) -> Result<(), Fault> {
        let mut class = BlockClass::Head;
        let mut next = ahead;
        loop {
            let block = match next.take() {
                Some(block) => block,
                None => match self.receive(from, to, class, from_faults).await? {
                    Some(block) => block,
                    None => {
                        // The other direction lives on until its own end.
                        to.shutdown(Shutdown::Write);
                        return Ok(());
                    }
                },
            };
            class = match block.tailroom() <= crate::rt::CHUNK_TAILROOM {
                true => class.larger(),
                false => class,
            };
            passed.set(passed.get() + block.len() as u64);
            let sent = self.send(block, from, to).await;
            if let Err(error) = sent {
                from.shutdown(Shutdown::Both);
                return Err(match error.kind() {
                    io::ErrorKind::TimedOut => to_faults.stuck,
                    _ => to_faults.closed,
                });
            }
        }
    }

    /// A slow reader is the send's concern: no direction counts as idle meanwhile. A byte in
    /// either direction keeps both alive.
    async fn send(&self, block: Block, from: &Socket, to: &Socket) -> io::Result<()> {
        self.sending.set(self.sending.get() + 1);
        from.recv_timer().disarm();
        to.recv_timer().disarm();
        let (sent, _) = to.send(block, || self.send).await;
        self.sending.set(self.sending.get() - 1);
        if self.sending.get() == 0 {
            from.recv_timer().arm(self.idle, Due::ShutBoth);
            to.recv_timer().arm(self.idle, Due::ShutBoth);
        }
        sent
    }

    async fn receive(
        &self,
        from: &Socket,
        to: &Socket,
        class: BlockClass,
        faults: &PeerFaults,
    ) -> Result<Option<Block>, Fault> {
        if self.sending.get() == 0 {
            from.recv_timer().arm(self.idle, Due::ShutBoth);
        }
        let (result, block) = from.recv_block(class, Likely::Later).await;
        if from.recv_timer().take_fired() {
            to.shutdown(Shutdown::Both);
            return Err(Fault::TunnelIdle);
        }
        match result {
            Ok(0) => {
                from.recv_timer().disarm();
                Ok(None)
            }
            Ok(_) => Ok(Some(block)),
            Err(_) => {
                to.shutdown(Shutdown::Both);
                Err(faults.closed)
            }
        }
    }
}
