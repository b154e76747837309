//! TLS as the data plane uses it: configurations made elsewhere, sessions driven without I/O.

mod identity;
mod resolver;
mod tickets;

use std::sync::Arc;

pub use identity::{
    ClientIdentity, SANS_BYTES_MAX, SANS_MAX, SUBJECT_BYTES_MAX, is_in_time,
    subject as subject_text,
};
pub use resolver::{Certificates, Named, Staple, UnlistedName};
pub use tickets::{NoRandomness, Tickets};

use rustls::pki_types::ServerName;

use crate::rt::wheel::Ticks;

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificates by name, versions, suites, tickets, client authentication, protocols.
    pub config: Arc<rustls::ServerConfig>,
    /// For a whole handshake.
    pub handshake_timeout: Ticks,
    /// Whether origins are told who the client's certificate names.
    pub identity: IdentityFields,
}

/// Whether origins are told who the client's certificate names. The fields are taken out of
/// every request that comes in, whatever is set here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityFields {
    /// They are not told.
    #[default]
    Off,
    /// By `X-Client-Cert-Subject`, `-San` and `-Fingerprint`.
    On,
}

/// How an upstream's connections speak TLS.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Roots, client certificate, versions, sessions, protocols.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that is asked for and verified; none takes the endpoint's own.
    pub name: Option<ServerName<'static>>,
}
