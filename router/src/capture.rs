//! What the parameters of the matched pattern stand for: spans of the path, kept inline.

/// Parameters that a path pattern may have.
pub const CAPTURES_MAX: usize = 16;

/// The captures of one lookup, in the order of the pattern. Reused between lookups.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    spans: [(u32, u32); CAPTURES_MAX],
    len: usize,
}

impl Captures {
    /// No captures.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Start and end of a capture, in bytes of the path that was looked up.
    #[must_use]
    pub fn span(&self, index: usize) -> Option<(u32, u32)> {
        self.spans[..self.len].get(index).copied()
    }

    /// The bytes of a capture, out of the path that was looked up.
    #[must_use]
    pub fn get<'p>(&self, index: usize, path: &'p [u8]) -> Option<&'p [u8]> {
        let (start, end) = self.span(index)?;
        path.get(start as usize..end as usize)
    }

    /// Sets the capture `index` and drops those after it.
    #[inline]
    pub(crate) fn set(&mut self, index: usize, start: usize, end: usize) {
        self.spans[index] = (start as u32, end as u32);
        self.len = index + 1;
    }

    /// Keeps the first `len` captures; returns where the last of them ends.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) -> usize {
        self.len = len;
        match len.checked_sub(1) {
            Some(last) => self.spans[last].1 as usize,
            None => 0,
        }
    }
}
