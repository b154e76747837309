#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::rt::Addr;
use crate::stats::CoreIndex;

const GOOD: Outcome = Outcome::Good {
    head_after: Duration::from_millis(10),
};
const FAILED: Outcome = Outcome::Failed { head_after: None };
const GONE: Outcome = Outcome::Unreachable;

fn spec() -> policy::Outlier {
    policy::Outlier {
        consecutive_5xx: 5,
        consecutive_gateway: 3,
        interval: Duration::from_secs(10),
        success_rate_deviations: 1.9,
        latency_factor: 3.0,
        minimum_requests: 20,
        ejection: Duration::from_secs(30),
        ejection_max: Duration::from_secs(100),
        ejected_max: 0.5,
    }
}

struct Scene {
    spec: policy::Outlier,
    upstream: UpstreamState,
    endpoints: Vec<Endpoint>,
    now: Moment,
}

impl Scene {
    fn new(endpoints: u16) -> Scene {
        let upstream = UpstreamState::new(2);
        let endpoint = |port| {
            let addr = Addr::Tcp(([127, 0, 0, 1], port).into());
            Endpoint {
                state: upstream.endpoint(&addr, "origin"),
                addr,
                weight: 1,
                priority: 0,
                zone: None,
                authority: "origin".into(),
            }
        };
        Scene {
            spec: spec(),
            endpoints: (1..=endpoints).map(endpoint).collect(),
            upstream,
            now: Moment(1_000_000_000),
        }
    }

    fn state(&self, index: usize) -> &EndpointState {
        &self.endpoints[index].state
    }

    fn record(&self, index: usize, outcome: Outcome) -> Option<Ejection> {
        let state = self.state(index);
        state.stats.of(CoreIndex(0)).record(outcome);
        record(
            &self.spec,
            state,
            &self.upstream,
            &self.endpoints,
            self.now,
            outcome,
        )
    }

    fn record_all(&self, index: usize, outcomes: &[(usize, Outcome)]) -> Option<Ejection> {
        let each = outcomes
            .iter()
            .flat_map(|(times, outcome)| vec![*outcome; *times]);
        each.fold(None, |last, outcome| self.record(index, outcome).or(last))
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.sweep();
    }

    fn sweep(&self) {
        sweep(&self.spec, &self.endpoints, &self.upstream, self.now);
    }

    fn ejected(&self) -> Vec<usize> {
        let is_ejected = |index: &usize| self.state(*index).ejected_until(self.now).is_some();
        (0..self.endpoints.len()).filter(is_ejected).collect()
    }
}

#[test]
fn failures_in_a_row_eject_and_a_success_ends_the_row() {
    let scene = Scene::new(4);
    assert_eq!(
        scene.record_all(0, &[(4, FAILED), (1, GOOD), (4, FAILED)]),
        None
    );
    let changes = scene.upstream.changes();
    let ejection = scene.record(0, FAILED).unwrap();
    assert_eq!(ejection.cause, Cause::Failures);
    assert_eq!(ejection.until.since(scene.now), scene.spec.ejection);
    assert_eq!(scene.state(0).ejection_now(scene.now), Some(ejection));
    assert_eq!(scene.ejected(), [0]);
    assert_ne!(scene.upstream.changes(), changes);
    assert_eq!(scene.upstream.outlier.ejections(Cause::Failures), 1);
    // Answers that were under way change nothing.
    assert_eq!(scene.record_all(0, &[(9, FAILED)]), None);
}

#[test]
fn gateway_failures_have_a_row_of_their_own() {
    let scene = Scene::new(4);
    let mixed = [(2, GONE), (1, FAILED), (1, GONE)];
    assert_eq!(scene.record_all(1, &mixed), None);
    let ejection = scene.record_all(2, &[(3, GONE)]).unwrap();
    assert_eq!(ejection.cause, Cause::Gateway);
    assert_eq!(
        scene.record_all(3, &[(2, GONE), (40, Outcome::Neutral)]),
        None
    );
}

#[test]
fn a_criterion_that_is_off_ejects_nobody() {
    let mut scene = Scene::new(4);
    (scene.spec.consecutive_5xx, scene.spec.consecutive_gateway) = (0, 0);
    assert_eq!(scene.record_all(0, &[(1000, GONE)]), None);
}

#[test]
fn no_more_than_their_share_is_ejected() {
    for (endpoints, share, most) in [
        (1, 0.5, 0),
        (1, 1.0, 1),
        (2, 0.1, 1),
        (3, 0.5, 1),
        (10, 0.5, 5),
        (10, 0.0, 1),
        (10, 1.0, 10),
    ] {
        let mut scene = Scene::new(endpoints);
        scene.spec.ejected_max = share;
        for index in 0..endpoints.into() {
            scene.record_all(index, &[(5, GONE)]);
        }
        assert_eq!(scene.ejected().len(), most, "{share} of {endpoints}");
        let counted = scene.upstream.ejected.load(Ordering::Relaxed);
        assert_eq!(counted as usize, most);
        assert_eq!(
            scene.upstream.outlier.withheld() > 0,
            most < endpoints.into()
        );
    }
}

#[test]
fn racing_cores_keep_the_ceiling() {
    let scene = Scene::new(10);
    let ejections = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (scene, ejections) = (&scene, &ejections);
            scope.spawn(move || {
                for turn in 0..2000 {
                    let state = scene.state((turn + thread) % 10);
                    let ejection = record(
                        &scene.spec,
                        state,
                        &scene.upstream,
                        &scene.endpoints,
                        scene.now,
                        GONE,
                    );
                    ejections.fetch_add(ejection.iter().count(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(scene.ejected().len(), 5);
    assert_eq!(ejections.into_inner(), 5);
}

#[test]
fn ejections_lapse_and_slow_start_begins() {
    let mut scene = Scene::new(2);
    let ejection = scene.record_all(0, &[(3, GONE)]).unwrap();
    let changes = scene.upstream.changes();
    scene.pass(29);
    assert_eq!(scene.ejected(), [0]);
    assert_eq!(scene.upstream.changes(), changes);
    scene.pass(1);
    assert!(scene.ejected().is_empty());
    assert_ne!(scene.upstream.changes(), changes);
    assert_eq!(scene.state(0).available_since(), ejection.until);
    assert_eq!(scene.state(0).ejection().load(Ordering::Relaxed), 0);
    assert_eq!(scene.upstream.ejected.load(Ordering::Relaxed), 0);
    // The next row starts from nothing.
    assert_eq!(scene.record_all(0, &[(2, GONE)]), None);
}

#[test]
fn ejections_grow_and_good_intervals_forgive() {
    let mut scene = Scene::new(2);
    let mut times = Vec::new();
    for _ in 0..5 {
        let ejection = scene.record_all(0, &[(3, GONE)]).unwrap();
        let span = ejection.until.since(ejection.since);
        times.push(span.as_secs());
        scene.now = ejection.until;
        scene.sweep();
    }
    assert_eq!(times, [30, 60, 90, 100, 100]);
    // The interval that the last ejection ended in is no good one yet.
    for _ in 0..4 {
        scene.pass(10);
    }
    let ejection = scene.record_all(0, &[(3, GONE)]).unwrap();
    assert!(ejection.times < 5, "{}", ejection.times);
    scene.now = ejection.until;
    for _ in 0..20 {
        scene.pass(10);
    }
    assert_eq!(scene.record_all(0, &[(3, GONE)]).unwrap().times, 1);
}

#[test]
fn the_one_that_fails_most_stands_out() {
    let mut scene = Scene::new(6);
    (scene.spec.consecutive_5xx, scene.spec.consecutive_gateway) = (0, 0);
    scene.pass(1);
    for index in 0..5 {
        scene.record_all(index, &[(98, GOOD), (2, FAILED)]);
    }
    scene.record_all(5, &[(50, GOOD), (50, FAILED)]);
    scene.pass(9);
    assert!(scene.ejected().is_empty());
    scene.pass(1);
    assert_eq!(scene.ejected(), [5]);
    let ejection = scene.state(5).ejection_now(scene.now).unwrap();
    assert_eq!(ejection.cause, Cause::SuccessRate);
}

#[test]
fn what_is_within_the_noise_or_seldom_asked_does_not_stand_out() {
    let mut scene = Scene::new(6);
    (scene.spec.consecutive_5xx, scene.spec.consecutive_gateway) = (0, 0);
    scene.pass(1);
    for index in 0..4 {
        scene.record_all(index, &[(100, GOOD)]);
    }
    scene.record_all(4, &[(98, GOOD), (2, FAILED)]);
    scene.record_all(5, &[(19, FAILED)]);
    scene.pass(10);
    assert!(scene.ejected().is_empty());
}

#[test]
fn the_slowest_stands_out() {
    for endpoints in [2, 3, 6] {
        let mut scene = Scene::new(endpoints);
        scene.pass(1);
        let slow = Outcome::Good {
            head_after: Duration::from_millis(31),
        };
        for index in 1..endpoints.into() {
            scene.record_all(index, &[(30, GOOD)]);
        }
        scene.record_all(0, &[(30, slow)]);
        scene.pass(10);
        assert_eq!(scene.ejected(), [0]);
        let ejection = scene.state(0).ejection_now(scene.now).unwrap();
        assert_eq!(ejection.cause, Cause::Latency);
    }
}

#[test]
fn what_was_counted_before_the_policy_is_no_interval() {
    let mut scene = Scene::new(6);
    (scene.spec.consecutive_5xx, scene.spec.consecutive_gateway) = (0, 0);
    let fails = |scene: &Scene| {
        for index in 0..5 {
            scene.record_all(index, &[(100, GOOD)]);
        }
        scene.record_all(5, &[(100, FAILED)]);
    };
    fails(&scene);
    scene.pass(10);
    assert!(scene.ejected().is_empty());
    fails(&scene);
    scene.pass(1000);
    assert!(scene.ejected().is_empty());
    scene.pass(10);
    assert!(scene.ejected().is_empty());
}

#[test]
fn an_ejected_endpoint_that_is_replaced_frees_its_place() {
    let mut scene = Scene::new(2);
    scene.record_all(0, &[(3, GONE)]);
    let gone = scene.endpoints.remove(0);
    let addr = Addr::Tcp(([127, 0, 0, 1], 9).into());
    let state = scene.upstream.endpoint(&addr, "origin");
    scene.endpoints.push(Endpoint {
        addr,
        state: Arc::clone(&state),
        ..gone
    });
    assert!(scene.record_all(0, &[(3, GONE)]).is_some());
    assert_eq!(scene.upstream.ejected.load(Ordering::Relaxed), 1);
}
