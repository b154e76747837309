//! Callgrind's files, as far as totals by function go: what each did itself, and what it did with
//! all it called. Functions are told apart by name; inlined code counts for what it is part of.

use std::collections::HashMap;

/// The instructions of one thread by function.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Of the function itself.
    pub own: HashMap<String, u64>,
    /// With what it called; a recursion counts once for each name it goes through.
    pub inclusive: HashMap<String, u64>,
}

impl Profile {
    /// Reads a file that callgrind wrote with one event and one position per line.
    pub fn parse(text: &str) -> Profile {
        let mut reader = Reader::default();
        for line in text.lines() {
            reader.take(line);
        }
        let mut inclusive = reader.own.clone();
        for ((caller, callee), count) in reader.calls {
            if caller != callee {
                *inclusive.entry(caller).or_default() += count;
            }
        }
        let named = |counts: HashMap<u32, u64>| {
            let each = counts.into_iter();
            each.map(|(id, count)| (reader.names.get(&id).cloned().unwrap_or_default(), count))
                .collect()
        };
        Profile {
            own: named(reader.own),
            inclusive: named(inclusive),
        }
    }

    /// All instructions.
    pub fn total(&self) -> u64 {
        self.own.values().sum()
    }
}

/// What was read so far. Names come once, with a number, and then as the number alone.
#[derive(Default)]
struct Reader {
    names: HashMap<u32, String>,
    function: u32,
    callee: Option<u32>,
    own: HashMap<u32, u64>,
    calls: HashMap<(u32, u32), u64>,
    /// The next line of costs is what the callee cost.
    in_call: bool,
}

impl Reader {
    fn take(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("fn=") {
            self.function = self.name(name).unwrap_or_default();
        } else if let Some(name) = line.strip_prefix("cfn=") {
            self.callee = self.name(name);
        } else if line.starts_with("calls=") {
            self.in_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let count = line.split_whitespace().nth(1);
            self.cost(count.and_then(|count| count.parse().ok()).unwrap_or(0));
        }
    }

    fn cost(&mut self, count: u64) {
        match self.callee.filter(|_| self.in_call) {
            Some(callee) => *self.calls.entry((self.function, callee)).or_default() += count,
            None => *self.own.entry(self.function).or_default() += count,
        }
        self.in_call = false;
    }

    /// `(7) name` or `(7)`.
    fn name(&mut self, text: &str) -> Option<u32> {
        let (id, name) = text.strip_prefix('(')?.split_once(')')?;
        let id = id.parse().ok()?;
        if !name.is_empty() {
            self.names.insert(id, name.trim().to_owned());
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
version: 1
positions: line
events: Ir

fl=(1) a.rs
fn=(1) outer
10 3
fi=(2) b.rs
+2 4
cfn=(2) inner
calls=2 30
12 20
fl=(2)
fn=(2)
30 15
cfn=(2)
calls=1 30
* 5
* 5

totals: 27
";

    #[test]
    fn own_and_called_instructions_are_told_apart() {
        let profile = Profile::parse(FILE);
        assert_eq!(profile.own["outer"], 7);
        assert_eq!(profile.own["inner"], 20);
        assert_eq!(profile.inclusive["outer"], 27);
        assert_eq!(profile.inclusive["inner"], 20);
        assert_eq!(profile.total(), 27);
    }
}
