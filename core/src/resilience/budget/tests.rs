use std::sync::atomic::{AtomicBool, AtomicUsize};

use proptest::prelude::*;

use super::*;
use crate::resilience::retry::tests::spec;

const SECOND: u64 = 1_000_000_000;

fn budget_of(budget: f64, budget_minimum: u32) -> policy::Retry {
    policy::Retry {
        budget,
        budget_minimum,
        ..spec()
    }
}

#[test]
fn the_minimum_is_there_without_any_traffic() {
    let (budget, spec) = (RetryBudget::new(2), budget_of(0.2, 3));
    let spent = (0..100)
        .filter(|_| budget.try_spend(&spec, CoreIndex(1), Moment(SECOND)))
        .count();
    assert_eq!(spent, 30);
    assert_eq!((budget.spent(), budget.refused()), (30, 70));
    // Nothing comes back before the first of them is ten seconds old.
    assert!(!budget.try_spend(&spec, CoreIndex(0), Moment(11 * SECOND - 1)));
    assert!(budget.try_spend(&spec, CoreIndex(0), Moment(11 * SECOND)));
}

#[test]
fn a_share_of_live_requests_is_used_in_full() {
    for cores in [1, 2, 5, 64] {
        let (budget, spec) = (RetryBudget::new(cores), budget_of(0.2, 0));
        let mut granted = 0;
        // A minute at 1,000 requests a second, each of which would be retried.
        for millis in 1000..61_000u64 {
            let now = Moment(millis * 1_000_000);
            let core = CoreIndex((millis * 31 % cores as u64) as u32);
            budget.live(core, now);
            granted += u64::from(budget.try_spend(&spec, core, now));
        }
        let share = granted as f64 / 60_000.0;
        assert!((0.19..=0.21).contains(&share), "{share} with {cores} cores");
    }
}

#[test]
fn racing_cores_do_not_overspend() {
    const CORES: usize = 8;
    let (budget, spec) = (RetryBudget::new(CORES), budget_of(0.1, 1));
    let (live, granted, over) = (
        // A clock as well: each request moves it on.
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        for core in 0..CORES {
            let (budget, spec, live, granted, over) = (&budget, &spec, &live, &granted, &over);
            scope.spawn(move || {
                let core = CoreIndex(core as u32);
                for _ in 0..5000 {
                    // All within one window.
                    let turn = live.fetch_add(1, Ordering::SeqCst) as u64;
                    let now = Moment(SECOND * 2 + turn * 200_000);
                    budget.live(core, now);
                    if budget.try_spend(spec, core, now) {
                        let granted = granted.fetch_add(1, Ordering::SeqCst) + 1;
                        let live = live.load(Ordering::SeqCst);
                        if granted > live / 10 + 10 {
                            over.store(true, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    assert!(!over.into_inner());
    assert!(granted.into_inner() >= CORES * 5000 / 10 * 9 / 10);
}

/// Counts by second, and those of the window that ends with one.
#[derive(Default)]
struct Seconds(Vec<u64>);

impl Seconds {
    fn add(&mut self, second: u64) {
        let second = second as usize;
        self.0.resize(self.0.len().max(second + 1), 0);
        self.0[second] += 1;
    }

    fn of_window(&self, second: u64) -> f64 {
        let first = second.saturating_sub(WINDOW_SECONDS - 1);
        let counts = (first..=second).map(|at| self.0.get(at as usize).copied());
        counts.flatten().sum::<u64>() as f64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With each retry that is paid for, the retries of the last ten seconds are no more than
    /// the budget's share of the live requests of the same seconds and its minimum.
    #[test]
    fn retries_never_exceed_their_share(
        cores in 1u32..=64,
        share in 0.0f64..=1.0,
        minimum in 0u32..4,
        steps in prop::collection::vec((0u32..64, 0usize..40, 0usize..40, 0u64..900), 1..300),
    ) {
        let (budget, spec) = (RetryBudget::new(cores as usize), budget_of(share, minimum));
        let (mut live, mut paid) = (Seconds::default(), Seconds::default());
        let mut millis = 1000;
        for (core, requests, retries, pause) in steps {
            millis += pause;
            let now = Moment(millis * 1_000_000);
            for request in 0..requests {
                budget.live(CoreIndex((core + request as u32) % cores), now);
                live.add(millis / 1000);
            }
            for retry in 0..retries {
                // A core may be late by a second.
                let late = if retry % 5 == 4 { 1000 } else { 0 };
                let seen = millis.max(2000) - late;
                let core = CoreIndex((core + retry as u32) % cores);
                if !budget.try_spend(&spec, core, Moment(seen * 1_000_000)) {
                    continue;
                }
                let second = seen / 1000;
                paid.add(second);
                let most = share * live.of_window(second) + f64::from(minimum) * 10.0;
                let paid = paid.of_window(second);
                prop_assert!(paid <= most + 1e-9, "{paid} of {most}");
            }
        }
    }
}
