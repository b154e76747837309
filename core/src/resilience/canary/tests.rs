use super::*;

const GOOD: Outcome = Outcome::Good {
    head_after: Duration::from_millis(5),
};
const HOUR: Duration = Duration::from_secs(3600);
const START: Moment = Moment(1_000_000_000);

fn halt() -> policy::Halt {
    policy::Halt {
        error_ratio: 0.05,
        minimum_requests: 50,
        window: Duration::from_secs(60),
    }
}

fn spec() -> policy::Canary {
    policy::Canary::new((1, "users-v2"), (0.05, 0.5), HOUR, Some(halt()))
}

/// The share that is really sent there, of a thousand points.
fn sent(ramp: &Ramp, spec: &policy::Canary, now: Moment) -> u32 {
    let step = u64::MAX / 1000;
    let points = (0..1000u64).map(|point| point * step + step / 2);
    points
        .filter(|point| ramp.side(spec, now, *point) == Side::Canary)
        .count() as u32
}

/// Requests of the canary in turn over the cores, of which each `failing`th fails.
fn run(ramp: &Ramp, spec: &policy::Canary, now: Moment, cores: u32, failing: u32) {
    for request in 0..400 {
        let now = now.after(Duration::from_millis(request.into()));
        let outcome = match request % failing {
            0 => Outcome::Unreachable,
            _ => GOOD,
        };
        ramp.record(spec, Side::Canary, CoreIndex(request % cores), now, outcome);
    }
}

#[test]
fn the_share_grows_in_a_straight_line() {
    let (ramp, spec) = (Ramp::new(2), spec());
    let shares = [0, 15, 30, 60, 600].map(|minute| {
        let now = START.after(Duration::from_secs(60 * minute));
        sent(&ramp, &spec, now)
    });
    assert_eq!(shares, [50, 163, 275, 500, 500]);
    assert_eq!(ramp.started(), START);
}

#[test]
fn whole_shares_are_exact() {
    let none = policy::Canary::new((1, "b"), (0.0, 0.0), HOUR, None);
    let all = policy::Canary::new((1, "b"), (1.0, 1.0), Duration::ZERO, None);
    let ramp = Ramp::new(1);
    for point in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(ramp.side(&none, START, point), Side::Baseline);
        assert_eq!(ramp.side(&all, START, point), Side::Canary);
    }
}

#[test]
fn who_is_on_the_canary_stays_there_while_it_grows() {
    let (ramp, spec) = (Ramp::new(1), spec());
    let point = u64::MAX / 10;
    let mut last = Side::Baseline;
    for minute in 0..120 {
        let now = START.after(Duration::from_secs(60 * minute));
        let side = ramp.side(&spec, now, point);
        assert!(last == Side::Baseline || side == Side::Canary);
        last = side;
    }
    assert_eq!(last, Side::Canary);
}

#[test]
fn a_failing_canary_gets_nothing_until_somebody_says_so() {
    for cores in [1, 8, 64] {
        let (ramp, spec) = (Ramp::new(cores as usize), spec());
        assert_eq!(sent(&ramp, &spec, START), 50);
        let half = START.after(HOUR / 2);
        run(&ramp, &spec, half, cores, 10);
        let halted = ramp.halted();
        let Some(halted) = halted else {
            panic!("a tenth of its requests has failed")
        };
        assert!(halted.requests >= 50 && halted.failures * 20 >= halted.requests);
        assert!((halted.share - 0.275).abs() < 0.01);
        assert!(halted.since.since(half) < Duration::from_millis(400));
        let later = half.after(10 * HOUR);
        assert_eq!(sent(&ramp, &spec, later), 0);
        assert!(ramp.resume(later));
        assert!(!ramp.resume(later));
        assert_eq!(sent(&ramp, &spec, later), 50);
        // What has failed before is forgotten.
        run(&ramp, &spec, later, cores, 401);
        assert_eq!(ramp.halted(), None);
    }
}

#[test]
fn few_failures_or_few_requests_stop_nothing() {
    let (ramp, spec) = (Ramp::new(2), spec());
    assert_eq!(sent(&ramp, &spec, START), 50);
    run(&ramp, &spec, START, 2, 100);
    assert_eq!(ramp.halted(), None);
    let ramp = Ramp::new(2);
    assert_eq!(sent(&ramp, &spec, START), 50);
    for request in 0..49 {
        let now = START.after(Duration::from_secs(request));
        let core = CoreIndex(0);
        ramp.record(&spec, Side::Canary, core, now, Outcome::Unreachable);
        ramp.record(&spec, Side::Canary, core, now, Outcome::Neutral);
    }
    assert_eq!(ramp.halted(), None);
    assert_eq!(ramp.totals(Side::Canary), (49, 49));
}

#[test]
fn failures_of_the_baseline_do_not_stop_the_canary() {
    let (ramp, spec) = (Ramp::new(1), spec());
    for _ in 0..1000 {
        ramp.record(
            &spec,
            Side::Baseline,
            CoreIndex(0),
            START,
            Outcome::Unreachable,
        );
    }
    assert_eq!(ramp.halted(), None);
    assert_eq!(ramp.totals(Side::Baseline), (1000, 1000));
}

#[test]
fn the_same_ramp_goes_on_and_another_one_begins() {
    let (ramp, first) = (Ramp::new(1), spec());
    assert_eq!(sent(&ramp, &first, START), 50);
    let end = START.after(HOUR);
    let again = policy::Canary {
        upstream: 7,
        ..spec()
    };
    assert_eq!(sent(&ramp, &again, end), 500);
    run(&ramp, &again, end, 1, 2);
    assert!(ramp.halted().is_some());
    assert_eq!(sent(&ramp, &again, end), 0);
    let other = policy::Canary::new((7, "users-v3"), (0.05, 0.5), HOUR, Some(halt()));
    assert_eq!(sent(&ramp, &other, end), 50);
    assert_eq!(ramp.halted(), None);
}
