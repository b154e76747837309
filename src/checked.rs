//! A configuration file, read and compiled: what `check` judges, `run` starts on, and a reload
//! swaps in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::{Config, Diagnostic, Severity, Sources, Style, Verdict};
use ringgate_core::acme::Challenges;
use ringgate_core::arrivals::Arrivals;
use ringgate_core::stats::Registry;
use ringgate_filters::rate_limit::Ledgers;

use crate::compile::access::htpasswd::Htpasswds;
use crate::compile::access::{Backends, Issuers};
use crate::compile::{self, Addresses, RouterPatterns, Snapshot, Surroundings};
use crate::networks::NetworkFiles;
use crate::references::Commands;
use crate::tls::Configured;

/// A configuration that can run.
pub struct Checked {
    /// What was written.
    pub config: Arc<Config>,
    /// What it compiles to.
    pub snapshot: Snapshot,
    /// Warnings.
    pub findings: Findings,
    /// How its listeners and upstreams speak TLS.
    pub tls: Arc<Configured>,
    /// Who issues tokens, with their keys.
    pub issuers: Arc<Issuers>,
    /// Its files, those that it names, and directories in which new files would be included.
    pub watched: Vec<PathBuf>,
}

/// A configuration that cannot run, and why.
pub struct Refused {
    /// [`Verdict::Invalid`] or [`Verdict::Unsupported`].
    pub verdict: Verdict,
    /// At least one is not a warning.
    pub findings: Findings,
    /// What may be mended: as in [`Checked`].
    pub watched: Vec<PathBuf>,
}

/// Diagnostics with the texts they point into.
pub struct Findings {
    /// By file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub sources: Arc<Sources>,
}

impl Findings {
    fn extend(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        self.diagnostics.extend(more);
        self.diagnostics.sort_by_key(|finding| finding.span);
    }

    /// As people read them; empty when there are none.
    pub fn render(&self, style: Style) -> String {
        ringgate_config::render(&self.diagnostics, &self.sources, style)
    }

    /// As programs read them: an array.
    pub fn to_json(&self) -> serde_json::Value {
        ringgate_config::to_json(&self.diagnostics, &self.sources)
    }

    /// One line each, without excerpts.
    pub fn lines(&self) -> Vec<String> {
        let diagnostics = self.diagnostics.iter();
        diagnostics
            .map(|finding| match finding.span {
                Some(span) => {
                    let at = self.sources.position(span);
                    let path = self.sources.path(span.file).display();
                    format!("{path}:{}:{}: {}", at.line, at.column, finding.message)
                }
                None => finding.message.clone(),
            })
            .collect()
    }

    /// How many are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let diagnostics = self.diagnostics.iter();
        diagnostics.filter(|d| d.severity == severity).count()
    }
}

/// A configuration that was read and has no errors of its own.
pub struct Read {
    /// What was written.
    pub config: Arc<Config>,
    findings: Findings,
    watched: Vec<PathBuf>,
}

/// What a configuration is compiled among.
pub struct Around<'a> {
    /// Counters by name, kept across reloads.
    pub registry: &'a Registry,
    /// Open connections of a listener, by its name.
    pub connections: &'a dyn Fn(&str) -> Arc<Arrivals>,
    /// The TLS in force, if any: what did not change is taken over.
    pub tls: Option<&'a Configured>,
    /// What an authority's challenges are answered from.
    pub challenges: &'a Arc<Challenges>,
    /// What rate limits have counted, kept across reloads.
    pub ledgers: &'a Ledgers,
    /// Whom filters ask who makes a request.
    pub backends: &'a Backends,
    /// The number of the snapshot.
    pub generation: u64,
}

/// Reads a file with everything it includes.
///
/// # Errors
/// The findings, when it cannot run.
pub fn read(file: &Path, commands: Commands) -> Result<Read, Refused> {
    let loaded = ringgate_config::load_with(file, &commands, &RouterPatterns);
    let verdict = loaded.verdict();
    let findings = Findings {
        diagnostics: loaded.diagnostics,
        sources: loaded.sources,
    };
    let mut watched = loaded.files;
    watched.extend(loaded.include_dirs);
    match (verdict, loaded.config) {
        (Verdict::Runnable, Some(config)) => Ok(Read {
            config: Arc::new(config),
            findings,
            watched,
        }),
        (verdict, config) => {
            let mut findings = findings;
            findings.extend(config.iter().flat_map(compile::judge));
            let verdict = match findings.count(Severity::Error) {
                0 => verdict,
                _ => Verdict::Invalid,
            };
            Err(Refused {
                verdict,
                findings,
                watched,
            })
        }
    }
}

impl Read {
    /// Reads the certificates that it names and compiles it, among what is there already.
    ///
    /// # Errors
    /// The findings, when it cannot run.
    pub fn compile(self, around: &Around<'_>) -> Result<Checked, Refused> {
        let Read {
            config,
            mut findings,
            mut watched,
        } = self;
        let loaded = Configured::load(&config, around.tls, around.challenges, SystemTime::now());
        watched.extend(loaded.files);
        let users = Htpasswds::load(&config);
        watched.extend(users.files);
        let networks = NetworkFiles::load(&config);
        watched.extend(networks.files);
        let issuers = Issuers::load(&config, &around.backends.keys);
        watched.extend(issuers.files);
        let found = [
            loaded.findings,
            users.findings,
            networks.findings,
            issuers.findings,
        ]
        .concat();
        let files_are_fine = worst(&found) == Verdict::Runnable;
        findings.extend(found);
        let compiled = compile::compile(
            &config,
            &Surroundings {
                registry: around.registry,
                addresses: &Addresses::default(),
                connections: around.connections,
                tls: &loaded.configured,
                challenges: around.challenges,
                ledgers: around.ledgers,
                issuers: &issuers.issuers,
                backends: around.backends,
                networks: &networks.lists,
                passwords: &users.passwords,
                generation: around.generation,
            },
        );
        let (snapshot, more) = match compiled {
            Ok((snapshot, more)) => (Some(snapshot).filter(|_| files_are_fine), more),
            Err(more) => (None, more),
        };
        findings.extend(more);
        match snapshot {
            Some(snapshot) => Ok(Checked {
                config,
                snapshot,
                findings,
                tls: Arc::new(loaded.configured),
                issuers: Arc::new(issuers.issuers),
                watched,
            }),
            None => Err(Refused {
                verdict: worst(&findings.diagnostics),
                findings,
                watched,
            }),
        }
    }
}

/// Reads and compiles a file for itself, as `check` does: nothing is resolved, opened or
/// counted.
///
/// # Errors
/// The findings, when it cannot run.
pub fn check(file: &Path, commands: Commands) -> Result<Checked, Refused> {
    read(file, commands)?.compile(&Around {
        registry: &Registry::new(1),
        connections: &|_| Arc::default(),
        tls: None,
        challenges: &Arc::default(),
        ledgers: &Ledgers::new(1, 0),
        backends: &Backends::none(),
        generation: 1,
    })
}

fn worst(diagnostics: &[Diagnostic]) -> Verdict {
    match diagnostics.iter().map(|finding| finding.severity).min() {
        Some(Severity::Unsupported) => Verdict::Unsupported,
        Some(Severity::Warning) | None => Verdict::Runnable,
        Some(Severity::Error) => Verdict::Invalid,
    }
}
