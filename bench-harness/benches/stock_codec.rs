//! monoio-http's decoders beside ours, on the messages of core/benches: heads to a checked head,
//! and chunked bodies. Here because nothing but the bench may depend on monoio-http
//! (docs/decisions/0002-no-monoio-http.md).
//!
//! Both begin with the bytes in a buffer of their own kind, made outside the time that is taken,
//! and end when what was decoded is dropped: monoio-http's heads own their table, ours are used
//! again. Its decoder checks less: no framing rules, no authority, no target. Of a chunked body
//! it hands out one slice per chunk and moves nothing, which wins where chunks are large; ours
//! moves the data of a block together, so that it goes on in one piece.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../core/benches/messages/mod.rs"]
mod messages;

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use monoio_codec::{Decoded, Decoder};
use monoio_http::h1::codec::decoder::{
    ChunkedBodyDecoder, RequestHeadDecoder, ResponseHeadDecoder,
};
use ringgate_core::http::h1::ChunkedDecoder;

fn heads(criterion: &mut Criterion) {
    for (name, bytes) in [
        ("request small", messages::SMALL_REQUEST),
        ("request browser", messages::BROWSER_REQUEST),
    ] {
        let mut group = criterion.benchmark_group(name);
        let mut request = messages::Request::received(bytes);
        group.bench_function("ringgate", |bencher| bencher.iter(|| request.parse()));
        group.bench_function("monoio-http", |bencher| {
            stock(bencher, bytes, RequestHeadDecoder);
        });
        group.finish();
    }
    for (name, bytes) in [
        ("response small", messages::SMALL_RESPONSE),
        ("response long", messages::LONG_RESPONSE),
    ] {
        let mut group = criterion.benchmark_group(name);
        let mut response = messages::Response::received(bytes);
        group.bench_function("ringgate", |bencher| bencher.iter(|| response.parse()));
        group.bench_function("monoio-http", |bencher| {
            stock(bencher, bytes, ResponseHeadDecoder);
        });
        group.finish();
    }
}

fn stock<D: Decoder>(bencher: &mut criterion::Bencher<'_>, bytes: &[u8], mut decoder: D) {
    bencher.iter_batched_ref(
        || BytesMut::from(bytes),
        |received| match decoder.decode(received) {
            Ok(Decoded::Some(head)) => drop(black_box(head)),
            _ => panic!("the head is accepted"),
        },
        BatchSize::SmallInput,
    );
}

fn bodies(criterion: &mut Criterion) {
    const BODY: usize = 1 << 20;
    for size in [64, 1024, 16 << 10] {
        let body = messages::chunked(size, BODY / size);
        let mut group = criterion.benchmark_group(format!("chunks of {size}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        let mut decoder = ChunkedDecoder::default();
        group.bench_function("ringgate", |bencher| {
            bencher.iter_batched_ref(
                || body.clone(),
                |body| assert_eq!(messages::decode(body, &mut decoder), BODY),
                BatchSize::LargeInput,
            );
        });
        group.bench_function("monoio-http", |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::from(&body[..]),
                |body| assert_eq!(decode(body), BODY),
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

/// The bytes of data in a whole chunked body.
fn decode(body: &mut BytesMut) -> usize {
    let mut decoder = ChunkedBodyDecoder::default();
    let mut data = 0;
    while let Ok(Decoded::Some(Some(chunk))) = decoder.decode(body) {
        data += black_box(chunk).len();
    }
    data
}

criterion_group!(benches, heads, bodies);
criterion_main!(benches);
