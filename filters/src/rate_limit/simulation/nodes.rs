//! Nodes that share a limit through a store: the bound with the store, without it, and as it
//! goes and comes.

use super::*;
use crate::rate_limit::ledger::{Answered, Ask};
use crate::rate_limit::{Alone, Store};

const NODES: usize = 3;
/// How often nodes ask the store.
const EXCHANGE: u64 = 5_000_000;

fn spec(limit: &Limit, cluster: Option<Cluster>) -> LedgerSpec {
    LedgerSpec {
        limit: limit.clone(),
        keys_max: 64,
        cluster,
    }
}

/// A store that grants as a ledger does, all that is asked for if it has so much, and takes back
/// what it has granted since `there`.
fn exchange(store: &Ledger, node: &Ledger, there: u64, now: u64) {
    node.end_grant(KEY, Moment(now));
    node.wants(Moment(now), |want| {
        let granted = Moment(want.ended.0.saturating_sub(store.life()));
        if granted.0 >= there {
            store.give_back(want.hash, want.back as u32, granted, Moment(now));
        }
        if want.amount == 0 {
            return;
        }
        let ask = |need| {
            let ask = Ask {
                hash: want.hash,
                need,
                want: need,
                patience: 0,
                now: Moment(now),
            };
            store.ask(&ask).0
        };
        let answered = match ask(want.amount as u32) {
            Answered::Refused { left, .. } if left > 0 => ask(left as u32),
            answered => answered,
        };
        let (tokens, until) = match answered {
            Answered::Granted { tokens, until, .. } => (u64::from(tokens), until),
            _ => (0, Moment(now)),
        };
        node.grant(want.hash, tokens, until, Moment(now));
    });
}

/// The key of all requests.
const KEY: u64 = 5;

/// Runs nodes at twice the limit; `away` says when the store is. Returns what all admitted.
fn run(limit: &Limit, seconds: u64, away: impl Fn(u64) -> bool) -> (Log, Vec<Node>) {
    let cluster = Cluster {
        store: "shared".into(),
        nodes: NODES as u32,
        heaviest: 1,
    };
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|_| Node::new(4, limit, 64, Some(cluster.clone())))
        .collect();
    let mut alone: Vec<Alone> = nodes
        .iter()
        .map(|node| Alone::new(&node.ledger, Moment(BEGIN)).expect("the ledger has room"))
        .collect();
    let ledgers = Ledgers::new(1, 7);
    let store = ledgers.ledger("store", 0, "key", &spec(limit, None), Moment(BEGIN));
    let mut random = Random(3);
    let mut log = Log::default();
    let gap = limit.period.nanos() / (2 * limit.limit);
    let (mut now, mut next, mut there) = (BEGIN, BEGIN, BEGIN);
    while now < BEGIN + seconds * SECOND {
        while now >= next {
            if away(next - BEGIN) {
                there = next + EXCHANGE;
            }
            for (node, alone) in nodes.iter().zip(&mut alone) {
                match away(next - BEGIN) {
                    true => alone.settle(&node.ledger, Moment(next)),
                    false => exchange(&store, &node.ledger, there, next),
                }
            }
            next += EXCHANGE;
        }
        let node = Skew::Halving.core(NODES, now, &mut random);
        let core = random.below(4) as usize;
        if nodes[node].request(core, KEY, 1, now) {
            log.add(KEY, now, 1);
        }
        now += random.below(2 * gap) + 1;
    }
    (log, nodes)
}

/// Bursts of up to `most` requests within a turn, each on one node, with up to `pause` between
/// them: what a node asks for is more than it uses. Then a quiet time. Returns what all admitted.
fn bursts(limit: &Limit, most: u64, pause: u64, seconds: u64) -> (Log, Vec<Node>, Arc<Ledger>) {
    let cluster = Cluster {
        store: "shared".into(),
        nodes: NODES as u32,
        heaviest: 1,
    };
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|_| Node::new(4, limit, 64, Some(cluster.clone())))
        .collect();
    let ledgers = Ledgers::new(1, 7);
    let store = ledgers.ledger("store", 0, "key", &spec(limit, None), Moment(BEGIN));
    let mut random = Random(11);
    let mut log = Log::default();
    let (mut now, mut next) = (BEGIN + SECOND, BEGIN + SECOND);
    while now < BEGIN + (seconds + 2) * SECOND {
        let node = random.below(NODES as u64) as usize;
        let is_over = now > BEGIN + seconds * SECOND;
        for _ in 0..if is_over { 0 } else { random.below(most) } {
            let core = random.below(4) as usize;
            if nodes[node].request(core, KEY, 1, now) {
                log.add(KEY, now, 1);
            }
            now += random.below(2 * EXCHANGE / most) + 1;
        }
        now += random.below(pause);
        while now >= next {
            for node in &mut nodes {
                node.tick(next);
                exchange(&store, &node.ledger, BEGIN, next);
            }
            next += EXCHANGE;
        }
    }
    (log, nodes, store)
}

const PER: Duration = Duration::from_secs(10);

#[test]
fn nodes_together_keep_the_bound() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        let limit = limit(algorithm, 1000, 100, PER);
        let (mut log, nodes) = run(&limit, 50, |_| false);
        let bound = nodes[0].ledger.bound(Store::There);
        assert_eq!(bound, 1100 + 3 * 91);
        log.check(&limit, bound, "with the store");
        // Three aligned windows.
        let share = (log.total(20 * SECOND) - log.total(50 * SECOND)) as f64 / 3000.0;
        assert!(share > 0.95, "{algorithm:?}: {share}");
    }
}

#[test]
fn the_heaviest_request_passes_before_the_store_has_answered() {
    let limit = limit(Algorithm::TokenBucket, 60, 40, PER);
    let cluster = Cluster {
        store: "shared".into(),
        nodes: NODES as u32,
        heaviest: 30,
    };
    let mut node = Node::new(1, &limit, 64, Some(cluster));
    assert!(node.request(0, 5, 30, BEGIN));
    assert!(!node.request(0, 5, 1, BEGIN));
    assert_eq!(node.ledger.bound(Store::There), 100 + 3 * 30);
}

#[test]
fn a_refusal_tells_when_the_store_will_have_more() {
    let limit = limit(Algorithm::FixedWindow, 60, 0, PER);
    let cluster = Cluster {
        store: "shared".into(),
        nodes: NODES as u32,
        heaviest: 1,
    };
    let mut node = Node::new(1, &limit, 64, Some(cluster));
    while node.request(0, 5, 1, BEGIN) {}
    let next = BEGIN / 1_000_000 * 1_000_000 + 7 * SECOND;
    let ledger = Arc::clone(&node.ledger);
    ledger.wants(Moment(BEGIN), |want| {
        ledger.grant(want.hash, 0, Moment(next), Moment(BEGIN));
    });
    for later in [20_000_000, 21_000_000, SECOND] {
        let claim = Claim {
            hash: 5,
            need: 1,
            now: Moment(BEGIN + later),
        };
        let (hold, _) = node.cores[0].hold(&ledger, &claim);
        let enough_at = Moment(next);
        assert_eq!(hold, Hold::Short { enough_at });
    }
}

#[test]
fn nodes_without_their_store_keep_to_their_shares() {
    let limit = limit(Algorithm::TokenBucket, 1000, 100, PER);
    let (mut log, nodes) = run(&limit, 50, |_| true);
    log.check(&limit, nodes[0].ledger.bound(Store::Away), "alone");
    assert!(log.total(BEGIN + 10 * SECOND) > 4 * 600);
}

#[test]
fn a_store_that_comes_and_goes_grants_no_more_than_is_said() {
    let limit = limit(Algorithm::SlidingWindow, 1000, 100, PER);
    let (mut log, nodes) = run(&limit, 100, |since| since / (15 * SECOND) % 2 == 1);
    log.check(&limit, nodes[0].ledger.bound(Store::Changing), "by turns");
}

#[test]
fn what_comes_back_breaks_no_bound() {
    for algorithm in [
        Algorithm::TokenBucket,
        Algorithm::FixedWindow,
        Algorithm::SlidingWindow,
    ] {
        for pause in [3_000_000, 30_000_000, 300_000_000, 3 * SECOND] {
            let limit = limit(algorithm, 1000, 300, PER);
            let (mut log, nodes, _) = bursts(&limit, 600, pause, 60);
            let bound = nodes[0].ledger.bound(Store::There);
            log.check(&limit, bound, &format!("{algorithm:?}, {pause}"));
        }
    }
}

#[test]
fn all_that_is_not_used_comes_back() {
    let hour = Duration::from_secs(3600);
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let limit = limit(algorithm, 1000, 0, hour);
        let (log, nodes, store) = bursts(&limit, 400, SECOND / 2, 30);
        let end = Moment(BEGIN + 40 * SECOND);
        let used = |ledger: &Ledger| ledger.entry_of(KEY, end).map_or(0, |entry| entry.used);
        // What they owe is none of what the store has granted.
        let owed: u64 = nodes.iter().map(|node| used(&node.ledger)).sum();
        assert_eq!(used(&store), 1000, "{algorithm:?}");
        assert_eq!(log.total(BEGIN), 1000 + owed, "{algorithm:?}");
    }
}
