//! What a route needs of a request besides host and path, and which routes of a large group
//! could take such a request: without an index, thousands of routes on one path that differ
//! in a header would be compared pair by pair.

use ahash::AHashMap;

use super::fresh::Fresh;
use crate::predicate::{Fact, ValueTest};
use crate::router::{RouteSpec, Router};
use crate::trie::Entry;

/// Groups up to this size are searched without an index.
pub(super) const GROUP_SMALL: usize = 32;
/// Sets of values that one field is tried with.
const CHOICES_MAX: usize = 4096;

/// A header field, a query parameter, or a fact about who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field<'r> {
    Header(&'r str),
    Query(&'r [u8]),
    Fact(&'r Fact),
}

/// The values of one field in one request.
pub(super) type Values = Vec<Vec<u8>>;

/// The conditions of a route as choices: for each field it names, the smallest sets of values
/// that satisfy it. A request with other values in addition is matched by more routes, not
/// by fewer, so these are all that matter (but see `Absent` in [`super::cover`]).
#[derive(Debug)]
pub(super) struct Needs<'r> {
    pub fields: Vec<(Field<'r>, Vec<Values>)>,
}

impl<'r> Needs<'r> {
    /// `None` if a fresh value is needed and there is none, or there are too many choices.
    pub(super) fn new(spec: &'r RouteSpec, fresh: &Fresh) -> Option<Self> {
        let mut tests: Vec<(Field<'r>, Vec<&'r ValueTest>)> = Vec::new();
        for (field, test) in conditions(spec) {
            match tests.iter_mut().find(|(known, _)| *known == field) {
                Some((_, of_field)) => of_field.push(test),
                None => tests.push((field, vec![test])),
            }
        }
        let mut fields = Vec::with_capacity(tests.len());
        for (field, mut of_field) in tests {
            // Later tests are often satisfied by the values of earlier ones.
            of_field.sort_by_key(|test| match test {
                ValueTest::Exact(_) => (0, 0),
                ValueTest::OneOf(_) => (1, 0),
                ValueTest::Prefix(prefix) => (2, usize::MAX - prefix.len()),
                ValueTest::Present => (3, 0),
                ValueTest::Absent => (4, 0),
            });
            fields.push((field, choices(&of_field, fresh)?));
        }
        Some(Needs { fields })
    }
}

/// All conditions of a route.
pub(super) fn conditions(spec: &RouteSpec) -> impl Iterator<Item = (Field<'_>, &ValueTest)> {
    let headers = spec
        .headers
        .iter()
        .map(|header| (Field::Header(header.name()), header.test()));
    let query = spec.query.iter();
    let query = query.map(|query| (Field::Query(query.key()), query.test()));
    let facts = spec.facts.iter();
    let facts = facts.map(|fact| (Field::Fact(fact.fact()), fact.test()));
    headers.chain(query).chain(facts)
}

fn choices(tests: &[&ValueTest], fresh: &Fresh) -> Option<Vec<Values>> {
    let mut choices: Vec<Values> = vec![Vec::new()];
    for test in tests {
        let options: Vec<Vec<u8>> = match test {
            ValueTest::Absent => continue,
            ValueTest::Exact(value) => vec![value.to_vec()],
            ValueTest::OneOf(set) => set.iter().map(|value| value.to_vec()).collect(),
            ValueTest::Prefix(prefix) => vec![[prefix, fresh.value()?].concat()],
            ValueTest::Present => vec![fresh.value()?.to_vec()],
        };
        let mut extended = Vec::new();
        for values in choices {
            if values.iter().any(|value| test.accepts(value)) {
                extended.push(values);
                continue;
            }
            for option in &options {
                let mut values = values.clone();
                values.push(option.clone());
                extended.push(values);
            }
            if extended.len() > CHOICES_MAX {
                return None;
            }
        }
        choices = extended;
    }
    Some(choices)
}

/// Entries of one pattern by a condition that a request must meet for them to match.
#[derive(Debug)]
pub(super) struct GroupIndex<'r> {
    positions: AHashMap<u32, usize>,
    by_value: AHashMap<(Field<'r>, &'r [u8]), Vec<usize>>,
    by_field: AHashMap<Field<'r>, Vec<usize>>,
    others: Vec<usize>,
}

impl<'r> GroupIndex<'r> {
    pub(super) fn new(router: &'r Router, entries: &[Entry]) -> Self {
        let mut index = GroupIndex {
            positions: AHashMap::with_capacity(entries.len()),
            by_value: AHashMap::new(),
            by_field: AHashMap::new(),
            others: Vec::new(),
        };
        for (place, entry) in entries.iter().enumerate() {
            index.positions.insert(entry.route, place);
            index.add(place, &router.specs[entry.route as usize]);
        }
        index
    }

    fn add(&mut self, place: usize, spec: &'r RouteSpec) {
        for (field, test) in conditions(spec) {
            let values = match test {
                ValueTest::Exact(value) => std::slice::from_ref(value),
                ValueTest::OneOf(set) => set,
                _ => continue,
            };
            for value in values {
                self.by_value.entry((field, value)).or_default().push(place);
            }
            return;
        }
        for (field, test) in conditions(spec) {
            if matches!(test, ValueTest::Present | ValueTest::Prefix(_)) {
                self.by_field.entry(field).or_default().push(place);
                return;
            }
        }
        self.others.push(place);
    }

    pub(super) fn position(&self, route: u32) -> Option<usize> {
        self.positions.get(&route).copied()
    }

    /// Places before `end` of entries that a request with `needs` and nothing else could meet,
    /// in order.
    pub(super) fn rivals(&self, end: usize, needs: &Needs<'r>) -> impl Iterator<Item = usize> {
        let mut places: Vec<usize> = Vec::new();
        let mut add = |known: Option<&Vec<usize>>| {
            let known = known.map(Vec::as_slice).unwrap_or_default();
            places.extend_from_slice(&known[..known.partition_point(|place| *place < end)]);
        };
        add(Some(&self.others));
        for (field, choices) in &needs.fields {
            add(self.by_field.get(field));
            for value in choices.iter().flatten() {
                add(self.by_value.get(&(*field, value.as_slice())));
            }
        }
        places.sort_unstable();
        places.dedup();
        places.into_iter()
    }
}
