//! HTTP/2 connections of the origin, and gRPC calls on them: each request is a task of its own.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use ringgate_core::block::Block;
use ringgate_core::wire::Wire;
use ringgate_core::{grpc, rt};

use super::Thread;
use super::answer::{FILLER, SMALL, STATS_PATH};
use super::counts::{Counted, Totals};
use super::query::Plan;
use crate::wire::{self, STUCK_AFTER};

/// Serves a connection to its end; `received` came on it already.
pub async fn serve(wire: Wire, received: Block, mut counted: Counted<'_>, thread: &Rc<Thread>) {
    let channel = wire::channel(&Rc::new(wire), received, STUCK_AFTER);
    let Ok(mut connection) = builder().handshake::<_, Bytes>(channel).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        match request.uri().path().as_bytes() == STATS_PATH {
            true => {
                counted.has_looked();
                tell_counts(respond, thread);
            }
            false => {
                counted.has_asked();
                thread.counts().requests.up();
                let answering = answer(request, respond, Rc::clone(thread));
                // What goes wrong is the client's to notice.
                rt::spawn(async { drop(answering.await) });
            }
        }
    }
}

fn tell_counts(mut respond: SendResponse<Bytes>, thread: &Thread) {
    // Three plain numbers: this cannot fail.
    let text = serde_json::to_string(&Totals::of(&thread.counts)).unwrap_or_default();
    let head = head_of(200, "application/json", Some(text.len() as u64));
    if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(text.into(), true);
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    thread: Rc<Thread>,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    drop_body(body).await?;
    let query = head.uri.query().unwrap_or_default();
    let plan = match Plan::parse(query.as_bytes()) {
        Ok(plan) => plan,
        Err(sentence) => {
            let refusal = head_of(400, "text/plain", Some(sentence.len() as u64));
            let mut stream = respond.send_response(refusal, false)?;
            return stream.send_data(sentence.into(), true);
        }
    };
    let delay = plan.delay.sample(&thread.dice);
    if !delay.is_zero() {
        thread.timers.sleep(delay).await;
    }
    let failing = plan.failing.filter(|f| thread.dice.unit() < f.ratio);
    let content_type = head.headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| grpc::is_grpc(value.as_bytes())) {
        return match failing {
            None => call(respond, &plan).await,
            Some(_) => trailers_only(respond),
        };
    }
    let status = failing.map_or(plan.status, |failing| failing.status);
    let has_body = head.method != Method::HEAD && !matches!(status, 204 | 304);
    let (content_type, size) = match plan.size {
        None => ("application/json", SMALL.len() as u64),
        Some(size) => ("application/octet-stream", size),
    };
    let length = (!matches!(status, 204 | 304)).then_some(size);
    let mut stream = respond.send_response(head_of(status, content_type, length), !has_body)?;
    match (has_body, plan.size) {
        (false, _) => Ok(()),
        (true, None) => stream.send_data(Bytes::from_static(SMALL), true),
        (true, Some(size)) => send_filler(&mut stream, size, Then::End).await,
    }
}

/// Answers a gRPC call with one message and the status 0 in the trailers.
async fn call(mut respond: SendResponse<Bytes>, plan: &Plan) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(head_of(200, GRPC, None), false)?;
    match plan.size {
        None => stream.send_data(Bytes::from_static(&SMALL_MESSAGE), false)?,
        Some(size) => {
            // A longer one cannot be said in four bytes.
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let [a, b, c, d] = size.to_be_bytes();
            stream.send_data(Bytes::copy_from_slice(&[0, a, b, c, d]), false)?;
            send_filler(&mut stream, u64::from(size), Then::Trailers).await?;
        }
    }
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

/// Answers a gRPC call with UNAVAILABLE.
fn trailers_only(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut head = head_of(200, GRPC, None);
    let fields = head.headers_mut();
    fields.insert("grpc-status", HeaderValue::from_static("14"));
    fields.insert("grpc-message", HeaderValue::from_static("as asked for"));
    respond.send_response(head, true).map(drop)
}

fn head_of(status: u16, content_type: &'static str, length: Option<u64>) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let fields = head.headers_mut();
    if !matches!(status, 204 | 304) {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(length) = length {
        fields.insert(header::CONTENT_LENGTH, length.into());
    }
    head
}

/// What follows the body of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    End,
    Trailers,
}

/// Sends so many bytes of body as the client's windows allow.
async fn send_filler(
    stream: &mut SendStream<Bytes>,
    mut left: u64,
    then: Then,
) -> Result<(), h2::Error> {
    if left == 0 && then == Then::End {
        return stream.send_data(Bytes::new(), true);
    }
    while left > 0 {
        let wanted = left.min(PIECE.len() as u64) as usize;
        stream.reserve_capacity(wanted);
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let count = room?.min(wanted);
        left -= count as u64;
        let is_last = left == 0 && then == Then::End;
        stream.send_data(Bytes::from_static(&PIECE[..count]), is_last)?;
    }
    Ok(())
}

async fn drop_body(mut body: RecvStream) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX);
    builder
}

const GRPC: &str = "application/grpc";

/// The small body as a message: not compressed, its length in four bytes.
const SMALL_MESSAGE: [u8; 5 + SMALL.len()] = {
    let mut message = [0; 5 + SMALL.len()];
    message[4] = SMALL.len() as u8;
    let mut at = 0;
    while at < SMALL.len() {
        message[5 + at] = SMALL[at];
        at += 1;
    }
    message
};

/// Body bytes handed over at a time.
static PIECE: [u8; 64 << 10] = [FILLER; 64 << 10];

/// Wide enough that the origin never is what a body waits for.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// More than any proxy has under way here.
const STREAMS_MAX: u32 = 10_000;
