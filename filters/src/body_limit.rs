//! Refuses request bodies beyond a number of bytes: at once by their `Content-Length`, else as
//! soon as what has passed is more.

use ringgate_core::answer;
use ringgate_core::chain::{Answer, BodyPhase, BodyVerdict, RequestPhase, Verdict};
use ringgate_core::error::Fault;
use ringgate_core::http::BodyLen;

use crate::Filter;

/// The largest request body that passes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    /// Bytes, after chunked coding is taken off; a larger body gets 413.
    pub max: u64,
}

impl BodyLimit {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        match phase.head.framing {
            BodyLen::Length(length) if length > self.max => {
                Verdict::Respond(Box::new(refusal(phase)))
            }
            BodyLen::None | BodyLen::Length(_) => Verdict::Continue,
            // The body phase sees no head, so what it may have to answer is made here.
            BodyLen::Chunked | BodyLen::UntilClose => {
                phase.scratch.body_too_large = Some(Box::new(refusal(phase)));
                Verdict::Continue
            }
        }
    }

    pub(crate) fn request_body(&self, phase: &mut BodyPhase<'_, Filter>) -> BodyVerdict {
        if phase.passed.saturating_add(phase.piece.len() as u64) <= self.max {
            return BodyVerdict::Continue;
        }
        BodyVerdict::Refuse(phase.scratch.body_too_large.take().unwrap_or_default())
    }

    pub(crate) fn describe(&self) -> String {
        format!("body_limit: at most {} bytes", self.max)
    }
}

fn refusal(phase: &RequestPhase<'_, Filter>) -> Answer {
    let id = phase.attributes.request_id.as_bytes();
    Answer {
        code: Fault::BodyTooLarge.row().code,
        ..answer::of_fault(Fault::BodyTooLarge, phase.head, id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};

    const FILTER: Filter = Filter::BodyLimit(BodyLimit { max: 1024 });

    fn of_length(framing: BodyLen) -> Verdict {
        let mut exchange = Exchange::default();
        exchange.head.framing = framing;
        exchange.request_head(&FILTER)
    }

    #[test]
    fn a_known_length_is_judged_before_the_body_comes() {
        assert!(passes(&of_length(BodyLen::Length(1024))));
        assert!(passes(&of_length(BodyLen::None)));
        let Verdict::Respond(answer) = of_length(BodyLen::Length(1025)) else {
            panic!("a byte too many passed")
        };
        assert_eq!((answer.status, answer.code), (413, "body_too_large"));
        assert!(answer.body.starts_with(b"{\"status\":413"));
    }

    #[test]
    fn an_unknown_length_is_judged_as_it_passes() {
        let mut exchange = Exchange::default();
        exchange.head.framing = BodyLen::Chunked;
        exchange.attributes.request_id.set(b"id-7");
        assert!(passes(&exchange.request_head(&FILTER)));
        assert!(matches!(
            exchange.request_body(&FILTER, &[b'x'; 24], 1000),
            BodyVerdict::Continue
        ));
        let verdict = exchange.request_body(&FILTER, b"x", 1024);
        let BodyVerdict::Refuse(answer) = verdict else {
            panic!("a byte too many passed")
        };
        assert_eq!((answer.status, answer.code), (413, "body_too_large"));
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(body.contains("\"request_id\":\"id-7\""), "{body}");
    }

    #[test]
    fn no_body_at_all_can_be_asked_for() {
        let none = Filter::BodyLimit(BodyLimit { max: 0 });
        let mut exchange = Exchange::default();
        exchange.head.framing = BodyLen::Length(0);
        assert!(passes(&exchange.request_head(&none)));
        exchange.head.framing = BodyLen::Length(1);
        assert!(!passes(&exchange.request_head(&none)));
    }
}
