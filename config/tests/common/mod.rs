//! A stand-in for the router's pattern language: enough of it to see that faults arrive at the
//! right place.

use ringgate_config::{PatternCheck, PatternFault};

pub struct Patterns;

impl PatternCheck for Patterns {
    fn path(&self, pattern: &str) -> Result<(), PatternFault> {
        if !pattern.starts_with('/') {
            return Err(
                PatternFault::new(0..pattern.len(), "does not begin with `/`")
                    .with_help(format!("write \"/{pattern}\"")),
            );
        }
        captures(pattern).map(|_| ())
    }

    fn host(&self, pattern: &str) -> Result<(), PatternFault> {
        let rest = pattern.strip_prefix("*.").unwrap_or(pattern);
        match rest.find('*') {
            Some(at) => {
                let at = at + pattern.len() - rest.len();
                Err(PatternFault::new(
                    at..at + 1,
                    "a `*` stands only at the front",
                ))
            }
            None => Ok(()),
        }
    }

    fn template(&self, template: &str, path: &str) -> Result<(), PatternFault> {
        let known = captures(path)?;
        for (name, at) in captures(template)? {
            if !known.iter().any(|(other, _)| *other == name) {
                let end = at + name.len() + 2;
                return Err(PatternFault::new(at..end, "the path has no such capture"));
            }
        }
        Ok(())
    }
}

/// The names in braces with the offset of the brace.
fn captures(pattern: &str) -> Result<Vec<(&str, usize)>, PatternFault> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = pattern[from..].find('{') {
        let open = from + open;
        let Some(length) = pattern[open..].find('}') else {
            return Err(PatternFault::new(
                open..pattern.len(),
                "this brace is not closed",
            ));
        };
        let name = &pattern[open + 1..open + length];
        found.push((name.trim_end_matches('*'), open));
        from = open + length;
    }
    Ok(found)
}

#[allow(dead_code)] // not every test binary needs it
/// The only environment that tests have.
pub fn env(name: &str) -> Option<String> {
    match name {
        "RG_SECRET" => Some("hunter2-do-not-show".to_owned()),
        "RG_PORT" => Some("127.0.0.1:9009".to_owned()),
        "RG_COUNT" => Some("7".to_owned()),
        "RG_OFF" => Some("off".to_owned()),
        "RG_FLAG" => Some("false".to_owned()),
        _ => None,
    }
}
