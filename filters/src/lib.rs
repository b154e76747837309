//! Ringgate's filters: pure decisions over a request, one file per filter, behind one closed
//! enum so that every call of the chain is static.
//!
//! A filter touches no socket and reads no clock. What its settings demand of a head was
//! checked when the configuration was read, so a decision cannot fail on a constant.

mod address;
pub mod auth;
pub mod authorize;
mod body_limit;
mod concurrency_limit;
mod cors;
mod csrf;
mod dice;
mod fault;
mod grpc_web;
mod headers;
mod maintenance;
mod origin;
mod origin_token;
pub mod rate_limit;
mod rewrite;
mod security_headers;
#[cfg(test)]
mod testing;

pub use address::{ADDRESS_BLOCKED, Address, Networks, Rule, Unlisted};
pub use auth::Authenticate;
pub use authorize::Authorize;
pub use body_limit::BodyLimit;
pub use concurrency_limit::ConcurrencyLimit;
pub use cors::{CROSS_SITE, Cors, Credentials, Others, PrivateNetwork};
pub use csrf::{Csrf, Referer, Unmarked};
pub use fault::Fault;
pub use grpc_web::GrpcWeb;
pub use headers::{HeaderEdits, Headers};
pub use maintenance::{Enabled, Maintenance, Page};
pub use origin::{Every, Hosts, OriginRegex, Origins, Port};
pub use origin_token::{OriginToken, Token, TokenPlace, TokenPlaces};
pub use rate_limit::RateLimit;
pub use rewrite::Rewrite;
pub use security_headers::{Present, SecurityHeaders, Software};

use ringgate_core::chain::{self, Answer, Bodies, BodyMode, BodyPhase, BodyVerdict, CallOutcome};
use ringgate_core::chain::{RequestPhase, ResponsePhase, Verdict};
use ringgate_core::rt::clock::Moment;

/// Every filter that the gateway knows.
#[derive(Debug)]
pub enum Filter {
    /// Sets, adds and removes fields.
    Headers(Headers),
    /// Changes the path.
    Rewrite(Rewrite),
    /// Refuses large request bodies.
    BodyLimit(BodyLimit),
    /// Translates gRPC-Web to gRPC and back.
    GrpcWeb(GrpcWeb),
    /// Bounds the requests that a key has under way.
    ConcurrencyLimit(ConcurrencyLimit),
    /// Delays and aborts a share of requests.
    Fault(Fault),
    /// Answers in place of origins that are being worked on.
    Maintenance(Maintenance),
    /// Keeps clients out by their addresses.
    Address(Address),
    /// Says which origins' pages may read answers.
    Cors(Box<Cors>),
    /// Refuses what pages of other sites make browsers send.
    Csrf(Box<Csrf>),
    /// Tells browsers to be careful.
    SecurityHeaders(SecurityHeaders),
    /// Sends the gateway's own token.
    OriginToken(OriginToken),
    /// Asks who makes a request.
    Authenticate(Box<Authenticate>),
    /// Says what somebody may do.
    Authorize(Authorize),
    /// Limits rates, and quotas of days and months. Boxed: it is much larger than the others.
    RateLimit(Box<RateLimit>),
}

/// What the filters of one core remember between requests.
#[derive(Debug, Default)]
pub struct Core {
    /// Where rewritten paths are put together; only its capacity outlives a request.
    pub(crate) path: Vec<u8>,
    /// Where pieces of bodies are translated; only its capacity outlives a piece.
    pub(crate) text: Vec<u8>,
    /// For shares of requests.
    pub(crate) dice: dice::Dice,
    /// What schemes of authentication have learned.
    pub(crate) auth: auth::Memory,
    /// Tokens of rate limits that this core may use.
    pub(crate) leases: rate_limit::Leases,
}

/// What the filters of one exchange remember between its phases.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The answer to a body whose length is not known ahead and turns out too long.
    pub(crate) body_too_large: Option<Box<Answer>>,
    /// How a request of gRPC-Web is translated.
    pub(crate) grpc_web: grpc_web::Translation,
    /// Places among the requests of its keys.
    pub(crate) places: concurrency_limit::Held,
    /// Where the question who makes the request stands.
    pub(crate) auth: auth::Progress,
    /// Who has answered a preflight.
    pub(crate) preflight: cors::Preflight,
    /// What rate limits have left, for the response's fields.
    pub(crate) told: rate_limit::Told,
    /// Rate limits that would have refused.
    pub(crate) dry: rate_limit::Dry,
}

impl chain::Filter for Filter {
    type Core = Core;
    type Scratch = Scratch;

    fn request_body_mode(&self) -> BodyMode {
        match self {
            Filter::BodyLimit(_) => BodyMode::Observe,
            Filter::GrpcWeb(_) => BodyMode::Rewrite,
            _ => BodyMode::Skip,
        }
    }

    fn response_body_mode(&self) -> BodyMode {
        match self {
            Filter::GrpcWeb(_) => BodyMode::Rewrite,
            _ => BodyMode::Skip,
        }
    }

    fn bodies(&self, scratch: &Scratch) -> Bodies {
        match self {
            Filter::GrpcWeb(grpc_web) => grpc_web.bodies(scratch),
            _ => Bodies::Wanted,
        }
    }

    fn request_head(&self, phase: &mut RequestPhase<'_, Self>) -> Verdict {
        match self {
            Filter::Headers(headers) => headers.request_head(phase),
            Filter::Rewrite(rewrite) => rewrite.request_head(phase),
            Filter::BodyLimit(limit) => limit.request_head(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.request_head(phase),
            Filter::ConcurrencyLimit(limit) => limit.request_head(phase),
            Filter::Fault(fault) => fault.request_head(phase),
            Filter::Maintenance(maintenance) => maintenance.request_head(phase),
            Filter::Address(address) => address.request_head(phase),
            Filter::Cors(cors) => cors.request_head(phase),
            Filter::Csrf(csrf) => csrf.request_head(phase),
            Filter::SecurityHeaders(_) => Verdict::Continue,
            Filter::OriginToken(token) => token.request_head(phase),
            Filter::Authenticate(authenticate) => authenticate.request_head(phase),
            Filter::Authorize(authorize) => authorize.request_head(phase),
            Filter::RateLimit(limit) => limit.request_head(phase),
        }
    }

    fn preflight(&self, phase: &mut RequestPhase<'_, Self>) -> Option<Box<Answer>> {
        match self {
            Filter::Address(address) => address.refusal(phase),
            Filter::Cors(cors) => cors.preflight(phase),
            _ => None,
        }
    }

    fn resume(&self, phase: &mut RequestPhase<'_, Self>, outcomes: &[CallOutcome]) -> Verdict {
        match self {
            Filter::Authenticate(authenticate) => authenticate.resume(phase, outcomes),
            // No other one waits for anything.
            _ => Verdict::Continue,
        }
    }

    fn request_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::BodyLimit(limit) => limit.request_body(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.request_body(phase),
            _ => BodyVerdict::Continue,
        }
    }

    fn response_head(&self, phase: &mut ResponsePhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::Headers(headers) => headers.response_head(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.response_head(phase),
            Filter::Cors(cors) => cors.response_head(phase),
            Filter::SecurityHeaders(headers) => headers.response_head(phase),
            Filter::RateLimit(limit) => limit.response_head(phase),
            _ => BodyVerdict::Continue,
        }
    }

    fn response_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::GrpcWeb(grpc_web) => grpc_web.response_body(phase),
            _ => BodyVerdict::Continue,
        }
    }

    fn describe(&self) -> String {
        match self {
            Filter::Headers(headers) => headers.describe(),
            Filter::Rewrite(rewrite) => rewrite.describe(),
            Filter::BodyLimit(limit) => limit.describe(),
            Filter::GrpcWeb(grpc_web) => grpc_web.describe(),
            Filter::ConcurrencyLimit(limit) => limit.describe(),
            Filter::Fault(fault) => fault.describe(),
            Filter::Maintenance(maintenance) => maintenance.describe(),
            Filter::Address(address) => address.describe(),
            Filter::Cors(cors) => cors.describe(),
            Filter::Csrf(csrf) => csrf.describe(),
            Filter::SecurityHeaders(headers) => headers.describe(),
            Filter::OriginToken(token) => token.describe(),
            Filter::Authenticate(authenticate) => authenticate.describe(),
            Filter::Authorize(authorize) => authorize.describe(),
            Filter::RateLimit(limit) => limit.describe(),
        }
    }

    fn would_refuse(&self, scratch: &Scratch) -> bool {
        match self {
            Filter::RateLimit(limit) => limit.would_refuse(scratch),
            _ => false,
        }
    }

    fn tick(core: &mut Core, now: Moment) {
        core.leases.tick(now);
    }

    fn tell(&self, phase: &RequestPhase<'_, Self>) -> Option<String> {
        match self {
            Filter::ConcurrencyLimit(limit) => limit.tell(phase),
            Filter::Fault(fault) => fault.tell(phase),
            Filter::Maintenance(maintenance) => maintenance.tell(phase),
            Filter::Address(address) => address.tell(phase),
            Filter::Cors(cors) => cors.tell(phase),
            Filter::Csrf(csrf) => csrf.tell(phase),
            Filter::Authenticate(authenticate) => authenticate.tell(phase),
            Filter::Authorize(authorize) => authorize.tell(phase),
            Filter::RateLimit(limit) => limit.tell(phase),
            _ => None,
        }
    }
}
