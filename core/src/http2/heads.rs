//! Our heads as the `h2` crate takes them: start lines as values, fields as a map.

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};

use crate::http::h2::fields_of;
use crate::outgoing::Upgrade;

/// What the start line of a request says.
pub(crate) struct Started<'s> {
    pub(crate) method: &'s [u8],
    pub(crate) scheme: Scheme,
    pub(crate) authority: &'s [u8],
    pub(crate) path: &'s [u8],
    pub(crate) query: Option<&'s [u8]>,
    pub(crate) upgrade: Upgrade,
}

impl Started<'_> {
    /// The head with these lines; none when a stream cannot carry its start.
    pub(crate) fn with(&self, lines: &[u8]) -> Option<Request<()>> {
        let mut target =
            Vec::with_capacity(self.path.len() + self.query.map_or(0, <[u8]>::len) + 1);
        target.extend_from_slice(self.path);
        if let Some(query) = self.query {
            target.push(b'?');
            target.extend_from_slice(query);
        }
        let path = PathAndQuery::from_maybe_shared(Bytes::from(target)).ok()?;
        let authority =
            Authority::from_maybe_shared(Bytes::copy_from_slice(self.authority)).ok()?;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(self.scheme.clone());
        uri.authority = Some(authority);
        uri.path_and_query = Some(path);
        let mut head = Request::new(());
        *head.uri_mut() = Uri::from_parts(uri).ok()?;
        *head.headers_mut() = fields_of(lines);
        *head.version_mut() = Version::HTTP_2;
        *head.method_mut() = match self.upgrade {
            Upgrade::NotAsked => Method::from_bytes(self.method).ok()?,
            // RFC 8441, 4: what an upgrade is on a stream.
            Upgrade::Asked => {
                let websocket = h2::ext::Protocol::from_static("websocket");
                head.extensions_mut().insert(websocket);
                Method::CONNECT
            }
        };
        Some(head)
    }
}

/// The head of a response with these lines. A switch of protocols is a plain success there.
pub(crate) fn response(status: u16, lines: &[u8]) -> Response<()> {
    let mut head = Response::new(());
    let status = if status == 101 { 200 } else { status };
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *head.headers_mut() = fields_of(lines);
    *head.version_mut() = Version::HTTP_2;
    head
}
