//! Thirty-two cores that know little of each other: do their picks still balance over all of
//! them? Time is simulated and every number comes from seeds, so the figures of the
//! documentation are those of the test named `figures`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::tests::{ask, choice, endpoint};
use super::*;

const CORES: usize = 32;
const START: Moment = Moment(5_000_000_000);

/// Numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    fn below(&mut self, count: usize) -> usize {
        (fraction(self.next()) * count as f64) as usize
    }

    /// With this mean, as waits between unrelated events are.
    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - fraction(self.next())).ln() * mean
    }
}

/// An upstream as all cores have it.
struct Fleet {
    state: UpstreamState,
    endpoints: Vec<Endpoint>,
    policy: Balance,
    rosters: Vec<Roster>,
    numbers: Numbers,
}

impl Fleet {
    fn new(cores: usize, weights: &[u32]) -> Fleet {
        let state = UpstreamState::new(cores);
        let weights = weights.iter().enumerate();
        let endpoints = weights.map(|(at, weight)| endpoint(&state, at as u16 + 1, *weight));
        let rosters = (0..cores).map(|core| Roster::new(CoreIndex(core as u32)));
        Fleet {
            endpoints: endpoints.collect(),
            state,
            policy: Balance::default(),
            rosters: rosters.collect(),
            numbers: Numbers(1),
        }
    }

    fn pick(&mut self, core: usize, algorithm: Pick, now: Moment) -> usize {
        let roster = &mut self.rosters[core];
        if roster.is_stale(&self.state, now) {
            roster.sort(&self.policy, &self.endpoints, &self.state, now, |_| None);
        }
        let random = self.numbers.next();
        let choice = choice(match algorithm {
            Pick::By(algorithm) => algorithm,
            Pick::Random => return random as usize % self.endpoints.len(),
            Pick::Believing => return roster.pick_believing(now),
            Pick::Known => {
                let active = self.endpoints.iter().map(|one| one.state.active());
                let least = active.enumerate().min_by_key(|(_, active)| *active);
                return least.map_or(0, |(at, _)| at);
            }
        });
        let ask = Ask {
            random,
            now,
            ..ask(&choice, &self.state)
        };
        roster.pick(&ask).unwrap_or_default()
    }

    /// One pick that stays under way.
    fn begin(&mut self, core: usize, algorithm: Pick, now: Moment) -> usize {
        let at = self.pick(core, algorithm, now);
        self.stats(core, at).active.add(1);
        at
    }

    fn stats(&self, core: usize, at: usize) -> &crate::fleet::EndpointStats {
        self.endpoints[at].state.stats.of(CoreIndex(core as u32))
    }

    fn active(&self) -> Vec<u64> {
        self.endpoints
            .iter()
            .map(|one| one.state.active())
            .collect()
    }
}

/// What is simulated: the algorithms, and three to compare them with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pick {
    By(Algorithm),
    /// Any endpoint.
    Random,
    /// The emptiest one by own counts and the others' old ones, as if those were true.
    Believing,
    /// The emptiest one by what no core can know.
    Known,
}

impl Roster {
    fn pick_believing(&mut self, now: Moment) -> usize {
        self.refresh(now);
        self.least_of(|_, _| true).unwrap_or_default()
    }
}

/// A load on endpoints that each answer so many requests at a time.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    endpoints: usize,
    /// Requests that an endpoint works on at a time; the others wait there.
    servers: usize,
    /// Share of what the endpoints can do.
    load: f64,
    /// The first endpoint takes so many times as long.
    slow: f64,
}

impl Scenario {
    const fn new(endpoints: usize, servers: usize, load: f64, slow: f64) -> Scenario {
        Scenario {
            endpoints,
            servers,
            load,
            slow,
        }
    }
}

/// What came of it.
struct Figures {
    /// Requests under way at the busiest endpoint beside the mean, on average over time.
    peak: f64,
    /// Response times in service times.
    mean: f64,
    p99: f64,
    /// Share of requests that the first endpoint got.
    first: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (peak, mean, p99, first) = (self.peak, self.mean, self.p99, self.first * 100.0);
        write!(
            f,
            "peak {peak:.2}, mean {mean:.2}, p99 {p99:.1}, first {first:.1} %"
        )
    }
}

const SERVICE_NS: f64 = 10_000_000.0;

fn simulate(scenario: Scenario, requests: usize, algorithm: Pick) -> Figures {
    let count = scenario.endpoints;
    let mut fleet = Fleet::new(CORES, &vec![1; count]);
    let mut numbers = Numbers(7);
    let able = (count as f64 - 1.0 + 1.0 / scenario.slow) * scenario.servers as f64;
    let gap = SERVICE_NS / (able * scenario.load);
    // When each server of each endpoint is free again; ends as time, begin, core, endpoint.
    let mut free = vec![vec![START.0; scenario.servers]; count];
    let mut ends = BinaryHeap::<Reverse<(u64, u64, usize, usize)>>::new();
    let (mut now, mut spans) = (START, Vec::new());
    let (mut peak, mut peaks, mut first) = (0.0, 0, 0);
    for request in 0..requests {
        now = Moment(now.0 + numbers.exponential(gap) as u64);
        while let Some(Reverse((end, begin, core, at))) = ends.peek().copied()
            && end <= now.0
        {
            ends.pop();
            let stats = fleet.stats(core, at);
            stats.active.sub(1);
            stats.requests.add(1);
            stats.ewma.record((end - begin) / 1_000, Moment(end));
            spans.push(end - begin);
        }
        let core = numbers.below(CORES);
        let at = fleet.begin(core, algorithm, now);
        first += usize::from(at == 0);
        let factor = if at == 0 { scenario.slow } else { 1.0 };
        let span = numbers.exponential(SERVICE_NS * factor) as u64;
        if let Some(server) = free[at].iter_mut().min() {
            *server = now.0.max(*server) + span;
            ends.push(Reverse((*server, now.0, core, at)));
        }
        if request > requests / 4 {
            let active = fleet.active();
            let mean = active.iter().sum::<u64>() as f64 / count as f64;
            peak += *active.iter().max().unwrap_or(&0) as f64 / mean;
            peaks += 1;
        }
    }
    spans.sort_unstable();
    let in_services = |nanos: u64| nanos as f64 / SERVICE_NS;
    Figures {
        peak: peak / f64::from(peaks),
        mean: in_services(spans.iter().sum::<u64>() / spans.len() as u64),
        p99: in_services(spans[spans.len() * 99 / 100]),
        first: first as f64 / requests as f64,
    }
}

/// Requests that one endpoint got above what it was meant to get, at most, when every core has
/// made so many picks.
fn excess(weights: &[u32], picks: usize, algorithm: Pick) -> f64 {
    let mut fleet = Fleet::new(CORES, weights);
    let mut counts = vec![0; weights.len()];
    for _ in 0..picks {
        for core in 0..CORES {
            counts[fleet.pick(core, algorithm, START)] += 1;
        }
    }
    let total = f64::from(weights.iter().sum::<u32>());
    let meant = |weight: u32| (CORES * picks) as f64 * f64::from(weight) / total;
    let shares = counts.iter().zip(weights);
    let excess = shares.map(|(count, weight)| f64::from(*count) - meant(*weight));
    excess.fold(0.0, f64::max)
}

fn weights_of(count: u32) -> Vec<u32> {
    (0..count).map(|at| 1 + at % 5).collect()
}

const ALL: [Pick; 7] = [
    Pick::By(Algorithm::RoundRobin),
    Pick::By(Algorithm::LeastConnections),
    Pick::By(Algorithm::RandomTwo),
    Pick::By(Algorithm::PeakEwma),
    Pick::Random,
    Pick::Believing,
    Pick::Known,
];

#[test]
#[ignore = "prints the tables of docs/reference/balancing.md, which takes minutes"]
#[allow(clippy::print_stdout, reason = "what it is for")]
fn figures() {
    for picks in [1, 4, 16, 64] {
        for count in [10, 50] {
            let (even, weights) = (vec![1; count as usize], weights_of(count));
            let turns = Pick::By(Algorithm::RoundRobin);
            let (in_turn, weighted) = (excess(&even, picks, turns), excess(&weights, picks, turns));
            let random = excess(&even, picks, Pick::Random);
            println!("{picks} picks, {count}: {in_turn:.1}, {weighted:.1}, random {random:.1}");
        }
    }
    for scenario in SCENARIOS {
        println!("{scenario:?}");
        for pick in ALL {
            println!("  {pick:?}: {}", simulate(scenario, 20_000, pick));
        }
    }
    for count in [10, 50] {
        for pick in ALL {
            println!("burst, {count}: {pick:?}: {}", burst(count, pick));
        }
    }
}

const SCENARIOS: [Scenario; 6] = [
    Scenario::new(10, 4, 0.7, 1.0),
    Scenario::new(10, 4, 0.9, 1.0),
    Scenario::new(50, 4, 0.7, 1.0),
    Scenario::new(50, 4, 0.9, 1.0),
    Scenario::new(10, 160, 0.9, 1.0),
    Scenario::new(10, 4, 0.7, 5.0),
];

/// The most that one endpoint gets when every core picks once, at once, having seen all empty.
fn burst(count: usize, pick: Pick) -> usize {
    let mut fleet = Fleet::new(CORES, &vec![1; count]);
    let mut counts = vec![0; count];
    for core in 0..CORES {
        counts[fleet.pick(core, pick, START)] += 1;
    }
    counts.into_iter().max().unwrap_or_default()
}

#[test]
fn turns_of_few_requests_spread_over_all_cores() {
    let turns = Pick::By(Algorithm::RoundRobin);
    for picks in [1, 2, 3, 4, 8, 16, 64] {
        for count in [10, 20, 50] {
            assert!(excess(&vec![1; count as usize], picks, turns) < 1.5);
            assert!(excess(&weights_of(count), picks, turns) < 3.0);
        }
    }
}

#[test]
fn a_burst_of_all_cores_spreads() {
    for (count, most) in [(10, 4), (50, 3)] {
        let least = burst(count, Pick::By(Algorithm::LeastConnections));
        assert!(least <= most, "{count}: {least}");
        assert!(burst(count, Pick::By(Algorithm::RoundRobin)) <= most);
        assert!(burst(count, Pick::By(Algorithm::RandomTwo)) <= 6);
        // What is to be avoided.
        assert_eq!(burst(count, Pick::Believing), CORES);
    }
}

#[test]
fn least_connections_balance_over_all_cores() {
    for (scenario, peak_max) in [
        (Scenario::new(10, 4, 0.7, 1.0), 1.45),
        (Scenario::new(10, 4, 0.9, 1.0), 1.35),
        (Scenario::new(50, 4, 0.9, 1.0), 1.5),
    ] {
        let least = simulate(scenario, 8_000, Pick::By(Algorithm::LeastConnections));
        assert!(least.peak < peak_max, "{scenario:?}: {least}");
        let two = simulate(scenario, 8_000, Pick::By(Algorithm::RandomTwo));
        assert!(two.peak < peak_max + 0.3, "{scenario:?}: {two}");
        let random = simulate(scenario, 8_000, Pick::Random);
        assert!(random.peak > two.peak + 0.5, "{scenario:?}: {random}");
    }
}

#[test]
fn old_counts_do_not_herd_under_high_rates() {
    // Some 290 requests begin before a core looks again.
    let scenario = Scenario::new(10, 160, 0.9, 1.0);
    let least = simulate(scenario, 10_000, Pick::By(Algorithm::LeastConnections));
    let believing = simulate(scenario, 10_000, Pick::Believing);
    assert!(least.peak < 1.06, "{least}");
    assert!(least.peak < believing.peak, "{least} and {believing}");
}

#[test]
fn a_slow_endpoint_gets_little() {
    let scenario = Scenario::new(10, 4, 0.7, 5.0);
    let turns = simulate(scenario, 8_000, Pick::By(Algorithm::RoundRobin));
    let two = simulate(scenario, 8_000, Pick::By(Algorithm::RandomTwo));
    let ewma = simulate(scenario, 8_000, Pick::By(Algorithm::PeakEwma));
    assert!(
        two.first < 0.05 && two.p99 < turns.p99 / 5.0,
        "{two} and {turns}"
    );
    assert!(ewma.first < 0.03 && ewma.p99 < two.p99, "{ewma} and {two}");
}

/// Requests by endpoint within a minute of a thousand updates, each of which is made by
/// `update`, with two requests a second on each core.
fn minute(weights: &[u32], update: impl Fn(&mut Fleet, u64, Moment)) -> Vec<u64> {
    let mut fleet = Fleet::new(CORES, weights);
    fleet.policy.panic_below = 0.0;
    let mut counts = vec![0; weights.len()];
    for millis in 0..60_000 {
        let now = START.after(Duration::from_millis(millis));
        if millis % 60 == 0 {
            update(&mut fleet, millis / 60, now);
        }
        for _ in 0..2 {
            let core = fleet.numbers.below(1_000);
            if core < CORES {
                counts[fleet.pick(core, Pick::By(Algorithm::RoundRobin), now)] += 1;
            }
        }
    }
    counts
}

#[test]
fn a_thousand_updates_a_minute_do_not_herd() {
    for weights in [
        vec![2; 20],
        (0..20).map(|at| 1 + at / 10).collect::<Vec<_>>(),
    ] {
        let flapping = |fleet: &mut Fleet, _: u64, now| {
            let at = fleet.numbers.below(5);
            let state = &fleet.endpoints[at].state;
            let health = match state.health() {
                Health::Bad => Health::Good,
                _ => Health::Bad,
            };
            state.set_health(health, now);
            fleet.state.changed();
        };
        check_even(&weights, &minute(&weights, flapping));
        // Addresses that come and go.
        let moving = |fleet: &mut Fleet, nth: u64, _| {
            let at = (nth % 5) as usize;
            let port = 1_000 + nth as u16;
            fleet.endpoints[at] = endpoint(&fleet.state, port, fleet.endpoints[at].weight);
            for roster in &mut fleet.rosters {
                roster.expire();
            }
        };
        check_even(&weights, &minute(&weights, moving));
    }
}

/// The endpoints that nothing happened to had what their weights say of some 3,800 requests.
fn check_even(weights: &[u32], counts: &[u64]) {
    let shares = counts.iter().zip(weights).skip(5);
    let shares = shares.map(|(count, weight)| *count as f64 / f64::from(*weight));
    let shares: Vec<_> = shares.collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    for share in &shares {
        assert!((share / mean - 1.0).abs() < 0.15, "{counts:?}");
    }
    // Those that came and went had their part as well, and no more.
    for (count, weight) in counts.iter().zip(weights).take(5) {
        let share = *count as f64 / f64::from(*weight);
        assert!(share > 0.1 * mean && share < 1.3 * mean, "{counts:?}");
    }
}

#[test]
fn an_endpoint_that_returns_is_not_rushed() {
    for weights in [vec![1; 10], weights_of(10)] {
        let mut fleet = Fleet::new(CORES, &weights);
        let turns = Pick::By(Algorithm::RoundRobin);
        let bad = fleet.endpoints[4].state.set_health(Health::Bad, START);
        assert!(bad);
        for core in 0..CORES {
            for _ in 0..5 {
                assert_ne!(fleet.pick(core, turns, START), 4);
            }
        }
        fleet.endpoints[4].state.set_health(Health::Good, START);
        fleet.state.changed();
        let picks = (0..CORES).map(|core| fleet.pick(core, turns, START));
        let first = picks.filter(|at| *at == 4).count() as u32;
        // Of 32 requests; it has a tenth or a sixth of the weight.
        assert!(first <= 5 + 2 * weights[4], "{first}");
    }
}
