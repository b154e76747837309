//! Body bytes on their way into a stream, in the memory that they were received in.

use bytes::Buf;

use crate::block::Block;

/// A block as the `h2` crate takes it.
pub(crate) struct Chunk(pub(super) Block);

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}
