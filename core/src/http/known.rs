//! The fields that the gateway knows by number, recognised once when a head is parsed.
//!
//! Recognition is a perfect hash over length and three bytes, then one comparison; the build
//! fails when two names collide.

use http::HeaderName;

use crate::http::text::same_token;

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// A field whose name is known; everything else is [`Known::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A name that is not in this list.
            Other,
        }

        /// By number; the last one is that of [`Known::Other`], which is none.
        const NAMES: [&str; Known::COUNT + 1] = [$($name,)* ""];
        const VARIANTS: [Known; Known::COUNT] = [$(Known::$variant,)*];
        /// The names as HTTP/2's codec takes them, by number.
        static HEADER_NAMES: [HeaderName; Known::COUNT] = [$(HeaderName::from_static($name),)*];
    };
}

known! {
    Host = "host",
    Connection = "connection",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    ProxyAuthorization = "proxy-authorization",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthenticationInfo = "proxy-authentication-info",
    Expect = "expect",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XRealIp = "x-real-ip",
    Forwarded = "forwarded",
    Via = "via",
    XRequestId = "x-request-id",
    Date = "date",
    Server = "server",
    ContentType = "content-type",
    ContentEncoding = "content-encoding",
    ContentLanguage = "content-language",
    ContentLocation = "content-location",
    ContentRange = "content-range",
    ContentDisposition = "content-disposition",
    Accept = "accept",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    AcceptCharset = "accept-charset",
    AcceptRanges = "accept-ranges",
    UserAgent = "user-agent",
    Referer = "referer",
    Origin = "origin",
    Cookie = "cookie",
    SetCookie = "set-cookie",
    Authorization = "authorization",
    WwwAuthenticate = "www-authenticate",
    Location = "location",
    Etag = "etag",
    CacheControl = "cache-control",
    Pragma = "pragma",
    Vary = "vary",
    RetryAfter = "retry-after",
    Warning = "warning",
    SecWebsocketKey = "sec-websocket-key",
    SecWebsocketAccept = "sec-websocket-accept",
    SecWebsocketVersion = "sec-websocket-version",
    SecWebsocketProtocol = "sec-websocket-protocol",
    SecWebsocketExtensions = "sec-websocket-extensions",
    Http2Settings = "http2-settings",
    MaxForwards = "max-forwards",
    Allow = "allow",
    Age = "age",
    Expires = "expires",
    LastModified = "last-modified",
    IfMatch = "if-match",
    IfNoneMatch = "if-none-match",
    IfModifiedSince = "if-modified-since",
    IfUnmodifiedSince = "if-unmodified-since",
    IfRange = "if-range",
    Range = "range",
    GrpcStatus = "grpc-status",
    GrpcMessage = "grpc-message",
    GrpcTimeout = "grpc-timeout",
    GrpcEncoding = "grpc-encoding",
    GrpcAcceptEncoding = "grpc-accept-encoding",
    Traceparent = "traceparent",
    Tracestate = "tracestate",
    Baggage = "baggage",
    XApiKey = "x-api-key",
    XClientCertSubject = "x-client-cert-subject",
    XClientCertSan = "x-client-cert-san",
    XClientCertFingerprint = "x-client-cert-fingerprint",
    Link = "link",
    Priority = "priority",
    StrictTransportSecurity = "strict-transport-security",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestHeaders = "access-control-request-headers",
    AccessControlAllowOrigin = "access-control-allow-origin",
}

impl Known {
    /// How many names are known.
    pub const COUNT: usize = Known::Other as usize;
    /// The length of the longest of them.
    pub const NAME_MAX: usize = longest();

    /// Recognises a field name in any case. `name` is a token (RFC 9110, 5.6.2): in other bytes
    /// a control character could pass for a digit or a hyphen.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        let [first, .., last] = name else {
            return Known::Other;
        };
        let known = TABLE[slot(name.len(), *first, name[name.len() * 3 / 4], *last)];
        if same_token(name, known.name().as_bytes()) {
            known
        } else {
            Known::Other
        }
    }

    /// The name in lower case; empty for [`Known::Other`].
    #[inline]
    pub const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The name as HTTP/2's codec takes it; none for [`Known::Other`].
    pub(crate) fn header_name(self) -> Option<&'static HeaderName> {
        HEADER_NAMES.get(self as usize)
    }

    /// All known names.
    pub fn all() -> impl Iterator<Item = Known> {
        VARIANTS.into_iter()
    }
}

/// A set of known fields. [`Known::Other`] is in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet([u64; 2]);

impl KnownSet {
    /// The set of the given fields.
    pub const fn of(fields: &[Known]) -> KnownSet {
        let mut set = KnownSet([0; 2]);
        let mut i = 0;
        while i < fields.len() {
            if !matches!(fields[i], Known::Other) {
                let (word, bit) = KnownSet::place(fields[i]);
                set.0[word] |= bit;
            }
            i += 1;
        }
        set
    }

    /// The word of a field's bit, and the bit. Two words, as a shift of 128 bits takes a dozen
    /// instructions and this is asked several times for every field line.
    #[inline]
    const fn place(known: Known) -> (usize, u64) {
        let number = known as usize;
        (number / 64 % 2, 1 << (number % 64))
    }

    /// Whether the field is in the set.
    #[inline]
    pub const fn contains(&self, known: Known) -> bool {
        let (word, bit) = KnownSet::place(known);
        self.0[word] & bit != 0
    }

    /// Puts a field into the set; [`Known::Other`] stays out.
    #[inline]
    pub(crate) fn insert(&mut self, known: Known) {
        let (word, bit) = KnownSet::place(known);
        self.0[word] |= bit;
        self.0[OTHER.0] &= !OTHER.1;
    }

    /// Takes a field out of the set.
    #[inline]
    pub(crate) fn remove(&mut self, known: Known) {
        let (word, bit) = KnownSet::place(known);
        self.0[word] &= !bit;
    }

    /// The fields of both sets.
    #[inline]
    pub const fn union(self, other: KnownSet) -> KnownSet {
        let ([a, b], [c, d]) = (self.0, other.0);
        KnownSet([a | c, b | d])
    }

    /// Only meaningful between this hop's two ends (RFC 9110, 7.6.1): removed when a head is
    /// parsed, so that nobody sees or forwards them. `Trailer` is not among them: trailers are
    /// forwarded.
    pub const HOP_BY_HOP: KnownSet = KnownSet::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticate,
        Known::ProxyAuthenticationInfo,
        Known::Te,
        Known::TransferEncoding,
        Known::Upgrade,
        Known::Http2Settings,
    ]);

    /// What a `Connection` field must not name: this gateway's framing, routing, access and
    /// logs rest on them, so a peer may not have them removed.
    pub const NOT_CONNECTION_OPTIONS: KnownSet = KnownSet::of(&[
        Known::Host,
        Known::ContentLength,
        Known::TransferEncoding,
        Known::Expect,
        Known::Authorization,
        Known::Cookie,
        Known::SetCookie,
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedPort,
        Known::XRealIp,
        Known::XRequestId,
        Known::XApiKey,
        Known::Forwarded,
        Known::Via,
        Known::Date,
        Known::ContentType,
        Known::ContentEncoding,
        Known::ContentRange,
        Known::CacheControl,
        Known::Vary,
        Known::MaxForwards,
        Known::Origin,
    ]);
}

const SLOTS_LOG2: u32 = 9;
const _: () = assert!(Known::COUNT < 128);

const OTHER: (usize, u64) = KnownSet::place(Known::Other);

/// Found by search: no two names share a slot.
const MULTIPLIER: u32 = 0x9a34_7dd3;

static TABLE: [Known; 1 << SLOTS_LOG2] = table();

const fn slot(len: usize, first: u8, inner: u8, last: u8) -> usize {
    let key = u32::from_le_bytes([len as u8, first | 0x20, inner | 0x20, last | 0x20]);
    (key.wrapping_mul(MULTIPLIER) >> (32 - SLOTS_LOG2)) as usize
}

const fn table() -> [Known; 1 << SLOTS_LOG2] {
    let mut table = [Known::Other; 1 << SLOTS_LOG2];
    let mut i = 0;
    while i < VARIANTS.len() {
        let name = NAMES[i].as_bytes();
        let at = slot(
            name.len(),
            name[0],
            name[name.len() * 3 / 4],
            name[name.len() - 1],
        );
        assert!(
            matches!(table[at], Known::Other),
            "two known names share a slot: search a new MULTIPLIER"
        );
        table[at] = VARIANTS[i];
        i += 1;
    }
    table
}

const fn longest() -> usize {
    let mut longest = 0;
    let mut i = 0;
    while i < NAMES.len() {
        if NAMES[i].len() > longest {
            longest = NAMES[i].len();
        }
        i += 1;
    }
    longest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_name_in_any_case() {
        for known in Known::all() {
            assert_eq!(Known::of(known.name().as_bytes()), known);
            assert_eq!(Known::of(known.name().to_uppercase().as_bytes()), known);
        }
    }

    #[test]
    fn near_misses_are_other() {
        for known in Known::all() {
            let mut name = known.name().as_bytes().to_vec();
            for i in 0..name.len() {
                let was = name[i];
                name[i] = if was == b'z' { b'!' } else { b'z' };
                assert_eq!(Known::of(&name), Known::Other, "{name:?}");
                name[i] = was;
            }
        }
        assert_eq!(Known::of(b""), Known::Other);
        assert_eq!(Known::of(b"t"), Known::Other);
        assert_eq!(Known::of(&[b'a'; 300]), Known::Other);
    }

    #[test]
    fn sets_leave_other_out() {
        let set = KnownSet::of(&[Known::Host, Known::Other]);
        assert!(set.contains(Known::Host));
        assert!(!set.contains(Known::Other));
        assert!(!set.contains(Known::Via));
        assert!(set.union(KnownSet::of(&[Known::Via])).contains(Known::Via));
        let mut set = KnownSet::default();
        for known in Known::all().chain([Known::Other]) {
            set.insert(known);
            assert_eq!(set.contains(known), known != Known::Other);
        }
        for known in Known::all() {
            set.remove(known);
            assert!(!set.contains(known));
        }
        assert_eq!(set, KnownSet::default());
    }
}
