//! Loading: the main file, what it includes, and the verdict over all of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use glob::MatchOptions;
use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, Severity};
use crate::keys::Section;
use crate::link::link;
use crate::model::Config;
use crate::pattern::PatternCheck;
use crate::read::{INCLUDED, Parts, ROOT, Reader, Table, Text, includes, quote};
use crate::references::{EnvAndFiles, References};
use crate::span::{FileId, Sources, Span, Spanned};

/// What came of a load.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration; `None` exactly when a diagnostic is an error.
    pub config: Option<Config>,
    /// Every finding, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// Every file that was read or should have been, main file first: what a watch follows.
    pub files: Vec<PathBuf>,
    /// Directories in which a new file would be included: what a watch follows too.
    pub include_dirs: Vec<PathBuf>,
    /// The texts, for rendering.
    pub sources: Arc<Sources>,
}

impl Loaded {
    /// Adds findings of later stages, such as conflicts of routes. The configuration goes when
    /// one of them is an error.
    pub fn report(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        self.diagnostics.extend(more);
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        if self.verdict() == Verdict::Invalid {
            self.config = None;
        }
    }

    /// What the findings allow.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let worst = self
            .diagnostics
            .iter()
            .map(|diagnostic| diagnostic.severity)
            .min();
        match worst {
            Some(Severity::Error) => Verdict::Invalid,
            Some(Severity::Unsupported) => Verdict::Unsupported,
            Some(Severity::Warning) | None => Verdict::Runnable,
        }
    }
}

/// What may be done with a loaded configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It can run; there may be warnings.
    Runnable,
    /// It is valid, but asks for something that this build does not do: it must not run.
    Unsupported,
    /// It has errors.
    Invalid,
}

/// Loads a file and everything it includes. `env` answers `${env:NAME}`; commands are not run.
///
/// Never fails as a whole: whatever is wrong is among the diagnostics.
pub fn load(
    path: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    checks: &dyn PatternCheck,
) -> Loaded {
    load_with(path, &EnvAndFiles(env), checks)
}

/// Loads a file and everything it includes; `references` answers what they refer to.
pub fn load_with(path: &Path, references: &dyn References, checks: &dyn PatternCheck) -> Loaded {
    let mut load = Load::new(references, checks);
    match read_file(path) {
        Ok(text) => load.main(path, text),
        Err(problem) => {
            load.files.push(path.to_owned());
            load.reader.report(unreadable(path, &problem, None));
        }
    }
    load.finish()
}

/// Loads a text as if it stood in a file called `name`; includes are relative to its directory.
pub fn load_str(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    checks: &dyn PatternCheck,
) -> Loaded {
    load_text(name, text, &EnvAndFiles(env), checks, Includes::Read)
}

/// Whether the files of `include` are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Includes {
    Read,
    Ignore,
}

pub(crate) fn load_text(
    name: &str,
    text: &str,
    references: &dyn References,
    checks: &dyn PatternCheck,
    includes: Includes,
) -> Loaded {
    let mut load = Load::new(references, checks);
    load.includes = includes;
    load.main(Path::new(name), Content::Text(Arc::from(text)));
    load.finish()
}

struct Load<'a> {
    reader: Reader<'a>,
    parts: Parts,
    files: Vec<PathBuf>,
    include_dirs: Vec<PathBuf>,
    /// The files being read, outermost first, by canonical path.
    open: Vec<PathBuf>,
    /// Every file read so far, by canonical path.
    seen: Vec<PathBuf>,
    config: Option<Config>,
    syntax: Syntax,
    includes: Includes,
}

/// Whether every file could be parsed; otherwise what is missing may only be unread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Good,
    Bad,
}

/// A file's text, with what is wrong with its bytes.
enum Content {
    Text(Arc<str>),
    NotUtf8 { lossy: Arc<str>, valid_up_to: usize },
}

const FILE_LEN_MAX: u64 = 256 << 20; // spans count in u32; no sane configuration comes near

fn read_file(path: &Path) -> Result<Content, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        return Err("it is a directory".to_owned());
    }
    if metadata.len() > FILE_LEN_MAX {
        return Err("it is larger than 256MiB".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Content::Text(Arc::from(text))),
        Err(error) => {
            let valid_up_to = error.utf8_error().valid_up_to();
            let lossy = String::from_utf8_lossy(error.as_bytes());
            Ok(Content::NotUtf8 {
                lossy: Arc::from(&*lossy),
                valid_up_to,
            })
        }
    }
}

fn unreadable(path: &Path, problem: &str, place: Option<Span>) -> Diagnostic {
    let message = format!("cannot read {}: {problem}", quote(&path.to_string_lossy()));
    let mut out = Diagnostic::without_place(Severity::Error, "unreadable", message);
    out.span = place;
    if place.is_some() {
        out.label = "included here".to_owned();
    }
    out
}

impl<'a> Load<'a> {
    fn new(references: &'a dyn References, checks: &'a dyn PatternCheck) -> Self {
        Self {
            reader: Reader::new(references, checks),
            parts: Parts::default(),
            files: Vec::new(),
            include_dirs: Vec::new(),
            open: Vec::new(),
            seen: Vec::new(),
            config: None,
            syntax: Syntax::Good,
            includes: Includes::Read,
        }
    }

    fn main(&mut self, path: &Path, content: Content) {
        self.file(path, content, &ROOT);
        let Some(main) = self.reader.sources.ids().next() else {
            return;
        };
        let start = Span::new(main, 0..0);
        if self.syntax == Syntax::Good {
            let parts = std::mem::take(&mut self.parts);
            self.config = link(&mut self.reader, parts, start);
        }
    }

    fn file(&mut self, path: &Path, content: Content, section: &'static Section) {
        self.files.push(path.to_owned());
        let text = match &content {
            Content::Text(text) | Content::NotUtf8 { lossy: text, .. } => Arc::clone(text),
        };
        let Some(file) = self.reader.sources.add(path.to_owned(), Arc::clone(&text)) else {
            let message = "more than 65535 files are included";
            let out = Diagnostic::without_place(Severity::Error, "too-many-files", message);
            self.reader.report(out);
            return;
        };
        if let Content::NotUtf8 { valid_up_to, .. } = content {
            // Up to this offset the lossy text is the file, byte for byte.
            let span = Span::new(file, valid_up_to..valid_up_to + '\u{fffd}'.len_utf8());
            self.reader.report(
                Diagnostic::error("syntax", "the file is not UTF-8 text", span)
                    .label("this byte does not belong here")
                    .help("save the file as UTF-8"),
            );
            self.syntax = Syntax::Bad;
            return;
        }
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.seen.push(canonical.clone());
        self.open.push(canonical);
        self.parse(path, file, &text, section);
        self.open.pop();
    }

    fn parse(&mut self, path: &Path, file: FileId, text: &str, section: &'static Section) {
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            self.syntax = Syntax::Bad;
            crate::syntax::report(&mut self.reader, file, &errors);
            return;
        }
        let entries = root.get_ref();
        let table = Table {
            file,
            span: Span::new(file, 0..0),
            section,
            entries,
        };
        self.reader.check_keys(&table);
        if std::ptr::eq(section, &raw const ROOT) {
            self.parts.read_main(&mut self.reader, &table);
        } else {
            self.parts.read_shared(&mut self.reader, &table);
        }
        for pattern in includes(&mut self.reader, &table) {
            if self.includes == Includes::Read {
                self.include(path, &pattern);
            }
        }
    }

    fn include(&mut self, from: &Path, pattern: &Spanned<Text>) {
        let base = from.parent().unwrap_or(Path::new(""));
        let written = &*pattern.value.value;
        // The directory is a path as it is; only what the file says is a pattern.
        let escaped = glob::Pattern::escape(&base.to_string_lossy());
        let full = Path::new(&escaped).join(written);
        let is_glob = written.contains(['*', '?', '[']);
        if let Some(dir) = base.join(written).parent() {
            self.include_dirs.push(dir.to_owned());
        }
        let options = MatchOptions {
            // Editors keep half-written files under names that begin with a dot.
            require_literal_leading_dot: true,
            ..MatchOptions::default()
        };
        let found = match glob::glob_with(&full.to_string_lossy(), options) {
            Ok(paths) => paths,
            Err(error) => {
                let message = format!("invalid glob {}", quote(pattern.shown()));
                let out = Diagnostic::error("invalid-value", message, pattern.span);
                self.reader.report(out.label(error.msg));
                return;
            }
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in found {
            match entry {
                Ok(path) => paths.push(path),
                Err(error) => {
                    let problem = error.error().to_string();
                    let out = unreadable(error.path(), &problem, Some(pattern.span));
                    self.reader.report(out);
                }
            }
        }
        paths.sort();
        if paths.is_empty() {
            self.nothing_included(base, pattern, is_glob);
        }
        for path in paths {
            self.included_file(&path, pattern);
        }
    }

    fn nothing_included(&mut self, base: &Path, pattern: &Spanned<Text>, is_glob: bool) {
        let dir = match base.as_os_str().is_empty() {
            true => "the working directory".to_owned(),
            false => quote(&base.to_string_lossy()),
        };
        let shown = quote(pattern.shown());
        let out = if is_glob {
            let message = format!("nothing matches {shown}");
            Diagnostic::warning("nothing-included", message, pattern.span)
        } else {
            self.files.push(base.join(&*pattern.value.value));
            let message = format!("there is no file {shown}");
            Diagnostic::error("nothing-included", message, pattern.span)
        };
        self.reader.report(out.label("no such file").help(format!(
            "includes are relative to the file that has them, here to {dir}"
        )));
    }

    fn included_file(&mut self, path: &Path, pattern: &Spanned<Text>) {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.open.contains(&canonical) {
            let is_self = self.open.last() == Some(&canonical);
            // A glob over one's own directory is a habit, not a cycle worth stopping for.
            if is_self && pattern.value.value.contains('*') {
                return;
            }
            let chain: Vec<String> = self.open.iter().map(|path| short(path)).collect();
            let message = format!("{} includes itself", quote(&path.to_string_lossy()));
            self.reader.report(
                Diagnostic::error("include-cycle", message, pattern.span)
                    .label("already being read")
                    .help(format!(
                        "the files are read in this order: {}, {}",
                        chain.join(", "),
                        short(path)
                    )),
            );
            return;
        }
        if self.seen.contains(&canonical) {
            return;
        }
        match read_file(path) {
            Ok(content) => self.file(path, content, &INCLUDED),
            Err(problem) => {
                self.files.push(path.to_owned());
                let out = unreadable(path, &problem, Some(pattern.span));
                self.reader.report(out);
            }
        }
    }

    fn finish(mut self) -> Loaded {
        let mut diagnostics = std::mem::take(&mut self.reader.diagnostics);
        diagnostics.sort_by_key(|diagnostic| diagnostic.span);
        let sources = Arc::new(std::mem::take(&mut self.reader.sources));
        self.files.append(&mut self.reader.named);
        self.include_dirs.sort();
        self.include_dirs.dedup();
        let is_valid = diagnostics.iter().all(|d| d.severity != Severity::Error);
        let config = self.config.filter(|_| is_valid).map(|mut config| {
            config.sources = Arc::clone(&sources);
            config
        });
        Loaded {
            config,
            diagnostics,
            files: self.files,
            include_dirs: self.include_dirs,
            sources,
        }
    }
}

fn short(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    quote(&name.to_string_lossy())
}
