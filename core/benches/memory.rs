//! What every request costs beside its bytes: a block from the core's free list and back, and a
//! line of the access log.
//!
//! Blocks stand beside the allocator, zeroed as ours are handed out initialised, and not.
//! `in turn` has 64 blocks under way, as a worker with 64 connections; a single block always
//! finds its memory in the first cache. The log's figures include handing full buffers of
//! 64 KiB to the writer's thread, which writes to `/dev/null`.
#![allow(clippy::unwrap_used, missing_docs)]

mod messages;

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ringgate_core::access::{Format, LogWriter, Target};
use ringgate_core::block::{Block, BlockClass};

fn blocks(criterion: &mut Criterion) {
    for (name, class) in [
        ("head", BlockClass::Head),
        ("small", BlockClass::Small),
        ("large", BlockClass::Large),
    ] {
        let size = class.size();
        let mut group = criterion.benchmark_group(format!("block {name}"));
        group.bench_function("ringgate", |bencher| {
            bencher.iter(|| black_box(Block::new(black_box(class))));
        });
        group.bench_function("allocator", |bencher| {
            bencher.iter(|| black_box(Vec::<u8>::with_capacity(black_box(size))));
        });
        group.bench_function("allocator, zeroed", |bencher| {
            bencher.iter(|| black_box(vec![0_u8; black_box(size)]));
        });
        let mut held: VecDeque<Block> = (0..UNDER_WAY).map(|_| Block::new(class)).collect();
        group.bench_function("ringgate, in turn", |bencher| {
            bencher.iter(|| {
                drop(held.pop_front());
                held.push_back(black_box(Block::new(class)));
            });
        });
        let fresh = || Vec::<u8>::with_capacity(size);
        let mut held: VecDeque<Vec<u8>> = (0..UNDER_WAY).map(|_| fresh()).collect();
        group.bench_function("allocator, in turn", |bencher| {
            bencher.iter(|| {
                drop(held.pop_front());
                held.push_back(black_box(fresh()));
            });
        });
        group.finish();
    }
}

fn log_lines(criterion: &mut Criterion) {
    let writer = LogWriter::start(Target::File("/dev/null".into()), |_| {}).unwrap();
    let mut group = criterion.benchmark_group("log line");
    for (name, format) in [("json", Format::Json), ("combined", Format::Combined)] {
        let mut buffer = writer.buffer(format);
        let record = messages::record();
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(buffer.push(black_box(&record))));
        });
    }
    group.finish();
    writer.stop();
}

const UNDER_WAY: usize = 64;

criterion_group!(benches, blocks, log_lines);
criterion_main!(benches);
