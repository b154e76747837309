//! `[acme]`.

use super::listener::PEM;
use super::reader::Reader;
use super::table::Table;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{Acme, Challenge};
use crate::span::Spanned;

pub(crate) static ACME: Section = Section {
    title: "[acme]",
    doc: "Orders the certificates of listeners' `acme` names from an authority (RFC 8555) and \
          renews them. Paths are relative to the file that has them.",
    keys: &[
        Key::default(
            "directory",
            Kind::Text("an https:// URL"),
            "https://acme-v02.api.letsencrypt.org/directory",
            "The authority's directory; Let's Encrypt's by default. While you try things out, use \
             its staging one: https://acme-staging-v02.api.letsencrypt.org/directory.",
        ),
        Key::default(
            "contact",
            Kind::List(&Kind::Text("a mail address")),
            "[]",
            "Mail addresses that the authority may write to about the account.",
        ),
        Key::required(
            "storage",
            Kind::Text("the path of a directory"),
            "Keeps the account's key and the certificates with theirs. It is made when it is not \
             there, for the owner only.",
        ),
        Key::default(
            "challenge",
            Kind::Choice(Challenge::WORDS),
            "http-01",
            "How it is shown that a name is ours: \"http-01\" by an answer to a request on port 80, \
             \"tls-alpn-01\" in a handshake on port 443. That port of each name must lead here.",
        ),
        Key::optional(
            "ca",
            PEM,
            "The authorities that the directory server's own certificate may come from, for an \
             authority within one's own walls; the system's without it.",
        ),
        Key::default(
            "renew_before",
            Kind::Duration {
                min: "1m",
                max: "365d",
            },
            "30d",
            "How long before its end a certificate is renewed; when a third of its life is left, \
             if that is later.",
        ),
        Key::required(
            "terms_agreed",
            Kind::Bool,
            "Must be `true`: you have read the authority's terms of service and agree to them.",
        ),
    ],
};

pub(crate) fn acme(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Acme> {
    let directory = table.parsed(r, "directory", leaf::directory_url);
    let mut contact = Vec::new();
    for item in table.list(r, "contact") {
        contact.extend(r.parsed(&item, leaf::contact));
    }
    let storage = table.required(r, "storage");
    let storage = storage.and_then(|item| super::table::file_path(r, &item));
    let challenge = table.item("challenge");
    let challenge = challenge.and_then(|item| r.word::<Challenge>(&item));
    let ca = table.file(r, "ca");
    let renew_before = table.duration_or_default(r, "renew_before");
    let agreed = table.required(r, "terms_agreed");
    if let Some(item) = agreed
        && r.boolean(&item) == Some(false)
    {
        let message = "no certificate can be ordered without agreeing to the authority's terms";
        r.report(
            Diagnostic::error("terms-not-agreed", message, item.span())
                .label("must be `true`")
                .help("read the terms that the directory links to, then set it to `true`"),
        );
    }
    let or_default = |key| Box::from(ACME.default_text(key));
    let otherwise = || Spanned::new(ACME.default_word("challenge"), table.span);
    Some(Acme {
        directory: directory.unwrap_or_else(|| Spanned::new(or_default("directory"), table.span)),
        contact,
        storage: storage?,
        challenge: challenge.unwrap_or_else(otherwise),
        ca,
        renew_before,
    })
}
