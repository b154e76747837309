//! The outcome of a reload, as the admin API answers it and `ringgate reload` reads it back.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A reload that was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Number of the snapshot now in force; the one at start is 1.
    pub generation: u64,
    /// What changed, per kind of object (`route`, `upstream`, `filter` ...). A kind without a
    /// change is absent.
    pub changes: BTreeMap<String, ObjectChanges>,
    /// Connections that the swap closed: 0 by contract.
    pub connections_closed: u64,
    /// Longest time a core spent on taking the new snapshot, in microseconds.
    pub longest_core_stall_us: u64,
    /// Resident memory after the swap minus before it, in bytes.
    pub memory_delta_bytes: i64,
    /// From reading the files until the last core had swapped, in microseconds.
    pub duration_us: u64,
    /// Advice that did not stop the reload, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl ReloadReport {
    /// Notes what changed among the objects of one kind; an empty difference leaves no trace.
    pub fn record(&mut self, kind: &str, changes: ObjectChanges) {
        if !changes.is_empty() {
            self.changes.insert(kind.to_owned(), changes);
        }
    }

    /// Whether the new snapshot is the same as the old one.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// One line for people: `2 route added, 1 upstream changed`, or `nothing changed`.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (kind, changes) in &self.changes {
            for (verb, names) in [
                ("added", &changes.added),
                ("removed", &changes.removed),
                ("changed", &changes.changed),
            ] {
                if !names.is_empty() {
                    parts.push(format!("{} {kind} {verb}", names.len()));
                }
            }
        }
        if parts.is_empty() {
            return "nothing changed".to_owned();
        }
        parts.join(", ")
    }
}

/// Names of the objects of one kind that a reload touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectChanges {
    /// Present only in the new configuration.
    pub added: Vec<String>,
    /// Present only in the old one.
    pub removed: Vec<String>,
    /// Same identity, other settings.
    pub changed: Vec<String>,
}

impl ObjectChanges {
    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// A reload that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRefused {
    /// What kind of obstacle it was.
    pub refusal: Refusal,
    /// The diagnostics as a person reads them: file, line, caret, what to do.
    pub text: String,
    /// The same diagnostics for programs.
    pub diagnostics: serde_json::Value,
}

impl ReloadRefused {
    /// A refusal without diagnostics of its own.
    pub fn new(refusal: Refusal, text: impl Into<String>) -> Self {
        Self {
            refusal,
            text: text.into(),
            diagnostics: serde_json::Value::Array(Vec::new()),
        }
    }

    /// What is wrong, where, and what to do, without excerpts: a line of a log is one line.
    /// Warnings did not refuse anything, so they are left out beside errors.
    pub(crate) fn in_one_line(&self) -> String {
        let found = self.diagnostics.as_array().map_or(&[][..], Vec::as_slice);
        let warns = |one: &serde_json::Value| one.get("severity").is_some_and(|s| s == "warning");
        let lines: Vec<String> = match found.iter().all(warns) {
            true => self.text.lines().map(|line| line.trim().into()).collect(),
            false => {
                let refused = found.iter().filter(|one| !warns(one));
                refused.map(in_one_line).collect()
            }
        };
        lines.join("; ")
    }
}

/// `gateway.toml:3:5: unknown key (did you mean ...?)`
fn in_one_line(diagnostic: &serde_json::Value) -> String {
    let text = |key: &str| diagnostic.get(key).and_then(|value| value.as_str());
    let number = |key: &str| diagnostic.get(key).and_then(|value| value.as_u64());
    let mut line = String::new();
    if let (Some(file), Some(row), Some(column)) = (text("file"), number("line"), number("column"))
    {
        line = format!("{file}:{row}:{column}: ");
    }
    line.push_str(text("message").unwrap_or_default());
    if let Some(help) = text("help") {
        line.push_str(&format!(" ({help})"));
    }
    line.replace(['\n', '\r'], " ")
}

impl fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ReloadRefused {}

/// Kinds of obstacles to a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The files do not parse, do not check, or name things that do not exist (422).
    InvalidConfig,
    /// The files are valid, but use what this build does not do yet (422).
    UnsupportedConfig,
    /// The files are fine but differ in something only a restart can change (409).
    NeedsRestart,
    /// The files are fine, but the machine refuses what they ask for: an address that is in
    /// use, a log that cannot be opened (409).
    CannotApply,
    /// The node is shutting down (409).
    Draining,
    /// The node failed in a way that is not the configuration's fault (500).
    Internal,
}

impl Refusal {
    /// Status of the admin API's answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidConfig | Self::UnsupportedConfig => 422,
            Self::NeedsRestart | Self::CannotApply | Self::Draining => 409,
            Self::Internal => 500,
        }
    }

    /// Its name in the admin API's answer and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidConfig => "invalid_config",
            Self::UnsupportedConfig => "unsupported_config",
            Self::NeedsRestart => "needs_restart",
            Self::CannotApply => "cannot_apply",
            Self::Draining => "draining",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_names_per_kind() {
        let mut report = ReloadReport::default();
        assert_eq!(report.summary(), "nothing changed");
        report.record("filter", ObjectChanges::default());
        report.record(
            "route",
            ObjectChanges {
                added: vec!["a".into(), "b".into()],
                removed: vec!["c".into()],
                changed: vec![],
            },
        );
        assert_eq!(report.summary(), "2 route added, 1 route removed");
    }

    #[test]
    fn diagnostics_fit_into_one_line() {
        let mut refused = ReloadRefused::new(Refusal::InvalidConfig, "error: no\n --> a.toml\n");
        assert_eq!(refused.in_one_line(), "error: no; --> a.toml");
        refused.diagnostics = serde_json::json!([
            { "file": "a.toml", "line": 3, "column": 5, "message": "unknown key `x`",
              "help": "did you mean `y`?" },
            { "message": "cannot read \"b\"" },
            { "severity": "warning", "message": "no certificate's issuer" },
        ]);
        assert_eq!(
            refused.in_one_line(),
            "a.toml:3:5: unknown key `x` (did you mean `y`?); cannot read \"b\""
        );
    }

    #[test]
    fn refusals_are_called_the_same_everywhere() {
        for refusal in [
            Refusal::InvalidConfig,
            Refusal::UnsupportedConfig,
            Refusal::NeedsRestart,
            Refusal::CannotApply,
            Refusal::Draining,
            Refusal::Internal,
        ] {
            let json = serde_json::to_value(refusal).unwrap();
            assert_eq!(json, refusal.to_string());
        }
    }

    #[test]
    fn refusal_survives_json() {
        let refused = ReloadRefused::new(Refusal::NeedsRestart, "workers changed");
        let json = serde_json::to_string(&refused).unwrap();
        assert_eq!(
            serde_json::from_str::<ReloadRefused>(&json).unwrap(),
            refused
        );
    }
}
