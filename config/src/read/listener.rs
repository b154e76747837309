//! `[[listener]]`.

use super::later;
use super::reader::Reader;
use super::table::Table;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::limits::{LIMITS, Limits};
use crate::model::{HalfClose, Listener};

pub(crate) const LISTEN: &str =
    "an address such as \"127.0.0.1:8080\", \"[::]:8080\" or \"unix:/run/ringgate.sock\"";

pub(crate) static LISTENER: Section = Section {
    title: "[[listener]]",
    doc: "Where clients connect. Every listener serves every route.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among listeners; logs and metrics use it.",
        ),
        Key::required(
            "listen",
            Kind::Text(LISTEN),
            "The address. Each worker has a socket of its own on it (SO_REUSEPORT). Port 0 lets \
             the system choose.",
        ),
        Key::default(
            "half_close",
            Kind::Choice(HalfClose::WORDS),
            "abort",
            "What a client's FIN after its request means: it has gone and its request is \
             cancelled, or it still reads and gets its response.",
        ),
        Key::optional(
            "limits",
            Kind::Table(&LIMITS),
            "Overrides of [limits] for this listener, with the same keys.",
        ),
        Key::optional(
            "certificate",
            Kind::Tables(&later::CERTIFICATE),
            "Certificates for TLS; with one, the listener speaks TLS only.",
        )
        .later(),
        Key::optional(
            "alpn",
            Kind::List(&Kind::Choice(later::ALPN)),
            "Protocols offered in TLS, best first.",
        )
        .later(),
    ],
};

pub(crate) fn listener(r: &mut Reader<'_>, table: &Table<'_>, base: &Limits) -> Option<Listener> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let listen = table
        .required(r, "listen")
        .and_then(|item| r.parsed(&item, leaf::listen));
    let half_close = table.word_or_default(r, "half_close");
    let limits = match table.table(r, "limits") {
        Some(overrides) => base.clone().overridden(r, &overrides),
        None => base.clone(),
    };
    later::certificates(r, table);
    Some(Listener {
        name: name?,
        listen: listen?,
        half_close,
        limits,
    })
}
