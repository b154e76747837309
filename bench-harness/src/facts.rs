//! The machine and the programs that a figure was measured with: a figure without them cannot
//! be compared with another.

use std::collections::BTreeMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::process;
use crate::results::{Circumstances, Machine, SCHEMA};

/// When, where and by which command something is measured. To be asked for before anything is
/// started: the machine's load is among it.
pub fn begin() -> Circumstances {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let words = std::env::args_os().skip(1);
    let words = words.map(|word| process::shown(&word));
    let command: Vec<String> = ["ringgate-bench".to_owned()]
        .into_iter()
        .chain(words)
        .collect();
    Circumstances {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix: now.map_or(0, |since| since.as_secs()),
        command: command.join(" "),
        machine: machine(),
    }
}

/// Notes what the machine was busy with at the end.
pub fn finish(circumstances: &mut Circumstances) {
    circumstances.machine.load_after = load_average();
}

/// A few lines on the machine for people.
pub fn machine_text(machine: &Machine) -> String {
    let mut text = format!(
        "machine       {}, {} cores, Linux {}\nload average  {} before, {} after",
        machine.cpu, machine.cores, machine.kernel, machine.load_before, machine.load_after
    );
    if is_busy(&machine.load_before, machine.cores) {
        text.push_str("\nbeware        ");
        text.push_str(BUSY);
    }
    text
}

fn machine() -> Machine {
    let cpuinfo = read("/proc/cpuinfo");
    let governor = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| {
        let line = line.strip_prefix("MemTotal:")?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Machine {
        cpu: model(&cpuinfo).to_owned(),
        cores: count(&cpuinfo),
        kernel: read("/proc/sys/kernel/osrelease"),
        governor: governor.ok().map(|text| text.trim().to_owned()),
        isolated: fs::read_to_string("/sys/devices/system/cpu/isolated")
            .map(|text| text.trim().to_owned())
            .unwrap_or_default(),
        memory_bytes: kib.unwrap_or(0) * 1024,
        load_before: load_average(),
        load_after: String::new(),
    }
}

/// What a report says about its circumstances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Model of the processor.
    pub cpu: String,
    /// Number of cores that are online.
    pub cores: usize,
    /// Release of the kernel.
    pub kernel: String,
    /// Load average over 1, 5 and 15 minutes before anything was started.
    pub load_before: String,
    /// The same at the end.
    pub load_after: String,
    /// Versions of the programs.
    pub versions: BTreeMap<String, String>,
    /// Commands that were run.
    pub commands: Vec<String>,
    /// Configurations they ran on.
    pub configs: BTreeMap<String, String>,
}

impl Facts {
    /// What is known before anything was started.
    pub fn gather() -> Facts {
        let cpuinfo = read("/proc/cpuinfo");
        Facts {
            cpu: model(&cpuinfo).to_owned(),
            cores: count(&cpuinfo),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_before: load_average(),
            load_after: String::new(),
            versions: BTreeMap::new(),
            commands: Vec::new(),
            configs: BTreeMap::new(),
        }
    }

    /// Notes what the machine was busy with at the end.
    pub fn finish(&mut self) {
        self.load_after = load_average();
    }

    /// A few lines for people.
    pub fn to_text(&self) -> String {
        let line = |name: &str, value: &str| format!("{name:<12} {value}");
        let machine = format!("{}, {} cores, Linux {}", self.cpu, self.cores, self.kernel);
        let load = format!("{} before, {} after", self.load_before, self.load_after);
        let mut lines = vec![line("machine", &machine), line("load average", &load)];
        let versions = self.versions.iter();
        lines.extend(versions.map(|(name, version)| line(name, version)));
        let commands = self.commands.iter();
        lines.extend(commands.map(|command| line("command", command)));
        if is_busy(&self.load_before, self.cores) {
            lines.push(line("beware", BUSY));
        }
        lines.join("\n")
    }
}

/// Whether others used more than a tenth of the machine during the last minute.
fn is_busy(load_average: &str, cores: usize) -> bool {
    let minute = load_average.split(' ').next();
    let minute = minute.and_then(|text| text.parse::<f64>().ok());
    minute.is_some_and(|load| load > cores as f64 / 10.0)
}

fn load_average() -> String {
    let text = read("/proc/loadavg");
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_else(|_| "unknown".to_owned());
    text.trim().to_owned()
}

fn model(cpuinfo: &str) -> &str {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let mut models = lines.filter(|(name, _)| name.trim() == "model name");
    models
        .next()
        .map_or("unknown processor", |(_, model)| model.trim())
}

fn count(cpuinfo: &str) -> usize {
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor"));
    processors.count()
}

const BUSY: &str =
    "the machine was busy with other work before the start: the spread says how much it matters";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_others_use_is_busy() {
        assert!(is_busy("0.30 0.10 0.05", 2));
        assert!(!is_busy("0.15 4.00 4.00", 2));
        assert!(!is_busy("unknown", 2));
    }

    #[test]
    fn processors_are_counted_and_named() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\n\nprocessor\t: 1\n\
                    model name\t: Some CPU @ 2.00GHz\n";
        assert_eq!((model(text), count(text)), ("Some CPU @ 2.00GHz", 2));
        assert_eq!(model("Features: fp\n"), "unknown processor");
    }
}
