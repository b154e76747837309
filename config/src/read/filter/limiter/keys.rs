//! The vocabulary of the filters that count.

use crate::keys::{Key, Kind, Section, Word};
use crate::model::{Algorithm, Period};
use crate::read::filter::TYPE;
use crate::read::policy::KEY as ANY_KEY;
use crate::read::rate::{BURST, LIMIT, PER};

pub(crate) static RATE_LIMIT: Section = Section {
    title: "[filter.NAME] of type \"rate_limit\"",
    doc: "Limits how often something may be asked for, over all workers: never more than `limit` \
          and `burst` in any `per`. What is beyond gets 429 with `Retry-After`. Either `limit` and \
          `per`, or `limits`.",
    keys: &[
        TYPE,
        KEY,
        Key::optional("limit", LIMIT, "Requests, by weight, that `per` allows."),
        Key::optional("per", PER, "The time that `limit` is for."),
        Key::optional(
            "burst",
            BURST,
            "Makes the limit a token bucket: this many and one may come at once, then evenly; never more \
             than `limit` and `burst` in any `per`. Without it all of `limit` may come at once, in a \
             sliding window.",
        ),
        Key::optional(
            "limits",
            Kind::List(&Kind::Table(&RATE)),
            "Several limits that hold at once, such as 10 in a second and 1000 in an hour, in \
             place of `limit`, `per` and `burst`.",
        ),
        Key::optional(
            "algorithm",
            Kind::Choice(Algorithm::WORDS),
            "How requests are counted: a bucket that fills steadily; a count that begins anew with \
             each `per`; or a count of the last `per`. Without it \"token_bucket\" where a burst is \
             given, else \"sliding_window\".",
        ),
        Key::default(
            "reconcile",
            Kind::Duration {
                min: "1ms",
                max: "10s",
            },
            "10ms",
            "How often the workers settle accounts, and ask the server in `redis`.",
        ),
        WEIGHT_KEY,
        KEYS_MAX,
        IPV4_PREFIX,
        IPV6_PREFIX,
        DRY_RUN,
        FIELDS,
        Key::optional(
            "redis",
            Kind::Text("the name of a [redis.NAME]"),
            "The server that nodes share the limit through; each node counts for itself without \
             it.",
        ),
        STATUS,
        Key::optional(
            "override",
            Kind::Tables(&RATE_OVERRIDE),
            "Limits of some consumers in place of these.",
        ),
    ],
};

/// Limits of some consumers.
pub(super) static RATE_OVERRIDE: Section = Section {
    title: "[[filter.NAME.override]] of a rate limit",
    doc: "Limits of some consumers in place of those of everybody. Everything else is as the \
          filter has it. A filter that asks who makes the request must come before the limit.",
    keys: &[
        CONSUMERS,
        GROUPS,
        Key::optional("limit", LIMIT, "Requests, by weight, that `per` allows."),
        Key::optional("per", PER, "The time that `limit` is for."),
        Key::optional("burst", BURST, "As in the filter."),
        Key::optional(
            "limits",
            Kind::List(&Kind::Table(&RATE)),
            "Several limits that hold at once, in place of `limit`, `per` and `burst`.",
        ),
    ],
};

/// Quotas of some consumers.
pub(super) static QUOTA_OVERRIDE: Section = Section {
    title: "[[filter.NAME.override]] of a quota",
    doc: "The quota of some consumers in place of everybody's. Everything else is as the filter \
          has it. A filter that asks who makes the request must come before the quota.",
    keys: &[
        CONSUMERS,
        GROUPS,
        Key::required("limit", LIMIT, "Requests, by weight, that a period allows."),
    ],
};

const CONSUMERS: Key = Key::default(
    "consumers",
    Kind::List(&Kind::Text("the name of a consumer")),
    "[]",
    "Consumers that it is for.",
);

const GROUPS: Key = Key::default(
    "groups",
    Kind::List(&Kind::Text("a group")),
    "[]",
    "Groups that it is for, where no override names the consumer itself; of two, the first counts.",
);

pub(crate) static QUOTA: Section = Section {
    title: "[filter.NAME] of type \"quota\"",
    doc: "Limits how much may be asked for in a day or a month (UTC). What was used is kept in the \
          store of [quotas] over restarts, and is read and reset through the admin API. What is \
          beyond gets 429 with `Retry-After`.",
    keys: &[
        TYPE,
        KEY,
        Key::required(
            "limit",
            Kind::Integer {
                min: 1,
                max: 1_000_000_000,
            },
            "Requests, by weight, that a period allows.",
        ),
        Key::required(
            "per",
            Kind::Choice(Period::WORDS),
            "The period, in UTC: from midnight, or from the first of the month.",
        ),
        WEIGHT_KEY,
        KEYS_MAX,
        IPV4_PREFIX,
        IPV6_PREFIX,
        DRY_RUN,
        FIELDS,
        STATUS,
        Key::optional(
            "override",
            Kind::Tables(&QUOTA_OVERRIDE),
            "The quota of some consumers in place of this one.",
        ),
    ],
};

pub(crate) static CONCURRENCY_LIMIT: Section = Section {
    title: "[filter.NAME] of type \"concurrency_limit\"",
    doc: "Limits how many requests of one key are under way at a time, over all workers; one more \
          is refused at once.",
    keys: &[
        TYPE,
        KEY,
        Key::required(
            "max",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "Requests of one key at a time.",
        ),
        KEYS_MAX,
        IPV4_PREFIX,
        IPV6_PREFIX,
        STATUS,
    ],
};

pub(super) static RATE: Section = Section {
    title: "an entry of `limits`",
    doc: "One of several limits.",
    keys: &[
        Key::required("limit", LIMIT, "Requests, by weight, that `per` allows."),
        Key::required("per", PER, "The time that `limit` is for."),
        Key::default(
            "burst",
            BURST,
            "0",
            "Requests beyond `limit` that a bucket lets come at once.",
        ),
    ],
};

pub(super) static WEIGHT: Section = Section {
    title: "`weight` of a limiter",
    doc: "What a request counts for: the number in `header` where the request has one, else that \
          of its method, else 1.",
    keys: &[
        Key::optional(
            "methods",
            Kind::Map(&COST),
            "By method, such as { POST = 5 }; 0 counts for nothing.",
        ),
        Key::optional(
            "header",
            Kind::Text("a header name"),
            "A request header that holds a whole number. Clients can write what they like in it, \
             unless somebody in front of this gateway sets it.",
        ),
        Key::default(
            "max",
            Kind::Integer {
                min: 1,
                max: 10_000,
            },
            "100",
            "A larger number in `header` counts as this.",
        ),
    ],
};

pub(super) static COST: Kind = Kind::Integer {
    min: 0,
    max: 10_000,
};

const KEY: Key = Key::required(
    "key",
    ANY_KEY,
    "What each limit is counted for: one part of the request or a list of them. Requests without \
     a part count together. \"consumer\", \"subject\" and \"claim:NAME\" are known behind a filter \
     that asks who makes the request.",
);

const WEIGHT_KEY: Key = Key::optional(
    "weight",
    Kind::Table(&WEIGHT),
    "What a request counts for; 1 without it.",
);

const KEYS_MAX: Key = Key::default(
    "keys_max",
    Kind::Integer {
        min: 1,
        max: 10_000_000,
    },
    "100000",
    "Keys that are counted at a time. Places are made in groups of 64, half as many more than this \
     and rounded up, as keys do not fall into groups evenly: somewhat more may find one. It bounds \
     memory: a new key takes the place of one of its group that has nothing used; where there is \
     none, it is refused.",
);

const IPV4_PREFIX: Key = Key::default(
    "ipv4_prefix",
    Kind::Integer { min: 1, max: 32 },
    "32",
    "Leading bits of an IPv4 address that \"client_ip\" counts by.",
);

const IPV6_PREFIX: Key = Key::default(
    "ipv6_prefix",
    Kind::Integer { min: 1, max: 128 },
    "64",
    "Leading bits of an IPv6 address that \"client_ip\" counts by: a customer has a /64 at least, \
     and could change addresses in it at will.",
);

const DRY_RUN: Key = Key::default(
    "dry_run",
    Kind::Bool,
    "false",
    "Whether nothing is refused: what would be is counted in `ringgate_limit_dry_refused_total`.",
);

const FIELDS: Key = Key::default(
    "fields",
    Kind::Bool,
    "true",
    "Whether answers tell clients how much is left, in `RateLimit` and `RateLimit-Policy`.",
);

const STATUS: Key = Key::default(
    "status",
    Kind::Integer { min: 400, max: 599 },
    "429",
    "The status of refusals.",
);
