//! An origin's HTTP/2 connection: opened once, then shared by the requests of its core.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use h2::client::{Builder, SendRequest};

use super::channel::Channel;
use super::chunk::Chunk;
use super::count::{Count, Open};
use super::stream::Stream;
use super::{FRAME_MAX, SEND_BUFFER_MAX};
use crate::block::Block;
use crate::http::h2::{Guard, Role};
use crate::rt;
use crate::rt::wheel::{self, Ticks, Timer};
use crate::snapshot::{Http2Limits, UpstreamHttp2};
use crate::wire::Wire;

/// A connection that carries many requests at a time.
pub(crate) struct Multiplexed {
    sender: RefCell<SendRequest<Chunk>>,
    /// Streams open.
    open: Rc<Count>,
    over: Rc<Cell<bool>>,
    /// The tick at which the origin was last heard.
    heard: Rc<Cell<Option<u32>>>,
    /// The tick of its last request.
    last: Cell<u32>,
}

impl Multiplexed {
    /// Streams open.
    pub(crate) fn open(&self) -> u32 {
        self.open.open()
    }

    /// Whether it takes another request now.
    pub(crate) fn has_room(&self, most: u32) -> bool {
        let peers = self.sender.borrow().current_max_send_streams();
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        self.open.open() < most.min(peers)
    }

    /// Whether it takes no request any more, though streams may still be open: it has ended, the
    /// origin has said that it will, or has not been heard since a request that it owed an
    /// answer. Nothing else would tell of one that vanished for as long as TCP tries.
    pub(crate) fn is_over(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.over.get()
            || self.open.waited_since(self.heard.get().unwrap_or(0))
            || matches!(
                self.sender.borrow_mut().poll_ready(&mut context),
                Poll::Ready(Err(_))
            )
    }

    /// Whether it has had no request for so long.
    pub(crate) fn has_idled(&self, timeout: Ticks) -> bool {
        let idle = wheel::now().wrapping_sub(self.last.get());
        self.open.open() == 0 && timeout != Ticks::NEVER && idle > timeout.0
    }

    /// A stream for one request.
    pub(crate) fn stream(&self) -> Stream {
        self.last.set(wheel::now());
        Stream::request(self.sender.borrow().clone(), Open::new(&self.open))
    }
}

/// Begins HTTP/2 on a fresh connection, and drives it in a task of its own until both sides
/// are done with it. It is of use once the origin's settings have come: how many streams it
/// takes, and whether it takes tunnels.
///
/// # Errors
/// When the origin does not say them until `deadline` fires, or goes.
pub(crate) async fn connect(
    wire: Wire,
    limits: &UpstreamHttp2,
    send_timeout: Ticks,
    deadline: &Timer,
) -> io::Result<Multiplexed> {
    let guard = Guard::new(&Http2Limits::default(), Role::Client);
    let channel = Channel::new(Rc::new(wire), Block::empty(), Some(guard), send_timeout);
    let (flooded, heard) = (channel.flooded(), channel.heard());
    let last_heard = Rc::clone(&heard);
    let begun = Builder::new()
        .enable_push(false)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(FRAME_MAX)
        .max_header_list_size(HEADER_LIST_MAX)
        .max_send_buffer_size(SEND_BUFFER_MAX)
        .max_concurrent_reset_streams(RESETS_KEPT_MAX)
        // What still comes on streams that our clients have given up must not end those of the
        // others, nor what waits for a slow client in many small frames.
        .max_local_error_reset_streams(None)
        .data_frame_budget(limits.connection_window as usize * SMALL_FRAMES_SHARE)
        .initial_max_send_streams(limits.streams_max as usize)
        .handshake::<_, Chunk>(channel)
        .await;
    let (sender, connection) = begun.map_err(io::Error::other)?;
    let over = Rc::new(Cell::new(false));
    let greeting = Rc::new(Greeting::default());
    let (ended, greeted) = (Rc::clone(&over), Rc::clone(&greeting));
    rt::spawn(async move {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            // What was read has been understood as well.
            if heard.get().is_some() {
                greeted.say();
            }
            match flooded.get() {
                // Its streams end with it.
                Some(_) => Poll::Ready(()),
                None => polled.map(drop),
            }
        })
        .await;
        ended.set(true);
        greeted.say();
    });
    greeting.wait(deadline).await?;
    let connection = Multiplexed {
        sender: RefCell::new(sender),
        open: Rc::default(),
        over,
        heard: last_heard,
        last: Cell::new(wheel::now()),
    };
    // What it said first may have been no HTTP/2, or a goodbye.
    match connection.is_over() {
        true => Err(io::ErrorKind::ConnectionAborted.into()),
        false => Ok(connection),
    }
}

/// The origin's first word.
#[derive(Default)]
struct Greeting {
    said: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Greeting {
    fn say(&self) {
        if !self.said.replace(true)
            && let Some(waiting) = self.waiting.take()
        {
            waiting.wake();
        }
    }

    async fn wait(&self, deadline: &Timer) -> io::Result<()> {
        poll_fn(|cx| {
            if self.said.get() {
                return Poll::Ready(Ok(()));
            }
            deadline.wakes(cx.waker());
            if deadline.take_fired() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.waiting.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }
}

/// Streams that were reset from here and of which frames may still be under way.
const RESETS_KEPT_MAX: usize = 1024;
/// Overhead of small frames that wait to be read, in windows of the connection: an origin may
/// fill the window with messages of a few bytes each.
const SMALL_FRAMES_SHARE: usize = 32;
/// Bytes of a response's header list.
const HEADER_LIST_MAX: u32 = 64 << 10;
