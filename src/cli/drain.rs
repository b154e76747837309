//! `ringgate drain` and `ringgate undrain`

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use ringgate_control::{AdminClient, AdminError};
use serde_json::Value;

use super::Exit;
use super::admin::Admin;
use super::print::{complain, pretty, say};
use crate::words;

#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    place: Place,
    /// Waits until no request is under way on it, this many seconds at most.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Undrain {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The upstream's name
    upstream: String,
    /// The endpoint: an address, or what is configured, which stands for all of its addresses
    endpoint: String,
    #[command(flatten)]
    admin: Admin,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

/// The answer is made at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at what is under way.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Drain {
    pub fn execute(self) -> Exit {
        let client = match self.place.admin.client(PATIENCE) {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        let answer = match self.place.post(&client, "drain") {
            Ok(answer) => answer,
            Err(error) => return failed(&error),
        };
        let Some(seconds) = self.wait else {
            return self.place.report(&answer, "drained");
        };
        let latest = Instant::now() + Duration::from_secs(seconds);
        let mut answer = answer;
        while answer["in_flight"] != 0 {
            if Instant::now() >= latest {
                self.place.report(&answer, "drained");
                complain(&format!(
                    "ringgate: after {seconds} s there is still {} under way",
                    words::count(answer["in_flight"].as_u64().unwrap_or(0), "request")
                ));
                return Exit::Failed;
            }
            std::thread::sleep(LOOK_EVERY);
            // Draining what is drained only looks.
            answer = match self.place.post(&client, "drain") {
                Ok(answer) => answer,
                Err(error) => return failed(&error),
            };
        }
        self.place.report(&answer, "drained")
    }
}

impl Undrain {
    pub fn execute(self) -> Exit {
        let client = match self.place.admin.client(PATIENCE) {
            Ok(client) => client,
            Err(exit) => return exit,
        };
        match self.place.post(&client, "undrain") {
            Ok(answer) => {
                let state = match answer["changed"] == false {
                    true => "was not drained, nothing has changed",
                    false => "back",
                };
                self.place.report(&answer, state)
            }
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &AdminError) -> Exit {
    complain(&format!("ringgate: {error}"));
    Exit::Failed
}

impl Place {
    fn post(&self, client: &AdminClient, what: &str) -> Result<Value, AdminError> {
        let (upstream, endpoint) = (segment(&self.upstream), segment(&self.endpoint));
        let path = format!("/upstreams/{upstream}/endpoints/{endpoint}/{what}");
        client.json(&client.post(&path)?)
    }

    fn report(&self, answer: &Value, state: &str) -> Exit {
        if self.json {
            say(&pretty(answer));
            return Exit::Fine;
        }
        let endpoints = answer["endpoints"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let endpoints: Vec<&str> = endpoints.iter().filter_map(Value::as_str).collect();
        say(&format!(
            "{} of {}: {state}, {} in flight; endpoints left: {}",
            endpoints.join(", "),
            self.upstream,
            answer["in_flight"],
            answer["endpoints_left"]
        ));
        if let Some(note) = answer["note"].as_str() {
            complain(&format!("warning: {note}"));
        }
        if answer["endpoints_left"] == 0 {
            complain(&format!(
                "warning: upstream {} has no endpoint left: its requests are answered 503",
                self.upstream
            ));
        }
        Exit::Fine
    }
}

/// A path segment with everything encoded that is not plain (RFC 3986, 2.3).
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_endpoint_is_called_is_one_segment() {
        assert_eq!(segment("10.0.0.7:8080"), "10.0.0.7%3A8080");
        assert_eq!(segment("unix:/run/a b"), "unix%3A%2Frun%2Fa%20b");
        assert_eq!(segment("[::1]:80"), "%5B%3A%3A1%5D%3A80");
    }
}
