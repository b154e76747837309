//! A stream of an HTTP/2 connection, with the deadlines of a socket: receiving, sending, and
//! being cut mean for it what they mean for a connection.
//!
//! The peer may send only as much as was passed on: what a receive hands out is credited when
//! the next one is asked for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::chunk::Chunk;
use super::count::Open;
use crate::block::{Block, BlockClass};
use crate::link::Ends;
use crate::rt::CHUNK_TAILROOM;
use crate::rt::wheel::{Due, Ticks, Timer};

/// One exchange's stream.
pub(crate) struct Stream {
    recv_timer: Timer,
    send_timer: Timer,
    cut: Cell<Cut>,
    incoming: RefCell<Incoming>,
    outgoing: RefCell<Outgoing>,
    response: RefCell<Option<ResponseFuture>>,
    open: Open,
}

/// What was ended from here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    No,
    Read,
    Both,
}

#[derive(Default)]
struct Incoming {
    body: Option<RecvStream>,
    /// Bytes that were handed out and are not credited to the peer yet.
    lent: usize,
    /// What was received and did not fit into a block.
    left: Bytes,
    ended: bool,
    trailers: Option<HeaderMap>,
}

enum Outgoing {
    /// The answer has not begun.
    Answer(SendResponse<Chunk>),
    /// The request has not begun.
    Request(SendRequest<Chunk>),
    /// A body follows.
    Body(SendStream<Chunk>),
    /// It is all said.
    Said,
}

/// A response that came on a stream.
pub(crate) enum Answered {
    /// Another one follows.
    Interim(http::Response<()>),
    /// The one that counts; its body is received from the stream.
    Final(http::Response<()>),
}

impl Stream {
    /// A request that a client has sent.
    pub(super) fn accepted(body: RecvStream, answer: SendResponse<Chunk>, open: Open) -> Stream {
        Stream::new(Some(body), Outgoing::Answer(answer), open)
    }

    /// A request that is going to be sent.
    pub(super) fn request(sender: SendRequest<Chunk>, open: Open) -> Stream {
        Stream::new(None, Outgoing::Request(sender), open)
    }

    fn new(body: Option<RecvStream>, outgoing: Outgoing, open: Open) -> Stream {
        Stream {
            recv_timer: Timer::waking(),
            send_timer: Timer::waking(),
            cut: Cell::new(Cut::No),
            incoming: RefCell::new(Incoming {
                body,
                ..Incoming::default()
            }),
            outgoing: RefCell::new(outgoing),
            response: RefCell::default(),
            open,
        }
    }

    pub(crate) fn recv_timer(&self) -> &Timer {
        &self.recv_timer
    }

    pub(crate) fn disarm(&self) {
        self.recv_timer.disarm();
        self.send_timer.disarm();
    }

    /// Whether the origin takes extended CONNECT (RFC 8441).
    pub(crate) fn takes_tunnels(&self) -> bool {
        match &*self.outgoing.borrow() {
            Outgoing::Request(sender) => sender.is_extended_connect_protocol_enabled(),
            _ => false,
        }
    }

    /// Whether receiving was ended from here.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get() != Cut::No || self.recv_timer.has_cut() || self.send_timer.has_cut()
    }

    fn is_cut_for_sending(&self) -> bool {
        let by_timer = match &*self.outgoing.borrow() {
            // An origin that does not answer in time is given up altogether; a client that
            // does not send gets an answer.
            Outgoing::Answer(_) => false,
            _ => self.response.borrow().is_some() && self.recv_timer.has_cut(),
        };
        self.cut.get() == Cut::Both || by_timer || self.send_timer.has_cut()
    }

    pub(crate) fn shutdown(&self, how: Shutdown) {
        match how {
            Shutdown::Read if self.cut.get() == Cut::No => self.cut.set(Cut::Read),
            Shutdown::Both => self.cut.set(Cut::Both),
            _ => {}
        }
        // Another direction of the same task may wait here, and have had its turn already.
        self.recv_timer.rouse();
        self.send_timer.rouse();
    }

    /// Tells the peer that the exchange has failed, so that it takes nothing for whole.
    pub(crate) fn reset(&self, reason: Reason) {
        match &mut *self.outgoing.borrow_mut() {
            Outgoing::Answer(answer) => answer.send_reset(reason),
            Outgoing::Body(body) => body.send_reset(reason),
            Outgoing::Request(_) | Outgoing::Said => {}
        }
    }

    /// Receives what there is of the body; `Ok(0)` is its end.
    pub(crate) async fn recv(&self, class: BlockClass) -> (io::Result<usize>, Block) {
        poll_fn(|cx| {
            if self.is_cut() {
                return Poll::Ready((Ok(0), Block::empty()));
            }
            let polled = self.poll_recv(class, cx);
            if polled.is_pending() {
                self.recv_timer.wakes(cx.waker());
            }
            polled.map(|received| match received {
                Ok(block) => (Ok(block.len()), block),
                Err(error) => (Err(io::Error::other(error)), Block::empty()),
            })
        })
        .await
    }

    /// What is there already; nothing at the end of the body.
    pub(crate) fn recv_ready(&self, class: BlockClass) -> Option<Block> {
        if self.is_cut() || self.has_ended() {
            return None;
        }
        match self.poll_recv(class, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(block)) if !block.is_empty() => Some(block),
            // An error is met again by whoever waits.
            _ => None,
        }
    }

    fn poll_recv(&self, class: BlockClass, cx: &mut Context<'_>) -> Poll<Result<Block, h2::Error>> {
        let incoming = &mut *self.incoming.borrow_mut();
        incoming.credit()?;
        let mut block = Block::empty();
        loop {
            if !incoming.left.is_empty() {
                block = match block.is_empty() {
                    true => Block::new(class.max(fitting(incoming.left.len()))),
                    false => block,
                };
                let room = block.tailroom().saturating_sub(CHUNK_TAILROOM);
                let piece = incoming.left.split_to(room.min(incoming.left.len()));
                incoming.lent += block.append(&piece);
                if !incoming.left.is_empty() {
                    return Poll::Ready(Ok(block));
                }
            }
            match incoming.poll_more(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(block)),
                Poll::Ready(Err(error)) if block.is_empty() => return Poll::Ready(Err(error)),
                Poll::Pending if block.is_empty() => return Poll::Pending,
                // What has come goes on first.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Ready(Ok(block)),
            }
        }
    }

    /// Whether everything of the body was handed out.
    pub(crate) fn has_ended(&self) -> bool {
        let incoming = self.incoming.borrow();
        let at_end = |body: &RecvStream| incoming.left.is_empty() && body.is_end_stream();
        incoming.ended || incoming.body.as_ref().is_some_and(at_end)
    }

    /// The trailers, once the body has ended.
    pub(crate) fn take_trailers(&self) -> Option<HeaderMap> {
        self.incoming.borrow_mut().trailers.take()
    }

    /// Sends the head of a response.
    ///
    /// # Errors
    /// When the peer has given the stream up.
    pub(crate) fn send_response(&self, head: http::Response<()>, ends: Ends) -> io::Result<()> {
        let mut outgoing = self.outgoing.borrow_mut();
        let Outgoing::Answer(answer) = &mut *outgoing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sent = answer.send_response(head, ends == Ends::Message);
        let body = sent.map_err(io::Error::other)?;
        *outgoing = match ends {
            Ends::Message => Outgoing::Said,
            Ends::Nothing => Outgoing::Body(body),
        };
        Ok(())
    }

    /// Sends an interim response.
    ///
    /// # Errors
    /// As [`Stream::send_response`].
    pub(crate) fn send_interim(&self, head: http::Response<()>) -> io::Result<()> {
        match &mut *self.outgoing.borrow_mut() {
            Outgoing::Answer(answer) => answer.send_informational(head).map_err(io::Error::other),
            _ => Ok(()),
        }
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// When the connection takes no more requests.
    pub(crate) fn send_request(&self, head: http::Request<()>, ends: Ends) -> io::Result<()> {
        let mut outgoing = self.outgoing.borrow_mut();
        let Outgoing::Request(sender) = &mut *outgoing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sent = sender.send_request(head, ends == Ends::Message);
        let (response, body) = sent.map_err(io::Error::other)?;
        *self.response.borrow_mut() = Some(response);
        *outgoing = match ends {
            Ends::Message => Outgoing::Said,
            Ends::Nothing => Outgoing::Body(body),
        };
        Ok(())
    }

    /// Waits for the next response head. Cut short by the deadline of receiving: then it is no
    /// head, as the timer tells.
    ///
    /// # Errors
    /// When the stream or its connection has failed.
    pub(crate) async fn response(&self) -> Result<Option<Answered>, h2::Error> {
        poll_fn(|cx| {
            if self.is_cut() {
                return Poll::Ready(Ok(None));
            }
            let mut waiting = self.response.borrow_mut();
            let Some(response) = waiting.as_mut() else {
                return Poll::Ready(Ok(None));
            };
            if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
                return Poll::Ready(interim.map(|head| Some(Answered::Interim(head))));
            }
            let Poll::Ready(answered) = std::pin::Pin::new(response).poll(cx) else {
                self.recv_timer.wakes(cx.waker());
                return Poll::Pending;
            };
            let (parts, body) = answered?.into_parts();
            let incoming = &mut *self.incoming.borrow_mut();
            incoming.ended = body.is_end_stream();
            incoming.body = Some(body);
            let head = http::Response::from_parts(parts, ());
            Poll::Ready(Ok(Some(Answered::Final(head))))
        })
        .await
    }

    /// The answer has not come in time.
    pub(crate) fn waited_in_vain(&self) {
        self.open.waited_in_vain();
    }

    /// Sends a piece of the body as the peer makes room for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when it makes none for `wait()`, and when it has given the
    /// stream up.
    pub(crate) async fn send(
        &self,
        mut block: Block,
        ends: Ends,
        wait: impl Fn() -> Ticks,
    ) -> io::Result<()> {
        loop {
            let granted = match block.is_empty() {
                true => 0,
                false => self.room_for(block.len(), &wait).await?,
            };
            let whole = granted >= block.len();
            let part = match whole {
                true => std::mem::take(&mut block),
                false => {
                    let part = Block::from_slice(&block[..granted]);
                    block.advance(granted);
                    part
                }
            };
            let last = whole && ends == Ends::Message;
            if !part.is_empty() || last {
                self.put(part, last)?;
            }
            if whole {
                return Ok(());
            }
        }
    }

    fn put(&self, part: Block, last: bool) -> io::Result<()> {
        let mut outgoing = self.outgoing.borrow_mut();
        let Outgoing::Body(body) = &mut *outgoing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sent = body.send_data(Chunk(part), last).map_err(io::Error::other);
        if last {
            *outgoing = Outgoing::Said;
        }
        sent
    }

    /// Sends the trailers, which end the message.
    ///
    /// # Errors
    /// When the peer has given the stream up.
    pub(crate) fn send_trailers(&self, trailers: HeaderMap) -> io::Result<()> {
        let mut outgoing = self.outgoing.borrow_mut();
        let Outgoing::Body(body) = &mut *outgoing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let sent = body.send_trailers(trailers).map_err(io::Error::other);
        *outgoing = Outgoing::Said;
        sent
    }

    /// Waits until the peer takes some bytes, at most `most`; tells how many.
    async fn room_for(&self, most: usize, wait: &impl Fn() -> Ticks) -> io::Result<usize> {
        let mut armed = false;
        let room = poll_fn(|cx| {
            if self.is_cut_for_sending() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let mut outgoing = self.outgoing.borrow_mut();
            let Outgoing::Body(body) = &mut *outgoing else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            body.reserve_capacity(most);
            loop {
                let room = body.capacity();
                if room > 0 {
                    return Poll::Ready(Ok(room.min(most)));
                }
                match body.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(io::Error::other(error)));
                    }
                    Poll::Ready(None) => {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    }
                    Poll::Pending => break,
                }
            }
            if !std::mem::replace(&mut armed, true) {
                self.send_timer.arm(wait(), Due::ShutBoth);
            }
            self.send_timer.wakes(cx.waker());
            Poll::Pending
        })
        .await;
        if armed {
            self.send_timer.disarm();
        }
        room
    }

    /// Ready when the peer has given the stream up.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.outgoing.borrow_mut() {
            Outgoing::Answer(answer) => answer.poll_reset(cx).map(drop),
            Outgoing::Body(body) => body.poll_reset(cx).map(drop),
            Outgoing::Request(_) | Outgoing::Said => Poll::Pending,
        }
    }
}

impl Incoming {
    /// The peer may send as much again as was handed out.
    fn credit(&mut self) -> Result<(), h2::Error> {
        let lent = std::mem::take(&mut self.lent);
        match (&mut self.body, lent) {
            (None, _) | (_, 0) => Ok(()),
            // A stream that has ended needs no credit, its connection does.
            (Some(body), lent) => body.flow_control().release_capacity(lent),
        }
    }

    /// Takes the next bytes into `left`; false at the end, trailers included.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, h2::Error>> {
        let Some(body) = self.body.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(Ok(false));
        };
        match body.poll_data(cx) {
            Poll::Ready(Some(data)) => {
                self.left = data?;
                Poll::Ready(Ok(true))
            }
            Poll::Ready(None) => match body.poll_trailers(cx) {
                Poll::Ready(trailers) => {
                    self.trailers = trailers?;
                    self.ended = true;
                    Poll::Ready(Ok(false))
                }
                Poll::Pending => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What was received and not handed out is the connection's again.
        let incoming = self.incoming.get_mut();
        incoming.lent += incoming.left.len();
        let _ = incoming.credit();
    }
}

fn fitting(len: usize) -> BlockClass {
    BlockClass::fitting(len + CHUNK_TAILROOM).unwrap_or(BlockClass::Large)
}
