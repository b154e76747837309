//! Chunked bodies of 1 MiB in blocks of 16 KiB: our decoder, which checks every byte of the
//! framing and moves data together in place, beside a naive one, which trusts the peer, splits
//! at line ends and copies into a vector.
//!
//! Ours destroys the body it decodes, so each round begins with a copy of it: `copy alone` is
//! what to take off. hyper's decoder is private and only to be had with its whole server;
//! monoio-http's is measured in bench-harness/benches/stock_codec.rs.
#![allow(clippy::unwrap_used, missing_docs)]

mod messages;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringgate_core::http::h1::ChunkedDecoder;

const BODY: usize = 1 << 20;

fn bodies(criterion: &mut Criterion) {
    for size in [64, 1024, 16 << 10] {
        let body = messages::chunked(size, BODY / size);
        let mut scratch = body.clone();
        let mut group = criterion.benchmark_group(format!("chunks of {size}"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function("copy alone", |bencher| {
            bencher.iter(|| {
                scratch.copy_from_slice(black_box(&body));
                black_box(&scratch);
            });
        });
        let mut decoder = ChunkedDecoder::default();
        group.bench_function("ringgate, with the copy", |bencher| {
            bencher.iter(|| {
                scratch.copy_from_slice(black_box(&body));
                assert_eq!(messages::decode(&mut scratch, &mut decoder), BODY);
            });
        });
        let mut out = Vec::with_capacity(BODY);
        group.bench_function("naive", |bencher| {
            bencher.iter(|| {
                out.clear();
                naive(black_box(&body), &mut out);
                assert_eq!(out.len(), BODY);
            });
        });
        group.finish();
    }
}

/// What one writes first: lines, numbers, copies.
fn naive(mut body: &[u8], out: &mut Vec<u8>) {
    loop {
        let line = memchr::memmem::find(body, b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return;
        }
        let data = line + 2;
        out.extend_from_slice(&body[data..data + size]);
        body = &body[data + size + 2..];
    }
}

criterion_group!(benches, bodies);
criterion_main!(benches);
