//! `[upstream.retry]` and `[route.retry]`.

use super::{check_order, count};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf::{self, RetryCause};
use crate::model::{Hedge, Retry, RetryOn};
use crate::read::reader::Reader;
use crate::read::table::{Table, add_distinct, no_entries};
use crate::span::Spanned;

const DOC: &str = "Retries of failed requests, at another endpoint than before where there is one. \
                   Only idempotent methods (RFC 9110, section 9.2.2) and requests with \
                   `Idempotency-Key` are sent twice, unless the first attempt cannot have reached \
                   an origin (\"connect\", \"refused_stream\"). A retry never outlives the \
                   route's `timeout`, and never begins once the client has got a byte of an \
                   answer. Without this table nothing is retried.";

pub(crate) static UPSTREAM_RETRY: Section = Section {
    title: "[upstream.retry]",
    doc: DOC,
    keys: KEYS,
};

pub(crate) static ROUTE_RETRY: Section = Section {
    title: "[route.retry]",
    doc: "The keys of [upstream.retry], for one route in place of all that its upstream says. \
          `attempts = 0` switches retries off for it.",
    keys: KEYS,
};

static HEDGE: Section = Section {
    title: "`hedge` of retries",
    doc: "A second attempt beside a first one that takes long, under the same budget; the answer \
          that comes first is taken. For idempotent requests only.",
    keys: &[
        Key::default(
            "after_percentile",
            Kind::Ratio {
                min: 0.5,
                max: 0.999,
            },
            "0.95",
            "It starts when the first attempt has taken longer than this share of all requests of \
             late.",
        ),
        Key::default(
            "after_minimum",
            Kind::Duration {
                min: "1ms",
                max: "1m",
            },
            "10ms",
            "It never starts earlier than this.",
        ),
    ],
};

const KEYS: &[Key] = &[
    Key::default(
        "attempts",
        Kind::Integer { min: 0, max: 10 },
        "1",
        "Attempts beside the first; 0 retries nothing.",
    ),
    Key::default(
        "on",
        Kind::List(&Kind::Text(
            "\"connect\", \"reset\", \"refused_stream\", \"timeout\", a status from \"500\" to \
             \"599\", or a gRPC status such as \"grpc:unavailable\"",
        )),
        "[\"connect\", \"reset\", \"refused_stream\"]",
        "What is retried: connections that cannot be opened, that end before a response head, \
         HTTP/2 streams refused unseen, attempts that take too long, or these answers.",
    ),
    Key::optional(
        "try_timeout",
        Kind::Duration {
            min: "1ms",
            max: "1h",
        },
        "Limit for one attempt, until its response head; then \"timeout\". Without it only the \
         upstream's `response_timeout` bounds an attempt.",
    ),
    Key::default(
        "backoff",
        Kind::Duration {
            min: "0s",
            max: "1m",
        },
        "25ms",
        "Upper bound of the pause before the first retry; each further one doubles it. The pause \
         is drawn evenly from zero to its bound, so that clients do not come back in step.",
    ),
    Key::default(
        "backoff_max",
        Kind::Duration {
            min: "0s",
            max: "10m",
        },
        "1s",
        "Upper bound of any pause.",
    ),
    Key::default(
        "methods",
        Kind::List(&Kind::Text("a method such as \"POST\"")),
        "[]",
        "Methods that may be sent twice beside the idempotent ones. Only for origins that can tell \
         a repeated request.",
    ),
    Key::default(
        "body_max",
        Kind::Size {
            min: "0B",
            max: "16MiB",
        },
        "64KiB",
        "Bytes of a request body that are kept to be sent again; a request with a longer one is \
         not retried once they are gone. It bounds memory per request.",
    ),
    Key::default(
        "budget",
        Kind::Ratio { min: 0.0, max: 1.0 },
        "0.2",
        "Largest share of the upstream's live requests that retries and hedges may be, over all \
         workers and ten seconds: an outage is not multiplied by its retries.",
    ),
    Key::default(
        "budget_minimum",
        Kind::Integer {
            min: 0,
            max: 1_000_000,
        },
        "3",
        "Retries a second that are allowed whatever the share, so that little traffic is retried \
         at all.",
    ),
    Key::optional(
        "hedge",
        Kind::Table(&HEDGE),
        "A second attempt before the first has failed.",
    ),
];

/// Reads the retries of an upstream or a route; `None` without the table.
pub(crate) fn retry(r: &mut Reader<'_>, parent: &Table<'_>) -> Option<Retry> {
    let table = parent.table(r, "retry")?;
    let retry = Retry {
        attempts: u8::try_from(table.integer_or_default(r, "attempts")).unwrap_or(u8::MAX),
        on: conditions(r, &table),
        try_timeout: table
            .deadline(r, "try_timeout")
            .map(|limit| Spanned::new(limit, table.span_of("try_timeout"))),
        backoff: table.duration_or_default(r, "backoff"),
        backoff_max: table.duration_or_default(r, "backoff_max"),
        methods: methods(r, &table),
        body_max: table.size_or_default(r, "body_max"),
        budget: table.ratio_or_default(r, "budget"),
        budget_minimum: count(r, &table, "budget_minimum"),
        hedge: table.table(r, "hedge").map(|hedge| Hedge {
            after_percentile: hedge.ratio_or_default(r, "after_percentile"),
            after_minimum: hedge.duration_or_default(r, "after_minimum"),
        }),
    };
    let backoff_max = ("backoff_max", retry.backoff_max);
    check_order(r, &table, ("backoff", retry.backoff), backoff_max);
    check(r, &table, &retry);
    Some(retry)
}

fn check(r: &mut Reader<'_>, table: &Table<'_>, retry: &Retry) {
    if let Some(item) = table.item("on")
        && !retry.on.grpc.is_empty()
        && !retry.methods.iter().any(|method| *method.value == *"POST")
    {
        let message = "gRPC statuses are not retried without POST in `methods`";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("every call of gRPC is a POST, and POST may not be sent twice")
                .help("add `methods = [\"POST\"]`, if the service can tell a repeated call"),
        );
    }
    if let Some(item) = table.item("budget")
        && retry.budget <= 0.0
        && retry.budget_minimum == 0
        && retry.attempts > 0
    {
        let message = "a retry budget of nothing";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("with `budget_minimum = 0` nothing is ever retried")
                .help("raise one of the two, or set `attempts = 0`"),
        );
    }
    if let Some(item) = table.item("try_timeout")
        && !retry.on.timeout
        && !retry.on.statuses.contains(&504)
        && table.item("on").is_some()
        && retry.attempts > 0
    {
        let message = "`try_timeout` without \"timeout\" in `on`";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("an attempt that takes longer ends the request with 504")
                .help("add \"timeout\" to `on`, or remove it: `response_timeout` bounds attempts"),
        );
    }
    if let Some(item) = table.item("attempts")
        && retry.attempts == 0
        && retry.hedge.is_some()
    {
        let message = "`hedge` with `attempts = 0`";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("no second attempt is allowed")
                .help("set `attempts = 1`, or remove `hedge`"),
        );
    }
}

fn conditions(r: &mut Reader<'_>, table: &Table<'_>) -> RetryOn {
    let Some(list) = table.item("on") else {
        return RetryOn {
            connect: true,
            reset: true,
            refused_stream: true,
            ..RetryOn::default()
        };
    };
    let items = r.list(&list).unwrap_or_default();
    if items.is_empty() && list.value.get_ref().is_array() {
        let help = "name what is retried, or set `attempts = 0`";
        no_entries(r, &list, "nothing is retried", help);
    }
    let mut on = RetryOn::default();
    let mut seen: Vec<Spanned<RetryCause>> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(cause) = r.parsed(item, leaf::retry_cause) else {
            continue;
        };
        match cause.value {
            RetryCause::Connect => on.connect = true,
            RetryCause::Reset => on.reset = true,
            RetryCause::RefusedStream => on.refused_stream = true,
            RetryCause::Timeout => on.timeout = true,
            RetryCause::Status(status) => on.statuses.push(status),
            RetryCause::Grpc(status) => on.grpc.push(status),
        }
        add_distinct(r, &mut seen, cause, "cause");
    }
    on
}

fn methods(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<Spanned<Box<str>>> {
    let mut methods = Vec::new();
    for item in table.list(r, "methods") {
        let Some(method) = r.parsed(&item, leaf::method) else {
            continue;
        };
        if IDEMPOTENT.contains(&&*method.value) {
            let message = format!("{} is idempotent as it is", method.value);
            r.report(
                Diagnostic::warning("no-effect", message, method.span)
                    .label("may be sent twice without being listed")
                    .help("remove it"),
            );
        }
        add_distinct(r, &mut methods, method, "method");
    }
    methods
}

/// RFC 9110, section 9.2.2.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
