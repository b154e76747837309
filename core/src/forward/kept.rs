//! Request bodies that are taken whole before they are sent: for filters that need them so, and
//! for attempts that may have to send them again.

use super::Attempt;
use crate::block::Block;
use crate::chain::{BodyMode, Filter};
use crate::error::{Fault, Phase};
use crate::exchange::Exchange;
use crate::halves::{CLIENT, Last, Source};
use crate::http::BodyLen;
use crate::reply::gather;

impl<F: Filter> Attempt<'_, F> {
    /// The whole request body as filters leave it, where somebody needs it whole.
    pub(super) async fn take_whole(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
    ) -> Result<Option<Block>, Fault> {
        let mode = self.chain(exchange).request_body_mode();
        let max = match mode {
            BodyMode::Whole { max } => max,
            _ => match self.kept_max(exchange) {
                Some(max) => max,
                None => return Ok(None),
            },
        };
        exchange.account.phase = Phase::RequestBody;
        let max = max.min(self.body_max());
        let mut whole = match exchange.request.framing {
            // It cannot be known whether it will fit: kept only when all of it has come already.
            BodyLen::Chunked | BodyLen::UntilClose if !matches!(mode, BodyMode::Whole { .. }) => {
                match body.next_ready()? {
                    // Trailers need their framing.
                    Some(piece)
                        if piece.last == Last::Yes
                            && piece.block.len() as u64 <= max
                            && body.trailers().is_empty() =>
                    {
                        piece.block
                    }
                    early => {
                        *self.early.borrow_mut() = early;
                        return Ok(None);
                    }
                }
            }
            _ => {
                self.call_for(exchange, body).await?;
                gather(body, max).await?.ok_or(Fault::BodyTooLarge)?
            }
        };
        if mode != BodyMode::Skip {
            let trailers = body.trailers_mut();
            let chain = self.chain(exchange);
            let seen = chain.request_body(&mut whole, true, 0, trailers);
            self.accept(seen)?;
        }
        Ok(Some(whole))
    }

    /// Nobody but us will read this body, so the client is asked for it here.
    async fn call_for(&self, exchange: &mut Exchange<F>, body: &Source<'_>) -> Result<(), Fault> {
        if exchange.request.expect_continue && !body.has_begun() {
            let wait = self.client.limits.send_timeout;
            let wait = || exchange.deadline.within(wait);
            let sent = self.client.link.send_continue(wait).await;
            sent.map_err(|_| CLIENT.closed)?;
        }
        exchange.request.expect_continue = false;
        Ok(())
    }

    /// Bytes up to which the body is kept, where a policy may need it again; none where none
    /// does, or where it is known to be longer.
    fn kept_max(&self, exchange: &Exchange<F>) -> Option<u64> {
        let framing = exchange.request.framing;
        if framing.is_empty() {
            return None;
        }
        let retry = self
            .retry
            .filter(|policy| policy.attempts > 0 || policy.hedge.is_some());
        let retry = retry.map(|policy| policy.body_max);
        let mirror = self.mirror.map(|mirror| mirror.body_max);
        let fallback = self.fallback.get().and(Some(FALLBACK_BODY_MAX));
        let max = retry.into_iter().chain(mirror).chain(fallback).max()?;
        match framing {
            BodyLen::Length(length) if length > max => None,
            _ => Some(max),
        }
    }
}

/// Bytes of a request body that are kept for an upstream that may answer instead.
const FALLBACK_BODY_MAX: u64 = 64 << 10;
