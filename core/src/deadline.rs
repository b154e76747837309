//! The end of an exchange's time, in ticks of the wheel.

use std::time::Duration;

use crate::error::Fault;
use crate::rt::wheel::{self, Ticks};

/// The end of an exchange's time: it shortens every wait within the exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadline {
    /// The tick, or none.
    at: Option<u32>,
}

impl Deadline {
    /// So many ticks from now; never for [`Ticks::NEVER`].
    pub fn after(ticks: Ticks) -> Deadline {
        Deadline::since(wheel::now(), ticks)
    }

    /// So many ticks from the tick `began`; never for [`Ticks::NEVER`].
    pub fn since(began: u32, ticks: Ticks) -> Deadline {
        Deadline {
            at: (ticks != Ticks::NEVER).then(|| began.wrapping_add(ticks.0)),
        }
    }

    /// The earlier one.
    pub fn or_before(self, other: Deadline) -> Deadline {
        Deadline {
            at: match (self.at, other.at) {
                (Some(own), Some(other)) => Some(own.min(other)),
                (own, other) => own.or(other),
            },
        }
    }

    /// Whether there is an end.
    pub fn is_set(self) -> bool {
        self.at.is_some()
    }

    /// The time that is left, where there is an end.
    pub fn left(self) -> Option<Duration> {
        let ticks = self.at?.saturating_sub(wheel::now());
        Some(wheel::TICK * ticks)
    }

    /// Whether it has passed. Asked before each wait: a peer that sends a little all the time
    /// would never let a wait run out.
    pub fn has_passed(self) -> bool {
        self.at.is_some_and(|at| wheel::now() > at)
    }

    /// The shorter of a wait and what is left.
    pub fn within(self, wait: Ticks) -> Ticks {
        match self.at {
            None => wait,
            Some(at) => {
                let left = Ticks(at.saturating_sub(wheel::now()).max(1));
                if wait == Ticks::NEVER {
                    left
                } else {
                    wait.min(left)
                }
            }
        }
    }

    /// As [`Deadline::fault`], for a fault that is only sometimes a wait that was cut short.
    pub fn fault_if(self, fault: Fault, cut: Fault) -> Fault {
        if fault == cut {
            self.fault(fault)
        } else {
            fault
        }
    }

    /// What a wait that was cut short means: its own fault, or the end of the whole time.
    pub fn fault(self, own: Fault) -> Fault {
        match self.at {
            Some(at) if wheel::now() >= at => Fault::RequestTimeout,
            _ => own,
        }
    }
}

impl Ticks {
    /// The shorter one; never counts as the longest.
    pub fn or_shorter(self, other: Ticks) -> Ticks {
        match (self, other) {
            (Ticks::NEVER, time) | (time, Ticks::NEVER) => time,
            (own, other) => own.min(other),
        }
    }
}
