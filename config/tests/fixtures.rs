//! Every rejected or doubtful configuration in `fixtures/` beside what is said about it. After a
//! deliberate change, `RINGGATE_BLESS=1` rewrites the expectations; read the difference.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::{Path, PathBuf};

use ringgate_config::{Severity, Style, load, render, to_json};

const FIXTURES_MIN: usize = 60;

fn fixtures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("fixtures").unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    paths
}

#[test]
fn each_fixture_gets_its_diagnostics() {
    let bless = std::env::var_os("RINGGATE_BLESS").is_some();
    let paths = fixtures();
    assert!(paths.len() >= FIXTURES_MIN);
    let mut wrong = Vec::new();
    for path in paths {
        let loaded = load(&path, &common::env, &common::Patterns);
        let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
        assert!(!said.is_empty(), "{} is not objected to", path.display());
        let expectation = path.with_extension("txt");
        if bless {
            std::fs::write(&expectation, &said).unwrap();
        } else if std::fs::read_to_string(&expectation).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", path.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "unexpected diagnostics:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn config_is_absent_exactly_when_there_are_errors() {
    for path in fixtures() {
        let loaded = load(&path, &common::env, &common::Patterns);
        let has_errors = loaded
            .diagnostics
            .iter()
            .any(|d| d.severity == Severity::Error);
        assert_eq!(loaded.config.is_none(), has_errors, "{}", path.display());
    }
}

#[test]
fn no_fixture_reveals_the_environment_or_a_key() {
    for path in fixtures() {
        let loaded = load(&path, &common::env, &common::Patterns);
        let text = render(&loaded.diagnostics, &loaded.sources, Style::Colour);
        let json = to_json(&loaded.diagnostics, &loaded.sources).to_string();
        let config = loaded.config.map(|config| config.to_json().to_string());
        for said in [text, json, config.unwrap_or_default()] {
            assert!(!said.contains("hunter2"), "{}: {said}", path.display());
            assert!(!said.contains("topsecretkey"), "{}: {said}", path.display());
            assert!(!said.contains("2bb80d53"), "{}: {said}", path.display());
        }
    }
}

#[test]
fn every_finding_has_a_place_in_an_existing_line() {
    for path in fixtures() {
        let loaded = load(&path, &common::env, &common::Patterns);
        for diagnostic in &loaded.diagnostics {
            let span = diagnostic.span.unwrap();
            let text = loaded.sources.text(span.file);
            assert!(text.get(span.range()).is_some(), "{}", path.display());
            assert!(loaded.sources.position(span).line <= text.lines().count().max(1));
        }
    }
}

#[test]
fn a_missing_main_file_is_one_error() {
    let loaded = load(Path::new("no/such.toml"), &common::env, &common::Patterns);
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    assert!(said.starts_with("error[unreadable]: cannot read `no/such.toml`: "));
    assert_eq!(loaded.files, [PathBuf::from("no/such.toml")]);
    assert!(loaded.config.is_none());
}
