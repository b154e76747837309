//! The page about log codes has every code that there is, and no other.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "../docs/operations/troubleshooting.md";
/// Where codes are written, and what stands right before each.
const TABLES: [(&str, &str); 3] = [
    ("src/error.rs", ", \""),
    ("src/http/h1/error.rs", "=> \""),
    ("../router/src/path.rs", "=> \"path_"),
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The codes of the error tables, read from their source: an enum cannot list its variants.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (file, before) in TABLES {
        let source = read(file);
        let prefix = before.rsplit('"').next().unwrap();
        for line in source.lines().filter(|line| line.contains("=>")) {
            if let Some((_, rest)) = line.split_once(before) {
                let (code, _) = rest.split_once('"').unwrap();
                codes.insert(format!("{prefix}{code}"));
            }
        }
    }
    codes
}

/// The rows of the page's tables, by the code in their first column.
fn rows(page: &str) -> Vec<Vec<String>> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

#[test]
fn every_log_code_has_its_line() {
    let page = read(PAGE);
    let explained: BTreeSet<String> = rows(&page).into_iter().map(|row| row[0].clone()).collect();
    let codes = codes();
    assert!(codes.len() > 60, "the tables are not found: {codes:?}");
    let missing: Vec<_> = codes.difference(&explained).collect();
    assert!(missing.is_empty(), "{PAGE} lacks {missing:?}");
    let stale: Vec<_> = explained.difference(&codes).collect();
    assert!(
        stale.is_empty(),
        "{PAGE} explains {stale:?}, which nothing logs"
    );
}

#[test]
fn the_page_tells_who_and_which_status() {
    let page = read(PAGE);
    let source = read("src/error.rs");
    for row in rows(&page) {
        let written = format!("\"{}\",", row[0]);
        let Some(line) = source.lines().find(|line| line.contains(&written)) else {
            continue;
        };
        let (who, status) = (&row[1], &row[2]);
        let origin = match who.as_str() {
            "C" => "(Downstream, ",
            "O" => "(Upstream, ",
            "G" => "(Internal, ",
            other => panic!("{PAGE}: {other:?} is nobody, in {row:?}"),
        };
        let status = if status.is_empty() { "0" } else { status };
        assert!(
            line.contains(&format!("{origin}{status}, {written}")),
            "{PAGE} says {row:?}, the table {line:?}"
        );
    }
}
