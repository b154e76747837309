//! What traffic policies ask for, in words: for `explain` and for the admin API's pages.

use std::fmt::Write as _;
use std::time::Duration;

use ringgate_core::policy::{
    Algorithm, Balance, Breaker, BreakerScope, Canary, Choice, Concurrency, Fallback, FallbackTo,
    Hedge, Mirror, Outlier, Retry, RetryOn, Urgency,
};

/// The word of the configuration for an algorithm.
pub fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "round_robin",
        Algorithm::LeastConnections => "least_connections",
        Algorithm::RandomTwo => "random_two",
        Algorithm::PeakEwma => "peak_ewma",
        Algorithm::IpHash => "ip_hash",
        Algorithm::ConsistentHash => "consistent_hash",
    }
}

/// How an endpoint is picked.
pub fn choice(choice: &Choice) -> String {
    let how = match choice.algorithm {
        Algorithm::RoundRobin => "in turn, by weight",
        Algorithm::LeastConnections => "the one with the fewest requests in flight for its weight",
        Algorithm::RandomTwo => "the less loaded of two drawn at random",
        Algorithm::PeakEwma => "the faster of two drawn at random",
        Algorithm::IpHash => "by the client's address",
        Algorithm::ConsistentHash => "by hash",
    };
    let mut text = format!("{}: {how}", algorithm(choice.algorithm));
    if let Some(hashed) = &choice.key {
        let _ = write!(text, " of {hashed}");
    }
    if let Some(bound) = choice.bounded_load {
        let _ = write!(text, ", none beyond {bound} times the mean load");
    }
    text
}

/// What goes with the choice of an endpoint, a sentence each.
pub fn balance(balance: &Balance) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(zone) = &balance.zone {
        said.push(format!("endpoints of zone {zone} first"));
    }
    if balance.slow_start > Duration::ZERO {
        said.push(format!(
            "an endpoint that is back takes {} to its full share",
            time(balance.slow_start)
        ));
    }
    if let Some(sticky) = &balance.sticky {
        said.push(format!(
            "a client stays with its endpoint by the signed cookie {}",
            sticky.cookie
        ));
    }
    said
}

/// When a breaker opens, and for how long.
pub fn breaker(spec: &Breaker) -> String {
    let whose = match spec.scope {
        BreakerScope::Upstream => "for the upstream",
        BreakerScope::Endpoint => "for each endpoint",
        BreakerScope::Both => "for the upstream and for each endpoint",
    };
    let mut text = format!("{whose}: opens at {} failed", percent(spec.error_ratio));
    if spec.slow_after > Duration::ZERO {
        let slow = percent(spec.slow_ratio);
        let _ = write!(text, " or {slow} slower than {}", time(spec.slow_after));
    }
    let _ = write!(
        text,
        " of at least {} in {}, for {} and up to {}, then {}",
        count(spec.minimum_requests.into(), "request"),
        time(spec.window),
        time(spec.open_for),
        time(spec.open_for_max),
        count(spec.probes.into(), "trial request")
    );
    text
}

/// When an endpoint is ejected.
pub fn outlier(spec: &Outlier) -> String {
    let mut criteria = Vec::new();
    if spec.consecutive_5xx > 0 {
        criteria.push(format!("{} failures in a row", spec.consecutive_5xx));
    }
    if spec.consecutive_gateway > 0 {
        criteria.push(format!(
            "{} times unreachable, 502, 503 or 504 in a row",
            spec.consecutive_gateway
        ));
    }
    if spec.success_rate_deviations > 0.0 {
        let far = spec.success_rate_deviations;
        criteria.push(format!("a success rate {far} deviations below the mean"));
    }
    if spec.latency_factor > 0.0 {
        criteria.push(format!("{} times the median latency", spec.latency_factor));
    }
    format!(
        "ejects on {}, for {} and up to {}, at most {} of endpoints",
        criteria.join(" or "),
        time(spec.ejection),
        time(spec.ejection_max),
        percent(spec.ejected_max)
    )
}

/// What is retried, how often and at what pace.
pub fn retry(spec: &Retry) -> String {
    let times = match spec.attempts {
        1 => "once more".to_owned(),
        more => format!("up to {more} times more"),
    };
    let mut text = format!("{times} on {}", retry_on(&spec.on));
    if spec.try_timeout > Duration::ZERO {
        let _ = write!(text, ", each attempt within {}", time(spec.try_timeout));
    }
    let _ = write!(
        text,
        ", after a random pause below {}, doubling up to {}",
        time(spec.backoff),
        time(spec.backoff_max)
    );
    text
}

/// The conditions of retries, as the configuration writes them.
pub fn retry_on(on: &RetryOn) -> String {
    let mut all: Vec<String> = Vec::new();
    for (set, word) in [
        (on.connect, "connect"),
        (on.reset, "reset"),
        (on.refused_stream, "refused_stream"),
        (on.timeout, "timeout"),
    ] {
        if set {
            all.push(word.to_owned());
        }
    }
    all.extend(runs(&on.statuses));
    all.extend(
        on.grpc
            .iter()
            .map(|code| format!("grpc:{}", grpc_word(*code))),
    );
    match all.is_empty() {
        true => "nothing".to_owned(),
        false => all.join(", "),
    }
}

/// Statuses in a row as a range.
fn runs(statuses: &[u16]) -> Vec<String> {
    let mut sorted = statuses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let runs = sorted.chunk_by(|left, right| left + 1 == *right);
    runs.flat_map(|run| match run {
        [first, _, .., last] if run.len() > 2 => vec![format!("{first}..{last}")],
        few => few.iter().map(ToString::to_string).collect(),
    })
    .collect()
}

/// The budget of retries and hedges.
pub fn budget(spec: &Retry) -> String {
    format!(
        "retries and hedges are at most {} of live requests, {} a second always",
        percent(spec.budget),
        spec.budget_minimum
    )
}

/// When a second attempt starts beside a slow first one.
pub fn hedge(spec: &Hedge) -> String {
    format!(
        "a second attempt elsewhere once the first is slower than {} of requests are, {} at the earliest; the first answer counts",
        percent(spec.after_percentile),
        time(spec.after_minimum)
    )
}

/// How many requests at a time, and what becomes of more.
pub fn concurrency(spec: &Concurrency) -> String {
    let mut text = match &spec.adaptive {
        None => format!("{} at a time", count(spec.max.into(), "request")),
        Some(adaptive) => format!(
            "between {} and {} requests at a time, by latency",
            adaptive.min, spec.max
        ),
    };
    match spec.queue_max {
        0 => text.push_str(", more are refused at once"),
        places => {
            let patience = time(spec.queue_timeout);
            let _ = write!(text, ", {places} more wait for up to {patience}");
        }
    }
    text
}

/// Who answers instead, and in place of which answers. `name` tells an upstream's name.
pub fn fallback<'n>(spec: &Fallback, name: impl Fn(usize) -> &'n str) -> String {
    let statuses = runs(&spec.statuses).join(", ");
    match &spec.to {
        FallbackTo::Upstream(index) => {
            format!("upstream {} answers in place of {statuses}", name(*index))
        }
        FallbackTo::Respond(answer) => {
            format!("a constant {} in place of {statuses}", answer.status)
        }
    }
}

/// Whose copy goes where. `name` tells an upstream's name.
pub fn mirror<'n>(spec: &Mirror, name: impl Fn(usize) -> &'n str) -> String {
    format!(
        "{} of requests go to upstream {} as well, with bodies up to {}; its answers are thrown away",
        percent(spec.share),
        name(spec.upstream),
        size(spec.body_max)
    )
}

/// What a canary gets, and what stops it. `name` tells an upstream's name.
pub fn canary<'n>(spec: &Canary, name: impl Fn(usize) -> &'n str) -> String {
    let mut text = format!("{} gets {}", name(spec.upstream), percent(spec.from));
    if spec.to > spec.from {
        let _ = write!(
            text,
            ", growing to {} over {}",
            percent(spec.to),
            time(spec.over)
        );
    }
    if let Some(halt) = &spec.halt {
        let _ = write!(
            text,
            ", and none any more at {} failed of at least {} in {}",
            percent(halt.error_ratio),
            count(halt.minimum_requests.into(), "request"),
            time(halt.window)
        );
    }
    text
}

/// The word of the configuration for an urgency.
pub fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Low => "low",
        Urgency::Normal => "normal",
        Urgency::High => "high",
        Urgency::Critical => "critical",
    }
}

/// A share as people say it: `12.5 %`.
pub fn percent(share: f64) -> String {
    // A thousandth of a percent is more than anybody configures.
    let rounded = (share * 100_000.0).round() / 1_000.0;
    format!("{rounded} %")
}

/// A time as the configuration writes it.
pub fn time(span: Duration) -> String {
    let seconds = span.as_secs();
    let whole = |unit: u64| span.subsec_nanos() == 0 && seconds > 0 && seconds.is_multiple_of(unit);
    match () {
        () if whole(3_600) => format!("{}h", seconds / 3_600),
        () if whole(60) => format!("{}m", seconds / 60),
        () => format!("{span:?}"),
    }
}

/// Bytes as the configuration writes them.
pub fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let mut fitting = units
        .iter()
        .filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    match fitting.next() {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// So many of something that has a plural with an `s`: `1 request`, `2 requests`.
pub fn count(many: u64, what: &str) -> String {
    match many {
        1 => format!("1 {what}"),
        _ => format!("{many} {what}s"),
    }
}

/// A number in a row: `2nd`, `11th`.
pub fn nth(number: u64) -> String {
    let end = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

/// The name of a gRPC status, as the configuration writes it.
fn grpc_word(code: u16) -> String {
    let word = match code {
        1 => "cancelled",
        2 => "unknown",
        3 => "invalid_argument",
        4 => "deadline_exceeded",
        5 => "not_found",
        6 => "already_exists",
        7 => "permission_denied",
        8 => "resource_exhausted",
        9 => "failed_precondition",
        10 => "aborted",
        11 => "out_of_range",
        12 => "unimplemented",
        13 => "internal",
        14 => "unavailable",
        15 => "data_loss",
        16 => "unauthenticated",
        _ => return code.to_string(),
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_their_words() {
        let said = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(nth);
        let right = [
            "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
        ];
        assert_eq!(said, right);
        let said = [0, 1, 2].map(|many| count(many, "key"));
        assert_eq!(said, ["0 keys", "1 key", "2 keys"]);
    }

    #[test]
    fn retries_are_told_with_what_they_follow() {
        let spec = Retry {
            attempts: 2,
            on: RetryOn {
                connect: true,
                reset: true,
                statuses: [503, 500, 502, 501, 429].into(),
                grpc: [14, 77].into(),
                ..RetryOn::default()
            },
            try_timeout: Duration::from_millis(1_500),
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_secs(1),
            methods: Box::default(),
            body_max: 0,
            budget: 0.2,
            budget_minimum: 3,
            hedge: None,
        };
        assert_eq!(
            retry(&spec),
            "up to 2 times more on connect, reset, 429, 500..503, grpc:unavailable, grpc:77, each \
             attempt within 1.5s, after a random pause below 25ms, doubling up to 1s"
        );
        assert_eq!(
            budget(&spec),
            "retries and hedges are at most 20 % of live requests, 3 a second always"
        );
        assert_eq!(retry_on(&RetryOn::default()), "nothing");
    }

    #[test]
    fn times_and_sizes_are_written_as_in_the_configuration() {
        let times = [0, 25, 1_500, 60_000, 90_000, 7_200_000].map(Duration::from_millis);
        assert_eq!(times.map(time), ["0ns", "25ms", "1.5s", "1m", "90s", "2h"]);
        assert_eq!(
            [0, 1_000, 65_536, 3 << 20].map(size),
            ["0 bytes", "1000 bytes", "64KiB", "3MiB"]
        );
    }

    #[test]
    fn shares_have_no_tails_of_digits() {
        assert_eq!(percent(0.1), "10 %");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(percent(1.0 / 3.0), "33.333 %");
    }
}
