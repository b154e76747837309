//! Injects faults into a share of requests, to see what becomes of those that depend on them: a
//! delay, or an answer in the origin's place.

use std::time::Duration;

use ringgate_core::answer;
use ringgate_core::chain::{RequestPhase, Verdict};

use crate::Filter;
use crate::dice::Dice;

/// What is done to requests. One request is either answered or delayed; a route that wants both
/// of one request has two filters.
#[derive(Clone, Debug, Default)]
pub struct Fault {
    /// How long requests wait before they go on, and the share of them that does.
    pub delay: Option<(Duration, f64)>,
    /// The status that answers, and the share of requests that it answers. Drawn first.
    pub abort: Option<(u16, f64)>,
    /// Only requests with this field take part; a name in lower case.
    pub header: Option<Box<str>>,
}

/// In logs and metrics.
pub(crate) const FAULT_INJECTED: &str = "fault_injected";

impl Fault {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        if !self.takes_part(phase) {
            return Verdict::Continue;
        }
        let now = phase.now.moment();
        let dice: &mut Dice = &mut phase.core.dice;
        if let Some((status, share)) = self.abort
            && dice.hits(share, now)
        {
            let id = phase.attributes.request_id.as_bytes();
            let answer = answer::refusal(status, FAULT_INJECTED, phase.head, id);
            return Verdict::Respond(Box::new(answer));
        }
        match self.delay {
            Some((time, share)) if dice.hits(share, now) => Verdict::Pause(time),
            _ => Verdict::Continue,
        }
    }

    fn takes_part(&self, phase: &RequestPhase<'_, Filter>) -> bool {
        match &self.header {
            Some(name) => phase.head.fields.value_of(name).is_some(),
            None => true,
        }
    }

    pub(crate) fn describe(&self) -> String {
        let percent = |share: f64| share * 100.0;
        let delay = self
            .delay
            .map(|(time, share)| format!("delays {}% by {time:?}", percent(share)));
        let abort = self
            .abort
            .map(|(status, share)| format!("answers {}% with {status}", percent(share)));
        let parts: Vec<String> = abort.into_iter().chain(delay).collect();
        let of = match &self.header {
            Some(name) => format!(" of those with {name}"),
            None => String::new(),
        };
        format!("fault: {}{of}", parts.join(", "))
    }

    /// What it would say of a request: shares are drawn anew for each.
    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        let name = self.header.as_deref()?;
        Some(match self.takes_part(phase) {
            true => format!("the request has {name}: it takes part"),
            false => format!("the request has no {name}: it is left alone"),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};

    /// Of ten thousand requests: aborted, delayed, untouched.
    fn shares(fault: Fault) -> [u32; 3] {
        let filter = Filter::Fault(fault);
        let (mut exchange, mut seen) = (Exchange::default(), [0; 3]);
        for _ in 0..10_000 {
            seen[match exchange.request_head(&filter) {
                Verdict::Respond(answer) => {
                    assert_eq!((answer.status, answer.code), (503, FAULT_INJECTED));
                    0
                }
                Verdict::Pause(time) => {
                    assert_eq!(time, Duration::from_millis(20));
                    1
                }
                _ => 2,
            }] += 1;
        }
        seen
    }

    const DELAY: Duration = Duration::from_millis(20);

    #[test]
    fn everybody_or_nobody_is_hit_where_the_share_says_so() {
        let fault = |delay, abort| Fault {
            delay: Some((DELAY, delay)),
            abort: Some((503, abort)),
            header: None,
        };
        assert_eq!(shares(fault(1.0, 0.0)), [0, 10_000, 0]);
        assert_eq!(shares(fault(1.0, 1.0)), [10_000, 0, 0]);
        assert_eq!(shares(fault(0.0, 0.0)), [0, 0, 10_000]);
        assert_eq!(shares(Fault::default()), [0, 0, 10_000]);
    }

    #[test]
    fn shares_are_of_all_requests_and_of_those_not_aborted() {
        let [aborted, delayed, untouched] = shares(Fault {
            delay: Some((DELAY, 0.5)),
            abort: Some((503, 0.2)),
            header: None,
        });
        // Five standard deviations.
        assert!(aborted.abs_diff(2_000) < 200, "{aborted}");
        assert!(delayed.abs_diff(4_000) < 250, "{delayed}");
        assert!(untouched.abs_diff(4_000) < 250, "{untouched}");
    }

    #[test]
    fn only_requests_with_the_field_take_part() {
        let filter = Filter::Fault(Fault {
            abort: Some((500, 1.0)),
            header: Some("x-fault".into()),
            delay: None,
        });
        let mut exchange = Exchange::default();
        assert!(passes(&exchange.request_head(&filter)));
        exchange.head.fields.add("X-Fault", b"").unwrap();
        assert!(!passes(&exchange.request_head(&filter)));
    }

    #[test]
    fn says_what_it_does_to_whom() {
        let fault = Fault {
            delay: Some((DELAY, 1.0)),
            abort: Some((503, 0.25)),
            header: Some("x-fault".into()),
        };
        assert_eq!(
            fault.describe(),
            "fault: answers 25% with 503, delays 100% by 20ms of those with x-fault"
        );
    }
}
