//! A client's HTTP/2 connection: accepts its streams, bounds what it may ask for, and sees it
//! to its end.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::server::{Builder, Connection as Streams, SendResponse};
use h2::{Reason, RecvStream};

use super::channel::{Channel, Sending};
use super::chunk::Chunk;
use super::count::{Count, Open};
use super::stream::Stream;
use super::{FRAME_MAX, SEND_BUFFER_MAX};
use crate::answer;
use crate::block::Block;
use crate::chain::Filter;
use crate::client::{Client, Close, Loan, Next};
use crate::connection::{Connection, DRAIN_GRACE};
use crate::error::Fault;
use crate::exchange::Parsed;
use crate::halves::Deadline;
use crate::http::h2::{End, Flood, Guard, Role, list_size_max, read_request};
use crate::link::Link;
use crate::rt;
use crate::rt::clock::Stamp;
use crate::rt::wheel::{self, Due, Ticks, Timer};
use crate::snapshot::Http2Limits;
use crate::worker::Worker;

/// How long a client may take to leave once nothing more is served.
const GOODBYE: Ticks = Ticks(20);

/// Serves a connection that speaks HTTP/2 to its end.
pub(crate) async fn serve<F: Filter>(connection: Connection<F>) {
    let Connection {
        mut client,
        place,
        ahead,
        ..
    } = connection;
    let installed = client.worker.installed();
    // A reload may have moved the listener meanwhile.
    client.refresh(&installed);
    let listener = installed.snapshot.listeners.get(client.listener);
    let limits = listener.map_or_else(Http2Limits::default, |listener| listener.http2);
    drop(installed);
    let guard = Guard::new(&limits, Role::Server);
    let wire = Rc::clone(&client.wire);
    let received = ahead.unwrap_or_default();
    let channel = Channel::new(wire, received, Some(guard), client.limits.send_timeout);
    let mut served = Served {
        sending: channel.sending(),
        written: 0,
        late: Deadline::default(),
        flooded: channel.flooded(),
        open: Rc::default(),
        timer: Timer::waking(),
        until: Deadline::default(),
        stage: Stage::Opening,
        client,
    };
    place.drains_by(served.timer.id());
    served.wait_for_first();
    let shaken = builder(&limits, &served.client).handshake::<_, Chunk>(channel);
    if let Some(streams) = served.until_open(shaken).await {
        served.run(streams).await;
    }
    // A worker that ends waits for its connections, and so for the last words of each.
    served.sending.ended().await;
    drop(place);
}

fn builder<F: Filter>(limits: &Http2Limits, client: &Client<F>) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.streams_max)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(FRAME_MAX)
        .max_header_list_size(list_size_max(&client.limits.head))
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .data_frame_budget(limits.connection_window as usize * SMALL_FRAMES_SHARE)
        .max_concurrent_reset_streams(RESETS_KEPT_MAX)
        .max_pending_accept_reset_streams(limits.resets_max as usize)
        .max_local_error_reset_streams(Some(limits.resets_max as usize))
        .enable_connect_protocol();
    builder
}

/// Streams that were reset from here and of which frames may still be under way.
const RESETS_KEPT_MAX: usize = 64;
/// Overhead of small frames that wait to be read, in windows of the connection: messages of a
/// few bytes each may wait for a slow origin.
const SMALL_FRAMES_SHARE: usize = 8;

/// A connection as its driver knows it.
struct Served<F: Filter> {
    client: Client<F>,
    flooded: Rc<Cell<Option<Flood>>>,
    sending: Sending,
    /// Bytes that were written when somebody last looked.
    written: usize,
    /// Streams open.
    open: Rc<Count>,
    /// Of whatever is waited for: the preface, a stream, the client's leaving. A drain and a
    /// reload fire it.
    timer: Timer,
    /// When that has taken too long.
    until: Deadline,
    /// Until when a client that was asked to leave may begin streams: it may not know yet.
    late: Deadline,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No request has come yet.
    Opening,
    /// Streams are open.
    Busy,
    /// None is.
    Idle,
    /// The client has been asked to leave.
    Leaving,
    /// It was told that it is not wanted any more.
    Refused,
}

/// What a driver waits for.
#[allow(
    clippy::large_enum_variant,
    reason = "made, handed over and gone within one turn"
)]
enum Event {
    Request(http::Request<RecvStream>, SendResponse<Chunk>),
    Over(Result<(), h2::Error>),
}

type Driven = Streams<Channel, Chunk>;

impl<F: Filter> Served<F> {
    /// Waits for the client's preface.
    async fn until_open(
        &mut self,
        shaken: impl Future<Output = Result<Driven, h2::Error>>,
    ) -> Option<Driven> {
        let mut shaken = std::pin::pin!(shaken);
        let opened = poll_fn(|cx| {
            self.timer.wakes(cx.waker());
            if self.timer.take_fired() {
                if self.until.has_passed() {
                    return Poll::Ready(None);
                }
                self.wait_for_first();
            }
            shaken.as_mut().poll(cx).map(Some)
        })
        .await;
        match opened {
            Some(Ok(streams)) => Some(streams),
            // Nobody was served, so nobody misses anything.
            Some(Err(error)) if error.is_io() => None,
            Some(Err(error)) => {
                self.book(&error);
                None
            }
            None => {
                self.client.wire.shutdown(std::net::Shutdown::Both);
                None
            }
        }
    }

    async fn run(&mut self, mut streams: Driven) {
        // A drain may have come before there was anything to tell.
        if !self.is_wanted() {
            self.leave(&mut streams);
        }
        loop {
            let event = poll_fn(|cx| self.poll_event(&mut streams, cx)).await;
            let (request, answer) = match event {
                Event::Request(request, answer) => (request, answer),
                Event::Over(outcome) => {
                    if let Some(flood) = self.flooded.get() {
                        self.client.book(Fault::Http2Flood, &flood.to_string());
                    } else if let Err(error) = outcome {
                        self.book(&error);
                    }
                    return;
                }
            };
            self.begin(request, answer);
            if self.client.served >= self.client.limits.requests_per_connection_max {
                self.leave(&mut streams);
            }
        }
    }

    fn poll_event(&mut self, streams: &mut Driven, cx: &mut Context<'_>) -> Poll<Event> {
        self.timer.wakes(cx.waker());
        if self.timer.take_fired() && self.on_timer(streams) == Next::Close {
            return Poll::Ready(Event::Over(Ok(())));
        }
        match streams.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, answer)))) => {
                return Poll::Ready(Event::Request(request, answer));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Over(Err(error))),
            Poll::Ready(None) => return Poll::Ready(Event::Over(Ok(()))),
            Poll::Pending => {}
        }
        if self.flooded.get().is_some() && self.stage != Stage::Refused {
            self.stage = Stage::Refused;
            self.wait(GOODBYE);
            streams.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return self.poll_event(streams, cx);
        }
        match (self.stage, self.open.open()) {
            (Stage::Busy, 0) if !self.is_wanted() => {
                self.leave(streams);
                return self.poll_event(streams, cx);
            }
            (Stage::Busy, 0) => {
                self.stage = Stage::Idle;
                self.wait(self.client.limits.idle_timeout);
            }
            (Stage::Leaving, 0) if !self.until.is_set() => self.wait_for_leave(streams),
            (Stage::Busy | Stage::Leaving, 1..) => self.open.wakes_when_idle(cx.waker()),
            _ => {}
        }
        Poll::Pending
    }

    /// A deadline has passed, or a drain or a reload wants a look. Tells whether the connection
    /// goes on.
    fn on_timer(&mut self, streams: &mut Driven) -> Next {
        let wanted = self.is_wanted();
        let over = self.until.has_passed();
        match self.stage {
            Stage::Leaving if over && streams.has_streams() && self.has_written() => {
                self.wait_for_leave(streams);
            }
            Stage::Refused | Stage::Leaving if over => return Next::Close,
            Stage::Opening | Stage::Idle | Stage::Busy if over || !wanted => self.leave(streams),
            // It was only a look.
            _ => self.wait_on(),
        }
        Next::KeepAlive
    }

    /// Whether its client may go on asking.
    fn is_wanted(&self) -> bool {
        !self.client.worker.is_draining() && self.client.acceptor.index().is_some()
    }

    /// Waits for the preface, which is probably on its way where a drain waits as well.
    fn wait_for_first(&mut self) {
        let mut until = Deadline::after(self.client.limits.header_timeout);
        if self.client.worker.is_draining() {
            until = until.or_before(Deadline::after(DRAIN_GRACE));
        }
        self.until = match self.until.is_set() {
            true => self.until.or_before(until),
            false => until,
        };
        self.wait_on();
    }

    /// Waits so long from now.
    fn wait(&mut self, span: Ticks) {
        self.until = Deadline::after(span);
        self.timer.arm(span, Due::ShutBoth);
    }

    /// Waits on for what is left.
    fn wait_on(&self) {
        self.timer
            .arm(self.until.within(Ticks::NEVER), Due::ShutBoth);
    }

    fn wait_no_more(&mut self) {
        self.until = Deadline::default();
        self.timer.disarm();
    }

    /// Waits for the client to leave; one that is slow has the end of its answers first.
    fn wait_for_leave(&mut self, streams: &Driven) {
        self.written = self.sending.written();
        self.wait(match streams.has_streams() {
            true => self.client.limits.send_timeout,
            false => GOODBYE,
        });
    }

    /// Whether the client has taken something since somebody last looked.
    fn has_written(&self) -> bool {
        self.sending.written() != self.written
    }

    /// Asks the client to open no more streams (RFC 9113, 6.8).
    fn leave(&mut self, streams: &mut Driven) {
        if matches!(self.stage, Stage::Leaving | Stage::Refused) {
            return;
        }
        self.stage = Stage::Leaving;
        self.late = Deadline::after(GOODBYE);
        match self.open.open() {
            0 => self.wait_for_leave(streams),
            _ => self.wait_no_more(),
        }
        streams.graceful_shutdown();
    }

    /// Begins a request in a task of its own.
    fn begin(&mut self, request: http::Request<RecvStream>, mut answer: SendResponse<Chunk>) {
        if self.stage == Stage::Leaving && self.late.has_passed() {
            return answer.send_reset(Reason::REFUSED_STREAM);
        }
        if matches!(self.stage, Stage::Opening | Stage::Idle) {
            self.stage = Stage::Busy;
        }
        if self.stage != Stage::Refused {
            self.wait_no_more();
        }
        let installed = self.client.worker.installed();
        self.client.refresh(&installed);
        self.client.served = self.client.served.saturating_add(1);
        let (parts, body) = request.into_parts();
        let end = match body.is_end_stream() {
            true => End::Ended,
            false => End::Follows,
        };
        let stream = Stream::accepted(body, answer, Open::new(&self.open));
        let client = self.client.on(Link::Http2(Box::new(stream)));
        let worker = Rc::clone(&client.worker);
        let serving = rt::pooled(|| serve_stream(client, parts, end));
        rt::spawn(rt::isolate(serving, move || {
            worker.stats().panics.add(1);
            worker.stats().faults.fault(Fault::Internal);
        }));
    }

    fn book(&self, error: &h2::Error) {
        if error.is_io() {
            return;
        }
        let fault = match error.reason() {
            // The client's own goodbye.
            _ if error.is_remote() => return,
            Some(Reason::ENHANCE_YOUR_CALM) => Fault::Http2Flood,
            _ => Fault::Http2Protocol,
        };
        self.client.book(fault, &error.to_string());
    }
}

async fn serve_stream<F: Filter>(mut client: Client<F>, parts: http::request::Parts, end: End) {
    let began = wheel::now();
    let worker = Rc::clone(&client.worker);
    let _counted = Counted::new(&worker);
    let mut exchange = Loan::new(&worker);
    exchange.account.began = Stamp::now();
    let installed = worker.installed();
    client.refresh(&installed);
    let protocol = parts.extensions.get::<h2::ext::Protocol>();
    let protocol = protocol.map(h2::ext::Protocol::as_str);
    let limits = client.limits.head;
    let read = read_request(&parts, protocol, end, &limits, &mut exchange.request);
    exchange.account.head_at = Stamp::now();
    match read {
        Ok(()) => {
            exchange.account.parsed = Parsed::Yes;
            exchange.began = began;
            worker.stats().requests.add(1);
            client.exchange(&installed, &mut exchange, None).await;
        }
        Err(error) => {
            exchange.request.clear();
            let line = format!("{} {}", parts.method, parts.uri);
            let line = Block::from_slice(line.as_bytes());
            exchange.request.fields.put_text(line);
            let fault = Fault::RequestHead(error);
            exchange.note(fault);
            client.identify_refused(&installed, &mut exchange);
            answer::fault(&client, &installed, &mut exchange, fault, Close::Yes).await;
        }
    }
    // An answer that was cut must not look whole.
    if let (Some(_), Link::Http2(stream)) = (exchange.account.fault, &client.link) {
        stream.reset(Reason::INTERNAL_ERROR);
    }
    exchange.settle(&worker, &installed);
}

/// A stream in its worker's gauge.
struct Counted<F: Filter>(Rc<Worker<F>>);

impl<F: Filter> Counted<F> {
    fn new(worker: &Rc<Worker<F>>) -> Counted<F> {
        worker.stats().streams.add(1);
        Counted(Rc::clone(worker))
    }
}

impl<F: Filter> Drop for Counted<F> {
    fn drop(&mut self) {
        self.0.stats().streams.sub(1);
    }
}
