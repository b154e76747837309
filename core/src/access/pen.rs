//! A pen writes one line into memory that was reserved for it: no check of a capacity but one
//! comparison a piece, no growth.

use super::Plain;

/// Bytes of a field that a peer chose, at most, in a line.
pub(super) const FIELD_MAX: usize = 1024;

/// What a text of [`FIELD_MAX`] bytes may come to, each byte escaped and the mark of a cut
/// behind it.
pub(super) const TEXT_MAX: usize = 6 * FIELD_MAX + CUT.len();

const CUT: &[u8; 3] = b"...";

/// Writes into a piece of memory from its begin. What does not fit is left out together with
/// everything behind it: whoever reserves the memory knows the longest line.
///
/// It is handed from stroke to stroke by value, so that it stays in two registers.
#[must_use]
pub(super) struct Pen<'a> {
    rest: &'a mut [u8],
}

impl<'a> Pen<'a> {
    pub(super) fn new(memory: &'a mut [u8]) -> Pen<'a> {
        Pen { rest: memory }
    }

    /// Bytes of the memory that were not written.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Writes bytes as they are. Their number is known to the compiler, so they become stores.
    #[inline]
    pub(super) fn put<const N: usize>(self, bytes: &[u8; N]) -> Pen<'a> {
        match self.rest.split_first_chunk_mut::<N>() {
            Some((to, rest)) => {
                *to = *bytes;
                Pen { rest }
            }
            None => Pen { rest: &mut [] },
        }
    }

    /// Writes a text that needs no escape, as its type says.
    #[inline]
    pub(super) fn plain(self, text: Plain<'_>) -> Pen<'a> {
        match self.rest.split_at_mut_checked(text.0.len()) {
            Some((to, rest)) => {
                to.copy_from_slice(text.0);
                Pen { rest }
            }
            None => Pen { rest: &mut [] },
        }
    }

    /// Writes a number in decimal.
    #[inline(never)]
    pub(super) fn number(self, value: u64) -> Pen<'a> {
        let digit = |place: u64| b'0' + (value / place % 10) as u8;
        match value {
            0..10 => self.put(&[digit(1)]),
            10..100 => self.put(&[digit(10), digit(1)]),
            100..1000 => self.put(&[digit(100), digit(10), digit(1)]),
            1000..10_000 => self.put(&[digit(1000), digit(100), digit(10), digit(1)]),
            _ => self.text(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Writes a text, escaped for a JSON string; a longer one than [`FIELD_MAX`] is cut and
    /// marked. The same escapes keep a quoted column of the combined format in its quotes.
    #[inline(never)]
    pub(super) fn text(self, text: &[u8]) -> Pen<'a> {
        let rest = self.rest;
        if text.len() > FIELD_MAX || text.len() > rest.len() {
            return Pen { rest }.escaped(text);
        }
        if copy_plain(text, &mut rest[..text.len()]) {
            Pen {
                rest: &mut rest[text.len()..],
            }
        } else {
            Pen { rest }.escaped(text)
        }
    }

    #[cold]
    fn escaped(mut self, text: &[u8]) -> Pen<'a> {
        for &byte in &text[..text.len().min(FIELD_MAX)] {
            self = match byte {
                b'"' | b'\\' => self.put(&[b'\\', byte]),
                0x20..0x7f => self.put(&[byte]),
                // Bytes above ASCII are shown as the code points of the same number: always
                // valid JSON, whatever the peer sent.
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    let [high, low] = [byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]);
                    self.put(&[b'\\', b'u', b'0', b'0', high, low])
                }
            };
        }
        match text.len() > FIELD_MAX {
            true => self.put(CUT),
            false => self,
        }
    }
}

/// Copies a text into memory of its length; false when a byte needs an escape. Most texts are
/// short, so their two ends are copied and looked at, which may overlap.
#[inline]
fn copy_plain(text: &[u8], to: &mut [u8]) -> bool {
    let marked = match text.len() {
        16.. => copy_chunks(text, to),
        8.. => copy_ends(text, to, u64::from_le_bytes),
        4.. => copy_ends(text, to, |ends| {
            u64::from(u32::from_le_bytes(ends)) | SPACES << 32
        }),
        2.. => copy_ends(text, to, |ends| {
            u64::from(u16::from_le_bytes(ends)) | SPACES << 16
        }),
        _ => copy_ends(text, to, |[byte]| u64::from(byte) | SPACES << 8),
    };
    marked & HIGH == 0
}

#[inline]
fn copy_chunks(text: &[u8], to: &mut [u8]) -> u64 {
    let marks_of = |chunk: &[u8; 16]| {
        let (words, _) = chunk.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        words.fold(0, |marked, word| marked | marks(word))
    };
    let (chunks, _) = text.as_chunks::<16>();
    let mut marked = 0;
    for (chunk, to) in chunks.iter().zip(to.as_chunks_mut::<16>().0) {
        marked |= marks_of(chunk);
        *to = *chunk;
    }
    if let (Some(last), Some(to)) = (text.last_chunk(), to.last_chunk_mut()) {
        marked |= marks_of(last);
        *to = *last;
    }
    marked
}

/// Copies the first and the last `N` bytes of a text and marks them.
#[inline]
fn copy_ends<const N: usize>(text: &[u8], to: &mut [u8], word: impl Fn([u8; N]) -> u64) -> u64 {
    let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) else {
        return 0;
    };
    if let Some(to) = to.first_chunk_mut() {
        *to = *first;
    }
    if let Some(to) = to.last_chunk_mut() {
        *to = *last;
    }
    marks(word(*first)) | marks(word(*last))
}

/// Whether a byte cannot stand as it is between quotes.
pub(super) const fn needs_escape(byte: u8) -> bool {
    !matches!(byte, 0x20..0x7f) || matches!(byte, b'"' | b'\\')
}

const EACH: u64 = u64::MAX / 255;
const HIGH: u64 = EACH * 0x80;
const SPACES: u64 = EACH * b' ' as u64;

/// Marks in their highest bits the bytes that are no printable ASCII, a quote or a backslash;
/// what the other bits say means nothing. A byte behind a marked one may be marked wrongly, by
/// the borrow. Words and not arrays of bytes: the compiler takes those apart once they are
/// inlined.
#[inline]
fn marks(word: u64) -> u64 {
    let is = |byte: u8| (word ^ (EACH * u64::from(byte))).wrapping_sub(EACH);
    word | word.wrapping_sub(SPACES) | is(b'"') | is(b'\\') | is(0x7f)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(Pen<'_>) -> Pen<'_>) -> Vec<u8> {
        let mut memory = vec![b'#'; TEXT_MAX];
        let used = TEXT_MAX - write(Pen::new(&mut memory)).left();
        assert!(memory[used..].iter().all(|b| *b == b'#'), "nothing behind");
        memory[..used].to_vec()
    }

    #[test]
    fn plain_texts_of_any_length_are_copied() {
        let long: Vec<u8> = (b' '..0x7f)
            .filter(|b| !matches!(b, b'"' | b'\\'))
            .cycle()
            .take(FIELD_MAX)
            .collect();
        for len in (0..100).chain([FIELD_MAX - 1, FIELD_MAX]) {
            assert_eq!(written(|pen| pen.text(&long[..len])), &long[..len]);
            let plain = Plain::known(&long[..len]);
            assert_eq!(written(|pen| pen.plain(plain)), &long[..len]);
        }
    }

    #[test]
    fn every_byte_that_needs_an_escape_is_seen_at_every_place() {
        for byte in 0..=u8::MAX {
            let needs = needs_escape(byte);
            for len in 1..40 {
                for at in 0..len {
                    let mut text = vec![b'x'; len];
                    text[at] = byte;
                    assert_eq!(copy_plain(&text, &mut vec![0; len]), !needs, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut_and_marked() {
        let cut = written(|pen| pen.text(&[b'a'; FIELD_MAX + 1]));
        assert_eq!(cut, [&[b'a'; FIELD_MAX][..], b"..."].concat());
        let cut = written(|pen| pen.text(&[0; FIELD_MAX + 1]));
        assert_eq!(cut.len(), TEXT_MAX);
    }

    #[test]
    fn numbers_are_those_of_the_formatter() {
        let edges = [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, u64::MAX];
        for value in edges.into_iter().chain((0..11_000).step_by(7)) {
            assert_eq!(
                written(|pen| pen.number(value)),
                value.to_string().as_bytes()
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut memory = [0; 5];
        let pen = Pen::new(&mut memory).put(b"abc").text(b"defgh").put(b"i");
        assert_eq!(pen.left(), 0);
        assert!(memory.starts_with(b"abc"));
        let mut memory = [b'#'; 5];
        let pen = Pen::new(&mut memory)
            .put(b"abc")
            .plain(Plain::known(b"def"));
        assert_eq!(pen.put(b"").left(), 0);
        assert_eq!(&memory, b"abc##");
    }
}
