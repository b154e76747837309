//! The schemes of authentication behind one closed enum.

use ringgate_core::chain::{CallOutcome, RequestPhase};

use super::{
    ApiKey, Basic, Finding, ForwardAuth, Introspection, Jwt, Mtls, Refusal, forward, introspection,
    jwt,
};
use crate::Filter;

/// A way of proving who makes a request.
#[derive(Debug)]
pub enum Scheme {
    /// By a key that a consumer sends.
    ApiKey(ApiKey),
    /// By a signed token.
    Jwt(Jwt),
    /// By a user name and a password.
    Basic(Basic),
    /// By the client's certificate.
    Mtls(Mtls),
    /// A service is asked about each request.
    Forward(ForwardAuth),
    /// By a token that its server is asked about.
    Introspection(Introspection),
}

impl Scheme {
    /// As logs, metrics and principals call it.
    pub fn name(&self) -> &'static str {
        match self {
            Scheme::ApiKey(scheme) => scheme.name(),
            Scheme::Jwt(_) => jwt::NAME,
            Scheme::Basic(scheme) => scheme.name(),
            Scheme::Mtls(scheme) => scheme.name(),
            Scheme::Forward(_) => forward::NAME,
            Scheme::Introspection(_) => introspection::NAME,
        }
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        match self {
            Scheme::ApiKey(scheme) => scheme.check(phase),
            Scheme::Jwt(scheme) => scheme.check(phase),
            Scheme::Basic(scheme) => scheme.check(phase),
            Scheme::Mtls(scheme) => scheme.check(phase),
            Scheme::Forward(forward) => forward.check(phase),
            Scheme::Introspection(scheme) => scheme.check(phase),
        }
    }

    /// What was asked for has been done; of calls, these are the outcomes.
    pub(super) fn resume(
        &self,
        phase: &mut RequestPhase<'_, Filter>,
        outcomes: &[CallOutcome],
    ) -> Finding {
        match self {
            Scheme::ApiKey(scheme) => scheme.resume(phase),
            Scheme::Basic(scheme) => scheme.resume(phase),
            Scheme::Jwt(scheme) => scheme.resume(phase),
            // It asks for nothing.
            Scheme::Mtls(_) => Finding::Absent,
            Scheme::Forward(forward) => forward.resume(phase, outcomes),
            Scheme::Introspection(scheme) => scheme.resume(phase, outcomes),
        }
    }

    /// A `WWW-Authenticate` challenge (RFC 9110, 11.6.1), if the scheme has one.
    pub(super) fn challenge(&self, realm: &str, refusal: Option<&Refusal>) -> Option<String> {
        match self {
            Scheme::ApiKey(scheme) => scheme.challenge(realm, refusal),
            Scheme::Jwt(_) => Some(Jwt::challenge(realm, refusal)),
            Scheme::Basic(scheme) => Some(scheme.challenge(realm)),
            Scheme::Mtls(scheme) => Some(scheme.challenge(realm)),
            // The service's answer has its own.
            Scheme::Forward(_) => None,
            Scheme::Introspection(_) => Some(Jwt::challenge(realm, refusal)),
        }
    }

    /// The request is admitted: takes its credential out of the head, where it is not for the
    /// origin.
    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        match self {
            Scheme::ApiKey(scheme) => scheme.hide(phase),
            Scheme::Jwt(scheme) => scheme.hide(phase),
            Scheme::Basic(scheme) => scheme.hide(phase),
            Scheme::Mtls(_) => {}
            Scheme::Forward(forward) => forward.hide(phase),
            Scheme::Introspection(scheme) => scheme.hide(phase),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Scheme::ApiKey(scheme) => scheme.describe(),
            Scheme::Jwt(scheme) => scheme.describe(),
            Scheme::Basic(scheme) => scheme.describe(),
            Scheme::Mtls(scheme) => scheme.describe(),
            Scheme::Forward(forward) => forward.describe(),
            Scheme::Introspection(scheme) => scheme.describe(),
        }
    }

    /// Whom it asks about the request, and what, for `explain`.
    pub(super) fn asks(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        match self {
            Scheme::Forward(forward) => Some(forward.asks(phase)),
            Scheme::Introspection(scheme) => Some(scheme.asks()),
            _ => None,
        }
    }
}
