//! What the gateway knows of gRPC: its media types, deadlines, statuses and the answers that
//! speak them (PROTOCOL-HTTP2.md, PROTOCOL-WEB.md and http-grpc-status-mapping.md of gRPC).

use std::time::Duration;

use crate::chain::Answer;
use crate::error::Fault;
use crate::http::h1::{BodyError, HeadError};

/// A media type of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// The protocol.
    pub kind: Kind,
    /// How messages are encoded: empty (which means protobuf), or a suffix as `+proto`.
    pub format: &'a [u8],
}

/// A protocol of the gRPC family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `application/grpc`
    Grpc,
    /// `application/grpc-web`
    Web,
    /// `application/grpc-web-text`: the same in base64.
    WebText,
}

impl Kind {
    /// The media type without its format.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Grpc => "application/grpc",
            Kind::Web => "application/grpc-web",
            Kind::WebText => "application/grpc-web-text",
        }
    }
}

/// Reads a `Content-Type`; `None` where it is not of the gRPC family. Parameters are skipped.
pub fn media(content_type: &[u8]) -> Option<Media<'_>> {
    let end = content_type.iter().position(|byte| *byte == b';');
    let essence = content_type.get(..end.unwrap_or(content_type.len()))?;
    let essence = essence.trim_ascii();
    let plus = essence.iter().position(|byte| *byte == b'+');
    let (name, format) = essence.split_at(plus.unwrap_or(essence.len()));
    let mut all = [Kind::Grpc, Kind::Web, Kind::WebText].into_iter();
    let kind = all.find(|kind| name.eq_ignore_ascii_case(kind.name().as_bytes()))?;
    Some(Media { kind, format })
}

/// Whether a `Content-Type` is that of gRPC itself.
pub fn is_grpc(content_type: &[u8]) -> bool {
    media(content_type).is_some_and(|media| media.kind == Kind::Grpc)
}

/// Reads a `grpc-timeout`: one to eight digits and a unit.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !matches!(digits.len(), 1..=TIMEOUT_DIGITS_MAX) {
        return None;
    }
    let number = digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    // The largest, of eight digits of hours, is far below what a duration holds.
    let nanos = u128::from(number) * u128::from(*nanos);
    let seconds = u64::try_from(nanos / NANOS_PER_SECOND).unwrap_or(u64::MAX);
    Some(Duration::new(seconds, (nanos % NANOS_PER_SECOND) as u32))
}

/// Appends the value of a `grpc-timeout`: in the finest unit that eight digits are enough for,
/// rounded up, at most 99999999 hours.
pub fn write_timeout(timeout: Duration, out: &mut Vec<u8>) {
    let in_unit = |nanos: u64| timeout.as_nanos().div_ceil(u128::from(nanos));
    let most = 10_u128.pow(TIMEOUT_DIGITS_MAX as u32) - 1;
    let fitting = UNITS.iter().find(|(_, nanos)| in_unit(*nanos) <= most);
    let (letter, number) = match fitting {
        Some((letter, nanos)) => (*letter, in_unit(*nanos)),
        None => (b'H', most),
    };
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.push(letter);
}

const TIMEOUT_DIGITS_MAX: usize = 8;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Letters and nanoseconds of the units, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// A status of gRPC, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// The client went away.
    Cancelled = 1,
    /// Nothing better is known.
    Unknown = 2,
    /// The request is wrong whatever the server's state.
    InvalidArgument = 3,
    /// Time ran out.
    DeadlineExceeded = 4,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit is reached.
    ResourceExhausted = 8,
    /// No such method here.
    Unimplemented = 12,
    /// Something that must hold is broken.
    Internal = 13,
    /// Another attempt may succeed.
    Unavailable = 14,
    /// Nobody knows who the caller is.
    Unauthenticated = 16,
}

impl Status {
    /// The number as `grpc-status` has it.
    pub const fn text(self) -> &'static str {
        match self {
            Status::Ok => "0",
            Status::Cancelled => "1",
            Status::Unknown => "2",
            Status::InvalidArgument => "3",
            Status::DeadlineExceeded => "4",
            Status::PermissionDenied => "7",
            Status::ResourceExhausted => "8",
            Status::Unimplemented => "12",
            Status::Internal => "13",
            Status::Unavailable => "14",
            Status::Unauthenticated => "16",
        }
    }

    /// What a client makes of an HTTP status without `grpc-status`
    /// (http-grpc-status-mapping.md).
    pub const fn of_http(status: u16) -> Status {
        match status {
            400 => Status::Internal,
            401 => Status::Unauthenticated,
            403 => Status::PermissionDenied,
            404 => Status::Unimplemented,
            429 | 502 | 503 | 504 => Status::Unavailable,
            _ => Status::Unknown,
        }
    }

    /// What a fault is to the client: as its HTTP status would be read, or better where more is
    /// known. [`Status::Unavailable`] invites another attempt, so it is not said where the
    /// origin may have acted on the request.
    pub fn of_fault(fault: Fault) -> Status {
        match fault {
            Fault::ClientClosed => Status::Cancelled,
            Fault::RequestTimeout
            | Fault::ResponseTimeout
            | Fault::ReadTimeout
            | Fault::HeadTimeout
            | Fault::BodyTimeout => Status::DeadlineExceeded,
            Fault::BodyTooLarge
            | Fault::RequestHead(HeadError::TooManyFields | HeadError::HeadTooLarge)
            | Fault::RequestBody(BodyError::TrailersTooLarge) => Status::ResourceExhausted,
            Fault::NoRoute | Fault::MethodNotAllowed => Status::Unimplemented,
            Fault::NoEndpoint
            | Fault::ConnectFailed
            | Fault::ConnectTimeout
            | Fault::ConnectionCap
            | Fault::OriginClosed
            | Fault::OriginTls
            | Fault::OriginUntrusted
            | Fault::StreamRefused
            | Fault::Shutdown => Status::Unavailable,
            Fault::FilterRefused => Status::PermissionDenied,
            Fault::RequestHead(_)
            | Fault::RequestPath(_)
            | Fault::RequestBody(_)
            | Fault::ResponseHead(_)
            | Fault::ResponseBody(_)
            | Fault::BadUpgrade
            | Fault::OriginProtocol
            | Fault::FilterFailed
            | Fault::RewriteFailed
            | Fault::Internal => Status::Internal,
            other => Status::of_http(other.row().status.unwrap_or(500)),
        }
    }
}

/// Appends a `grpc-message`: percent-encoded but for visible ASCII and blanks.
pub fn write_message(message: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in message.bytes() {
        match byte {
            b'%' | ..b' ' | 0x7f.. => {
                let [high, low] = [byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]);
                out.extend_from_slice(&[b'%', high, low]);
            }
            plain => out.push(plain),
        }
    }
}

/// An answer without messages: its head says what trailers would. `code` is the log code.
pub fn trailers_only(status: Status, message: &str, code: &'static str) -> Answer {
    let mut text = Vec::new();
    write_message(message, &mut text);
    let mut fields: Vec<(Box<str>, Box<[u8]>)> = vec![
        ("content-type".into(), Kind::Grpc.name().as_bytes().into()),
        ("grpc-status".into(), status.text().as_bytes().into()),
    ];
    if !text.is_empty() {
        fields.push(("grpc-message".into(), text.into()));
    }
    Answer {
        status: 200,
        fields,
        body: bytes::Bytes::new(),
        code,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(content_type: &str) -> Option<(Kind, &str)> {
        let media = media(content_type.as_bytes())?;
        Some((media.kind, std::str::from_utf8(media.format).unwrap()))
    }

    #[test]
    fn media_types_are_told_apart() {
        for (content_type, expected) in [
            ("application/grpc", Some((Kind::Grpc, ""))),
            ("application/grpc+proto", Some((Kind::Grpc, "+proto"))),
            ("Application/GRPC+json", Some((Kind::Grpc, "+json"))),
            ("application/grpc;charset=utf-8", Some((Kind::Grpc, ""))),
            (
                "application/grpc+proto ; v=1+x",
                Some((Kind::Grpc, "+proto")),
            ),
            ("application/grpc-web", Some((Kind::Web, ""))),
            ("application/grpc-web+proto", Some((Kind::Web, "+proto"))),
            ("application/grpc-web-text", Some((Kind::WebText, ""))),
            (
                "application/grpc-web-text+proto",
                Some((Kind::WebText, "+proto")),
            ),
            ("application/grpc-websocket", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("application/json; x=application/grpc", None),
            ("", None),
        ] {
            assert_eq!(kind(content_type), expected, "{content_type}");
        }
        assert!(is_grpc(b"application/grpc") && !is_grpc(b"application/grpc-web"));
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("00000009n", Duration::from_nanos(9)),
            ("0m", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(timeout(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "",
            "S",
            "1",
            "1s",
            "1 S",
            "+1S",
            "-1S",
            "1.5S",
            "123456789n",
            "1SS",
            "S1",
        ] {
            assert_eq!(timeout(text.as_bytes()), None, "{text}");
        }
    }

    fn written(timeout: Duration) -> String {
        let mut out = Vec::new();
        write_timeout(timeout, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timeouts_are_written_in_the_finest_unit_that_fits() {
        for (timeout, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(1), "1000000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(timeout), expected);
        }
    }

    #[test]
    fn http_statuses_map_as_specified() {
        for (http, number) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (429, "14"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
            (200, "2"),
            (405, "2"),
            (500, "2"),
        ] {
            assert_eq!(Status::of_http(http).text(), number, "{http}");
        }
    }

    #[test]
    fn faults_say_more_than_their_http_status() {
        for (fault, status) in [
            (Fault::RequestTimeout, Status::DeadlineExceeded),
            (Fault::BodyTooLarge, Status::ResourceExhausted),
            (Fault::NoRoute, Status::Unimplemented),
            (Fault::ConnectFailed, Status::Unavailable),
            (Fault::ConnectTimeout, Status::Unavailable),
            (Fault::Internal, Status::Internal),
            (Fault::ClientClosed, Status::Cancelled),
        ] {
            assert_eq!(Status::of_fault(fault), status, "{fault}");
        }
    }

    #[test]
    fn a_status_is_written_as_its_number() {
        for status in [Status::Ok, Status::Unimplemented, Status::Unauthenticated] {
            assert_eq!(status.text(), (status as u8).to_string());
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        let mut out = Vec::new();
        write_message("100% \u{fc}\r\n~\x7f", &mut out);
        assert_eq!(out, b"100%25 %C3%BC%0D%0A~%7F");
    }

    #[test]
    fn an_answer_without_messages_has_its_status_in_the_head() {
        let answer = trailers_only(Status::Unavailable, "later", "connect_failed");
        let mut fields = Vec::new();
        for (name, value) in &answer.fields {
            fields.push((&**name, std::str::from_utf8(value).unwrap()));
        }
        let expected = [
            ("content-type", "application/grpc"),
            ("grpc-status", "14"),
            ("grpc-message", "later"),
        ];
        assert_eq!(fields, expected);
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }

    proptest! {
        #[test]
        fn a_written_timeout_is_never_earlier_and_hardly_later(nanos in any::<u64>()) {
            let given = Duration::from_nanos(nanos);
            let read = timeout(written(given).as_bytes()).unwrap();
            prop_assert!(read >= given);
            // Eight digits keep seven of them whatever the unit; minutes and hours one less.
            prop_assert!(read - given <= given / 100_000);
        }

        #[test]
        fn any_value_is_a_timeout_or_not(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Some(timeout) = timeout(&value) {
                prop_assert!(timeout <= Duration::from_secs(99_999_999 * 3600));
            }
        }
    }
}
