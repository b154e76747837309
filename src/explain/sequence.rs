//! A timed sequence of requests from a file, explained one after the other on one core, so that
//! what filters remember shows.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dry::{Dry, Time};
use super::report::{Outcome, Report};
use super::request::{Asked, Parts};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    #[serde(rename = "request")]
    requests: Vec<Entry>,
}

/// A `[[request]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default = "zero")]
    at: String,
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    peer: Option<IpAddr>,
    body_length: Option<u64>,
    #[serde(default = "once")]
    repeat: u32,
}

fn zero() -> String {
    "0s".to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> u32 {
    1
}

/// What requests take over when they do not say.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// The address that they come from.
    pub peer: IpAddr,
    /// The listener's index.
    pub listener: usize,
    /// When the sequence begins.
    pub start: Time,
}

/// Requests in a row that end alike.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// When the first of them comes, as written.
    pub at: String,
    /// How many there are.
    pub count: u32,
    /// The first of them.
    pub report: Report,
}

impl Row {
    /// Method and URL.
    pub fn request(&self) -> String {
        let request = &self.report.request;
        format!("{} {}", request.method, request.url)
    }
}

/// Reads a sequence.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn read(file: &Path) -> Result<Sequence, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    toml::from_str(&text).map_err(|error| error.to_string().trim_end().to_owned())
}

impl Sequence {
    /// Explains its requests in order.
    ///
    /// # Errors
    /// What is wrong with a request, in words.
    pub fn explain(&self, dry: &Dry, defaults: &Defaults) -> Result<Vec<Row>, String> {
        let mut rows: Vec<Row> = Vec::new();
        let mut before = 0;
        for (index, entry) in self.requests.iter().enumerate() {
            let fault = |problem: String| format!("request {}: {problem}", index + 1);
            let at_ms = milliseconds(&entry.at).map_err(fault)?;
            if at_ms < before {
                return Err(fault(format!(
                    "at = \"{}\" is earlier than the one before",
                    entry.at
                )));
            }
            before = at_ms;
            if entry.repeat > REPEAT_MAX {
                return Err(fault(format!("repeat is more than {REPEAT_MAX}")));
            }
            let asked = entry.asked(dry, defaults).map_err(fault)?;
            let time = defaults.start.after(Duration::from_millis(at_ms));
            let first = rows.len();
            for _ in 0..entry.repeat {
                let report = dry.explain(&asked, defaults.listener, time);
                match rows[first..].last_mut() {
                    Some(row) if alike(&row.report.outcome, &report.outcome) => row.count += 1,
                    _ => rows.push(Row {
                        at: entry.at.clone(),
                        count: 1,
                        report,
                    }),
                }
            }
        }
        Ok(rows)
    }
}

/// Enough to fill a limiter; a typing error ends in seconds all the same.
const REPEAT_MAX: u32 = 100_000;

impl Entry {
    fn asked(&self, dry: &Dry, defaults: &Defaults) -> Result<Asked, String> {
        let headers = self.headers.iter();
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        Asked::new(&Parts {
            method: &self.method,
            url: &self.url,
            headers: &headers,
            body_length: self.body_length,
            peer: self.peer.unwrap_or(defaults.peer),
            fallback_host: &dry.host_of(defaults.listener),
        })
    }
}

/// Whether two ends are the same but for the turn of the balancer and the request id.
fn alike(left: &Outcome, right: &Outcome) -> bool {
    match (left, right) {
        (Outcome::Forward(left), Outcome::Forward(right)) => left.upstream == right.upstream,
        (Outcome::Answer(left), Outcome::Answer(right))
        | (Outcome::Refuse(left), Outcome::Refuse(right)) => {
            (left.status, &left.by, &left.code) == (right.status, &right.by, &right.code)
        }
        _ => false,
    }
}

/// Milliseconds of `250ms`, `30s`, `5m` or `1h`.
fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|_| scale > 0);
    number
        .and_then(|number| number.checked_mul(scale))
        .filter(|ms| *ms <= AT_MAX_MS)
        .ok_or_else(|| format!("at = {text:?} is no time such as \"250ms\", \"30s\" or \"5m\""))
}

/// A year: a sequence that is longer is a typing error.
const AT_MAX_MS: u64 = 366 * 24 * 3_600_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert_eq!(milliseconds("2m"), Ok(120_000));
        for text in ["", "5", "s", "1.5s", "5 s", "9999999999999999h"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
