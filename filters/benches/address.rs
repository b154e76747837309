//! A client's address among 10 and 100,000 networks; how long it takes to build their trie, and
//! what it weighs. Half of the addresses asked for are listed.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ringgate_filters::{Address, Unlisted};

/// A fixed sequence of numbers without pattern (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Three of four of IPv4, half of them single addresses: what lists of abusers look like.
    fn network(&mut self) -> (IpAddr, u8) {
        let (kind, bits) = (self.next(), self.next());
        match kind % 4 {
            0 => {
                let bits = 0x2001_0db8_u128 << 96 | u128::from(bits) << 32;
                (Ipv6Addr::from(bits).into(), 48 + (kind >> 8) as u8 % 17)
            }
            1 => (
                Ipv4Addr::from(bits as u32).into(),
                16 + (kind >> 8) as u8 % 16,
            ),
            _ => (Ipv4Addr::from(bits as u32).into(), 32),
        }
    }
}

fn networks(count: usize) -> Arc<[(IpAddr, u8)]> {
    let mut numbers = Numbers(1);
    (0..count).map(|_| numbers.network()).collect()
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("address");
    for count in [10, 100_000] {
        let listed = networks(count);
        let filter = Address::new(&[], &[Arc::clone(&listed)], Unlisted::Pass);
        println!(
            "{count} networks: {} bytes, {:.1} each",
            filter.bytes(),
            filter.bytes() as f64 / count as f64
        );
        let mut numbers = Numbers(2);
        let asked: Vec<IpAddr> = (0..4096_usize)
            .map(|at| match at % 2 {
                0 => listed[numbers.next() as usize % listed.len()].0,
                _ => numbers.network().0,
            })
            .collect();
        let mut at = 0;
        group.bench_function(format!("lookup among {count}"), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % asked.len();
                black_box(filter.rule(black_box(asked[at])))
            });
        });
    }
    let listed = networks(100_000);
    group.sample_size(10);
    group.bench_function("build of 100000", |bencher| {
        bencher.iter_batched(
            || [Arc::clone(&listed)],
            |listed| Address::new(&[], &listed, Unlisted::Pass),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
