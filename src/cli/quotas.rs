//! `ringgate quotas`

use std::time::Duration;

use clap::{Args, Subcommand};
use ringgate_control::AdminClient;
use serde_json::Value;

use super::Exit;
use super::admin::Admin;
use super::print::{complain, pretty, say};
use crate::words;

#[derive(Debug, Args)]
pub struct Quotas {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows what keys have used of a quota, most first.
    List(List),
    /// Lets a key begin its day or month anew.
    Reset(Reset),
}

#[derive(Debug, Args)]
struct List {
    /// The filter; may be left out where there is one quota alone
    filter: Option<String>,
    /// Only this key, as the list writes it
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    #[command(flatten)]
    admin: Admin,
    /// Prints the answer of the admin API as it is.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Reset {
    /// The filter
    filter: String,
    /// The key, as `ringgate quotas list` writes it
    key: String,
    #[command(flatten)]
    admin: Admin,
    /// Prints the answer of the admin API as it is.
    #[arg(long)]
    json: bool,
}

/// A million keys are listed in less.
const PATIENCE: Duration = Duration::from_secs(30);

impl Quotas {
    pub fn execute(self) -> Exit {
        match self.action {
            Action::List(list) => list.execute(),
            Action::Reset(reset) => reset.execute(),
        }
    }
}

impl List {
    fn execute(self) -> Exit {
        let path = query("/quotas", self.filter.as_deref(), self.key.as_deref());
        let ask = |client: &AdminClient| client.fetch(&path);
        answer(&self.admin, ask, |page| match self.json {
            true => pretty(page),
            false => render(page),
        })
    }
}

impl Reset {
    fn execute(self) -> Exit {
        let path = query("/quotas/reset", Some(&self.filter), Some(&self.key));
        let ask = |client: &AdminClient| client.post(&path);
        answer(&self.admin, ask, |page| match self.json {
            true => pretty(page),
            false => format!("{} begins anew for {:?}", self.filter, self.key),
        })
    }
}

fn answer(
    admin: &Admin,
    ask: impl Fn(&AdminClient) -> Result<ringgate_control::AdminAnswer, ringgate_control::AdminError>,
    show: impl Fn(&Value) -> String,
) -> Exit {
    let client = match admin.client(PATIENCE) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    match ask(&client).and_then(|answer| client.json(&answer)) {
        Ok(page) => {
            say(show(&page).trim_end());
            Exit::Fine
        }
        Err(error) => {
            complain(&format!("ringgate: {error}"));
            Exit::Failed
        }
    }
}

fn query(path: &str, filter: Option<&str>, key: Option<&str>) -> String {
    let pairs = [("filter", filter), ("key", key)];
    let pairs = pairs.into_iter().filter_map(|(name, value)| {
        let value = escape(value?);
        Some(format!("{name}={value}"))
    });
    let pairs: Vec<String> = pairs.collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// A value of a query (RFC 3986, 2.3: what needs no escape).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A heading, and a line for each key.
fn render(page: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let usages = page["usage"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out = format!(
        "{}: {} a {}, {} in use\n",
        word(&page["filter"]),
        page["limit"],
        word(&page["per"]),
        words::count(page["keys"].as_u64().unwrap_or(0), "key")
    );
    for usage in usages {
        out.push_str(&format!(
            "{:>12} used {:>12} left  until {}  {}\n",
            usage["used"].to_string(),
            usage["left"].to_string(),
            word(&usage["until"]),
            word(&usage["key"]),
        ));
    }
    if page["keys"].as_u64() > page["shown"].as_u64() {
        out.push_str("... and others that have used less; name one with --key\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_escaped() {
        assert_eq!(query("/quotas", None, None), "/quotas");
        assert_eq!(
            query("/quotas", Some("calls"), Some("x-api-key=a b&ü")),
            "/quotas?filter=calls&key=x-api-key%3Da%20b%26%C3%BC"
        );
    }

    #[test]
    fn a_line_for_each_key() {
        let page = json!({
            "filter": "calls", "limit": 1000, "per": "day", "keys": 2, "shown": 1,
            "usage": [{
                "key": "alice", "used": 990, "limit": 1000, "left": 10,
                "since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z",
            }],
        });
        let expected = "\
calls: 1000 a day, 2 keys in use
         990 used           10 left  until 2026-01-02T00:00:00Z  alice
... and others that have used less; name one with --key
";
        assert_eq!(render(&page), expected);
    }
}
