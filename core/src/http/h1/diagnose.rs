//! Which of our reasons an httparse error stands for. Only refused heads come here, so this
//! reads them again, line by line, and names the first thing that is wrong.

use crate::http::h1::error::HeadError;
use crate::http::head::is_target;
use crate::http::text::{is_token, is_value, trim_blanks};

/// Why httparse refused this request head.
#[cold]
pub(super) fn request(bytes: &[u8], error: httparse::Error) -> HeadError {
    diagnose(bytes, error, request_line, HeadError::RequestLine)
}

/// Why httparse refused this response head.
#[cold]
pub(super) fn response(bytes: &[u8], error: httparse::Error) -> HeadError {
    diagnose(bytes, error, status_line, HeadError::StatusLine)
}

fn diagnose(
    bytes: &[u8],
    error: httparse::Error,
    start_line: fn(&[u8]) -> Option<HeadError>,
    otherwise: HeadError,
) -> HeadError {
    let mut lines = bytes.split_inclusive(|&b| b == b'\n').map(Text::of);
    let Some(first) = lines.next() else {
        return otherwise;
    };
    if let Some(found) = first.end_error().or_else(|| start_line(first.text)) {
        return found;
    }
    for line in lines {
        let found = line.end_error().or_else(|| field_line(&line));
        if let Some(found) = found {
            return found;
        }
        if line.text.is_empty() {
            break;
        }
    }
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::NewLine => HeadError::BareCr,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Status | httparse::Error::Token => otherwise,
    }
}

/// One line without its end.
struct Text<'a> {
    text: &'a [u8],
    end: End,
}

#[derive(PartialEq)]
enum End {
    CrLf,
    Lf,
    /// More of the line may come.
    Open,
}

impl<'a> Text<'a> {
    fn of(line: &'a [u8]) -> Text<'a> {
        let (text, end) = match line {
            [text @ .., b'\r', b'\n'] => (text, End::CrLf),
            [text @ .., b'\n'] => (text, End::Lf),
            [text @ .., b'\r'] => (text, End::Open),
            text => (text, End::Open),
        };
        Text { text, end }
    }

    fn end_error(&self) -> Option<HeadError> {
        if self.text.contains(&b'\r') {
            Some(HeadError::BareCr)
        } else if self.end == End::Lf {
            Some(HeadError::BareLf)
        } else {
            None
        }
    }
}

fn request_line(line: &[u8]) -> Option<HeadError> {
    let mut parts = line.splitn(3, |&b| b == b' ');
    let method = parts.next().unwrap_or_default();
    if !is_token(method) {
        return Some(HeadError::Method);
    }
    let target = parts.next()?;
    if target.is_empty() {
        return Some(HeadError::RequestLine);
    }
    if !is_target(target) {
        return Some(HeadError::Target);
    }
    version(parts.next()?, HeadError::RequestLine)
}

fn status_line(line: &[u8]) -> Option<HeadError> {
    let mut parts = line.splitn(2, |&b| b == b' ');
    if let Some(found) = version(parts.next().unwrap_or_default(), HeadError::StatusLine) {
        return Some(found);
    }
    let status = parts.next().unwrap_or_default();
    let good = status.len() >= 3
        && status[..3].iter().all(u8::is_ascii_digit)
        && matches!(status.get(3), None | Some(b' '))
        && is_value(status);
    (!good).then_some(HeadError::StatusLine)
}

fn version(text: &[u8], with_blank: HeadError) -> Option<HeadError> {
    match text {
        b"HTTP/1.1" | b"HTTP/1.0" => None,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Some(HeadError::VersionUnsupported)
        }
        _ if text.contains(&b' ') => Some(with_blank),
        _ if b"HTTP/1.".starts_with(text) => None,
        _ => Some(HeadError::Version),
    }
}

fn field_line(line: &Text<'_>) -> Option<HeadError> {
    match line.text {
        [] => return None,
        [b' ' | b'\t', ..] => return Some(HeadError::ObsFold),
        [b':', ..] => return Some(HeadError::EmptyFieldName),
        _ => {}
    }
    let Some(colon) = line.text.iter().position(|&b| b == b':') else {
        let whole = line.end != End::Open || !is_token(line.text);
        return whole.then_some(HeadError::FieldName);
    };
    let (name, value) = (&line.text[..colon], &line.text[colon + 1..]);
    if !is_token(name) {
        let bare = trim_blanks(name);
        return Some(if is_token(bare) {
            HeadError::SpaceBeforeColon
        } else {
            HeadError::FieldName
        });
    }
    (!is_value(value)).then_some(HeadError::FieldValue)
}
