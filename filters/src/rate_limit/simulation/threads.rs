//! The same bound with real threads: what they race for is the ledger. Time is a counter that
//! all of them push on, so the machine's own does not matter.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

fn race(limit: &Limit, keys: u64, keys_max: usize) {
    const THREADS: usize = 8;
    const REQUESTS: usize = 20_000;
    let node = Node::new(THREADS, limit, keys_max, None);
    let per = limit.period.nanos();
    // About ten windows, at twice the limit for each key.
    let step = 10 * per / (THREADS * REQUESTS) as u64;
    let clock = AtomicU64::new(BEGIN);
    let logs = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (ledger, clock) = (&node.ledger, &clock);
                scope.spawn(move || {
                    let mut core = Leases::default();
                    let mut random = Random(thread as u64);
                    let mut admitted = Vec::new();
                    for request in 0..REQUESTS {
                        let now = clock.fetch_add(step, Ordering::Relaxed);
                        let key = (1 + random.below(keys)).wrapping_mul(0x0123_4567_89ab_cdef);
                        if let Some(at) = decide(&mut core, ledger, key, 1, now) {
                            admitted.push((key, at));
                        }
                        if request % 1000 == 999 {
                            core.tick(Moment(now));
                        }
                    }
                    admitted
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect::<Vec<_>>()
    });
    let mut log = Log::default();
    for (key, now) in logs.into_iter().flatten() {
        log.add(key, now, 1);
    }
    let what = format!("{limit:?}, {keys} keys of {keys_max}");
    log.check(limit, limit.limit + limit.burst, &what);
    assert!(log.total(0) > 0);
}

const PER: Duration = Duration::from_secs(1);

#[test]
fn threads_cannot_draw_more_than_there_is() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        race(&limit(algorithm, 5000, 500, PER), 1, 16);
        race(&limit(algorithm, 50, 10, PER), 150, 300);
    }
}

#[test]
fn threads_that_push_keys_out_cannot_either() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        race(&limit(algorithm, 5, 3, PER / 100), 3000, 40);
    }
}
