//! What must hold for a run to be about what its figure says.

use super::origin::Stats;
use super::work::{Clients, Pace, Resumption, Work};
use crate::results::LoadRun;

/// How a proxy uses connections to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upstream {
    /// It keeps them and uses them again for any client.
    Pooled,
    /// One for each connection of a client, closed with it.
    PerClient,
}

/// What was seen from all sides during one run.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What the load was to do.
    pub work: &'a Work,
    /// What it saw.
    pub run: &'a LoadRun,
    /// What the origin saw from the run's start to its end, the warm-up included.
    pub origin: Stats,
    /// How the proxy uses connections to it.
    pub upstream: Upstream,
    /// Requests that the origin saw between the two readings.
    pub counted: u64,
    /// Lines that the proxy added to its access log, if it has one.
    pub lines: Option<u64>,
}

impl Observed<'_> {
    /// Every premise that does not hold, in words.
    pub fn faults(&self) -> Vec<String> {
        let Observed {
            work, run, origin, ..
        } = *self;
        let answered = run.requests + run.warmup_requests;
        // A load that stops has at most one request on each connection or stream that is not
        // answered in time, and on a busy machine sends another one before it notices.
        let seen = answered..=answered + 2 * work.under_way_max() + answered / 100;
        let (failures, bad) = (self.failures(), self.bad_answers());
        let few = match work.pace {
            Pace::Saturating => 4 * work.under_way_max(),
            Pace::Rate(_) => 20,
        };
        let mut faults = Vec::new();
        let mut must = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        must(
            run.requests > few && self.counted > 0,
            format!(
                "only {} requests were answered: too few to mean anything; give it more --seconds",
                run.requests
            ),
        );
        must(
            failures.is_empty(),
            format!("the load met failures: {}", failures.join(", ")),
        );
        must(
            bad.is_empty(),
            format!("answers were not 2xx: {}", bad.join(", ")),
        );
        must(
            seen.contains(&origin.requests),
            format!(
                "{answered} requests were answered, but {} reached the origin",
                origin.requests
            ),
        );
        let reused = origin.accepted <= self.upstream_max();
        must(
            reused,
            format!(
                "the proxy opened {} connections to the origin: it does not reuse them",
                origin.accepted
            ),
        );
        let kept = work.clients == Clients::New || run.opened <= 2 * u64::from(work.connections);
        must(
            kept,
            format!(
                "the load opened {} connections: they are not kept alive",
                run.opened
            ),
        );
        must(
            self.handshakes_are_as_asked_for(),
            format!(
                "{} of {} handshakes resumed an earlier session",
                run.resumed, run.opened
            ),
        );
        if let Some(lines) = self.lines {
            must(
                seen.contains(&lines),
                format!("{answered} requests were answered, but {lines} were logged"),
            );
        }
        faults
    }

    /// What went wrong on the load's side, with how often.
    fn failures(&self) -> Vec<String> {
        let errors = self.run.errors.iter().filter(|(_, count)| **count > 0);
        errors
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect()
    }

    /// Answers that are none of success, with how often.
    fn bad_answers(&self) -> Vec<String> {
        let bad = self.run.statuses.iter();
        bad.filter(|(status, _)| !(200..300).contains(*status))
            .map(|(status, count)| format!("{count} of {status}"))
            .collect()
    }

    /// A handshake costs several times less when it is resumed. The first on each connection of
    /// the load, and a few that found no ticket, may be full ones.
    fn handshakes_are_as_asked_for(&self) -> bool {
        let Observed { work, run, .. } = self;
        match (&work.tls, work.clients) {
            (None, _) | (_, Clients::Kept) => true,
            (Some(tls), Clients::New) => match tls.resumption {
                Resumption::Off => run.resumed == 0,
                Resumption::Tickets => {
                    let full = run.opened.saturating_sub(run.resumed);
                    full <= work.under_way_max() + run.opened / 10
                }
            },
        }
    }

    /// Some may be opened anew, but nothing like one for each request.
    fn upstream_max(&self) -> u64 {
        match (self.upstream, self.work.clients) {
            (Upstream::PerClient, Clients::New) => u64::MAX,
            _ => 2 * self.work.under_way_max() + SPARE_CONNECTIONS,
        }
    }
}

/// Health checks, and what a pool opens ahead.
const SPARE_CONNECTIONS: u64 = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::facts;
    use crate::measure::Tls;
    use crate::results::Latency;

    fn run() -> LoadRun {
        LoadRun {
            circumstances: facts::begin(),
            target: "http://127.0.0.1:1/".to_owned(),
            protocol: "http/1.1".to_owned(),
            tls: false,
            connections: 64,
            in_flight: 1,
            rates: None,
            seconds: 3.0,
            requests: 100_000,
            warmup_requests: 30_000,
            requests_per_second: 33_333.3,
            unsent: 0,
            errors: [("reset".to_owned(), 0)].into(),
            statuses: [(200, 100_000)].into(),
            body_bytes: 0,
            opened: 64,
            resumed: 0,
            latency: Latency {
                mean_us: 1.0,
                deviation_us: 0.0,
                min_us: 1.0,
                p50_us: 1.0,
                p90_us: 1.0,
                p99_us: 1.0,
                p99_9_us: 1.0,
                max_us: 1.0,
                curve: Vec::new(),
            },
            service: None,
        }
    }

    #[track_caller]
    fn faults(
        change_run: impl FnOnce(&mut LoadRun),
        change: impl FnOnce(&mut Observed<'_>),
    ) -> Vec<String> {
        let mut run = run();
        change_run(&mut run);
        let work = Work::get("/", 64);
        let mut observed = Observed {
            work: &work,
            run: &run,
            origin: Stats {
                accepted: 64,
                requests: 130_064,
            },
            upstream: Upstream::Pooled,
            counted: 90_000,
            lines: Some(130_020),
        };
        change(&mut observed);
        observed.faults()
    }

    #[track_caller]
    fn breaks(faults: &[String], word: &str) {
        assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
    }

    #[test]
    fn a_sound_run_has_no_faults() {
        assert_eq!(faults(|_| {}, |_| {}), Vec::<String>::new());
        assert_eq!(faults(|_| {}, |o| o.lines = None), Vec::<String>::new());
    }

    #[test]
    fn failures_and_other_statuses_break_a_run() {
        let one = |run: &mut LoadRun| *run.errors.get_mut("reset").unwrap() = 1;
        breaks(&faults(one, |_| {}), "1 reset");
        let one = |run: &mut LoadRun| {
            run.statuses.insert(503, 2);
        };
        breaks(&faults(one, |_| {}), "2 of 503");
    }

    #[test]
    fn connections_that_are_not_reused_break_a_run() {
        breaks(
            &faults(|_| {}, |o| o.origin.accepted = 50_000),
            "to the origin",
        );
        breaks(&faults(|run| run.opened = 50_000, |_| {}), "not kept alive");
    }

    #[test]
    fn a_connection_for_each_request_may_be_what_was_asked_for() {
        let mut work = Work::get("/", 64);
        work.clients = Clients::New;
        let run = LoadRun {
            opened: 130_000,
            ..run()
        };
        let observed = Observed {
            work: &work,
            run: &run,
            origin: Stats {
                accepted: 130_000,
                requests: 130_000,
            },
            upstream: Upstream::PerClient,
            counted: 90_000,
            lines: None,
        };
        assert_eq!(observed.faults(), Vec::<String>::new());
        let pooled = Observed {
            upstream: Upstream::Pooled,
            ..observed
        };
        breaks(&pooled.faults(), "to the origin");
    }

    #[test]
    fn handshakes_of_the_other_kind_break_a_run() {
        let work = |resumption| Work {
            clients: Clients::New,
            tls: Some(Tls {
                ca: "/ca.pem".into(),
                name: "localhost".to_owned(),
                resumption,
            }),
            ..Work::get("/", 64)
        };
        let handshakes = |work: &Work, resumed| {
            let run = LoadRun {
                opened: 130_000,
                resumed,
                ..run()
            };
            let observed = Observed {
                work,
                run: &run,
                origin: Stats {
                    accepted: 64,
                    requests: 130_000,
                },
                upstream: Upstream::Pooled,
                counted: 90_000,
                lines: None,
            };
            observed.faults()
        };
        let resumed = work(Resumption::Tickets);
        assert_eq!(handshakes(&resumed, 125_000), Vec::<String>::new());
        breaks(&handshakes(&resumed, 60_000), "60000 of 130000 handshakes");
        let full = work(Resumption::Off);
        assert_eq!(handshakes(&full, 0), Vec::<String>::new());
        breaks(&handshakes(&full, 1), "1 of 130000 handshakes");
    }

    #[test]
    fn requests_that_go_missing_break_a_run() {
        let reached = |requests| faults(|_| {}, |o| o.origin.requests = requests);
        breaks(&reached(129_999), "reached the origin");
        breaks(&reached(132_000), "reached the origin");
        breaks(&faults(|_| {}, |o| o.lines = Some(129_000)), "were logged");
    }

    #[test]
    fn a_run_of_hardly_any_requests_means_nothing() {
        let few = |run: &mut LoadRun| (run.requests, run.warmup_requests) = (100, 129_920);
        breaks(&faults(few, |_| {}), "too few");
    }
}
