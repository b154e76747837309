//! Whether the methods and predicates of some routes together take every request of another.
//!
//! The requests of a route are a box: one dimension for the method, one for each field that
//! matters, each with finitely many choices. A rival takes a sub-box. The search subtracts
//! sub-boxes until nothing is left, or a point is.
//!
//! Choices of the method are those of the route's list, or, if it takes every method, one that
//! no route names. Fields that the route names have the choices of [`Needs`]; a field that it
//! does not name is left out of the request, unless a rival wants it absent: then it may also
//! be present with a value that no route names.

use super::fresh::Fresh;
use super::index::{Field, Needs, Values, conditions};
use crate::methods::OTHER;
use crate::predicate::{Fact, ValueTest};
use crate::router::Router;
use crate::trie::Entry;

/// Sub-boxes to look at before a search is given up.
const BUDGET: u32 = 50_000;
/// Rivals to subtract before a search is given up.
const RIVALS_MAX: usize = 1024;

pub(super) enum Cover {
    /// Some request is left.
    Open,
    /// No request is left; these routes together take all. The point is one of the requests.
    Covered { by: Vec<u32>, point: Point },
    /// It would take too long to say.
    Undecided,
}

/// Method and fields of a request.
#[derive(Debug)]
pub(super) struct Point {
    pub method: u64,
    fields: Vec<(OwnedField, Values)>,
}

#[derive(Debug)]
enum OwnedField {
    Header(String),
    Query(Vec<u8>),
    Fact(Fact),
}

impl Point {
    pub(super) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = Vec::new();
        for (field, values) in &self.fields {
            if let OwnedField::Header(name) = field {
                headers.extend(values.iter().map(|value| (name.clone(), value.clone())));
            }
        }
        headers
    }

    pub(super) fn facts(&self) -> Vec<(Fact, Vec<u8>)> {
        let mut facts = Vec::new();
        for (field, values) in &self.fields {
            if let OwnedField::Fact(fact) = field {
                facts.extend(values.iter().map(|value| (fact.clone(), value.clone())));
            }
        }
        facts
    }

    pub(super) fn query(&self) -> String {
        let mut parts = Vec::new();
        for (field, values) in &self.fields {
            if let OwnedField::Query(key) = field {
                parts.extend(
                    values
                        .iter()
                        .map(|value| format!("{}={}", encoded(key), encoded(value))),
                );
            }
        }
        parts.join("&")
    }
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Whether `rivals` take every request with `needs` and one of the methods `mask`.
pub(super) fn cover(
    router: &Router,
    fresh: &Fresh,
    needs: &Needs<'_>,
    mask: u64,
    rivals: &[Entry],
) -> Cover {
    if rivals.is_empty() {
        return Cover::Open;
    }
    let Some(mut search) = Search::new(router, fresh, needs, mask, rivals) else {
        return Cover::Undecided;
    };
    let whole = search.whole();
    let takes_all = |rival: &Entry| {
        search
            .taken(&whole, rival)
            .is_some_and(|taken| taken == whole)
    };
    let alone = rivals.iter().position(takes_all);
    let relevant: Vec<Entry> = rivals[..alone.unwrap_or(rivals.len())]
        .iter()
        .filter(|rival| search.taken(&whole, rival).is_some())
        .copied()
        .collect();
    let rest = if relevant.len() > RIVALS_MAX {
        None
    } else {
        search.subtract(&whole, &relevant)
    };
    match (rest, alone) {
        // What those before it leave is won by the one that takes all.
        (Some(Rest::Region(region)), Some(alone)) => Cover::Covered {
            by: vec![rivals[alone].route],
            point: search.point(&region),
        },
        (None, Some(alone)) => Cover::Covered {
            by: vec![rivals[alone].route],
            point: search.point(&whole),
        },
        (Some(Rest::Nothing), _) => Cover::Covered {
            point: search.point(&whole),
            by: search.by,
        },
        (Some(Rest::Region(_)), None) => Cover::Open,
        (None, None) => Cover::Undecided,
    }
}

/// For each dimension the choices that remain; the method is the first.
type Region = Vec<Vec<u16>>;

/// What subtracting leaves; a part of it, if it is something.
enum Rest {
    Nothing,
    Region(Region),
}

struct Search<'a> {
    router: &'a Router,
    methods: Vec<u64>,
    fields: Vec<(Field<'a>, Vec<Values>)>,
    budget: u32,
    by: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(
        router: &'a Router,
        fresh: &Fresh,
        needs: &Needs<'a>,
        mask: u64,
        rivals: &[Entry],
    ) -> Option<Self> {
        let methods = if mask & OTHER != 0 {
            vec![OTHER]
        } else {
            (0..63)
                .map(|place| 1 << place)
                .filter(|bit| mask & bit != 0)
                .collect()
        };
        let mut fields = needs.fields.clone();
        for rival in rivals.iter().filter(|rival| rival.predicates > 0) {
            for (field, test) in conditions(&router.specs[rival.route as usize]) {
                if *test == ValueTest::Absent && !fields.iter().any(|(known, _)| *known == field) {
                    fields.push((field, vec![Vec::new(), vec![fresh.value()?.to_vec()]]));
                    if fields.len() > RIVALS_MAX {
                        return None;
                    }
                }
            }
        }
        Some(Search {
            router,
            methods,
            fields,
            budget: BUDGET,
            by: Vec::new(),
        })
    }

    fn whole(&self) -> Region {
        let sizes = self.fields.iter().map(|(_, choices)| choices.len());
        std::iter::once(self.methods.len())
            .chain(sizes)
            .map(|size| (0..size as u16).collect())
            .collect()
    }

    /// A request in `region`.
    fn point(&self, region: &Region) -> Point {
        let first = |dimension: usize| region[dimension].first().copied().map_or(0, usize::from);
        let fields = self
            .fields
            .iter()
            .enumerate()
            .filter_map(|(place, (field, choices))| {
                let field = match field {
                    Field::Header(name) => OwnedField::Header((*name).to_owned()),
                    Field::Query(key) => OwnedField::Query(key.to_vec()),
                    Field::Fact(fact) => OwnedField::Fact((*fact).clone()),
                };
                Some((field, choices.get(first(place + 1))?.clone()))
            });
        Point {
            fields: fields.collect(),
            method: self.methods.get(first(0)).copied().unwrap_or(OTHER),
        }
    }

    /// The part of `region` that `rival` takes, if any.
    fn taken(&self, region: &Region, rival: &Entry) -> Option<Region> {
        let mut taken = region.clone();
        taken[0].retain(|choice| self.methods[usize::from(*choice)] & rival.methods != 0);
        if taken[0].is_empty() {
            return None;
        }
        if rival.predicates == 0 {
            return Some(taken);
        }
        for (field, test) in conditions(&self.router.specs[rival.route as usize]) {
            let place = self.fields.iter().position(|(known, _)| *known == field)?;
            let choices = &self.fields[place].1;
            taken[place + 1].retain(|choice| {
                let values = &choices[usize::from(*choice)];
                match test {
                    ValueTest::Absent => values.is_empty(),
                    test => values.iter().any(|value| test.accepts(value)),
                }
            });
            if taken[place + 1].is_empty() {
                return None;
            }
        }
        Some(taken)
    }

    /// What `rivals`, in their order, leave of `region`; `None` if that takes too long. Each call
    /// goes on with a smaller region, so it nests at most as deep as there are choices.
    fn subtract(&mut self, region: &Region, rivals: &[Entry]) -> Option<Rest> {
        for (place, rival) in rivals.iter().enumerate() {
            self.budget = self.budget.checked_sub(1)?;
            let Some(mut taken) = self.taken(region, rival) else {
                continue;
            };
            self.by.push(rival.route);
            // What is outside of `taken`, in pieces that do not overlap: up to dimension `d`
            // inside, in dimension `d` outside, whole after that.
            for dimension in 0..region.len() {
                let inside = std::mem::take(&mut taken[dimension]);
                let outside: Vec<u16> = region[dimension]
                    .iter()
                    .filter(|choice| !inside.contains(choice))
                    .copied()
                    .collect();
                taken[dimension] = inside;
                if outside.is_empty() {
                    continue;
                }
                let mut piece = region.clone();
                piece[..dimension].clone_from_slice(&taken[..dimension]);
                piece[dimension] = outside;
                if let Rest::Region(left) = self.subtract(&piece, &rivals[place + 1..])? {
                    return Some(Rest::Region(left));
                }
            }
            return Some(Rest::Nothing);
        }
        Some(Rest::Region(region.clone()))
    }
}
