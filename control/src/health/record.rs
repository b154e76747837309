//! What is known of one endpoint: its standing, and the results in a row that speak against it.

use std::time::SystemTime;

use super::failure::Failure;
use super::{Check, Standing, State};

/// The record of one endpoint. Time is a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    standing: Standing,
    /// Results in a row that speak against the standing.
    against: u32,
    /// When the first of them came.
    against_since: SystemTime,
}

/// A change of standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: Standing,
    pub(super) to: Standing,
    /// When the first of the results came that led to it.
    pub(super) began: SystemTime,
}

impl Record {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            standing: Standing {
                state: State::Unchecked,
                why: "not checked yet".to_owned(),
                since: now,
            },
            against: 0,
            against_since: now,
        }
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes a result in.
    pub(super) fn note(
        &mut self,
        result: &Result<(), Failure>,
        check: &Check,
        now: SystemTime,
    ) -> Option<Change> {
        let (threshold, next) = match (self.standing.state, result) {
            (State::Unchecked, Ok(())) => (1, State::Healthy),
            (State::Unchecked | State::Healthy, Err(_)) => {
                (check.unhealthy_after, State::Unhealthy)
            }
            (State::Unhealthy, Ok(())) => (check.healthy_after, State::Healthy),
            (State::Healthy, Ok(())) | (State::Unhealthy, Err(_)) => {
                self.against = 0;
                return None;
            }
        };
        if self.against == 0 {
            self.against_since = now;
        }
        self.against = self.against.saturating_add(1);
        if self.against < threshold {
            return None;
        }
        let why = match result {
            Ok(()) if self.against == 1 => "the last check was good".to_owned(),
            Ok(()) => format!("{} checks in a row were good", self.against),
            Err(failure) if self.against == 1 => format!("a check failed: {failure}"),
            Err(failure) => {
                format!(
                    "{} checks in a row failed, the last: {failure}",
                    self.against
                )
            }
        };
        self.against = 0;
        let to = Standing {
            state: next,
            why,
            since: now,
        };
        let from = std::mem::replace(&mut self.standing, to.clone());
        Some(Change {
            from,
            to,
            began: self.against_since,
        })
    }
}
