//! Heads: what our codec costs beside httparse alone, which it is built on and which checks
//! nothing of what a gateway must, and beside hyper's server.
//!
//! - `request`, `response`: from received bytes to a checked head in reused memory. httparse
//!   alone finds the lines in an array of its own and stops there.
//! - `forwarded`: the same, and the head written again as the other side gets it. No rival: none
//!   of them writes what a proxy has to.
//! - `answered`: hyper gives no access to its codec, so its server runs on memory that always
//!   holds the next pipelined request and drops what is written: no runtime, no wake-up, no
//!   copy between tasks; its cost is the parse, the call of the service and the response head.
//!   Ours beside it is the parse and the same answer written. hyper's side of a response cannot
//!   be had without a request of its own, so it is not compared.
//!
//! monoio-http's decoders are measured in bench-harness/benches/stock_codec.rs: nothing but the
//! bench may depend on them.
#![allow(clippy::unwrap_used, missing_docs)]

mod messages;

use std::convert::Infallible;
use std::hint::black_box;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use ringgate_core::block::Block;
use ringgate_core::http::RequestHead;
use ringgate_core::http::h1::{
    HeadLimits, Parse, Resume, SimpleResponse, encode_simple_response, parse_request,
};

const REQUESTS: [(&str, &[u8]); 2] = [
    ("small", messages::SMALL_REQUEST),
    ("browser", messages::BROWSER_REQUEST),
];
const RESPONSES: [(&str, &[u8]); 2] = [
    ("small", messages::SMALL_RESPONSE),
    ("long", messages::LONG_RESPONSE),
];

fn requests(criterion: &mut Criterion) {
    for (name, bytes) in REQUESTS {
        let mut group = group(criterion, "request", name, bytes);
        group.bench_function("httparse alone", |bencher| {
            bencher.iter(|| lines_of_request(black_box(bytes)));
        });
        let mut request = messages::Request::received(bytes);
        group.bench_function("ringgate", |bencher| bencher.iter(|| request.parse()));
        group.bench_function("ringgate, forwarded", |bencher| {
            bencher.iter(|| request.forward());
        });
        group.finish();
    }
}

fn responses(criterion: &mut Criterion) {
    for (name, bytes) in RESPONSES {
        let mut group = group(criterion, "response", name, bytes);
        group.bench_function("httparse alone", |bencher| {
            bencher.iter(|| lines_of_response(black_box(bytes)));
        });
        let mut response = messages::Response::received(bytes);
        group.bench_function("ringgate", |bencher| bencher.iter(|| response.parse()));
        group.bench_function("ringgate, forwarded", |bencher| {
            bencher.iter(|| response.forward());
        });
        group.finish();
    }
}

fn answered(criterion: &mut Criterion) {
    for (name, bytes) in REQUESTS {
        let mut group = group(criterion, "answered", name, bytes);
        let received = Block::from_slice(bytes);
        let mut head = RequestHead::default();
        let mut out = Vec::with_capacity(512);
        group.bench_function("ringgate", |bencher| {
            bencher.iter(|| answer(&received, &mut head, &mut out));
        });
        group.bench_function("hyper's server", |bencher| {
            bencher.iter_custom(|requests| serve(bytes, requests));
        });
        group.finish();
    }
}

fn group<'c>(
    criterion: &'c mut Criterion,
    what: &str,
    name: &str,
    bytes: &[u8],
) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(format!("{what} {name}"));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group
}

/// What httparse makes of a request; the fields found.
fn lines_of_request(bytes: &[u8]) -> usize {
    let mut slots = [const { MaybeUninit::uninit() }; 100];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut slots);
    assert!(matches!(parsed, Ok(httparse::Status::Complete(_))));
    black_box(&request).headers.len()
}

/// What httparse makes of a response; the fields found.
fn lines_of_response(bytes: &[u8]) -> usize {
    let mut slots = [const { MaybeUninit::uninit() }; 100];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut slots,
    );
    assert!(matches!(parsed, Ok(httparse::Status::Complete(_))));
    black_box(&response).headers.len()
}

fn answer(received: &Block, head: &mut RequestHead, out: &mut Vec<u8>) -> usize {
    head.clear();
    let parsed = parse_request(
        received,
        &HeadLimits::default(),
        &mut Resume::default(),
        head,
    );
    assert!(matches!(parsed, Ok(Parse::Complete { .. })));
    out.clear();
    let answer = SimpleResponse {
        status: 200,
        method: head.method,
        client: head.version,
        date: b"Sun, 22 Nov 2026 20:05:19 GMT",
        ..SimpleResponse::default()
    };
    encode_simple_response(&answer, out);
    black_box(out.len())
}

/// hyper's server on `requests` pipelined copies of one request, polled to its end.
#[allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn serve(request: &'static [u8], requests: u64) -> std::time::Duration {
    let connection = Pipelined {
        request,
        at: 0,
        left: requests,
        written: 0,
    };
    let service = service_fn(|request: hyper::Request<Incoming>| async move {
        black_box(&request);
        Ok::<_, Infallible>(hyper::Response::new(String::new()))
    });
    let began = std::time::Instant::now();
    let mut served = pin!(
        http1::Builder::new()
            .pipeline_flush(true)
            .serve_connection(connection, service)
    );
    let mut context = Context::from_waker(Waker::noop());
    while served.as_mut().poll(&mut context).is_pending() {}
    began.elapsed()
}

/// The server's side of a connection whose client pipelines without end and reads everything.
struct Pipelined {
    request: &'static [u8],
    at: usize,
    left: u64,
    written: usize,
}

impl Read for Pipelined {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left > 0 && buffer.remaining() > 0 {
            let rest = &self.request[self.at..];
            let piece = &rest[..rest.len().min(buffer.remaining())];
            buffer.put_slice(piece);
            self.at += piece.len();
            if self.at == self.request.len() {
                self.at = 0;
                self.left -= 1;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Pipelined {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written += black_box(bytes).len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

criterion_group!(benches, requests, responses, answered);
criterion_main!(benches);
