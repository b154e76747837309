//! The Check call of grpc.health.v1.Health, by hand: a message with a string goes out, one with
//! a number comes back. <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>

use std::fmt;

use http::HeaderMap;

use super::failure::Failure;
use super::http2::Answer;

/// Where the call goes.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";

/// What the answer's status says, beside SERVING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Unknown,
    No,
    NoSuchService,
    Other,
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "UNKNOWN",
            Self::No => "NOT_SERVING",
            Self::NoSuchService => "SERVICE_UNKNOWN",
            Self::Other => "something that the health protocol does not know",
        })
    }
}

/// A `HealthCheckRequest` with its frame: uncompressed, and its length.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    // Field 1, a string; an empty one is left out.
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // The configuration bounds the name.
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

/// What an answer says.
pub(super) fn judge(answer: &Answer) -> Result<(), Failure> {
    if answer.status != http::StatusCode::OK {
        return Err(Failure::Status(answer.status.as_u16()));
    }
    // Trailers-only answers have it in the head.
    let trailed = answer.trailers.as_ref().and_then(grpc_status);
    match trailed.or_else(|| grpc_status(&answer.headers)) {
        Some(0) => {}
        other => return Err(Failure::GrpcStatus(other)),
    }
    let message = answer.body.whole().and_then(message);
    match message.and_then(status_field).ok_or(Failure::GrpcMessage)? {
        1 => Ok(()),
        0 => Err(Failure::NotServing(Serving::Unknown)),
        2 => Err(Failure::NotServing(Serving::No)),
        3 => Err(Failure::NotServing(Serving::NoSuchService)),
        _ => Err(Failure::NotServing(Serving::Other)),
    }
}

fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The one message of a body, if there is exactly one and it is not compressed.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (frame, message) = body.split_first_chunk::<5>()?;
    let [0, length @ ..] = *frame else {
        return None;
    };
    (u32::from_be_bytes(length) as usize == message.len()).then_some(message)
}

/// Field 1 of a `HealthCheckResponse`: the last one wins, none is 0, others are skipped.
fn status_field(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut message)?,
            // A status that is not a number.
            (1, _) => return None,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// Seven bits a byte, the lowest first; at most ten bytes.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::body::Body;
    use super::*;

    fn answer(body: &[u8]) -> Answer {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        Answer {
            status: http::StatusCode::OK,
            headers: HeaderMap::new(),
            body: Body::Whole(body.to_vec()),
            trailers: Some(trailers),
        }
    }

    #[test]
    fn asks_by_the_bytes_of_the_protocol() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("a.B"), *b"\0\0\0\0\x05\x0a\x03a.B");
        let long = request(&"x".repeat(200));
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn only_serving_is_good() {
        assert_eq!(judge(&answer(b"\0\0\0\0\x02\x08\x01")), Ok(()));
        for (body, serving) in [
            (&b"\0\0\0\0\0"[..], Serving::Unknown),
            (b"\0\0\0\0\x02\x08\x02", Serving::No),
            (b"\0\0\0\0\x02\x08\x03", Serving::NoSuchService),
            (b"\0\0\0\0\x02\x08\x7f", Serving::Other),
        ] {
            assert_eq!(judge(&answer(body)), Err(Failure::NotServing(serving)));
        }
    }

    #[test]
    fn fields_of_a_later_protocol_are_skipped() {
        let body = b"\0\0\0\0\x14\x10\x05\x1a\x02ab\x25abcd\x29abcdefgh\x08\x01";
        let mut body = body.to_vec();
        body[4] = (body.len() - 5) as u8;
        assert_eq!(judge(&answer(&body)), Ok(()));
    }

    #[test]
    fn refuses_what_is_no_health_answer() {
        for body in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x02\x08\x01\0\0\0\0\0",
            b"\0\xff\xff\xff\xff\x08\x01",
            b"\0\0\0\0\x01\x08",
            b"\0\0\0\0\x02\x0a\x7f",
            b"\0\0\0\0\x02\x0b\x0c",
            b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\0\x02\x00\x01",
        ] {
            assert_eq!(judge(&answer(body)), Err(Failure::GrpcMessage), "{body:?}");
        }
        let mut long = answer(b"");
        long.body = Body::Begun(Vec::new());
        assert_eq!(judge(&long), Err(Failure::GrpcMessage));
    }

    #[test]
    fn a_status_other_than_ok_is_unhealthy_wherever_it_stands() {
        let mut found = answer(b"");
        found.trailers = None;
        assert_eq!(judge(&found), Err(Failure::GrpcStatus(None)));
        found.headers.insert("grpc-status", "12".parse().unwrap());
        assert_eq!(judge(&found), Err(Failure::GrpcStatus(Some(12))));
        found.status = http::StatusCode::NOT_FOUND;
        assert_eq!(judge(&found), Err(Failure::Status(404)));
    }
}
