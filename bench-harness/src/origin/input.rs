//! What a client has sent and nobody has looked at yet: the begin of a request, or several.

use std::io;

use ringgate_core::block::{Block, BlockClass};
use ringgate_core::rt::{CHUNK_TAILROOM, Likely};
use ringgate_core::wire::Wire;

/// Received bytes; the block grows while the client fills it and shrinks again.
#[derive(Debug)]
pub struct Input {
    /// The bytes, from the first that was not consumed.
    pub block: Block,
    class: BlockClass,
}

impl Input {
    /// Nothing yet.
    pub fn new() -> Input {
        Input {
            block: Block::empty(),
            class: BlockClass::Head,
        }
    }

    /// Receives behind what is there; zero is the end.
    ///
    /// # Errors
    /// Those of the wire.
    pub async fn receive(&mut self, wire: &Wire) -> io::Result<usize> {
        let (result, block) = match self.block.is_empty() {
            true => {
                // Back to the free list first: it is the next one.
                drop(std::mem::take(&mut self.block));
                wire.recv_block(self.class, Likely::Later).await
            }
            false => {
                self.make_room();
                wire.recv(std::mem::take(&mut self.block)).await
            }
        };
        let is_full = block.tailroom() <= CHUNK_TAILROOM;
        self.block = block;
        if is_full {
            self.class = self.class.larger();
        } else if self.block.len() < self.class.size() / 8 {
            self.class = self.class.smaller();
        }
        result
    }

    /// A block with room behind the begin of a request.
    fn make_room(&mut self) {
        let size = self.block.capacity();
        if self.block.tailroom() > size / 4 && size == self.class.size() {
            return;
        }
        let needed = BlockClass::fitting(self.block.len() * 2).unwrap_or(BlockClass::Large);
        let mut roomier = Block::new(needed.max(self.class));
        let copied = roomier.append(&self.block);
        // Heads are bounded far below the largest block, and bodies are not kept.
        debug_assert_eq!(copied, self.block.len());
        self.block = roomier;
    }
}
