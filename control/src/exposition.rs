//! A writer of the Prometheus text format 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). Samples of a family stay
//! together under one HELP and TYPE line; label values are escaped as they are copied.

use std::collections::HashSet;
use std::fmt::Write as _;

/// Metrics on their way out: open a family, then write its samples.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    name: String,
    kind: Option<Kind>,
    seen: HashSet<String>,
    scratch: String,
    bounds: Vec<f64>,
    rendered_bounds: Vec<String>,
}

impl Exposition {
    /// Media type of what [`Exposition::finish`] returns.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// An empty exposition with room for `bytes` of text.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Opens a family: every sample until the next call belongs to it. A counter's name ends
    /// in `_total`, and no other name does. A family is opened once.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        debug_assert!(is_metric_name(name), "bad metric name {name:?}");
        debug_assert_eq!(
            kind == Kind::Counter,
            name.ends_with("_total"),
            "{name}: counters, and only they, end in _total"
        );
        let first = self.seen.insert(name.to_owned());
        debug_assert!(
            first,
            "family {name} was opened before: its samples must stay together"
        );
        self.name.clear();
        self.name.push_str(name);
        self.kind = Some(kind);
        if !first {
            return;
        }
        let _ = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, help, Quotes::Plain);
        let _ = writeln!(self.text, "\n# TYPE {name} {}", kind.as_str());
    }

    /// Writes one sample of the open family (a counter, gauge or untyped one).
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Number>) {
        debug_assert!(self.kind.is_some(), "no family is open");
        debug_assert_ne!(self.kind, Some(Kind::Histogram), "use histogram()");
        self.text.push_str(&self.name);
        if !labels.is_empty() {
            self.text.push('{');
            write_labels(&mut self.text, labels);
            self.text.push('}');
        }
        self.text.push(' ');
        value.into().write(&mut self.text);
        self.text.push('\n');
    }

    /// Writes one histogram of the open family. `bounds` are the inclusive upper bounds in
    /// rising order without infinity; `counts` has one more entry than `bounds`, each the
    /// observations of its own bucket alone (not cumulative), the last those above every bound.
    pub fn histogram(&mut self, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        debug_assert_eq!(self.kind, Some(Kind::Histogram), "not a histogram family");
        debug_assert_eq!(counts.len(), bounds.len() + 1, "one count per bucket");
        debug_assert!(bounds.is_sorted(), "bounds rise");
        self.render_bounds(bounds);
        self.scratch.clear();
        write_labels(&mut self.scratch, labels);
        let mut cumulative = 0_u64;
        for (le, count) in self.rendered_bounds.iter().zip(counts) {
            cumulative += count;
            self.text.push_str(&self.name);
            self.text.push_str("_bucket{");
            self.text.push_str(&self.scratch);
            if !self.scratch.is_empty() {
                self.text.push(',');
            }
            self.text.push_str("le=\"");
            self.text.push_str(le);
            let _ = writeln!(self.text, "\"}} {cumulative}");
        }
        for suffix in ["_sum", "_count"] {
            self.text.push_str(&self.name);
            self.text.push_str(suffix);
            if !self.scratch.is_empty() {
                self.text.push('{');
                self.text.push_str(&self.scratch);
                self.text.push('}');
            }
            self.text.push(' ');
            match suffix {
                "_sum" => Number::Float(sum).write(&mut self.text),
                _ => Number::Unsigned(cumulative).write(&mut self.text),
            }
            self.text.push('\n');
        }
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.text
    }

    /// Thousands of routes share one set of bounds, so the text of the last set is kept.
    fn render_bounds(&mut self, bounds: &[f64]) {
        if self.bounds == bounds && !self.rendered_bounds.is_empty() {
            return;
        }
        self.bounds.clear();
        self.bounds.extend_from_slice(bounds);
        self.rendered_bounds.clear();
        for bound in bounds.iter().copied().chain([f64::INFINITY]) {
            let mut text = String::new();
            Number::Float(bound).write(&mut text);
            self.rendered_bounds.push(text);
        }
    }
}

/// Type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Cumulative buckets with a sum and a count.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A sample's value. Integers are written exactly; Prometheus reads them as doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count.
    Unsigned(u64),
    /// A difference.
    Signed(i64),
    /// A measure; infinities and NaN are legal.
    Float(f64),
}

impl Number {
    fn write(self, out: &mut String) {
        // Writing into a String cannot fail.
        let _ = match self {
            Self::Unsigned(value) => write!(out, "{value}"),
            Self::Signed(value) => write!(out, "{value}"),
            Self::Float(value) if value == f64::INFINITY => write!(out, "+Inf"),
            Self::Float(value) if value == f64::NEG_INFINITY => write!(out, "-Inf"),
            Self::Float(value) if value.is_nan() => write!(out, "NaN"),
            Self::Float(value) => write!(out, "{value}"),
        };
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Unsigned(u64::from(value))
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Unsigned(value as u64)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Unsigned(u64::from(value))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    Plain,
    Escaped,
}

fn write_labels(out: &mut String, labels: &[(&str, &str)]) {
    for (index, (name, value)) in labels.iter().enumerate() {
        debug_assert!(is_label_name(name), "bad label name {name:?}");
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, Quotes::Escaped);
        out.push('"');
    }
}

/// Copies `text` in runs; backslash and newline are escaped everywhere, the quote only inside
/// label values.
fn escape(out: &mut String, text: &str, quotes: Quotes) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '"']) {
        let (clean, special) = rest.split_at(at);
        out.push_str(clean);
        match special.as_bytes()[0] {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            _ if quotes == Quotes::Escaped => out.push_str("\\\""),
            _ => out.push('"'),
        }
        rest = &special[1..];
    }
    out.push_str(rest);
}

fn is_metric_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':') && !name.starts_with("__")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writes_help_and_type_before_samples() {
        let mut out = Exposition::default();
        out.family(
            "rg_requests_total",
            Kind::Counter,
            "Requests.\nAll \\ \"of\" them.",
        );
        out.sample(&[("route", "a"), ("class", "2xx")], 3_u64);
        out.sample(&[], 4_u64);
        assert_eq!(
            out.finish(),
            "# HELP rg_requests_total Requests.\\nAll \\\\ \"of\" them.\n\
             # TYPE rg_requests_total counter\n\
             rg_requests_total{route=\"a\",class=\"2xx\"} 3\n\
             rg_requests_total 4\n"
        );
    }

    #[test]
    fn escapes_label_values() {
        let mut out = Exposition::default();
        out.family("rg_up", Kind::Gauge, "Up.");
        out.sample(&[("name", "a\"b\\c\nd é")], true);
        assert!(
            out.as_str()
                .ends_with("rg_up{name=\"a\\\"b\\\\c\\nd é\"} 1\n")
        );
    }

    #[test]
    fn writes_floats_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.family("rg_x", Kind::Gauge, "X.");
        for value in [0.25, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e21] {
            out.sample(&[], value);
        }
        out.sample(&[], -3_i64);
        let values: Vec<_> = out
            .as_str()
            .lines()
            .skip(2)
            .map(|line| line.trim_start_matches("rg_x "))
            .collect();
        assert_eq!(
            values,
            [
                "0.25",
                "+Inf",
                "-Inf",
                "NaN",
                "1000000000000000000000",
                "-3"
            ]
        );
    }

    #[test]
    fn histogram_buckets_are_cumulative_and_end_in_infinity() {
        let mut out = Exposition::default();
        out.family("rg_seconds", Kind::Histogram, "Latency.");
        out.histogram(&[("route", "r")], &[0.001, 0.5], &[2, 3, 1], 1.5);
        out.histogram(&[], &[1.0], &[0, 0], 0.0);
        let samples: Vec<_> = out.as_str().lines().skip(2).collect();
        assert_eq!(
            samples,
            [
                "rg_seconds_bucket{route=\"r\",le=\"0.001\"} 2",
                "rg_seconds_bucket{route=\"r\",le=\"0.5\"} 5",
                "rg_seconds_bucket{route=\"r\",le=\"+Inf\"} 6",
                "rg_seconds_sum{route=\"r\"} 1.5",
                "rg_seconds_count{route=\"r\"} 6",
                "rg_seconds_bucket{le=\"1\"} 0",
                "rg_seconds_bucket{le=\"+Inf\"} 0",
                "rg_seconds_sum 0",
                "rg_seconds_count 0",
            ]
        );
    }

    #[test]
    #[should_panic(expected = "_total")]
    #[cfg(debug_assertions)]
    fn counter_without_total_is_a_bug() {
        Exposition::default().family("rg_requests", Kind::Counter, "Requests.");
    }
}
