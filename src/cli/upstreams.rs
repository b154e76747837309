//! `ringgate upstreams`

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Exit;
use super::admin::Admin;
use super::print::{complain, pretty, say};

#[derive(Debug, Args)]
pub struct Upstreams {
    /// Only these; all of them by default
    names: Vec<String>,
    #[command(flatten)]
    admin: Admin,
    /// Prints the page of the admin API as it is.
    #[arg(long)]
    json: bool,
}

/// The page of a thousand upstreams is made in milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

impl Upstreams {
    pub fn execute(self) -> Exit {
        let client = match self.admin.client(PATIENCE) {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let page = client
            .fetch("/upstreams")
            .and_then(|answer| client.json(&answer));
        let all = match page {
            Ok(Value::Array(all)) => all,
            Ok(_) => Vec::new(),
            Err(error) => {
                complain(&format!("ringgate: {error}"));
                return Exit::Failed;
            }
        };
        if let Some(missing) = self.names.iter().find(|name| !has(&all, name)) {
            complain(&format!("ringgate: no upstream {missing:?}"));
            return Exit::Failed;
        }
        let wanted =
            |one: &Value| self.names.is_empty() || self.names.iter().any(|n| one["name"] == **n);
        let shown: Vec<Value> = all.into_iter().filter(wanted).collect();
        match self.json {
            true => say(&pretty(&Value::Array(shown))),
            false => say(render(&shown).trim_end()),
        }
        Exit::Fine
    }
}

fn has(all: &[Value], name: &str) -> bool {
    all.iter().any(|one| one["name"] == name)
}

/// A block for each upstream: what it is as a whole, then a line for each endpoint.
fn render(upstreams: &[Value]) -> String {
    let mut out = String::new();
    for one in upstreams {
        out.push_str(&heading(one));
        out.push('\n');
        let endpoints = one["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(endpoints.iter().map(row));
        match endpoints.is_empty() {
            true => out.push_str("  no endpoint has an address\n"),
            false => out.push_str(&table(&rows)),
        }
        out.push('\n');
    }
    match out.is_empty() {
        true => "no upstreams\n".to_owned(),
        false => out,
    }
}

/// `users  3 requests in flight  PANIC  breaker open until ...`
fn heading(one: &Value) -> String {
    let mut parts = vec![text(&one["name"]), format!("{} in flight", one["active"])];
    if let Some(gate) = one["gate"].as_object() {
        parts.push(format!(
            "{} of {} places taken, {} waiting",
            gate["in_flight"], gate["max"], gate["queued"]
        ));
    }
    if one["panic"] == true {
        parts.push("PANIC: too few endpoints are well, all are used".to_owned());
    }
    if let Some(state) = one["breaker"]["state"]
        .as_str()
        .filter(|state| *state != "closed")
    {
        let mut said = format!("breaker {state}: {}", text(&one["breaker"]["why"]));
        if let Some(until) = one["breaker"]["until"].as_str() {
            said.push_str(&format!(", until {until}"));
        }
        parts.push(said);
    }
    parts.join("  ")
}

const HEADINGS: [&str; 9] = [
    "ENDPOINT",
    "WEIGHT",
    "TIER",
    "STATE",
    "SINCE",
    "IN FLIGHT",
    "REQUESTS",
    "FAILED",
    "WHY",
];

fn row(endpoint: &Value) -> [String; 9] {
    let address = text(&endpoint["address"]);
    let configured = text(&endpoint["configured"]);
    let name = match configured == address || address.starts_with("unix:") {
        true => address,
        false => format!("{address} ({configured})"),
    };
    let tier = match endpoint["zone"].as_str() {
        Some(zone) => format!("{} {zone}", endpoint["priority"]),
        None => endpoint["priority"].to_string(),
    };
    let why = match endpoint["until"].as_str() {
        Some(until) => format!("{}, until {until}", text(&endpoint["why"])),
        None => text(&endpoint["why"]),
    };
    [
        name,
        endpoint["weight"].to_string(),
        tier,
        text(&endpoint["state"]),
        endpoint["since"].as_str().unwrap_or("-").to_owned(),
        endpoint["in_flight"].to_string(),
        endpoint["requests"].to_string(),
        endpoint["failures"].to_string(),
        why,
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Columns as wide as their widest entry; numbers to the right.
fn table(rows: &[[String; 9]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; 9] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, width))| match NUMBERS.contains(&column) {
                true => format!("{cell:>width$}"),
                false => format!("{cell:width$}"),
            })
            .collect();
        let line = cells.join("  ");
        out.push_str("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Columns that hold numbers.
const NUMBERS: [usize; 4] = [1, 5, 6, 7];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_endpoint() {
        let page = [json!({
            "name": "users",
            "active": 3,
            "panic": false,
            "gate": null,
            "breaker": { "state": "open", "why": "12 of 20 requests failed", "until": "2026-01-01T00:00:10.000Z" },
            "endpoints": [
                {
                    "address": "10.0.0.7:8080", "configured": "users.internal:8080", "weight": 10,
                    "priority": 0, "zone": "a", "state": "healthy", "why": "the last check was good",
                    "since": "2026-01-01T00:00:00.000Z", "until": null, "in_flight": 3,
                    "requests": 1200, "failures": 1
                },
                {
                    "address": "10.0.0.8:8080", "configured": "10.0.0.8:8080", "weight": 1,
                    "priority": 1, "zone": null, "state": "drained", "why": "an operator has drained it",
                    "since": null, "until": null, "in_flight": 0, "requests": 7, "failures": 0
                }
            ]
        })];
        let expected = "\
users  3 in flight  breaker open: 12 of 20 requests failed, until 2026-01-01T00:00:10.000Z
  ENDPOINT                             WEIGHT  TIER  STATE    SINCE                     IN FLIGHT  REQUESTS  FAILED  WHY
  10.0.0.7:8080 (users.internal:8080)      10  0 a   healthy  2026-01-01T00:00:00.000Z          3      1200       1  the last check was good
  10.0.0.8:8080                             1  1     drained  -                                 0         7       0  an operator has drained it

";
        assert_eq!(render(&page), expected);
        assert_eq!(render(&[]), "no upstreams\n");
    }
}
