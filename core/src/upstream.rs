//! One core's share of an upstream: its endpoints, the turn of the balancer, the pool of idle
//! connections, and the connections that many requests share.
//!
//! An idle connection has its next receive under way already: one that the origin closed, or
//! sends on unasked, is found before a request is lost on it. The last one put back is the
//! first one taken.

mod asked;
mod connect;
mod placed;
mod shared;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::balance::sticky::Signer;
use crate::balance::{Ask, Place, Roster};
use crate::block::BlockClass;
use crate::error::Fault;
use crate::link::Link;
use crate::policy::{self, BreakerScope};
use crate::rt::Liveness;
use crate::rt::clock::Moment;
use crate::rt::wheel::{self, Ticks};
use crate::snapshot::{Endpoint, Upstream};
use crate::stats::{CoreIndex, UpstreamStats};
use crate::wire::Wire;

use shared::Shared;

pub(crate) use asked::{Asked, Tried, balance_hash};
pub use placed::Placed;

/// One core's endpoints and pool of one upstream; lives across reloads.
pub struct Pool {
    core: CoreIndex,
    keeping: Cell<Keeping>,
    state: RefCell<State>,
}

/// Whether a pool keeps connections that are put back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Yes,
    /// No snapshot names it any more, or the worker drains.
    No,
}

/// An endpoint that was chosen for a request.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The endpoint.
    pub endpoint: Rc<Placed>,
    core: CoreIndex,
    index: usize,
    epoch: u64,
}

/// How closely an idle connection is looked at before it is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What its early receive has come to, as of this core's last wait for the kernel.
    Usual,
    /// The kernel is asked as well: for a request that cannot be sent twice.
    Close,
}

/// A link to an endpoint, with where it came from.
pub(crate) struct Lease {
    /// A connection, or a stream of one.
    pub(crate) link: Link,
    /// Whether the connection has carried a request before.
    pub(crate) use_count: Use,
}

/// Whether a connection has carried requests before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Just opened.
    Fresh,
    /// From the pool.
    Reused,
}

struct State {
    slots: Vec<Slot>,
    /// Changes with the endpoints, so that an old choice is not taken for a new index.
    epoch: u64,
    /// The endpoints, sorted for picking.
    roster: Roster,
    endpoints: Arc<[Endpoint]>,
    signer: Option<(Arc<[u8]>, Rc<Signer>)>,
}

struct Slot {
    endpoint: Rc<Placed>,
    idle: Vec<Idle>,
    shared: Shared,
}

struct Idle {
    wire: Rc<Wire>,
    since: u32,
}

impl Pool {
    /// A pool over the endpoints.
    pub fn new(core: CoreIndex, endpoints: &Arc<[Endpoint]>) -> Pool {
        let pool = Pool {
            core,
            keeping: Cell::new(Keeping::Yes),
            state: RefCell::new(State {
                slots: Vec::new(),
                epoch: 0,
                roster: Roster::new(core),
                endpoints: [].into(),
                signer: None,
            }),
        };
        pool.replace_endpoints(endpoints, &UpstreamStats::default());
        pool
    }

    /// Takes over a new set of endpoints; connections to those that stay are kept.
    pub fn replace_endpoints(&self, endpoints: &Arc<[Endpoint]>, stats: &UpstreamStats) {
        let mut state = self.state.borrow_mut();
        // What the roster was sorted by may have changed, even if the endpoints have not.
        state.roster.expire();
        if state.endpoints == *endpoints {
            return;
        }
        let mut former = std::mem::take(&mut state.slots);
        state.slots = endpoints
            .iter()
            .map(|endpoint| {
                let same = former
                    .iter_mut()
                    .find(|slot| slot.endpoint.is_same_place(endpoint));
                let (idle, shared) = same
                    .map(|slot| {
                        let shared = std::mem::take(&mut slot.shared);
                        (std::mem::take(&mut slot.idle), shared)
                    })
                    .unwrap_or_default();
                Slot {
                    endpoint: Rc::new(Placed::new(endpoint, endpoints)),
                    idle,
                    shared,
                }
            })
            .collect();
        state.epoch += 1;
        state.endpoints = Arc::clone(endpoints);
        let dropped: usize = former.iter().map(|slot| slot.idle.len()).sum();
        drop(state);
        stats.idle.sub(dropped as u64);
    }

    /// Picks an endpoint.
    ///
    /// # Errors
    /// Why there is none: [`Fault::NoEndpoint`], [`Fault::CircuitOpen`] when breakers keep all
    /// of them out, [`Fault::ConcurrencyLimit`] when all have as many requests as they may.
    pub(crate) fn choose(&self, asked: &Asked<'_>) -> Result<Choice, Fault> {
        let state = &mut *self.state.borrow_mut();
        state.sort(asked.spec, asked.now);
        let mut tried = [0; asked::TRIED_MAX];
        let mut count = 0;
        for id in asked.tried.ids() {
            if let Some(index) = state.roster.index_of(*id) {
                tried[count] = index;
                count += 1;
            }
        }
        let policy = &asked.spec.policy;
        let index = state.roster.pick(&Ask {
            choice: asked.choice,
            state: &asked.spec.state,
            hash: asked.hash,
            random: asked.random,
            now: asked.now,
            tried: &tried[..count],
            requests_max: policy.endpoint_requests_max,
            pinned: asked.pinned.and_then(|id| state.roster.index_of(id)),
        });
        let Some(slot) = index.and_then(|index| state.slots.get(index)) else {
            return Err(state.why_none());
        };
        Ok(Choice {
            endpoint: Rc::clone(&slot.endpoint),
            core: self.core,
            index: index.unwrap_or_default(),
            epoch: state.epoch,
        })
    }

    /// How the endpoints stand, for those who look.
    pub(crate) fn look<R>(
        &self,
        spec: &Upstream,
        now: Moment,
        look: impl FnOnce(&Roster, &[Endpoint]) -> R,
    ) -> R {
        let state = &mut *self.state.borrow_mut();
        state.sort(spec, now);
        look(&state.roster, &state.endpoints)
    }

    /// Who signs and reads the upstream's sticky cookies on this core.
    pub(crate) fn signer(&self, sticky: &policy::Sticky) -> Rc<Signer> {
        let mut state = self.state.borrow_mut();
        match &state.signer {
            Some((secret, signer)) if Arc::ptr_eq(secret, &sticky.secret) => Rc::clone(signer),
            _ => {
                let signer = Rc::new(Signer::new(sticky));
                state.signer = Some((Arc::clone(&sticky.secret), Rc::clone(&signer)));
                signer
            }
        }
    }

    /// A link to the chosen endpoint over what there is: a stream of a shared connection, or a
    /// live idle one.
    pub(crate) fn take(&self, choice: &Choice, spec: &Upstream, look: Look) -> Option<Lease> {
        let stats = spec.stats.of(self.core);
        let mut state = self.state.borrow_mut();
        let slot = state.slot_of(choice)?;
        if let Some(shared) = slot.shared.with_room(&spec.http2) {
            stats.reused.add(1);
            return Some(Lease {
                link: Link::Http2(Box::new(shared.stream())),
                use_count: Use::Reused,
            });
        }
        while let Some(idle) = slot.idle.pop() {
            stats.idle.sub(1);
            // Bytes that nobody asked for poison a connection as much as its end does.
            let quiet = idle.wire.is_quiet()
                && (look == Look::Usual || idle.wire.liveness() == Liveness::Quiet);
            if quiet {
                stats.reused.add(1);
                return Some(Lease {
                    link: Link::Http1(idle.wire),
                    use_count: Use::Reused,
                });
            }
            stats.stale.add(1);
        }
        None
    }

    /// Puts a connection back whose exchange ended cleanly. A stream's stays where it is.
    pub(crate) fn put_back(&self, choice: &Choice, link: Link, spec: &Upstream) {
        link.disarm();
        let Link::Http1(wire) = link else {
            return;
        };
        if wire.is_cut() || !wire.is_settled() || spec.proxy.is_some() {
            return;
        }
        let stats = spec.stats.of(self.core);
        let mut state = self.state.borrow_mut();
        let Some(slot) = state.slot_of(choice) else {
            return;
        };
        if self.keeping.get() == Keeping::Yes && slot.idle.len() < spec.idle_max {
            wire.recv_early(BlockClass::Small);
            slot.idle.push(Idle {
                wire,
                since: wheel::now(),
            });
            stats.idle.add(1);
        }
    }

    /// Drops connections that idled too long or that the origin closed.
    pub fn sweep(&self, spec: &Upstream) {
        let now = wheel::now();
        let mut state = self.state.borrow_mut();
        let mut dropped = 0;
        for slot in &mut state.slots {
            let before = slot.idle.len();
            slot.idle.retain(|idle| {
                let expired = spec.idle_timeout != Ticks::NEVER
                    && now.wrapping_sub(idle.since) > spec.idle_timeout.0;
                !expired && idle.wire.is_quiet()
            });
            dropped += before - slot.idle.len();
            slot.shared.sweep(spec.idle_timeout);
        }
        spec.stats.of(self.core).idle.sub(dropped as u64);
    }

    /// Drops every idle connection and keeps none from now on.
    pub fn retire(&self, stats: &UpstreamStats) {
        self.keeping.set(Keeping::No);
        let mut state = self.state.borrow_mut();
        let idle = state.slots.iter_mut().map(|slot| {
            // Streams that are open go on; the connection ends behind the last one.
            slot.shared.clear();
            std::mem::take(&mut slot.idle)
        });
        let dropped: usize = idle.map(|idle| idle.len()).sum();
        stats.idle.sub(dropped as u64);
    }
}

impl State {
    /// Sorts the endpoints anew where something has changed about them.
    #[inline]
    fn sort(&mut self, spec: &Upstream, now: Moment) {
        if self.roster.is_stale(&spec.state, now) {
            let endpoints = &self.endpoints;
            let blocked = |index: usize| {
                let breaks = spec.policy.breaker.as_ref();
                breaks.filter(|spec| spec.scope != BreakerScope::Upstream)?;
                endpoints[index].state.breaker.blocked_until(now)
            };
            let policy = &spec.policy.balance;
            self.roster
                .sort(policy, endpoints, &spec.state, now, blocked);
        }
    }

    /// Why no endpoint could be picked.
    fn why_none(&self) -> Fault {
        let indexes = || 0..self.endpoints.len();
        let places = || indexes().filter_map(|index| self.roster.place(index));
        if places().any(|place| matches!(place, Place::Used { .. })) {
            Fault::ConcurrencyLimit
        } else if places().any(|place| matches!(place, Place::Broken { .. })) {
            Fault::CircuitOpen
        } else {
            Fault::NoEndpoint
        }
    }

    fn slot_of(&mut self, choice: &Choice) -> Option<&mut Slot> {
        if choice.epoch == self.epoch {
            return self.slots.get_mut(choice.index);
        }
        let slots = self.slots.iter_mut();
        let mut same = slots.filter(|slot| slot.endpoint.is_same_place(&choice.endpoint));
        same.next()
    }
}

/// The pools of a snapshot's upstreams on one core: those that `former` knows are kept.
pub fn pools_for(
    core: CoreIndex,
    upstreams: &[Upstream],
    former: impl Fn(&Upstream) -> Option<Rc<Pool>>,
) -> Vec<Rc<Pool>> {
    let pool_of = |upstream: &Upstream| match former(upstream) {
        Some(pool) => {
            pool.replace_endpoints(&upstream.endpoints, upstream.stats.of(core));
            pool
        }
        None => Rc::new(Pool::new(core, &upstream.endpoints)),
    };
    upstreams.iter().map(pool_of).collect()
}

/// A set of endpoints that took the place of an upstream's former one.
#[derive(Clone, Debug)]
pub struct EndpointUpdate {
    /// The upstream's name.
    pub upstream: Box<str>,
    /// Its endpoints from now on.
    pub endpoints: Arc<[Endpoint]>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::{EndpointState, UpstreamState};
    use crate::policy::UpstreamPolicy;
    use crate::rt::Addr;
    use crate::snapshot::{UpstreamHttp2, UpstreamProtocol};
    use crate::stats::PerCore;

    fn endpoint(port: u16, weight: u32) -> Endpoint {
        Endpoint {
            addr: Addr::Tcp(([127, 0, 0, 1], port).into()),
            weight,
            priority: 0,
            zone: None,
            state: Arc::new(EndpointState::new(1)),
            authority: "origin".into(),
        }
    }

    fn upstream(endpoints: &Arc<[Endpoint]>) -> Upstream {
        Upstream {
            name: "origin".into(),
            endpoints: Arc::clone(endpoints),
            connect_timeout: Ticks(20),
            response_timeout: Ticks(50),
            read_timeout: Ticks(50),
            idle_timeout: Ticks(600),
            idle_max: 64,
            protocol: UpstreamProtocol::Http1,
            tls: None,
            http2: UpstreamHttp2::default(),
            proxy: None,
            stats: Arc::new(PerCore::new(1)),
            policy: UpstreamPolicy::default(),
            state: Arc::new(UpstreamState::new(1)),
        }
    }

    fn endpoints(ports: &[u16]) -> Arc<[Endpoint]> {
        ports.iter().map(|port| endpoint(*port, 1)).collect()
    }

    #[test]
    fn what_was_tried_is_left_for_the_last() {
        let all = endpoints(&[1, 2, 3]);
        let (pool, spec) = (Pool::new(CoreIndex(0), &all), upstream(&all));
        let mut tried = Tried::default();
        for _ in 0..3 {
            let choice = pool.choose(&Asked {
                tried,
                ..Asked::of(&spec, 7)
            });
            let choice = choice.unwrap();
            assert!(!tried.has(&choice));
            tried = tried.with(&choice);
        }
        let again = pool.choose(&Asked {
            tried,
            ..Asked::of(&spec, 7)
        });
        assert!(tried.has(&again.unwrap()));
    }

    #[test]
    fn no_endpoint_is_a_fault() {
        let none = endpoints(&[]);
        let pool = Pool::new(CoreIndex(0), &none);
        let choice = pool.choose(&Asked::of(&upstream(&none), 0));
        assert_eq!(choice.unwrap_err(), Fault::NoEndpoint);
    }

    #[test]
    fn a_choice_survives_new_endpoints_by_its_address() {
        let all = endpoints(&[1, 2]);
        let (pool, spec) = (Pool::new(CoreIndex(0), &all), upstream(&all));
        let choice = loop {
            let choice = pool.choose(&Asked::of(&spec, 0)).unwrap();
            if choice.index == 1 {
                break choice;
            }
        };
        let stats = UpstreamStats::default();
        let moved: Arc<[Endpoint]> = [endpoint(3, 1), all[1].clone()].into();
        pool.replace_endpoints(&moved, &stats);
        assert!(pool.state.borrow_mut().slot_of(&choice).is_some());
        pool.replace_endpoints(&endpoints(&[3]), &stats);
        assert!(pool.state.borrow_mut().slot_of(&choice).is_none());
    }
}
