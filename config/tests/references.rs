//! Values that a configuration refers to: files and commands, and what is said of them.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ringgate_config::{Loaded, NotRun, References, Style, load_with, render};

/// Files as they are; commands say what they were asked.
#[derive(Default)]
struct Asked(RefCell<Vec<String>>);

impl References for Asked {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn command(&self, words: &[&str]) -> Result<String, NotRun> {
        self.0.borrow_mut().push(words.join("|"));
        match words {
            ["wrong", ..] => Err(NotRun::Failed("failed: exit status: 1".to_owned())),
            ["unasked", ..] => Err(NotRun::Unasked("to have it run: --run-commands")),
            _ => Ok("a-secret-of-a-command\n".to_owned()),
        }
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// A configuration whose only filter lets through who knows this value.
    fn load(&self, value: &str, asked: &Asked) -> Loaded {
        let text = format!(
            "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:8080\"\n\
             [[route]]\nname = \"r\"\npath = \"/\"\nrespond = {{ body = \"x\" }}\nfilters = [\"f\"]\n\
             [filter.f]\ntype = \"maintenance\"\nheader = {{ name = \"x\", value = '{value}' }}\n"
        );
        load_with(
            &self.write("main.toml", &text, 0o644),
            asked,
            &common::Patterns,
        )
    }
}

fn shown(loaded: &Loaded) -> String {
    render(&loaded.diagnostics, &loaded.sources, Style::Plain)
}

fn value(loaded: &Loaded) -> String {
    let config = loaded
        .config
        .as_ref()
        .unwrap_or_else(|| panic!("{}", shown(loaded)));
    match &config.filters[0].kind {
        ringgate_config::model::FilterKind::Maintenance(maintenance) => {
            maintenance.header.as_ref().unwrap().value.value.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_a_value_without_its_last_line_break() {
    let place = Place::new();
    for (text, expected) in [
        ("a-secret-of-a-file", "a-secret-of-a-file"),
        ("a-secret-of-a-file\n", "a-secret-of-a-file"),
        ("a-secret-of-a-file\r\n", "a-secret-of-a-file"),
    ] {
        let secret = place.write("secret", text, 0o600);
        let loaded = place.load("${file:secret}", &Asked::default());
        assert_eq!(value(&loaded), expected);
        assert!(loaded.diagnostics.is_empty(), "{}", shown(&loaded));
        assert!(loaded.files.contains(&secret), "it is not watched");
        let json = loaded.config.unwrap().to_json().to_string();
        assert!(!json.contains("a-secret-of-a-file"), "{json}");
    }
}

#[test]
fn who_else_can_read_a_file_is_said_once() {
    let place = Place::new();
    place.write("secret", "a-secret-of-a-file", 0o644);
    let loaded = place.load("${file:secret}", &Asked::default());
    let said = shown(&loaded);
    assert_eq!(said.matches("open-secret").count(), 1, "{said}");
    assert!(
        said.contains("0644") && !said.contains("a-secret"),
        "{said}"
    );
    assert!(loaded.config.is_some());
}

#[test]
fn a_file_that_cannot_be_a_value_is_an_error() {
    let place = Place::new();
    place.write("huge", &"x".repeat(100_000), 0o600);
    fs::create_dir(place.0.path().join("dir")).unwrap();
    for (reference, why) in [
        ("${file:none}", "No such file"),
        ("${file:huge}", "larger than 64 KiB"),
        ("${file:dir}", "not a regular file"),
        ("${file:/dev/zero}", "not a regular file"),
        ("${file:}", "not a reference"),
        ("${files:x}", "not a reference"),
    ] {
        let loaded = place.load(reference, &Asked::default());
        let said = shown(&loaded);
        assert!(loaded.config.is_none() && said.contains(why), "{said}");
    }
    // What is missing may be put there.
    let missing = place.load("${file:none}", &Asked::default());
    assert!(missing.files.contains(&place.0.path().join("none")));
}

#[test]
fn what_is_wrong_with_a_value_does_not_show_it() {
    let place = Place::new();
    place.write("secret", "a-secret\u{1}", 0o600);
    let said = shown(&place.load("${file:secret}", &Asked::default()));
    assert!(
        said.contains("invalid") && !said.contains("a-secret"),
        "{said}"
    );
}

#[test]
fn a_command_is_run_once_and_its_words_are_its_own() {
    let (place, asked) = (Place::new(), Asked::default());
    let loaded = place.load("${command:pass show a/b}", &asked);
    assert_eq!(value(&loaded), "a-secret-of-a-command");
    assert_eq!(*asked.0.borrow(), ["pass|show|a/b"]);
    for (reference, why) in [
        ("${command:wrong x}", "`wrong` failed: exit status: 1"),
        ("${command:unasked x}", "--run-commands"),
        ("${command: }", "not a reference"),
    ] {
        let loaded = place.load(reference, &asked);
        let said = shown(&loaded);
        assert!(loaded.config.is_none() && said.contains(why), "{said}");
    }
}

#[test]
fn an_included_file_runs_nothing() {
    let (place, asked) = (Place::new(), Asked::default());
    let more = "[filter.f]\ntype = \"maintenance\"\n\
                header = { name = \"x\", value = \"${command:pass show x}\" }\n";
    place.write("more.toml", more, 0o644);
    let main = "include = [\"more.toml\"]\n[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:1\"\n";
    let main = place.write("main.toml", main, 0o644);
    let loaded = load_with(Path::new(&main), &asked, &common::Patterns);
    let said = shown(&loaded);
    assert!(said.contains("only the main file"), "{said}");
    assert!(loaded.config.is_none() && asked.0.borrow().is_empty());
}
