#![allow(clippy::unwrap_used)]

mod hashed;
mod picked;

use std::collections::BTreeMap;

use super::*;

const START: Moment = Moment(5_000_000_000);

pub(super) fn endpoint(state: &UpstreamState, port: u16, weight: u32) -> Endpoint {
    let addr = Addr::Tcp(([10, 0, 0, 1], port).into());
    Endpoint {
        weight,
        priority: 0,
        zone: None,
        state: state.endpoint(&addr, "origin"),
        authority: "origin".into(),
        addr,
    }
}

pub(super) fn ask<'a>(choice: &'a Choice, state: &'a UpstreamState) -> Ask<'a> {
    Ask {
        choice,
        state,
        hash: 0,
        random: 0,
        now: START,
        tried: &[],
        requests_max: 0,
        pinned: None,
    }
}

pub(super) fn choice(algorithm: Algorithm) -> Choice {
    Choice {
        algorithm,
        ..Choice::default()
    }
}

/// One upstream of one core.
struct Scene {
    state: UpstreamState,
    endpoints: Vec<Endpoint>,
    policy: Balance,
    roster: Roster,
    now: Moment,
}

impl Scene {
    fn new(weights: &[u32]) -> Scene {
        let state = UpstreamState::new(1);
        let weights = weights.iter().enumerate();
        let endpoints = weights.map(|(at, weight)| endpoint(&state, at as u16 + 1, *weight));
        let mut scene = Scene {
            endpoints: endpoints.collect(),
            state,
            policy: Balance::default(),
            roster: Roster::new(CoreIndex(0)),
            now: START,
        };
        scene.sort();
        scene
    }

    fn sort(&mut self) {
        let (policy, endpoints) = (&self.policy, &self.endpoints);
        self.roster
            .sort(policy, endpoints, &self.state, self.now, |_| None);
    }

    fn pick(&mut self, algorithm: Algorithm) -> Option<usize> {
        let choice = choice(algorithm);
        self.roster.pick(&ask(&choice, &self.state))
    }

    /// Picks that stay under way.
    fn hold(&mut self, algorithm: Algorithm, count: usize) -> Vec<u64> {
        for _ in 0..count {
            let at = self.pick(algorithm).unwrap();
            self.active(at).add(1);
        }
        self.endpoints
            .iter()
            .map(|one| one.state.active())
            .collect()
    }

    fn active(&self, at: usize) -> &crate::stats::Counter {
        &self.endpoints[at].state.stats.of(CoreIndex(0)).active
    }

    fn turns(&mut self, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| self.pick(Algorithm::RoundRobin).unwrap())
            .collect()
    }

    fn set_health(&mut self, at: usize, health: Health) {
        self.endpoints[at].state.set_health(health, self.now);
        self.state.changed();
    }

    fn hashed(&mut self, hash: u64, bounded_load: Option<f64>) -> usize {
        let choice = Choice {
            algorithm: Algorithm::ConsistentHash,
            key: None,
            bounded_load,
        };
        let ask = Ask {
            hash,
            ..ask(&choice, &self.state)
        };
        self.roster.pick(&ask).unwrap()
    }

    /// Where so many keys belong.
    fn owners(&mut self, keys: u64) -> Vec<usize> {
        (0..keys)
            .map(|key| self.hashed(mix(key + 1), None))
            .collect()
    }
}

fn counts(picks: &[usize], endpoints: usize) -> Vec<usize> {
    let mut counts = vec![0; endpoints];
    for at in picks {
        counts[*at] += 1;
    }
    counts
}

#[test]
fn equal_weights_take_turns() {
    for count in 1..12 {
        let mut scene = Scene::new(&vec![3; count]);
        let turns = scene.turns(3 * count);
        assert_eq!(counts(&turns[..count], count), vec![1; count]);
        assert_eq!(turns[..count], turns[count..2 * count]);
    }
}

#[test]
fn weights_are_met_exactly_in_every_cycle() {
    let weights = [5, 1, 1, 3, 7];
    let mut scene = Scene::new(&weights);
    let turns = scene.turns(17 * 40);
    for window in turns.windows(17) {
        assert_eq!(counts(window, 5), weights.map(|weight| weight as usize));
    }
}

#[test]
fn weights_are_met_smoothly() {
    let mut scene = Scene::new(&[8, 1, 1]);
    let turns = scene.turns(100);
    let run = turns.split(|at| *at != 0).map(<[usize]>::len).max();
    assert!(run.unwrap() <= 8, "{turns:?}");
    let light = turns.windows(2).filter(|pair| pair[0] != 0 && pair[1] != 0);
    assert!(light.count() <= 10, "{turns:?}");
}

#[test]
fn turns_go_on_when_endpoints_are_sorted_anew() {
    for weights in [vec![1; 10], vec![4, 1, 2, 1, 1, 3, 1, 1, 2, 4]] {
        let total: u32 = weights.iter().sum();
        let mut scene = Scene::new(&weights);
        let mut turns = Vec::new();
        for round in 0..total as usize * 10 {
            scene.endpoints.rotate_left(round % 3);
            scene.sort();
            let at = scene.pick(Algorithm::RoundRobin).unwrap();
            turns.push(scene.endpoints[at].addr.clone());
        }
        let mut counts = BTreeMap::new();
        for addr in &turns {
            *counts.entry(addr).or_insert(0) += 1;
        }
        for endpoint in &scene.endpoints {
            let expected = endpoint.weight as i32 * 10;
            let off = counts.get(&endpoint.addr).map_or(0, |count: &i32| *count) - expected;
            assert!(off.abs() <= 1, "{counts:?}");
        }
    }
}

#[test]
fn an_endpoint_that_comes_back_has_saved_nothing_up() {
    for weights in [[1, 1, 1], [2, 1, 1]] {
        let mut scene = Scene::new(&weights);
        scene.policy.panic_below = 0.0;
        scene.set_health(0, Health::Bad);
        scene.sort();
        assert!(!scene.turns(100).contains(&0));
        scene.set_health(0, Health::Good);
        scene.sort();
        let total: u32 = weights.iter().sum();
        let first = counts(&scene.turns(total as usize), 3)[0];
        assert!(first <= weights[0] as usize, "{weights:?}: {first}");
    }
}

#[test]
fn a_roster_is_stale_when_something_changes() {
    let mut scene = Scene::new(&[1, 1]);
    assert!(!scene.roster.is_stale(&scene.state, scene.now));
    scene.state.changed();
    assert!(scene.roster.is_stale(&scene.state, scene.now));
    scene.sort();
    let until = scene.now.after(Duration::from_secs(5));
    let ejection = scene.endpoints[1].state.ejection();
    ejection.store(until.0, std::sync::atomic::Ordering::Relaxed);
    scene.sort();
    assert_eq!(scene.roster.place(1), Some(Place::Ejected { until }));
    assert!(!scene.roster.is_stale(&scene.state, Moment(until.0 - 1)));
    assert!(scene.roster.is_stale(&scene.state, until));
    scene.now = until;
    scene.sort();
    assert_eq!(scene.roster.standing().in_use, 2);
    scene.roster.expire();
    assert!(scene.roster.is_stale(&scene.state, scene.now));
}

#[test]
fn a_breaker_keeps_its_endpoint_out_until_it_closes() {
    let mut scene = Scene::new(&[1, 1]);
    let until = scene.now.after(Duration::from_secs(5));
    let blocked = |at| (at == 0).then_some(until);
    let (policy, endpoints) = (&scene.policy, &scene.endpoints);
    let roster = &mut scene.roster;
    roster.sort(policy, endpoints, &scene.state, scene.now, blocked);
    assert_eq!(roster.place(0), Some(Place::Broken { until }));
    assert!(roster.is_stale(&scene.state, until));
    roster.sort(policy, endpoints, &scene.state, scene.now, |_| Some(until));
    assert_eq!(roster.standing().in_use, 0);
    assert_eq!(scene.pick(Algorithm::RoundRobin), None);
}

#[test]
fn panic_is_told_to_everyone() {
    let mut scene = Scene::new(&[1, 1, 1]);
    scene.set_health(0, Health::Bad);
    scene.set_health(1, Health::Bad);
    scene.sort();
    assert_eq!(scene.roster.standing().mode, Mode::Panic);
    assert!(
        scene
            .state
            .panics
            .load(std::sync::atomic::Ordering::Relaxed)
    );
    assert_eq!(counts(&scene.turns(3), 3), [1, 1, 1]);
    scene.set_health(0, Health::Good);
    scene.sort();
    let standing = scene.roster.standing();
    assert_eq!((standing.mode, standing.in_use), (Mode::Usual, 2));
    assert!(
        !scene
            .state
            .panics
            .load(std::sync::atomic::Ordering::Relaxed)
    );
}

#[test]
fn the_nodes_own_zone_goes_first() {
    let mut scene = Scene::new(&[1, 1, 1, 1]);
    scene.policy.zone = Some("a".into());
    for (at, zone) in [(0, "b"), (1, "a"), (2, "a")] {
        scene.endpoints[at].zone = Some(zone.into());
    }
    scene.sort();
    let places: Vec<_> = (0..4).map(|at| scene.roster.place(at).unwrap()).collect();
    let used = Place::Used { share: 0.5 };
    assert_eq!(places, [Place::Spare, used, used, Place::Spare]);
    scene.set_health(1, Health::Bad);
    scene.sort();
    let standing = scene.roster.standing();
    assert_eq!((standing.mode, standing.in_use), (Mode::Failover, 3));
    // Half of the zone is left, which is good for 0.5 / 0.7 of the requests.
    let counts = counts(&scene.turns(7_000), 4);
    assert_eq!(counts[1], 0);
    assert!(counts[2].abs_diff(5_000) <= 1, "{counts:?}");
    assert!(counts[0].abs_diff(1_000) <= 1, "{counts:?}");
}

#[test]
fn a_slow_start_grows_in_steps() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::ConsistentHash] {
        let mut scene = Scene::new(&[1, 1]);
        scene.policy.slow_start = Duration::from_secs(10);
        scene.endpoints[0].state.available_from(START);
        for (seconds, weight) in [(0, 0.1), (2, 0.28), (5, 0.55), (9, 0.91), (10, 1.0)] {
            scene.now = START.after(Duration::from_secs(seconds));
            scene.sort();
            let step = scene.now.after(Duration::from_millis(500));
            assert_eq!(scene.roster.is_stale(&scene.state, step), seconds < 10);
            let picks = match algorithm {
                Algorithm::RoundRobin => scene.turns(20_000),
                _ => scene.owners(20_000),
            };
            let share = counts(&picks, 2)[0] as f64 / 20_000.0;
            let expected = weight / (1.0 + weight);
            // A ring of two is not quite even.
            let expected = match algorithm {
                Algorithm::RoundRobin => expected..=expected,
                _ => expected - 0.06..=expected + 0.06,
            };
            let near = share > expected.start() - 0.001 && share < expected.end() + 0.001;
            assert!(near, "{seconds} s: {share} for {expected:?}");
        }
    }
}

#[test]
fn one_core_always_finds_the_emptiest() {
    let mut scene = Scene::new(&[1; 7]);
    assert_eq!(scene.hold(Algorithm::LeastConnections, 70), [10; 7]);
    scene.active(3).sub(5);
    assert_eq!(scene.hold(Algorithm::LeastConnections, 5), [10; 7]);
    let mut scene = Scene::new(&[1, 2, 5]);
    assert_eq!(scene.hold(Algorithm::LeastConnections, 80), [10, 20, 50]);
}

#[test]
fn tried_endpoints_are_avoided_while_others_are_left() {
    for algorithm in ALGORITHMS {
        let mut scene = Scene::new(&[1, 2, 1]);
        let choice = choice(algorithm);
        for tried in [[0, 1], [1, 2], [2, 0]] {
            let left = 3 - tried[0] - tried[1];
            for random in 0..50 {
                let ask = Ask {
                    random,
                    hash: mix(random),
                    tried: &tried,
                    ..ask(&choice, &scene.state)
                };
                assert_eq!(scene.roster.pick(&ask), Some(left), "{algorithm:?}");
            }
        }
        let ask = Ask {
            tried: &[0, 1, 2],
            ..ask(&choice, &scene.state)
        };
        assert!(scene.roster.pick(&ask).is_some(), "{algorithm:?}");
    }
}

#[test]
fn another_group_is_tried_before_the_same_endpoint_again() {
    for algorithm in ALGORITHMS {
        let mut scene = Scene::new(&[1, 1]);
        scene.endpoints[1].priority = 1;
        scene.sort();
        let choice = choice(algorithm);
        let first = ask(&choice, &scene.state);
        assert_eq!(scene.roster.pick(&first), Some(0));
        let retry = Ask {
            tried: &[0],
            ..first
        };
        assert_eq!(scene.roster.pick(&retry), Some(1));
    }
}

#[test]
fn endpoints_at_their_limit_are_passed_over() {
    for algorithm in ALGORITHMS {
        let mut scene = Scene::new(&[1, 1, 3]);
        let choice = choice(algorithm);
        for held in 0..6 {
            let ask = Ask {
                requests_max: 2,
                random: held,
                ..ask(&choice, &scene.state)
            };
            let at = scene.roster.pick(&ask).unwrap();
            scene.active(at).add(1);
        }
        let active = scene.endpoints.iter().map(|one| one.state.active());
        assert_eq!(active.collect::<Vec<_>>(), [2; 3]);
        let ask = Ask {
            requests_max: 2,
            ..ask(&choice, &scene.state)
        };
        assert_eq!(scene.roster.pick(&ask), None, "{algorithm:?}");
    }
}

#[test]
fn a_limit_does_not_save_turns_up() {
    let mut scene = Scene::new(&[4, 1]);
    scene.active(0).add(1);
    let choice = choice(Algorithm::RoundRobin);
    let limited = Ask {
        requests_max: 1,
        ..ask(&choice, &scene.state)
    };
    for _ in 0..100 {
        assert_eq!(scene.roster.pick(&limited), Some(1));
    }
    let turns = scene.turns(10);
    assert!(counts(&turns, 2)[1] >= 1, "{turns:?}");
}

#[test]
fn a_pinned_endpoint_is_used_while_it_is_available() {
    let mut scene = Scene::new(&[1, 1, 1]);
    let choice = Choice::default();
    let id = scene.roster.id(2).unwrap();
    let pinned = |scene: &mut Scene| {
        let ask = Ask {
            pinned: scene.roster.index_of(id),
            ..ask(&choice, &scene.state)
        };
        scene.roster.pick(&ask)
    };
    assert_eq!(pinned(&mut scene), Some(2));
    scene.endpoints.swap(0, 2);
    scene.sort();
    assert_eq!(pinned(&mut scene), Some(0));
    scene.set_health(0, Health::Bad);
    scene.sort();
    assert_ne!(pinned(&mut scene), Some(0));
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RoundRobin,
    Algorithm::LeastConnections,
    Algorithm::RandomTwo,
    Algorithm::PeakEwma,
    Algorithm::IpHash,
    Algorithm::ConsistentHash,
];
