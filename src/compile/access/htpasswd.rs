//! Files of users and the hashes of their passwords, as `htpasswd` writes them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringgate_config::model::{AuthScheme, FilterKind};
use ringgate_config::{Config, Diagnostic, Span, check_password_hash};

/// Users by file.
#[derive(Default)]
pub struct Htpasswds {
    files: HashMap<PathBuf, Users>,
}

/// Names and hashes.
pub type Users = Vec<(Box<str>, Arc<str>)>;

/// What came of reading the files of a configuration.
pub struct Loaded {
    /// Their users.
    pub passwords: Htpasswds,
    /// The files, good or not.
    pub files: Vec<PathBuf>,
    /// What is wrong with them.
    pub findings: Vec<Diagnostic>,
}

impl Htpasswds {
    /// Reads the files that a configuration names.
    pub fn load(config: &Config) -> Loaded {
        let mut loaded = Loaded {
            passwords: Htpasswds::default(),
            files: Vec::new(),
            findings: Vec::new(),
        };
        for filter in &config.filters {
            let FilterKind::Authentication(asked) = &filter.kind else {
                continue;
            };
            if let AuthScheme::Basic(basic) = &asked.scheme
                && let Some(file) = &basic.htpasswd
                && !loaded.files.contains(&file.value)
            {
                loaded.files.push(file.value.clone());
                match read(&file.value) {
                    Ok(users) => drop(loaded.passwords.files.insert(file.value.clone(), users)),
                    Err(fault) => loaded
                        .findings
                        .push(finding(&file.value, &fault, file.span)),
                }
            }
        }
        loaded
    }

    /// The users of a file that was read.
    pub fn of(&self, file: &Path) -> Option<&Users> {
        self.files.get(file)
    }
}

fn finding(file: &Path, fault: &str, span: Span) -> Diagnostic {
    let message = format!("cannot use {}: {fault}", file.display());
    Diagnostic::error("htpasswd", message, span)
        .label("names the users of this filter")
        .help("add users with `htpasswd -B FILE USER`")
}

fn read(file: &Path) -> Result<Users, String> {
    let text = text(file).map_err(|error| error.to_string())?;
    parse(&text)
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(file)?.take(BYTES_MAX + 1);
    file.read_to_string(&mut text)?;
    match text.len() as u64 {
        0..=BYTES_MAX => Ok(text),
        _ => Err(io::Error::other("it is longer than 64 MiB")),
    }
}

/// A longer file is none of users.
const BYTES_MAX: u64 = 64 << 20;

/// Reads lines of `user:hash`; empty ones and those that begin with `#` say nothing. What is
/// wrong with a line is said without it.
fn parse(text: &str) -> Result<Users, String> {
    let mut seen = HashMap::new();
    let mut users = Users::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, rest) = line
            .split_once(':')
            .ok_or_else(|| format!("line {number} has no colon"))?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("line {number} has no name of a user"));
        }
        // Some write further parts behind the hash.
        let hash = rest.split(':').next().unwrap_or_default();
        check_password_hash(hash).map_err(|fault| format!("the hash of line {number} {fault}"))?;
        if let Some(first) = seen.insert(name, number) {
            return Err(format!("lines {first} and {number} are of the same user"));
        }
        users.push((name.into(), hash.into()));
    }
    Ok(users)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$abcdefghijklmnopqrstuuZxDXDN9tDZ6uOuB6Y0Nb3tfFoYfjUQO";

    #[test]
    fn lines_name_users() {
        let users = parse(&format!("# people\n\nalice:{HASH}\r\nb b:{HASH}:more\n")).unwrap();
        let names: Vec<&str> = users.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["alice", "b b"]);
        assert!(users.iter().all(|(_, hash)| &**hash == HASH));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_by_line_and_without_it() {
        let twice = format!("a:{HASH}\na:{HASH}");
        for (text, why) in [
            ("a", "line 1 has no colon"),
            ("\n:x", "line 2 has no name"),
            ("a:secret", "the hash of line 1 is no hash"),
            ("a:$apr1$x$y", "the hash of line 1 is of a kind"),
            ("a:", "the hash of line 1"),
            (&twice, "lines 1 and 2"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(why) && !said.contains("secret"), "{said}");
        }
    }
}
