//! Ringgate's filters: pure decisions over a request, one file per filter, behind one closed
//! enum so that every call of the chain is static.
//!
//! A filter touches no socket and reads no clock. What its settings demand of a head was
//! checked when the configuration was read, so a decision cannot fail on a constant.

mod body_limit;
mod grpc_web;
mod headers;
mod rewrite;
#[cfg(test)]
mod testing;

pub use body_limit::BodyLimit;
pub use grpc_web::GrpcWeb;
pub use headers::{HeaderEdits, Headers};
pub use rewrite::Rewrite;

use ringgate_core::chain::{self, Answer, Bodies, BodyMode, BodyPhase, BodyVerdict};
use ringgate_core::chain::{RequestPhase, ResponsePhase, Verdict};

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
}

/// What the filters of one core remember between requests.
#[derive(Debug, Default)]
pub struct Core {
    /// Where rewritten paths are put together; only its capacity outlives a request.
    pub(crate) path: Vec<u8>,
    /// Where pieces of bodies are translated; only its capacity outlives a piece.
    pub(crate) text: Vec<u8>,
}

/// What the filters of one exchange remember between its phases.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The answer to a body whose length is not known ahead and turns out too long.
    pub(crate) body_too_large: Option<Box<Answer>>,
    /// How a request of gRPC-Web is translated.
    pub(crate) grpc_web: grpc_web::Translation,
}

impl chain::Filter for Filter {
    type Core = Core;
    type Scratch = Scratch;

    fn request_body_mode(&self) -> BodyMode {
        match self {
            Filter::Headers(_) | Filter::Rewrite(_) => BodyMode::Skip,
            Filter::BodyLimit(_) => BodyMode::Observe,
            Filter::GrpcWeb(_) => BodyMode::Rewrite,
        }
    }

    fn response_body_mode(&self) -> BodyMode {
        match self {
            Filter::GrpcWeb(_) => BodyMode::Rewrite,
            Filter::Headers(_) | Filter::Rewrite(_) | Filter::BodyLimit(_) => BodyMode::Skip,
        }
    }

    fn bodies(&self, scratch: &Scratch) -> Bodies {
        match self {
            Filter::GrpcWeb(grpc_web) => grpc_web.bodies(scratch),
            Filter::Headers(_) | Filter::Rewrite(_) | Filter::BodyLimit(_) => Bodies::Wanted,
        }
    }

    fn request_head(&self, phase: &mut RequestPhase<'_, Self>) -> Verdict {
        match self {
            Filter::Headers(headers) => headers.request_head(phase),
            Filter::Rewrite(rewrite) => rewrite.request_head(phase),
            Filter::BodyLimit(limit) => limit.request_head(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.request_head(phase),
        }
    }

    fn request_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::BodyLimit(limit) => limit.request_body(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.request_body(phase),
            Filter::Headers(_) | Filter::Rewrite(_) => BodyVerdict::Continue,
        }
    }

    fn response_head(&self, phase: &mut ResponsePhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::Headers(headers) => headers.response_head(phase),
            Filter::GrpcWeb(grpc_web) => grpc_web.response_head(phase),
            Filter::Rewrite(_) | Filter::BodyLimit(_) => BodyVerdict::Continue,
        }
    }

    fn response_body(&self, phase: &mut BodyPhase<'_, Self>) -> BodyVerdict {
        match self {
            Filter::GrpcWeb(grpc_web) => grpc_web.response_body(phase),
            Filter::Headers(_) | Filter::Rewrite(_) | Filter::BodyLimit(_) => BodyVerdict::Continue,
        }
    }

    fn describe(&self) -> String {
        match self {
            Filter::Headers(headers) => headers.describe(),
            Filter::Rewrite(rewrite) => rewrite.describe(),
            Filter::BodyLimit(limit) => limit.describe(),
            Filter::GrpcWeb(grpc_web) => grpc_web.describe(),
        }
    }
}
