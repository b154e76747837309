//! When an endpoint is taken out, when it comes back, and what is said of it.

use std::time::{Duration, SystemTime};

use super::super::board::{Board, Noted};
use super::super::failure::Failure;
use super::super::record::Record;
use super::super::{Standing, State};
use super::{check, grpc, http, place, target};
use crate::exposition::Exposition;

const BAD: Result<(), Failure> = Err(Failure::Status(500));

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The states after each result, one a second: `+` is good, `-` is not.
fn states(results: &str) -> String {
    let mut record = Record::new(at(0));
    let mut states = String::new();
    for (second, result) in results.chars().enumerate() {
        let result = if result == '+' { Ok(()) } else { BAD };
        record.note(&result, &check(http()), at(second as u64));
        states.push(match record.standing().state {
            State::Unchecked => '?',
            State::Healthy => 'h',
            State::Unhealthy => 'u',
        });
    }
    states
}

#[test]
fn only_failures_in_a_row_take_an_endpoint_out_and_only_successes_bring_it_back() {
    assert_eq!(states("+--+---+-++-"), "hhhhhhuuuuhh");
    assert_eq!(states("---"), "??u");
    assert_eq!(states("--+--+"), "??hhhh");
    assert_eq!(states("---+-+-++"), "??uuuuuuh");
}

#[test]
fn a_standing_says_why_and_since_when() {
    let mut record = Record::new(at(0));
    let check = check(http());
    assert!(record.note(&Ok(()), &check, at(1)).is_some());
    assert_eq!(record.note(&BAD, &check, at(10)), None);
    assert_eq!(record.note(&BAD, &check, at(12)), None);
    let change = record.note(&BAD, &check, at(14)).unwrap();
    assert_eq!(change.began, at(10));
    let out = Standing {
        state: State::Unhealthy,
        why: "3 checks in a row failed, the last: status 500".to_owned(),
        since: at(14),
    };
    assert_eq!(change.to, out);
    assert_eq!(record.note(&Ok(()), &check, at(20)), None);
    let back = record.note(&Ok(()), &check, at(22)).unwrap();
    assert_eq!(back.from, out);
    assert_eq!(back.to.why, "2 checks in a row were good");
}

#[test]
fn a_reload_that_asks_the_same_keeps_verdicts_and_counts() {
    let board = Board::default();
    let (one, two) = ("127.0.0.1:1", "127.0.0.1:2");
    let target_of = |places: &[&str]| target("app", check(http()), places);
    board.adopt(&[target_of(&[one])], at(0));
    let first = place(one.parse().unwrap());
    board.note("app", &first, &BAD, at(1));
    board.note("app", &first, &BAD, at(2));
    let mut slower = target_of(&[one, two]);
    slower.check.interval = Duration::from_secs(60);
    assert!(board.adopt(&[slower], at(3)).is_empty());
    assert_eq!(board.note("app", &first, &BAD, at(4)), Noted::Changed);
    assert_eq!(board.standings("app").len(), 2);
}

#[test]
fn another_question_or_another_upstream_begins_anew() {
    let board = Board::default();
    let one = "127.0.0.1:1";
    let first = place(one.parse().unwrap());
    let state = || board.standings("app")[0].1.state;
    board.adopt(&[target("app", check(http()), &[one])], at(0));
    for second in 0..3 {
        board.note("app", &first, &BAD, at(second));
    }
    assert_eq!(state(), State::Unhealthy);
    board.adopt(&[target("app", check(grpc()), &[one])], at(5));
    assert_eq!(state(), State::Unchecked);
    let gone = board.adopt(&[target("other", check(grpc()), &[one])], at(6));
    assert_eq!(gone, ["app"]);
    let stale = board.note("app", &first, &BAD, at(7));
    assert_eq!((stale, board.standings("app")), (Noted::Same, Vec::new()));
}

#[test]
fn metrics_tell_who_is_out() {
    let board = Board::default();
    let (one, two) = ("127.0.0.1:1", "127.0.0.1:2");
    board.adopt(&[target("app", check(http()), &[one, two])], at(0));
    let shown = || {
        let mut out = Exposition::with_capacity(1024);
        board.write(&mut out);
        out.finish()
    };
    for second in 0..3 {
        board.note("app", &place(one.parse().unwrap()), &BAD, at(second));
    }
    board.note("app", &place(two.parse().unwrap()), &Ok(()), at(3));
    let text = shown();
    for line in [
        "ringgate_upstream_endpoint_healthy{upstream=\"app\",endpoint=\"127.0.0.1:1\"} 0",
        "ringgate_upstream_endpoint_healthy{upstream=\"app\",endpoint=\"127.0.0.1:2\"} 1",
        "ringgate_health_checks_total{upstream=\"app\",result=\"failed\"} 3",
        "ringgate_health_checks_total{upstream=\"app\",result=\"passed\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
