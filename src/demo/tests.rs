//! The table of commands against the template and the banner.

use std::path::PathBuf;

use ringgate_config::Style;

use super::banner::Banner;
use super::services::Addresses;
use super::settings::{Former, Settings};
use super::tries::TRIES;

fn settings(file: &str) -> Settings {
    let local = |port: u16| ([127, 0, 0, 1], port).into();
    Settings {
        gateway: local(8080),
        admin: local(9901),
        workers: 2,
        services: Addresses {
            users: local(40_001),
            products: local(40_002),
            products_next: local(40_003),
            orders: local(40_004),
        },
        file: PathBuf::from(file),
    }
}

fn banner(file: &str) -> String {
    Banner {
        settings: &settings(file),
        moved: &[],
        former: &Former::Replaced,
        ringgate: "ringgate",
    }
    .text(Style::Plain)
}

#[test]
fn every_command_is_complete_and_says_what_it_shows() {
    let text = banner("ringgate-demo.toml");
    assert!(!text.contains('@'), "a placeholder is left in\n{text}");
    for each in TRIES {
        assert!(!each.shows.is_empty() && !each.expect.is_empty());
        assert!(text.contains(each.shows), "{}", each.shows);
    }
}

#[test]
fn the_banner_fits_eighty_columns() {
    let text = banner("ringgate-demo.toml");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn odd_file_names_are_quoted_for_the_shell() {
    let text = banner("my demo's.toml");
    assert!(text.contains("'my demo'\\''s.toml'"), "{text}");
}

#[test]
fn the_tutorial_uses_these_commands() {
    let tutorial = include_str!("../../docs/tutorials/first-steps.md");
    let settings = settings("ringgate-demo.toml");
    let banner = Banner {
        settings: &settings,
        moved: &[],
        former: &Former::Replaced,
        ringgate: "target/release/ringgate",
    };
    let commands = banner.json();
    let known: Vec<&str> = commands["commands"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|each| each["command"].as_str())
        .collect();
    let used = tutorial
        .lines()
        .filter_map(|line| line.strip_prefix("$ curl "));
    for command in used.filter(|command| !command.contains("/my/")) {
        let command = format!("curl {command}");
        assert!(known.contains(&command.as_str()), "{command}");
    }
}
