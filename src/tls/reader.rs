//! What is at hand while a configuration's certificates are read: files, the time, and a place
//! for what is found to be wrong.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringgate_config::model::Name;
use ringgate_config::{Diagnostic, Related, Severity, Spanned};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::SectionKind;

use super::files::{Content, Files};

/// The one provider of cryptography.
pub static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Reads, and notes what is wrong.
pub struct Reader {
    pub files: Files,
    pub findings: Vec<Diagnostic>,
    /// Seconds since 1970.
    pub now: i64,
}

impl Reader {
    pub fn new(now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            files: Files::default(),
            findings: Vec::new(),
            now: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Notes an error at the path that a file is named by, once for each file. `FILE` in the
    /// help stands for the path.
    pub fn error(
        &mut self,
        code: &'static str,
        path: &Spanned<PathBuf>,
        what: impl AsRef<str>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Error, code, path, what, help);
    }

    /// Notes a warning likewise.
    pub fn warning(
        &mut self,
        code: &'static str,
        path: &Spanned<PathBuf>,
        what: impl AsRef<str>,
        help: impl Into<String>,
    ) {
        self.note(Severity::Warning, code, path, what, help);
    }

    fn note(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &Spanned<PathBuf>,
        what: impl AsRef<str>,
        help: impl Into<String>,
    ) {
        let shown = path.value.display().to_string();
        let message = format!("{shown} {}", what.as_ref());
        let mut findings = self.findings.iter_mut();
        match findings.find(|known| known.code == code && known.message == message) {
            Some(known) => {
                let at = Some(path.span);
                let told = known.related.iter().any(|other| Some(other.span) == at);
                if known.span != at && !told {
                    known.related.push(Related {
                        span: path.span,
                        message: "named here too".to_owned(),
                    });
                }
            }
            None => {
                let help = help.into().replace("FILE", &shown);
                let finding = Diagnostic::new(severity, code, message, path.span);
                self.findings.push(finding.help(help));
            }
        }
    }

    /// Notes an error if there is none: what should speak TLS and cannot must not speak plain.
    pub fn never_plain(&mut self, kind: &str, name: &Spanned<Name>) {
        if !self.has_errors() {
            let message = format!("{kind} \"{}\" cannot speak TLS as it is set up", name.value);
            let finding = Diagnostic::error("tls-setup", message, name.span);
            self.findings.push(finding.help("please report this"));
        }
    }

    /// Whether an error has been noted.
    pub fn has_errors(&self) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.severity == Severity::Error)
    }

    /// The content of a file, or nothing and an error.
    pub fn content(&mut self, path: &Spanned<PathBuf>) -> Option<Arc<Content>> {
        match self.files.read(&path.value) {
            Ok(content) => Some(content),
            Err(unreadable) => {
                self.error("tls-file", path, &unreadable.why, unreadable.help);
                None
            }
        }
    }

    /// The certificates in a file, in its order; never empty.
    pub fn certificates(
        &mut self,
        path: &Spanned<PathBuf>,
    ) -> Option<Vec<CertificateDer<'static>>> {
        let content = self.content(path)?;
        let certificates: Vec<_> = match content.sections() {
            Ok(sections) => sections
                .into_iter()
                .filter(|(kind, _)| *kind == SectionKind::Certificate)
                .map(|(_, der)| CertificateDer::from(der))
                .collect(),
            Err(error) => {
                let what = format!("has a malformed PEM block: {error}");
                self.error("tls-certificate", path, what, "write the file anew");
                return None;
            }
        };
        if certificates.is_empty() {
            let help = match content.looks_like_der() {
                true => {
                    "it looks like DER: convert it, openssl x509 -inform der -in FILE -out FILE.pem"
                }
                false => "it must hold PEM blocks that begin with -----BEGIN CERTIFICATE-----",
            };
            self.error("tls-certificate", path, "holds no certificate", help);
            return None;
        }
        Some(certificates)
    }

    /// How a moment stands to now, such as "3 days ago (2026-11-19)".
    pub fn when(&self, at: i64) -> String {
        let apart = Duration::from_secs(at.abs_diff(self.now));
        let (count, unit) = match apart.as_secs() {
            0..3_600 => (apart.as_secs() / 60, "minute"),
            3_600..172_800 => (apart.as_secs() / 3_600, "hour"),
            _ => (apart.as_secs() / 86_400, "day"),
        };
        let plural = if count == 1 { "" } else { "s" };
        let date = x509_parser::time::ASN1Time::from_timestamp(at).map_or_else(
            |_| "?".to_owned(),
            |time| time.to_datetime().date().to_string(),
        );
        match at < self.now {
            true => format!("{count} {unit}{plural} ago ({date})"),
            false => format!("in {count} {unit}{plural} ({date})"),
        }
    }
}
