//! What the gateway answers in the place of any origin.

use bytes::Bytes;
use ringgate_router::Slash;

use crate::answer;
use crate::chain::Answer;
use crate::http::{Known, RequestHead};

/// The proof that a certificate authority asks for (RFC 8555, 8.3).
pub(super) fn challenge_answer(proof: Bytes) -> Answer {
    let content_type = b"application/octet-stream".as_slice();
    Answer {
        status: 200,
        fields: vec![("content-type".into(), content_type.into())],
        body: proof,
        code: "",
    }
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110, 9.3.7).
pub(super) fn server_options() -> Answer {
    Answer {
        status: 204,
        fields: vec![("allow".into(), answer::SERVER_METHODS.as_bytes().into())],
        ..Answer::default()
    }
}

/// Whether a request may go on to another hop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwards {
    Left,
    /// It is answered here, in the origin's place.
    Spent,
}

/// Takes one off `Max-Forwards` of a TRACE or OPTIONS request (RFC 9110, 7.6.2).
pub(super) fn count_forward(head: &mut RequestHead) -> Forwards {
    let value = head.fields.value(Known::MaxForwards).unwrap_or_default();
    let number = std::str::from_utf8(value).ok().map(str::parse::<u64>);
    let Some(Ok(left)) = number else {
        return Forwards::Left;
    };
    match left.checked_sub(1) {
        Some(left) => {
            let mut digits = itoa::Buffer::new();
            // Digits are a valid value.
            let _ = head
                .fields
                .set("max-forwards", digits.format(left).as_bytes());
            Forwards::Left
        }
        None => Forwards::Spent,
    }
}

pub(super) fn slash_redirect(head: &RequestHead, slash: Slash) -> Answer {
    // Two slashes in front would name another host (RFC 3986, 4.2).
    let path = head.path();
    let slashes = path.iter().take_while(|b| **b == b'/').count();
    let mut location = path[slashes.saturating_sub(1)..].to_vec();
    match slash {
        Slash::Add => location.push(b'/'),
        Slash::Remove => {
            let bare = location
                .iter()
                .rposition(|b| *b != b'/')
                .map_or(1, |last| last + 1);
            location.truncate(bare);
        }
    }
    if let Some(query) = head.query() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    Answer {
        status: 308,
        fields: vec![("location".into(), location.into())],
        ..Answer::default()
    }
}
