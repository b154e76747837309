//! Proxies side by side: all scenarios in one table, then each with its bars and curves.

use super::bars::{self, RatioBar, StackedBar};
use super::curve::{self, Curve};
use super::facts;
use super::html::{code, details, e, table, word};
use super::paint::Paint;
use super::scale::{bytes, duration, fixed, grouped};
use super::{Named, Section};
use crate::results::{HalfSample, Latency, PeerRun, PeersRun, Sample, ScenarioRun};
use crate::stats::{Interval, Spread};

/// The overview and one section for each scenario.
pub fn sections(run: &Named<PeersRun>) -> Vec<Section> {
    let result = &run.result;
    let mut overview = facts::list(&[
        ("Proxy on core", &result.proxy_cores),
        ("Load and origin on", &result.load_cores),
    ]);
    for (reference, role) in [(NGINX, "nginx"), (FLOOR, "the bare relay")] {
        overview.push_str(&matrix(result, reference, role));
    }
    overview.push_str(&not_measured(result));
    let versions: Vec<(&str, &str)> = result
        .versions
        .iter()
        .map(|(name, version)| (name.as_str(), version.as_str()))
        .collect();
    overview.push_str(&details("Versions", &facts::list(&versions)));
    let machine = facts::machine(&result.circumstances.machine);
    let provenance = facts::provenance(&result.circumstances, &run.file);
    overview.push_str(&details(
        "Machine and command",
        &format!("{machine}{provenance}"),
    ));
    let first = Section {
        id: curve::id(&["peers", &run.name]),
        title: "Side by side".to_owned(),
        body: overview,
    };
    let measured = result
        .scenarios
        .iter()
        .filter(|scenario| is_measured(scenario));
    let scenarios = measured.map(section);
    std::iter::once(first).chain(scenarios).collect()
}

fn is_measured(scenario: &ScenarioRun) -> bool {
    scenario.peers.iter().any(|peer| !peer.samples.is_empty())
}

/// Ratios of all scenarios: a row for each scenario, a column for each peer.
fn matrix(run: &PeersRun, reference: &str, role: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for peer in run.scenarios.iter().flat_map(|scenario| &scenario.peers) {
        if !peer.samples.is_empty() && !names.contains(&peer.name.as_str()) {
            names.push(&peer.name);
        }
    }
    let mut rows = Vec::new();
    for scenario in &run.scenarios {
        let Some(base) = find(scenario, reference) else {
            continue;
        };
        let name = format!(
            "<a href=\"#{}\">{}</a>",
            e(curve::id(&["scenario", &scenario.name])),
            e(&scenario.name)
        );
        let cells = names.iter().map(|name| match find(scenario, name) {
            Some(peer) if peer.name == base.name => "1".to_owned(),
            Some(peer) => {
                let Ratio { median, low, high } = ratio(peer, base);
                bars::interval(median, low, high)
            }
            None => "<span class=\"soft\">-</span>".to_owned(),
        });
        rows.push(std::iter::once(name).chain(cells).collect());
    }
    if rows.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = std::iter::once("scenario").chain(names).collect();
    let title = format!("CPU time, as a ratio to {role}");
    format!(
        "<h3>{}</h3>\n<p class=\"soft\">Medians of the rounds' ratios, with 95 % intervals; less is \
         better.</p>\n{}",
        e(&title),
        table(&title, &heads, &rows)
    )
}

/// Who is missing from which scenario, and why.
fn not_measured(run: &PeersRun) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for scenario in &run.scenarios {
        for peer in &scenario.peers {
            if let Some(reason) = &peer.absent {
                rows.push(vec![
                    e(&scenario.name).to_string(),
                    word("", &peer.name),
                    word("long", reason),
                ]);
            }
        }
    }
    match rows.is_empty() {
        true => String::new(),
        false => details(
            &format!("Not measured: {}", rows.len()),
            &table("Not measured", &["scenario", "peer", "why"], &rows),
        ),
    }
}

fn section(scenario: &ScenarioRun) -> Section {
    let peers: Vec<&PeerRun> = scenario
        .peers
        .iter()
        .filter(|peer| !peer.samples.is_empty())
        .collect();
    let mut body = format!("<p>{}</p>\n", e(&scenario.title));
    for (reference, role) in [(NGINX, "nginx"), (FLOOR, "the bare relay")] {
        if let Some(base) = find(scenario, reference) {
            let title = format!("CPU time per {}, to {role}", scenario.unit);
            body.push_str(&bars::ratios(&title, &base.name, &ratio_bars(&peers, base)));
        }
    }
    let stacks: Vec<StackedBar<'_>> = peers.iter().enumerate().map(stack).collect();
    let title = format!("CPU time per {}", scenario.unit);
    body.push_str(&bars::stacked(&title, "median microseconds", &stacks));
    body.push_str(&curve::chart(
        "Latency at saturation",
        &curves(&peers, |peer| peer.saturated.as_ref()),
    ));
    body.push_str(&curve::chart(
        "Latency at half of what the slowest can do, from when each request was due",
        &curves(&peers, |peer| peer.half_latency.as_ref()),
    ));
    body.push_str(&saturation_table(scenario, &peers));
    body.push_str(&half_table(&peers, find(scenario, NGINX)));
    body.push_str(&memory_table(&peers));
    body.push_str(&exactly(&peers));
    Section {
        id: curve::id(&["scenario", &scenario.name]),
        title: scenario.name.clone(),
        body,
    }
}

/// The peer of this name that was measured, or else its first variant.
fn find<'a>(scenario: &'a ScenarioRun, name: &str) -> Option<&'a PeerRun> {
    let measured = || {
        scenario
            .peers
            .iter()
            .filter(|peer| !peer.samples.is_empty())
    };
    let exact = measured().find(|peer| peer.name == name);
    let variant = || measured().find(|peer| peer.name.starts_with(&format!("{name}-")));
    // A variant stands in for the reference only: a column of the table is one peer.
    match name == NGINX || name == FLOOR {
        true => exact.or_else(variant),
        false => exact,
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
}

/// By rounds: what the machine did meanwhile falls on both alike.
fn ratio(peer: &PeerRun, base: &PeerRun) -> Ratio {
    let costs = |run: &PeerRun| run.samples.iter().map(Sample::cost_us).collect::<Vec<_>>();
    ratio_of(&costs(peer), &costs(base))
}

fn ratio_of(values: &[f64], base: &[f64]) -> Ratio {
    let ratios: Vec<f64> = values.iter().zip(base).map(|(a, b)| a / b).collect();
    if ratios.is_empty() {
        return Ratio {
            median: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
        };
    }
    let Interval { low, high } = Interval::of_median(&ratios);
    Ratio {
        median: Spread::of(ratios).median,
        low,
        high,
    }
}

fn ratio_bars<'a>(peers: &[&'a PeerRun], base: &PeerRun) -> Vec<RatioBar<'a>> {
    let each = peers
        .iter()
        .enumerate()
        .filter(|(_, peer)| peer.name != base.name);
    each.map(|(index, peer)| {
        let Ratio { median, low, high } = ratio(peer, base);
        RatioBar {
            name: &peer.name,
            paint: Paint::of(&peer.name, index),
            ratio: median,
            low,
            high,
        }
    })
    .collect()
}

fn stack<'a>((index, peer): (usize, &&'a PeerRun)) -> StackedBar<'a> {
    let median = |part: fn(&Sample) -> f64| Spread::of(peer.samples.iter().map(part)).median;
    StackedBar {
        name: &peer.name,
        paint: Paint::of(&peer.name, index),
        user: median(|sample| sample.user_us),
        system: median(|sample| sample.system_us),
    }
}

fn curves<'a>(
    peers: &[&'a PeerRun],
    latency: impl Fn(&'a PeerRun) -> Option<&'a Latency>,
) -> Vec<Curve<'a>> {
    let each = peers.iter().enumerate().filter_map(|(index, peer)| {
        Some(Curve {
            name: &peer.name,
            paint: Paint::of(&peer.name, index),
            points: &latency(peer)?.curve,
        })
    });
    each.collect()
}

/// `20.3 (19.9 to 21.4)`
fn spread(values: impl Iterator<Item = f64>, show: fn(f64) -> String) -> String {
    let Spread { median, min, max } = Spread::of(values);
    format!(
        "<b>{}</b> <span class=\"soft\">({} to {})</span>",
        show(median),
        show(min),
        show(max)
    )
}

fn saturation_table(scenario: &ScenarioRun, peers: &[&PeerRun]) -> String {
    let rows = peers.iter().map(|peer| {
        let of = |part: fn(&Sample) -> f64, show| spread(peer.samples.iter().map(part), show);
        vec![
            e(&peer.name).to_string(),
            of(Sample::cost_us, fixed),
            of(|sample| sample.user_us, fixed),
            of(|sample| sample.system_us, fixed),
            of(|sample| sample.per_second, grouped),
            of(|sample| sample.busy, fixed),
            of(|sample| sample.p50_us, duration),
            of(|sample| sample.p99_us, duration),
            of(|sample| sample.p99_9_us, duration),
        ]
    });
    let cost = format!("CPU µs per {}", scenario.unit);
    let heads = [
        "at saturation",
        &cost,
        "user",
        "system",
        "per second",
        "cores busy",
        "p50",
        "p99",
        "p99.9",
    ];
    let rows: Vec<Vec<String>> = rows.collect();
    let rounds = peers
        .iter()
        .map(|peer| peer.samples.len())
        .max()
        .unwrap_or(0);
    format!(
        "{}<p class=\"soft\">Medians of {rounds} interleaved rounds, with least and greatest.</p>\n",
        table("At saturation", &heads, &rows)
    )
}

fn half_table(peers: &[&PeerRun], nginx: Option<&PeerRun>) -> String {
    let rows = peers
        .iter()
        .filter(|peer| !peer.half.is_empty())
        .map(|peer| {
            let of = |part: fn(&HalfSample) -> f64, show| spread(peer.half.iter().map(part), show);
            let p99 = |run: &PeerRun| run.half.iter().map(|half| half.p99_us).collect::<Vec<_>>();
            let ratio = match nginx {
                Some(nginx) if nginx.name == peer.name => "1".to_owned(),
                Some(nginx) => {
                    let Ratio { median, low, high } = ratio_of(&p99(peer), &p99(nginx));
                    bars::interval(median, low, high)
                }
                None => "-".to_owned(),
            };
            let rate = peer.half.first().map_or(f64::NAN, |half| half.rate);
            vec![
                e(&peer.name).to_string(),
                grouped(rate),
                of(|half| half.cost_us, fixed),
                of(|half| half.p50_us, duration),
                of(|half| half.p99_us, duration),
                of(|half| half.p99_9_us, duration),
                ratio,
            ]
        });
    let rows: Vec<Vec<String>> = rows.collect();
    let heads = [
        "at half",
        "rate per second",
        "CPU µs",
        "p50",
        "p99",
        "p99.9",
        "p99 to nginx",
    ];
    match rows.is_empty() {
        true => String::new(),
        false => table("At half of the slowest's saturation", &heads, &rows),
    }
}

fn memory_table(peers: &[&PeerRun]) -> String {
    let known =
        |peer: &&&PeerRun| peer.resident_bytes.is_some() || peer.idle_connection_bytes.is_some();
    let rows = peers.iter().filter(known).map(|peer| {
        let shown = |count: Option<f64>| count.map_or_else(|| "-".to_owned(), bytes);
        vec![
            e(&peer.name).to_string(),
            shown(peer.resident_bytes.map(|count| count as f64)),
            shown(peer.idle_connection_bytes),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let heads = ["memory", "resident under load", "each idle connection"];
    match rows.is_empty() {
        true => String::new(),
        false => table("Memory", &heads, &rows),
    }
}

/// Commands and configurations, as they were.
fn exactly(peers: &[&PeerRun]) -> String {
    let each = peers.iter().map(|peer| {
        let mut inner = code(&peer.command);
        if !peer.config.is_empty() {
            inner.push_str(&code(&peer.config));
        }
        details(&peer.name, &inner)
    });
    let inner: String = each.collect();
    details("Exact commands and configurations", &inner)
}

/// The peer that ratios are to.
const NGINX: &str = "nginx";
/// The least that a proxy on our runtime can cost.
const FLOOR: &str = "relay";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;
    use crate::report::samples;

    fn all(run: PeersRun) -> String {
        let run = Named {
            name: "all".to_owned(),
            file: "all.json".to_owned(),
            result: run,
        };
        sections(&run)
            .into_iter()
            .map(|section| section.body)
            .collect()
    }

    #[test]
    fn every_scenario_is_well_formed() {
        let body = all(samples::peers());
        assert_eq!(fault_in(&body), None);
        assert!(body.contains("to the bare relay"), "{body}");
    }

    #[test]
    fn who_is_absent_is_named_with_the_reason() {
        let body = all(samples::peers());
        assert!(body.contains("ringgate does not do TLS yet"), "{body}");
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut run = samples::peers();
        let hostile = "\"><script>alert(1)</script><i a='";
        for scenario in &mut run.scenarios {
            scenario.name = hostile.to_owned();
            scenario.title = hostile.to_owned();
            scenario.unit = hostile.to_owned();
            for peer in &mut scenario.peers {
                peer.name = format!("{hostile}{}", peer.name);
                peer.config = hostile.to_owned();
                peer.command = hostile.to_owned();
                peer.absent = peer.absent.as_ref().map(|_| hostile.to_owned());
            }
        }
        run.versions.insert(hostile.to_owned(), hostile.to_owned());
        run.circumstances.command = hostile.to_owned();
        run.circumstances.machine.cpu = hostile.to_owned();
        let body = all(run);
        assert_eq!(fault_in(&body), None);
        assert!(!body.contains("<script") && !body.contains("<i "));
    }

    #[test]
    fn ratios_are_of_rounds_and_not_of_medians() {
        // Both doubled in the second round: the ratio stayed.
        let ratio = ratio_of(&[10.0, 20.0, 10.0], &[20.0, 40.0, 20.0]);
        assert_eq!((ratio.low, ratio.median, ratio.high), (0.5, 0.5, 0.5));
        assert!(ratio_of(&[], &[1.0]).median.is_nan());
    }
}
