//! So many in some time: `limit`, `per` and `burst`.

use crate::keys::Kind;
use crate::model::Rate;
use crate::read::reader::Reader;
use crate::read::table::{Table, bounded_integer};

pub(crate) const LIMIT: Kind = Kind::Integer {
    min: 1,
    max: 1_000_000_000,
};

pub(crate) const PER: Kind = Kind::Duration {
    min: "1ms",
    max: "31d",
};

pub(crate) const BURST: Kind = Kind::Integer {
    min: 0,
    max: 1_000_000_000,
};

/// Reads a rate; `None` when a part of it is missing or wrong, which is reported.
pub(crate) fn rate(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Rate> {
    let limit = table.required(r, "limit");
    let limit = limit.and_then(|item| bounded_integer(r, &item));
    let per = table.required(r, "per");
    let per = per.and_then(|item| r.duration(&item));
    let burst = match table.item("burst") {
        Some(_) => table.integer(r, "burst"),
        None => Some(0),
    };
    Some(Rate {
        limit: limit?.unsigned_abs(),
        per: per?,
        burst: burst?.unsigned_abs(),
    })
}
