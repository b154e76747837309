//! What an explanation says: the machine form as it stands, and what the text is made from.

use std::fmt;

use ringgate_config::{Diagnostic, Sources, Span, Style, render_one};
use serde::Serialize;

use super::policies::Policy;
use crate::cli::Exit;

/// A request and what would become of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The request as the gateway understands it.
    pub request: Understood,
    /// Routes that the request concerns: the winner, then those that lost, closest first.
    pub routes: Vec<Candidate>,
    /// The filters of the winner, in order.
    pub filters: Vec<Step>,
    /// The end of it.
    pub outcome: Outcome,
}

/// A request as the gateway understands it.
#[derive(Debug, Clone, Serialize)]
pub struct Understood {
    /// As asked.
    pub method: String,
    /// As asked, with its host.
    pub url: String,
    /// Host without port; absent when the head was refused.
    pub host: Option<String>,
    /// Normalised; absent when head or path were refused.
    pub path: Option<String>,
    /// Path as sent, when normalising changed or refused it.
    pub path_sent: Option<String>,
    /// Without `?`; absent when there is none.
    pub query: Option<String>,
    /// The client's address.
    pub client: String,
    /// Why that one.
    pub client_from: String,
    /// Where that is configured.
    pub client_place: Option<Place>,
    /// The listener's name.
    pub listener: String,
    /// Its address.
    pub listen: String,
}

/// A route and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its name.
    pub route: String,
    /// Whether it won.
    pub verdict: Verdict,
    /// Why it lost: `host`, `path`, `method`, `header`, `query` or `less_specific`.
    pub because: Option<&'static str>,
    /// The same in words.
    pub detail: String,
    /// The condition that decided; the route's name for the winner.
    pub place: Place,
}

/// Whether a route won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did.
    Won,
    /// It did not.
    Lost,
}

/// A filter of the winner.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its name.
    pub filter: String,
    /// What it says of itself.
    pub describes: String,
    /// What it decides.
    pub decision: Decision,
    /// What it says of that decision, a line each; most filters say nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Where the route names it.
    pub place: Option<Place>,
}

/// What a filter decides about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The request goes on.
    Passes,
    /// It answers the request.
    Answers,
    /// The request does not come so far.
    NotReached,
    /// It makes calls first, or comes after one that does.
    Waits,
}

/// How it ends.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// An origin gets it.
    Forward(Forward),
    /// The gateway answers it.
    Answer(Answer),
    /// The gateway refuses it.
    Refuse(Answer),
    /// A filter has something done off the data plane first, such as hashing a password.
    Errand,
    /// A filter makes calls first.
    Calls {
        /// Upstream and target of each.
        calls: Vec<(String, String)>,
    },
}

/// A request on its way to an origin.
#[derive(Debug, Clone, Serialize)]
pub struct Forward {
    /// The route's name.
    pub route: String,
    /// The upstream's name.
    pub upstream: String,
    /// Upstreams and weights when the route splits.
    pub split: Vec<(String, u32)>,
    /// What made the choice among several upstreams, in words: a live request draws its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<String>,
    /// The endpoint as configured.
    pub endpoint: String,
    /// Whether that is an address to connect to: names are not resolved here.
    pub endpoint_is_address: bool,
    /// Endpoints of the upstream: a live gateway's turn may be another's.
    pub endpoints: usize,
    /// The route's rewrite template.
    pub rewrite: Option<String>,
    /// Where that stands.
    pub rewrite_place: Option<Place>,
    /// What traffic policies do about it, in the order in which they have a say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// What is spoken to it: `http/1.1`, `h2`, or `auto`: what it picks in TLS; the head is then
    /// shown as in HTTP/1.1.
    pub protocol: &'static str,
    /// The head that the origin would get.
    pub head: String,
}

/// An answer of the gateway's own.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The route's name, when one was found.
    pub route: Option<String>,
    /// Who answers: `route`, `filter NAME`, `options`, `trailing slash`, or the fault.
    pub by: String,
    /// The status.
    pub status: u16,
    /// The log code of a refusal.
    pub code: String,
    /// What that means.
    pub meaning: String,
    /// Fields.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Report {
    /// What the exit code tells.
    pub fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Refuse(_) => Exit::Refused,
            _ => Exit::Fine,
        }
    }
}

/// A place in the configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Place {
    /// The file as it was given or found.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line with its carets, credentials hidden.
    #[serde(skip)]
    pub excerpt: String,
}

impl Place {
    /// The place of a span.
    pub fn of(sources: &Sources, span: Span) -> Place {
        let position = sources.position(span);
        // The renderer of diagnostics hides what must not be shown.
        let rendered = render_one(&Diagnostic::error("", "", span), sources, Style::Plain);
        let excerpt = rendered.lines().skip(3).map(str::trim_end);
        Place {
            file: sources.path(span.file).to_string_lossy().into_owned(),
            line: position.line,
            column: position.column,
            excerpt: excerpt.collect::<Vec<_>>().join("\n"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
