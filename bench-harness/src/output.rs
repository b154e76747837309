//! Output: the report on standard output, progress and complaints on standard error. A reader
//! that goes away (`| head`) is no failure.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::stats::Spread;

/// How the report is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct Shape {
    /// Prints the report as JSON, raw numbers and configurations included.
    #[arg(long)]
    json: bool,
}

impl Shape {
    /// The report in the shape that was asked for.
    pub fn render<T: Serialize>(self, report: &T, text: impl FnOnce(&T) -> String) -> String {
        match self.json {
            // Reports have string keys only, so that this cannot fail.
            true => serde_json::to_string_pretty(report).unwrap_or_default(),
            false => text(report),
        }
    }
}

/// Writes a text and a line end to standard output.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Writes a text and a line end to standard error.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `12.30 (11.90..13.00)`
pub fn spread(spread: Spread, decimals: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.decimals$} ({min:.decimals$}..{max:.decimals$})")
}

/// Columns as wide as their widest cell, names to the left and numbers to the right.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["name", "us"]), row(["a", "12.5"])]);
        assert_eq!(text, "name    us\na     12.5");
    }

    #[test]
    fn a_spread_shows_its_ends() {
        let values = Spread::of([1.0, 2.0, 4.0]);
        assert_eq!(spread(values, 1), "2.0 (1.0..4.0)");
    }
}
