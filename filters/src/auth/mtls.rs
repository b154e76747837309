//! The certificate that a client has shown in its TLS handshake, where it was verified: who it
//! names makes every request of the connection. Nothing that a request says of certificates is
//! believed, whoever sends it.

use std::rc::Rc;
use std::sync::Arc;

use ringgate_core::chain::RequestPhase;
use ringgate_core::principal::{Claims, Principal};
use ringgate_core::tls::ClientIdentity;

use super::cache::Cache;
use super::consumers::Directory;
use super::{Finding, Refusal, next_serial};
use crate::Filter;

/// Whose certificates there are.
#[derive(Debug)]
pub struct Mtls {
    strangers: Strangers,
    directory: Arc<Directory>,
    serial: u64,
}

/// What becomes of a verified certificate that belongs to no consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// It proves nobody.
    Refuse,
    /// It proves whom it names.
    Accept,
}

/// What one core remembers of certificates.
#[derive(Debug)]
pub(crate) struct Memory {
    /// By the filter's number and the certificate's fingerprint.
    principals: Cache<Option<Rc<Principal>>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            principals: Cache::new(CERTIFICATES_MAX),
        }
    }
}

/// Certificates that a core remembers.
const CERTIFICATES_MAX: usize = 4096;
/// For so long: what a certificate proves changes with a reload only, which has numbers of its
/// own.
const REMEMBERED_MS: u64 = 600_000;

const NAME: &str = "mtls";

impl Mtls {
    /// By the certificates of these consumers.
    pub fn new(directory: Arc<Directory>, strangers: Strangers) -> Mtls {
        Mtls {
            strangers,
            directory,
            serial: next_serial(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        NAME
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let tls = phase.attributes.tls.as_deref();
        let Some(identity) = tls.and_then(|facts| facts.identity.as_ref()) else {
            return Finding::Absent;
        };
        let mut key = [0; KEY_BYTES];
        let (serial, fingerprint) = key.split_at_mut(8);
        serial.copy_from_slice(&self.serial.to_le_bytes());
        let known = identity.fingerprint.as_bytes();
        if known.len() != fingerprint.len() {
            return Finding::Refused(Refusal::invalid("its certificate has no fingerprint"));
        }
        fingerprint.copy_from_slice(known);
        let memory = &mut phase.core.auth.mtls.principals;
        let principal = match memory.get(&key, phase.unix_ms) {
            Some(known) => known.clone(),
            None => {
                let principal = self.principal(identity).map(Rc::new);
                let until_ms = phase.unix_ms.saturating_add(REMEMBERED_MS);
                memory.put(&key, principal.clone(), until_ms, phase.unix_ms);
                principal
            }
        };
        match principal {
            Some(principal) => Finding::Proved(principal),
            None => Finding::Refused(Refusal::invalid("its certificate belongs to no consumer")),
        }
    }

    fn principal(&self, identity: &ClientIdentity) -> Option<Principal> {
        let consumer = self.directory.by_certificate(identity);
        if consumer.is_none() && self.strangers == Strangers::Refuse {
            return None;
        }
        let subject = Some(&identity.subject).filter(|subject| !subject.is_empty());
        let sans = identity.sans.iter();
        let sans = sans.map(|san| (SAN.into(), san.clone()));
        let fingerprint = (FINGERPRINT.into(), identity.fingerprint.clone());
        let mut principal = Principal {
            schemes: vec![NAME],
            subject: subject.or(identity.sans.first()).cloned(),
            claims: Claims::new(sans.chain([fingerprint]).collect()),
            ..Principal::default()
        };
        if let Some(consumer) = consumer {
            consumer.add_to(&mut principal);
        }
        Some(principal)
    }

    /// No scheme of HTTP asks for a certificate, but 401 has to name one (RFC 9110, 15.5.2).
    pub(super) fn challenge(&self, realm: &str) -> String {
        format!("Certificate realm=\"{realm}\"")
    }

    pub(super) fn describe(&self) -> String {
        match self.strangers {
            Strangers::Refuse => "the client certificate of a consumer".to_owned(),
            Strangers::Accept => "any verified client certificate".to_owned(),
        }
    }
}

/// A number and a fingerprint.
const KEY_BYTES: usize = 8 + 64;

/// The claims that a certificate makes.
const SAN: &str = "certificate.san";
const FINGERPRINT: &str = "certificate.fingerprint";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::auth::consumers::{CertificateName, Consumer, Registered};
    use crate::auth::{Authenticate, Otherwise, Scheme, Settings, Tell};
    use crate::testing::{Exchange, passes};
    use ringgate_core::chain::{TlsFacts, Verdict};

    fn filter(strangers: Strangers) -> Filter {
        let app = Registered {
            consumer: Consumer {
                name: "app".into(),
                groups: ["inside".into()].into(),
                ..Consumer::default()
            },
            certificates: vec![
                CertificateName::Subject("CN=app".into()),
                CertificateName::San("app.internal".into()),
            ],
            ..Registered::default()
        };
        let directory = Arc::new(Directory::new([app]));
        let scheme = Scheme::Mtls(Mtls::new(directory, strangers));
        Filter::Authenticate(Box::new(Authenticate::new(Settings {
            alternatives: [[Arc::new(scheme)].into()].into(),
            otherwise: Otherwise::Refuse,
            realm: "ringgate".into(),
            tell: Tell::default(),
        })))
    }

    fn of(subject: &str, sans: &[&str]) -> Exchange {
        let mut exchange = Exchange::default();
        exchange.attributes.tls = Some(Rc::new(TlsFacts {
            identity: Some(ClientIdentity {
                subject: subject.into(),
                sans: sans.iter().map(|san| (*san).into()).collect(),
                fingerprint: format!("{subject:a<64}")[..64].into(),
            }),
            ..TlsFacts::default()
        }));
        exchange
    }

    fn code(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Respond(answer) => answer.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_certificate_proves_its_consumer() {
        let filter = filter(Strangers::Refuse);
        for mut exchange in [of("CN=app", &[]), of("CN=x", &["DNS:app.internal"])] {
            for _ in 0..2 {
                exchange.attributes.principal = None;
                assert!(passes(&exchange.request_head(&filter)));
                let proved = exchange.attributes.principal.clone().unwrap();
                assert_eq!(proved.consumer.as_deref(), Some("app"));
                assert!(proved.is_in("inside") && proved.schemes == ["mtls"]);
            }
        }
    }

    #[test]
    fn strangers_are_whom_their_certificates_name_or_nobody() {
        let verdict = of("CN=other", &[]).request_head(&filter(Strangers::Refuse));
        assert_eq!(code(&verdict), "invalid_credentials");
        let mut exchange = of("CN=other", &["URI:spiffe://a/b"]);
        assert!(passes(&exchange.request_head(&filter(Strangers::Accept))));
        let proved = exchange.attributes.principal.unwrap();
        assert_eq!(proved.subject.as_deref(), Some("CN=other"));
        assert_eq!(proved.consumer, None);
        let sans: Vec<_> = proved.claims.values("certificate.san").collect();
        assert_eq!(sans, ["URI:spiffe://a/b"]);
    }

    #[test]
    fn nothing_else_proves_anything() {
        let mut plain = Exchange::default();
        for (name, value) in [
            ("x-client-cert-subject", "CN=app"),
            ("x-forwarded-client-cert", "Subject=\"CN=app\""),
        ] {
            plain.head.fields.add(name, value.as_bytes()).unwrap();
        }
        let mut without = Exchange::default();
        without.attributes.tls = Some(Rc::default());
        for mut exchange in [plain, without] {
            let verdict = exchange.request_head(&filter(Strangers::Accept));
            assert_eq!(code(&verdict), "no_credentials");
        }
    }

    #[test]
    fn a_core_does_not_take_one_filters_word_for_anothers() {
        let mut exchange = of("CN=other", &[]);
        assert!(passes(&exchange.request_head(&filter(Strangers::Accept))));
        exchange.attributes.principal = None;
        let verdict = exchange.request_head(&filter(Strangers::Refuse));
        assert_eq!(code(&verdict), "invalid_credentials");
    }
}
