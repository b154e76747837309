//! Trailers: the codec's map to the lines that a chunked body ends with, and that is all of
//! them that may be forwarded.

use http::HeaderMap;

use crate::http::fields::put_line;
use crate::http::h1::BodyError;
use crate::http::h1::trailers::may_be_trailer;
use crate::http::limits::{TRAILER_LINES_MAX, TRAILERS_MAX};
use crate::http::text::{is_token, is_value, trim_blanks};

/// Appends the trailers that may be forwarded, as lines with CRLF: the same that the reader of
/// HTTP/1.1 keeps, within the same bounds.
///
/// # Errors
/// [`BodyError::Trailer`] for what is no field line, [`BodyError::TrailersTooLarge`].
pub fn read_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) -> Result<(), BodyError> {
    if trailers.len() > TRAILER_LINES_MAX {
        return Err(BodyError::TrailersTooLarge);
    }
    let mut received = "\r\n".len();
    for (name, value) in trailers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        received += name.len() + ": ".len() + value.len() + "\r\n".len();
        if received > TRAILERS_MAX {
            return Err(BodyError::TrailersTooLarge);
        }
        let value = trim_blanks(value);
        if !is_token(name) || !is_value(value) {
            return Err(BodyError::Trailer);
        }
        if may_be_trailer(name) {
            put_line(name, value, out);
        }
    }
    Ok(())
}
