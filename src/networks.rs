//! Files of networks that a configuration names: each is read once, whoever names it, and
//! remembered as one to watch, whether it could be read or not.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringgate_config::model::FilterKind;
use ringgate_config::{Config, Diagnostic, FAULTS_MAX, NetworkList, Spanned};
use ringgate_filters::Networks;

/// The networks of each file.
#[derive(Debug, Default)]
pub struct NetworkFiles(HashMap<PathBuf, Arc<Networks>>);

/// What reading them came to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What was read; a file with an error is not in it.
    pub lists: NetworkFiles,
    /// What is wrong; with an error among them the configuration cannot run.
    pub findings: Vec<Diagnostic>,
    /// The files that were read or missed.
    pub files: Vec<PathBuf>,
}

/// Some millions of networks.
const FILE_LEN_MAX: u64 = 64 << 20;

impl NetworkFiles {
    /// Reads the files that a configuration names.
    pub fn load(config: &Config) -> Loaded {
        let mut loaded = Loaded::default();
        for filter in &config.filters {
            let FilterKind::Address(address) = &filter.kind else {
                continue;
            };
            let files = address.allow.files.iter().chain(&address.block.files);
            files.for_each(|path| loaded.add(path));
        }
        loaded
    }

    /// The networks of a file; none of one that was not read.
    pub fn list(&self, path: &Path) -> Arc<Networks> {
        let list = self.0.get(path).map(Arc::clone);
        list.unwrap_or_else(|| [].into())
    }
}

impl Loaded {
    fn add(&mut self, path: &Spanned<PathBuf>) {
        if self.files.contains(path) {
            return;
        }
        self.files.push(path.value.clone());
        let shown = path.value.display();
        let text = match read(path) {
            Ok(text) => text,
            Err(why) => {
                let message = format!("{shown} {why}");
                let finding = Diagnostic::error("network-file", message, path.span)
                    .label("named here")
                    .help("an empty file is a list of no networks");
                self.findings.push(finding);
                return;
            }
        };
        let list = NetworkList::parse(&text);
        for (line, what) in &list.faults {
            let message = format!("{shown}:{line}: {what}");
            let finding = Diagnostic::error("network-file", message, path.span)
                .label("named here")
                .help("one network or address a line, such as 192.0.2.0/24; `#` begins a comment");
            self.findings.push(finding);
        }
        if list.faults.len() == FAULTS_MAX {
            let message = format!("{shown} has {FAULTS_MAX} bad lines or more");
            let finding = Diagnostic::error("network-file", message, path.span);
            self.findings.push(finding.label("named here"));
        }
        self.lists
            .0
            .insert(path.value.clone(), list.networks.into());
    }
}

fn read(path: &Path) -> Result<String, String> {
    let found = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !found.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(format!("is larger than {} MiB", FILE_LEN_MAX >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
