//! Deadlines: one coarse timer wheel per core.
//!
//! Every socket has one entry with one deadline. Setting it is a store: an entry is put
//! into a slot only when it has none at or before its deadline, and moves on lazily when its
//! slot comes round. A deadline that passes shuts the socket down, so the operation that
//! waits on it ends by itself; nothing is ever cancelled or dropped with bytes in it. What has
//! no socket of its own, such as a stream, is woken instead and looks for itself.

use std::cell::RefCell;
use std::os::fd::{BorrowedFd, RawFd};
use std::task::Waker;
use std::time::Duration;

use super::Liveness;

/// The resolution of every deadline.
pub const TICK: Duration = Duration::from_millis(100);

/// A span of time in ticks, rounded up; zero means no deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(pub u32);

impl Ticks {
    /// No deadline.
    pub const NEVER: Ticks = Ticks(0);
}

impl From<Duration> for Ticks {
    fn from(duration: Duration) -> Ticks {
        let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
        Ticks(u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, TICKS_MAX))
    }
}

/// The longest deadline: about 3.4 years; beyond it there is none in practice.
const TICKS_MAX: u32 = u32::MAX / 4;

/// What happens to the socket when its deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Reading ends, writing goes on: an answer such as 408 can still be sent.
    ShutRead,
    /// Both directions end.
    ShutBoth,
    /// Both directions end if the peer has taken too little since the last look at what waits
    /// for it in the kernel. A send alone does not tell: it goes on only when a good part of
    /// a buffer of megabytes is free again.
    ShutStuck {
        /// Bytes that waited at the last look; none before the first one.
        queued: Option<u32>,
        /// Ticks between two looks.
        every: Ticks,
        /// Bytes that it has to take between two looks, at least one.
        least: u32,
    },
    /// The peer is looked at; when it has gone, the socket of `other` is shut down. Otherwise
    /// the look repeats, after twice the span each time.
    Watch {
        /// The deadline of the socket that waits on behalf of this one.
        other: TimerId,
        /// Ticks until the first look.
        every: Ticks,
        /// What counts as gone.
        gone: Gone,
    },
}

/// When a watched peer counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// When it has ended its side and everything it sent was read, or reset the connection.
    Ended,
    /// When it has ended its side, whatever it sent before: under TLS its last word is one of
    /// TLS.
    HungUp,
    /// When it has reset the connection.
    Reset,
}

/// The entry of one socket in this core's wheel.
#[derive(Debug)]
pub struct Timer(u32);

/// Names a timer to another one. A timer that is gone by then is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    owner: u32,
}

impl Timer {
    pub(super) fn new(fd: RawFd) -> Timer {
        WHEEL.with_borrow_mut(|wheel| wheel.insert(fd))
    }

    /// A timer without a socket: a passed deadline wakes whoever was named to
    /// [`Timer::wakes`].
    pub fn waking() -> Timer {
        Timer::new(NO_SOCKET)
    }

    /// Names the task that a passed deadline wakes.
    pub fn wakes(&self, waker: &Waker) {
        // A waker that is replaced is dropped outside the wheel: it may be anybody's.
        let former = WHEEL.with_borrow_mut(|wheel| {
            let known = &mut wheel.entries[self.0 as usize].waker;
            match known {
                Some(known) if known.will_wake(waker) => None,
                known => known.replace(waker.clone()),
            }
        });
        drop(former);
    }

    /// Whether this timer, or one on its behalf, has ended its side.
    pub fn has_cut(&self) -> bool {
        WHEEL.with_borrow(|wheel| wheel.entries[self.0 as usize].cut)
    }

    /// Wakes the task named to [`Timer::wakes`] without a deadline that has passed.
    pub fn rouse(&self) {
        wake(self.0);
    }

    /// Sets the deadline `after` from now; [`Ticks::NEVER`] clears it.
    pub fn arm(&self, after: Ticks, due: Due) {
        WHEEL.with_borrow_mut(|wheel| wheel.arm(self.0, after, due));
    }

    /// Clears the deadline.
    pub fn disarm(&self) {
        WHEEL.with_borrow_mut(|wheel| wheel.entries[self.0 as usize].at = NONE);
    }

    /// Clears the deadline and tells whether it has passed since this was last asked.
    pub fn end(&self) -> bool {
        WHEEL.with_borrow_mut(|wheel| {
            let entry = &mut wheel.entries[self.0 as usize];
            entry.at = NONE;
            std::mem::take(&mut entry.fired)
        })
    }

    /// This timer's name.
    pub fn id(&self) -> TimerId {
        WHEEL.with_borrow(|wheel| TimerId {
            index: self.0,
            owner: wheel.entries[self.0 as usize].owner,
        })
    }

    /// Whether a deadline has passed (and shut something down) since this was last asked.
    pub fn take_fired(&self) -> bool {
        WHEEL.with_borrow_mut(|wheel| std::mem::take(&mut wheel.entries[self.0 as usize].fired))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // At thread exit the wheel may be gone before the last socket.
        let waker = WHEEL.try_with(|wheel| wheel.borrow_mut().remove(self.0));
        drop(waker);
    }
}

/// Whether one of a socket's two timers has ever shut it down.
pub(super) fn either_has_cut(recv: &Timer, send: &Timer) -> bool {
    WHEEL.with_borrow(|wheel| {
        wheel.entries[recv.0 as usize].cut || wheel.entries[send.0 as usize].cut
    })
}

/// Has a timer without a socket fire now, if it is still there.
pub fn fire(timer: TimerId) {
    let waker = WHEEL.with_borrow_mut(|wheel| {
        wheel.cut(timer)?;
        let entry = &mut wheel.entries[timer.index as usize];
        (entry.at, entry.fired) = (NONE, true);
        entry.waker.take()
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Ticks since this core's wheel began; wraps after 13 years.
pub fn now() -> u32 {
    WHEEL.with_borrow(|wheel| wheel.now)
}

/// Advances this core's wheel and shuts down what is due.
pub(super) fn advance(ticks: u32) {
    // More than a turn behind (a suspended machine): one turn visits every slot.
    let due = WHEEL.with_borrow_mut(|wheel| wheel.advance(ticks));
    for (fd, due, id) in due {
        act(fd, due, id);
    }
}

fn act(fd: RawFd, due: Due, id: u32) {
    match due {
        Due::ShutRead | Due::ShutBoth if fd == NO_SOCKET => wake(id),
        Due::ShutRead => shut(fd, std::net::Shutdown::Read),
        Due::ShutBoth => shut(fd, std::net::Shutdown::Both),
        Due::ShutStuck {
            queued,
            every,
            least,
        } => {
            let now = super::socket::unsent(fd);
            if queued.is_none_or(|before| now.saturating_add(least) <= before) {
                let queued = Some(now);
                let due = Due::ShutStuck {
                    queued,
                    every,
                    least,
                };
                return WHEEL.with_borrow_mut(|wheel| wheel.arm(id, every, due));
            }
            WHEEL.with_borrow_mut(|wheel| {
                let entry = &mut wheel.entries[id as usize];
                (entry.fired, entry.cut) = (true, true);
            });
            shut(fd, std::net::Shutdown::Both);
        }
        Due::Watch { other, every, gone } => {
            if has_gone(fd, gone) {
                let shut_down = WHEEL.with_borrow_mut(|wheel| {
                    wheel.entries[id as usize].fired = true;
                    wheel.cut(other)
                });
                match shut_down {
                    Some(NO_SOCKET) => wake(other.index),
                    Some(fd) => shut(fd, std::net::Shutdown::Both),
                    None => {}
                }
            } else {
                // The longer a response takes, the less it matters to notice at once.
                let every = Ticks((every.0 * 2).min(WATCH_TICKS_MAX));
                let due = Due::Watch { other, every, gone };
                WHEEL.with_borrow_mut(|wheel| wheel.arm(id, every, due));
            }
        }
    }
}

fn has_gone(fd: RawFd, gone: Gone) -> bool {
    match super::socket::liveness_of(fd) {
        Liveness::Reset => true,
        Liveness::Ended => gone != Gone::Reset,
        Liveness::Readable => gone == Gone::HungUp && super::socket::has_hung_up(fd),
        Liveness::Quiet => false,
    }
}

fn wake(id: u32) {
    let waker = WHEEL.with_borrow_mut(|wheel| wheel.entries[id as usize].waker.take());
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn shut(fd: RawFd, how: std::net::Shutdown) {
    #[allow(unsafe_code)]
    // SAFETY: entries are removed before their socket closes, so the descriptor is open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // A peer that has reset the connection already is as good as shut down.
    let _ = socket2::SockRef::from(&fd).shutdown(how);
}

/// The longest time between two looks at a watched peer: 3.2 seconds.
const WATCH_TICKS_MAX: u32 = 32;
const SLOTS: u32 = 1024;
/// Links that a slot holds without growing: a core with few connections never allocates here.
const SLOT_ROOM: usize = 8;
const NONE: u32 = u32::MAX;

/// In the place of a descriptor.
const NO_SOCKET: RawFd = -1;

struct Entry {
    fd: RawFd,
    /// Who is woken in the place of a socket that is shut down.
    waker: Option<Waker>,
    /// The tick of the deadline, or [`NONE`].
    at: u32,
    /// The tick of the slot that will visit this entry first, or [`NONE`].
    linked: u32,
    due: Due,
    fired: bool,
    /// The socket was shut down by this timer or on its behalf.
    cut: bool,
    /// Tells the owners of a reused entry apart.
    owner: u32,
}

struct Wheel {
    now: u32,
    slots: Vec<Vec<u32>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Timers made so far.
    owners: u32,
}

impl Wheel {
    fn new() -> Wheel {
        Wheel {
            now: 0,
            slots: (0..SLOTS).map(|_| Vec::with_capacity(SLOT_ROOM)).collect(),
            entries: Vec::new(),
            free: Vec::new(),
            owners: 0,
        }
    }

    fn insert(&mut self, fd: RawFd) -> Timer {
        let entry = Entry {
            fd,
            waker: None,
            at: NONE,
            linked: NONE,
            due: Due::ShutBoth,
            fired: false,
            cut: false,
            owner: self.owners,
        };
        self.owners = self.owners.wrapping_add(1);
        match self.free.pop() {
            Some(id) => {
                // A slot may still name the entry's former owner; the visit finds it too
                // early for the new one and links it anew.
                self.entries[id as usize] = entry;
                Timer(id)
            }
            None => {
                self.entries.push(entry);
                Timer(self.entries.len() as u32 - 1)
            }
        }
    }

    fn remove(&mut self, id: u32) -> Option<Waker> {
        let entry = &mut self.entries[id as usize];
        (entry.at, entry.linked, entry.fired) = (NONE, NONE, false);
        // Whoever still names the timer must not find the entry's next owner.
        entry.owner = self.owners;
        self.owners = self.owners.wrapping_add(1);
        let waker = entry.waker.take();
        self.free.push(id);
        waker
    }

    /// Marks the timer's socket as cut and names its descriptor, if the timer is still there.
    fn cut(&mut self, timer: TimerId) -> Option<RawFd> {
        let entry = self.entries.get_mut(timer.index as usize)?;
        if entry.owner != timer.owner {
            return None;
        }
        entry.cut = true;
        Some(entry.fd)
    }

    fn arm(&mut self, id: u32, after: Ticks, due: Due) {
        let now = self.now;
        let entry = &mut self.entries[id as usize];
        if after == Ticks::NEVER {
            entry.at = NONE;
            return;
        }
        // The current tick has partly passed: one more keeps a deadline from being early.
        entry.at = now + after.0 + 1;
        entry.due = due;
        if entry.linked > entry.at {
            self.link(id);
        }
    }

    fn link(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.linked = entry.at.min(self.now + SLOTS - 1);
        self.slots[(entry.linked % SLOTS) as usize].push(id);
    }

    fn advance(&mut self, ticks: u32) -> Vec<(RawFd, Due, u32)> {
        let mut due = Vec::new();
        let target = self.now + ticks.min(TICKS_MAX);
        self.now = self.now.max(target.saturating_sub(SLOTS));
        while self.now < target {
            self.now += 1;
            let slot = (self.now % SLOTS) as usize;
            let mut ids = std::mem::take(&mut self.slots[slot]);
            for id in ids.drain(..) {
                self.visit(id, &mut due);
            }
            if self.slots[slot].is_empty() {
                self.slots[slot] = ids;
            }
        }
        due
    }

    fn visit(&mut self, id: u32, due: &mut Vec<(RawFd, Due, u32)>) {
        let now = self.now;
        let entry = &mut self.entries[id as usize];
        if entry.linked > now {
            return; // a slot visit for an earlier owner or deadline
        }
        entry.linked = NONE;
        if entry.at == NONE {
            return;
        }
        if entry.at > now {
            self.link(id);
            return;
        }
        entry.at = NONE;
        let shuts = matches!(entry.due, Due::ShutRead | Due::ShutBoth);
        (entry.fired, entry.cut) = (shuts, entry.cut || shuts);
        due.push((entry.fd, entry.due, id));
    }
}

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_after(wheel: &mut Wheel, ticks: u32) -> Vec<RawFd> {
        wheel
            .advance(ticks)
            .into_iter()
            .map(|(fd, ..)| fd)
            .collect()
    }

    #[test]
    fn fires_once_and_never_early() {
        let mut wheel = Wheel::new();
        let timer = std::mem::ManuallyDrop::new(wheel.insert(7));
        wheel.arm(timer.0, Ticks(3), Due::ShutBoth);
        assert!(due_after(&mut wheel, 3).is_empty());
        assert_eq!(due_after(&mut wheel, 1), [7]);
        assert_eq!(due_after(&mut wheel, 5000), []);
    }

    #[test]
    fn a_later_deadline_moves_without_a_second_link() {
        let mut wheel = Wheel::new();
        let timer = std::mem::ManuallyDrop::new(wheel.insert(7));
        for _ in 0..100 {
            wheel.arm(timer.0, Ticks(50), Due::ShutBoth);
            assert_eq!(due_after(&mut wheel, 1), []);
        }
        let links: usize = wheel.slots.iter().map(Vec::len).sum();
        assert_eq!(links, 1);
        assert_eq!(due_after(&mut wheel, 50), [7]);
    }

    #[test]
    fn an_earlier_deadline_fires_at_its_time() {
        let mut wheel = Wheel::new();
        let timer = std::mem::ManuallyDrop::new(wheel.insert(7));
        wheel.arm(timer.0, Ticks(500), Due::ShutBoth);
        wheel.arm(timer.0, Ticks(5), Due::ShutRead);
        assert_eq!(due_after(&mut wheel, 6), [7]);
    }

    #[test]
    fn deadlines_beyond_a_turn_wait_their_turns() {
        let mut wheel = Wheel::new();
        let timer = std::mem::ManuallyDrop::new(wheel.insert(7));
        wheel.arm(timer.0, Ticks(3000), Due::ShutBoth);
        assert_eq!(due_after(&mut wheel, 3000), []);
        assert_eq!(due_after(&mut wheel, 1), [7]);
    }

    #[test]
    fn a_removed_entry_never_fires_for_its_successor() {
        let mut wheel = Wheel::new();
        let first = std::mem::ManuallyDrop::new(wheel.insert(7));
        wheel.arm(first.0, Ticks(5), Due::ShutBoth);
        wheel.remove(first.0);
        let second = std::mem::ManuallyDrop::new(wheel.insert(8));
        wheel.arm(second.0, Ticks(50), Due::ShutBoth);
        assert_eq!(due_after(&mut wheel, 50), []);
        assert_eq!(due_after(&mut wheel, 1), [8]);
    }

    #[test]
    fn durations_round_up() {
        assert_eq!(Ticks::from(Duration::from_millis(1)), Ticks(1));
        assert_eq!(Ticks::from(Duration::from_millis(101)), Ticks(2));
        assert_eq!(Ticks::from(Duration::from_secs(10)), Ticks(100));
    }
}
