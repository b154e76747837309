//! Pieces of HTML. Every text that comes from outside passes through [`e`].

use std::fmt::{self, Display, Write};

/// A text as character data or as the value of an attribute in double quotes.
pub fn e<T: Display>(text: T) -> impl Display {
    Escaped(text)
}

struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter(f), "{}", self.0)
    }
}

struct Filter<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.write_str("&amp;"),
                '<' => self.0.write_str("&lt;"),
                '>' => self.0.write_str("&gt;"),
                '"' => self.0.write_str("&quot;"),
                '\'' => self.0.write_str("&#39;"),
                '\n' | '\t' => self.0.write_char(letter),
                // Neither HTML nor a reader has a use for them.
                control if control.is_control() => self.0.write_char('\u{fffd}'),
                // Would turn the text around them the other way.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.write_char('\u{fffd}'),
                other => self.0.write_char(other),
            }?;
        }
        Ok(())
    }
}

/// A table that scrolls in a box of its own when it is wider than the page. The first column
/// holds names, the others numbers, but for those that begin with [`word`]; cells are HTML.
pub fn table(label: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let is_words = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column));
        cells.any(|cell| cell.starts_with(WORD))
    };
    let class = |column: usize| {
        if is_words(column) {
            " class=\"left\""
        } else {
            ""
        }
    };
    let mut text = format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\"><table>\n<thead><tr>",
        e(label)
    );
    for (column, head) in heads.iter().enumerate() {
        text.push_str(&format!(
            "<th scope=\"col\"{}>{}</th>",
            class(column),
            e(head)
        ));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            text.push_str(&match column {
                0 => format!("<th scope=\"row\">{cell}</th>"),
                _ => format!("<td{}>{cell}</td>", class(column)),
            });
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody></table></div>\n");
    text
}

/// Words in a table of numbers; `class` says how they look.
pub fn word(class: &str, text: &str) -> String {
    format!("{WORD} {}\">{}</span>", e(class), e(text))
}

const WORD: &str = "<span class=\"word";

/// Something that is shown when one asks for it.
pub fn details(summary: &str, inner: &str) -> String {
    format!(
        "<details><summary>{}</summary>\n{inner}</details>\n",
        e(summary)
    )
}

/// Commands or a configuration, as they are.
pub fn code(text: &str) -> String {
    format!(
        "<pre tabindex=\"0\"><code>{}</code></pre>\n",
        e(text.trim_end())
    )
}

/// A name for the `id` of an element: letters, digits and dashes only.
pub fn slug(text: &str) -> String {
    let letters = text
        .chars()
        .map(|letter| match letter.is_ascii_alphanumeric() {
            true => letter.to_ascii_lowercase(),
            false => '-',
        });
    letters.collect()
}

/// Whether every element that is opened is closed, in the right order, and every attribute is
/// quoted: what can be checked without a whole parser.
#[cfg(test)]
pub fn fault_in(page: &str) -> Option<String> {
    const VOID: [&str; 3] = ["meta", "br", "hr"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").unwrap_or(page);
    while let Some(start) = rest.find(['<', '>']) {
        if rest.as_bytes()[start] == b'>' {
            return Some(format!(
                "a stray > before {:?}",
                &rest[start..rest.len().min(start + 40)]
            ));
        }
        let Some(length) = rest[start..].find('>') else {
            return Some("a tag that does not end".to_owned());
        };
        let tag = &rest[start + 1..start + length];
        rest = &rest[start + length + 1..];
        if tag.contains('<') || tag.matches('"').count() % 2 == 1 || tag.contains("=''") {
            return Some(format!("a broken tag <{tag}>"));
        }
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/', '\n'])
            .next()
            .unwrap_or_default();
        if tag.starts_with('/') {
            match open.pop() {
                Some(last) if last == name => {}
                last => return Some(format!("</{name}> closes {last:?}")),
            }
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        if name == "style" && !tag.starts_with('/') {
            // Its content is no markup.
            rest = &rest[rest.find("</style>").unwrap_or(rest.len())..];
        }
    }
    (!open.is_empty()).then(|| format!("left open: {open:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_text_stays_text() {
        let text = e("<script>alert(\"1\" & '2')</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;"
        );
    }

    #[test]
    fn letters_that_hide_or_turn_a_text_are_replaced() {
        assert_eq!(
            e("a\0b\u{1b}c\u{202e}d\ne").to_string(),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\ne"
        );
    }

    #[test]
    fn names_of_elements_are_plain() {
        assert_eq!(slug("Small GET \"><b>"), "small-get----b-");
    }

    #[test]
    fn faults_in_markup_are_found() {
        assert_eq!(fault_in("<p class=\"a\">x<br>y <b>z</b></p>"), None);
        assert_eq!(fault_in("<svg><path d=\"M0\"/></svg>"), None);
        assert!(fault_in("<p><b></p></b>").is_some());
        assert!(fault_in("<p>").is_some());
        assert!(fault_in("<p class=\"a>x</p>").is_some());
        assert!(fault_in("a > b").is_some());
    }
}
