//! CPU time per request: Ringgate against nginx, and io_uring against epoll.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Scratch, Subject};
use crate::contest::{Contender, Contest, Proxy, REQUEST_PATH, Round, Sample};
use crate::cores::Places;
use crate::facts::Facts;
use crate::fault::{Fault, Result};
use crate::gateway::{self, Binary, Driver};
use crate::nginx::{Nginx, Role, Server};
use crate::report::{self, Shape};
use crate::stats::{Interval, Spread};
use crate::wrk::{Load, Wrk};

/// How it is measured.
#[derive(Debug, Args)]
pub struct Cpu {
    /// How often each of the two is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections of the load, each with one request at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4000))]
    connections: u32,
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    shape: Shape,
}

/// Everything that one kind of contest needs, ready to start proxies.
struct Stage {
    places: Places,
    nginx: Nginx,
    wrk: Wrk,
    binary: Binary,
    origin: Server,
    facts: Facts,
    // The last to go: fields are dropped in their order.
    scratch: Scratch,
}

/// A proxy before it takes part.
struct Entry {
    name: String,
    proxy: Proxy,
    access_log: PathBuf,
}

#[derive(Debug, Serialize)]
struct Report {
    figure: &'static str,
    unit: &'static str,
    load: Load,
    places: Places,
    first: Contestant,
    second: Contestant,
    ratio: Ratio,
    rounds: Vec<Round>,
    facts: Facts,
}

#[derive(Debug, Serialize)]
struct Contestant {
    name: String,
    user_us: Spread,
    system_us: Spread,
    total_us: Spread,
    requests_per_second: Spread,
}

#[derive(Debug, Serialize)]
struct Ratio {
    of_rounds: Spread,
    median_95: Interval,
}

impl Cpu {
    /// Ringgate against nginx.
    ///
    /// # Errors
    /// When something is missing or a premise does not hold.
    pub fn against_nginx(&self) -> Result<String> {
        let mut stage = Stage::set(&self.subject)?;
        let ringgate = stage.ringgate("ringgate", Driver::Auto)?;
        let nginx = stage.nginx("nginx")?;
        self.contest(
            &mut stage,
            "CPU time per request, Ringgate over nginx",
            &ringgate,
            &nginx,
        )
    }

    /// io_uring against epoll.
    ///
    /// # Errors
    /// When something is missing or a premise does not hold.
    pub fn against_epoll(&self) -> Result<String> {
        let mut stage = Stage::set(&self.subject)?;
        let ring = stage.ringgate("io_uring", Driver::IoUring)?;
        let epoll = stage.ringgate("epoll", Driver::Epoll)?;
        self.contest(
            &mut stage,
            "CPU time per request, io_uring over epoll",
            &ring,
            &epoll,
        )
    }

    fn contest(
        &self,
        stage: &mut Stage,
        figure: &'static str,
        first: &Entry,
        second: &Entry,
    ) -> Result<String> {
        let load = Load {
            connections: self.connections,
            seconds: self.seconds,
        };
        let room = stage.scratch.room("wrk")?;
        let contest = Contest {
            wrk: &stage.wrk,
            load,
            rounds: self.rounds,
            places: stage.places,
            origin: &stage.origin,
            directory: &room,
        };
        let rounds = contest.run(&first.contender(), &second.contender())?;
        for entry in [first, second] {
            let target = entry.proxy.address();
            let command = stage
                .wrk
                .command(load, stage.places.load, target, REQUEST_PATH);
            stage.facts.commands.push(command);
        }
        stage.facts.finish();
        let ratios: Vec<f64> = rounds.iter().map(|round| round.ratio).collect();
        let report = Report {
            figure,
            unit: "microseconds of CPU time per request",
            load,
            places: stage.places,
            first: Contestant::of(&first.name, rounds.iter().map(|round| round.first)),
            second: Contestant::of(&second.name, rounds.iter().map(|round| round.second)),
            ratio: Ratio {
                of_rounds: Spread::of(ratios.iter().copied()),
                median_95: Interval::of_median(&ratios),
            },
            rounds,
            facts: stage.facts.clone(),
        };
        Ok(self.shape.render(&report, Report::to_text))
    }
}

impl Stage {
    fn set(subject: &Subject) -> Result<Stage> {
        let mut facts = Facts::gather();
        let (nginx, wrk) = (Nginx::find()?, Wrk::find()?);
        let binary = subject.find()?;
        let places = Places::choose()?;
        let scratch = Scratch::new()?;
        let origin = nginx.start(Role::Origin, places.load, &scratch.room("origin")?)?;
        let versions = [
            ("ringgate", binary.version()),
            ("nginx", nginx.version()),
            ("wrk", wrk.version()),
        ];
        facts.versions = versions
            .map(|(name, version)| (name.to_owned(), version))
            .into();
        facts.note("origin", origin.process.command(), &origin.config);
        Ok(Stage {
            places,
            nginx,
            wrk,
            binary,
            origin,
            facts,
            scratch,
        })
    }

    fn ringgate(&mut self, name: &str, driver: Driver) -> Result<Entry> {
        let room = self.scratch.room(name)?;
        let access_log = room.join("access.log");
        let core = self.places.proxy;
        let config = gateway::forwarding(driver, Some(core), self.origin.address, &access_log);
        let gateway = self.binary.start(&config, Some(core), &room)?;
        let asked = driver != Driver::Auto;
        if asked && gateway.driver() != driver.name() {
            return Err(Fault::Premise(format!(
                "{} was asked for, but the gateway runs on {}",
                driver.name(),
                gateway.driver()
            )));
        }
        let driver = gateway.driver().to_owned();
        self.facts.versions.insert(format!("{name} on"), driver);
        Ok(self.entry(name, Proxy::Ringgate(gateway), &config, access_log))
    }

    fn nginx(&mut self, name: &str) -> Result<Entry> {
        let room = self.scratch.room(name)?;
        let access_log = room.join("access.log");
        let role = Role::Proxy {
            origin: self.origin.address,
            access_log: &access_log,
        };
        let server = self.nginx.start(role, self.places.proxy, &room)?;
        let config = server.config.clone();
        Ok(self.entry(name, Proxy::Nginx(server), &config, access_log))
    }

    fn entry(&mut self, name: &str, proxy: Proxy, config: &str, access_log: PathBuf) -> Entry {
        self.facts.note(name, proxy.command(), config);
        Entry {
            name: name.to_owned(),
            proxy,
            access_log,
        }
    }
}

impl Entry {
    fn contender(&self) -> Contender<'_> {
        Contender {
            name: self.name.clone(),
            proxy: &self.proxy,
            access_log: self.access_log.clone(),
        }
    }
}

impl Contestant {
    fn of(name: &str, samples: impl Iterator<Item = Sample> + Clone) -> Contestant {
        let spread = |part: fn(Sample) -> f64| Spread::of(samples.clone().map(part));
        Contestant {
            name: name.to_owned(),
            user_us: spread(|sample| sample.user_us),
            system_us: spread(|sample| sample.system_us),
            total_us: spread(|sample| sample.total_us),
            requests_per_second: spread(|sample| sample.requests_per_second),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            report::spread(self.total_us, 2),
            report::spread(self.user_us, 2),
            report::spread(self.system_us, 2),
            report::spread(self.requests_per_second, 0),
        ]
    }
}

impl Report {
    fn to_text(&self) -> String {
        let mut rows = vec![heads(&[
            "round",
            "proxy",
            "requests",
            "req/s",
            "user us",
            "system us",
            "total us",
            "busy",
            "p50 ms",
            "p99 ms",
            "ratio",
        ])];
        for (number, round) in (1..).zip(&self.rounds) {
            rows.push(row(number, &self.first.name, &round.first, None));
            rows.push(row(
                number,
                &self.second.name,
                &round.second,
                Some(round.ratio),
            ));
        }
        let summary = [
            heads(&[
                "median (min..max)",
                "total us",
                "user us",
                "system us",
                "req/s",
            ]),
            self.first.row(),
            self.second.row(),
        ];
        let Interval { low, high } = self.ratio.median_95;
        format!(
            "{}\n{} connections, {} s each; proxy on core {}, load and origin on core {}\n\n{}\n\n{}\n\nratio of CPU time, {} over {}: {}, 95 % of the median {low:.3}..{high:.3}\n\n{}",
            self.figure,
            self.load.connections,
            self.load.seconds,
            self.places.proxy.0,
            self.places.load.0,
            report::table(&rows),
            report::table(&summary),
            self.first.name,
            self.second.name,
            report::spread(self.ratio.of_rounds, 3),
            self.facts.to_text(),
        )
    }
}

fn heads(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn row(number: u32, name: &str, sample: &Sample, ratio: Option<f64>) -> Vec<String> {
    vec![
        number.to_string(),
        name.to_owned(),
        sample.requests.to_string(),
        format!("{:.0}", sample.requests_per_second),
        format!("{:.2}", sample.user_us),
        format!("{:.2}", sample.system_us),
        format!("{:.2}", sample.total_us),
        format!("{:.2}", sample.busy),
        format!("{:.2}", sample.p50_ms),
        format!("{:.2}", sample.p99_ms),
        ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
    ]
}
