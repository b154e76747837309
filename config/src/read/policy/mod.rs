//! Traffic policies of upstreams and routes, one file per policy. A policy that both may have is
//! read by the same code; only the title of its table differs.

mod balance;
mod breaker;
mod canary;
mod concurrency;
mod fallback;
mod key;
mod outlier;
mod retry;
mod sticky;

pub(crate) use balance::{BALANCE_KEYS, Place, choice};
pub(crate) use breaker::{BREAKER, breaker};
pub(crate) use canary::{CANARY, MIRROR, canary, mirror};
pub(crate) use concurrency::{ROUTE_CONCURRENCY, UPSTREAM_CONCURRENCY, concurrency};
pub(crate) use fallback::{ROUTE_FALLBACK, RawFallback, UPSTREAM_FALLBACK, fallback};
pub(crate) use key::{KEY, key};
pub(crate) use outlier::{OUTLIER, outlier};
pub(crate) use retry::{ROUTE_RETRY, UPSTREAM_RETRY, retry};
pub(crate) use sticky::{STICKY, sticky};

use std::time::Duration;

use super::reader::Reader;
use super::table::Table;
use crate::diagnostic::Diagnostic;
use crate::units::show_duration;

/// An integer that its key's bounds keep within 32 bits.
fn count(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> u32 {
    u32::try_from(table.integer_or_default(r, key)).unwrap_or(u32::MAX)
}

/// Reports a lower bound above its upper one, at whichever is written.
fn check_order(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    low: (&'static str, Duration),
    high: (&'static str, Duration),
) {
    if low.1 <= high.1 {
        return;
    }
    let written = table.item(high.0).or(table.item(low.0));
    let span = written.map_or(table.span, |item| item.span());
    let message = format!("`{}` is shorter than `{}`", high.0, low.0);
    r.report(
        Diagnostic::error("contradiction", message, span)
            .label(format!(
                "here they are {} and {}",
                show_duration(high.1),
                show_duration(low.1)
            ))
            .help(format!("make `{}` longer or `{}` shorter", high.0, low.0)),
    );
}
