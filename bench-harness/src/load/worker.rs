//! What the connections of one thread share: what is due, what was counted, and where the run is.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringgate_core::rt;
use ringgate_core::rt::clock::Stamp;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::wire::Wire;

use super::http2::Slot;
use super::mix::Draws;
use super::pace::{Pace, Share};
use super::pacer::{Pacer, Place, Turn};
use super::plan::{Plan, Protocol, Reuse};
use super::tally::{Arrivals, Kind, Tally, Times, Watched};
use crate::wire;

/// What all connections of one thread share.
pub struct Worker {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// What has come of it.
    pub tally: RefCell<Tally>,
    /// What is asked next.
    pub draws: RefCell<Draws>,
    pacer: Option<Pacer>,
    stage: Cell<Stage>,
    begun: Cell<Stamp>,
    /// Tasks that have not ended, and idle connections that are not in their place yet.
    tasks: Cell<u32>,
    settling: Cell<u32>,
    sleepers: RefCell<Vec<Waker>>,
    links: RefCell<Vec<Rc<Link>>>,
    /// When requests were due that a server has given back unprocessed.
    again: RefCell<Vec<u64>>,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connections are opened.
    Opening,
    /// Requests are sent.
    Running,
    /// Nothing is sent any more.
    Over,
}

/// A connection that can be cut when the run is over.
pub struct Link {
    /// The connection.
    pub wire: Rc<Wire>,
    /// Requests on it without an answer.
    pub under_way: Cell<u32>,
    /// Where it waits for requests.
    pub place: Rc<Place>,
    /// Of HTTP/2: its streams.
    pub slots: RefCell<Vec<Rc<Slot>>>,
}

impl Worker {
    /// Nothing is open and nothing counted.
    ///
    /// # Errors
    /// When an open loop gets no timer.
    pub fn new(plan: Arc<Plan>, thread: u32, watched: Watched) -> io::Result<Worker> {
        let share = Share {
            thread,
            threads: plan.threads,
        };
        let pacer = plan
            .steps()
            .map(|steps| Pacer::new(Pace::new(steps, share)));
        let arrivals = match pacer {
            Some(_) => Arrivals::Schedule,
            None => Arrivals::Answers,
        };
        Ok(Worker {
            tally: RefCell::new(
                Tally::new(plan.window, arrivals, watched)
                    .with_steps(plan.step_windows().into_iter()),
            ),
            draws: RefCell::new(plan.mix.draws(thread, plan.threads)),
            pacer: pacer.transpose()?,
            stage: Cell::new(Stage::Opening),
            begun: Cell::new(Stamp::now()),
            tasks: Cell::new(0),
            settling: Cell::new(0),
            sleepers: RefCell::default(),
            links: RefCell::default(),
            again: RefCell::default(),
            plan,
        })
    }

    /// Nanoseconds since the start; 0 before it.
    pub fn now(&self) -> u64 {
        Stamp::now().nanos_since(self.begun.get())
    }

    /// Where the run is.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether requests may still be sent at this time.
    pub fn is_on(&self, now: u64) -> bool {
        self.stage.get() == Stage::Running && now < self.last_send()
    }

    /// Whether connections are cut with requests under way: at the end of a closed loop.
    pub fn has_cut(&self) -> bool {
        self.stage.get() == Stage::Over && self.pacer.is_none()
    }

    /// Until when requests are sent. What is due right before the end of an open loop gets a
    /// little time, or the last of it would always be late.
    fn last_send(&self) -> u64 {
        let grace = if self.pacer.is_some() { GRACE } else { 0 };
        self.plan.window.to + grace
    }

    /// Takes the next request: when it was or is due.
    pub fn take(&self, now: u64) -> Option<u64> {
        if !self.is_on(now) {
            return None;
        }
        if let Some(due) = self.again.borrow_mut().pop() {
            return Some(due);
        }
        match &self.pacer {
            None => Some(now),
            Some(pacer) => pacer.take(now),
        }
    }

    /// Gives back a request that the server has not processed: it is due as before.
    pub fn again(&self, due: u64) {
        self.again.borrow_mut().push(due);
    }

    /// Whether [`Worker::take`] has something now; if not, the waker is called when it may have.
    /// In a closed loop there always is, until the run is over.
    pub fn wait(&self, place: &Rc<Place>, waker: &Waker) -> Turn {
        let Some(pacer) = &self.pacer else {
            return Turn::Later;
        };
        if !self.again.borrow().is_empty() {
            return Turn::Now;
        }
        let now = self.now();
        match self.is_on(now) {
            true => pacer.wait(place, waker, now),
            false => Turn::Later,
        }
    }

    /// Waits until a request is due and takes it; `None` when the run is over, or `ends` says
    /// so after [`Worker::rouse`].
    pub async fn next(&self, place: &Rc<Place>, ends: impl Fn() -> bool) -> Option<Times> {
        let mut waited = false;
        let times = poll_fn(|cx| {
            let sent = self.now();
            if !self.is_on(sent) || ends() {
                return Poll::Ready(None);
            }
            if let Some(due) = self.take(sent) {
                return Poll::Ready(Some(Times { due, sent }));
            }
            if self.wait(place, cx.waker()) == Turn::Now {
                let sent = self.now();
                let due = self.take(sent);
                return Poll::Ready(due.map(|due| Times { due, sent }));
            }
            waited = true;
            Poll::Pending
        })
        .await;
        self.leave(place);
        if let Some(times) = times.filter(|_| waited) {
            let mut tally = self.tally.borrow_mut();
            tally.sent_after_wait(times.due, times.sent);
        }
        times
    }

    /// Has everybody look again who waits for a request to be due.
    pub fn rouse(&self) {
        if let Some(pacer) = &self.pacer {
            pacer.wake_all();
        }
    }

    /// Whoever waited in this place does not any more.
    pub fn leave(&self, place: &Rc<Place>) {
        if let Some(pacer) = &self.pacer {
            pacer.leave(place);
        }
    }

    /// Waits for the start.
    pub async fn begun(&self) {
        self.until(|| self.stage.get() != Stage::Opening).await;
    }

    /// Opens a connection; `None` after a failure, which is counted, and a pause.
    pub async fn connect(&self) -> Option<Wire> {
        match self.try_connect().await {
            Some(wire) => Some(wire),
            None => {
                // Whoever refuses now will do so for some time.
                rt::pause(Ticks(1)).await;
                None
            }
        }
    }

    /// Opens a connection for one request.
    pub async fn connect_for_one(&self) -> Option<Wire> {
        match self.pacer {
            // In a closed loop nothing else slows down who is refused.
            None => self.connect().await,
            Some(_) => self.try_connect().await,
        }
    }

    async fn try_connect(&self) -> Option<Wire> {
        let patience = self.plan.patience();
        let connected = wire::connect(&self.plan.addr, self.plan.tls.as_ref(), patience).await;
        let mut tally = self.tally.borrow_mut();
        match connected {
            Ok(wire) => {
                tally.opened += 1;
                tally.resumed += u64::from(wire::is_resumed(&wire));
                Some(wire)
            }
            Err(error) => {
                let kind = match wire::is_of_tls(&error) {
                    true => Kind::Tls,
                    false => Kind::Connect,
                };
                tally.failure(kind, self.now(), || error.to_string());
                None
            }
        }
    }

    /// Lists a connection among those that are cut when the run is over.
    pub fn link(&self, wire: Rc<Wire>, place: &Rc<Place>) -> Rc<Link> {
        let link = Rc::new(Link {
            wire,
            under_way: Cell::new(0),
            place: Rc::clone(place),
            slots: RefCell::default(),
        });
        self.links.borrow_mut().push(Rc::clone(&link));
        link
    }

    /// Takes a connection off that list.
    pub fn unlink(&self, link: &Rc<Link>) {
        let mut links = self.links.borrow_mut();
        if let Some(at) = links.iter().position(|other| Rc::ptr_eq(link, other)) {
            links.swap_remove(at);
        }
    }

    /// A connection is in its place, or cannot be had.
    pub fn settled(&self) {
        self.settling.set(self.settling.get() - 1);
        self.wake();
    }

    /// Why there is no connection at all, if there should be some.
    pub fn unreachable(&self) -> Option<String> {
        let tally = self.tally.borrow();
        if tally.opened > 0 || self.plan.reuse == Reuse::EachNew {
            return None;
        }
        tally.said().map(|(_, why)| why.to_owned()).next()
    }

    /// So many connections are to be opened.
    pub fn expect(&self, connections: u32) {
        self.settling.set(connections);
    }

    /// Waits until each of them is in its place, or cannot be had.
    pub async fn all_settled(&self) {
        self.until(|| self.settling.get() == 0).await;
    }

    /// A task begins.
    pub fn task_begins(&self) {
        self.tasks.set(self.tasks.get() + 1);
    }

    /// A task has ended.
    pub fn task_ended(&self) {
        self.tasks.set(self.tasks.get() - 1);
        self.wake();
    }

    /// Waits until all tasks have ended.
    pub async fn all_ended(&self) {
        self.until(|| self.tasks.get() == 0).await;
    }

    /// The run begins, or began at this time.
    pub fn begin(&self, at: Stamp) {
        self.begun.set(at);
        self.stage.set(Stage::Running);
        self.wake();
    }

    /// Looks whether something takes too long, or the run is over.
    pub fn tick(&self) {
        if self.plan.protocol == Protocol::Http2 {
            self.expire();
        }
        if self.stage.get() == Stage::Running && self.now() >= self.last_send() {
            self.stage.set(Stage::Over);
        }
        if self.stage.get() == Stage::Over {
            self.end();
        }
    }

    /// Wakes connections when requests are due, for ever; nothing in a closed loop.
    pub async fn pace(&self) {
        if let Some(pacer) = &self.pacer
            && let Err(error) = pacer.run(|| self.now()).await
        {
            let mut tally = self.tally.borrow_mut();
            tally.failure(Kind::Connect, 0, || format!("there is no alarm: {error}"));
        }
    }

    /// Ends what is not needed any more: of a closed loop everything, of an open one what has no
    /// request under way.
    fn end(&self) {
        let links = self.links.borrow();
        let done = |link: &&Rc<Link>| self.pacer.is_none() || link.under_way.get() == 0;
        links
            .iter()
            .filter(done)
            .for_each(|link| link.wire.shutdown(Shutdown::Both));
        self.rouse();
        self.wake();
    }

    /// Ends streams that take too long; connections without streams have their own deadline.
    fn expire(&self) {
        let timeout = self.plan.timeout.as_nanos() as u64;
        let limit = self.now().saturating_sub(timeout);
        for link in self.links.borrow().iter() {
            link.slots
                .borrow()
                .iter()
                .for_each(|slot| slot.expire(limit));
        }
    }

    /// Requests due in the window that were not sent.
    pub fn unsent(&self) -> u64 {
        let window = self.plan.window;
        let untaken = |pacer: &Pacer| pacer.untaken(window.from, window.to);
        let again = self.again.borrow();
        let again = again.iter().filter(|due| window.holds(**due)).count() as u64;
        self.pacer
            .as_ref()
            .map_or(0, |pacer| untaken(pacer) + again)
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        poll_fn(|cx| match holds() {
            true => Poll::Ready(()),
            false => {
                self.sleepers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
    }

    fn wake(&self) {
        for sleeper in self.sleepers.take() {
            sleeper.wake();
        }
    }
}

/// How long requests are sent that were due before the end, in nanoseconds.
const GRACE: u64 = 50_000_000;
