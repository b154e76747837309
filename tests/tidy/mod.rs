//! Style as tests that fail: sizes, forbidden words, and the direction of dependencies.
//! The allow-lists are ratchets: an entry may fall or go, never rise or come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, its signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 80;

/// What an old offender may lose before its entry must follow.
const RATCHET_TOOTH: usize = 20;

/// Files above the limit, with the length they may not exceed.
const LONG_FILES: &[(&str, usize)] = &[];
/// Functions above the limit, as `file::function`, with their length.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// Who may depend on whom among our crates.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("router", &[]),
    ("core", &["router"]),
    ("filters", &["core", "router"]),
    ("control", &[]),
    ("bench-harness", &["core"]),
];

struct Source {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of ours.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for top in ["src", "tests"]
        .into_iter()
        .chain(DIRECTIONS.iter().map(|(name, _)| *name))
    {
        gather(&root().join(top), &mut found);
    }
    assert!(found.len() > 20, "the walk finds no sources");
    found
}

fn gather(directory: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            gather(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.push(Source { path, text });
        }
    }
}

impl Source {
    fn is_test(&self) -> bool {
        [
            "tests/",
            "/tests/",
            "/benches/",
            "/fuzz/",
            "/tests.rs",
            "_tests.rs",
        ]
        .iter()
        .any(|part| {
            self.path.starts_with(part.trim_start_matches('/')) && part.ends_with('/')
                || self.path.contains(part)
        })
    }

    /// The lines before the module's own tests, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.lines().position(|l| l.trim() == "#[cfg(test)]");
        let end = end.unwrap_or(usize::MAX);
        self.text
            .lines()
            .enumerate()
            .take(end)
            .map(|(i, l)| (i + 1, without_comment(l)))
    }
}

/// A line without its comment; good enough where strings hold no slashes.
fn without_comment(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    match line.find(" // ") {
        Some(at) => &line[..at],
        None => line,
    }
}

fn ratchet(what: &str, found: &BTreeMap<String, usize>, max: usize, allowed: &[(&str, usize)]) {
    let allowed: BTreeMap<&str, usize> = allowed.iter().copied().collect();
    let mut faults = Vec::new();
    for (name, size) in found.iter().filter(|(_, size)| **size > max) {
        match allowed.get(name.as_str()) {
            Some(limit) if size <= limit => {}
            Some(limit) => faults.push(format!("{name} grew from {limit} to {size} lines")),
            None => faults.push(format!(
                "{name} has {size} lines; {what} have at most {max}"
            )),
        }
    }
    for (name, limit) in &allowed {
        match found.get(*name) {
            Some(size) if size + RATCHET_TOOTH <= *limit => {
                faults.push(format!(
                    "{name} shrank to {size}: lower its entry from {limit}"
                ));
            }
            Some(_) => {}
            None => faults.push(format!("{name} is gone: drop its entry")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_fit_a_sitting() {
    let sizes = sources()
        .iter()
        .map(|s| (s.path.clone(), s.text.lines().count()))
        .collect();
    ratchet("files", &sizes, FILE_LINES_MAX, LONG_FILES);
}

#[test]
fn functions_fit_a_screen() {
    let mut sizes = BTreeMap::new();
    for source in sources() {
        for (name, lines) in functions(&source.text) {
            let size: &mut usize = sizes.entry(format!("{}::{name}", source.path)).or_default();
            *size = lines.max(*size);
        }
    }
    ratchet("functions", &sizes, FUNCTION_LINES_MAX, LONG_FUNCTIONS);
}

/// Functions with their lengths. The formatter puts a function's closing brace at the
/// indentation of its first line, so indentation is all there is to look at.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(name) = function_name(code) else {
            continue;
        };
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[start..]
            .iter()
            .position(|l| *l == close || l.ends_with(';') && !l.contains('{') && *l == *line);
        if let Some(length) = end {
            found.push((name, length + 1));
        }
    }
    found
}

fn function_name(code: &str) -> Option<String> {
    let mut rest = code;
    loop {
        let word = rest.split([' ', '(', '<']).next()?;
        match word {
            "fn" => break,
            "pub" | "const" | "async" | "unsafe" | "extern" => {}
            _ if rest.starts_with("pub(") => {}
            _ => return None,
        }
        rest = rest.split_once(' ')?.1.trim_start();
        if rest.starts_with('"') {
            rest = rest.split_once(' ')?.1;
        }
    }
    let name: String = rest[3..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// Fails with every line of code that `is_fault` names.
fn forbid(sources: &[Source], why: &str, is_fault: impl Fn(&Source, &str) -> bool) {
    let mut faults = Vec::new();
    for source in sources {
        for (number, line) in source.code() {
            if is_fault(source, line) {
                faults.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{why}:\n{}", faults.join("\n"));
}

#[test]
fn nothing_unwraps_outside_tests() {
    let sources: Vec<Source> = sources().into_iter().filter(|s| !s.is_test()).collect();
    forbid(
        &sources,
        "peer input never panics; `expect` says why it cannot fail",
        |_, line| line.contains(".unwrap()") || line.contains(".unwrap_err()"),
    );
}

#[test]
fn unsafe_code_stays_in_its_few_files() {
    // Beside the runtime boundary: the system calls of the tests, and a counting allocator.
    let allowed = [
        "core/src/rt/",
        "tests/support/sys.rs",
        "core/tests/",
        "core/src/rt.rs",
    ];
    let word = ["un", "safe"].concat();
    forbid(
        &sources(),
        "unsafe code has its place in core/src/rt",
        |source, line| {
            let stated = [" {", " fn", " impl", " extern"]
                .iter()
                .any(|s| line.contains(&format!("{word}{s}")));
            stated && !allowed.iter().any(|a| source.path.starts_with(a))
        },
    );
}

#[test]
fn each_unsafe_block_says_why_it_is_sound() {
    let opening = [["un", "safe"].concat(), " {".to_owned()].concat();
    let mut faults = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if !without_comment(line).contains(&opening) || source.path == "tests/tidy/mod.rs" {
                continue;
            }
            let reason = lines[at.saturating_sub(8)..=at]
                .iter()
                .any(|l| l.contains("SAFETY"));
            if !reason {
                faults.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "no SAFETY reason:\n{}",
        faults.join("\n")
    );
}

#[test]
fn only_the_runtime_boundary_names_the_runtime() {
    let word = ["mono", "io"].concat();
    forbid(
        &sources(),
        "core/src/rt is the only place that names the runtime",
        |source, line| {
            line.contains(&word)
                && !source.path.starts_with("core/src/rt")
                && !source.path.starts_with("bench-harness/")
                && !source.is_test()
        },
    );
}

#[test]
fn nothing_is_left_to_do() {
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
    ];
    let mut faults = Vec::new();
    for source in sources() {
        for (at, line) in source.text.lines().enumerate() {
            if words.iter().any(|w| line.contains(w.as_str())) {
                faults.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "file an issue instead:\n{}",
        faults.join("\n")
    );
}

#[test]
fn names_are_of_the_field() {
    // "No get_ prefixes, no Manager, Helper, Util or Context."
    let nouns: Vec<String> = [
        ["Man", "ager"],
        ["Hel", "per"],
        ["Ut", "il"],
        ["Con", "text"],
    ]
    .iter()
    .map(|p| p.concat())
    .collect();
    let getter = ["fn ge", "t_"].concat();
    forbid(&sources(), "name it after what it is", |_, line| {
        let typed = ["struct ", "enum ", "trait ", "type "]
            .iter()
            .find_map(|k| {
                let at = line.find(k)?;
                Some(
                    line[at + k.len()..]
                        .chars()
                        .take_while(|c| c.is_alphanumeric())
                        .collect::<String>(),
                )
            });
        line.contains(&getter)
            || typed.is_some_and(|name| nouns.iter().any(|n| name.ends_with(n.as_str())))
    });
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut bare = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        } else if inside && line.contains('=') && !line.contains("path =") {
            let why = line.split_once('#').map_or("", |(_, why)| why.trim());
            if why.len() < 8 {
                bare.push(line.to_owned());
            }
        }
    }
    assert!(bare.is_empty(), "no reason beside:\n{}", bare.join("\n"));
}

#[test]
fn versions_live_in_the_root_manifest_only() {
    for (name, _) in DIRECTIONS {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut inside = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies");
            } else if inside && !line.trim().is_empty() && !line.starts_with('#') {
                assert!(line.contains("workspace"), "{name}/Cargo.toml: {line}");
            }
        }
    }
}

#[test]
fn crates_depend_in_the_allowed_direction() {
    for (name, allowed) in DIRECTIONS {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut inside = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                inside = line == "[dependencies]" || line == "[build-dependencies]";
                continue;
            }
            let Some(ours) = line.strip_prefix("ringgate-").filter(|_| inside) else {
                continue;
            };
            let ours: String = ours
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '-')
                .collect();
            assert!(
                allowed.contains(&ours.as_str()),
                "{name} must not depend on {ours}"
            );
        }
    }
}

#[test]
fn every_member_has_a_direction() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.lines().find(|l| l.starts_with("members")).unwrap();
    let named: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<&str> = DIRECTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, known);
}

#[test]
fn every_example_is_mentioned() {
    let readable = ["README.md", "examples/README.md", "docs"];
    let mut text = String::new();
    for place in readable {
        let mut files = Vec::new();
        markdown(&root().join(place), &mut files);
        for file in files {
            text.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            assert!(text.contains(&name), "no page mentions examples/{name}");
        }
    }
}

fn markdown(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            markdown(&entry.unwrap().path(), found);
        }
    } else if path.is_file() && path.extension().is_some_and(|e| e == "md") {
        found.push(path.to_owned());
    }
}

#[test]
fn every_module_says_what_it_is() {
    let bare: Vec<String> = sources()
        .into_iter()
        .filter(|s| !s.is_test() && !s.text.starts_with("//!"))
        .filter(|s| !s.text.starts_with("#!") && !s.text.trim().is_empty())
        .map(|s| s.path)
        .collect();
    assert!(bare.is_empty(), "no module doc:\n{}", bare.join("\n"));
}

#[test]
fn a_long_function_is_seen() {
    let body = "    let x = 1;\n".repeat(80);
    let text = format!(
        "impl A {{\n    pub async fn long(&self) {{\n{body}    }}\n}}\nfn short() {{\n}}\n"
    );
    assert_eq!(
        functions(&text),
        [("long".to_owned(), 82), ("short".to_owned(), 2)]
    );
}
