//! What is kept of a consumer under the digest of its key.

use serde::Deserialize;

/// A consumer, as JSON: `{"name":"app","groups":["partners"],"expires":1798761599}`. Members of
/// other names are somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Record {
    /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: Box<str>,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<Box<str>>,
    /// What it is marked with.
    #[serde(default)]
    pub tags: Vec<Box<str>>,
    /// Seconds since the UNIX epoch from which on the key is good.
    #[serde(default)]
    pub not_before: Option<u64>,
    /// Seconds since the UNIX epoch before which it is.
    #[serde(default)]
    pub expires: Option<u64>,
}

/// A longer entry is none.
const BYTES_MAX: usize = 16 * 1024;
/// Groups, and tags, of one consumer.
const WORDS_MAX: usize = 256;

impl Record {
    /// Reads an entry; none where it is no consumer.
    pub(super) fn parse(entry: &[u8]) -> Option<Self> {
        if entry.len() > BYTES_MAX {
            return None;
        }
        let record: Self = serde_json::from_slice(entry).ok()?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let name = (1..=64).contains(&record.name.len()) && record.name.chars().all(fits);
        // They go into lists in fields, with commas between.
        let is_word = |word: &str| {
            let fits = |b: u8| b.is_ascii_graphic() && b != b',';
            (1..=128).contains(&word.len()) && word.bytes().all(fits)
        };
        let are_words =
            |words: &[Box<str>]| words.len() <= WORDS_MAX && words.iter().all(|word| is_word(word));
        let fits = name && are_words(&record.groups) && are_words(&record.tags);
        fits.then_some(record)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_strictly() {
        let text = br#"{"name":"app","groups":["a","b"],"expires":5,"note":"x"}"#;
        let record = Record::parse(text).unwrap();
        assert_eq!((&*record.name, record.groups.len()), ("app", 2));
        assert_eq!((record.not_before, record.expires), (None, Some(5)));
        let long = format!(r#"{{"name":"app","note":"{}"}}"#, "x".repeat(BYTES_MAX));
        for wrong in [
            "",
            "app",
            "{}",
            r#"{"name":""}"#,
            r#"{"name":"a b"}"#,
            r#"{"name":"a","groups":["x,admins"]}"#,
            r#"{"name":"a","groups":["x\r\ny"]}"#,
            r#"{"name":"a","groups":"x"}"#,
            r#"{"name":"a","expires":"soon"}"#,
            r#"{"name":"a","expires":-1}"#,
            r#"{"name":"a","name":"b"}"#,
            &long,
        ] {
            assert_eq!(Record::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
