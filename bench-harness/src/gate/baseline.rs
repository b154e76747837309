//! Baselines: one build measured beside an anchor and kept, so that a later build can be
//! compared with it on the same machine. Whatever else differs is refused.

use std::fs;
use std::path::Path;

use super::judge::Judged;
use crate::fault::{Fault, Result};
use crate::results::{BaselineFigure, BaselineRun, Machine, SCHEMA, Saved};

/// What a baseline must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Today<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The name of the scenario, or the configuration's file.
    pub work: &'a str,
    /// The load, as flags.
    pub load: &'a str,
    /// Cores of the gateway.
    pub proxy_cores: &'a str,
    /// Length of each measurement.
    pub seconds: f64,
}

/// Reads a baseline.
///
/// # Errors
/// When there is none, or it is of another version of the bench.
pub fn read(file: &Path) -> Result<BaselineRun> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| Fault::io(&format!("read the baseline {name}"), &error))?;
    let again = "measure it again with --save-baseline";
    match serde_json::from_str(&text) {
        Ok(Saved::Baseline(run)) if run.circumstances.schema == SCHEMA => Ok(run),
        Ok(Saved::Baseline(run)) => Err(Fault::Setup(format!(
            "{name} has version {} of the format, and this program writes {SCHEMA}: {again}",
            run.circumstances.schema
        ))),
        Ok(_) => Err(Fault::Setup(format!(
            "{name} is a result, but no baseline: {again}"
        ))),
        Err(error) => Err(Fault::Setup(format!(
            "{name} is no baseline ({error}): {again}"
        ))),
    }
}

/// Everything that keeps the baseline from being compared with what is measured today.
///
/// # Errors
/// Each difference, in words.
pub fn must_agree(baseline: &BaselineRun, today: Today<'_>) -> Result<()> {
    let mut faults = differences(&baseline.circumstances.machine, today.machine);
    let mut same = |what: &str, then: String, now: String| {
        if then != now {
            faults.push(format!("{what}: {then:?} then, {now:?} now"));
        }
    };
    same("work", baseline.work.clone(), today.work.to_owned());
    same("load", baseline.load.clone(), today.load.to_owned());
    same(
        "proxy cores",
        baseline.proxy_cores.clone(),
        today.proxy_cores.to_owned(),
    );
    same(
        "seconds",
        baseline.seconds.to_string(),
        today.seconds.to_string(),
    );
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Fault::Premise(format!(
            "the baseline is about something else; make it so, or measure the base again with \
             --save-baseline\n{}",
            faults.join("\n")
        ))),
    }
}

/// The baseline's figure over the anchor's, one a round, for each figure that is judged.
///
/// # Errors
/// When the baseline lacks one.
pub fn ratios(baseline: &BaselineRun, judged: &[Judged]) -> Result<Vec<Vec<f64>>> {
    let each = judged.iter().map(|judged| {
        let name = judged.figure.name();
        let figure = baseline.figures.iter().find(|figure| figure.name == name);
        let figure = figure.ok_or_else(|| {
            let known: Vec<&str> = baseline.figures.iter().map(|f| f.name.as_str()).collect();
            Fault::Setup(format!(
                "the baseline has no {name}; choose with --figures among: {}",
                known.join(",")
            ))
        })?;
        Ok(over_anchor(figure))
    });
    each.collect()
}

fn over_anchor(figure: &BaselineFigure) -> Vec<f64> {
    let pairs = figure.build.iter().zip(&figure.anchor);
    pairs.map(|(build, anchor)| build / anchor).collect()
}

/// What makes two machines different ones, in words.
fn differences(then: &Machine, now: &Machine) -> Vec<String> {
    let facts = |machine: &Machine| {
        [
            ("processor", machine.cpu.clone()),
            ("cores", machine.cores.to_string()),
            ("memory in bytes", machine.memory_bytes.to_string()),
            ("kernel", machine.kernel.clone()),
            ("governor", machine.governor.clone().unwrap_or_default()),
            ("isolated cores", machine.isolated.clone()),
        ]
    };
    let pairs = facts(then).into_iter().zip(facts(now));
    let differing = pairs.filter(|((_, then), (_, now))| then != now);
    differing
        .map(|((what, then), (_, now))| format!("{what}: {then:?} then, {now:?} now"))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::gate::judge::Figure;
    use crate::results::Circumstances;

    fn machine() -> Machine {
        Machine {
            cpu: "Some CPU".to_owned(),
            cores: 2,
            kernel: "6.1.0".to_owned(),
            governor: None,
            isolated: String::new(),
            memory_bytes: 1 << 33,
            load_before: "0.10 0.10 0.10".to_owned(),
            load_after: "1.00 0.50 0.10".to_owned(),
        }
    }

    fn baseline() -> BaselineRun {
        BaselineRun {
            circumstances: Circumstances {
                schema: SCHEMA,
                version: "0.1.0".to_owned(),
                started_unix: 0,
                command: String::new(),
                machine: machine(),
            },
            work: "small-get".to_owned(),
            load: "--connections=64".to_owned(),
            proxy_cores: "0".to_owned(),
            build: "ringgate".to_owned(),
            config: String::new(),
            rate: None,
            seconds: 2.0,
            figures: vec![BaselineFigure {
                name: "cpu_us".to_owned(),
                build: vec![20.0, 22.0],
                anchor: vec![10.0, 10.0],
            }],
        }
    }

    fn today(machine: &Machine) -> Today<'_> {
        Today {
            machine,
            work: "small-get",
            load: "--connections=64",
            proxy_cores: "0",
            seconds: 2.0,
        }
    }

    #[test]
    fn another_load_of_the_machine_is_the_same_machine() {
        let mut now = machine();
        now.load_before = "3.00 2.00 1.00".to_owned();
        assert_eq!(must_agree(&baseline(), today(&now)), Ok(()));
    }

    #[test]
    fn another_machine_or_kernel_is_refused() {
        let mut now = machine();
        now.cpu = "Other CPU".to_owned();
        now.kernel = "6.2.0".to_owned();
        let fault = must_agree(&baseline(), today(&now))
            .unwrap_err()
            .to_string();
        assert!(
            fault.contains("processor: \"Some CPU\" then, \"Other CPU\" now"),
            "{fault}"
        );
        assert!(fault.contains("kernel"), "{fault}");
    }

    #[test]
    fn other_work_is_refused() {
        let now = machine();
        for change in [
            |today: &mut Today<'_>| today.work = "get-1m",
            |today: &mut Today<'_>| today.load = "--connections=1",
            |today: &mut Today<'_>| today.seconds = 3.0,
        ] {
            let mut today = today(&now);
            change(&mut today);
            assert!(matches!(
                must_agree(&baseline(), today),
                Err(Fault::Premise(_))
            ));
        }
    }

    #[test]
    fn figures_are_ratios_to_the_anchor() {
        let judged = |figure| Judged {
            figure,
            threshold: 0.03,
        };
        let found = ratios(&baseline(), &[judged(Figure::Cpu)]).unwrap();
        assert_eq!(found, [vec![2.0, 2.2]]);
        let fault = ratios(&baseline(), &[judged(Figure::P99)])
            .unwrap_err()
            .to_string();
        assert!(fault.contains("no p99_us"), "{fault}");
    }

    #[test]
    fn a_baseline_survives_being_saved() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("baseline.json");
        let text = serde_json::to_string(&Saved::Baseline(baseline())).unwrap();
        fs::write(&file, text).unwrap();
        assert_eq!(read(&file).unwrap(), baseline());
        fs::write(&file, "{}").unwrap();
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .contains("is no baseline")
        );
    }
}
