//! How an exchange's request stands, for the response that comes meanwhile: the two
//! directions run in one task and tell each other here.

use std::cell::Cell;

use crate::client::DRAIN_MAX;
use crate::halves::Deadline;
use crate::link::Link;
use crate::rt::wheel::{Due, Ticks};

/// The state of a request on its way to its origin.
#[derive(Debug)]
pub(crate) struct Course {
    request: Cell<Request>,
    response: Cell<Response>,
    /// Until when the response head must have come; none while the request is being sent.
    head_deadline: Cell<Deadline>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// The origin has it all.
    Sent,
    /// A small rest is to come: it can be read and thrown away if nobody wants it.
    Short,
    /// Much or nobody knows how much is to come.
    Long,
    /// The client holds the body back until it reads 100 (Continue).
    Withheld,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Response {
    Awaited,
    Begun,
}

impl Course {
    /// The request has been sent.
    pub(crate) fn sent(response_timeout: Ticks) -> Course {
        Course {
            request: Cell::new(Request::Sent),
            response: Cell::new(Response::Awaited),
            head_deadline: Cell::new(Deadline::after(response_timeout)),
        }
    }

    /// The request is being sent; so many bytes are left, where that is known.
    pub(crate) fn sending(left: Option<u64>, withheld: Withheld) -> Course {
        let request = match (withheld, left) {
            (Withheld::Yes, _) => Request::Withheld,
            (Withheld::No, Some(left)) if left <= DRAIN_MAX => Request::Short,
            (Withheld::No, _) => Request::Long,
        };
        Course {
            request: Cell::new(request),
            response: Cell::new(Response::Awaited),
            head_deadline: Cell::new(Deadline::default()),
        }
    }

    /// The origin is to answer in this time although the request is not through: the client
    /// waits for it.
    pub(crate) fn expect_answer(&self, response_timeout: Ticks) {
        self.head_deadline.set(Deadline::after(response_timeout));
    }

    /// The client was told to go on, or did so by itself.
    pub(crate) fn called_for(&self, origin: &Link, exchange: Deadline) {
        if self.request.get() != Request::Withheld {
            return;
        }
        self.request.set(Request::Long);
        self.head_deadline.set(Deadline::default());
        if self.response.get() == Response::Awaited {
            // A receive with the former deadline may be under way.
            let wait = exchange.within(Ticks::NEVER);
            origin.recv_timer().arm(wait, Due::ShutBoth);
        }
    }

    /// The request's last byte has gone out: from here on the origin has so long to answer.
    pub(crate) fn finished(&self, origin: &Link, response_timeout: Ticks, exchange: Deadline) {
        self.request.set(Request::Sent);
        self.given_up(origin, response_timeout, exchange);
    }

    /// No more of the request goes out, though the client may send on: from here on the
    /// origin has so long to answer.
    pub(crate) fn given_up(&self, origin: &Link, response_timeout: Ticks, exchange: Deadline) {
        if self.response.get() == Response::Awaited {
            self.head_deadline.set(Deadline::after(response_timeout));
            // A receive without this deadline may be under way.
            let wait = exchange.within(response_timeout);
            origin.recv_timer().arm(wait, Due::ShutBoth);
        }
    }

    /// The final response head has come.
    pub(crate) fn answered(&self) {
        self.response.set(Response::Begun);
    }

    pub(crate) fn head_deadline(&self) -> Deadline {
        self.head_deadline.get()
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.request.get() == Request::Sent
    }

    pub(crate) fn is_withheld(&self) -> bool {
        self.request.get() == Request::Withheld
    }

    /// Whether the client's connection can carry another request if the answer begins now.
    pub(crate) fn may_keep_client(&self) -> bool {
        matches!(self.request.get(), Request::Sent | Request::Short)
    }
}

/// Whether the client holds its body back until it reads 100 (Continue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    No,
    Yes,
}
