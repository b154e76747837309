//! One exchange without a network: heads and memory to run a filter on.

use ringgate_core::block::Block;
use ringgate_core::chain::{
    Attributes, BodyPhase, BodyVerdict, Filter as _, RequestPhase, ResponsePhase, Verdict,
};
use ringgate_core::http::{RequestHead, ResponseHead};
use ringgate_core::rt::clock::Stamp;

use crate::{Core, Filter, Scratch};

#[derive(Default)]
pub(crate) struct Exchange {
    pub(crate) head: RequestHead,
    pub(crate) attributes: Attributes,
    core: Core,
    scratch: Scratch,
}

impl Exchange {
    pub(crate) fn request_head(&mut self, filter: &Filter) -> Verdict {
        filter.request_head(&mut RequestPhase {
            head: &mut self.head,
            attributes: &self.attributes,
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
        })
    }

    pub(crate) fn request_body(
        &mut self,
        filter: &Filter,
        piece: &[u8],
        passed: u64,
    ) -> BodyVerdict {
        filter.request_body(&mut BodyPhase {
            piece: &mut Block::from_slice(piece),
            last: false,
            passed,
            trailers: &mut Vec::new(),
            core: &mut self.core,
            scratch: &mut self.scratch,
            now: Stamp::now(),
        })
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

pub(crate) fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Continue)
}
