//! Every metric family of the data plane, read from counters that the workers write for
//! themselves.

mod asking;
mod families;
mod fleet;

use std::collections::BTreeMap;

use ringgate_control::{Exposition, Kind};
use ringgate_core::policy::Urgency;
use ringgate_core::stats::{
    Counter, FilterStats, LATENCY_BOUNDS_US, Latency, PerCore, Registry, RouteStats, UpstreamStats,
    WorkerStats,
};

use self::families::{UPSTREAM_FAMILIES, WORKER_FAMILIES};
use super::access::AccessLog;
use super::{Gateway, process};
use crate::compile::Snapshot;
use crate::version;
use crate::words;

impl Gateway {
    pub(super) fn write_metrics(&self, out: &mut Exposition) {
        self.write_process(out);
        write_routes(&self.registry, out);
        write_upstreams(&self.registry, out);
        write_filters(&self.registry, out);
        asking::write(&self.registry, out);
        self.limits.write_metrics(out);
        let config = self.state().config.clone();
        self.backoffice.write_metrics(&config, out);
        write_workers(&self.registry.workers, out);
        let snapshot = self.state().snapshot.clone();
        write_listeners(&snapshot, out);
        self.write_fleet(out);
        self.write_log(out);
    }

    fn write_log(&self, out: &mut Exposition) {
        out.family(
            "ringgate_log_write_errors_total",
            Kind::Counter,
            "Writes of the access log that failed, with all their lines, since it was opened.",
        );
        let access = &self.state().access;
        let failed = access.as_ref().map_or(0, AccessLog::failed_writes);
        out.sample(&[], failed);
    }

    fn write_process(&self, out: &mut Exposition) {
        out.family(
            "ringgate_build_info",
            Kind::Gauge,
            "Always 1; the build is in the labels.",
        );
        let driver = self.driver.name();
        out.sample(&[("version", version::VERSION), ("driver", driver)], 1_u64);
        out.family(
            "ringgate_uptime_seconds",
            Kind::Gauge,
            "Seconds since the process started.",
        );
        out.sample(&[], self.started.elapsed().as_secs_f64());
        let figures = process::figures();
        if let Some(bytes) = figures.resident_bytes {
            out.family(
                "process_resident_memory_bytes",
                Kind::Gauge,
                "Resident memory.",
            );
            out.sample(&[], bytes);
        }
        if let Some(descriptors) = figures.descriptors {
            out.family("process_open_fds", Kind::Gauge, "Open descriptors.");
            out.sample(&[], descriptors);
        }
        if let Some(seconds) = figures.cpu_seconds {
            out.family(
                "process_cpu_seconds_total",
                Kind::Counter,
                "CPU time, user and system together.",
            );
            out.sample(&[], seconds);
        }
    }
}

fn write_routes(registry: &Registry, out: &mut Exposition) {
    let mut rows = Vec::new();
    registry.each_route(|name, stats| {
        let row = RouteRow::read(stats);
        // Ten thousand routes without a request are ten thousand histograms of nothing.
        if row.classes.iter().any(|count| *count > 0) {
            rows.push((name.to_owned(), row));
        }
    });
    out.family(
            "ringgate_requests_total",
            Kind::Counter,
            "Requests by route and class of the status; route \"\" are those that no route took, class \"none\" those that got no answer.",
        );
    for (route, row) in &rows {
        write_classes(out, ("route", route), &row.classes);
    }
    let unrouted = sum_classes(&registry.workers, |stats: &WorkerStats| &stats.unrouted);
    write_classes(out, ("route", ""), &unrouted);
    out.family(
        "ringgate_request_duration_seconds",
        Kind::Histogram,
        "From the first byte of a request to the last of its answer.",
    );
    let bounds = bounds();
    for (route, row) in &rows {
        row.latency.write(out, &[("route", route)], &bounds);
    }
    out.family(
        "ringgate_received_bytes_total",
        Kind::Counter,
        "Bytes of request bodies.",
    );
    for (route, row) in &rows {
        out.sample(&[("route", route)], row.received);
    }
    out.family(
        "ringgate_sent_bytes_total",
        Kind::Counter,
        "Bytes of response bodies.",
    );
    for (route, row) in &rows {
        out.sample(&[("route", route)], row.sent);
    }
    out.family(
        "ringgate_route_concurrency_refused_total",
        Kind::Counter,
        "Requests refused because a route had its most at a time: at once (full), or after waiting (timeout).",
    );
    for (route, row) in &rows {
        // Most routes have no such limit.
        for (reason, count) in ["full", "timeout"].iter().zip(row.refused) {
            if count > 0 {
                out.sample(&[("route", route), ("reason", reason)], count);
            }
        }
    }
}

fn write_upstreams(registry: &Registry, out: &mut Exposition) {
    let mut rows = Vec::new();
    registry.each_upstream(|name, stats| {
        rows.push((name.to_owned(), UpstreamRow::read(stats)));
    });
    for (index, (name, kind, help, _)) in UPSTREAM_FAMILIES.iter().enumerate() {
        out.family(name, *kind, help);
        for (upstream, row) in &rows {
            out.sample(&[("upstream", upstream)], row.figures[index]);
        }
    }
    out.family(
        "ringgate_upstream_responses_total",
        Kind::Counter,
        "Responses of origins by class of the status.",
    );
    for (upstream, row) in &rows {
        write_classes(out, ("upstream", upstream), &row.classes);
    }
    out.family(
        "ringgate_upstream_latency_seconds",
        Kind::Histogram,
        "From sending a request to the response head.",
    );
    let bounds = bounds();
    for (upstream, row) in rows.iter().filter(|(_, row)| row.latency.is_used()) {
        row.latency.write(out, &[("upstream", upstream)], &bounds);
    }
}

fn write_filters(registry: &Registry, out: &mut Exposition) {
    let mut rows = Vec::new();
    registry.each_filter(|name, stats: &PerCore<FilterStats>| {
        rows.push((
            name.to_owned(),
            stats.sum(|stats| &stats.calls),
            stats.sum(|stats| &stats.refusals),
            stats.sum(|stats| &stats.nanos) as f64 / 1e9,
        ));
    });
    out.family(
        "ringgate_filter_calls_total",
        Kind::Counter,
        "Times a filter was asked, in any phase.",
    );
    for (filter, calls, _, _) in &rows {
        out.sample(&[("filter", filter)], *calls);
    }
    out.family(
        "ringgate_filter_refusals_total",
        Kind::Counter,
        "Times a filter answered instead of letting pass.",
    );
    for (filter, _, refusals, _) in &rows {
        out.sample(&[("filter", filter)], *refusals);
    }
    out.family(
        "ringgate_filter_seconds_total",
        Kind::Counter,
        "Time spent in a filter.",
    );
    for (filter, _, _, seconds) in &rows {
        out.sample(&[("filter", filter)], *seconds);
    }
}

fn write_workers(workers: &PerCore<WorkerStats>, out: &mut Exposition) {
    for (name, kind, help, counter) in WORKER_FAMILIES {
        out.family(name, *kind, help);
        for (worker, stats) in workers.iter().enumerate() {
            out.sample(&[("worker", &worker.to_string())], counter(stats).value());
        }
    }
    out.family(
        "ringgate_worker_shed_requests_total",
        Kind::Counter,
        "Requests answered 503 because the worker had too much to do, by their urgency.",
    );
    for (worker, stats) in workers.iter().enumerate() {
        let worker = worker.to_string();
        for (urgency, counter) in URGENCIES.iter().zip(&stats.shed_requests) {
            let labels = [("worker", &*worker), ("urgency", words::urgency(*urgency))];
            out.sample(&labels, counter.value());
        }
    }
    out.family(
        "ringgate_worker_stall_seconds",
        Kind::Gauge,
        "Longest time that a worker came too late to its tick.",
    );
    for (worker, stats) in workers.iter().enumerate() {
        let seconds = stats.stall_us.value() as f64 / 1e6;
        out.sample(&[("worker", &worker.to_string())], seconds);
    }
    out.family(
        "ringgate_worker_lag_seconds",
        Kind::Gauge,
        "How late a worker comes to its tick, averaged over the last ones: as long waits whatever is ready.",
    );
    for (worker, stats) in workers.iter().enumerate() {
        let seconds = stats.lag_us.value() as f64 / 1e6;
        out.sample(&[("worker", &worker.to_string())], seconds);
    }
    out.family(
        "ringgate_worker_swap_seconds",
        Kind::Gauge,
        "How long the last reload kept a worker from other work.",
    );
    for (worker, stats) in workers.iter().enumerate() {
        let seconds = stats.swap_us.value() as f64 / 1e6;
        out.sample(&[("worker", &worker.to_string())], seconds);
    }
    let mut faults = BTreeMap::new();
    for stats in workers.iter() {
        stats.faults.merge_into(&mut faults);
    }
    out.family(
        "ringgate_faults_total",
        Kind::Counter,
        "What kept exchanges from their plain course: who ended them, and the code of the access log.",
    );
    for ((by, code), count) in faults {
        out.sample(&[("by", by), ("code", code)], count);
    }
}

fn write_listeners(snapshot: &Snapshot, out: &mut Exposition) {
    out.family(
        "ringgate_listener_connections",
        Kind::Gauge,
        "Open connections of a listener.",
    );
    for listener in &snapshot.listeners {
        let labels = [("listener", &*listener.name)];
        out.sample(&labels, listener.connections.value());
    }
    out.family(
        "ringgate_listener_connections_max",
        Kind::Gauge,
        "Connections of a listener beyond which new ones get 503.",
    );
    for listener in &snapshot.listeners {
        let labels = [("listener", &*listener.name)];
        out.sample(&labels, listener.limits.connections_max);
    }
    out.family(
        "ringgate_generation",
        Kind::Gauge,
        "Number of the snapshot in force; the one at start is 1.",
    );
    out.sample(&[], snapshot.generation);
}

/// Those that are ever refused, in the order of their counters.
const URGENCIES: [Urgency; 3] = [Urgency::Low, Urgency::Normal, Urgency::High];

struct RouteRow {
    classes: [u64; 6],
    latency: Merged,
    received: u64,
    sent: u64,
    refused: [u64; 2],
}

impl RouteRow {
    fn read(stats: &PerCore<RouteStats>) -> RouteRow {
        RouteRow {
            classes: sum_classes(stats, |stats| &stats.responses),
            latency: Merged::of(stats.iter().map(|stats| &stats.latency)),
            received: stats.sum(|stats| &stats.received),
            sent: stats.sum(|stats| &stats.sent),
            refused: [
                stats.sum(|stats| &stats.gate_refused),
                stats.sum(|stats| &stats.gate_timeouts),
            ],
        }
    }
}

struct UpstreamRow {
    figures: [u64; UPSTREAM_FAMILIES.len()],
    classes: [u64; 6],
    latency: Merged,
}

impl UpstreamRow {
    fn read(stats: &PerCore<UpstreamStats>) -> UpstreamRow {
        UpstreamRow {
            figures: std::array::from_fn(|index| stats.sum(UPSTREAM_FAMILIES[index].3)),
            classes: sum_classes(stats, |stats| &stats.responses),
            latency: Merged::of(stats.iter().map(|stats| &stats.latency)),
        }
    }
}

/// The latencies of all cores together.
#[derive(Default)]
struct Merged {
    counts: [u64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Merged {
    fn of<'s>(each: impl Iterator<Item = &'s Latency>) -> Merged {
        let mut merged = Merged::default();
        for latency in each {
            latency.merge_into(&mut merged.counts, &mut merged.sum_us);
        }
        merged
    }

    fn is_used(&self) -> bool {
        self.counts.iter().any(|count| *count > 0)
    }

    fn write(&self, out: &mut Exposition, labels: &[(&str, &str)], bounds: &[f64]) {
        out.histogram(labels, bounds, &self.counts, self.sum_us as f64 / 1e6);
    }
}

fn bounds() -> [f64; LATENCY_BOUNDS_US.len()] {
    LATENCY_BOUNDS_US.map(|micros| micros as f64 / 1e6)
}

fn sum_classes<T>(stats: &PerCore<T>, classes: impl Fn(&T) -> &[Counter; 6]) -> [u64; 6] {
    std::array::from_fn(|class| stats.sum(|one| &classes(one)[class]))
}

fn write_classes(out: &mut Exposition, label: (&str, &str), classes: &[u64; 6]) {
    for (class, count) in CLASSES.iter().zip(classes) {
        if *count > 0 {
            out.sample(&[label, ("class", class)], *count);
        }
    }
}

/// By the first digit of the status; 0 is no answer at all.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests;
