//! Responses: the codec's parts to the flat head.

use http::response::Parts;

use crate::http::h1::HeadError;
use crate::http::h1::rules;
use crate::http::h2::End;
use crate::http::h2::text::{Size, Text};
use crate::http::head::{BodyLen, ResponseHead, ResponseKind};
use crate::http::known::Known;
use crate::http::limits::HEADERS_MAX;
use crate::http::method::{Method, Version};

/// Makes the flat head of a response to a request with `method`. `head` is expected clear, and
/// is unspecified after an error. Bytes are bounded by the codec's limit of a header list.
///
/// # Errors
/// What RFC 9113, section 8, calls malformed, and what the parser of HTTP/1.1 refuses.
pub fn read_response(
    parts: &Parts,
    method: Method,
    end: End,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    head.version = Version::Http2;
    head.status = parts.status.as_u16();
    // RFC 9113, 8.6 and 8.1: no 101; what is interim does not end the stream.
    let final_ = match head.kind() {
        ResponseKind::Switch => return Err(HeadError::StatusLine),
        ResponseKind::Interim if end == End::Ended => return Err(HeadError::StatusLine),
        kind => kind == ResponseKind::Final,
    };
    let size = Size::of(&parts.headers);
    if size.lines > HEADERS_MAX {
        return Err(HeadError::TooManyFields);
    }
    let mut text = Text::with_room(size.bytes);
    head.fields.reserve(size.lines);
    let hop = text.put_fields(&parts.headers, &rules::OF_RESPONSE, &mut head.fields)?;
    let told = hop.response_framing(Version::Http2, head.status, method)?;
    let bodiless = ResponseHead::is_bodiless(head.status, method);
    head.framing = match (told, end) {
        _ if bodiless => BodyLen::None,
        (BodyLen::Length(1..), End::Ended) => return Err(HeadError::ContentLength),
        (BodyLen::Length(length), _) => BodyLen::Length(length),
        (_, End::Ended) => BodyLen::Length(0),
        (_, End::Follows) => BodyLen::Chunked,
    };
    if !final_ || head.status == 204 || (method == Method::Connect && head.status / 100 == 2) {
        // RFC 9110, 8.6: no Content-Length there; an origin's is not passed on.
        head.fields.remove_known(Known::ContentLength);
    }
    head.fields.put_text(text.into_block());
    Ok(())
}

/// Turns the 2xx that takes an extended CONNECT (RFC 8441, 5) into the 101 that it is over
/// HTTP/1.1; false, and nothing done, for any other response.
#[must_use]
pub fn switched(head: &mut ResponseHead) -> bool {
    if head.status / 100 != 2 {
        return false;
    }
    let Some(upgrade) = head.fields.keep(b"websocket") else {
        return false;
    };
    head.status = 101;
    head.framing = BodyLen::None;
    head.connection.upgrade = true;
    head.upgrade = Some(upgrade);
    head.fields.remove_known(Known::ContentLength);
    true
}
