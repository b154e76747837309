//! One core's share of an upstream: its endpoints, the turn of the balancer, the pool of idle
//! connections, and the connections that many requests share.
//!
//! An idle connection has its next receive under way already: one that the origin closed, or
//! sends on unasked, is found before a request is lost on it. The last one put back is the
//! first one taken.

mod connect;
mod shared;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::block::BlockClass;
use crate::error::Fault;
use crate::http::authority::Authority;
use crate::link::Link;
use crate::rt::Liveness;
use crate::rt::wheel::{self, Ticks};
use crate::snapshot::{Endpoint, Upstream};
use crate::stats::{CoreIndex, UpstreamStats};
use crate::wire::Wire;

use shared::Shared;

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

/// An endpoint in a pool, with the text that logs name it by.
#[derive(Debug)]
pub struct Placed {
    endpoint: Endpoint,
    /// The address as text.
    pub label: Box<str>,
    /// The name that its certificate has to prove, where the upstream names none.
    server_name: Option<ServerName<'static>>,
}

impl Placed {
    fn new(endpoint: &Endpoint) -> Placed {
        let host = Authority::parse(endpoint.authority.as_bytes());
        let host = host.and_then(|parts| endpoint.authority.get(..parts.host_len));
        let name = host.and_then(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(bare.to_owned()).ok()
        });
        Placed {
            label: endpoint.addr.to_string().into(),
            endpoint: endpoint.clone(),
            server_name: name,
        }
    }
}

impl Placed {
    /// Whether connections to one are connections to the other: the name is what a certificate
    /// has proved.
    fn is_same_place(&self, other: &Endpoint) -> bool {
        self.endpoint.addr == other.addr && self.endpoint.authority == other.authority
    }
}

impl Deref for Placed {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

struct State {
    slots: Vec<Slot>,
    /// Changes with the endpoints, so that an old choice is not taken for a new index.
    epoch: u64,
    /// The slot where the search for the next turn starts.
    turn: usize,
    uniform: Uniform,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Uniform {
    Yes,
    No,
}

struct Slot {
    endpoint: Rc<Placed>,
    /// Smooth weighted round robin: credit gathered so far.
    credit: i64,
    idle: Vec<Idle>,
    shared: Shared,
}

struct Idle {
    wire: Rc<Wire>,
    since: u32,
}

impl Pool {
    /// A pool over the endpoints. Cores start at different endpoints, so that few requests
    /// per core still spread.
    pub fn new(core: CoreIndex, endpoints: &[Endpoint]) -> Pool {
        let pool = Pool {
            core,
            keeping: Cell::new(Keeping::Yes),
            state: RefCell::new(State {
                slots: Vec::new(),
                epoch: 0,
                turn: core.0 as usize,
                uniform: Uniform::Yes,
            }),
        };
        pool.replace_endpoints(endpoints, &UpstreamStats::default());
        pool
    }

    /// Takes over a new set of endpoints; connections to those that stay are kept.
    pub fn replace_endpoints(&self, endpoints: &[Endpoint], stats: &UpstreamStats) {
        let mut state = self.state.borrow_mut();
        if state.slots.len() == endpoints.len()
            && state
                .slots
                .iter()
                .map(|slot| &slot.endpoint.endpoint)
                .eq(endpoints)
        {
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
                    endpoint: Rc::new(Placed::new(endpoint)),
                    credit: 0,
                    idle,
                    shared,
                }
            })
            .collect();
        state.epoch += 1;
        let first = endpoints.first().map(|endpoint| endpoint.weight);
        state.uniform = match endpoints
            .iter()
            .all(|endpoint| Some(endpoint.weight) == first)
        {
            true => Uniform::Yes,
            false => Uniform::No,
        };
        let dropped: usize = former.iter().map(|slot| slot.idle.len()).sum();
        drop(state);
        stats.idle.sub(dropped as u64);
    }

    /// The endpoint whose turn it is.
    ///
    /// # Errors
    /// [`Fault::NoEndpoint`] when there is none.
    pub fn choose(&self) -> Result<Choice, Fault> {
        let mut state = self.state.borrow_mut();
        let count = state.slots.len();
        let index = match (count, state.uniform) {
            (0, _) => return Err(Fault::NoEndpoint),
            (1, _) => 0,
            (_, Uniform::Yes) => {
                state.turn = (state.turn + 1) % count;
                state.turn
            }
            (_, Uniform::No) => state.smooth_turn(),
        };
        Ok(Choice {
            endpoint: Rc::clone(&state.slots[index].endpoint),
            core: self.core,
            index,
            epoch: state.epoch,
        })
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
    /// Smooth weighted round robin: everyone gains its weight, the richest pays the sum.
    fn smooth_turn(&mut self) -> usize {
        let mut total = 0;
        let mut best = 0;
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.credit += i64::from(slot.endpoint.weight);
            total += i64::from(slot.endpoint.weight);
            if slot.credit > self.slots[best].credit {
                best = index;
            }
        }
        self.slots[best].credit -= total;
        best
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
    use crate::fleet::EndpointState;
    use crate::rt::Addr;

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

    fn turns(pool: &Pool, count: usize) -> Vec<usize> {
        (0..count).map(|_| pool.choose().unwrap().index).collect()
    }

    #[test]
    fn equal_weights_take_turns_from_each_cores_own_start() {
        let endpoints = [endpoint(1, 1), endpoint(2, 1), endpoint(3, 1)];
        let first = Pool::new(CoreIndex(0), &endpoints);
        let second = Pool::new(CoreIndex(1), &endpoints);
        assert_eq!(turns(&first, 4), [1, 2, 0, 1]);
        assert_eq!(turns(&second, 4), [2, 0, 1, 2]);
    }

    #[test]
    fn weights_are_met_exactly_and_smoothly() {
        let pool = Pool::new(
            CoreIndex(0),
            &[endpoint(1, 5), endpoint(2, 1), endpoint(3, 1)],
        );
        assert_eq!(turns(&pool, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn no_endpoint_is_a_fault() {
        let pool = Pool::new(CoreIndex(0), &[]);
        assert_eq!(pool.choose().unwrap_err(), Fault::NoEndpoint);
    }

    #[test]
    fn a_choice_survives_new_endpoints_by_its_address() {
        let pool = Pool::new(CoreIndex(0), &[endpoint(1, 1), endpoint(2, 1)]);
        let choice = pool.choose().unwrap();
        pool.replace_endpoints(&[endpoint(3, 1), endpoint(2, 1)], &UpstreamStats::default());
        let mut state = pool.state.borrow_mut();
        assert_eq!(choice.index, 1);
        assert!(state.slot_of(&choice).is_some());
        drop(state);
        pool.replace_endpoints(&[endpoint(3, 1)], &UpstreamStats::default());
        assert!(pool.state.borrow_mut().slot_of(&choice).is_none());
    }
}
