//! The texts that stand in single values: names, addresses, header fields, and so on. Each
//! parser takes the whole text and says what is wrong with it without knowing where it stood.

mod access;
mod address;
mod http;
mod names;
mod oauth;
mod origin;
mod password;
mod policy;
mod time;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::Name;
use crate::units::UnitFault;

pub(crate) use access::{
    certificate_name, claim, entry_prefix, group, key_digest, key_hash, key_id, key_prefix, moment,
    parameter_name, realm, token_subject, user,
};
pub(crate) use address::{admin_host, authority, auto_workers, cores, endpoint, listen, network};
use http::is_token_byte;
pub(crate) use http::{
    CREDENTIALS, absolute_path, body_part, header_name, header_value, is_credential, location,
    method, policy_source, prefix, template, untouchable, via,
};
pub(crate) use names::{
    contact, directory_url, grpc_service, ordered_name, server_name, server_pattern,
};
pub(crate) use oauth::{is_loopback_url, scope, token_url, visible_text};
pub(crate) use origin::origin;
pub(crate) use password::password_hash;
pub use password::{PasswordHashFault, check_password_hash};
pub(crate) use policy::{
    RetryCause, cookie_name, key_part, pass_value, redis_url, retry_cause, signing_secret,
};
pub(crate) use time::{ALL_DAYS, days, minute_of_day, zone};
pub(crate) use token::{
    any_http_url, keys_url, public_pem, token_issuer, token_kid, token_secret, token_type,
};

/// Why a text is not what its key wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it should have been, without an article: `duration`.
    pub what: &'static str,
    /// How that is written: the help of last resort. Never holds parts of the text.
    pub expected: &'static str,
    /// What is wrong; may hold parts of the text.
    pub label: String,
    /// A correct spelling or another way out; may hold parts of the text.
    pub help: Option<String>,
}

impl Fault {
    fn new(what: &'static str, expected: &'static str, label: impl Into<String>) -> Self {
        Self {
            what,
            expected,
            label: label.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

const NAME_LEN_MAX: usize = 64; // metric labels and log lines stay readable

/// A name of something configured.
pub(crate) fn name(text: &str) -> Result<Name, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "name",
            "1 to 64 of the characters `A-Z a-z 0-9 . _ -`",
            label,
        )
    };
    if text.is_empty() {
        return Err(fault("is empty"));
    }
    if text.len() > NAME_LEN_MAX {
        return Err(fault("is longer than 64 characters"));
    }
    match text.chars().find(|&c| !is_name_char(c)) {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Name(Arc::from(text))),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// `30s` and the like, for [`Fault`].
pub(crate) fn quantity_fault(
    what: &'static str,
    expected: &'static str,
    fault: UnitFault,
) -> Fault {
    let mut out = Fault::new(what, expected, fault.label);
    if let Some(instead) = fault.instead {
        out.help = Some(format!("write \"{instead}\""));
    }
    out
}

/// The file of an access log.
pub(crate) fn log_path(text: &str) -> Result<PathBuf, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "access log",
            "\"stdout\", \"off\" or a file path with a `/` in it, such as \"/var/log/ringgate/access.log\"",
            label,
        )
    };
    if text.contains('\0') {
        return Err(fault("a path cannot hold a NUL"));
    }
    if !text.contains('/') {
        // Without this, `stdot` would quietly become a file of that name.
        return Err(
            fault("is neither \"stdout\" nor \"off\" nor a path").help(format!(
                "for a file in the working directory write \"./{text}\""
            )),
        );
    }
    if text.ends_with('/') {
        return Err(fault("is a directory"));
    }
    Ok(PathBuf::from(text))
}

/// A path of a file.
pub(crate) fn file_path(text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() || text.contains('\0') {
        return Err(Fault::new(
            "file path",
            "the path of a file",
            "is not a file path",
        ));
    }
    Ok(PathBuf::from(text))
}
