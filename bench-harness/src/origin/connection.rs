//! One connection of the origin: requests in, responses out, until one side has enough.

use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;

use ringgate_core::block::{Block, BlockClass};
use ringgate_core::http::BodyLen;
use ringgate_core::http::h1::{
    BodyDecoder, BodyState, CONTINUE, HeadError, HeadLimits, Parse, Resume, parse_request,
};
use ringgate_core::rt::Socket;
use ringgate_core::rt::wheel::{Due, Ticks};
use ringgate_core::wire::Wire;

use super::Thread;
use super::answer::{self, Ask, Kind, Length, SMALL, Then};
use super::counts::{Counted, Totals};
use super::http2;
use super::input::Input;
use super::query::{Closing, PIECE_MAX, Plan};
use crate::wire::{self, STUCK_AFTER};

/// Serves an accepted socket to its end. What goes wrong is the client's to notice.
pub async fn serve(socket: Socket, thread: Rc<Thread>) {
    let Ok(wire) = wire::accept(socket, thread.tls.as_ref()).await else {
        return;
    };
    let counted = Counted::enter(thread.counts());
    let mut input = Input::new();
    match has_preface(&wire, &mut input).await {
        Err(_) => return,
        Ok(false) => {}
        Ok(true) => return Box::pin(http2::serve(wire, input.block, counted, &thread)).await,
    }
    let mut connection = Connection {
        counted,
        thread: &thread,
        wire,
        input,
        resume: Resume::default(),
        output: Block::empty(),
        last: None,
    };
    if connection.run().await.is_ok() {
        connection.linger().await;
    }
}

/// Receives until it is clear whether the client begins with the preface of HTTP/2.
async fn has_preface(wire: &Wire, input: &mut Input) -> io::Result<bool> {
    loop {
        let seen = input.block.len().min(PREFACE.len());
        if input.block[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        if input.receive(wire).await? == 0 {
            return Ok(false);
        }
    }
}

struct Connection<'t> {
    counted: Counted<'t>,
    thread: &'t Thread,
    wire: Wire,
    input: Input,
    resume: Resume,
    /// Responses that are not sent yet.
    output: Block,
    /// The last request; the next one is likely to be the same.
    last: Option<Rc<Ask>>,
}

/// The outcome of a step; a break is the end of the connection.
type Step = io::Result<ControlFlow<()>>;
const ON: Step = Ok(ControlFlow::Continue(()));
const END: Step = Ok(ControlFlow::Break(()));

impl Connection<'_> {
    /// Answers until the connection is to be closed in an orderly way.
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.next_ask() {
                Ok(Some(ask)) => {
                    if self.answer(&ask).await?.is_break() {
                        return Ok(());
                    }
                    self.last = Some(ask);
                }
                Ok(None) => {
                    self.flush().await?;
                    if self.input.receive(&self.wire).await? == 0 {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let whole = answer::refusal(error.status(), error.code());
                    self.put(&whole).await?;
                    return self.flush().await;
                }
            }
        }
    }

    /// The next request whose head is whole, taken off the input.
    fn next_ask(&mut self) -> Result<Option<Rc<Ask>>, HeadError> {
        let block = &mut self.input.block;
        if let Some(last) = self.last.take_if(|last| block.starts_with(&last.head)) {
            block.advance(last.head.len());
            return Ok(Some(last));
        }
        let mut head = self.thread.head.borrow_mut();
        head.clear();
        match parse_request(block, &LIMITS, &mut self.resume, &mut head)? {
            Parse::Partial => Ok(None),
            Parse::Complete { head_len } => {
                head.fields.put_text(std::mem::take(block));
                let text = &head.fields.text()[..head_len];
                let ask = Ask::of(&head, text);
                *block = head.fields.take_text();
                block.advance(head_len);
                Ok(Some(Rc::new(ask)))
            }
        }
    }

    async fn answer(&mut self, ask: &Ask) -> Step {
        if !ask.framing.is_empty() && self.drop_body(ask).await?.is_break() {
            return END;
        }
        match &ask.kind {
            Kind::Ready(whole, then) => {
                self.count();
                self.put(whole).await?;
                self.go_on(*then)
            }
            Kind::Planned(plan) => {
                self.count();
                self.follow(ask, plan).await
            }
            Kind::Stats => self.tell_counts(ask).await,
        }
    }

    fn count(&mut self) {
        self.counted.has_asked();
        self.thread.counts().requests.up();
    }

    async fn tell_counts(&mut self, ask: &Ask) -> Step {
        self.counted.has_looked();
        let totals = Totals::of(&self.thread.counts);
        // Three plain numbers: this cannot fail.
        let text = serde_json::to_string(&totals).unwrap_or_default();
        self.put(&ask.stats(&text)).await?;
        self.go_on(ask.then(&Plan::default()))
    }

    fn go_on(&self, then: Then) -> Step {
        match then {
            Then::Stay => ON,
            Then::Close => END,
        }
    }

    async fn follow(&mut self, ask: &Ask, plan: &Plan) -> Step {
        let delay = plan.delay.sample(&self.thread.dice);
        if !delay.is_zero() || !plan.stall.is_zero() {
            // What was asked before must not wait for it.
            self.flush().await?;
            std::thread::sleep(plan.stall);
            self.thread.timers.sleep(delay).await;
        }
        match plan.closing {
            Closing::Never | Closing::After | Closing::Mid => {}
            Closing::Before => return self.flush().await.and(END),
            Closing::Reset => {
                self.flush().await?;
                self.wire.reset_on_close();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        match plan.failing {
            Some(failing) if self.thread.dice.unit() < failing.ratio => {
                let failed = Plan {
                    status: failing.status,
                    closing: plan.closing,
                    ..Plan::default()
                };
                self.respond(ask, &failed).await
            }
            _ => self.respond(ask, plan).await,
        }
    }

    /// Sends head and body of a planned response.
    async fn respond(&mut self, ask: &Ask, plan: &Plan) -> Step {
        let head = ask.head_of(plan);
        let size = match ask.has_body(plan) {
            true => plan.size.unwrap_or(SMALL.len() as u64),
            false => 0,
        };
        // Half of the body, and never all of it.
        let sent = match plan.closing {
            Closing::Mid => size / 2,
            _ => size,
        };
        match (ask.length_of(plan), plan.piece) {
            (Length::Chunked, Some(piece)) if ask.has_body(plan) => {
                self.put(&head).await?;
                self.put_chunks(sent, piece).await?;
                if plan.closing != Closing::Mid {
                    self.put(LAST_CHUNK).await?;
                }
            }
            _ if plan.size.is_none() => {
                self.put(&head).await?;
                self.put(&SMALL[..sent as usize]).await?;
            }
            _ => self.send_body(head, sent).await?,
        }
        self.go_on(ask.then(plan))
    }

    async fn put_chunks(&mut self, mut left: u64, piece: usize) -> io::Result<()> {
        while left > 0 {
            let length = left.min(piece as u64) as usize;
            left -= length as u64;
            let line = format!("{length:x}\r\n").into_bytes();
            if length <= COPIED_MAX {
                let body = self.thread.bodies.lend(length);
                self.put(&line).await?;
                self.put(&body).await?;
                self.thread.bodies.give_back(body);
            } else {
                self.send_body(line, length as u64).await?;
            }
            self.put(b"\r\n").await?;
        }
        Ok(())
    }

    /// Sends what waits, then `front` and that much body in as few sends as possible.
    async fn send_body(&mut self, front: Vec<u8>, mut left: u64) -> io::Result<()> {
        let mut front = &front[..];
        if self.output.len() + front.len() > ringgate_core::block::HEADROOM {
            self.put(front).await?;
            self.flush().await?;
            front = &[];
        }
        while left > 0 || !front.is_empty() {
            let length = left.min(PIECE_MAX as u64) as usize;
            left -= length as u64;
            let mut block = self.thread.bodies.lend(length);
            let waiting = std::mem::take(&mut self.output);
            let fits = block.prepend(front) && block.prepend(&waiting);
            debug_assert!(fits);
            front = &[];
            let (sent, block) = self.wire.send_lent(block, || STUCK_AFTER).await;
            self.thread.bodies.give_back(block);
            sent?;
        }
        Ok(())
    }

    /// Reads a request's body and forgets it.
    async fn drop_body(&mut self, ask: &Ask) -> Step {
        let mut expects = ask.expects;
        let mut decoder = BodyDecoder::default();
        decoder.start(ask.framing);
        let mut left = match ask.framing {
            BodyLen::Length(length) => length,
            _ => 0,
        };
        loop {
            let block = &mut self.input.block;
            if matches!(ask.framing, BodyLen::Length(_)) {
                let here = left.min(block.len() as u64);
                block.advance(here as usize);
                left -= here;
                if left == 0 {
                    return ON;
                }
            } else if !block.is_empty() {
                match decoder.decode(block) {
                    Ok(step) if step.state == BodyState::End => {
                        self.input.block = step.rest.unwrap_or_default();
                        return ON;
                    }
                    Ok(_) => block.advance(block.len()),
                    Err(error) => {
                        let whole = answer::refusal(error.status(), error.code());
                        self.put(&whole).await?;
                        return self.flush().await.and(END);
                    }
                }
            }
            if std::mem::take(&mut expects) {
                self.put(CONTINUE).await?;
            }
            self.flush().await?;
            if self.input.receive(&self.wire).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Puts bytes behind what waits to be sent.
    async fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        loop {
            let needed = self.output.len() + rest.len();
            if self.output.tailroom() < rest.len() && self.output.capacity() < OUTPUT.size() {
                let class = BlockClass::fitting(needed).unwrap_or(OUTPUT).min(OUTPUT);
                let mut larger = Block::new(class);
                let copied = larger.append(&self.output);
                debug_assert_eq!(copied, self.output.len());
                self.output = larger;
            }
            rest = &rest[self.output.append(rest)..];
            if rest.is_empty() {
                return Ok(());
            }
            self.flush().await?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        self.wire.send(output, || STUCK_AFTER).await
    }

    /// Sends what is left and closes. Bytes that nobody read would turn the close into a reset,
    /// and the client would lose the answer.
    async fn linger(&mut self) {
        if self.flush().await.is_err() {
            return;
        }
        self.wire.finish(LINGER).await;
        self.wire.recv_timer().arm(LINGER, Due::ShutBoth);
        loop {
            self.input.block = Block::empty();
            match self.input.receive(&self.wire).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
    }
}

/// Heads beyond these are refused.
const LIMITS: HeadLimits = HeadLimits {
    head_max: 32 << 10,
    uri_max: 16 << 10,
    headers_max: 128,
};

/// Responses that are gathered before they are sent.
const OUTPUT: BlockClass = BlockClass::Small;

/// Chunks up to this size are gathered, larger ones are sent from blocks of body.
const COPIED_MAX: usize = 4 << 10;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a client of HTTP/2 begins (RFC 9113, 3.4), as far as no method looks like it.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// How long a client may take to see that the connection is over.
const LINGER: Ticks = Ticks(20);
