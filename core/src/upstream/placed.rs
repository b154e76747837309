//! An endpoint as a pool has it.

use std::ops::Deref;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::balance;
use crate::http::authority::Authority;
use crate::snapshot::Endpoint;

/// An endpoint in a pool, with the text that logs name it by.
#[derive(Debug)]
pub struct Placed {
    pub(super) endpoint: Endpoint,
    /// The address as text.
    pub label: Box<str>,
    /// What sticky cookies name it by.
    pub id: u64,
    /// The name that its certificate has to prove, where the upstream names none.
    pub(super) server_name: Option<ServerName<'static>>,
    /// All endpoints of its upstream.
    siblings: Arc<[Endpoint]>,
}

impl Placed {
    pub(super) fn new(endpoint: &Endpoint, siblings: &Arc<[Endpoint]>) -> Placed {
        let host = Authority::parse(endpoint.authority.as_bytes());
        let host = host.and_then(|parts| endpoint.authority.get(..parts.host_len));
        let name = host.and_then(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(bare.to_owned()).ok()
        });
        Placed {
            label: endpoint.addr.to_string().into(),
            id: balance::endpoint_id(&endpoint.addr, &endpoint.authority),
            siblings: Arc::clone(siblings),
            endpoint: endpoint.clone(),
            server_name: name,
        }
    }
}

impl Placed {
    /// All endpoints of its upstream, itself among them.
    pub(crate) fn siblings(&self) -> &[Endpoint] {
        &self.siblings
    }

    /// Whether connections to one are connections to the other: the name is what a certificate
    /// has proved.
    pub(super) fn is_same_place(&self, other: &Endpoint) -> bool {
        self.endpoint.addr == other.addr && self.endpoint.authority == other.authority
    }
}

impl Deref for Placed {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}
