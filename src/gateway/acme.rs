//! ACME between the configuration, the control plane that orders and the workers that answer:
//! one certificate for each host name, however many listeners have it.

use std::path::PathBuf;
use std::sync::Arc;

use ringgate_config::Config;
use ringgate_config::model::Challenge;
use ringgate_control::acme::{ChallengeKind, Names, Proof, Settings};
use ringgate_core::acme::Challenges;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// What is ordered; `None` where no listener has names to order for.
pub(super) fn settings(config: &Config) -> Option<Settings> {
    let acme = config.acme.as_ref()?;
    let mut certificates: Vec<Names> = Vec::new();
    for name in config.listeners.iter().flat_map(|listener| &listener.acme) {
        // The reader has refused what is no host name.
        let names = Names::new([&*name.value]);
        certificates.extend(names.filter(|names| !certificates.contains(names)));
    }
    let settings = Settings {
        directory: acme.directory.value.to_string(),
        contact: acme
            .contact
            .iter()
            .map(|contact| contact.value.to_string())
            .collect(),
        storage: acme.storage.value.clone(),
        challenge: match acme.challenge.value {
            Challenge::Http01 => ChallengeKind::Http01,
            Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
        },
        ca: acme.ca.as_ref().map(|path| path.value.clone()),
        renew_before: acme.renew_before,
        certificates,
    };
    (!settings.certificates.is_empty()).then_some(settings)
}

/// The files of `watched` that others write: who orders a certificate asks for the reload
/// itself, and one is enough.
pub(super) fn without_storage(config: &Config, mut watched: Vec<PathBuf>) -> Vec<PathBuf> {
    if let Some(acme) = &config.acme {
        watched.retain(|path| !path.starts_with(&acme.storage.value));
    }
    watched
}

/// Has every worker answer from `proof`.
pub(super) fn prove(challenges: &Challenges, proof: &Proof) -> Result<(), String> {
    let opened = match proof {
        Proof::Http01 {
            token,
            key_authorisation,
        } => challenges.open_http01(token, key_authorisation),
        Proof::TlsAlpn01 {
            name,
            certificate,
            key,
        } => {
            let key = PrivateKeyDer::Pkcs8(key.clone().into());
            let key = any_supported_type(&key).map_err(|error| error.to_string())?;
            // Made for each other; and no verifier would take the critical extension that
            // RFC 8737 asks for.
            let chain = vec![CertificateDer::from(certificate.clone())];
            challenges.open_tls_alpn01(name, Arc::new(CertifiedKey::new(chain, key)))
        }
    };
    opened.map_err(|error| error.to_string())
}

/// Has no worker answer from `proof` any more.
pub(super) fn withdraw(challenges: &Challenges, proof: &Proof) {
    match proof {
        Proof::Http01 { token, .. } => challenges.close_http01(token),
        Proof::TlsAlpn01 { name, .. } => challenges.close_tls_alpn01(name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn proofs_reach_the_workers_table_and_leave_it() {
        let challenges = Challenges::new();
        let token = Proof::Http01 {
            token: "abc".to_owned(),
            key_authorisation: "abc.def".to_owned(),
        };
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let handshake = Proof::TlsAlpn01 {
            name: "a.example".to_owned(),
            certificate: pair.cert.der().to_vec(),
            key: pair.signing_key.serialize_der(),
        };
        prove(&challenges, &token).unwrap();
        prove(&challenges, &handshake).unwrap();
        assert_eq!(challenges.http01(b"abc").unwrap(), "abc.def");
        assert!(challenges.tls_alpn01("a.example").is_some());
        withdraw(&challenges, &token);
        withdraw(&challenges, &handshake);
        assert_eq!(challenges.http01(b"abc"), None);
        assert!(challenges.tls_alpn01("a.example").is_none());
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused() {
        let handshake = Proof::TlsAlpn01 {
            name: "a.example".to_owned(),
            certificate: Vec::new(),
            key: b"no key".to_vec(),
        };
        assert!(prove(&Challenges::new(), &handshake).is_err());
    }
}
