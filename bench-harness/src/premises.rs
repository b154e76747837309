//! What must hold for a run to be about what its figure says.

use crate::nginx::Status;
use crate::wrk::Run;

/// What was seen from all sides during one run.
#[derive(Debug, Clone, Copy)]
pub struct Observed {
    /// Connections of the load.
    pub connections: u64,
    /// What the load saw.
    pub run: Run,
    /// What the origin saw.
    pub origin: Status,
    /// Connections that the proxy accepted.
    pub accepted: u64,
    /// Lines that the proxy added to its access log.
    pub lines: u64,
}

impl Observed {
    /// Every premise that does not hold, in words.
    pub fn faults(&self) -> Vec<String> {
        let Observed {
            connections,
            run,
            origin,
            accepted,
            lines,
        } = *self;
        let answered = run.requests;
        // A load that stops leaves at most one request on each connection unanswered.
        let seen = answered..=answered + connections;
        // Some may be opened anew, but nothing like one for each request.
        let opened_max = 2 * connections;
        let checks = [
            (
                answered > 20 * connections,
                format!("only {answered} requests were answered: too few to mean anything"),
            ),
            (
                run.socket_errors == 0,
                format!("{} socket errors", run.socket_errors),
            ),
            (
                run.bad_statuses == 0,
                format!("{} answers were not 2xx", run.bad_statuses),
            ),
            (
                seen.contains(&origin.requests),
                format!(
                    "{answered} requests were answered, but {} reached the origin",
                    origin.requests
                ),
            ),
            (
                origin.accepted <= opened_max,
                format!(
                    "the proxy opened {} connections to the origin: it does not reuse them",
                    origin.accepted
                ),
            ),
            (
                accepted <= opened_max,
                format!("the load opened {accepted} connections: they are not kept alive"),
            ),
            (
                seen.contains(&lines),
                format!("{answered} requests were answered, but {lines} were logged"),
            ),
        ];
        let broken = checks.into_iter().filter(|(holds, _)| !holds);
        broken.map(|(_, fault)| fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Observed {
        Observed {
            connections: 64,
            run: Run {
                requests: 100_000,
                seconds: 3.0,
                socket_errors: 0,
                bad_statuses: 0,
                p50_ms: 1.0,
                p99_ms: 2.0,
            },
            origin: Status {
                accepted: 64,
                requests: 100_064,
            },
            accepted: 65,
            lines: 100_020,
        }
    }

    #[track_caller]
    fn breaks(change: impl FnOnce(&mut Observed), word: &str) {
        let mut observed = sound();
        change(&mut observed);
        let faults = observed.faults();
        assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
    }

    #[test]
    fn a_sound_run_has_no_faults() {
        assert_eq!(sound().faults(), Vec::<String>::new());
    }

    #[test]
    fn errors_and_bad_statuses_break_a_run() {
        breaks(|o| o.run.socket_errors = 1, "socket errors");
        breaks(|o| o.run.bad_statuses = 1, "not 2xx");
    }

    #[test]
    fn connections_that_are_not_reused_break_a_run() {
        breaks(|o| o.origin.accepted = 50_000, "to the origin");
        breaks(|o| o.accepted = 50_000, "not kept alive");
    }

    #[test]
    fn requests_that_go_missing_break_a_run() {
        breaks(|o| o.origin.requests = 99_999, "reached the origin");
        breaks(|o| o.origin.requests = 100_065, "reached the origin");
        breaks(|o| o.lines = 99_000, "were logged");
    }

    #[test]
    fn a_run_of_hardly_any_requests_means_nothing() {
        let mut observed = sound();
        observed.run.requests = 100;
        observed.origin.requests = 100;
        observed.lines = 100;
        assert_eq!(observed.faults().len(), 1);
    }
}
