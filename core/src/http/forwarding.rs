//! What a gateway tells the origin about the client: `X-Forwarded-*`, `Forwarded` (RFC 7239),
//! `Via` (RFC 9110, 7.6.3) and the request id.
//!
//! Such fields are believed only from a trusted proxy. From anybody else they are dropped before
//! ours are written, whether ours are wanted or not. Those that tell of a client's certificate are
//! believed from nobody.

use crate::http::fields::{Fields, put_named};
use crate::http::known::{Known, KnownSet};
use crate::http::method::Version;
use crate::http::text::{every, is_token, is_value};
use crate::tls::ClientIdentity;

/// Whether the peer that sent a request may speak for other clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// It speaks for itself.
    #[default]
    Untrusted,
    /// It is a proxy of ours: its forwarding fields are kept and added to.
    Trusted,
}

/// Which forwarding fields the gateway writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emit {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded`.
    pub forwarded: bool,
}

impl Default for Emit {
    fn default() -> Emit {
        Emit {
            x_forwarded: true,
            forwarded: false,
        }
    }
}

/// What to tell the origin about one request. All texts are free of control characters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarding<'a> {
    /// The peer's address without port; IPv6 without brackets.
    pub peer: &'a [u8],
    /// Whether the peer's own forwarding fields count.
    pub trust: Trust,
    /// `http` or `https`: how the request came.
    pub proto: &'a [u8],
    /// The authority that the client asked for, before any rewrite; empty when there was none.
    pub host: &'a [u8],
    /// Which fields to write.
    pub emit: Emit,
    /// The id of this request; empty to leave the field out.
    pub request_id: &'a [u8],
    /// The gateway's pseudonym in `Via`; empty to leave the field out.
    pub via: &'a [u8],
    /// Who the client's certificate names, where the origin is told.
    pub identity: Option<&'a ClientIdentity>,
}

impl Forwarding<'_> {
    /// The fields of the client that must not be passed on as they are.
    pub(crate) fn replaced(&self, fields: &Fields) -> KnownSet {
        // A trusted proxy's id stays where the gateway writes none of its own.
        let mut set = match self.request_id.is_empty() && self.keeps() {
            true => IDENTITY,
            false => IDENTITY.union(REQUEST_ID),
        };
        match self.trust {
            Trust::Untrusted => set = set.union(CLAIMS),
            Trust::Trusted => {
                if self.emit.x_forwarded && fields.has(Known::XForwardedFor) {
                    set = set.union(FOR);
                }
                if self.emit.forwarded && fields.has(Known::Forwarded) {
                    set = set.union(FORWARDED);
                }
            }
        }
        set
    }

    /// Appends our lines. `fields` are the client's, `version` is how it spoke.
    pub(crate) fn write(&self, fields: &Fields, version: Version, out: &mut Vec<u8>) {
        debug_assert!(
            [self.peer, self.proto, self.host, self.request_id, self.via]
                .into_iter()
                .all(is_value)
        );
        if self.emit.x_forwarded {
            self.write_x_forwarded(fields, out);
        }
        if self.emit.forwarded {
            out.extend_from_slice(b"Forwarded: ");
            self.write_kept(Known::Forwarded, fields, out);
            self.write_element(out);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(identity) = self.identity {
            put_named(b"X-Client-Cert-Subject: ", identity.subject.as_bytes(), out);
            put_named(
                b"X-Client-Cert-San: ",
                identity.joined_sans().as_bytes(),
                out,
            );
            let fingerprint = identity.fingerprint.as_bytes();
            put_named(b"X-Client-Cert-Fingerprint: ", fingerprint, out);
        }
        write_via(self.via, version, out);
        if !self.request_id.is_empty() {
            put_named(b"X-Request-Id: ", self.request_id, out);
        }
    }

    fn write_x_forwarded(&self, fields: &Fields, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        self.write_kept(Known::XForwardedFor, fields, out);
        out.extend_from_slice(self.peer);
        out.extend_from_slice(b"\r\n");
        // What a trusted proxy said about scheme and host is nearer to the client.
        let keeps = |known| self.keeps() && fields.has(known);
        if !keeps(Known::XForwardedProto) {
            put_named(b"X-Forwarded-Proto: ", self.proto, out);
        }
        if !self.host.is_empty() && !keeps(Known::XForwardedHost) {
            put_named(b"X-Forwarded-Host: ", self.host, out);
        }
    }

    fn keeps(&self) -> bool {
        self.trust == Trust::Trusted
    }

    /// The list that a trusted proxy sent, with a comma behind it. Joined into one line: many
    /// origins read only one.
    fn write_kept(&self, known: Known, fields: &Fields, out: &mut Vec<u8>) {
        if self.keeps() {
            for value in fields.values(known).filter(|value| !value.is_empty()) {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
    }

    /// One element of `Forwarded` (RFC 7239, 4).
    fn write_element(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"for=");
        if !every(self.peer, |byte| byte != b':') {
            out.extend_from_slice(b"\"[");
            out.extend_from_slice(self.peer);
            out.extend_from_slice(b"]\"");
        } else {
            out.extend_from_slice(self.peer);
        }
        if !self.host.is_empty() {
            out.extend_from_slice(b";host=");
            let quote: &[u8] = if is_token(self.host) { b"" } else { b"\"" };
            out.extend_from_slice(quote);
            out.extend_from_slice(self.host);
            out.extend_from_slice(quote);
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(self.proto);
    }
}

/// Appends our own `Via` line behind those there are.
pub(crate) fn write_via(pseudonym: &[u8], version: Version, out: &mut Vec<u8>) {
    if !pseudonym.is_empty() {
        out.extend_from_slice(match version {
            Version::Http10 => b"Via: 1.0 ",
            Version::Http11 => b"Via: 1.1 ",
            Version::Http2 => b"Via: 2.0 ",
        });
        out.extend_from_slice(pseudonym);
        out.extend_from_slice(b"\r\n");
    }
}

const REQUEST_ID: KnownSet = KnownSet::of(&[Known::XRequestId]);
const FOR: KnownSet = KnownSet::of(&[Known::XForwardedFor]);
const FORWARDED: KnownSet = KnownSet::of(&[Known::Forwarded]);
/// What only a trusted proxy may say about a client.
const CLAIMS: KnownSet = KnownSet::of(&[
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedHost,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::Forwarded,
]);
/// What a client's certificate says, in the gateway's words. A proxy that is trusted to speak of
/// addresses is not known to take these out of what clients send.
const IDENTITY: KnownSet = KnownSet::of(&[
    Known::XClientCertSubject,
    Known::XClientCertSan,
    Known::XClientCertFingerprint,
]);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(fields: &Fields, forwarding: &Forwarding<'_>) -> String {
        let mut out = Vec::new();
        fields.write(forwarding.replaced(fields), &mut out);
        forwarding.write(fields, Version::Http11, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn claims() -> Fields {
        let mut fields = Fields::default();
        fields.add("x-forwarded-for", b"10.0.0.1").unwrap();
        fields.add("x-forwarded-for", b"10.0.0.2").unwrap();
        fields.add("x-forwarded-proto", b"https").unwrap();
        fields.add("forwarded", b"for=10.0.0.1").unwrap();
        fields.add("x-real-ip", b"10.0.0.1").unwrap();
        fields.add("x-request-id", b"theirs").unwrap();
        fields
    }

    const BASE: Forwarding<'static> = Forwarding {
        identity: None,
        peer: b"192.0.2.1",
        trust: Trust::Untrusted,
        proto: b"http",
        host: b"a.example:80",
        emit: Emit {
            x_forwarded: true,
            forwarded: true,
        },
        request_id: b"ours",
        via: b"ringgate",
    };

    #[test]
    fn claims_of_an_untrusted_peer_are_replaced() {
        assert_eq!(
            written(&claims(), &BASE),
            "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-Host: a.example:80\r\n\
             Forwarded: for=192.0.2.1;host=\"a.example:80\";proto=http\r\n\
             Via: 1.1 ringgate\r\nX-Request-Id: ours\r\n"
        );
    }

    #[test]
    fn claims_of_an_untrusted_peer_are_dropped_when_none_are_written() {
        let quiet = Forwarding {
            emit: Emit {
                x_forwarded: false,
                forwarded: false,
            },
            request_id: b"",
            via: b"",
            ..BASE
        };
        assert_eq!(written(&claims(), &quiet), "");
    }

    #[test]
    fn claims_of_a_trusted_proxy_are_kept_and_added_to() {
        let trusted = Forwarding {
            trust: Trust::Trusted,
            ..BASE
        };
        assert_eq!(
            written(&claims(), &trusted),
            "x-forwarded-proto: https\r\nx-real-ip: 10.0.0.1\r\n\
             X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.1\r\n\
             X-Forwarded-Host: a.example:80\r\n\
             Forwarded: for=10.0.0.1, for=192.0.2.1;host=\"a.example:80\";proto=http\r\n\
             Via: 1.1 ringgate\r\nX-Request-Id: ours\r\n"
        );
    }

    #[test]
    fn identities_are_believed_from_nobody() {
        let mut fields = Fields::default();
        for name in ["subject", "san", "fingerprint"] {
            let name = format!("X-Client-Cert-{name}");
            fields.add(&name, b"CN=root").unwrap();
        }
        for trust in [Trust::Untrusted, Trust::Trusted] {
            for request_id in [&b""[..], b"ours"] {
                let told = Forwarding {
                    trust,
                    request_id,
                    ..BASE
                };
                let written = written(&fields, &told);
                assert!(!written.contains("CN=root"), "{written}");
            }
        }
    }

    #[test]
    fn ipv6_addresses_are_quoted_in_forwarded() {
        let six = Forwarding {
            peer: b"2001:db8::1",
            host: b"a.example",
            emit: Emit {
                x_forwarded: false,
                forwarded: true,
            },
            request_id: b"",
            via: b"",
            ..BASE
        };
        assert_eq!(
            written(&Fields::default(), &six),
            "Forwarded: for=\"[2001:db8::1]\";host=a.example;proto=http\r\n"
        );
    }
}
