//! The fuzz entry: what must hold for any bytes. A unit test runs it over `corpus/` too.

use std::path::Path;

use crate::load::{Includes, load_text};
use crate::pattern::AnyPattern;
use crate::references::{NotRun, References, Secret};
use crate::render::{Style, render, to_json};
use crate::{Severity, Verdict};

/// Values made from what is asked: nothing outside is read, and some things are missing.
struct Made;

impl References for Made {
    fn env(&self, name: &str) -> Option<String> {
        (!name.starts_with('U')).then(|| format!("value-of-{name}"))
    }

    fn file(&self, path: &Path) -> Result<Secret, String> {
        match path.as_os_str().len() % 3 {
            0 => Err("it does not exist".to_owned()),
            1 => Ok(Secret {
                text: "value\n".to_owned(),
                mode: 0o644,
            }),
            _ => Ok(Secret {
                text: path.to_string_lossy().into_owned(),
                mode: 0o600,
            }),
        }
    }

    fn command(&self, words: &[&str]) -> Result<String, NotRun> {
        match words.len() % 3 {
            0 => Err(NotRun::Failed("went wrong".to_owned())),
            1 => Err(NotRun::Unasked("ask for it")),
            _ => Ok(words.join("-")),
        }
    }
}

/// Loads any bytes as a configuration and renders whatever is said about them. Includes are not
/// followed, so nothing but `data` is read.
///
/// # Panics
/// When an invariant of loading does not hold: that is what a fuzzer looks for.
pub fn fuzz_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let loaded = load_text("fuzz.toml", &text, &Made, &AnyPattern, Includes::Ignore);
    let has_errors = loaded
        .diagnostics
        .iter()
        .any(|d| d.severity == Severity::Error);
    assert_eq!(loaded.config.is_none(), has_errors);
    assert_eq!(loaded.verdict() == Verdict::Invalid, has_errors);
    for diagnostic in &loaded.diagnostics {
        let related = diagnostic.related.iter().map(|related| related.span);
        for span in diagnostic.span.into_iter().chain(related) {
            let text = loaded.sources.text(span.file);
            assert!(
                text.get(span.range()).is_some(),
                "{diagnostic:?} points outside the text"
            );
        }
    }
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    let has_control = |c: char| c.is_control() && c != '\n';
    assert!(
        !said.contains(has_control),
        "a control character gets to the terminal"
    );
    assert!(to_json(&loaded.diagnostics, &loaded.sources).is_array());
    if let Some(config) = loaded.config {
        assert!(config.to_json().is_object());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::fuzz_config;
    use proptest::prelude::*;

    fn seeds() -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for dir in ["corpus", "fixtures", "fixtures/parts", "../examples"] {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    seeds.push(std::fs::read(path).unwrap());
                }
            }
        }
        assert!(seeds.len() > 100);
        seeds
    }

    #[test]
    fn the_corpus_holds() {
        for seed in seeds() {
            fuzz_config(&seed);
        }
    }

    /// Words that make a text look like a configuration.
    const WORDS: &[&str] = &[
        "[[listener]]",
        "[[upstream]]",
        "[[route]]",
        "[filter.a]",
        "[limits]",
        "[runtime]",
        "[log]",
        "[[consumer]]",
        "[listener.limits]",
        "[upstream.health]",
        "[[listener.certificate]]",
        "\n",
        "name",
        "listen",
        "path",
        "upstream",
        "endpoints",
        "type",
        "split",
        "respond",
        "redirect",
        "match.headers",
        "filters",
        "limits",
        "head_max",
        "api_keys",
        "workers",
        "cores",
        "timeout",
        "request.set",
        " = ",
        "\"a\"",
        "\"/a/{b}\"",
        "\"127.0.0.1:80\"",
        "\"${env:A}\"",
        "\"${env:U}\"",
        "\"$${\"",
        "\"${\"",
        "\"1s\"",
        "\"1KiB\"",
        "\"off\"",
        "\"headers\"",
        "\"rewrite\"",
        "\"sha256:00\"",
        "7",
        "-1",
        "0.5",
        "true",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "# note",
        "\"",
        "'",
        "\\",
        "\u{feff}",
        "\u{202e}",
        "é",
        "\t",
        "\r\n",
        "1979-05-27",
        "nan",
    ];

    proptest! {
        #[test]
        fn words_of_a_configuration_in_any_order_hold(
            picks in prop::collection::vec(0..WORDS.len(), 0..80),
        ) {
            let text: String = picks.into_iter().map(|pick| WORDS[pick]).collect();
            fuzz_config(text.as_bytes());
        }

        #[test]
        fn any_text_holds(text in "\\PC{0,200}") {
            fuzz_config(text.as_bytes());
        }

        #[test]
        fn a_damaged_example_holds(
            which in 0..3usize,
            at in 0.0..1.0f64,
            cut in 0..40usize,
            insert in "[\\PC\n]{0,8}",
        ) {
            let names = ["contract.toml", "api-gateway.toml", "edge.toml"];
            let path = std::path::Path::new("../examples").join(names[which]);
            let text = std::fs::read_to_string(path).unwrap();
            let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
            let start = (at * places.len() as f64) as usize;
            let end = (start + cut).min(places.len() - 1);
            let damaged = [&text[..places[start]], &insert, &text[places[end.max(start)]..]].concat();
            fuzz_config(damaged.as_bytes());
        }
    }
}
