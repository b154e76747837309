//! The results for people: two tables for each scenario, and why who is missing.

use std::collections::BTreeMap;

use crate::facts;
use crate::output;
use crate::results::{HalfSample, PeerRun, PeersRun, Sample, ScenarioRun};
use crate::stats::{Interval, Spread};

/// All of it.
pub fn text(run: &PeersRun) -> String {
    let mut parts: Vec<String> = run.scenarios.iter().map(scenario).collect();
    let mut programs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, version) in &run.versions {
        programs.entry(version).or_default().push(name);
    }
    let versions = programs.into_iter();
    let versions: Vec<String> = versions
        .map(|(version, names)| format!("{:<26}{version}", names.join(", ")))
        .collect();
    parts.push(format!(
        "proxy on core {}, load and origin on core {}\n{}\n{}",
        run.proxy_cores,
        run.load_cores,
        facts::machine_text(&run.circumstances.machine),
        versions.join("\n")
    ));
    parts.join("\n\n")
}

/// One scenario.
pub fn scenario(run: &ScenarioRun) -> String {
    let measured: Vec<&PeerRun> = run.peers.iter().filter(|p| !p.samples.is_empty()).collect();
    let mut parts = vec![format!("{}: {}", run.name, run.title)];
    if let Some(first) = measured.first() {
        let rounds = first.samples.len();
        parts.push(format!(
            "at saturation, {rounds} rounds, median (min..max); CPU microseconds per {}, latency in \
             milliseconds",
            run.unit
        ));
        parts.push(cost(&run.unit, &measured));
        parts.push(format!(
            "CPU beside others: ratio of rounds measured next to each other, median [95 % interval]; \
             {}",
            half_heading(&measured)
        ));
        parts.push(beside(&measured));
    }
    let absent: Vec<String> = run
        .peers
        .iter()
        .filter_map(|peer| {
            let why = peer.absent.as_ref()?;
            Some(format!("{:<14} not measured: {why}", peer.name))
        })
        .collect();
    if !absent.is_empty() {
        parts.push(absent.join("\n"));
    }
    parts.join("\n\n")
}

/// CPU of one peer over another's: the median of the rounds' ratios and its interval; `None`
/// where they do not have the same rounds.
pub fn ratio(one: &PeerRun, other: &PeerRun, part: fn(&Sample) -> f64) -> Option<(f64, Interval)> {
    if one.samples.is_empty() || one.samples.len() != other.samples.len() {
        return None;
    }
    let pairs = one.samples.iter().zip(&other.samples);
    let ratios: Vec<f64> = pairs.map(|(a, b)| part(a) / part(b)).collect();
    let median = Spread::of(ratios.iter().copied()).median;
    Some((median, Interval::of_median(&ratios)))
}

fn half_heading(measured: &[&PeerRun]) -> String {
    let rate = measured.iter().find_map(|peer| peer.half.first());
    rate.map_or_else(
        || "memory".to_owned(),
        |half| {
            format!(
                "latency and CPU at {:.0} requests/s, half of what the slowest can do; memory",
                half.rate
            )
        },
    )
}

fn cost(unit: &str, measured: &[&PeerRun]) -> String {
    let per_second = format!("{unit}s/s");
    let heads = [
        "peer",
        "CPU us",
        "user",
        "system",
        &per_second,
        "busy",
        "p50",
        "p99",
        "p99.9",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for peer in measured {
        let of = |part: fn(&Sample) -> f64| Spread::of(peer.samples.iter().map(part));
        let decimals = match of(Sample::cost_us).median {
            large if large >= 1_000.0 => 0,
            _ => 2,
        };
        let rate = of(|s| s.per_second);
        let latency = |part: fn(&Sample) -> f64| format!("{:.2}", of(part).median / 1e3);
        rows.push(vec![
            peer.name.clone(),
            output::spread(of(Sample::cost_us), decimals),
            format!("{:.decimals$}", of(|s| s.user_us).median),
            format!("{:.decimals$}", of(|s| s.system_us).median),
            output::spread(rate, if rate.median < 100.0 { 2 } else { 0 }),
            format!("{:.2}", of(|s| s.busy).median),
            latency(|s| s.p50_us),
            latency(|s| s.p99_us),
            latency(|s| s.p99_9_us),
        ]);
    }
    output::table(&rows)
}

fn beside(measured: &[&PeerRun]) -> String {
    let base = |name: &str| measured.iter().find(|peer| peer.name == name);
    let idle = measured.iter().any(|p| p.idle_connection_bytes.is_some());
    let workers = measured.iter().any(|p| p.busiest_worker.is_some());
    let mut heads = vec![
        "peer",
        "to nginx",
        "user part",
        "to relay",
        "half: p50",
        "p99",
        "p99.9",
        "CPU us",
        "MiB",
    ];
    if idle {
        heads.push("B/idle conn");
    }
    if workers {
        heads.push("busiest/mean");
    }
    let mut rows = vec![heads.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for peer in measured {
        let to =
            |name: &str, part: fn(&Sample) -> f64| base(name).and_then(|b| ratio(peer, b, part));
        let with_interval = |found: Option<(f64, Interval)>| {
            found.map_or_else(nothing, |(median, Interval { low, high })| {
                format!("{median:.3} [{low:.3}..{high:.3}]")
            })
        };
        let user = to("nginx", |s| s.user_us);
        let half = |part: fn(&HalfSample) -> f64, scale: f64| match peer.half.is_empty() {
            true => nothing(),
            false => format!(
                "{:.2}",
                Spread::of(peer.half.iter().map(part)).median / scale
            ),
        };
        let mut row = vec![
            peer.name.clone(),
            with_interval(to("nginx", Sample::cost_us)),
            user.map_or_else(nothing, |(median, _)| format!("{median:.2}")),
            with_interval(to("relay", Sample::cost_us)),
            half(|h| h.p50_us, 1e3),
            half(|h| h.p99_us, 1e3),
            half(|h| h.p99_9_us, 1e3),
            half(|h| h.cost_us, 1.0),
            peer.resident_bytes
                .map_or_else(nothing, |bytes| format!("{:.1}", bytes as f64 / MIB)),
        ];
        if idle {
            let bytes = peer.idle_connection_bytes;
            row.push(bytes.map_or_else(nothing, |bytes| format!("{bytes:.0}")));
        }
        if workers {
            let share = peer.busiest_worker;
            row.push(share.map_or_else(nothing, |share| format!("{share:.2}")));
        }
        rows.push(row);
    }
    output::table(&rows)
}

fn nothing() -> String {
    "-".to_owned()
}

const MIB: f64 = 1_048_576.0;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(name: &str, costs: &[f64]) -> PeerRun {
        let sample = |cost: &f64| Sample {
            count: 1,
            per_second: 1e6 / cost,
            user_us: cost / 4.0,
            system_us: cost * 3.0 / 4.0,
            busy: 1.0,
            p50_us: 1_000.0,
            p99_us: 2_000.0,
            p99_9_us: 3_000.0,
        };
        PeerRun {
            name: name.to_owned(),
            command: String::new(),
            config: String::new(),
            absent: None,
            samples: costs.iter().map(sample).collect(),
            saturated: None,
            half: Vec::new(),
            half_latency: None,
            resident_bytes: Some(5 << 20),
            idle_connection_bytes: None,
            busiest_worker: None,
        }
    }

    #[test]
    fn rounds_are_paired_so_that_what_both_met_falls_out() {
        // The machine was twice as slow in the second round: each pair says 0.5 all the same.
        let (a, b) = (peer("a", &[5.0, 10.0, 5.0]), peer("b", &[10.0, 20.0, 10.0]));
        let (median, interval) = ratio(&a, &b, Sample::cost_us).unwrap();
        assert!((median - 0.5).abs() < 1e-9);
        assert!((interval.low - 0.5).abs() < 1e-9 && (interval.high - 0.5).abs() < 1e-9);
    }

    #[test]
    fn rounds_that_do_not_pair_give_no_ratio() {
        let (a, b) = (peer("a", &[5.0]), peer("b", &[10.0, 20.0]));
        assert!(ratio(&a, &b, Sample::cost_us).is_none());
        assert!(ratio(&a, &peer("c", &[]), Sample::cost_us).is_none());
    }

    #[test]
    fn who_is_absent_is_told_with_the_reason() {
        let mut absent = peer("caddy", &[]);
        absent.absent = Some("not installed".to_owned());
        let run = ScenarioRun {
            name: "small-get-64".to_owned(),
            title: "GET".to_owned(),
            unit: "request".to_owned(),
            peers: vec![peer("nginx", &[10.0]), peer("ringgate", &[7.0]), absent],
        };
        let text = scenario(&run);
        assert!(
            text.contains("caddy          not measured: not installed"),
            "{text}"
        );
        assert!(text.contains("0.700 [0.700..0.700]"), "{text}");
    }
}
