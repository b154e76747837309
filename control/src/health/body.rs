//! The body of an answer, read as far as a bound goes.

/// What was read of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than the bound: this is how it begins.
    Begun(Vec<u8>),
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    kept: Vec<u8>,
    left: usize,
}

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    More,
    Enough,
}

impl Reading {
    /// Of at most `bytes_max` bytes.
    pub(super) fn up_to(bytes_max: usize) -> Self {
        Self {
            kept: Vec::new(),
            left: bytes_max,
        }
    }

    /// Keeps what fits of a piece.
    pub(super) fn take(&mut self, piece: &[u8]) -> Wanted {
        let fits = piece.len().min(self.left);
        self.kept.extend_from_slice(&piece[..fits]);
        self.left -= fits;
        match fits == piece.len() {
            true => Wanted::More,
            false => Wanted::Enough,
        }
    }

    /// The body has ended.
    pub(super) fn ended(self) -> Body {
        Body::Whole(self.kept)
    }

    /// The rest is not read.
    pub(super) fn cut(self) -> Body {
        Body::Begun(self.kept)
    }
}

impl Body {
    /// All of it, or nothing when it is longer than the bound.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Begun(_) => None,
        }
    }

    /// Whether `text` is in what was read.
    pub(super) fn contains(&self, text: &str) -> bool {
        let (Self::Whole(bytes) | Self::Begun(bytes)) = self;
        let text = text.as_bytes();
        text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_across_pieces_and_within_the_bound_only() {
        let mut reading = Reading::up_to(8);
        assert_eq!(reading.take(b"all i"), Wanted::More);
        assert_eq!(reading.take(b"s well"), Wanted::Enough);
        let body = reading.cut();
        assert!(body.contains("is w") && body.contains(""));
        assert!(!body.contains("well") && body.whole().is_none());
        let mut exact = Reading::up_to(4);
        assert_eq!(exact.take(b"well"), Wanted::More);
        assert_eq!(exact.ended().whole(), Some(&b"well"[..]));
    }
}
