use super::*;
use crate::resilience::Outcome;
use crate::resilience::concurrency::{Entry, Gate};

fn spec(min: u32, max: u32) -> policy::Concurrency {
    policy::Concurrency {
        max,
        queue_max: 0,
        queue_timeout: Duration::ZERO,
        adaptive: Some(policy::Adaptive {
            min,
            tolerance: 1.5,
            interval: Duration::from_secs(1),
        }),
    }
}

/// An origin that serves `knee` requests at a time, each of which takes `base_ms`: with more
/// than that under way all take longer in proportion.
struct Origin {
    knee: u32,
    base_ms: f64,
}

struct Simulation {
    spec: policy::Concurrency,
    gate: Gate,
    cores: u32,
    now: Moment,
    /// When those inside end, in milliseconds, and how long they will have taken.
    inside: Vec<(f64, f64)>,
    random: u64,
}

impl Simulation {
    fn new(cores: u32, min: u32, max: u32) -> Simulation {
        Simulation {
            spec: spec(min, max),
            gate: Gate::new(cores as usize),
            cores,
            now: Moment(1_000_000_000),
            inside: Vec::new(),
            random: 88_172_645_463_325_252,
        }
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }

    fn limit(&self) -> u32 {
        self.gate.limit(&self.spec)
    }

    /// Runs for this long with so many requests coming each millisecond; the highest and the
    /// lowest limit of the last quarter.
    fn run(&mut self, seconds: u64, per_ms: f64, origin: &Origin) -> (u32, u32) {
        let (mut least, mut most, mut owed) = (u32::MAX, 0, 0.0);
        for milli in 0..seconds * 1000 {
            self.now = self.now.after(Duration::from_millis(1));
            let now_ms = self.now.0 as f64 / 1e6;
            let (ended, left) = std::mem::take(&mut self.inside)
                .into_iter()
                .partition(|(end, _)| *end <= now_ms);
            self.inside = left;
            let ended: Vec<(f64, f64)> = ended;
            for (_, took) in ended {
                let core = CoreIndex((self.draw() % u64::from(self.cores)) as u32);
                let head_after = Duration::from_secs_f64(took / 1e3);
                let good = Outcome::Good { head_after };
                self.gate
                    .record(&self.spec, core, self.now, good, |_, _| {});
                self.gate.leave(&self.spec, |_, _| {});
            }
            owed += per_ms;
            while owed >= 1.0 {
                owed -= 1.0;
                let core = CoreIndex((self.draw() % u64::from(self.cores)) as u32);
                if let Entry::Entered = self.gate.try_enter(&self.spec, core, |_, _| {}) {
                    let load = (self.inside.len() + 1) as f64 / f64::from(origin.knee);
                    let jitter = 0.8 + 0.4 * (self.draw() % 1000) as f64 / 1000.0;
                    let took = origin.base_ms * load.max(1.0) * jitter;
                    self.inside.push((now_ms + took, took));
                }
            }
            if milli >= seconds * 750 {
                least = least.min(self.limit());
                most = most.max(self.limit());
            }
        }
        (least, most)
    }
}

/// Trials halve the limit for a while. Above the knee it may be by the tolerance and the queue
/// that is put up with.
fn settles_near(knee: u32, (least, most): (u32, u32)) {
    assert!(least >= knee / 3, "{least} is far below {knee}");
    assert!(
        most <= knee * 2 + 2 * knee.isqrt(),
        "{most} is far above {knee}"
    );
    assert!(
        most >= knee * 9 / 10,
        "{most} leaves places at {knee} unused"
    );
}

#[test]
fn the_limit_settles_near_the_knee() {
    for cores in [1, 64] {
        for knee in [20, 100] {
            let mut simulation = Simulation::new(cores, 4, 1000);
            let origin = Origin {
                knee,
                base_ms: 20.0,
            };
            // Twice what the origin can do.
            let load = 2.0 * f64::from(knee) / origin.base_ms;
            settles_near(knee, simulation.run(200, load, &origin));
        }
    }
}

#[test]
fn a_slower_origin_gets_a_lower_limit_and_the_limit_recovers() {
    let mut simulation = Simulation::new(2, 5, 1000);
    let fast = Origin {
        knee: 100,
        base_ms: 20.0,
    };
    let slow = Origin {
        knee: 25,
        base_ms: 20.0,
    };
    settles_near(100, simulation.run(300, 10.0, &fast));
    settles_near(25, simulation.run(300, 10.0, &slow));
    settles_near(100, simulation.run(300, 10.0, &fast));
}

#[test]
fn an_origin_that_takes_longer_gets_a_new_measure() {
    let mut simulation = Simulation::new(2, 5, 1000);
    let quick = Origin {
        knee: 100,
        base_ms: 10.0,
    };
    let long = Origin {
        knee: 100,
        base_ms: 60.0,
    };
    simulation.run(200, 20.0, &quick);
    let (least, _) = simulation.run(40, 20.0, &long);
    assert!(least >= 5);
    settles_near(100, simulation.run(400, 20.0, &long));
}

#[test]
fn a_limit_that_nobody_needs_does_not_grow() {
    let mut simulation = Simulation::new(2, 10, 1000);
    let origin = Origin {
        knee: 500,
        base_ms: 10.0,
    };
    assert_eq!(simulation.limit(), 100);
    let (_, most) = simulation.run(200, 1.0, &origin);
    assert!(most <= 100);
}

#[test]
fn the_limit_stays_within_its_bounds() {
    let mut simulation = Simulation::new(2, 8, 32);
    let endless = Origin {
        knee: 10_000,
        base_ms: 10.0,
    };
    let (_, most) = simulation.run(100, 20.0, &endless);
    assert_eq!(most, 32);
    for base_ms in [100.0, 500.0, 2500.0] {
        let worse = Origin { knee: 1, base_ms };
        let (least, most) = simulation.run(100, 20.0, &worse);
        assert!(least >= 8 && most <= 32);
    }
}
