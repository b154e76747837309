//! `[consumers]`

use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::ConsumerStore;
use crate::read::reader::Reader;
use crate::read::table::Table;

pub(crate) static CONSUMERS: Section = Section {
    title: "[consumers]",
    doc: "Consumers that are kept in Redis or Valkey, for sets that are too large for files or \
          change too often. Filters of type \"api_key\" ask for keys that no [[consumer]] has. The \
          entry of a key is named by `prefix` and the SHA-256 of the key in hexadecimal, and is JSON: \
          `{\"name\": \"app\", \"groups\": [\"partners\"], \"tags\": [], \"not_before\": 0, \
          \"expires\": 1798761599}`; only `name` is needed, and times are seconds since 1970.",
    keys: &[
        Key::required(
            "redis",
            Kind::Text("the name of a [redis.NAME]"),
            "The server. Its `timeout` bounds each exchange; a request waits twice as long at most, \
             and while the server is away keys that a worker does not remember get 503.",
        ),
        Key::default(
            "prefix",
            Kind::Text("a text such as \"ringgate:key:\""),
            "ringgate:key:",
            "What the names of entries begin with.",
        ),
        Key::default(
            "ttl",
            Kind::Duration {
                min: "0s",
                max: "1d",
            },
            "1m",
            "For how long a worker goes by what it was told of a consumer.",
        ),
        Key::default(
            "ttl_unknown",
            Kind::Duration {
                min: "0s",
                max: "1h",
            },
            "5s",
            "For how long a worker goes by that a key is nobody's.",
        ),
    ],
};

pub(crate) fn consumers(r: &mut Reader<'_>, table: &Table<'_>) -> Option<ConsumerStore> {
    let redis = table.required(r, "redis").and_then(|item| r.name(&item));
    let prefix = table.parsed(r, "prefix", leaf::entry_prefix);
    let usual = || Box::from(CONSUMERS.default_text("prefix"));
    Some(ConsumerStore {
        prefix: prefix.map_or_else(usual, |prefix| prefix.value),
        ttl: table.duration_or_default(r, "ttl"),
        ttl_unknown: table.duration_or_default(r, "ttl_unknown"),
        redis: redis?,
    })
}
