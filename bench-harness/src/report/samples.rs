//! Results as they come out of real runs, for tests.

use std::collections::BTreeMap;

use crate::results::{
    Circumstances, GateFigure, GateRun, HalfSample, Latency, LoadRun, Machine, Pairing, PeerRun,
    PeersRun, SCHEMA, Sample, ScenarioRun, Verdict,
};
use crate::stats::Draws;

/// Of a small virtual machine.
pub fn circumstances(command: &str) -> Circumstances {
    Circumstances {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        started_unix: 1_795_377_900,
        command: command.to_owned(),
        machine: Machine {
            cpu: "AMD EPYC 7763 64-Core Processor".to_owned(),
            cores: 2,
            kernel: "6.1.0-30-amd64".to_owned(),
            governor: None,
            isolated: String::new(),
            memory_bytes: 8_322_760_704,
            load_before: "0.08 0.12 0.10".to_owned(),
            load_after: "1.92 1.40 0.71".to_owned(),
        },
    }
}

/// A distribution with a tail.
pub fn latency(median_us: f64, tail: f64) -> Latency {
    let at = |quantile: f64| {
        let nines = -(1.0 - quantile).max(1e-6).log10();
        median_us * (0.55 + 1.1 * quantile + 0.12 * tail * nines.powi(2))
    };
    let mut curve: Vec<[f64; 2]> = (0..20)
        .map(|n| f64::from(n) / 20.0)
        .map(|q| [q, at(q)])
        .collect();
    let mut rest = 0.05;
    while rest > 2e-6 {
        curve.push([1.0 - rest, at(1.0 - rest)]);
        rest *= 0.8;
    }
    curve.push([1.0, at(1.0)]);
    Latency {
        mean_us: median_us * 1.08,
        deviation_us: median_us * 0.4,
        min_us: at(0.0),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p99_9_us: at(0.999),
        max_us: at(1.0),
        curve,
    }
}

/// A run of the load generator; an open loop if there is a rate.
pub fn load(rate: Option<f64>) -> LoadRun {
    let per_second = rate.unwrap_or(48_731.4);
    LoadRun {
        circumstances: circumstances("ringgate-bench load http://127.0.0.1:8080/api/users/7"),
        target: "http://127.0.0.1:8080/api/users/7".to_owned(),
        protocol: "http/1.1".to_owned(),
        tls: false,
        connections: 64,
        in_flight: 1,
        rates: rate.map(|rate| vec![rate]),
        seconds: 10.0,
        requests: (per_second * 10.0) as u64,
        warmup_requests: per_second as u64,
        requests_per_second: per_second,
        unsent: 0,
        errors: BTreeMap::new(),
        statuses: BTreeMap::from([(200, (per_second * 10.0) as u64)]),
        body_bytes: (per_second * 470.0) as u64,
        opened: 64,
        resumed: 0,
        latency: latency(1310.0, 3.0),
        service: rate.map(|_| latency(420.0, 1.0)),
    }
}

/// A comparison of 12 rounds that came to this.
pub fn gate(verdict: Verdict) -> GateRun {
    let (truth, noise) = match verdict {
        Verdict::NoRegression => (1.002, 0.015),
        Verdict::TooNoisy => (1.025, 0.09),
        Verdict::Regression => (1.061, 0.015),
    };
    let mut draws = Draws::from(5);
    let figures = [
        ("cpu_us", 20.4, 0.03, 1.0),
        ("p50_us", 655.0, 0.05, 1.3),
        ("p99_us", 1720.0, 0.10, 3.0),
    ];
    let figures = figures.map(|(name, value, threshold, wilder)| {
        let mut values = |truth: f64| {
            let each = (0..12).map(|_| value * truth * (noise * wilder * draws.normal()).exp());
            each.collect::<Vec<f64>>()
        };
        GateFigure {
            name: name.to_owned(),
            threshold,
            base: values(1.0),
            candidate: values(truth),
            ratio: truth,
            low: truth - noise * wilder * 0.9,
            high: truth + noise * wilder * 0.9,
            verdict: if name == "cpu_us" {
                verdict
            } else {
                Verdict::NoRegression.max(verdict.min(Verdict::TooNoisy))
            },
            rounds_needed: (verdict == Verdict::TooNoisy).then_some(84),
        }
    });
    let version = |commit: &str| {
        format!(
            "ringgate 0.1.0, commit: {commit}, build: release for x86_64-unknown-linux-gnu (/opt/{commit}/ringgate)"
        )
    };
    GateRun {
        circumstances: circumstances(
            "ringgate-bench gate --base /opt/a/ringgate --candidate /opt/b/ringgate",
        ),
        work: "small-get-64".to_owned(),
        base: version("bf779d80c019"),
        candidate: version("34c772b1f0aa"),
        figures: figures.into(),
        verdict,
        method: vec!["Both sides are measured in every round, in alternating order.".to_owned()],
        commands: vec![
            "ringgate-bench load http://127.0.0.1:0/api/users/7 --connections=64".to_owned(),
        ],
        base_config: "[runtime]\nworkers = 1\n".to_owned(),
        candidate_config: "[runtime]\nworkers = 1\n".to_owned(),
        rate: Some(24_400.0),
        pairing: Pairing::Paired,
    }
}

/// Six proxies in three scenarios, one of them not possible yet.
pub fn peers() -> PeersRun {
    let names = [
        "ringgate",
        "ringgate-log",
        "nginx",
        "haproxy",
        "envoy",
        "caddy",
        "stock",
        "relay",
    ];
    let costs = [
        [2.1, 12.2],
        [2.9, 12.8],
        [6.1, 14.2],
        [6.4, 15.2],
        [41.0, 29.9],
        [58.0, 38.0],
        [7.9, 13.1],
        [1.0, 12.3],
    ];
    let mut draws = Draws::from(3);
    let mut scenario = |name: &str, title: &str, scale: f64| ScenarioRun {
        name: name.to_owned(),
        title: title.to_owned(),
        unit: "request".to_owned(),
        peers: names
            .iter()
            .zip(costs)
            .map(|(name, [user, system])| peer(name, user * scale, system * scale, &mut draws))
            .collect(),
    };
    let mut scenarios = vec![
        scenario(
            "small-get-64",
            "A GET of 47 bytes on 64 kept connections.",
            1.0,
        ),
        scenario(
            "get-64k",
            "Responses of 64 KiB on 64 kept connections.",
            3.4,
        ),
        scenario("tls-full", "A full TLS handshake for each request.", 20.0),
    ];
    scenarios[0].peers[5].absent =
        Some("not installed: `ringgate-bench peers install` fetches it".to_owned());
    scenarios[0].peers[5].samples.clear();
    for peer in &mut scenarios[2].peers {
        peer.samples.clear();
        peer.absent = Some("ringgate does not do TLS yet".to_owned());
    }
    let versions = names.map(|name| (name.to_owned(), format!("{name} 1.2.3")));
    PeersRun {
        circumstances: circumstances("ringgate-bench peers --rounds 10 --seconds 5"),
        proxy_cores: "0".to_owned(),
        load_cores: "1".to_owned(),
        versions: versions.into(),
        scenarios,
    }
}

fn peer(name: &str, user: f64, system: f64, draws: &mut Draws) -> PeerRun {
    let cost = user + system;
    let mut noisy = |value: f64| value * (0.03 * draws.normal()).exp();
    let samples = (0..10).map(|_| Sample {
        count: (4e6 / cost) as u64,
        per_second: noisy(0.96e6 / cost),
        user_us: noisy(user),
        system_us: noisy(system),
        busy: noisy(0.96),
        p50_us: noisy(62.0 * cost),
        p99_us: noisy(110.0 * cost),
        p99_9_us: noisy(190.0 * cost),
    });
    let samples: Vec<Sample> = samples.collect();
    let half = (0..10).map(|_| HalfSample {
        rate: 5_200.0,
        cost_us: noisy(cost * 1.3),
        p50_us: noisy(60.0 + cost),
        p99_us: noisy(120.0 + 5.0 * cost),
        p99_9_us: noisy(240.0 + 9.0 * cost),
    });
    let half: Vec<HalfSample> = half.collect();
    PeerRun {
        name: name.to_owned(),
        command: format!("taskset -c 0 /usr/sbin/{name} -c /tmp/{name}.conf"),
        config: format!("# {name}\nworkers 1;\n"),
        absent: None,
        samples,
        saturated: Some(latency(62.0 * cost, 1.0)),
        half,
        half_latency: Some(latency(60.0 + 3.0 * cost, 2.0)),
        resident_bytes: Some(9_000_000 + (cost * 4e5) as u64),
        busiest_worker: None,
        idle_connection_bytes: (name != "relay").then_some(900.0 + 300.0 * user),
    }
}
