//! Whether a request may be sent once more: the rules, without the state.
//!
//! A proxy must not repeat a request by itself that may have been acted on, unless that is known
//! to do no harm (RFC 9110, 9.2.2): the method is idempotent, the configuration says so of it,
//! or the client has sent an `Idempotency-Key`. What surely did not reach the origin may be sent
//! again whatever it is.

use crate::error::{Fault, Retry};
use crate::http::Method;
use crate::policy;

/// A request that has had an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Retries so far.
    pub retries: u8,
    /// How the last attempt ended.
    pub ended: Ended,
    /// Its method.
    pub method: Method,
    /// The method as text, for those that have no name here.
    pub method_name: &'a str,
    /// Whether the client has made it repeatable.
    pub key: Idempotency,
    /// Whether its body can be sent again.
    pub body: Replay,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Without an answer.
    Fault(Fault),
    /// With an answer of this status, of which nothing has been passed on.
    Status(u16),
    /// With a gRPC status in a response head without messages.
    Grpc(u16),
}

/// Whether a request has an `Idempotency-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// It has none.
    None,
    /// It has one.
    Key,
}

/// Whether a request's body can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// There is none, or all of it that was read is kept.
    Whole,
    /// Some of it is gone.
    Gone,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There were as many as may be.
    Attempts,
    /// What happened is not retried.
    Condition,
    /// It may have been acted on, and doing it twice may do harm.
    Method,
    /// Its body is gone.
    Body,
    /// The retry budget is spent.
    Budget,
    /// There is no time left.
    Deadline,
}

impl Refusal {
    /// The name in pages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Attempts => "attempts",
            Refusal::Condition => "condition",
            Refusal::Method => "method",
            Refusal::Body => "body",
            Refusal::Budget => "budget",
            Refusal::Deadline => "deadline",
        }
    }
}

/// Whether another attempt may follow. Budget and deadline are for the caller, who has them.
///
/// # Errors
/// The first rule that forbids it.
pub fn decide(spec: &policy::Retry, ask: &Ask<'_>) -> Result<(), Refusal> {
    if !is_listed(&spec.on, ask.ended) {
        return Err(Refusal::Condition);
    }
    if ask.retries >= spec.attempts {
        return Err(Refusal::Attempts);
    }
    let after = match ask.ended {
        Ended::Fault(fault) => fault.row().retry,
        Ended::Status(_) | Ended::Grpc(_) => Retry::Idempotent,
    };
    match after {
        Retry::Never => return Err(Refusal::Condition),
        Retry::Unsent => {}
        Retry::Idempotent => {
            may_repeat(spec, ask.method, ask.method_name, ask.key)?;
        }
    }
    match ask.body {
        Replay::Whole => Ok(()),
        Replay::Gone => Err(Refusal::Body),
    }
}

/// Whether a second attempt may start beside the first one. Both may be acted on.
///
/// # Errors
/// The first rule that forbids it.
pub fn may_hedge(
    spec: &policy::Retry,
    method: Method,
    method_name: &str,
    key: Idempotency,
    body: Replay,
) -> Result<(), Refusal> {
    if spec.hedge.is_none() {
        return Err(Refusal::Condition);
    }
    may_repeat(spec, method, method_name, key)?;
    match body {
        Replay::Whole => Ok(()),
        Replay::Gone => Err(Refusal::Body),
    }
}

fn may_repeat(
    spec: &policy::Retry,
    method: Method,
    method_name: &str,
    key: Idempotency,
) -> Result<(), Refusal> {
    let name = match method {
        Method::Extension => method_name,
        known => known.name(),
    };
    let listed = || spec.methods.iter().any(|listed| **listed == *name);
    match key == Idempotency::Key || method.is_idempotent() || listed() {
        true => Ok(()),
        false => Err(Refusal::Method),
    }
}

fn is_listed(on: &policy::RetryOn, ended: Ended) -> bool {
    match ended {
        Ended::Status(status) => on.statuses.contains(&status),
        Ended::Grpc(status) => on.grpc.contains(&status),
        Ended::Fault(fault) => match fault {
            Fault::ConnectFailed | Fault::ConnectTimeout | Fault::OriginTls => on.connect,
            Fault::OriginClosed => on.reset,
            Fault::StreamRefused => on.refused_stream,
            Fault::TryTimeout | Fault::ResponseTimeout => on.timeout,
            _ => false,
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::resilience) fn spec() -> policy::Retry {
        policy::Retry {
            attempts: 2,
            on: policy::RetryOn {
                connect: true,
                reset: true,
                refused_stream: true,
                timeout: true,
                statuses: [503].into(),
                grpc: [14].into(),
            },
            try_timeout: Duration::ZERO,
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_secs(1),
            methods: Box::new([]),
            body_max: 0,
            budget: 0.2,
            budget_minimum: 3,
            hedge: None,
        }
    }

    const GET: Ask<'static> = Ask {
        retries: 0,
        ended: Ended::Fault(Fault::OriginClosed),
        method: Method::Get,
        method_name: "GET",
        key: Idempotency::None,
        body: Replay::Whole,
    };
    const POST: Ask<'static> = Ask {
        method: Method::Post,
        method_name: "POST",
        ..GET
    };

    #[test]
    fn only_what_is_listed_is_retried() {
        let all = spec();
        let none = policy::Retry {
            on: policy::RetryOn::default(),
            ..spec()
        };
        let ends = [
            Ended::Fault(Fault::ConnectFailed),
            Ended::Fault(Fault::ConnectTimeout),
            Ended::Fault(Fault::OriginTls),
            Ended::Fault(Fault::OriginClosed),
            Ended::Fault(Fault::StreamRefused),
            Ended::Fault(Fault::TryTimeout),
            Ended::Fault(Fault::ResponseTimeout),
            Ended::Status(503),
            Ended::Grpc(14),
        ];
        for ended in ends {
            let ask = Ask { ended, ..GET };
            assert_eq!(decide(&all, &ask), Ok(()), "{ended:?}");
            assert_eq!(decide(&none, &ask), Err(Refusal::Condition), "{ended:?}");
        }
        let others = [
            Ended::Status(500),
            Ended::Grpc(13),
            Ended::Fault(Fault::ClientClosed),
            Ended::Fault(Fault::OriginUntrusted),
        ];
        for ended in others {
            let ask = Ask { ended, ..GET };
            assert_eq!(decide(&all, &ask), Err(Refusal::Condition), "{ended:?}");
        }
    }

    #[test]
    fn attempts_have_an_end() {
        let ask = Ask { retries: 2, ..GET };
        assert_eq!(decide(&spec(), &ask), Err(Refusal::Attempts));
    }

    #[test]
    fn what_may_have_been_acted_on_is_repeated_if_that_does_no_harm() {
        let spec = spec();
        assert_eq!(decide(&spec, &POST), Err(Refusal::Method));
        let keyed = Ask {
            key: Idempotency::Key,
            ..POST
        };
        assert_eq!(decide(&spec, &keyed), Ok(()));
        let unsent = Ask {
            ended: Ended::Fault(Fault::ConnectFailed),
            ..POST
        };
        assert_eq!(decide(&spec, &unsent), Ok(()));
        let listed = policy::Retry {
            methods: ["POST".into(), "PURGE".into()].into(),
            ..spec.clone()
        };
        assert_eq!(decide(&listed, &POST), Ok(()));
        let purge = Ask {
            method: Method::Extension,
            method_name: "PURGE",
            ..POST
        };
        assert_eq!(decide(&listed, &purge), Ok(()));
        assert_eq!(decide(&spec, &purge), Err(Refusal::Method));
    }

    #[test]
    fn a_body_that_is_gone_is_not_sent_again() {
        let ask = Ask {
            body: Replay::Gone,
            ..GET
        };
        assert_eq!(decide(&spec(), &ask), Err(Refusal::Body));
    }

    #[test]
    fn hedges_keep_the_rules_of_repeating() {
        let hedged = policy::Retry {
            hedge: Some(policy::Hedge {
                after_percentile: 0.95,
                after_minimum: Duration::ZERO,
            }),
            ..spec()
        };
        let hedge = |spec: &policy::Retry, method: Method, body| {
            may_hedge(spec, method, method.name(), Idempotency::None, body)
        };
        let (whole, gone) = (Replay::Whole, Replay::Gone);
        assert_eq!(hedge(&hedged, Method::Get, whole), Ok(()));
        assert_eq!(hedge(&hedged, Method::Get, gone), Err(Refusal::Body));
        assert_eq!(hedge(&hedged, Method::Post, whole), Err(Refusal::Method));
        assert_eq!(hedge(&spec(), Method::Get, whole), Err(Refusal::Condition));
    }
}
