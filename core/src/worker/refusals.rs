//! Connections that are closed unseen because there are too many of their kind: all are counted,
//! and the log shows some of them, so that a flood of connections is none of lines.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use super::Worker;
use crate::arrivals::Excess;
use crate::block::Block;
use crate::chain::{Attributes, Filter, PeerAddr};
use crate::client::Loan;
use crate::error::Fault;
use crate::rt::clock::Stamp;
use crate::rt::wheel;

/// How many refusals this core has logged of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The second that is counted, in ticks of the wheel.
    second: Cell<u32>,
    logged: Cell<u32>,
}

/// Lines of refused connections that one core writes in a second.
const LINES_MAX: u32 = 10;
/// Ticks of a second.
const SECOND: u32 = 10;

impl Refusals {
    /// Whether one more line may be written at this tick.
    fn may_log(&self, tick: u32) -> bool {
        let second = tick / SECOND;
        if self.second.replace(second) != second {
            self.logged.set(0);
        }
        let logged = self.logged.get();
        self.logged.set(logged.saturating_add(1));
        logged < LINES_MAX
    }
}

impl<F: Filter> Worker<F> {
    /// Books a connection that is refused.
    pub(crate) fn refuse(self: &Rc<Self>, listener: usize, peer: Option<IpAddr>, excess: Excess) {
        let stats = self.stats();
        match excess {
            Excess::Rate => stats.rate_refused.add(1),
            Excess::PerAddress | Excess::RatePerAddress => stats.address_refused.add(1),
        }
        if !self.refusals.may_log(wheel::now()) {
            stats.unrouted[0].add(1);
            return stats.faults.fault(Fault::AddressCap);
        }
        let installed = self.installed();
        let mut exchange = Loan::new(self);
        let now = Stamp::now();
        (exchange.account.began, exchange.account.head_at) = (now, now);
        let unspecified = Attributes::default();
        let peer = peer.map_or(unspecified.peer, PeerAddr::new);
        exchange.attributes = Attributes {
            peer,
            client: peer,
            listener,
            ..unspecified
        };
        if installed.snapshot.forwarding.request_id.is_some() {
            let id = self.ids.borrow_mut().next(self.wall().unix_ms(now));
            exchange.attributes.request_id.set(&id);
        }
        // The bound stands where a request does.
        let bound = Block::from_slice(excess.name().as_bytes());
        exchange.request.fields.put_text(bound);
        exchange.note(Fault::AddressCap);
        exchange.settle(self, &installed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_some_lines_each_second() {
        let refusals = Refusals::default();
        let logged = |tick| (0..1_000).filter(|_| refusals.may_log(tick)).count();
        assert_eq!([logged(0), logged(9), logged(10)], [10, 0, 10]);
    }
}
