//! The vocabulary of the configuration as data: every key with its type, default and meaning.
//!
//! One table serves the reader (unknown keys, ranges, defaults), the JSON Schema and the
//! reference page, so none of the three can drift from the others.

use std::time::Duration;

use crate::units;

/// A table of the configuration.
#[derive(Debug)]
pub(crate) struct Section {
    /// As a person would write its header: `[limits]`, `[[listener]]`.
    pub title: &'static str,
    /// What it is for, in a sentence or more.
    pub doc: &'static str,
    /// Its keys, in the order the reference lists them.
    pub keys: &'static [Key],
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The written default of a key that has one.
    pub(crate) fn default_text(&self, name: &str) -> &'static str {
        match self.key(name).map(|key| key.need) {
            Some(Need::Default(text)) => text,
            _ => "",
        }
    }

    pub(crate) fn default_duration(&self, name: &str) -> Duration {
        units::duration(self.default_text(name)).unwrap_or_default()
    }

    pub(crate) fn default_size(&self, name: &str) -> u64 {
        units::size(self.default_text(name)).unwrap_or_default()
    }

    pub(crate) fn default_integer(&self, name: &str) -> i64 {
        self.default_text(name).parse().unwrap_or_default()
    }

    pub(crate) fn default_ratio(&self, name: &str) -> f64 {
        self.default_text(name).parse().unwrap_or_default()
    }

    pub(crate) fn default_bool(&self, name: &str) -> bool {
        self.default_text(name) == "true"
    }

    pub(crate) fn default_word<T: Word>(&self, name: &str) -> T {
        let written = self.default_text(name);
        let index = T::WORDS.iter().position(|word| *word == written);
        T::VALUES[index.unwrap_or(0)]
    }
}

/// One key of a [`Section`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    pub doc: &'static str,
    pub stage: Stage,
}

impl Key {
    pub(crate) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self::new(name, kind, Need::Required, doc)
    }

    pub(crate) const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self::new(name, kind, Need::Optional, doc)
    }

    pub(crate) const fn default(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, kind, Need::Default(default), doc)
    }

    const fn new(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            need,
            doc,
            stage: Stage::Now,
        }
    }

    /// Marks a key that is checked but not acted on by this build.
    #[allow(dead_code, reason = "no key is ahead of the build at present")]
    pub(crate) const fn later(mut self) -> Self {
        self.stage = Stage::Later;
        self
    }
}

/// Whether a key must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
    /// Its value when absent, as written but without quotes.
    Default(&'static str),
}

/// Whether this build acts on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Now,
    Later,
}

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Ratio {
        min: f64,
        max: f64,
    },
    /// A string with a unit of time; the bounds are written the same way.
    Duration {
        min: &'static str,
        max: &'static str,
    },
    /// A string with a unit of bytes; the bounds are written the same way.
    Size {
        min: &'static str,
        max: &'static str,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any other string; says which, with its article.
    Text(&'static str),
    /// A text that must not be shown.
    Secret(&'static str),
    List(&'static Kind),
    Table(&'static Section),
    Tables(&'static Section),
    /// Tables under names of the user's choice, their keys chosen by `type`.
    Tagged(&'static [Variant]),
    /// Values under names of the user's choice.
    Map(&'static Kind),
    /// The first kind, or any other of them.
    Either(&'static [Kind]),
}

/// One `type` of a tagged table.
#[derive(Debug)]
pub(crate) struct Variant {
    pub tag: &'static str,
    pub section: &'static Section,
    pub stage: Stage,
}

impl Kind {
    /// With its article, for "expected ..." and the reference page.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer { min, max } => format!("an integer from {min} to {max}"),
            Self::Ratio { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { min, max } => format!("a duration from \"{min}\" to \"{max}\""),
            Self::Size { min, max } => format!("a size from \"{min}\" to \"{max}\""),
            Self::Choice(words) => words_or(words),
            Self::Text(what) | Self::Secret(what) => (*what).to_owned(),
            Self::List(kind) => format!("a list, each entry {}", kind.describe()),
            Self::Table(section) => format!("a table ({})", section.title),
            Self::Tables(section) => format!("tables ({})", section.title),
            Self::Tagged(_) => "tables, each with a `type`".to_owned(),
            Self::Map(kind) => format!("a table, each value {}", kind.describe()),
            Self::Either(kinds) => {
                let each: Vec<String> = kinds.iter().map(Self::describe).collect();
                each.join(", or ")
            }
        }
    }
}

/// `"a", "b" or "c"`.
pub(crate) fn words_or(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("\"{only}\""),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{} or \"{last}\"", most.join(", "))
        }
    }
}

/// An enum that is written as one word.
pub(crate) trait Word: Copy + 'static {
    /// The words, in the order of `VALUES`.
    const WORDS: &'static [&'static str];
    /// The variants.
    const VALUES: &'static [Self];
}

/// Ties the variants of an enum to their words, once for reader, schema and display.
macro_rules! words {
    ($enum:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $crate::keys::Word for $enum {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const VALUES: &'static [Self] = &[$(Self::$variant),+];
        }

        impl $enum {
            /// The word that stands for it in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;
