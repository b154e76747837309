//! How a listener speaks TLS.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::model::{
    Acme, Alpn, Challenge, CipherSuite, Listener, ListenerTls, TlsVersion,
};
use ringgate_config::{Diagnostic, Spanned};
use ringgate_core::acme::{Challenges, TLS_ALPN01_PROTOCOL};
use ringgate_core::tls::{Certificates, IdentityFields, Named, ServerTls, Tickets, UnlistedName};
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::clients::Demands;
use super::files::Digest;
use super::pair::Purpose;
use super::reader::{PROVIDER, Reader};

/// A listener's TLS, and what it was made from.
pub struct Server {
    pub tls: Arc<ServerTls>,
    /// The names of its certificates.
    pub names: Vec<Box<str>>,
    made_from: Ingredients,
    tickets: Option<Arc<Tickets>>,
}

#[derive(PartialEq, Eq)]
struct Ingredients {
    settings: ListenerTls,
    managed: Vec<Box<str>>,
    answers: Answers,
    demands: Demands,
    files: Vec<Digest>,
}

/// Whether handshakes of an authority are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    No,
    TlsAlpn01,
}

/// A certificate on its way into a listener.
struct Entry {
    named: Named,
    span: ringgate_config::Span,
}

impl Reader {
    /// The TLS of a listener: `former` if it would be the same, and its ticket keys if sessions
    /// stand for the same checks of clients.
    pub fn server(
        &mut self,
        listener: &Listener,
        acme: Option<&Acme>,
        challenges: &Arc<Challenges>,
        former: Option<&Server>,
    ) -> Option<Server> {
        let settings = listener.tls.as_ref()?;
        let mut entries = self.written(settings);
        if let Some(acme) = acme {
            let others = names_of(&entries);
            entries.extend(listener.acme.iter().filter_map(|name| {
                let named = self.managed(acme, name, &others)?;
                let span = name.span;
                Some(Entry { named, span })
            }));
        }
        self.check_twice(&entries);
        let verifier = self.client_verifier(settings);
        let demands = self.demands(settings);
        let made_from = self.ingredients(listener, settings, acme, demands);
        let names = names_of(&entries);
        if let Some(former) = former.filter(|former| former.made_from == made_from) {
            return Some(Server {
                tls: Arc::clone(&former.tls),
                names,
                made_from,
                tickets: former.tickets.clone(),
            });
        }
        let tickets = match settings.session_tickets {
            true => Some(self.tickets(listener, settings, &made_from.demands, former)?),
            false => None,
        };
        let certificates: Vec<Named> = entries.into_iter().map(|entry| entry.named).collect();
        let unlisted = match settings.strict_sni {
            true => UnlistedName::Refused,
            false => UnlistedName::First,
        };
        let answering = (made_from.answers == Answers::TlsAlpn01).then(|| Arc::clone(challenges));
        let resolver = Certificates::new(&certificates, unlisted, answering)?;
        let mut config = ServerConfig::builder_with_provider(provider(settings))
            .with_protocol_versions(&versions(settings.min_version, settings.max_version))
            .map_err(|error| self.unusable(listener, &error))
            .ok()?
            .with_client_cert_verifier(verifier?)
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = alpn(settings, made_from.answers);
        config.ignore_client_order = !settings.ciphers.is_empty();
        // Tickets hold all that there is of a session, so that every worker can take it up.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        if let Some(tickets) = &tickets {
            config.ticketer = Arc::clone(tickets) as _;
            config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        }
        Some(Server {
            tls: Arc::new(ServerTls {
                config: Arc::new(config),
                handshake_timeout: settings.handshake_timeout.into(),
                identity: match settings.client_identity_headers {
                    true => IdentityFields::On,
                    false => IdentityFields::Off,
                },
            }),
            names,
            made_from,
            tickets,
        })
    }

    /// The certificates that the configuration names, as far as they can be used.
    fn written(&mut self, settings: &ListenerTls) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(settings.certificates.len());
        for certificate in &settings.certificates {
            let pair = self.pair(&certificate.cert, &certificate.key, Purpose::Server);
            let Some(pair) = pair else {
                continue;
            };
            if pair.names.is_empty() && !entries.is_empty() {
                let what = "is for no host name: it is never shown, as it is not the first";
                let help = "have it issued with the host's name among its alternative names";
                self.warning("tls-certificate", &certificate.cert, what, help);
            }
            let leaf = pair.key.cert[0].clone();
            let staple = certificate.ocsp.as_ref();
            let staple = staple.and_then(|path| self.staple(path, &leaf));
            entries.push(Entry {
                named: Named {
                    names: pair.names,
                    key: pair.key,
                    staple,
                },
                span: certificate.cert.span,
            });
        }
        entries
    }

    /// Of two certificates for one name with the same kind of key, the second is never shown.
    fn check_twice(&mut self, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            let kind = |entry: &Entry| entry.named.key.key.algorithm();
            let twin = entries[..index].iter().find_map(|earlier| {
                let mut names = entry.named.names.iter();
                let name = names.find(|name| earlier.named.names.contains(name))?;
                (kind(earlier) == kind(entry)).then_some((earlier, name))
            });
            if let Some((earlier, name)) = twin {
                let message = format!(
                    "two certificates with {:?} keys are for {name}: only the first is shown for it",
                    kind(entry)
                );
                let finding = Diagnostic::warning("tls-name-twice", message, entry.span)
                    .related(earlier.span, "the first")
                    .help("remove one of them; beside an RSA certificate an ECDSA one may stand");
                self.findings.push(finding);
            }
        }
    }

    fn ingredients(
        &mut self,
        listener: &Listener,
        settings: &ListenerTls,
        acme: Option<&Acme>,
        demands: Demands,
    ) -> Ingredients {
        let mut files = Vec::new();
        for certificate in &settings.certificates {
            files.push(self.files.digest(&certificate.cert.value));
            files.push(self.files.digest(&certificate.key.value));
            let staple = certificate.ocsp.as_ref();
            files.extend(staple.map(|path| self.files.digest(&path.value)));
        }
        for (name, acme) in listener.acme.iter().zip(acme.into_iter().cycle()) {
            let paths = super::managed::paths(acme, name);
            files.extend(paths.map(|path: PathBuf| self.files.digest(&path)));
        }
        let by_handshake = acme.is_some_and(|acme| acme.challenge.value == Challenge::TlsAlpn01);
        Ingredients {
            settings: settings.clone(),
            managed: listener
                .acme
                .iter()
                .map(|name| name.value.clone())
                .collect(),
            answers: match by_handshake && !listener.acme.is_empty() {
                true => Answers::TlsAlpn01,
                false => Answers::No,
            },
            demands,
            files,
        }
    }

    fn tickets(
        &mut self,
        listener: &Listener,
        settings: &ListenerTls,
        demands: &Demands,
        former: Option<&Server>,
    ) -> Option<Arc<Tickets>> {
        let same = former.filter(|former| {
            former.made_from.demands == *demands
                && former.made_from.settings.ticket_rotation == settings.ticket_rotation
        });
        if let Some(tickets) = same.and_then(|former| former.tickets.clone()) {
            return Some(tickets);
        }
        Tickets::new(settings.ticket_rotation)
            .map(Arc::new)
            .map_err(|error| {
                let message = format!("{error}");
                let finding = Diagnostic::error("tls-tickets", message, listener.name.span);
                self.findings
                    .push(finding.help("try again; the system is out of order"));
            })
            .ok()
    }

    fn unusable(&mut self, listener: &Listener, error: &rustls::Error) {
        let message = format!("TLS cannot be spoken with these versions and suites: {error}");
        let finding = Diagnostic::error("tls-versions", message, listener.name.span);
        let help = "leave `ciphers` out, or list at least one suite of each version";
        self.findings.push(finding.help(help));
    }
}

fn names_of(entries: &[Entry]) -> Vec<Box<str>> {
    let names = entries.iter().flat_map(|entry| &entry.named.names);
    names.cloned().collect()
}

/// A path that is not written anywhere, noted at what it comes from.
pub fn at<T>(path: PathBuf, origin: &Spanned<T>) -> Spanned<PathBuf> {
    Spanned::new(path, origin.span)
}

fn provider(settings: &ListenerTls) -> Arc<CryptoProvider> {
    if settings.ciphers.is_empty() {
        return Arc::clone(&PROVIDER);
    }
    let mut provider = CryptoProvider::clone(&PROVIDER);
    let wanted = settings
        .ciphers
        .iter()
        .map(|suite| named_suite(suite.value));
    provider.cipher_suites = wanted
        .filter_map(|wanted| {
            let mut known = PROVIDER.cipher_suites.iter();
            known.find(|suite| suite.suite() == wanted).copied()
        })
        .collect();
    Arc::new(provider)
}

fn named_suite(suite: CipherSuite) -> rustls::CipherSuite {
    use rustls::CipherSuite as Suite;
    match suite {
        CipherSuite::Tls13Aes256 => Suite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Tls13Aes128 => Suite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Tls13ChaCha20 => Suite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdsaAes256 => Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaAes128 => Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaChaCha20 => Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes256 => Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaAes128 => Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaChaCha20 => Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

/// The versions between two, the newer first.
pub fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)]
        .into_iter()
        .filter(|(version, _)| (min..=max).contains(version))
        .map(|(_, version)| version)
        .collect()
}

fn alpn(settings: &ListenerTls, answers: Answers) -> Vec<Vec<u8>> {
    let mut offered: Vec<Vec<u8>> = settings
        .alpn
        .iter()
        .map(|protocol| match protocol {
            Alpn::Http2 => b"h2".to_vec(),
            Alpn::Http11 => b"http/1.1".to_vec(),
        })
        .collect();
    if answers == Answers::TlsAlpn01 {
        offered.push(TLS_ALPN01_PROTOCOL.to_vec());
    }
    offered
}

/// A client that opens connections in parallel needs one for each (RFC 8446 section C.4).
const TICKETS_PER_HANDSHAKE: usize = 2;
