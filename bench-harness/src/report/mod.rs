//! `ringgate-bench report`: one HTML page of saved results that needs nothing else, neither the
//! network nor scripts. Texts in results come from anywhere and are shown as text.

mod bars;
mod curve;
mod facts;
mod gates;
mod html;
mod loads;
mod paint;
mod pairs;
mod peers;
#[cfg(test)]
pub mod samples;
mod scale;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Ended;
use crate::fault::{Fault, Result};
use crate::results::{Circumstances, GateRun, LoadRun, PeersRun, SCHEMA, Saved};

use html::{e, table};

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Command {
    /// Results that `load`, `peers` and `gate` saved.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where the page goes.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Its title.
    #[arg(long, value_name = "TEXT", default_value = "Ringgate benchmark report")]
    title: String,
}

/// A result and where it was found.
#[derive(Debug, Clone)]
pub struct Named<T> {
    /// The name of its file without the ending; parts of its path too where that is not unique.
    pub name: String,
    /// Its file.
    pub file: String,
    /// What was saved.
    pub result: T,
}

/// A part of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The id of its element.
    pub id: String,
    /// Its heading, as text.
    pub title: String,
    /// What it holds, as HTML.
    pub body: String,
}

impl Command {
    /// Reads the results and writes the page.
    ///
    /// # Errors
    /// When a file is no result, or the page cannot be written.
    pub fn run(&self) -> Result<Ended> {
        let results = self
            .files
            .iter()
            .map(|file| read(file))
            .collect::<Result<Vec<_>>>()?;
        let page = page(&self.title, named(results));
        fs::write(&self.out, page)
            .map_err(|error| Fault::io(&format!("write {}", self.out.display()), &error))?;
        Ok(Ended::well(format!("the page is {}", self.out.display())))
    }
}

fn read(file: &Path) -> Result<(String, Saved)> {
    let name = file.display().to_string();
    let text =
        fs::read_to_string(file).map_err(|error| Fault::io(&format!("read {name}"), &error))?;
    let saved: Saved = serde_json::from_str(&text).map_err(|error| {
        Fault::Setup(format!(
            "{name} is no saved result ({error}); write one with --save of load, peers or gate"
        ))
    })?;
    let schema = circumstances(&saved).schema;
    match schema == SCHEMA {
        true => Ok((name, saved)),
        false => Err(Fault::Setup(format!(
            "{name} has version {schema} of the format, and this program reads {SCHEMA}: measure \
             it again, or use the program that wrote it"
        ))),
    }
}

fn circumstances(saved: &Saved) -> &Circumstances {
    match saved {
        Saved::Load(run) => &run.circumstances,
        Saved::Peers(run) => &run.circumstances,
        Saved::Gate(run) => &run.circumstances,
        Saved::Baseline(run) => &run.circumstances,
    }
}

/// Names files by their stems, or by their whole paths where two have the same.
fn named(results: Vec<(String, Saved)>) -> Vec<Named<Saved>> {
    let stem = |file: &str| {
        let stem = Path::new(file).file_stem();
        stem.map_or_else(
            || file.to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        )
    };
    let stems: Vec<String> = results.iter().map(|(file, _)| stem(file)).collect();
    let is_unique = |name: &String| stems.iter().filter(|stem| stem == &name).count() == 1;
    let each = results.into_iter().zip(&stems);
    each.map(|((file, result), stem)| Named {
        name: if is_unique(stem) {
            stem.clone()
        } else {
            file.clone()
        },
        file,
        result,
    })
    .collect()
}

/// Results by kind, in the order they were given.
#[derive(Debug, Default)]
struct Sorted {
    loads: Vec<Named<LoadRun>>,
    peers: Vec<Named<PeersRun>>,
    gates: Vec<Named<GateRun>>,
    /// Baselines have nothing to show but that they are there.
    baselines: Vec<Vec<String>>,
}

fn sort(results: Vec<Named<Saved>>) -> Sorted {
    let mut sorted = Sorted::default();
    for Named { name, file, result } in results {
        match result {
            Saved::Load(result) => sorted.loads.push(Named { name, file, result }),
            Saved::Peers(result) => sorted.peers.push(Named { name, file, result }),
            Saved::Gate(result) => sorted.gates.push(Named { name, file, result }),
            Saved::Baseline(run) => sorted.baselines.push(vec![
                e(&name).to_string(),
                e(&run.work).to_string(),
                e(&run.build).to_string(),
                facts::date(run.circumstances.started_unix),
            ]),
        }
    }
    sorted
}

/// The whole page.
fn page(title: &str, results: Vec<Named<Saved>>) -> String {
    let machine = results
        .first()
        .map(|first| circumstances(&first.result).machine.clone());
    let sorted = sort(results);
    let mut sections: Vec<Section> = sorted.gates.iter().map(gates::section).collect();
    sections.extend(sorted.peers.iter().flat_map(peers::sections));
    if !sorted.loads.is_empty() {
        sections.push(loads::section(&sorted.loads));
    }
    if !sorted.baselines.is_empty() {
        let heads = ["baseline", "work", "build", "measured"];
        sections.push(Section {
            id: "baselines".to_owned(),
            title: "Baselines".to_owned(),
            body: table("Baselines", &heads, &sorted.baselines),
        });
    }
    let lead = machine.map_or_else(String::new, |machine| {
        format!(
            "<p class=\"lead\">{}, {} cores, Linux {}. A figure is worth something beside the others \
             of its run; across machines it is not.</p>\n",
            e(&machine.cpu),
            machine.cores,
            e(&machine.kernel)
        )
    });
    let links = sections.iter().map(|section| {
        format!(
            "<li><a href=\"#{}\">{}</a></li>",
            e(&section.id),
            e(&section.title)
        )
    });
    let links: String = links.collect();
    let bodies = sections.iter().map(|section| {
        format!(
            "<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n",
            e(&section.id),
            e(&section.title),
            section.body
        )
    });
    let bodies: String = bodies.collect();
    let navigation = match sections.len() {
        0 | 1 => String::new(),
        _ => format!("<nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n\
         {lead}</header>\n{navigation}<main>\n{bodies}</main>\n<footer>Made by ringgate-bench {1}. How to \
         read the figures: docs/benchmarking.md.</footer>\n</body>\n</html>\n",
        e(title),
        env!("CARGO_PKG_VERSION")
    )
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::results::Verdict;

    fn everything() -> Vec<Named<Saved>> {
        let mut load = samples::load(None);
        load.circumstances.command = "x </style></title><script>".to_owned();
        named(vec![
            (
                "gate.json".to_owned(),
                Saved::Gate(samples::gate(Verdict::NoRegression)),
            ),
            (
                "noisy.json".to_owned(),
                Saved::Gate(samples::gate(Verdict::TooNoisy)),
            ),
            (
                "worse.json".to_owned(),
                Saved::Gate(samples::gate(Verdict::Regression)),
            ),
            ("peers.json".to_owned(), Saved::Peers(samples::peers())),
            ("load/a.json".to_owned(), Saved::Load(load)),
            (
                "load/b.json".to_owned(),
                Saved::Load(samples::load(Some(20_000.0))),
            ),
        ])
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let page = page("A <title> & more", everything());
        assert_eq!(html::fault_in(&page), None);
        for outside in [
            "<script", "<link", "<img", "src=", "@import", "url(", "https://",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        if let Some(file) = std::env::var_os("RINGGATE_BENCH_SAMPLE_PAGE") {
            fs::write(file, page).unwrap();
        }
    }

    #[test]
    fn every_link_leads_somewhere_and_every_id_is_there_once() {
        let page = page("t", everything());
        let ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .filter_map(|part| part.split('"').next())
            .collect();
        let links = page
            .split("href=\"#")
            .skip(1)
            .filter_map(|part| part.split('"').next());
        for link in links {
            assert_eq!(ids.iter().filter(|id| **id == link).count(), 1, "{link}");
        }
    }

    #[test]
    fn files_of_the_same_name_keep_their_directories() {
        let saved = || Saved::Load(samples::load(None));
        let results = named(vec![
            ("a/x.json".to_owned(), saved()),
            ("b/x.json".to_owned(), saved()),
            ("b/y.json".to_owned(), saved()),
        ]);
        let names: Vec<&str> = results.iter().map(|named| named.name.as_str()).collect();
        assert_eq!(names, ["a/x.json", "b/x.json", "y"]);
    }

    #[test]
    fn what_is_no_result_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.json");
        fs::write(&file, "{}").unwrap();
        let fault = read(&file).unwrap_err().to_string();
        assert!(
            fault.contains("x.json is no saved result") && fault.contains("--save"),
            "{fault}"
        );
        let mut load = samples::load(None);
        load.circumstances.schema = SCHEMA + 1;
        fs::write(&file, serde_json::to_string(&Saved::Load(load)).unwrap()).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn saved_results_are_read_as_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.json");
        for named in everything() {
            fs::write(&file, serde_json::to_string(&named.result).unwrap()).unwrap();
            let (_, again) = read(&file).unwrap();
            // The last digit of a number may differ.
            assert_eq!(
                std::mem::discriminant(&again),
                std::mem::discriminant(&named.result)
            );
            assert_eq!(circumstances(&again), circumstances(&named.result));
        }
    }
}
