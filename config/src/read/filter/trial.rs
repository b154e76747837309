//! Filters for trials and for breaks: `fault` and `maintenance`.

use super::TYPE;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{FaultFilter, Field, FilterKind, Maintenance};
use crate::read::reader::Reader;
use crate::read::table::{Table, bounded_integer};
use crate::span::Spanned;

pub(super) static FAULT: Section = Section {
    title: "[filter.NAME] of type \"fault\"",
    doc: "Faults on purpose, to see how clients and callers take them: some requests wait, some \
          get an error. One request gets one of the two, the error before the delay.",
    keys: &[
        TYPE,
        Key::optional(
            "delay",
            Kind::Duration {
                min: "1ms",
                max: "1m",
            },
            "How long requests wait before they go on.",
        ),
        Key::default(
            "delay_share",
            SHARE,
            "1.0",
            "Share of the requests that wait, at random.",
        ),
        Key::optional(
            "abort",
            Kind::Integer { min: 400, max: 599 },
            "The status that requests get without reaching the origin.",
        ),
        Key::default(
            "abort_share",
            SHARE,
            "0.0",
            "Share of the requests that get it, at random.",
        ),
        Key::optional(
            "header",
            Kind::Text("a header name such as \"x-fault\""),
            "When it is set, only requests that have this header are meant: a trial among real \
             traffic.",
        ),
    ],
};

const SHARE: Kind = Kind::Ratio { min: 0.0, max: 1.0 };

pub(super) static MAINTENANCE: Section = Section {
    title: "[filter.NAME] of type \"maintenance\"",
    doc: "Answers 503 with `Retry-After` in place of the origin, but for those who may look \
          already.",
    keys: &[
        TYPE,
        Key::default(
            "enabled",
            Kind::Bool,
            "true",
            "Whether it is on; it can stay in the file for the next time.",
        ),
        Key::default(
            "allow",
            Kind::List(&Kind::Text("an IP network, such as \"10.0.0.0/8\"")),
            "[]",
            "Clients that pass.",
        ),
        Key::optional(
            "header",
            Kind::Table(&PASS),
            "A request header that passes, for people who look at what comes.",
        ),
        Key::default(
            "retry_after",
            Kind::Duration {
                min: "0s",
                max: "30d",
            },
            "60s",
            "What `Retry-After` says, in seconds.",
        ),
        Key::default(
            "body",
            Kind::Text("a string"),
            "",
            "What the answer says; without it the gateway's own words for 503.",
        ),
        Key::default(
            "content_type",
            Kind::Text("a media type such as \"text/html\""),
            "text/plain; charset=utf-8",
            "`Content-Type` of the body.",
        ),
    ],
};

static PASS: Section = Section {
    title: "`header` of a maintenance filter",
    doc: "A header and its value, which is a kind of password.",
    keys: &[
        Key::required("name", Kind::Text("a header name"), "The header's name."),
        Key::required(
            "value",
            Kind::Secret("a header value, best \"${env:NAME}\""),
            "The whole value that it must have. It is never shown.",
        ),
    ],
};

pub(super) fn fault(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let delay = table.duration(r, "delay");
    let abort = table.item("abort");
    let status = abort.and_then(|item| bounded_integer(r, &item));
    let filter = FaultFilter {
        delay,
        delay_share: table.ratio_or_default(r, "delay_share"),
        abort: status.and_then(|status| u16::try_from(status).ok()),
        abort_share: table.ratio_or_default(r, "abort_share"),
        header: table
            .parsed(r, "header", leaf::header_name)
            .map(|name| name.value),
    };
    for (share, of) in [("delay_share", "delay"), ("abort_share", "abort")] {
        if let Some(span) = table.key_span(share)
            && table.item(of).is_none()
        {
            let message = format!("`{share}` without `{of}`");
            r.report(
                Diagnostic::error("missing-key", message, span)
                    .label("says nothing of what happens")
                    .help(format!("add `{of}`, or remove it")),
            );
        }
    }
    if let Some(item) = abort
        && filter.abort_share <= 0.0
        && filter.abort.is_some()
    {
        r.report(
            Diagnostic::warning("no-effect", "`abort` without a share", item.span())
                .label("`abort_share` is 0: no request gets it")
                .help("add for example abort_share = 0.1"),
        );
    }
    if table.item("delay").is_none() && abort.is_none() {
        r.report(
            Diagnostic::error("no-effect", "a fault filter that does nothing", table.span)
                .label("neither `delay` nor `abort` is written")
                .help("add for example delay = \"100ms\""),
        );
        return None;
    }
    Some(FilterKind::Fault(filter))
}

pub(super) fn maintenance(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let mut allow = Vec::new();
    for item in table.list(r, "allow") {
        let network = r.parsed(&item, leaf::network);
        if let Some(net) = network.as_ref().filter(|net| net.value.prefix_len() == 0) {
            let message = "maintenance that every client passes";
            r.report(
                Diagnostic::warning("no-effect", message, net.span)
                    .label("this network is the whole internet")
                    .help("name the networks of those who may pass, or set `enabled = false`"),
            );
        }
        allow.extend(network);
    }
    let header = table.table(r, "header").map(|table| pass(r, &table));
    let body = table.text(r, "body");
    let body = body.map(|body| body.value.value).unwrap_or_default();
    let written = table.parsed(r, "content_type", leaf::header_value);
    if let Some(item) = table.item("content_type")
        && body.is_empty()
    {
        let message = "`content_type` without `body`";
        r.report(
            Diagnostic::warning("no-effect", message, item.span())
                .label("the gateway's own words have a type of their own")
                .help("remove it, or add `body`"),
        );
    }
    let usual = || Box::from(MAINTENANCE.default_text("content_type"));
    let filter = Maintenance {
        enabled: table.bool_or_default(r, "enabled"),
        allow,
        header: match header {
            Some(None) => return None,
            Some(pass) => pass,
            None => None,
        },
        retry_after: table.duration_or_default(r, "retry_after"),
        content_type: (!body.is_empty())
            .then(|| written.map_or_else(usual, |written| written.value)),
        body,
    };
    Some(FilterKind::Maintenance(Box::new(filter)))
}

fn pass(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Field> {
    let name = table.required(r, "name");
    let name = name.and_then(|item| r.parsed(&item, leaf::header_name));
    let value = table.required(r, "value");
    let value = value.and_then(|item| r.hidden(&item, leaf::pass_value))?;
    Some(Field {
        name: name?,
        value: Spanned::new(value.value, value.span),
    })
}
