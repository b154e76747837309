//! Every limit on what a client may cost, with its unit, default, range and reason. Limits of an
//! upstream stand with the upstream; these are the listener's.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::model::{Cap, Rate};
use crate::read::{BURST, Reader, Table, bounded_integer, rate};

/// `[limits]`, or `[listener.limits]` over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or response head, request line and fields included.
    pub head_max: usize,
    /// Fields in a head, and in a trailer section.
    pub headers_max: usize,
    /// Bytes of a request target; less than `head_max`.
    pub uri_max: usize,
    /// Bytes of a request body, after chunked coding is taken off.
    pub body_max: Cap<u64>,
    /// From the first byte of a request head (or the accept) to its end.
    pub header_timeout: Duration,
    /// Between requests of a kept connection.
    pub idle_timeout: Duration,
    /// Between two pieces of a request body.
    pub body_timeout: Duration,
    /// How long a client may take no byte of a response.
    pub send_timeout: Duration,
    /// A whole request, to the last byte of its response; tunnels are exempt.
    pub request_timeout: Cap<Duration>,
    /// How long a tunnel (WebSocket) may pass no byte in either direction.
    pub tunnel_idle_timeout: Cap<Duration>,
    /// A whole tunnel, and a whole connection of a listener that passes bytes on.
    pub tunnel_timeout: Cap<Duration>,
    /// Open connections of the listener, shared out evenly among the workers.
    pub connections_max: NonZeroUsize,
    /// Requests on one connection before it is closed.
    pub requests_per_connection_max: Cap<NonZeroU64>,
    /// Open connections of one client address; 0 is no limit.
    pub connections_per_address_max: u32,
    /// New connections of the listener.
    pub connection_rate: Cap<Rate>,
    /// New connections of one client address.
    pub connection_rate_per_address: Cap<Rate>,
    /// Bytes a second, as a mean of ten seconds, that a client must send of a body and take of an
    /// answer; 0 is no limit.
    pub rate_min: u32,
}

const OFF: Kind = Kind::Choice(&["off"]);

/// The keys of `[limits]` and `[listener.limits]`.
pub(crate) static LIMITS: Section = Section {
    title: "[limits]",
    doc: "What a client may cost. `[listener.limits]` takes the same keys and overrides them for \
          one listener; its defaults are the values here.",
    keys: &[
        Key::default(
            "head_max",
            Kind::Size {
                min: "1KiB",
                max: "64KiB",
            },
            "32KiB",
            "Bytes of a request head, request line and fields together; a longer one gets 431. \
             Response heads have a fixed bound of 64 KiB (502). It bounds the memory that a connection can \
             pin before it has said anything useful; browsers with many cookies stay under 16 KiB.",
        ),
        Key::default(
            "headers_max",
            Kind::Integer { min: 1, max: 256 },
            "100",
            "Fields in a head; more get 431. It bounds work per head that is \
             proportional to the number of fields.",
        ),
        Key::default(
            "uri_max",
            Kind::Size {
                min: "128B",
                max: "64KiB",
            },
            "8KiB",
            "Bytes of a request target; a longer one gets 414. RFC 9110, section 4.1 asks for at \
             least 8000. Must fit into `head_max`; \
             where it is not written beside a shorter `head_max`, it is as long as that allows.",
        ),
        Key::default(
            "body_max",
            Kind::Either(&[
                Kind::Size {
                    min: "0B",
                    max: "1024GiB",
                },
                OFF,
            ]),
            "16MiB",
            "Bytes of a request body; a longer one gets 413. Bodies are streamed, so this guards \
             the origins, not the gateway's memory. Overridden by a route's `body_max`.",
        ),
        Key::default(
            "header_timeout",
            Kind::Duration {
                min: "100ms",
                max: "10m",
            },
            "10s",
            "A whole request head must arrive within this, however steadily it drips; else 408, \
             which ends slow-head attacks. On a new connection it counts from the accept.",
        ),
        Key::default(
            "idle_timeout",
            Kind::Duration {
                min: "100ms",
                max: "24h",
            },
            "75s",
            "How long a kept connection may wait for its next request. Longer than the 60s at \
             which common load balancers drop theirs, so that they close first.",
        ),
        Key::default(
            "body_timeout",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "30s",
            "Longest pause between two pieces of a request body; then 408. It bounds how long a \
             stalled upload holds a connection to an origin.",
        ),
        Key::default(
            "send_timeout",
            Kind::Duration {
                min: "100ms",
                max: "1h",
            },
            "30s",
            "How long a client may take no byte of its response before the connection is closed \
             (noticed within half of it more). A client that stops reading holds buffers here and \
             a connection to an origin.",
        ),
        Key::default(
            "request_timeout",
            Kind::Either(&[
                Kind::Duration {
                    min: "100ms",
                    max: "24h",
                },
                OFF,
            ]),
            "off",
            "A whole request, from its first byte to the last of its response; then 504, or a \
             closed connection when the response has begun. Off by default: every stall is \
             bounded by the limits above, and a fixed total breaks long downloads and event \
             streams. Tunnels are exempt. Overridden by a route's `timeout`.",
        ),
        Key::default(
            "tunnel_idle_timeout",
            Kind::Either(&[
                Kind::Duration {
                    min: "1s",
                    max: "24h",
                },
                OFF,
            ]),
            "5m",
            "How long a tunnel, such as a WebSocket, may pass no byte in either direction. NAT \
             devices forget silent connections without telling either side; clients that ping \
             more often than this keep theirs.",
        ),
        Key::default(
            "tunnel_timeout",
            Kind::Either(&[
                Kind::Duration {
                    min: "1s",
                    max: "30d",
                },
                OFF,
            ]),
            "off",
            "A whole tunnel, such as a WebSocket or a connection that a listener of protocol \
             \"tcp\" or \"tls\" passes on, however busy it is. It makes clients connect anew, and \
             so spread over the workers and origins again.",
        ),
        Key::default(
            "connections_max",
            Kind::Integer {
                min: 1,
                max: 10_000_000,
            },
            "100000",
            "Open connections of one listener, over all workers; a connection beyond it gets 503 \
             and is closed. It bounds file descriptors and memory.",
        ),
        Key::default(
            "requests_per_connection_max",
            Kind::Either(&[
                Kind::Integer {
                    min: 1,
                    max: 1_000_000_000,
                },
                OFF,
            ]),
            "10000",
            "Requests on one connection before it is closed in an orderly way, so that clients \
             spread over the workers again.",
        ),
        Key::default(
            "connections_per_address_max",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "0",
            "Open connections of one client address to one listener, over all workers; one more \
             is closed at once. 0 is no limit. Of IPv6 the /64 counts. Behind a PROXY protocol \
             header the address in it counts. Many clients may share an address.",
        ),
        Key::default(
            "connection_rate",
            RATE_OR_OFF,
            "off",
            "New connections of one listener; those beyond it are closed at once. It bounds the \
             work of handshakes.",
        ),
        Key::default(
            "connection_rate_per_address",
            RATE_OR_OFF,
            "off",
            "New connections of one client address to one listener; those beyond it are closed at \
             once.",
        ),
        Key::default(
            "rate_min",
            Kind::Size {
                min: "0B",
                max: "1MiB",
            },
            "0B",
            "Bytes a second that a client must send of a request's body, and take of an answer, as \
             a mean of ten seconds; a slower one gets 408, or its connection is closed. \"0B\" is \
             no limit. Drips that keep the timeouts above from ending end here.",
        ),
    ],
};

const RATE_OR_OFF: Kind = Kind::Either(&[Kind::Table(&CONNECTION_RATE), OFF]);

static CONNECTION_RATE: Section = Section {
    title: "a rate of connections",
    doc: "So many connections in some time.",
    keys: &[
        Key::required(
            "limit",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "Connections that `per` allows.",
        ),
        Key::required(
            "per",
            Kind::Duration {
                min: "1ms",
                max: "1d",
            },
            "The time that `limit` is for.",
        ),
        Key::default(
            "burst",
            BURST,
            "0",
            "Connections that may come at once; 0 is 1: they come evenly spread then.",
        ),
    ],
};

impl Default for Limits {
    fn default() -> Self {
        let bytes = |key| usize::try_from(LIMITS.default_size(key)).unwrap_or(usize::MAX);
        let count = |key| usize::try_from(LIMITS.default_integer(key)).unwrap_or(usize::MAX);
        let requests = NonZeroU64::new(
            LIMITS
                .default_integer("requests_per_connection_max")
                .unsigned_abs(),
        );
        Self {
            head_max: bytes("head_max"),
            headers_max: count("headers_max"),
            uri_max: bytes("uri_max"),
            body_max: Cap::At(LIMITS.default_size("body_max")),
            header_timeout: LIMITS.default_duration("header_timeout"),
            idle_timeout: LIMITS.default_duration("idle_timeout"),
            body_timeout: LIMITS.default_duration("body_timeout"),
            send_timeout: LIMITS.default_duration("send_timeout"),
            request_timeout: Cap::Off,
            tunnel_idle_timeout: Cap::At(LIMITS.default_duration("tunnel_idle_timeout")),
            tunnel_timeout: Cap::Off,
            connections_max: NonZeroUsize::new(count("connections_max"))
                .unwrap_or(NonZeroUsize::MIN),
            requests_per_connection_max: requests.map_or(Cap::Off, Cap::At),
            connections_per_address_max: 0,
            connection_rate: Cap::Off,
            connection_rate_per_address: Cap::Off,
            rate_min: 0,
        }
    }
}

impl Limits {
    /// These limits with what a table says in their place.
    pub(crate) fn overridden(mut self, r: &mut Reader<'_>, table: &Table<'_>) -> Self {
        let set = |place: &mut usize, value: Option<u64>| {
            if let Some(value) = value {
                *place = usize::try_from(value).unwrap_or(usize::MAX);
            }
        };
        set(&mut self.head_max, table.size(r, "head_max"));
        set(&mut self.uri_max, table.size(r, "uri_max"));
        let headers = table.integer(r, "headers_max").map(i64::unsigned_abs);
        set(&mut self.headers_max, headers);
        replace(&mut self.body_max, table.size_cap(r, "body_max"));
        for (place, key) in [
            (&mut self.header_timeout, "header_timeout"),
            (&mut self.idle_timeout, "idle_timeout"),
            (&mut self.body_timeout, "body_timeout"),
            (&mut self.send_timeout, "send_timeout"),
        ] {
            replace(place, table.deadline(r, key));
        }
        replace(
            &mut self.request_timeout,
            table.deadline_cap(r, "request_timeout"),
        );
        let tunnel = table.deadline_cap(r, "tunnel_idle_timeout");
        replace(&mut self.tunnel_idle_timeout, tunnel);
        let tunnel = table.deadline_cap(r, "tunnel_timeout");
        replace(&mut self.tunnel_timeout, tunnel);
        let connections = table
            .integer(r, "connections_max")
            .and_then(|count| usize::try_from(count).ok().and_then(NonZeroUsize::new));
        replace(&mut self.connections_max, connections);
        let requests = table.item("requests_per_connection_max").and_then(|item| {
            r.cap(&item, |r, item| {
                bounded_integer(r, item).and_then(|count| NonZeroU64::new(count.unsigned_abs()))
            })
        });
        replace(&mut self.requests_per_connection_max, requests);
        self.read_arrivals(r, table);
        if table.item("uri_max").is_none() {
            // A shorter head needs no second key: no longer target could be in it.
            let fitting = self.head_max.saturating_sub(REQUEST_LINE_REST);
            self.uri_max = self.uri_max.min(fitting);
        }
        self.check(r, table);
        self
    }

    /// What holds for connections as they come, and for clients that are slow.
    fn read_arrivals(&mut self, r: &mut Reader<'_>, table: &Table<'_>) {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let count = table.integer(r, "connections_per_address_max");
        let count = count.map(|count| number(count.unsigned_abs()));
        replace(&mut self.connections_per_address_max, count);
        for (place, key) in [
            (&mut self.connection_rate, "connection_rate"),
            (
                &mut self.connection_rate_per_address,
                "connection_rate_per_address",
            ),
        ] {
            let read = table.item(key).and_then(|item| {
                r.cap(&item, |r, item| {
                    let table = r.open(item, &CONNECTION_RATE)?;
                    let rate = rate(r, &table)?;
                    check_rate(r, &table, &rate);
                    Some(rate)
                })
            });
            replace(place, read);
        }
        replace(&mut self.rate_min, table.size(r, "rate_min").map(number));
    }

    /// Reports limits that contradict each other, at the keys of the table that caused it.
    fn check(&self, r: &mut Reader<'_>, table: &Table<'_>) {
        let at = |keys: [&'static str; 2]| {
            let written = keys.into_iter().find_map(|key| table.item(key));
            written.map(|item| item.span())
        };
        if let Some(span) = at(["uri_max", "head_max"])
            && self.uri_max.saturating_add(REQUEST_LINE_REST) > self.head_max
        {
            let message = "`uri_max` does not fit into `head_max`";
            r.report(
                Diagnostic::error("impossible-limit", message, span)
                    .label(format!(
                        "here `uri_max` is {} and `head_max` {}",
                        crate::units::show_size(self.uri_max as u64),
                        crate::units::show_size(self.head_max as u64),
                    ))
                    .help("a head holds the target and the fields: make `head_max` larger or `uri_max` smaller"),
            );
        }
        self.check_tunnels(r, table);
        let Cap::At(total) = self.request_timeout else {
            return;
        };
        for (key, part) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("send_timeout", self.send_timeout),
        ] {
            // A default is nobody's mistake: the shorter total simply comes first.
            let is_default = table.item(key).is_none() && part == LIMITS.default_duration(key);
            if let Some(span) = at([key, "request_timeout"])
                && !is_default
                && part > total
            {
                let message = format!("`{key}` never takes effect: `request_timeout` is shorter");
                r.report(
                    Diagnostic::warning("impossible-limit", message, span)
                        .label(format!(
                            "here `{key}` is {} and `request_timeout` {}",
                            crate::units::show_duration(part),
                            crate::units::show_duration(total),
                        ))
                        .help(format!("make `{key}` shorter or `request_timeout` longer")),
                );
            }
        }
    }
}

impl Limits {
    fn check_tunnels(&self, r: &mut Reader<'_>, table: &Table<'_>) {
        let (Cap::At(total), Cap::At(idle)) = (self.tunnel_timeout, self.tunnel_idle_timeout)
        else {
            return;
        };
        if let Some(item) = table.item("tunnel_idle_timeout")
            && idle > total
        {
            let message = "`tunnel_idle_timeout` never takes effect: `tunnel_timeout` is shorter";
            r.report(
                Diagnostic::warning("impossible-limit", message, item.span())
                    .label(format!(
                        "here `tunnel_idle_timeout` is {} and `tunnel_timeout` {}",
                        crate::units::show_duration(idle),
                        crate::units::show_duration(total),
                    ))
                    .help("make the first shorter or the second longer"),
            );
        }
    }
}

/// A burst that takes days to come back is none, and times shorter than a microsecond cannot be
/// told apart.
fn check_rate(r: &mut Reader<'_>, table: &Table<'_>, rate: &Rate) {
    const DAY: u128 = 86_400_000;
    let per = rate.per.as_millis();
    let refill = u128::from(rate.burst) * per / u128::from(rate.limit);
    if refill > DAY {
        r.report(
            Diagnostic::error(
                "impossible-limit",
                "this burst takes more than a day to come back",
                table.span_of("burst"),
            )
            .label(format!(
                "here {} come back in {}",
                rate.limit,
                crate::units::show_duration(rate.per)
            ))
            .help("make `burst` smaller or `limit` larger"),
        );
    }
    if per * 1000 < u128::from(rate.limit) {
        r.report(
            Diagnostic::error(
                "impossible-limit",
                "more than one connection in a microsecond",
                table.span_of("limit"),
            )
            .label("no machine takes as many")
            .help("make `limit` smaller or `per` longer"),
        );
    }
}

/// What a request line has beside its target: a method, the version, spaces and the line end.
const REQUEST_LINE_REST: usize = 32;

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}
