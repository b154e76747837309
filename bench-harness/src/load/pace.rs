//! The schedule of an open loop: when each request is due, whatever the server does. Time is an
//! argument, in nanoseconds since the start of the run, so that it can be simulated. The n-th
//! request of a step is due at the step's begin plus n intervals: no error adds up.

/// When the requests of one thread are due.
#[derive(Debug, Clone)]
pub struct Pace {
    steps: Vec<Step>,
    share: Share,
    /// The step of the next request, and its number among this thread's requests in it.
    step: usize,
    number: u64,
}

/// A constant rate for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Requests due per second, of all threads together.
    pub rate: f64,
    /// When it begins, in nanoseconds since the start of the run.
    pub from: u64,
    /// When it ends, exclusive.
    pub to: u64,
}

/// Which of the requests are one thread's: those whose number leaves the remainder `thread`
/// divided by `threads`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Number of the thread, from 0.
    pub thread: u32,
    /// How many there are.
    pub threads: u32,
}

/// Steps of equal length that fill `from..to`; the first one begins at 0 already, so that the
/// warm-up runs at its rate.
pub fn steps(rates: &[f64], from: u64, to: u64) -> Vec<Step> {
    let count = rates.len() as u64;
    let begin = |n: u64| from + (to - from) / count * n;
    let steps = rates.iter().zip(0..).map(|(&rate, n)| Step {
        rate,
        from: if n == 0 { 0 } else { begin(n) },
        to: if n + 1 == count { to } else { begin(n + 1) },
    });
    steps.collect()
}

impl Pace {
    /// A schedule at its begin.
    pub fn new(steps: Vec<Step>, share: Share) -> Pace {
        let mut pace = Pace {
            steps,
            share,
            step: 0,
            number: 0,
        };
        pace.settle();
        pace
    }

    /// When the next request is due; none when the schedule is over.
    pub fn next(&self) -> Option<u64> {
        self.steps
            .get(self.step)
            .map(|step| due(step, self.share, self.number))
    }

    /// Takes the next request if it is due: the time when it was.
    pub fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next().filter(|&due| due <= now)?;
        self.number += 1;
        self.settle();
        Some(due)
    }

    /// How many requests are due at `now` and not taken, counted up to `most`, and when the one
    /// behind those is due.
    pub fn waiting(&self, now: u64, most: usize) -> (usize, Option<u64>) {
        let mut ahead = Pace {
            steps: Vec::new(),
            ..*self
        };
        let mut count = 0;
        loop {
            let next = ahead.next_of(&self.steps);
            if count == most || next.is_none_or(|due| due > now) {
                return (count, next);
            }
            count += 1;
            ahead.number += 1;
            ahead.settle_in(&self.steps);
        }
    }

    /// How many requests due in `from..to` have not been taken.
    pub fn untaken(&self, from: u64, to: u64) -> u64 {
        let steps = self.steps.iter().enumerate().skip(self.step);
        let counts = steps.map(|(at, step)| {
            let taken = if at == self.step { self.number } else { 0 };
            let before = |time: u64| first_at(step, self.share, time.clamp(step.from, step.to));
            before(to).saturating_sub(before(from).max(taken))
        });
        counts.sum()
    }

    fn next_of(&self, steps: &[Step]) -> Option<u64> {
        steps
            .get(self.step)
            .map(|step| due(step, self.share, self.number))
    }

    fn settle(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        self.settle_in(&steps);
        self.steps = steps;
    }

    /// Goes on to the step that the next request is in.
    fn settle_in(&mut self, steps: &[Step]) {
        while let Some(step) = steps.get(self.step)
            && due(step, self.share, self.number) >= step.to
        {
            self.step += 1;
            self.number = 0;
        }
    }
}

/// When the n-th request of this share in a step is due.
fn due(step: &Step, share: Share, number: u64) -> u64 {
    let of_all = number * u64::from(share.threads) + u64::from(share.thread);
    // Exact to a nanosecond for a month at a million a second: 2^53 nanoseconds are 104 days.
    step.from + (of_all as f64 * (1e9 / step.rate)) as u64
}

/// The number of the first request of this share in a step that is due at `time` or later.
fn first_at(step: &Step, share: Share, time: u64) -> u64 {
    let of_all = (time - step.from) as f64 * step.rate / 1e9;
    let guess = (of_all - f64::from(share.thread)) / f64::from(share.threads);
    // The division rounds: the neighbours tell.
    let mut number = (guess.max(0.0) as u64).saturating_sub(1);
    while due(step, share, number) < time {
        number += 1;
    }
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALONE: Share = Share {
        thread: 0,
        threads: 1,
    };
    const SECOND: u64 = 1_000_000_000;

    fn all(mut pace: Pace) -> Vec<u64> {
        std::iter::from_fn(|| pace.take(u64::MAX)).collect()
    }

    #[test]
    fn requests_are_due_at_even_intervals_from_the_start() {
        let pace = Pace::new(steps(&[4.0], 0, SECOND), ALONE);
        assert_eq!(all(pace), [0, 250_000_000, 500_000_000, 750_000_000]);
    }

    #[test]
    fn nothing_is_taken_before_it_is_due() {
        let mut pace = Pace::new(steps(&[2.0], 0, SECOND), ALONE);
        assert_eq!(pace.take(0), Some(0));
        assert_eq!(pace.take(499_999_999), None);
        assert_eq!(pace.next(), Some(500_000_000));
        assert_eq!(pace.take(700_000_000), Some(500_000_000));
        assert_eq!((pace.take(u64::MAX), pace.next()), (None, None));
    }

    #[test]
    fn requests_pile_up_while_nobody_takes_them_and_keep_their_times() {
        let mut pace = Pace::new(steps(&[1000.0], 0, SECOND), ALONE);
        assert_eq!(pace.waiting(9_500_000, 100), (10, Some(10_000_000)));
        assert_eq!(pace.waiting(9_500_000, 4), (4, Some(4_000_000)));
        let late: Vec<u64> = (0..10).filter_map(|_| pace.take(9_500_000)).collect();
        assert_eq!((late[0], late[9]), (0, 9_000_000));
        assert_eq!(pace.waiting(9_500_000, 100).0, 0);
    }

    #[test]
    fn threads_share_the_requests_without_gap_or_double() {
        let schedule = steps(&[7.0, 13.0], SECOND, 3 * SECOND);
        let whole = all(Pace::new(schedule.clone(), ALONE));
        let mut shared: Vec<u64> = (0..3)
            .flat_map(|thread| {
                let share = Share { thread, threads: 3 };
                all(Pace::new(schedule.clone(), share))
            })
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, whole);
        assert_eq!(whole.len(), 14 + 13);
    }

    #[test]
    fn the_warm_up_runs_at_the_rate_of_the_first_step() {
        let schedule = steps(&[2.0, 4.0], SECOND, 3 * SECOND);
        let begins: Vec<_> = schedule.iter().map(|s| (s.from, s.to)).collect();
        assert_eq!(begins, [(0, 2 * SECOND), (2 * SECOND, 3 * SECOND)]);
    }

    #[test]
    fn untaken_requests_of_a_window_are_counted_exactly() {
        let schedule = steps(&[10.0, 100.0], SECOND, 3 * SECOND);
        for taken in [0, 5, 15, 25, 119, 120] {
            let mut pace = Pace::new(schedule.clone(), ALONE);
            (0..taken).for_each(|_| assert!(pace.take(u64::MAX).is_some()));
            let rest = all(pace.clone());
            for (from, to) in [(0, 3 * SECOND), (SECOND, 3 * SECOND), (SECOND, 2 * SECOND)] {
                let left = rest.iter().filter(|&&due| from <= due && due < to);
                assert_eq!(
                    pace.untaken(from, to),
                    left.count() as u64,
                    "{taken} {from}"
                );
            }
        }
    }

    #[test]
    fn no_error_adds_up_over_an_hour() {
        let mut pace = Pace::new(steps(&[3.0], 0, 3600 * SECOND), ALONE);
        let last = std::iter::from_fn(|| pace.take(u64::MAX)).last().unwrap();
        assert!(last.abs_diff(3600 * SECOND - SECOND / 3) <= 1);
    }
}
