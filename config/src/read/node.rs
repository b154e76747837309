//! `[node]`, `[overload]`, `[redis.NAME]` and `[quotas]`.

use toml::de::DeValue;

use super::reader::Reader;
use super::table::{Item, Table, entries_of, file_path};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Node, Overload, Quotas, Redis, Secret};
use crate::span::Spanned;

pub(crate) static NODE: Section = Section {
    title: "[node]",
    doc: "What this node is among others.",
    keys: &[Key::optional(
        "zone",
        Kind::Text(super::upstream::NAME),
        "Its zone, such as a rack or a data centre: endpoints of the same `zone` go before others \
         of their group. None is preferred without it.",
    )],
};

pub(crate) static OVERLOAD: Section = Section {
    title: "[overload]",
    doc: "When requests are refused (503, with `Retry-After`) because there is too much to do, by \
          the `urgency` of their routes: better to refuse some than to stall all.",
    keys: &[
        Key::optional(
            "lag_max",
            Kind::Duration {
                min: "1ms",
                max: "10s",
            },
            "How late a worker's event loop may be before requests of \"low\" urgency are refused; \
             twice that refuses \"normal\" ones too, four times \"high\" ones. Off without it.",
        ),
        Key::optional(
            "memory_max",
            Kind::Size {
                min: "16MiB",
                max: "1024GiB",
            },
            "Resident memory of the process at which requests of \"low\" urgency are refused; at \
             105 % of it \"normal\" ones too, at 110 % \"high\" ones. Keep it below what the \
             system allows the process. Off without it.",
        ),
    ],
};

pub(crate) static REDIS: Section = Section {
    title: "[redis.NAME]",
    doc: "A Redis or Valkey server that nodes share the limits of filters through.",
    keys: &[
        Key::required(
            "url",
            Kind::Secret("a URL such as \"redis://10.0.0.5:6379/0\", or \"rediss://\" for TLS"),
            "Where it is, with its user and password, best as \"${env:NAME}\". It is never shown.",
        ),
        Key::default(
            "nodes",
            Kind::Integer { min: 1, max: 1000 },
            "1",
            "Nodes that share limits through it. While it is away each has its share: the limit \
             divided by this.",
        ),
        Key::default(
            "timeout",
            Kind::Duration {
                min: "1ms",
                max: "10s",
            },
            "100ms",
            "For one exchange with it; one that takes longer counts as away.",
        ),
    ],
};

pub(crate) static QUOTAS: Section = Section {
    title: "[quotas]",
    doc: "Where quotas are kept over restarts.",
    keys: &[Key::required(
        "store",
        Kind::Text("the path of a file such as \"/var/lib/ringgate/quotas.redb\""),
        "The file, made when it is not there. Its directory must exist; one process uses it.",
    )],
};

pub(super) fn node(r: &mut Reader<'_>, table: &Table<'_>) -> Node {
    let zone = table.item("zone").and_then(|item| r.name(&item));
    Node { zone }
}

pub(super) fn overload(r: &mut Reader<'_>, table: &Table<'_>) -> Overload {
    Overload {
        lag_max: table.duration(r, "lag_max"),
        memory_max: table.size(r, "memory_max"),
    }
}

pub(super) fn quotas(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Quotas> {
    let item = table.required(r, "store")?;
    let store = file_path(r, &item)?;
    Some(Quotas { store })
}

/// Reads `[redis]`, whose keys are the servers' names.
pub(super) fn redis(r: &mut Reader<'_>, item: &Item<'_>, out: &mut Vec<Redis>) {
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(item);
        return;
    };
    static SERVER: Kind = Kind::Table(&REDIS);
    for (span, entry) in entries_of(item.file, entries, &SERVER) {
        let name = match leaf::name(entry.name) {
            Ok(name) => Some(Spanned::new(name, span)),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                None
            }
        };
        if !entry.is_table() {
            // Somebody may have written a URL with a password here.
            r.sources.hide(entry.span());
            let message = "servers are tables under names of your choice";
            r.report(
                Diagnostic::error("wrong-type", message, span)
                    .label("this would be a server's name")
                    .help("write [redis.NAME] and put `url` below it"),
            );
            continue;
        }
        let Some(table) = r.open(&entry, &REDIS) else {
            continue;
        };
        let url = table.required(r, "url");
        let url = url.and_then(|item| r.hidden(&item, leaf::redis_url));
        let nodes = table.integer_or_default(r, "nodes");
        let timeout = table.duration_or_default(r, "timeout");
        // One with errors keeps its name, so that its filters do not seem wrong as well.
        out.extend(name.map(|name| Redis {
            name,
            url: Secret(url.map_or_else(Box::default, |url| url.value)),
            nodes: u32::try_from(nodes).unwrap_or(1),
            timeout,
        }));
    }
}
