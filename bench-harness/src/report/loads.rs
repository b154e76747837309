//! Runs of the load generator: their curves on one chart, a table, what failed.

use super::curve::{self, Curve};
use super::facts;
use super::html::{code, details, e, table};
use super::paint::Paint;
use super::scale::{bytes, duration, grouped, significant};
use super::{Named, Section};
use crate::results::{Latency, LoadRun};

/// All load runs together.
pub fn section(runs: &[Named<LoadRun>]) -> Section {
    let mut body = String::new();
    if let [only] = runs {
        body.push_str(&tiles(&only.result));
    }
    body.push_str(&chart(runs));
    body.push_str(&summary(runs));
    for run in runs {
        body.push_str(&details(
            &format!("How {} was measured", run.name),
            &details_of(run),
        ));
    }
    Section {
        id: "load".to_owned(),
        title: "Load".to_owned(),
        body,
    }
}

fn tiles(run: &LoadRun) -> String {
    let failures = run.failures();
    let tiles = [
        (grouped(run.requests_per_second), "requests per second"),
        (duration(run.latency.p50_us), "median latency"),
        (duration(run.latency.p99_us), "99th percentile"),
        (duration(run.latency.p99_9_us), "99.9th percentile"),
        (
            grouped(failures as f64),
            if failures == 1 { "failure" } else { "failures" },
        ),
    ];
    let each = tiles.iter().map(|(value, label)| {
        format!(
            "<div class=\"tile\"><b>{}</b><span>{}</span></div>",
            e(value),
            e(label)
        )
    });
    format!("<div class=\"tiles\">{}</div>\n", each.collect::<String>())
}

fn chart(runs: &[Named<LoadRun>]) -> String {
    let mut names: Vec<(String, Paint, &Latency)> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let paint = Paint::of(&run.name, index);
        names.push((run.name.clone(), paint, &run.result.latency));
        // What coordinated omission would hide is worth a line where there is one run only.
        if let ([_], Some(service)) = (runs, &run.result.service) {
            names[0].0 = "from when due".to_owned();
            names.push((
                "from when sent".to_owned(),
                Paint::of("service", 1),
                service,
            ));
        }
    }
    let curves = names.iter().map(|(name, paint, latency)| Curve {
        name,
        paint: *paint,
        points: &latency.curve,
    });
    curve::chart("Latency by percentile", &curves.collect::<Vec<_>>())
}

fn summary(runs: &[Named<LoadRun>]) -> String {
    let rows = runs.iter().map(|run| {
        let Latency {
            mean_us,
            p50_us,
            p90_us,
            p99_us,
            p99_9_us,
            max_us,
            ..
        } = run.result.latency;
        let mut row = vec![
            e(&run.name).to_string(),
            grouped(run.result.requests_per_second),
            pace(&run.result),
            grouped(run.result.requests as f64),
        ];
        let latencies = [mean_us, p50_us, p90_us, p99_us, p99_9_us, max_us];
        row.extend(latencies.map(duration));
        row.push(failures(&run.result));
        row
    });
    let heads = [
        "run", "req/s", "pace", "answered", "mean", "p50", "p90", "p99", "p99.9", "max", "failures",
    ];
    table("Load runs", &heads, &rows.collect::<Vec<_>>())
}

fn pace(run: &LoadRun) -> String {
    match run.rates.as_deref() {
        None => "closed loop".to_owned(),
        Some([rate]) => format!("open, {}/s", grouped(*rate)),
        Some(rates) => {
            let rates: Vec<String> = rates.iter().map(|rate| grouped(*rate)).collect();
            format!("open, {}/s", rates.join(" → "))
        }
    }
}

fn failures(run: &LoadRun) -> String {
    let mut parts: Vec<String> = Vec::new();
    let kinds = run.errors.iter().filter(|(_, count)| **count > 0);
    parts.extend(kinds.map(|(kind, count)| format!("{} {}", grouped(*count as f64), e(kind))));
    let bad = run
        .statuses
        .iter()
        .filter(|(status, _)| !(200..400).contains(*status));
    parts.extend(bad.map(|(status, count)| format!("{} of {status}", grouped(*count as f64))));
    if run.unsent > 0 {
        parts.push(format!("{} unsent", grouped(run.unsent as f64)));
    }
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join(", "),
    }
}

fn details_of(run: &Named<LoadRun>) -> String {
    let result = &run.result;
    let tls = if result.tls { "yes" } else { "no" };
    let shape = format!(
        "{} connections, {} in flight on each",
        result.connections, result.in_flight
    );
    let opened = grouped(result.opened as f64);
    let seconds = format!("{} s", significant(result.seconds));
    let bodies = bytes(result.body_bytes as f64);
    let statuses = result.statuses.iter();
    let statuses: Vec<String> = statuses
        .map(|(status, count)| format!("{} of {status}", grouped(*count as f64)))
        .collect();
    let facts = facts::list(&[
        ("Target", &result.target),
        ("Protocol", &result.protocol),
        ("TLS", tls),
        ("Load", &shape),
        ("Connections opened", &opened),
        ("Measured", &seconds),
        ("Response bodies", &bodies),
        ("Answers", &statuses.join(", ")),
    ]);
    let machine = facts::machine(&result.circumstances.machine);
    let provenance = facts::provenance(&result.circumstances, &run.file);
    format!("{facts}{machine}{provenance}")
}

/// Commands as they were run.
pub fn commands(title: &str, commands: &[String]) -> String {
    match commands.is_empty() {
        true => String::new(),
        false => details(title, &code(&commands.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;
    use crate::report::samples;

    fn named(name: &str, result: LoadRun) -> Named<LoadRun> {
        Named {
            name: name.to_owned(),
            file: format!("{name}.json"),
            result,
        }
    }

    #[test]
    fn an_open_loop_shows_what_would_have_been_hidden() {
        let body = section(&[named("run", samples::load(Some(20_000.0)))]).body;
        assert_eq!(fault_in(&body), None);
        assert!(
            body.contains("from when due") && body.contains("from when sent"),
            "{body}"
        );
    }

    #[test]
    fn several_runs_share_a_chart() {
        let runs = [
            named("before", samples::load(None)),
            named("after <1>", samples::load(None)),
        ];
        let body = section(&runs).body;
        assert_eq!(fault_in(&body), None);
        assert_eq!(body.matches("<figure").count(), 1);
        assert!(body.contains("after &lt;1&gt;") && !body.contains("class=\"tiles\""));
    }

    #[test]
    fn failures_are_named() {
        let mut run = samples::load(None);
        run.errors.insert("<reset>".to_owned(), 3);
        run.statuses.insert(503, 1200);
        run.unsent = 7;
        assert_eq!(failures(&run), "3 &lt;reset&gt;, 1,200 of 503, 7 unsent");
    }
}
