//! What is shown while a run goes on: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::plan::Plan;
use super::show::time;
use super::tally::{Live, Watched};

/// Whether anybody would see a bar.
pub fn watched(quiet: bool) -> Watched {
    match !quiet && std::io::stderr().is_terminal() {
        true => Watched::Yes,
        false => Watched::No,
    }
}

/// The bar of one run.
pub struct Progress {
    bar: ProgressBar,
    lives: Vec<Arc<Live>>,
    /// When the rate was computed last, and the answers until then.
    last: (Instant, u64),
}

impl Progress {
    /// A bar, or nothing.
    pub fn new(plan: &Plan, lives: Vec<Arc<Live>>, watched: Watched) -> Progress {
        let bar = match watched {
            Watched::Yes => ProgressBar::new(plan.window.to / NANOS_PER_MILLI),
            Watched::No => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress {
            bar,
            lives,
            last: (Instant::now(), 0),
        }
    }

    /// Shows what there is so far.
    pub fn show(&mut self, elapsed: Duration) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(elapsed.as_millis() as u64);
        let (at, before) = self.last;
        let span = at.elapsed();
        if span < EVERY {
            return;
        }
        let sum = |of: fn(&Live) -> u64| self.lives.iter().map(|live| of(live)).sum::<u64>();
        let answered = sum(|live| live.answered.load(Ordering::Relaxed));
        let failed = sum(|live| live.failed.load(Ordering::Relaxed));
        let p99 = self
            .lives
            .iter()
            .map(|live| live.p99.load(Ordering::Relaxed));
        let rate = answered.saturating_sub(before) as f64 / span.as_secs_f64();
        self.last = (Instant::now(), answered);
        self.bar.set_message(format!(
            "{rate:.0}/s, p99 {}, {failed} errors",
            time(p99.max().unwrap_or(0))
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const TEMPLATE: &str = "[{elapsed}] {bar:30} {msg}";

const NANOS_PER_MILLI: u64 = 1_000_000;

/// A whole number of the threads' own updates.
const EVERY: Duration = Duration::from_secs(1);
