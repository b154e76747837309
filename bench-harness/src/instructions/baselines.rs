//! The baselines: a file that people review, and what a new count means beside it. An entry
//! stays until its count has moved by more than the tolerance, so that many small rises cannot
//! creep past it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::counts::{Counts, Place};
use crate::fault::{Fault, Result};
use crate::output;

/// What the instructions of each part were, and where.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baselines {
    /// Where they were counted.
    #[serde(rename = "counted_with")]
    pub place: Place,
    instructions: Counts,
}

/// A count beside its baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Rose { from: u64, to: u64 },
    Fell { from: u64, to: u64 },
    New { to: u64 },
    Gone,
}

/// Everything that moved.
#[derive(Debug)]
pub struct Verdict {
    counted: usize,
    changes: BTreeMap<String, Change>,
}

/// A count may be this far from its baseline, in per cent.
const TOLERANCE_PERCENT: u64 = 3;

impl Baselines {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or not of this form.
    pub fn read(file: &Path) -> Result<Baselines> {
        let doing = format!("read {}", file.display());
        let text = fs::read_to_string(file).map_err(|error| Fault::io(&doing, &error))?;
        toml::from_str(&text).map_err(|error| Fault::Setup(format!("cannot {doing}: {error}")))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let doing = format!("write {}", file.display());
        let text = toml::to_string(self)
            .map_err(|error| Fault::Setup(format!("cannot {doing}: {error}")))?;
        fs::write(file, format!("{PREAMBLE}{text}")).map_err(|error| Fault::io(&doing, &error))
    }

    /// Whether counts made at `place` can be held against these.
    ///
    /// # Errors
    /// [`Fault::Premise`] when the machine's instructions are others.
    pub fn hold_for(&self, place: &Place) -> Result<()> {
        match self.place.target == place.target {
            true => Ok(()),
            false => Err(Fault::Premise(format!(
                "the baselines hold for {}, and this is {}",
                self.place.target, place.target
            ))),
        }
    }

    /// What moved by more than the tolerance, is new or is gone.
    pub fn against(&self, now: &Counts) -> Verdict {
        let mut changes = BTreeMap::new();
        for (name, &to) in now {
            if let Some(change) = change(self.instructions.get(name).copied(), to) {
                changes.insert(name.clone(), change);
            }
        }
        for name in self.instructions.keys() {
            if !now.contains_key(name) {
                changes.insert(name.clone(), Change::Gone);
            }
        }
        Verdict {
            counted: now.len(),
            changes,
        }
    }

    /// Takes over what moved; says what that was.
    pub fn take(&mut self, now: &Counts) -> Vec<String> {
        let changes = self.against(now).changes;
        for (name, change) in &changes {
            match *change {
                Change::Rose { to, .. } | Change::Fell { to, .. } | Change::New { to } => {
                    self.instructions.insert(name.clone(), to);
                }
                Change::Gone => {
                    self.instructions.remove(name);
                }
            }
        }
        let told = changes.iter().map(|(name, change)| row(name, change));
        let rows: Vec<Vec<String>> = told.collect();
        output::table(&rows).lines().map(str::to_owned).collect()
    }
}

fn change(from: Option<u64>, to: u64) -> Option<Change> {
    let Some(from) = from else {
        return Some(Change::New { to });
    };
    // In whole numbers, so that exactly the tolerance is within it.
    let within = to.abs_diff(from) * 100 <= TOLERANCE_PERCENT * from;
    match within {
        true => None,
        false if to > from => Some(Change::Rose { from, to }),
        false => Some(Change::Fell { from, to }),
    }
}

fn percent(from: u64, to: u64) -> f64 {
    (to as f64 / from as f64 - 1.0) * 100.0
}

fn row(name: &str, change: &Change) -> Vec<String> {
    let moved = |from: u64, to: u64| format!("{:+.1} %", percent(from, to));
    let number = |number: u64| number.to_string();
    let (from, to, how) = match *change {
        Change::Rose { from, to } | Change::Fell { from, to } => {
            (number(from), number(to), moved(from, to))
        }
        Change::New { to } => ("-".to_owned(), number(to), "new".to_owned()),
        Change::Gone => ("?".to_owned(), "-".to_owned(), "gone".to_owned()),
    };
    vec![name.to_owned(), from, "->".to_owned(), to, how]
}

impl Verdict {
    /// Whether the baselines hold.
    pub fn is_well(&self) -> bool {
        self.changes.is_empty()
    }

    /// What a person needs to know and do.
    pub fn text(&self, before: &Place, now: &Place) -> String {
        let counted = self.counted;
        if self.is_well() {
            return format!(
                "instruction counts: all {counted} within {TOLERANCE_PERCENT} % of their baselines"
            );
        }
        let rows: Vec<Vec<String>> = self
            .changes
            .iter()
            .map(|(name, change)| row(name, change))
            .collect();
        let rose = |change: &&Change| matches!(change, Change::Rose { .. });
        let rose = self.changes.values().filter(rose).count();
        let other = self.changes.len() - rose;
        let mut text = format!(
            "instruction counts: of {counted}, {rose} rose by more than {TOLERANCE_PERCENT} %, \
             {other} fell as much, are new or gone\n\n{}\n\n",
            output::table(&rows)
        );
        if rose > 0 {
            text.push_str(ON_RISE);
        }
        if other > 0 {
            text.push_str(ON_FALL);
        }
        text.push_str(HOW);
        if before != now {
            text.push_str(&format!(
                "\nThe baselines were counted with {before};\nthis is {now}: that alone may be why."
            ));
        }
        text
    }
}

const ON_RISE: &str = "\
What rose costs every request more. To see where, run `callgrind_annotate` on the bench's file
under target/gungraun/ringgate-filters/data_plane_instructions/.
";

const ON_FALL: &str = "\
What fell is to be written down, so that it cannot rise again unseen.
";

const HOW: &str = "\
To make these counts the baselines, run
    cargo run -p ringgate-bench -- instructions bless
and commit bench-harness/instructions.toml with the change that moved them, and the reason.";

const PREAMBLE: &str = "\
# Instructions of the data plane's parts, counted under callgrind by
# filters/benches/data_plane_instructions.rs in a release build. ./tests/run fails when a count is
# more than 3 % away from its entry. To change entries:
#     cargo run -p ringgate-bench -- instructions bless
# and say why in the commit that does it.

";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> Counts {
        let each = list.iter();
        each.map(|&(name, count)| (name.to_owned(), count))
            .collect()
    }

    fn baselines(list: &[(&str, u64)]) -> Baselines {
        Baselines {
            place: Place::default(),
            instructions: counts(list),
        }
    }

    #[test]
    fn counts_within_the_tolerance_pass() {
        let before = baselines(&[("a", 1000), ("b", 1000)]);
        let verdict = before.against(&counts(&[("a", 1030), ("b", 970)]));
        assert!(verdict.is_well(), "{verdict:?}");
    }

    #[test]
    fn a_rise_names_the_bench_both_counts_and_the_way_out() {
        let verdict = baselines(&[("a", 1000)]).against(&counts(&[("a", 1031)]));
        assert!(!verdict.is_well());
        let text = verdict.text(&Place::default(), &Place::default());
        assert!(text.contains("a  1000  ->  1031  +3.1 %"), "{text}");
        assert!(text.contains("instructions bless"), "{text}");
        assert!(!text.contains("What fell"), "{text}");
    }

    #[test]
    fn a_fall_is_to_be_written_down() {
        let verdict = baselines(&[("a", 1000)]).against(&counts(&[("a", 969)]));
        assert!(!verdict.is_well());
        let text = verdict.text(&Place::default(), &Place::default());
        assert!(text.contains("What fell"), "{text}");
        assert!(!text.contains("What rose"), "{text}");
    }

    #[test]
    fn benches_that_come_and_go_are_seen() {
        let mut before = baselines(&[("old", 5)]);
        let now = counts(&[("young", 7)]);
        let changes = before.against(&now).changes;
        assert_eq!(changes["old"], Change::Gone);
        assert_eq!(changes["young"], Change::New { to: 7 });
        assert_eq!(before.take(&now).len(), 2);
        assert!(before.against(&now).is_well());
    }

    #[test]
    fn blessing_leaves_what_did_not_move_enough() {
        let mut before = baselines(&[("a", 1000), ("b", 1000)]);
        before.take(&counts(&[("a", 1020), ("b", 1100)]));
        assert_eq!(before.instructions, counts(&[("a", 1000), ("b", 1100)]));
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("instructions.toml");
        baselines(&[("parse/small", 5)]).write(&file).unwrap();
        let read = Baselines::read(&file).unwrap();
        assert_eq!(read.instructions, counts(&[("parse/small", 5)]));
    }

    #[test]
    fn baselines_of_another_machine_are_no_measure() {
        let elsewhere = Place {
            target: "aarch64-linux".to_owned(),
            ..Place::default()
        };
        let held = baselines(&[]).hold_for(&elsewhere);
        assert!(matches!(held, Err(Fault::Premise(_))));
    }
}
