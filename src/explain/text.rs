//! An explanation for a terminal: the verdict first, then how it came about.

use std::fmt::Write as _;

use ringgate_config::Style;

use super::dry::phrase;
use super::report::{Answer, Candidate, Decision, Forward, Outcome, Place, Report, Verdict};
use super::sequence::Row;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Places as file and line.
    Brief,
    /// The lines themselves too.
    Quoted,
}

/// Renders an explanation.
pub fn render(report: &Report, style: Style, detail: Detail) -> String {
    let mut page = Page {
        out: String::new(),
        style,
        detail,
    };
    let request = &report.request;
    let asked = format!("{} {}", request.method, request.url);
    page.line(&page.bold(&asked));
    page.line(&page.verdict(&report.outcome));
    page.request(report);
    page.routes(report);
    page.filters(report);
    page.outcome(report);
    page.out
}

/// Renders a sequence, a line for each run of requests that end alike.
pub fn render_rows(rows: &[Row], style: Style, detail: Detail) -> String {
    let mut page = Page {
        out: String::new(),
        style,
        detail,
    };
    let column = |text: fn(&Row) -> usize| rows.iter().map(text).max().unwrap_or(0);
    let asked = column(|row| row.request().chars().count()).min(REQUEST_COLUMNS_MAX);
    let at = column(|row| row.at.len());
    for row in rows {
        let times = match row.count {
            1 => String::new(),
            count => format!("x{count}"),
        };
        let verdict = page.verdict(&row.report.outcome);
        let line = format!(
            "{:>at$}  {:asked$}  {times:<5}{verdict}",
            row.at,
            row.request()
        );
        page.line(&line);
    }
    page.out
}

/// A longer request pushes its own verdict to the right, not those of all others.
const REQUEST_COLUMNS_MAX: usize = 48;

struct Page {
    out: String,
    style: Style,
    detail: Detail,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn heading(&mut self, text: &str) {
        let text = self.bold(text);
        let _ = write!(self.out, "\n{text}\n");
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.style {
            Style::Colour if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Where something stands, and the line itself when it is asked for.
    fn quote(&mut self, place: Option<&Place>) {
        if self.detail == Detail::Brief {
            return;
        }
        for line in place.iter().flat_map(|place| place.excerpt.lines()) {
            let line = self.dim(line);
            self.line(&format!("        {line}"));
        }
    }

    fn verdict(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Forward(forward) => {
                let target = forward.head.split(' ').nth(1).unwrap_or_default();
                let verdict = format!(
                    "-> route {} -> upstream {}",
                    forward.route, forward.upstream
                );
                let endpoint = &forward.endpoint;
                format!("{} at {endpoint} as {target}", self.paint("32", &verdict))
            }
            Outcome::Answer(answer) => {
                let status = answer.status;
                let verdict = format!("-> {status} {}", phrase(status));
                format!("{} from {}", self.paint("32", &verdict), by(answer))
            }
            Outcome::Refuse(answer) => {
                let status = answer.status;
                let verdict = format!("-> {status} {}", phrase(status));
                let meaning = match answer.meaning.is_empty() {
                    true => format!("from {}", by(answer)),
                    false => answer.meaning.clone(),
                };
                format!("{}: {meaning}", self.paint("31", &verdict))
            }
            Outcome::Calls { .. } | Outcome::Errand => {
                self.paint("33", "-> a filter asks others first")
            }
        }
    }

    fn request(&mut self, report: &Report) {
        let request = &report.request;
        self.heading("Request");
        let path = match (&request.path, &request.path_sent) {
            (Some(path), None) => path.clone(),
            (Some(path), Some(sent)) => format!("{path}   normalised from {sent}"),
            (None, sent) => format!("{}   as sent", sent.as_deref().unwrap_or_default()),
        };
        self.line(&format!("  path      {path}"));
        if let Some(query) = &request.query {
            self.line(&format!("  query     {query}"));
        }
        if let Some(host) = &request.host {
            self.line(&format!("  host      {host}"));
        }
        let place = request.client_place.as_ref();
        let at = place.map_or(String::new(), |place| self.dim(&format!("  {place}")));
        self.line(&format!(
            "  client    {}   {}{at}",
            request.client, request.client_from
        ));
        self.quote(place);
        self.line(&format!(
            "  listener  {}   {}",
            request.listener, request.listen
        ));
    }

    fn routes(&mut self, report: &Report) {
        if report.routes.is_empty() {
            return;
        }
        self.heading("Routes, closest first");
        let won = report.routes.iter().any(|c| c.verdict == Verdict::Won);
        let (near, shown): (Vec<&Candidate>, Vec<&Candidate>) =
            report.routes.iter().partition(|candidate| {
                // With a winner, paths that only resemble the request's are a distraction.
                won && self.detail == Detail::Brief && candidate.because == Some("path")
            });
        let names = shown.iter().map(|c| c.route.chars().count());
        let width = names.max().unwrap_or(0).min(NAME_COLUMNS_MAX);
        for candidate in shown {
            let verdict = match candidate.verdict {
                Verdict::Won => self.paint("32", "won "),
                Verdict::Lost => self.paint("31", "lost"),
            };
            let place = self.dim(&candidate.place.to_string());
            self.line(&format!(
                "  {verdict}  {:width$}  {}  {place}",
                candidate.route, candidate.detail
            ));
            self.quote(Some(&candidate.place));
        }
        if !near.is_empty() {
            let count = near.len();
            let more = format!("  and {count} with a path nearly like it: --verbose lists them");
            let more = self.dim(&more);
            self.line(&more);
        }
    }

    fn filters(&mut self, report: &Report) {
        if report.filters.is_empty() {
            return;
        }
        self.heading("Filters, in order");
        let names = report.filters.iter().map(|s| s.filter.chars().count());
        let width = names.max().unwrap_or(0).min(NAME_COLUMNS_MAX);
        for step in &report.filters {
            let decision = match step.decision {
                Decision::Passes => self.paint("32", "passes     "),
                Decision::Answers => self.paint("31", "answers    "),
                Decision::NotReached => self.dim("not reached"),
                Decision::Waits => self.paint("33", "waits      "),
            };
            self.line(&format!(
                "  {decision}  {:width$}  {}",
                step.filter, step.describes
            ));
            for told in &step.told {
                let told = self.dim(told);
                self.line(&format!("               {told}"));
            }
            self.quote(step.place.as_ref());
        }
    }

    fn outcome(&mut self, report: &Report) {
        match &report.outcome {
            Outcome::Forward(forward) => self.forward(forward),
            Outcome::Answer(answer) | Outcome::Refuse(answer) => {
                self.heading(match report.filters.is_empty() {
                    true => "The client gets",
                    false => "The client gets, once the filters have seen it",
                });
                self.answer(answer);
            }
            Outcome::Errand => {
                self.heading("Before anything else");
                self.line(
                    "a filter has a credential verified off the data plane, which is not done here",
                );
            }
            Outcome::Calls { calls } => {
                self.heading("Calls before anything else");
                for (upstream, target) in calls {
                    self.line(&format!("  {upstream}  {target}"));
                }
            }
        }
    }

    fn forward(&mut self, forward: &Forward) {
        self.heading("Upstream");
        let mut others = match forward.endpoints {
            0 | 1 => "its only endpoint".to_owned(),
            count => format!("one of {count}: live, it may be another's turn"),
        };
        if !forward.endpoint_is_address {
            others.push_str("; names are not resolved here");
        }
        self.line(&format!(
            "  {}   {}, {others}",
            forward.upstream, forward.endpoint
        ));
        if !forward.split.is_empty() {
            let shares = forward.split.iter();
            let shares: Vec<String> = shares
                .map(|(upstream, weight)| format!("{upstream} {weight}"))
                .collect();
            self.line(&format!("  one of {}", shares.join(", ")));
        }
        if let Some(chosen_by) = &forward.chosen_by {
            self.line(&format!("  chosen by {chosen_by}"));
        }
        if let (Some(rewrite), Some(place)) = (&forward.rewrite, &forward.rewrite_place) {
            let at = self.dim(&place.to_string());
            self.line(&format!("  path from the rewrite {rewrite}  {at}"));
            self.quote(Some(place));
        }
        if !forward.policies.is_empty() {
            self.heading("Traffic policies");
        }
        for one in &forward.policies {
            self.line(&format!("  {:11}  {}", one.policy, one.text));
        }
        self.heading(match forward.protocol {
            "h2" => "The origin gets, in HTTP/2",
            "auto" => "The origin gets this, or the same in HTTP/2 if it picks that",
            _ => "The origin gets",
        });
        for line in forward.head.lines() {
            self.line(&format!("  {line}"));
        }
    }

    fn answer(&mut self, answer: &Answer) {
        let code = match answer.code.is_empty() {
            true => String::new(),
            false => self.dim(&format!("   in the log as {}", answer.code)),
        };
        let status = answer.status;
        self.line(&format!("  {status} {}{code}", phrase(status)));
        for (name, value) in &answer.fields {
            self.line(&format!("  {name}: {value}"));
        }
        if !answer.body.is_empty() {
            self.line("");
        }
        for line in answer.body.lines() {
            self.line(&format!("  {line}"));
        }
    }
}

/// A longer name pushes only its own line to the right.
const NAME_COLUMNS_MAX: usize = 24;

fn by(answer: &Answer) -> String {
    match (&answer.route, &*answer.by) {
        (Some(route), "the route") => format!("route {route}"),
        (Some(route), by) => format!("{by} of route {route}"),
        (None, by) => by.to_owned(),
    }
}
