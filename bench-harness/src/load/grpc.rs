//! Unary calls of gRPC over HTTP/2 (PROTOCOL-HTTP2.md of gRPC): one message there, one back, and
//! a status of 0 behind it.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, header};

/// A message as it is sent: not compressed, its length in front.
///
/// # Errors
/// When it is too long for four bytes to say.
pub fn message(payload: &[u8]) -> Result<Bytes, String> {
    let length =
        u32::try_from(payload.len()).map_err(|_| "a message has less than 4 GiB".to_owned())?;
    let mut framed = BytesMut::with_capacity(PREFIX + payload.len());
    framed.extend_from_slice(&[0]);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(payload);
    Ok(framed.freeze())
}

/// Adds the fields of a call, where they were not given.
pub fn complete(fields: &mut HeaderMap) {
    let content_type = HeaderValue::from_static("application/grpc");
    fields.entry(header::CONTENT_TYPE).or_insert(content_type);
    let trailers = HeaderValue::from_static("trailers");
    fields.entry(header::TE).or_insert(trailers);
}

/// Reads an answer to its end: HTTP's status and the bytes of the body, or why the call has
/// failed. An answer with another status than 200 is HTTP's failure and is not looked into.
///
/// # Errors
/// When the stream ends before its time.
pub async fn read(
    response: http::Response<RecvStream>,
) -> Result<Result<(u16, u64), String>, h2::Error> {
    let (head, mut body) = response.into_parts();
    let mut framing = Framing::default();
    while let Some(data) = body.data().await {
        let data = data?;
        framing.take(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?;
    let status = head.status.as_u16();
    if status != 200 {
        return Ok(Ok((status, framing.bytes)));
    }
    // Without trailers the head was all there is.
    let fields = trailers.as_ref().unwrap_or(&head.headers);
    Ok(succeeded(fields)
        .and_then(|()| framing.check())
        .map(|()| (status, framing.bytes)))
}

/// Whether the fields behind a call say that it went well.
fn succeeded(fields: &HeaderMap) -> Result<(), String> {
    let text = |name| fields.get(name).map(HeaderValue::as_bytes);
    match text("grpc-status") {
        Some(b"0") => Ok(()),
        Some(status) => Err(format!(
            "grpc-status {} {}",
            String::from_utf8_lossy(status),
            String::from_utf8_lossy(text("grpc-message").unwrap_or_default())
        )),
        None => Err("there is no grpc-status behind the answer".to_owned()),
    }
}

/// The bytes of one message, as they come.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX],
    bytes: u64,
}

impl Framing {
    fn take(&mut self, data: &[u8]) {
        if let Ok(at) = usize::try_from(self.bytes)
            && at < PREFIX
        {
            let count = data.len().min(PREFIX - at);
            self.prefix[at..at + count].copy_from_slice(&data[..count]);
        }
        self.bytes += data.len() as u64;
    }

    fn check(&self) -> Result<(), String> {
        let [compressed, a, b, c, d] = self.prefix;
        let whole = PREFIX as u64 + u64::from(u32::from_be_bytes([a, b, c, d]));
        match compressed == 0 && self.bytes == whole {
            true => Ok(()),
            false => Err(format!("{} bytes are not one whole message", self.bytes)),
        }
    }
}

/// Bytes in front of a message.
const PREFIX: usize = 5;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_whole_wherever_its_bytes_are_cut() {
        let whole = message(b"hello").unwrap();
        assert_eq!(&whole[..], b"\0\0\0\0\x05hello");
        for piece in 1..=whole.len() {
            let mut framing = Framing::default();
            whole.chunks(piece).for_each(|data| framing.take(data));
            assert_eq!((framing.check(), framing.bytes), (Ok(()), 10));
        }
    }

    #[test]
    fn parts_of_messages_and_several_are_refused() {
        for bytes in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0\x01",
            b"\0\0\0\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0",
        ] {
            let mut framing = Framing::default();
            framing.take(bytes);
            assert!(framing.check().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn only_the_status_0_is_success() {
        let mut fields = HeaderMap::new();
        assert!(succeeded(&fields).unwrap_err().contains("no grpc-status"));
        fields.insert("grpc-status", HeaderValue::from_static("14"));
        fields.insert("grpc-message", HeaderValue::from_static("gone"));
        assert_eq!(succeeded(&fields).unwrap_err(), "grpc-status 14 gone");
        fields.insert("grpc-status", HeaderValue::from_static("0"));
        assert_eq!(succeeded(&fields), Ok(()));
    }
}
