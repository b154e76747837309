//! `sticky` of an upstream.

use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Secret, Sticky};
use crate::read::reader::Reader;
use crate::read::table::Table;

pub(crate) static STICKY: Section = Section {
    title: "`sticky` of [[upstream]]",
    doc: "A cookie that keeps a client with the endpoint that answered it first, while that one is \
          available. Its value names the endpoint and is signed, so that clients cannot pick one.",
    keys: &[
        Key::default(
            "cookie",
            Kind::Text("the name of a cookie"),
            "ringgate-node",
            "The cookie's name. Upstreams of one host need different ones.",
        ),
        Key::required(
            "secret",
            Kind::Secret("a text of at least 16 bytes, best \"${env:NAME}\""),
            "What the cookie is signed with, the same on all nodes. It is never shown.",
        ),
        Key::optional(
            "max_age",
            Kind::Duration {
                min: "1s",
                max: "400d",
            },
            "How long a client stays; it is in the signed value too. Without it the cookie is one \
             of the browser's session.",
        ),
        Key::default(
            "secure",
            Kind::Bool,
            "false",
            "Whether browsers send the cookie over TLS only. Set it where clients come by \
             https:// alone.",
        ),
    ],
};

/// Reads `sticky`; `None` without it, or without a secret.
pub(crate) fn sticky(r: &mut Reader<'_>, upstream: &Table<'_>) -> Option<Sticky> {
    let table = upstream.table(r, "sticky")?;
    let cookie = table.parsed(r, "cookie", leaf::cookie_name);
    let secret = table.required(r, "secret");
    let secret = secret.and_then(|item| r.hidden(&item, leaf::signing_secret));
    let max_age = table.duration(r, "max_age");
    let secure = table.bool_or_default(r, "secure");
    Some(Sticky {
        cookie: cookie.map_or_else(
            || Box::from(STICKY.default_text("cookie")),
            |cookie| cookie.value,
        ),
        secret: Secret(secret?.value),
        max_age,
        secure,
    })
}
