//! Certificates of the cases: an authority of their own, and what it issues, as files.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::process::{output, tool};

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
    serial: u64,
    /// The files live as long as anything that may read them.
    _dir: Rc<TempDir>,
}

impl Pair {
    /// The certificate's path as an argument.
    pub fn cert(&self) -> &str {
        self.cert.to_str().unwrap()
    }

    /// The key's path as an argument.
    pub fn key(&self) -> &str {
        self.key.to_str().unwrap()
    }

    /// As an inline table of a listener's `certificate`.
    pub fn toml(&self) -> String {
        format!("{{ cert = {:?}, key = {:?} }}", self.cert, self.key)
    }

    /// Puts `other` in this one's place, file by file as a renewal does.
    pub fn replace_by(&self, other: &Self) {
        for (from, to) in [(&other.key, &self.key), (&other.cert, &self.cert)] {
            let fresh = to.with_extension("fresh");
            fs::copy(from, &fresh).unwrap();
            fs::rename(&fresh, to).unwrap();
        }
    }
}

/// When a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for a month.
    Now,
    /// Until yesterday.
    Past,
}

/// An authority with its own scratch directory.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    dir: Rc<TempDir>,
    issued: std::cell::Cell<u64>,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> Self {
        let dir = Rc::new(tempfile::tempdir().unwrap());
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        set_validity(&mut params, Validity::Now);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
        fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            dir,
            issued: std::cell::Cell::new(0),
        }
    }

    /// Its certificate's file.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The same as an argument.
    pub fn trust(&self) -> String {
        self.ca().to_str().unwrap().to_owned()
    }

    /// A server's certificate for `names`, which may be wildcards and addresses.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.issue(
            names[0],
            names,
            ExtendedKeyUsagePurpose::ServerAuth,
            Validity::Now,
        )
    }

    /// The same, expired.
    pub fn expired_server(&self, names: &[&str]) -> Pair {
        self.issue(
            names[0],
            names,
            ExtendedKeyUsagePurpose::ServerAuth,
            Validity::Past,
        )
    }

    /// A client's certificate whose subject is `name`, with `sans`.
    pub fn client(&self, name: &str, sans: &[&str]) -> Pair {
        self.issue(
            name,
            sans,
            ExtendedKeyUsagePurpose::ClientAuth,
            Validity::Now,
        )
    }

    fn issue(
        &self,
        subject: &str,
        sans: &[&str],
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Pair {
        let sans: Vec<String> = sans.iter().map(|s| (*s).to_owned()).collect();
        let mut params = CertificateParams::new(sans).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let serial = 0x1000 + self.issued.get();
        self.issued.set(self.issued.get() + 1);
        params.serial_number = Some(SerialNumber::from(serial));
        set_validity(&mut params, validity);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let at = |end: &str| self.dir.path().join(format!("{serial:x}.{end}"));
        let pair = Pair {
            cert: at("pem"),
            key: at("key"),
            serial,
            _dir: Rc::clone(&self.dir),
        };
        fs::write(&pair.cert, cert.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// A revocation list with these certificates.
    pub fn revocations(&self, revoked: &[&Pair]) -> PathBuf {
        let epoch = date_time_ymd(1970, 1, 1);
        let list = CertificateRevocationListParams {
            this_update: epoch + in_days(-1),
            next_update: epoch + in_days(30),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|pair| RevokedCertParams {
                    serial_number: SerialNumber::from(pair.serial),
                    revocation_time: epoch + in_days(-1),
                    reason_code: Some(RevocationReason::KeyCompromise),
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.path().join(format!("{}.crl", revoked.len()));
        fs::write(&path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }

    /// An OCSP answer (DER) that says `pair` is good, as openssl makes it.
    pub fn ocsp(&self, pair: &Pair) -> PathBuf {
        let index = self.dir.path().join("index.txt");
        let line = format!("V\t401231235959Z\t\t{:04X}\tunknown\t/CN=x\n", pair.serial);
        fs::write(&index, line).unwrap();
        let answer = pair.cert.with_extension("ocsp");
        let (ca, key) = (self.ca(), self.dir.path().join("ca.key"));
        let path = |p: &Path| p.to_str().unwrap().to_owned();
        let request = path(&pair.cert.with_extension("ocsp-request"));
        let mut ask = tool("openssl");
        ask.args(["ocsp", "-issuer", &path(&ca), "-cert", pair.cert()])
            .args(["-no_nonce", "-reqout", &request]);
        assert!(output(ask, b"").success);
        let mut respond = tool("openssl");
        respond
            .args(["ocsp", "-index", &path(&index), "-CA", &path(&ca)])
            .args(["-rsigner", &path(&ca), "-rkey", &path(&key)])
            .args([
                "-reqin",
                &request,
                "-respout",
                &path(&answer),
                "-ndays",
                "7",
            ]);
        let made = output(respond, b"");
        assert!(
            made.success && answer.exists(),
            "openssl ocsp: {}",
            made.all()
        );
        answer
    }
}

/// The time in so many days, since 1970: the certificate library has no clock of its own.
fn in_days(days: i64) -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = i64::try_from(since.as_secs()).unwrap() + days * 24 * 60 * 60;
    Duration::from_secs(seconds.try_into().unwrap())
}

fn set_validity(params: &mut CertificateParams, validity: Validity) {
    let epoch = date_time_ymd(1970, 1, 1);
    (params.not_before, params.not_after) = match validity {
        Validity::Now => (epoch + in_days(-1), epoch + in_days(30)),
        Validity::Past => (epoch + in_days(-30), epoch + in_days(-1)),
    };
}
