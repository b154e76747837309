//! How a result is written: as a table for people, as a saved run, and in the text format of
//! the HdrHistogram plotters.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::plan::{Plan, Reuse};
use super::tally::{Tally, latency};
use crate::output;
use crate::results::{Circumstances, LoadRun};

/// The run as it is saved.
pub fn saved(plan: &Plan, tally: &Tally, unsent: u64, circumstances: Circumstances) -> LoadRun {
    let seconds = plan.window.seconds();
    LoadRun {
        circumstances,
        target: plan.target.to_string(),
        protocol: plan.protocol.name().to_owned(),
        tls: plan.tls.is_some(),
        connections: plan.connections,
        in_flight: plan.in_flight,
        rates: plan.rates.clone(),
        seconds,
        requests: tally.requests(),
        warmup_requests: tally.warmup,
        requests_per_second: tally.requests() as f64 / seconds,
        unsent,
        errors: tally.errors(),
        statuses: tally.statuses(),
        body_bytes: tally.body_bytes,
        opened: tally.opened,
        resumed: tally.resumed,
        latency: latency(&tally.latency),
        service: plan.rates.as_ref().map(|_| latency(&tally.service)),
    }
}

/// The result for people.
pub fn table(plan: &Plan, tally: &Tally, run: &LoadRun) -> String {
    let mut text = heading(plan);
    let line = |text: &mut String, name: &str, value: &str| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let rate = run.requests_per_second;
    let done = format!(
        "{} in {} s, {rate:.1}/s, {} of bodies",
        run.requests,
        run.seconds,
        bytes(run.body_bytes)
    );
    line(&mut text, "answered", &done);
    if run.unsent > 0 {
        let due = run.requests + run.failures() + run.unsent;
        let share = 100.0 * run.unsent as f64 / due as f64;
        let whose = match tally.lag.value_at_quantile(0.99) > LAG_BEWARE {
            true => "Server or generator",
            false => "The server",
        };
        let unsent = format!(
            "{} requests ({share:.1} % of those due) were never sent: all connections were busy.\n\
             {:<13}{whose} did not keep up, and the true percentiles are worse than these",
            run.unsent, ""
        );
        line(&mut text, "UNSENT", &unsent);
    }
    if tally.cut_longest > tally.latency.max() {
        let cut = format!(
            "{} requests were under way at the end, one for {}: longer than any answer took",
            tally.cut,
            time(tally.cut_longest)
        );
        line(&mut text, "UNANSWERED", &cut);
    }
    line(&mut text, "statuses", &counts(run.statuses.iter()));
    line(&mut text, "errors", &counts(run.errors.iter()));
    for (kind, why) in tally.said() {
        if run.errors.contains_key(kind.name()) {
            line(&mut text, "", &format!("{kind}: {why}"));
        }
    }
    line(&mut text, "connections", &connections(plan, tally));
    if !tally.lag.is_empty() {
        let at = |quantile| time(tally.lag.value_at_quantile(quantile));
        let lag = format!(
            "p50 {}, p99 {}, max {} behind the schedule with a connection free",
            at(0.5),
            at(0.99),
            time(tally.lag.max())
        );
        line(&mut text, "sent late", &lag);
        if tally.lag.value_at_quantile(0.99) > LAG_BEWARE {
            line(&mut text, "beware", LATE);
        }
    }
    text.push('\n');
    text.push_str(&percentiles(plan, tally));
    if !tally.steps.is_empty() {
        text.push_str("\n\n");
        text.push_str(&steps(plan, tally));
    }
    text
}

/// A row for each rate of a stepped open loop.
fn steps(plan: &Plan, tally: &Tally) -> String {
    let names = ["from due, at", "answered", "p50", "p99", "p99.9", "max"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    let rates = plan.rates.iter().flatten();
    for (rate, (window, histogram)) in rates.zip(&tally.steps) {
        let at = |quantile| time(histogram.value_at_quantile(quantile));
        rows.push(vec![
            format!("{rate}/s"),
            format!("{:.1}/s", histogram.len() as f64 / window.seconds()),
            at(0.5),
            at(0.99),
            at(0.999),
            time(histogram.max()),
        ]);
    }
    output::table(&rows)
}

fn heading(plan: &Plan) -> String {
    let several = |count: u32, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let in_flight = match plan.in_flight {
        1 => String::new(),
        more => format!(" x {more} in flight"),
    };
    let rate = match &plan.rates {
        None => "closed loop".to_owned(),
        Some(rates) => {
            let rates: Vec<String> = rates.iter().map(f64::to_string).collect();
            format!("open loop, {} requests/s", rates.join(", then "))
        }
    };
    format!(
        "{} {}\n{rate}, {}{in_flight}{}, {}, {}\n\n",
        plan.protocol.name(),
        plan.target,
        several(plan.connections, "connection"),
        match plan.reuse {
            Reuse::Kept => "",
            Reuse::EachNew => ", a new one for each request",
        },
        several(plan.threads, "thread"),
        plan.driver.name(),
    )
}

fn connections(plan: &Plan, tally: &Tally) -> String {
    let mut text = format!("{} opened", tally.opened);
    if plan.tls.is_some() {
        let full = tally.opened - tally.resumed;
        let _ = write!(text, ", {full} full handshakes, {} resumed", tally.resumed);
    }
    if plan.idle > 0 {
        let _ = write!(text, ", {} idle", u64::from(plan.idle) - tally.idle_lost);
    }
    if tally.idle_lost > 0 {
        let _ = write!(text, ", {} idle ones lost", tally.idle_lost);
    }
    text
}

fn percentiles(plan: &Plan, tally: &Tally) -> String {
    let mut columns = vec![("latency", &tally.latency)];
    if plan.rates.is_some() {
        columns = vec![("from due", &tally.latency), ("from sent", &tally.service)];
    }
    let row = |name: &str, of: &dyn Fn(&Histogram<u64>) -> String| {
        let cells = columns.iter().map(|(_, histogram)| of(histogram));
        [name.to_owned()].into_iter().chain(cells).collect()
    };
    let names = columns.iter().map(|(name, _)| (*name).to_owned());
    let mut rows: Vec<Vec<String>> = vec![[String::new()].into_iter().chain(names).collect()];
    rows.push(row("min", &|histogram| time(histogram.min())));
    for (name, quantile) in SHOWN {
        rows.push(row(name, &|h| time(h.value_at_quantile(quantile))));
    }
    rows.push(row("max", &|histogram| time(histogram.max())));
    rows.push(row("mean", &|histogram| time(histogram.mean() as u64)));
    rows.push(row("deviation", &|h| time(h.stdev() as u64)));
    output::table(&rows)
}

/// The percentile distribution in milliseconds, as HdrHistogram's own tools write it.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let ms = |nanos: f64| nanos / 1e6;
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let mut below = 0;
    for step in histogram.iter_quantiles(HGRM_TICKS) {
        below += step.count_since_last_iteration();
        let value = ms(step.value_iterated_to() as f64);
        let quantile = step.quantile_iterated_to();
        let _ = match quantile < 1.0 {
            true => writeln!(
                text,
                "{value:12.3} {quantile:14.12} {below:10} {:14.2}",
                1.0 / (1.0 - quantile)
            ),
            false => writeln!(text, "{value:12.3} {quantile:14.12} {below:10}"),
        };
        if quantile >= 1.0 {
            break;
        }
    }
    let _ = write!(
        text,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        SUB_BUCKETS,
    );
    text
}

fn counts<K: ToString>(counts: impl Iterator<Item = (K, impl ToString)>) -> String {
    let counts = counts.map(|(name, count)| format!("{}: {}", name.to_string(), count.to_string()));
    let counts: Vec<String> = counts.collect();
    match counts.is_empty() {
        true => "none".to_owned(),
        false => counts.join(", "),
    }
}

/// `873 us`, `1.27 ms`, `2.004 s`
pub fn time(nanos: u64) -> String {
    let us = nanos as f64 / 1e3;
    match us {
        ..100.0 => format!("{us:.1} us"),
        ..1_000.0 => format!("{us:.0} us"),
        ..1_000_000.0 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.3} s", us / 1e6),
    }
}

fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut name = "B";
    for unit in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    match name {
        "B" => format!("{count} B"),
        _ => format!("{value:.1} {name}"),
    }
}

/// The rows of the table.
const SHOWN: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// From here on the generator's own delay is worth a warning, in nanoseconds.
const LAG_BEWARE: u64 = 1_000_000;

const LATE: &str = "the generator itself was late: its core is busy with other work, or the rate\n             \
                    is more than its threads can send (--cores, --threads)";

/// As many lines per half distance to 1 as HdrHistogram's tools write.
const HGRM_TICKS: u32 = 5;

/// Of a histogram with three significant digits.
const SUB_BUCKETS: u32 = 2048;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_fitting_units() {
        assert_eq!(time(12_340), "12.3 us");
        assert_eq!(time(873_400), "873 us");
        assert_eq!(time(1_274_000), "1.27 ms");
        assert_eq!(time(2_004_000_000), "2.004 s");
        assert_eq!(bytes(47), "47 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
    }

    #[test]
    fn a_plotter_can_read_the_distribution() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        (1..=1000).for_each(|ms| histogram.record(ms * 1_000_000).unwrap());
        let text = hgrm(&histogram);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|n| n.parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(
            rows.windows(2)
                .all(|w| w[0][0] <= w[1][0] && w[0][2] <= w[1][2])
        );
        let middle = rows.iter().find(|row| row[1] == 0.5).unwrap();
        assert!((middle[0] - 500.0).abs() < 1.0 && middle[2] == 500.0 && middle[3] == 2.0);
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
