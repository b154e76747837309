//! Base64 (RFC 4648, 4) in pieces: an encoder that carries what does not fill a group over to
//! the next piece, and a decoder that takes groups cut anywhere and texts one behind the other,
//! each with padding of its own, as gRPC-Web has them.

/// Encodes a text piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Encoder {
    carry: [u8; 2],
    /// Below 3.
    carried: u8,
}

impl Encoder {
    /// Appends the text of all whole groups, of what was carried over and of `piece`, to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        if self.carried > 0 {
            let missing = 3 - usize::from(self.carried);
            let Some((begin, rest)) = piece.split_at_checked(missing) else {
                return self.carry(piece);
            };
            let carry = self.take();
            match begin {
                [last] => encode_group([carry[0], carry[1], *last], out),
                [middle, last] => encode_group([carry[0], *middle, *last], out),
                _ => {}
            }
            piece = rest;
        }
        let (groups, rest) = piece.as_chunks::<3>();
        out.reserve(groups.len() * 4);
        for group in groups {
            encode_group(*group, out);
        }
        self.carry(rest);
    }

    /// Appends what was carried over with its padding, which ends the text. A next piece begins
    /// another one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let carried = self.carried;
        let [first, second] = self.take();
        let at = out.len();
        match carried {
            0 => return,
            1 => encode_group([first, 0, 0], out),
            _ => encode_group([first, second, 0], out),
        }
        for byte in out.iter_mut().skip(at + 1 + usize::from(carried)) {
            *byte = b'=';
        }
    }

    fn take(&mut self) -> [u8; 2] {
        self.carried = 0;
        std::mem::take(&mut self.carry)
    }

    fn carry(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(free) = self.carry.get_mut(usize::from(self.carried)) {
                *free = *byte;
                self.carried += 1;
            }
        }
    }
}

fn encode_group([first, second, third]: [u8; 3], out: &mut Vec<u8>) {
    let bits = u32::from_be_bytes([0, first, second, third]);
    let digit = |shift: u32| DIGITS[(bits >> shift & 63) as usize];
    out.extend_from_slice(&[digit(18), digit(12), digit(6), digit(0)]);
}

/// The text of `N` bytes, which fills `M` characters.
pub(crate) fn encoded<const N: usize, const M: usize>(bytes: [u8; N]) -> [u8; M] {
    const { assert!(M == N.div_ceil(3) * 4) };
    let mut out = Vec::with_capacity(M);
    let mut encoder = Encoder::default();
    encoder.push(&bytes, &mut out);
    encoder.finish(&mut out);
    std::array::from_fn(|at| out.get(at).copied().unwrap_or_default())
}

/// Decodes texts piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    bits: u32,
    /// Characters of the group that `bits` holds, padding included; below 4.
    have: u8,
    /// How many of them are padding.
    padding: u8,
}

/// What is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBase64;

impl std::fmt::Display for InvalidBase64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not base64")
    }
}

impl std::error::Error for InvalidBase64 {}

impl Decoder {
    /// Appends the bytes of all groups that end in `piece` to `out`.
    ///
    /// # Errors
    /// A character that is none of the 64, padding where none can be, or bits under padding
    /// that are not zero.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidBase64> {
        out.reserve(piece.len() / 4 * 3 + 3);
        for byte in piece {
            let value = match (byte, VALUES[usize::from(*byte)]) {
                (b'=', _) if self.have >= 2 => {
                    self.padding += 1;
                    0
                }
                (_, NO_DIGIT) => return Err(InvalidBase64),
                _ if self.padding > 0 => return Err(InvalidBase64),
                (_, value) => value,
            };
            self.bits = self.bits << 6 | u32::from(value);
            self.have += 1;
            if self.have == 4 {
                let [_, group @ ..] = self.bits.to_be_bytes();
                let (bytes, none) = group.split_at(3 - usize::from(self.padding));
                if none.iter().any(|byte| *byte != 0) {
                    return Err(InvalidBase64);
                }
                out.extend_from_slice(bytes);
                *self = Decoder::default();
            }
        }
        Ok(())
    }

    /// Whether the texts may end here.
    pub fn is_between_groups(&self) -> bool {
        self.have == 0
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const NO_DIGIT: u8 = 0xff;

/// By character: its six bits.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < DIGITS.len() {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// Whether a character is one of the 64; the padding is not.
pub(crate) fn is_digit(byte: u8) -> bool {
    VALUES[usize::from(byte)] != NO_DIGIT
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::default();
        encoder.push(bytes, &mut out);
        encoder.finish(&mut out);
        out
    }

    fn decode(text: &[u8]) -> Result<Vec<u8>, InvalidBase64> {
        let mut out = Vec::new();
        let mut decoder = Decoder::default();
        decoder.push(text, &mut out)?;
        match decoder.is_between_groups() {
            true => Ok(out),
            false => Err(InvalidBase64),
        }
    }

    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text.as_bytes());
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(encode(&[0xfb, 0xff]), b"+/8=");
    }

    #[test]
    fn texts_may_follow_each_other() {
        assert_eq!(decode(b"Zg==Zm8=Zm9vZg==").unwrap(), b"ffofoof");
    }

    #[test]
    fn refuses_what_is_no_text() {
        for text in [
            &b"Z"[..],
            b"Zg",
            b"Zg=",
            b"=",
            b"Z===",
            b"====",
            b"Zg=v",
            b"Zg==v",
            b"Zm9v\n",
            b"Zm 9",
            b"Zm9-",
            b"Zm9_",
            b"Zh==",
            b"Zm9=",
        ] {
            assert_eq!(decode(text), Err(InvalidBase64), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_text_and_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            step in 1usize..9,
        ) {
            let mut text = Vec::new();
            let mut encoder = Encoder::default();
            for piece in bytes.chunks(step) {
                encoder.push(piece, &mut text);
            }
            encoder.finish(&mut text);
            prop_assert_eq!(&text, &encode(&bytes));
            let mut back = Vec::new();
            let mut decoder = Decoder::default();
            for piece in text.chunks(step) {
                decoder.push(piece, &mut back).unwrap();
            }
            prop_assert!(decoder.is_between_groups());
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn any_text_is_refused_or_encodes_back(text in "[A-Za-d+/=]{0,40}") {
            if let Ok(bytes) = decode(text.as_bytes())
                && !text.trim_end_matches('=').contains('=')
            {
                prop_assert_eq!(encode(&bytes), text.as_bytes());
            }
        }
    }
}
