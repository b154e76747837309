//! Configurations from templates: lines between `#@if NAME` (or `#@if !NAME`) and `#@end` are
//! kept when the condition holds, and `{{name}}` is replaced. Blocks nest. What is left is the
//! configuration as the peer reads it, comments included.

use std::collections::{BTreeMap, BTreeSet};

/// What a template is filled with.
#[derive(Debug, Clone, Default)]
pub struct Filling {
    words: BTreeMap<&'static str, String>,
    conditions: BTreeSet<&'static str>,
}

impl Filling {
    /// Replaces `{{name}}`.
    pub fn word(&mut self, name: &'static str, value: impl ToString) -> &mut Filling {
        self.words.insert(name, value.to_string());
        self
    }

    /// Says whether a condition holds; those that nothing was said of do not.
    pub fn condition(&mut self, name: &'static str, holds: bool) -> &mut Filling {
        match holds {
            true => self.conditions.insert(name),
            false => self.conditions.remove(name),
        };
        self
    }

    /// The configuration. Words that nothing was said of stay as they are.
    pub fn fill(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len());
        // One entry for each open block: whether its condition holds.
        let mut open: Vec<bool> = Vec::new();
        for line in template.lines() {
            let word = line.trim();
            if let Some(condition) = word.strip_prefix("#@if ") {
                open.push(self.holds(condition.trim()));
            } else if word == "#@end" {
                open.pop();
            } else if open.iter().all(|holds| *holds) {
                text.push_str(&self.line(line));
                text.push('\n');
            }
        }
        text
    }

    fn holds(&self, condition: &str) -> bool {
        match condition.strip_prefix('!') {
            Some(name) => !self.conditions.contains(name),
            None => self.conditions.contains(condition),
        }
    }

    fn line(&self, line: &str) -> String {
        let mut rest = line;
        let mut text = String::with_capacity(line.len());
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            match after.split_once("}}") {
                Some((name, after)) if self.words.contains_key(name) => {
                    text.push_str(&self.words[name]);
                    rest = after;
                }
                _ => {
                    text.push_str("{{");
                    rest = after;
                }
            }
        }
        text.push_str(rest);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "a {{x}} {{y}}\n  #@if log\nlog\n#@if json\njson\n#@end\n\
                            #@if !json\ntext\n#@end\n#@end\nend\n";

    #[test]
    fn words_are_replaced_and_unknown_ones_stay() {
        let text = Filling::default().word("x", 7).fill(TEMPLATE);
        assert_eq!(text, "a 7 {{y}}\nend\n");
    }

    #[test]
    fn blocks_nest() {
        let mut filling = Filling::default();
        filling.word("x", "").word("y", "").condition("log", true);
        assert_eq!(filling.fill(TEMPLATE), "a  \nlog\ntext\nend\n");
        filling.condition("json", true);
        assert_eq!(filling.fill(TEMPLATE), "a  \nlog\njson\nend\n");
        filling.condition("log", false);
        assert_eq!(filling.fill(TEMPLATE), "a  \nend\n");
    }
}
