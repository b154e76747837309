//! When to act: pure functions of times, so that tests need no clock.

use std::time::{Duration, SystemTime};

use super::certificate::Lifetime;
use super::failure::{Failure, FailureKind};
use crate::backoff::{Backoff, jittered, random_fraction};

/// When a certificate is renewed: `before` its end, or when a third of its life is left if
/// that is later.
pub(super) fn renewal(lifetime: Lifetime, before: Duration) -> SystemTime {
    let life = lifetime
        .not_after
        .duration_since(lifetime.not_before)
        .unwrap_or_default();
    lifetime.not_after - before.min(life / 3)
}

/// When the authority would have a certificate renewed (RFC 9773).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

/// The authority's window and the moment chosen in it, which stays while the window does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suggestion {
    window: Window,
    pub(super) at: SystemTime,
}

impl Suggestion {
    /// RFC 9773 section 4.2: a moment anywhere in the window, each as likely.
    pub(super) fn of(window: Window, former: Option<Self>) -> Self {
        match former {
            Some(former) if former.window == window => former,
            _ => {
                let width = window.end.duration_since(window.start).unwrap_or_default();
                Self {
                    window,
                    at: window.start + width.mul_f64(random_fraction()),
                }
            }
        }
    }
}

/// How long the authority wants not to be asked for its window again, within reason.
pub(super) fn look_again_after(told: Duration) -> Duration {
    told.clamp(LOOK_MIN, LOOK_MAX)
}

/// How long to wait after failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// Nothing was used up: the authority was not reached.
    soon: Backoff,
    /// A failed verification counts against the account: Let's Encrypt allows five an hour.
    later: Backoff,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            soon: Backoff::new(SOON_FIRST, SOON_MAX),
            later: Backoff::new(LATER_FIRST, LATER_MAX),
        }
    }

    /// The pause before the next attempt: never shorter than the authority asked for.
    pub(super) fn after(&mut self, failure: &Failure) -> Duration {
        let pause = match failure.kind {
            FailureKind::Unreachable
            | FailureKind::Storage
            | FailureKind::Account
            | FailureKind::NotServed => self.soon.step(),
            FailureKind::Authority | FailureKind::Refused => self.later.step(),
            FailureKind::RateLimited => self.later.step().max(RATE_LIMITED_MIN),
        };
        jittered(pause.max(failure.retry_after.unwrap_or_default()))
    }
}

const SOON_FIRST: Duration = Duration::from_secs(5);
const SOON_MAX: Duration = Duration::from_secs(30 * 60);
const LATER_FIRST: Duration = Duration::from_secs(2 * 60);
const LATER_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// Where the authority does not say when.
const RATE_LIMITED_MIN: Duration = Duration::from_secs(60 * 60);
const LOOK_MIN: Duration = Duration::from_secs(60 * 60);
const LOOK_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn day(number: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * number
    }

    fn lifetime(days: u32) -> Lifetime {
        Lifetime {
            not_before: day(1_000),
            not_after: day(1_000 + days),
        }
    }

    fn failure(kind: FailureKind, retry_after: Option<Duration>) -> Failure {
        Failure {
            retry_after,
            ..Failure::new(kind, "")
        }
    }

    #[test]
    fn renewal_is_the_set_time_before_the_end() {
        assert_eq!(renewal(lifetime(90), DAY * 20), day(1_070));
        assert_eq!(renewal(lifetime(90), DAY * 30), day(1_060));
    }

    #[test]
    fn short_lives_are_renewed_when_a_third_is_left() {
        assert_eq!(renewal(lifetime(6), DAY * 30), day(1_004));
        assert_eq!(renewal(lifetime(45), DAY * 30), day(1_030));
    }

    #[test]
    fn a_life_that_ends_before_it_begins_is_due() {
        let lifetime = Lifetime {
            not_before: day(10),
            not_after: day(5),
        };
        assert_eq!(renewal(lifetime, DAY), day(5));
    }

    #[test]
    fn a_moment_in_the_window_is_kept_while_the_window_stands() {
        let window = Window {
            start: day(10),
            end: day(12),
        };
        let chosen = Suggestion::of(window, None);
        assert!((day(10)..=day(12)).contains(&chosen.at));
        assert_eq!(Suggestion::of(window, Some(chosen)), chosen);
        let moved = Window {
            start: day(1),
            end: day(1),
        };
        assert_eq!(Suggestion::of(moved, Some(chosen)).at, day(1));
        let turned = Window {
            start: day(3),
            end: day(2),
        };
        assert_eq!(Suggestion::of(turned, None).at, day(3));
    }

    #[test]
    fn pauses_grow_and_failed_verifications_stay_below_five_an_hour() {
        let mut patience = Patience::new();
        let refused = failure(FailureKind::Refused, None);
        let mut within_an_hour = 1;
        let mut elapsed = Duration::ZERO;
        loop {
            elapsed += patience.after(&refused);
            if elapsed > Duration::from_secs(3_600) {
                break;
            }
            within_an_hour += 1;
        }
        assert!(within_an_hour <= 5, "{within_an_hour}");
        for _ in 0..20 {
            assert!(patience.after(&refused) <= LATER_MAX.mul_f64(1.1));
        }
    }

    #[test]
    fn an_authority_that_is_away_is_asked_again_soon() {
        let mut patience = Patience::new();
        let away = failure(FailureKind::Unreachable, None);
        assert!(patience.after(&away) < Duration::from_secs(6));
        assert!(patience.after(&away) >= Duration::from_secs(10));
    }

    #[test]
    fn the_authoritys_own_word_is_kept() {
        let mut patience = Patience::new();
        let told = failure(FailureKind::RateLimited, Some(DAY));
        assert!(patience.after(&told) >= DAY);
        let untold = failure(FailureKind::RateLimited, None);
        assert!(patience.after(&untold) >= RATE_LIMITED_MIN);
        let away = failure(FailureKind::Unreachable, Some(Duration::from_secs(600)));
        assert!(patience.after(&away) >= Duration::from_secs(600));
    }

    #[test]
    fn windows_are_looked_at_once_a_day_at_least_and_once_an_hour_at_most() {
        assert_eq!(look_again_after(Duration::ZERO), LOOK_MIN);
        assert_eq!(look_again_after(DAY * 30), LOOK_MAX);
        assert_eq!(look_again_after(DAY / 4), DAY / 4);
    }
}
