//! When, where and by which command: the part that all results share.

use super::html::{code, e};
use super::scale::bytes;
use crate::results::{Circumstances, Machine};

/// The machine as a list of facts.
pub fn machine(machine: &Machine) -> String {
    let governor = machine
        .governor
        .as_deref()
        .unwrap_or("not shown by the kernel");
    let isolated = match machine.isolated.as_str() {
        "" => "none",
        list => list,
    };
    let cores = machine.cores.to_string();
    let memory = bytes(machine.memory_bytes as f64);
    let load = format!(
        "{} before, {} after",
        machine.load_before, machine.load_after
    );
    list(&[
        ("Processor", &machine.cpu),
        ("Cores", &cores),
        ("Kernel", &machine.kernel),
        ("Memory", &memory),
        ("Governor", governor),
        ("Isolated cores", isolated),
        ("Load average", &load),
    ])
}

/// Facts as a list of terms.
pub fn list(facts: &[(&str, &str)]) -> String {
    let each = facts
        .iter()
        .map(|(term, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", e(term), e(value)));
    format!("<dl class=\"facts\">\n{}</dl>\n", each.collect::<String>())
}

/// When it was measured, by which version and command.
pub fn provenance(circumstances: &Circumstances, file: &str) -> String {
    format!(
        "<p class=\"soft\">Measured {} with ringgate-bench {}; from <code>{}</code>.</p>\n{}",
        e(date(circumstances.started_unix)),
        e(&circumstances.version),
        e(file),
        code(&circumstances.command)
    )
}

/// `2026-11-22 20:05 UTC`, after Howard Hinnant's days_from_civil backwards.
pub fn date(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March, so that the leap day is the last.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::fault_in;
    use crate::report::samples;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_732_305_900), "2024-11-22 20:05 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
    }

    #[test]
    fn facts_are_well_formed() {
        let circumstances = samples::circumstances("ringgate-bench <x> --a 'b'");
        let text = provenance(&circumstances, "a&b.json");
        assert_eq!(fault_in(&text), None);
        assert!(text.contains("a&amp;b.json") && text.contains("&lt;x&gt;"));
        assert_eq!(fault_in(&machine(&circumstances.machine)), None);
    }
}
