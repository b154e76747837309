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

/// A store that grants as a ledger does.
fn exchange(store: &Ledger, node: &Ledger, now: u64) {
    node.wants(Moment(now), |want| {
        let ask = Ask {
            hash: want.hash,
            need: 1,
            want: want.amount as u32,
            patience: 0,
            now: Moment(now),
        };
        let (tokens, until) = match store.ask(&ask).0 {
            Answered::Granted { tokens, until, .. } => (u64::from(tokens), until),
            _ => (0, Moment(now)),
        };
        node.grant(want.hash, tokens, until, Moment(now));
    });
}

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
    let (mut now, mut next) = (BEGIN, BEGIN);
    while now < BEGIN + seconds * SECOND {
        while now >= next {
            for (node, alone) in nodes.iter().zip(&mut alone) {
                match away(next - BEGIN) {
                    true => alone.settle(&node.ledger, Moment(next)),
                    false => exchange(&store, &node.ledger, next),
                }
            }
            next += EXCHANGE;
        }
        let node = Skew::Halving.core(NODES, now, &mut random);
        let core = random.below(4) as usize;
        if nodes[node].request(core, 5, 1, now) {
            log.add(5, now, 1);
        }
        now += random.below(2 * gap) + 1;
    }
    (log, nodes)
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
