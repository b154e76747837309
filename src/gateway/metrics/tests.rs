//! The exposition of counters that a test has set.

use super::*;
use ringgate_core::stats::CoreIndex;

fn text(write: impl FnOnce(&mut Exposition)) -> String {
    let mut out = Exposition::with_capacity(1024);
    write(&mut out);
    out.finish()
}

#[test]
fn routes_are_summed_over_cores_and_silent_ones_left_out() {
    let registry = Registry::new(2);
    let busy = registry.route("busy");
    let _silent = registry.route("silent");
    for core in [CoreIndex(0), CoreIndex(1)] {
        busy.of(core).responses[2].add(2);
        busy.of(core).latency.record(150);
        busy.of(core).sent.add(10);
    }
    registry.workers.of(CoreIndex(1)).unrouted[4].add(3);
    let text = text(|out| write_routes(&registry, out));
    for line in [
        "ringgate_requests_total{route=\"busy\",class=\"2xx\"} 4\n",
        "ringgate_requests_total{route=\"\",class=\"4xx\"} 3\n",
        "ringgate_request_duration_seconds_bucket{route=\"busy\",le=\"0.0001\"} 0\n",
        "ringgate_request_duration_seconds_bucket{route=\"busy\",le=\"0.0002\"} 2\n",
        "ringgate_request_duration_seconds_sum{route=\"busy\"} 0.0003\n",
        "ringgate_sent_bytes_total{route=\"busy\"} 20\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("silent"), "{text}");
}

#[test]
fn workers_are_told_apart() {
    let registry = Registry::new(2);
    let second = registry.workers.of(CoreIndex(1));
    second.requests.add(7);
    second.stall_us.set(2_500);
    second.faults.answer("no_route");
    let text = text(|out| write_workers(&registry.workers, out));
    for line in [
        "ringgate_worker_requests_total{worker=\"0\"} 0\n",
        "ringgate_worker_requests_total{worker=\"1\"} 7\n",
        "ringgate_worker_stall_seconds{worker=\"1\"} 0.0025\n",
        "ringgate_faults_total{by=\"gateway\",code=\"no_route\"} 1\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn upstreams_and_filters_are_named() {
    let registry = Registry::new(1);
    registry.upstream("app").of(CoreIndex(0)).connects.add(2);
    registry
        .filter("edit")
        .of(CoreIndex(0))
        .nanos
        .add(1_500_000_000);
    let upstreams = text(|out| write_upstreams(&registry, out));
    assert!(upstreams.contains("ringgate_upstream_connects_total{upstream=\"app\"} 2\n"));
    let filters = text(|out| write_filters(&registry, out));
    assert!(filters.contains("ringgate_filter_seconds_total{filter=\"edit\"} 1.5\n"));
}
