//! Few heavy HTTP/2 connections on several workers: how many requests each worker gets, by the
//! gateway's own metrics. A connection stays on the worker that took it, so that the kernel's
//! choice alone may leave a worker idle.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;

use super::{Scratch, Subject};
use crate::cores::{Cores, Places};
use crate::facts::Facts;
use crate::fault::{Fault, Result};
use crate::gateway::Gateway;
use crate::http;
use crate::measure::{
    self, Calls, Clients, Length, Pace, Protocol, Resumption, Stage, Tls, Upstream, Work,
};
use crate::output::{self, Shape};
use crate::peers::Certificate;
use crate::stats::Spread;

/// How it is measured.
#[derive(Debug, Args)]
pub struct Skew {
    /// Workers of the gateway.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=256))]
    workers: u32,
    /// Connections, opened anew in each round.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Streams on each connection.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=128))]
    streams: u32,
    /// How often connections are opened and loaded.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of each round.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,
    /// Cores of the gateway, such as 0 or 0-3; the first allowed one without it.
    #[arg(long, value_name = "LIST")]
    proxy_cores: Option<Cores>,
    /// Cores of load and origin; all others without it.
    #[arg(long, value_name = "LIST")]
    load_cores: Option<Cores>,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
struct Report {
    figure: &'static str,
    workers: u32,
    connections: u32,
    streams: u32,
    /// Requests of the busiest worker over the mean of all.
    busiest: Spread,
    /// The same if all connections did the same and were spread as evenly as can be.
    busiest_least: f64,
    rounds: Vec<Round>,
    facts: Facts,
}

/// One round; what is counted is by worker.
#[derive(Debug, Clone, Serialize)]
struct Round {
    requests: Vec<u64>,
    accepted: Vec<u64>,
    handed_over: Vec<u64>,
    requests_per_second: f64,
    cpu_us: f64,
}

impl Skew {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the gateway does not come up, tells no counts, or a premise does not hold.
    pub fn measure(&self) -> Result<String> {
        let mut facts = Facts::gather();
        let binary = self.subject.find()?;
        let scratch = Scratch::new()?;
        let certificate = Certificate::make(scratch.path())?;
        let places = Places::choose(self.proxy_cores.as_ref(), self.load_cores.as_ref())?;
        let stage = Stage::set(places, scratch.path())?;
        let room = scratch.room("gateway")?;
        let config = self.config(&certificate, stage.origin().address());
        let gateway = binary.start(&config, Some(&stage.places().proxy), &room)?;
        facts
            .versions
            .insert("ringgate".to_owned(), binary.version());
        facts.configs.insert("ringgate".to_owned(), config);
        let work = self.work(&certificate);
        let mut rounds = Vec::new();
        for number in 1..=self.rounds {
            let round = self.round(&stage, &gateway, &work)?;
            let line = format!("round {number} of {}: {}", self.rounds, round.shares());
            output::complain(&line);
            rounds.push(round);
        }
        facts.finish();
        let report = Report {
            figure: "Requests by worker of few heavy HTTP/2 connections",
            workers: self.workers,
            connections: self.connections,
            streams: self.streams,
            busiest: Spread::of(rounds.iter().map(Round::busiest)),
            busiest_least: f64::from(self.connections.div_ceil(self.workers))
                * f64::from(self.workers)
                / f64::from(self.connections),
            rounds,
            facts,
        };
        Ok(self.shape.render(&report, Report::to_text))
    }

    fn round(&self, stage: &Stage, gateway: &Gateway, work: &Work) -> Result<Round> {
        let admin = gateway.admin()?;
        let subject = measure::Subject {
            name: "ringgate",
            pid: gateway.process.pid(),
            address: gateway.address(),
            access_log: None,
            upstream: Upstream::Pooled,
        };
        let length = Length {
            warmup: 0.3,
            seconds: self.seconds,
        };
        let before = metrics(admin)?;
        let measured = stage.measure(subject, work, length)?;
        let after = metrics(admin)?;
        let since = |family: &str| -> Result<Vec<u64>> {
            let (before, after) = (
                by_worker(&before, family, self.workers)?,
                by_worker(&after, family, self.workers)?,
            );
            let pairs = after.into_iter().zip(before);
            Ok(pairs
                .map(|(after, before)| after.saturating_sub(before))
                .collect())
        };
        Ok(Round {
            requests: since("ringgate_worker_requests_total")?,
            accepted: since("ringgate_worker_accepted_total")?,
            handed_over: since("ringgate_worker_handed_over_total")?,
            requests_per_second: measured.sample.per_second,
            cpu_us: measured.sample.cost_us(),
        })
    }

    fn work(&self, certificate: &Certificate) -> Work {
        Work {
            path: "/api/users/7".to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body_bytes: 0,
            calls: Calls::Http,
            connections: self.connections,
            in_flight: self.streams,
            clients: Clients::Kept,
            protocol: Protocol::Http2,
            tls: Some(Tls {
                ca: certificate.cert.clone(),
                name: "localhost".to_owned(),
                resumption: Resumption::Tickets,
            }),
            pace: Pace::Saturating,
            requests: None,
        }
    }

    fn config(&self, certificate: &Certificate, origin: SocketAddr) -> String {
        CONFIG
            .replace("WORKERS", &self.workers.to_string())
            .replace("CERT", &certificate.cert.display().to_string())
            .replace("KEY", &certificate.key.display().to_string())
            .replace("ORIGIN", &origin.to_string())
    }
}

impl Round {
    /// Requests of the busiest worker over the mean of all; 1 is even.
    fn busiest(&self) -> f64 {
        let most = self.requests.iter().max().copied().unwrap_or(0);
        let all: u64 = self.requests.iter().sum();
        most as f64 * self.requests.len() as f64 / all as f64
    }

    /// `34 % 66 %`
    fn shares(&self) -> String {
        let all: u64 = self.requests.iter().sum();
        let share = |count: &u64| format!("{:.0} %", 100.0 * *count as f64 / all as f64);
        let shares: Vec<String> = self.requests.iter().map(share).collect();
        shares.join(" ")
    }

    fn row(&self, number: usize) -> Vec<String> {
        let each = |counts: &[u64]| {
            let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
            counts.join(" ")
        };
        vec![
            number.to_string(),
            each(&self.requests),
            self.shares(),
            format!("{:.2}", self.busiest()),
            each(&self.accepted),
            each(&self.handed_over),
            format!("{:.0}", self.requests_per_second),
            format!("{:.2}", self.cpu_us),
        ]
    }
}

impl Report {
    fn to_text(&self) -> String {
        let names = [
            "round",
            "requests",
            "shares",
            "busiest/mean",
            "accepted",
            "handed over",
            "requests/s",
            "CPU us",
        ];
        let mut rows = vec![names.map(str::to_owned).to_vec()];
        rows.extend(self.rounds.iter().zip(1..).map(|(one, at)| one.row(at)));
        let idle = |one: &&Round| one.requests.contains(&0);
        format!(
            "{}\n{} connections with {} streams each, {} workers; each column has one number for \
             each worker\n\n{}\n\nbusiest/mean {}; {:.2} if all connections did the same and were \
             spread as evenly as whole ones can be\nrounds in which a worker had nothing to do: {} of {}\n\n{}",
            self.figure,
            self.connections,
            self.streams,
            self.workers,
            output::table(&rows),
            output::spread(self.busiest, 2),
            self.busiest_least,
            self.rounds.iter().filter(idle).count(),
            self.rounds.len(),
            self.facts.to_text(),
        )
    }
}

fn metrics(admin: SocketAddr) -> Result<String> {
    let answer = http::fetch(admin, "/metrics")
        .map_err(|error| Fault::io("ask the gateway for its metrics", &error))?;
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        status => Err(Fault::Setup(format!(
            "the gateway answers /metrics with {status}"
        ))),
    }
}

/// A family's counts in the order of workers.
fn by_worker(metrics: &str, family: &str, workers: u32) -> Result<Vec<u64>> {
    let counts: BTreeMap<&str, &str> = metrics
        .lines()
        .filter(|line| line.starts_with(family))
        .filter_map(|line| line.rsplit_once(' '))
        .collect();
    let of = |worker: u32| {
        let name = format!("{family}{{worker=\"{worker}\"}}");
        let count = counts.get(&*name).and_then(|count| count.parse().ok());
        count.ok_or_else(|| Fault::Setup(format!("the gateway's metrics have no {name}")))
    };
    (0..workers).map(of).collect()
}

const CONFIG: &str = r#"[runtime]
workers = WORKERS
shutdown_grace = "1s"

[admin]
listen = "127.0.0.1:0"

[log]
level = "warn"
access = "off"

[limits]
idle_timeout = "1h"
requests_per_connection_max = "off"

[[listener]]
name = "public"
listen = "127.0.0.1:0"
[[listener.certificate]]
cert = "CERT"
key = "KEY"

[[upstream]]
name = "origin"
endpoints = ["ORIGIN"]
idle_timeout = "50m"
keepalive_max = 2048

[[route]]
name = "everything"
path = "/{rest*}"
upstream = "origin"
"#;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE ringgate_worker_requests counter\n\
                           ringgate_worker_requests_total{worker=\"0\"} 100\n\
                           ringgate_worker_requests_total{worker=\"1\"} 300\n";

    #[test]
    fn counts_are_read_by_worker() {
        let family = "ringgate_worker_requests_total";
        assert_eq!(by_worker(METRICS, family, 2).unwrap(), [100, 300]);
        let missing = by_worker(METRICS, family, 3).unwrap_err().to_string();
        assert!(missing.contains("worker=\"2\""), "{missing}");
    }

    #[test]
    fn one_is_even_and_the_number_of_workers_is_all_on_one() {
        let busiest = |requests: &[u64]| {
            let round = Round {
                requests: requests.to_vec(),
                accepted: Vec::new(),
                handed_over: Vec::new(),
                requests_per_second: 1.0,
                cpu_us: 1.0,
            };
            round.busiest()
        };
        assert!((busiest(&[5, 5]) - 1.0).abs() < 1e-9);
        assert!((busiest(&[9, 0]) - 2.0).abs() < 1e-9);
    }
}
