//! `[[oauth_client]]` and `type = "client_credentials"`.

use super::filter::TYPE;
use super::reader::Reader;
use super::table::Table;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{ClientCredentialsIn, FilterKind, OauthClient, OriginToken, Secret};

/// Of whoever has a secret with a server.
pub(super) const CLIENT_ID: Key = Key::required(
    "client_id",
    Kind::Text("a text"),
    "What the server calls the gateway.",
);

/// Of whoever has a secret with a server.
pub(super) const CLIENT_SECRET: Key = Key::required(
    "client_secret",
    Kind::Secret("a text, best \"${env:NAME}\""),
    "What proves it. It is never shown.",
);

/// Of whoever has a secret with a server.
pub(super) const CLIENT_AUTH: Key = Key::default(
    "credentials_in",
    Kind::Choice(ClientCredentialsIn::WORDS),
    "basic",
    "How both are sent: in `Authorization` (client_secret_basic), or in the form \
     (client_secret_post).",
);

pub(crate) static OAUTH_CLIENT: Section = Section {
    title: "[[oauth_client]]",
    doc: "What the gateway is to an authorisation server that gives it tokens for origins, by the \
          client credentials grant (RFC 6749, section 4.4). The token is got ahead of time and \
          replaced before it ends.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(super::upstream::NAME),
            "Unique among them; filters refer to it.",
        ),
        Key::required(
            "token_url",
            Kind::Text("a URL such as \"https://issuer.example/token\""),
            "The server's token endpoint.",
        ),
        CLIENT_ID,
        CLIENT_SECRET,
        CLIENT_AUTH,
        Key::default(
            "scopes",
            Kind::List(&Kind::Text("a word")),
            "[]",
            "What the token is to allow; with none the server chooses.",
        ),
        Key::optional(
            "audience",
            Kind::Text("a text"),
            "Whom the token is for, at servers that know `audience`.",
        ),
        Key::optional(
            "resource",
            Kind::Text("a URI"),
            "Whom the token is for (RFC 8707).",
        ),
        Key::optional(
            "ca",
            Kind::Text("the path of a PEM file"),
            "Roots that the server's certificate is checked with, in place of the system's.",
        ),
        Key::default(
            "timeout",
            Kind::Duration {
                min: "100ms",
                max: "1m",
            },
            "5s",
            "For a whole exchange with the server.",
        ),
    ],
};

pub(crate) static CLIENT_CREDENTIALS: Section = Section {
    title: "[filter.NAME] of type \"client_credentials\"",
    doc: "Sends the gateway's own token to the origin, in place of whatever the client sent in \
          that header. While there is no token, requests get 503. Filters that look at the \
          client's credentials come first.",
    keys: &[
        TYPE,
        Key::required(
            "client",
            Kind::Text("the name of an oauth_client"),
            "Whose token is sent.",
        ),
        Key::default(
            "header",
            Kind::Text("a header name"),
            "authorization",
            "The header that gets `Bearer` and the token.",
        ),
    ],
};

/// `client_id`, `client_secret` and `credentials_in`.
pub(super) fn credentials(
    r: &mut Reader<'_>,
    table: &Table<'_>,
) -> Option<(Box<str>, Secret, ClientCredentialsIn)> {
    let id = table.required(r, "client_id");
    let id = id.and_then(|item| r.parsed(&item, leaf::visible_text));
    let secret = table.required(r, "client_secret");
    let secret = secret.and_then(|item| r.hidden(&item, leaf::visible_text));
    Some((
        id?.value,
        Secret(secret?.value),
        table.word_or_default(r, "credentials_in"),
    ))
}

pub(super) fn oauth_client(r: &mut Reader<'_>, table: &Table<'_>) -> Option<OauthClient> {
    let name = table.required(r, "name");
    let name = name.and_then(|item| r.name(&item));
    let url = table.required(r, "token_url");
    let url = url.and_then(|item| r.parsed(&item, leaf::token_url));
    if let Some(url) = &url
        && url.value.starts_with("http://")
        && !leaf::is_loopback_url(&url.value)
    {
        let message = "the gateway's credentials travel unencrypted";
        r.report(
            Diagnostic::warning("plain-http", message, url.span)
                .label("anybody on the way can read them, and the token")
                .help("write an https URL"),
        );
    }
    let credentials = credentials(r, table);
    let mut scopes = Vec::new();
    for item in table.list(r, "scopes") {
        scopes.extend(r.parsed(&item, leaf::scope).map(|scope| scope.value));
    }
    let mut text = |key| {
        table
            .parsed(r, key, leaf::visible_text)
            .map(|text| text.value)
    };
    let (audience, resource) = (text("audience"), text("resource"));
    let ca = table.file(r, "ca");
    let timeout = table.duration_or_default(r, "timeout");
    let (client_id, client_secret, client_auth) = credentials?;
    Some(OauthClient {
        name: name?,
        token_url: url?,
        client_id,
        client_secret,
        client_auth,
        scopes,
        audience,
        resource,
        ca,
        timeout,
    })
}

pub(super) fn client_credentials(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let client = table.required(r, "client");
    let client = client.and_then(|item| r.name(&item));
    let header = match table.item("header") {
        None => Box::from(CLIENT_CREDENTIALS.default_text("header")),
        Some(item) => {
            let name = r.parsed(&item, leaf::header_name)?;
            if !super::filter::is_touchable(r, &name) {
                return None;
            }
            name.value
        }
    };
    Some(FilterKind::OriginToken(OriginToken {
        client: client?,
        header,
    }))
}
