//! Deadlines that the data plane keeps, which step in tenths of a second.

use std::time::Duration;

use super::reader::Reader;
use super::table::Table;
use crate::diagnostic::Diagnostic;
use crate::model::Cap;
use crate::units::show_duration;

/// The step.
const TICK: Duration = Duration::from_millis(100);

impl Table<'_> {
    /// As [`Table::duration_or_default`], for a deadline that steps.
    pub fn deadline_or_default(&self, r: &mut Reader<'_>, key: &'static str) -> Duration {
        self.deadline(r, key)
            .unwrap_or_else(|| self.section.default_duration(key))
    }

    /// As [`Table::duration`], for a deadline that steps.
    pub fn deadline(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Duration> {
        let written = self.duration(r, key)?;
        self.note_steps(r, key, written);
        Some(written)
    }

    /// As [`Table::duration_cap`], for a deadline that steps.
    pub fn deadline_cap(&self, r: &mut Reader<'_>, key: &'static str) -> Option<Cap<Duration>> {
        let cap = self.duration_cap(r, key)?;
        if let Cap::At(written) = cap {
            self.note_steps(r, key, written);
        }
        Some(cap)
    }

    fn note_steps(&self, r: &mut Reader<'_>, key: &'static str, written: Duration) {
        let steps = written.as_millis().div_ceil(TICK.as_millis());
        let effective = TICK * u32::try_from(steps).unwrap_or(u32::MAX);
        let Some(item) = self.item(key).filter(|_| effective != written) else {
            return;
        };
        r.report(
            Diagnostic::warning(
                "coarse-deadline",
                format!("`{key}` is not kept to the millisecond"),
                item.span(),
            )
            .label(format!("{} in effect", show_duration(effective)))
            .help(format!(
                "deadlines step in tenths of a second: write \"{}\", or what is meant in steps of 100ms",
                show_duration(effective)
            )),
        );
    }
}
