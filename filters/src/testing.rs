//! One exchange without a network: heads and memory to run a filter on.

use ringgate_core::block::Block;
use ringgate_core::chain::{
    Answer, Attributes, Bodies, BodyPhase, BodyVerdict, CallOutcome, Filter as _, RequestPhase,
    ResponsePhase, Verdict,
};
use ringgate_core::http::{RequestHead, ResponseHead};
use ringgate_core::rt::clock::Stamp;

use crate::{Core, Filter, Scratch};

#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) head: RequestHead,
    pub(crate) attributes: Attributes,
    pub(crate) unix_ms: u64,
    core: Core,
    scratch: Scratch,
}

impl Exchange {
    pub(crate) fn request_head(&mut self, filter: &Filter) -> Verdict {
        filter.request_head(&mut RequestPhase {
            head: &mut self.head,
            attributes: &mut self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
            unix_ms: self.unix_ms,
        })
    }

    /// The answer to a preflight.
    pub(crate) fn preflight(&mut self, filter: &Filter) -> Option<Box<Answer>> {
        filter.preflight(&mut RequestPhase {
            head: &mut self.head,
            attributes: &mut self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
            unix_ms: self.unix_ms,
        })
    }

    /// What it asked for has been done.
    pub(crate) fn resume(&mut self, filter: &Filter) -> Verdict {
        self.answered(filter, &[])
    }

    /// Its calls have ended.
    pub(crate) fn answered(&mut self, filter: &Filter, outcomes: &[CallOutcome]) -> Verdict {
        let mut phase = RequestPhase {
            head: &mut self.head,
            attributes: &mut self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
            unix_ms: self.unix_ms,
        };
        filter.resume(&mut phase, outcomes)
    }

    /// Gives and takes what the core remembers, as two exchanges of one core do by turns.
    pub(crate) fn share_core(&mut self, other: &mut Exchange) {
        std::mem::swap(&mut self.core, &mut other.core);
    }

    /// What the filter says of its decision.
    pub(crate) fn tell(&mut self, filter: &Filter) -> Option<String> {
        filter.tell(&RequestPhase {
            head: &mut self.head,
            attributes: &mut self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
            unix_ms: self.unix_ms,
        })
    }

    /// What the filters of its core remember.
    pub(crate) fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    pub(crate) fn request_body(
        &mut self,
        filter: &Filter,
        piece: &[u8],
        passed: u64,
    ) -> BodyVerdict {
        let mut piece = Block::from_slice(piece);
        filter.request_body(&mut self.body(&mut piece, passed, Ends::Later, &mut Vec::new()))
    }

    /// What a body phase sees.
    pub(crate) fn body<'a>(
        &'a mut self,
        piece: &'a mut Block,
        passed: u64,
        ends: Ends,
        trailers: &'a mut Vec<u8>,
    ) -> BodyPhase<'a, Filter> {
        BodyPhase {
            piece,
            last: ends == Ends::Here,
            passed,
            trailers,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
        }
    }

    /// Whether the filter has any use for the bodies.
    pub(crate) fn bodies(&self, filter: &Filter) -> Bodies {
        filter.bodies(&self.scratch)
    }

    pub(crate) fn response_head(&mut self, filter: &Filter, head: &mut ResponseHead) {
        let verdict = filter.response_head(&mut ResponsePhase {
            head,
            request: &self.head,
            attributes: &self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
        });
        assert!(matches!(verdict, BodyVerdict::Continue));
    }
}

/// Whether a piece of a body is its last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    Here,
    Later,
}

pub(crate) fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Continue)
}
