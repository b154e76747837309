//! Clients that leave while they wait. Who waits for a place, a pause or the faster of two
//! answers has no receive under way that would end with the client's connection: it is looked at
//! now and then instead, and the wait is given up.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use crate::chain::Filter;
use crate::client::Client;
use crate::error::Fault;
use crate::http::RequestHead;
use crate::link::Link;
use crate::rt::wheel::{Due, Gone, Ticks, Timer, TimerId};
use crate::snapshot::HalfClose;
use crate::wire::Wire;

/// Ticks until the first look at a client that waits.
const WATCH_EVERY: Ticks = Ticks(3);

impl<F: Filter> Client<F> {
    /// Waits for `waiting` as long as the client does. What is ready at once costs nothing. Nobody
    /// may receive from the client meanwhile.
    ///
    /// # Errors
    /// [`Fault::ClientClosed`] when it has gone; `waiting` is dropped.
    pub(crate) async fn unless_gone<T>(
        &self,
        request: &RequestHead,
        waiting: impl Future<Output = T>,
    ) -> Result<T, Fault> {
        let mut waiting = pin!(waiting);
        let mut watch = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let gone = match &self.link {
                Link::Http1(wire) => {
                    let begin = || Watch::begin(wire, self.departure(wire, request));
                    watch.get_or_insert_with(begin).poll(cx)
                }
                Link::Http2(stream) => stream.poll_gone(cx),
            };
            gone.map(|()| Err(Fault::ClientClosed))
        })
        .await
    }

    /// Has `other` cut when the client goes, which only waits for its answer.
    pub(crate) fn watch(&self, wire: &Wire, other: TimerId) {
        let gone = match self.half_close {
            HalfClose::Abort => wire.end_looks(),
            HalfClose::Allow => Gone::Reset,
        };
        look_after(wire, other, gone);
    }

    /// What a client looks like that goes while its request is held.
    fn departure(&self, wire: &Wire, request: &RequestHead) -> Gone {
        match self.half_close {
            HalfClose::Allow => Gone::Reset,
            // What it has sent of its body may lie in front of its end, unread.
            HalfClose::Abort if !request.framing.is_empty() => Gone::HungUp,
            HalfClose::Abort => wire.end_looks(),
        }
    }
}

fn look_after(client: &Wire, other: TimerId, gone: Gone) {
    if client.is_cut() {
        return;
    }
    let watch = Due::Watch {
        other,
        every: WATCH_EVERY,
        gone,
    };
    client.recv_timer().arm(WATCH_EVERY, watch);
}

/// A client under watch, until this is dropped.
struct Watch<'w> {
    client: &'w Wire,
    /// What the watch cuts: it wakes the task that waits.
    cut: Timer,
}

impl<'w> Watch<'w> {
    fn begin(client: &'w Wire, gone: Gone) -> Watch<'w> {
        let cut = Timer::waking();
        look_after(client, cut.id(), gone);
        Watch { client, cut }
    }

    /// Ready when the client has gone.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.cut.has_cut() {
            return Poll::Ready(());
        }
        self.cut.wakes(cx.waker());
        Poll::Pending
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // Whoever arms it next asks whether its own deadline has passed.
        self.client.recv_timer().end();
    }
}
