//! Tests of the translation as a whole: what is accepted and how it reads, what is refused and
//! why, and that nothing of it can pass for more than one message.
#![allow(clippy::unwrap_used)]

mod fuzzed;
mod guard;
mod map;
mod rejected;
mod requests;
mod responses;

use http::{HeaderName, HeaderValue};

use crate::http::Fields;
use crate::http::h1::{HeadError, HeadLimits};
use crate::http::h2::{End, read_request};
use crate::http::head::RequestHead;

type Line<'a> = (&'a str, &'a str);

/// The parts as the codec makes them: a URI of scheme, authority and path.
fn parts(method: &str, uri: &str, fields: &[Line<'_>]) -> http::request::Parts {
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .version(http::Version::HTTP_2);
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    for (name, value) in fields {
        parts.headers.append(
            HeaderName::from_lowercase(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    parts
}

fn request_with(
    parts: &http::request::Parts,
    protocol: Option<&str>,
    end: End,
    limits: &HeadLimits,
) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::default();
    read_request(parts, protocol, end, limits, &mut head)?;
    Ok(head)
}

fn request(
    method: &str,
    uri: &str,
    fields: &[Line<'_>],
    end: End,
) -> Result<RequestHead, HeadError> {
    request_with(
        &parts(method, uri, fields),
        None,
        end,
        &HeadLimits::default(),
    )
}

fn lines(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn pairs(lines: &[Line<'_>]) -> Vec<(String, String)> {
    let own = |(name, value): &Line<'_>| ((*name).to_owned(), (*value).to_owned());
    lines.iter().map(own).collect()
}
