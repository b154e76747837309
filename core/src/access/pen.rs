//! A pen writes one line into memory that was reserved for it: no check of a capacity but one
//! comparison a piece, no growth.

/// Bytes of a field that a peer chose, at most, in a line.
pub(super) const FIELD_MAX: usize = 1024;

/// What a text of [`FIELD_MAX`] bytes may come to, each byte escaped and the mark of a cut
/// behind it.
pub(super) const TEXT_MAX: usize = 6 * FIELD_MAX + CUT.len();

const CUT: &[u8; 3] = b"...";

/// Writes into a piece of memory from its begin. What does not fit is left out together with
/// everything behind it: whoever reserves the memory knows the longest line.
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
    pub(super) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        if let Some((to, rest)) = std::mem::take(&mut self.rest).split_first_chunk_mut::<N>() {
            *to = *bytes;
            self.rest = rest;
        }
    }

    /// Writes a number in decimal.
    #[inline(never)]
    pub(super) fn number(&mut self, value: u64) {
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
    pub(super) fn text(&mut self, text: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        if text.len() > FIELD_MAX || text.len() > rest.len() {
            return self.escaped(text, rest);
        }
        let (to, _) = rest.split_at_mut(text.len());
        if copy_plain(text, to) {
            self.rest = &mut rest[text.len()..];
        } else {
            self.escaped(text, rest);
        }
    }

    #[cold]
    fn escaped(&mut self, text: &[u8], rest: &'a mut [u8]) {
        self.rest = rest;
        for &byte in &text[..text.len().min(FIELD_MAX)] {
            match byte {
                b'"' | b'\\' => self.put(&[b'\\', byte]),
                0x20..0x7f => self.put(&[byte]),
                // Bytes above ASCII are shown as the code points of the same number: always
                // valid JSON, whatever the peer sent.
                _ => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    let [high, low] = [byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]);
                    self.put(&[b'\\', b'u', b'0', b'0', high, low]);
                }
            }
        }
        if text.len() > FIELD_MAX {
            self.put(CUT);
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

    fn written(write: impl FnOnce(&mut Pen<'_>)) -> Vec<u8> {
        let mut memory = vec![b'#'; TEXT_MAX];
        let mut pen = Pen::new(&mut memory);
        write(&mut pen);
        let used = TEXT_MAX - pen.left();
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
        }
    }

    #[test]
    fn every_byte_that_needs_an_escape_is_seen_at_every_place() {
        for byte in 0..=u8::MAX {
            let needs = !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\';
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
        let mut pen = Pen::new(&mut memory);
        pen.put(b"abc");
        pen.text(b"defgh");
        pen.put(b"i");
        assert!(memory.starts_with(b"abc"));
    }
}
