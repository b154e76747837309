//! Bounds of HTTP/2 connections, on both sides.

use std::num::NonZeroU32;

use super::reader::Reader;
use super::table::{Table, bounded_integer};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::{Cap, Http2, UpstreamHttp2};

/// The bounds of RFC 9113, section 6.9.2: none smaller than the initial window, which is what a
/// peer may send before it knows better, and none larger than the largest.
const WINDOW: Kind = Kind::Size {
    min: "65535B",
    max: "2147483647B",
};

const COUNT: Kind = Kind::Integer {
    min: 1,
    max: 1_000_000,
};

pub(crate) static LISTENER_HTTP2: Section = Section {
    title: "[listener.http2]",
    doc: "What a client's HTTP/2 connection may cost. A connection beyond one of the budgets, each \
          for ten seconds, ends with GOAWAY and ENHANCE_YOUR_CALM.",
    keys: &[
        Key::default(
            "streams_max",
            COUNT,
            "128",
            "Requests at a time. RFC 9113, section 6.5.2 asks for at least 100.",
        ),
        Key::default(
            "stream_window",
            WINDOW,
            "256KiB",
            "Bytes of one request's body that may be under way and not yet taken by the origin. \
             An upload goes no faster than this for each round trip.",
        ),
        Key::default(
            "connection_window",
            WINDOW,
            "1MiB",
            "Bytes of all request bodies of a connection together that may be so. It bounds the \
             memory that a connection can fill.",
        ),
        Key::default(
            "resets_max",
            COUNT,
            "200",
            "Requests that the client may cancel: rapid reset, CVE-2023-44487.",
        ),
        Key::default("pings_max", COUNT, "100", "PING frames."),
        Key::default("settings_max", COUNT, "50", "SETTINGS frames."),
        Key::default(
            "empty_frames_max",
            COUNT,
            "200",
            "Frames that carry nothing: DATA without bytes, PRIORITY, and unknown ones.",
        ),
        Key::default(
            "requests_per_second_max",
            Kind::Either(&[
                Kind::Integer {
                    min: 1,
                    max: 1_000_000_000,
                },
                Kind::Choice(&["off"]),
            ]),
            "off",
            "Requests that a connection may begin within a second.",
        ),
    ],
};

pub(crate) static UPSTREAM_HTTP2: Section = Section {
    title: "[upstream.http2]",
    doc: "HTTP/2 connections to an origin, for each worker and endpoint.",
    keys: &[
        Key::default(
            "connections_max",
            Kind::Integer {
                min: 1,
                max: 65_535,
            },
            "8",
            "Connections at a time. Another one is opened when all streams of the others are \
             taken.",
        ),
        Key::default(
            "streams_max",
            COUNT,
            "100",
            "Requests on one connection at a time, if the origin takes as many.",
        ),
        Key::default(
            "stream_window",
            WINDOW,
            "256KiB",
            "Bytes of one response's body that may be under way and not yet taken by the client.",
        ),
        Key::default(
            "connection_window",
            WINDOW,
            "1MiB",
            "Bytes of all response bodies of a connection together that may be so.",
        ),
    ],
};

pub(super) fn listener(r: &mut Reader<'_>, listener: &Table<'_>) -> Http2 {
    let table = listener.table_or_empty(r, "http2", &LISTENER_HTTP2);
    let requests = table.item("requests_per_second_max").and_then(|item| {
        r.cap(&item, |r, item| {
            let count = bounded_integer(r, item)?;
            u32::try_from(count).ok().and_then(NonZeroU32::new)
        })
    });
    let (stream_window, connection_window) = windows(r, &table);
    Http2 {
        streams_max: count(r, &table, "streams_max"),
        stream_window,
        connection_window,
        resets_max: count(r, &table, "resets_max"),
        pings_max: count(r, &table, "pings_max"),
        settings_max: count(r, &table, "settings_max"),
        empty_frames_max: count(r, &table, "empty_frames_max"),
        requests_per_second_max: requests.unwrap_or(Cap::Off),
    }
}

pub(super) fn upstream(r: &mut Reader<'_>, upstream: &Table<'_>) -> UpstreamHttp2 {
    let table = upstream.table_or_empty(r, "http2", &UPSTREAM_HTTP2);
    let (stream_window, connection_window) = windows(r, &table);
    UpstreamHttp2 {
        connections_max: count(r, &table, "connections_max"),
        streams_max: count(r, &table, "streams_max"),
        stream_window,
        connection_window,
    }
}

fn count(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> u32 {
    u32::try_from(table.integer_or_default(r, key)).unwrap_or(u32::MAX)
}

/// The windows of a stream and of a connection. One stream cannot have more than all together.
fn windows(r: &mut Reader<'_>, table: &Table<'_>) -> (u32, u32) {
    let bytes =
        |r: &mut Reader<'_>, key| u32::try_from(table.size_or_default(r, key)).unwrap_or(u32::MAX);
    let stream = bytes(r, "stream_window");
    let connection = bytes(r, "connection_window");
    let written = table
        .item("stream_window")
        .or(table.item("connection_window"));
    if let Some(item) = written
        && stream > connection
    {
        let message = "`stream_window` never takes effect: `connection_window` is smaller";
        let shown = |bytes: u32| crate::units::show_size(u64::from(bytes));
        r.report(
            Diagnostic::warning("impossible-limit", message, item.span())
                .label(format!(
                    "here `stream_window` is {} and `connection_window` {}",
                    shown(stream),
                    shown(connection)
                ))
                .help("make `connection_window` at least as large"),
        );
    }
    (stream, connection)
}
