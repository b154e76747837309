#![allow(clippy::unwrap_used)]

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

const GOOD: Outcome = Outcome::Good {
    head_after: Duration::from_millis(5),
};
const SLOW: Outcome = Outcome::Good {
    head_after: Duration::from_millis(501),
};
const FAILED: Outcome = Outcome::Failed { head_after: None };

fn spec() -> policy::Breaker {
    policy::Breaker {
        scope: policy::BreakerScope::Upstream,
        error_ratio: 0.5,
        slow_after: Duration::from_millis(500),
        slow_ratio: 0.8,
        window: Duration::from_secs(10),
        minimum_requests: 20,
        open_for: Duration::from_secs(5),
        open_for_max: Duration::from_secs(30),
        probes: 3,
        reconcile: Duration::from_millis(10),
    }
}

/// A breaker, its upstream and a clock.
struct Scene {
    spec: policy::Breaker,
    upstream: UpstreamState,
    now: Moment,
    cores: usize,
}

impl Scene {
    fn new(cores: usize) -> Scene {
        Scene {
            spec: spec(),
            upstream: UpstreamState::new(cores),
            now: Moment(1_000_000_000),
            cores,
        }
    }

    fn breaker(&self) -> &Breaker {
        &self.upstream.breaker
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    fn admit(&self, core: usize) -> Admission {
        let core = CoreIndex((core % self.cores) as u32);
        self.breaker()
            .admit(&self.spec, &self.upstream, core, self.now)
    }

    fn record(&self, core: usize, admission: Admission, outcome: Outcome) {
        let core = CoreIndex((core % self.cores) as u32);
        let breaker = self.breaker();
        breaker.record(
            &self.spec,
            &self.upstream,
            core,
            self.now,
            admission,
            outcome,
        );
    }

    /// A request at each millisecond, on one core after the other; how many passed.
    fn run(&mut self, requests: usize, outcome: Outcome) -> usize {
        let mut passed = 0;
        for request in 0..requests {
            self.pass(Duration::from_millis(1));
            let admission = self.admit(request);
            passed += usize::from(!admission.is_open());
            self.record(request, admission, outcome);
        }
        passed
    }

    fn open(&mut self) {
        self.run(100, FAILED);
        assert!(matches!(self.breaker().state(), BreakerState::Open { .. }));
    }

    fn wait_open(&mut self) {
        let until = self.breaker().blocked_until(self.now).unwrap();
        self.now = until;
    }

    fn issued(&self) -> u16 {
        match self.breaker().state() {
            BreakerState::HalfOpen { issued, .. } => issued,
            other => panic!("not half open: {other:?}"),
        }
    }
}

#[test]
fn all_cores_decide_together_within_the_interval() {
    for cores in [1, 2, 7, 32, 64] {
        let mut scene = Scene::new(cores);
        scene.spec.reconcile = Duration::from_millis(10);
        let half = 40 * cores;
        let step = Duration::from_micros(100);
        for request in 0..half {
            scene.pass(step);
            let admission = scene.admit(request);
            scene.record(request, admission, GOOD);
        }
        for request in 0..half {
            scene.pass(step);
            let admission = scene.admit(request);
            // Only half of all have failed when the last one has been told.
            assert!(!admission.is_open(), "{cores} cores, failure {request}");
            scene.record(request, admission, FAILED);
        }
        let reached = scene.now;
        let mut request = 0;
        let opened = loop {
            scene.pass(step);
            request += 1;
            if scene.admit(request).is_open() {
                break scene.now;
            }
        };
        assert!(opened.since(reached) <= scene.spec.reconcile + step);
        // Every core agrees at once.
        assert!((0..cores).all(|core| scene.admit(core).is_open()));
        let BreakerState::Open { why, until, since } = scene.breaker().state() else {
            panic!("it is open")
        };
        assert_eq!((why.cause, since), (Cause::Errors, opened));
        assert_eq!(why.counts.failures, half as u64);
        assert_eq!(until.since(since), scene.spec.open_for);
    }
}

#[test]
fn few_requests_open_nothing() {
    let mut scene = Scene::new(4);
    assert_eq!(scene.run(19, FAILED), 19);
    scene.pass(Duration::from_secs(1));
    assert!(!scene.admit(0).is_open());
    // Failures that are spread out never are enough.
    scene.pass(Duration::from_secs(10));
    for _ in 0..100 {
        scene.pass(Duration::from_secs(1));
        assert_eq!(scene.run(1, FAILED), 1);
    }
}

#[test]
fn failures_of_another_time_open_nothing() {
    let mut scene = Scene::new(2);
    scene.run(15, FAILED);
    scene.pass(Duration::from_secs(10));
    assert_eq!(scene.run(15, FAILED), 15);
    scene.pass(Duration::from_millis(20));
    assert!(!scene.admit(0).is_open());
}

#[test]
fn slow_requests_open_it_as_well() {
    let mut scene = Scene::new(3);
    scene.run(20, GOOD);
    scene.run(79, SLOW);
    scene.pass(Duration::from_millis(20));
    assert!(!scene.admit(0).is_open());
    scene.run(30, SLOW);
    let BreakerState::Open { why, .. } = scene.breaker().state() else {
        panic!("it is open")
    };
    assert_eq!(why.cause, Cause::Slow);
    scene.spec.slow_after = Duration::ZERO;
    let mut unbound = Scene::new(3);
    unbound.spec.slow_after = Duration::ZERO;
    assert_eq!(unbound.run(200, SLOW), 200);
}

#[test]
fn racing_cores_share_the_trial_requests() {
    const CORES: usize = 8;
    for probes in [1, 3, 7] {
        let mut scene = Scene::new(CORES);
        scene.spec.probes = probes;
        scene.open();
        scene.wait_open();
        let (start, passed) = (Barrier::new(CORES), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for core in 0..CORES {
                let (scene, start, passed) = (&scene, &start, &passed);
                scope.spawn(move || {
                    start.wait();
                    for _ in 0..100 {
                        if let Admission::Probe(_) = scene.admit(core) {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), probes as usize);
    }
}

#[test]
fn successful_trials_close_it_with_empty_windows() {
    let mut scene = Scene::new(4);
    scene.open();
    let before = scene.admit(0);
    assert!(before.is_open());
    scene.wait_open();
    assert_eq!(scene.run(2, GOOD), 2);
    assert!(matches!(
        scene.breaker().state(),
        BreakerState::HalfOpen { succeeded: 2, .. }
    ));
    assert_eq!(scene.run(1, GOOD), 1);
    assert_eq!(scene.breaker().state(), BreakerState::Closed);
    assert_eq!(
        scene.breaker().counts(&scene.spec, scene.now),
        Counts::default()
    );
    assert_eq!(scene.run(19, FAILED), 19);
    let counts = scene.breaker().counts(&scene.spec, scene.now);
    assert_eq!((counts.requests, counts.failures), (19, 19));
    assert_eq!((scene.breaker().opened(), scene.breaker().closed()), (1, 1));
}

#[test]
fn failed_trials_double_the_time_up_to_its_bound() {
    let mut scene = Scene::new(2);
    scene.open();
    let mut times = Vec::new();
    for _ in 0..5 {
        scene.wait_open();
        let admission = scene.admit(1);
        scene.record(1, admission, SLOW);
        let BreakerState::Open { since, until, why } = scene.breaker().state() else {
            panic!("one failed trial opens it")
        };
        assert_eq!(why.cause, Cause::Trial);
        times.push(until.since(since).as_secs());
    }
    assert_eq!(times, [10, 20, 30, 30, 30]);
    scene.wait_open();
    scene.run(3, GOOD);
    assert_eq!(scene.breaker().state(), BreakerState::Closed);
    // Closed once, it starts with the short time again.
    scene.open();
    let until = scene.breaker().blocked_until(scene.now).unwrap();
    assert!(until.since(scene.now) <= scene.spec.open_for);
}

#[test]
fn trials_that_nobody_reports_do_not_wedge_it() {
    let mut scene = Scene::new(2);
    scene.open();
    scene.wait_open();
    let lost = [scene.admit(0), scene.admit(1), scene.admit(0)];
    assert!(lost.iter().all(|lost| matches!(lost, Admission::Probe(_))));
    assert!(scene.admit(0).is_open());
    scene.pass(scene.spec.open_for);
    // Two successes, one of them late: what was given up for lost still counts.
    assert_eq!(scene.run(1, GOOD), 1);
    scene.record(1, lost[0], GOOD);
    assert_eq!(scene.run(1, GOOD), 1);
    assert_eq!(scene.breaker().state(), BreakerState::Closed);
}

#[test]
fn few_requests_close_it_in_the_end() {
    let mut scene = Scene::new(2);
    scene.open();
    scene.wait_open();
    for _ in 0..3 {
        assert_eq!(scene.run(1, GOOD), 1);
        // Longer than trials last.
        scene.pass(Duration::from_secs(7));
    }
    assert_eq!(scene.breaker().state(), BreakerState::Closed);
}

#[test]
fn a_trial_that_was_none_is_given_to_another_request() {
    let mut scene = Scene::new(2);
    scene.open();
    scene.wait_open();
    let admissions = [scene.admit(0), scene.admit(1), scene.admit(0)];
    assert!(scene.admit(1).is_open());
    scene.record(0, admissions[2], Outcome::Neutral);
    assert_eq!(scene.issued(), 2);
    assert!(matches!(scene.admit(1), Admission::Probe(_)));
    assert!(scene.admit(1).is_open());
}

#[test]
fn what_ends_under_another_state_is_no_evidence() {
    let mut scene = Scene::new(1);
    let early: Vec<Admission> = (0..50).map(|_| scene.admit(0)).collect();
    scene.open();
    scene.wait_open();
    let trial = scene.admit(0);
    early.iter().for_each(|early| scene.record(0, *early, GOOD));
    assert_eq!(scene.issued(), 1);
    scene.record(0, trial, GOOD);
    scene.run(2, GOOD);
    assert_eq!(scene.breaker().state(), BreakerState::Closed);
    for late in early.iter().chain([&trial]) {
        scene.record(0, *late, FAILED);
    }
    assert_eq!(
        scene.breaker().counts(&scene.spec, scene.now),
        Counts::default()
    );
}

#[test]
fn another_specification_keeps_the_state() {
    let mut scene = Scene::new(2);
    scene.open();
    let before = scene.breaker().state();
    scene.spec.error_ratio = 1.0;
    scene.spec.window = Duration::from_secs(60);
    assert!(scene.admit(0).is_open());
    assert_eq!(scene.breaker().state(), before);
    let mut scene = Scene::new(2);
    scene.run(15, FAILED);
    scene.spec.window = Duration::from_secs(60);
    scene.run(15, FAILED);
    assert!(scene.admit(0).is_open());
}

#[test]
fn rosters_hear_of_each_change() {
    let mut scene = Scene::new(2);
    let heard = |scene: &Scene| scene.upstream.changes();
    let at_first = heard(&scene);
    scene.run(10, GOOD);
    assert_eq!(heard(&scene), at_first);
    assert_eq!(scene.breaker().blocked_until(scene.now), None);
    scene.open();
    let open = heard(&scene);
    assert_ne!(open, at_first);
    scene.wait_open();
    assert_eq!(scene.breaker().blocked_until(scene.now), None);
    let trials = [scene.admit(0), scene.admit(1)];
    let half_open = heard(&scene);
    assert_ne!(half_open, open);
    assert_eq!(scene.breaker().blocked_until(scene.now), None);
    // The last trial request is out.
    let last = scene.admit(1);
    let spent = heard(&scene);
    assert_ne!(spent, half_open);
    assert!(scene.breaker().blocked_until(scene.now).is_some());
    scene.record(1, last, Outcome::Neutral);
    assert_ne!(heard(&scene), spent);
    assert_eq!(scene.breaker().blocked_until(scene.now), None);
    trials
        .iter()
        .for_each(|trial| scene.record(0, *trial, GOOD));
    let before = heard(&scene);
    scene.run(1, GOOD);
    assert_ne!(heard(&scene), before);
}

proptest! {
    /// Whatever happens, no more trial requests are under way than may be, unless some were
    /// given up for lost, and an origin that is well again is used again.
    #[test]
    fn nothing_wedges_it(
        cores in 1usize..=64,
        steps in prop::collection::vec((0u8..8, 0usize..64, 1u64..3000), 1..400),
    ) {
        let mut scene = Scene::new(cores);
        let mut under_way: Vec<Admission> = Vec::new();
        for (what, which, millis) in steps {
            match what {
                0..=3 => match scene.admit(which) {
                    Admission::Open { until } => prop_assert!(until > scene.now),
                    admission => under_way.push(admission),
                },
                4 => scene.pass(Duration::from_millis(millis)),
                // Lost.
                5 if under_way.len() > 1 => {
                    let _ = under_way.swap_remove(which % under_way.len());
                }
                _ if under_way.is_empty() => {}
                _ => {
                    let admission = under_way.swap_remove(which % under_way.len());
                    let outcome = [GOOD, FAILED, Outcome::Neutral, SLOW, Outcome::Unreachable];
                    scene.record(which, admission, outcome[(millis % 5) as usize]);
                }
            }
            if let BreakerState::HalfOpen { issued, .. } = scene.breaker().state() {
                prop_assert!(u32::from(issued) <= scene.spec.probes);
            }
        }
        for _ in 0..20 {
            scene.pass(Duration::from_secs(5));
            scene.run(3, GOOD);
        }
        prop_assert_eq!(scene.breaker().state(), BreakerState::Closed);
        prop_assert_eq!(scene.run(100, GOOD), 100);
    }
}
