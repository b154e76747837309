//! Accepting connections: one loop per listener and core.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use super::{Activity, ConnectionId, Worker};
use crate::arrivals::{AddressPlace, Arrivals, Caps, Excess};
use crate::block::{Block, BlockClass};
use crate::chain::Filter;
use crate::connection::{self, Arrived, Begins};
use crate::error::Fault;
use crate::http::h1::{self, SimpleResponse};
use crate::rt::clock::Moment;
use crate::rt::wheel::{Due, Ticks, TimerId};
use crate::rt::{self, Accepted, Addr, Listener, Socket};
use crate::snapshot::{self, Snapshot};
use crate::stats::CoreIndex;
use crate::wire::Wire;

/// A listening socket on its way to a worker.
#[derive(Debug)]
pub struct OpenListener {
    /// The address as the snapshot's listener names it.
    pub addr: Addr,
    /// The socket, listening.
    pub fd: OwnedFd,
}

/// A connection on its way to another worker than the one that accepted it.
#[derive(Debug)]
pub struct Handed {
    /// The address of the listener that accepted it.
    addr: Addr,
    accepted: Accepted,
}

/// A listener on this core, as its connections know it: they may outlive its socket.
pub(crate) struct Acceptor {
    addr: Addr,
    /// The socket; none once it is closed.
    listener: RefCell<Option<Rc<Listener>>>,
    /// The index in the snapshot in force; none once the listener is closed.
    index: Cell<Option<usize>>,
    /// Refused clients that are being answered.
    shedding: Cell<u32>,
}

impl Acceptor {
    /// The listener's index in the snapshot in force; none when a reload closed it.
    pub(crate) fn index(&self) -> Option<usize> {
        self.index.get()
    }

    pub(crate) fn addr(&self) -> &Addr {
        &self.addr
    }

    fn close(&self) {
        self.index.set(None);
        if let Some(listener) = self.listener.take() {
            // Wakes the loop that waits on it, which then drops the last reference.
            listener.close();
        }
    }
}

/// A connection's entry in the counts; leaving them is dropping it.
pub(crate) struct Place<F: Filter> {
    worker: Rc<Worker<F>>,
    id: ConnectionId,
    listener: Arc<Arrivals>,
    /// Its place among the connections of its client's address, where those are bounded.
    address: Cell<Option<AddressPlace>>,
}

impl<F: Filter> Place<F> {
    /// Names whom a drain or a reload wakes.
    pub(crate) fn drains_by(&self, end: TimerId) {
        self.worker.drains_by(self.id, end);
    }

    pub(crate) fn mark(&self, activity: Activity) {
        self.worker.mark(self.id, activity);
    }

    /// Counts the connection for an address that is known only now.
    ///
    /// # Errors
    /// When the address has its most connections, or opens them too fast.
    pub(crate) fn belongs_to(&self, address: IpAddr, caps: &Caps) -> Result<(), Excess> {
        let place = self.listener.arrive_from(address, caps, Moment::now())?;
        self.address.set(place);
        Ok(())
    }
}

impl<F: Filter> Drop for Place<F> {
    fn drop(&mut self) {
        self.worker.leave(self.id);
        self.worker.stats().connections.sub(1);
        self.listener.give_back();
        if let Some(place) = self.address.take() {
            self.listener.leave(place);
        }
    }
}

/// Connections accepted in one turn, so that a burst does not starve the others.
const BURST_MAX: usize = 64;
/// Connections that a closing listener may still hold.
const BACKLOG_MAX: usize = 65_536;
/// Pause when descriptors ran out: accepting would only spin until some are closed.
const EXHAUSTED_PAUSE: Ticks = Ticks(1);
/// How long a refused client may take to read its 503.
const SHED_TIMEOUT: Ticks = Ticks(20);
/// Refused clients that are answered at a time on one core; beyond it they are just closed.
const SHED_MAX: u32 = 256;

impl<F: Filter> Worker<F> {
    /// Takes over a listening socket and starts its loop.
    pub(super) fn open(self: &Rc<Self>, open: OpenListener) -> io::Result<Rc<Acceptor>> {
        let index = self.index_of(&open.addr);
        let acceptor = Rc::new(Acceptor {
            addr: open.addr,
            listener: RefCell::new(Some(Rc::new(Listener::adopt(open.fd)?))),
            index: Cell::new(index),
            shedding: Cell::new(0),
        });
        rt::spawn(accept_loop(Rc::clone(self), Rc::clone(&acceptor)));
        Ok(acceptor)
    }

    /// The index of a listener in the snapshot in force, also of one that a drain has closed.
    pub(crate) fn index_of(&self, addr: &Addr) -> Option<usize> {
        let installed = self.installed();
        let mut listeners = installed.snapshot.listeners.iter();
        listeners.position(|listener| listener.addr == *addr)
    }

    /// Serves what waits on the listeners that `next` does not have any more.
    pub(super) fn accept_last(self: &Rc<Self>, acceptors: &[Rc<Acceptor>], next: &Snapshot<F>) {
        for acceptor in acceptors {
            if !next
                .listeners
                .iter()
                .any(|listener| listener.addr == acceptor.addr)
            {
                let _ = accept_waiting(self, acceptor, BACKLOG_MAX, Keep::Here);
            }
        }
    }

    /// Finds each acceptor's place in the snapshot in force, and closes those without one.
    pub(super) fn match_acceptors(&self, acceptors: &mut Vec<Rc<Acceptor>>) {
        acceptors.retain(|acceptor| {
            let index = self.index_of(&acceptor.addr);
            match index {
                Some(_) => acceptor.index.set(index),
                None => acceptor.close(),
            }
            index.is_some()
        });
    }
}

/// Closes all listeners; connections that the kernel has taken already are served first.
pub(super) fn close_all<F: Filter>(worker: &Rc<Worker<F>>, acceptors: &mut Vec<Rc<Acceptor>>) {
    for acceptor in acceptors.drain(..) {
        // What cannot be accepted now is refused by the kernel when the socket closes.
        let _ = accept_waiting(worker, &acceptor, BACKLOG_MAX, Keep::Here);
        acceptor.close();
    }
}

async fn accept_loop<F: Filter>(worker: Rc<Worker<F>>, acceptor: Rc<Acceptor>) {
    loop {
        let Some(listener) = acceptor.listener.borrow().as_ref().map(Rc::clone) else {
            return;
        };
        let ready = listener.ready().await;
        drop(listener);
        let accepted = match ready {
            Ok(()) => accept_waiting(&worker, &acceptor, BURST_MAX, Keep::Anywhere),
            Err(error) => Err(error),
        };
        // New connections get their first turn before more are taken.
        rt::yield_turn().await;
        if accepted.is_err() && acceptor.index().is_some() {
            worker.stats().accept_pauses.add(1);
            rt::pause(EXHAUSTED_PAUSE).await;
        }
    }
}

fn accept_waiting<F: Filter>(
    worker: &Rc<Worker<F>>,
    acceptor: &Rc<Acceptor>,
    most: usize,
    keep: Keep,
) -> io::Result<()> {
    for _ in 0..most {
        let Some(listener) = acceptor.listener.borrow().as_ref().map(Rc::clone) else {
            break;
        };
        match listener.accept()? {
            Some(accepted) => match better_place(worker, keep) {
                Some(core) => {
                    worker.stats().handed_over.add(1);
                    let addr = acceptor.addr.clone();
                    worker.peers.hand(core, Handed { addr, accepted });
                }
                None => admit(worker, acceptor, accepted),
            },
            None => break,
        }
    }
    Ok(())
}

/// Where a fresh connection may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// By the worker that has accepted it.
    Here,
    /// By whichever has fewest.
    Anywhere,
}

fn better_place<F: Filter>(worker: &Worker<F>, keep: Keep) -> Option<CoreIndex> {
    match keep {
        Keep::Anywhere if !worker.is_draining() => worker.peers.better(&worker.registry),
        _ => None,
    }
}

/// Takes over a connection that another worker has accepted.
pub(super) fn adopt<F: Filter>(worker: &Rc<Worker<F>>, acceptors: &[Rc<Acceptor>], handed: Handed) {
    let known = acceptors.iter().find(|known| known.addr == handed.addr);
    let acceptor = known.map(Rc::clone).unwrap_or_else(|| {
        // This worker drains already: the connection is served as its own last ones are.
        let index = worker.index_of(&handed.addr);
        Rc::new(Acceptor {
            addr: handed.addr,
            listener: RefCell::default(),
            index: Cell::new(index),
            shedding: Cell::new(0),
        })
    });
    admit(worker, &acceptor, handed.accepted);
}

fn admit<F: Filter>(worker: &Rc<Worker<F>>, acceptor: &Rc<Acceptor>, accepted: Accepted) {
    let Ok((socket, peer)) = accepted.adopt() else {
        return;
    };
    let installed = worker.installed();
    let Some((index, listener)) = acceptor
        .index()
        .and_then(|index| Some((index, installed.snapshot.listeners.get(index)?)))
    else {
        return;
    };
    let stats = worker.stats();
    stats.accepted.add(1);
    let address = match arrive(listener, peer) {
        Ok(place) => place,
        // Closed without a word: who is one too many could keep the worker busy with answers.
        Err(excess) => return worker.refuse(index, peer.map(|peer| peer.ip()), excess),
    };
    if !listener
        .connections
        .try_take(listener.limits.connections_max)
    {
        if let Some(place) = address {
            listener.connections.leave(place);
        }
        stats.shed.add(1);
        stats.faults.fault(Fault::ConnectionCap);
        let shedding = acceptor.shedding.get();
        if shedding < SHED_MAX {
            acceptor.shedding.set(shedding + 1);
            let acceptor = Rc::clone(acceptor);
            rt::spawn(async move {
                shed(socket).await;
                acceptor.shedding.set(acceptor.shedding.get() - 1);
            });
        }
        return;
    }
    stats.connections.add(1);
    let wire = Rc::new(Wire::plain(socket));
    wire.set_rate_min(listener.limits.rate_min);
    let place = Place {
        id: worker.enter(&wire),
        worker: Rc::clone(worker),
        listener: Arc::clone(&listener.connections),
        address: Cell::new(address),
    };
    let arrived = Arrived {
        wire,
        peer,
        index,
        limits: listener.limits,
        half_close: listener.half_close,
        h2c: listener.h2c,
        begins: Begins::of(listener),
    };
    let serve = connection::serve(Rc::clone(worker), Rc::clone(acceptor), arrived, place);
    let panicked = Rc::clone(worker);
    rt::spawn(rt::isolate(serve, move || {
        panicked.stats().panics.add(1);
        panicked.stats().faults.fault(Fault::Internal);
    }));
}

/// Counts a connection for its listener, and for its address unless a balancer is going to name
/// another one.
fn arrive(
    listener: &snapshot::Listener,
    peer: Option<SocketAddr>,
) -> Result<Option<AddressPlace>, Excess> {
    let caps = &listener.caps;
    if *caps == Caps::default() {
        return Ok(None);
    }
    let now = Moment::now();
    listener.connections.arrive(caps, now)?;
    match peer.map(|peer| peer.ip()) {
        Some(address) if !listener.proxies.contains(address) => {
            listener.connections.arrive_from(address, caps, now)
        }
        _ => Ok(None),
    }
}

/// Answers 503 to a connection beyond the cap, without reading a request.
async fn shed(socket: Socket) {
    let mut answer = Vec::new();
    h1::encode_simple_response(
        &SimpleResponse {
            status: 503,
            content_type: b"text/plain",
            body: b"connection limit reached, try again later\n",
            fields: &[("retry-after", b"1")],
            connection: h1::Connection::Close,
            ..SimpleResponse::default()
        },
        &mut answer,
    );
    let _ = socket
        .send(Block::from_slice(&answer), || SHED_TIMEOUT)
        .await;
    socket.shutdown(Shutdown::Write);
    // Closing with unread bytes would reset the connection before the answer is read.
    socket.recv_timer().arm(SHED_TIMEOUT, Due::ShutBoth);
    let mut block = Block::new(BlockClass::Head);
    loop {
        block.clear();
        match socket.recv(block).await {
            (Ok(received), back) if received > 0 => block = back,
            _ => return,
        }
    }
}
