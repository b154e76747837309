//! WebSocket beside the relay (RFC 6455): where a direction of a tunnel stands between frames,
//! the close frame that may be put there, and the handshake's keys.
//!
//! Frames pass unread and unchanged. Who was shown every byte of a direction knows whether a
//! frame of the gateway's own would come between two others or into one.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::base64;

/// Follows the frames of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    /// What has come of a frame's header.
    header: [u8; HEADER_MAX],
    header_len: u8,
    /// Bytes of the frame's payload that are still to come.
    payload_left: u64,
    close: CloseSeen,
    broken: bool,
}

/// Two bytes, a length of eight and a mask of four.
const HEADER_MAX: usize = 14;

/// Where a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before a frame: a control frame may be put in here.
    Boundary,
    /// Within a frame.
    Frame,
    /// A header broke RFC 6455, 5.2 or 5.5, so nobody can say. It stays so.
    Unknown,
}

/// Whether a close frame has passed or begun to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CloseSeen {
    /// None yet.
    #[default]
    No,
    /// Nothing but the end of the connection is due behind it.
    Yes,
}

impl Frames {
    /// Takes note of the next bytes of the direction, in whatever pieces they come.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !self.broken && !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len() as u64);
            self.payload_left -= skipped;
            bytes = bytes.get(skipped as usize..).unwrap_or_default();
            let wanted = self.header_due() - usize::from(self.header_len);
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            for byte in taken {
                self.header[usize::from(self.header_len)] = *byte;
                self.header_len += 1;
            }
            bytes = rest;
            if usize::from(self.header_len) == self.header_due() {
                self.frame();
            }
        }
    }

    /// Where the direction stands behind what has passed.
    pub fn place(&self) -> Place {
        match (self.broken, self.header_len, self.payload_left) {
            (true, ..) => Place::Unknown,
            (false, 0, 0) => Place::Boundary,
            _ => Place::Frame,
        }
    }

    /// Whether a close frame has passed.
    pub fn close(&self) -> CloseSeen {
        self.close
    }

    /// How long the header is, as far as its first two bytes tell.
    fn header_due(&self) -> usize {
        let [_, second, ..] = self.header;
        let length = match second & 127 {
            _ if self.header_len < 2 => return 2,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = match second & 128 {
            0 => 0,
            _ => 4,
        };
        2 + length + mask
    }

    /// A header is complete.
    fn frame(&mut self) {
        let [first, second, rest @ ..] = self.header;
        let (length, fits) = match second & 127 {
            // The shortest spelling is the only one, and the highest bit is 0 (5.2).
            126 => {
                let [a, b, ..] = rest;
                let length = u64::from(u16::from_be_bytes([a, b]));
                (length, length > 125)
            }
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = rest;
                let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (length, length > u64::from(u16::MAX) && length >> 63 == 0)
            }
            short => (u64::from(short), true),
        };
        let opcode = first & 15;
        // Control frames are short and whole (5.5).
        let control = opcode & CONTROL != 0;
        let is_whole = first & FIN != 0 && length <= 125;
        if !fits || (control && !is_whole) {
            self.broken = true;
            return;
        }
        if opcode == CLOSE {
            self.close = CloseSeen::Yes;
        }
        self.header_len = 0;
        self.payload_left = length;
    }
}

const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;

/// Why the gateway closes (RFC 6455, 7.4.1 and the registry it made).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1001: the server goes down.
    GoingAway,
    /// 1008: a limit that the gateway was given is over.
    PolicyViolation,
    /// 1011: an error behind the gateway.
    InternalError,
    /// 1012: the client may come again.
    ServiceRestart,
}

impl CloseCode {
    /// As it is sent.
    pub const fn number(self) -> u16 {
        match self {
            CloseCode::GoingAway => 1001,
            CloseCode::PolicyViolation => 1008,
            CloseCode::InternalError => 1011,
            CloseCode::ServiceRestart => 1012,
        }
    }
}

/// Whether a frame is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    /// As frames to clients are.
    No,
    /// As frames to origins are, with fresh random bytes each.
    Yes([u8; 4]),
}

/// A close frame.
#[derive(Clone, Copy, Debug)]
pub struct CloseFrame {
    bytes: [u8; 8],
    len: u8,
}

impl std::ops::Deref for CloseFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The close frame with this code and without a reason.
pub fn close_frame(code: CloseCode, masked: Masked) -> CloseFrame {
    let [high, low] = code.number().to_be_bytes();
    match masked {
        Masked::No => CloseFrame {
            bytes: [FIN | CLOSE, 2, high, low, 0, 0, 0, 0],
            len: 4,
        },
        Masked::Yes([a, b, c, d]) => CloseFrame {
            bytes: [FIN | CLOSE, MASK | 2, a, b, c, d, high ^ a, low ^ b],
            len: 8,
        },
    }
}

/// Bytes of a `Sec-WebSocket-Key`.
pub const KEY_LEN: usize = 24;

/// Whether a value is a `Sec-WebSocket-Key`: sixteen bytes in base64 (4.2.1).
pub fn is_key(value: &[u8]) -> bool {
    match value.split_last_chunk::<2>() {
        Some((digits, b"==")) => {
            value.len() == KEY_LEN && digits.iter().all(|byte| base64::is_digit(*byte))
        }
        _ => false,
    }
}

/// A `Sec-WebSocket-Key` of sixteen fresh random bytes (4.1).
pub fn new_key(random: [u8; 16]) -> [u8; KEY_LEN] {
    base64::encoded(random)
}

/// The `Sec-WebSocket-Accept` that answers a key (4.2.2).
pub fn accept_of(key: &[u8]) -> [u8; 28] {
    // Not for secrecy: it shows that the answer comes from who read the key.
    let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &text);
    let mut sha1 = [0; 20];
    sha1.copy_from_slice(digest.as_ref());
    base64::encoded(sha1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: u8 = 0x81;
    const BINARY: u8 = 0x82;
    const PING: u8 = 0x89;

    /// A frame with the length spelled as it must be.
    fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if masked { MASK } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            len @ ..126 => bytes.push(mask | len as u8),
            len @ ..0x10000 => {
                bytes.push(mask | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(mask | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend(*b"mask");
        }
        bytes.extend(payload);
        bytes
    }

    fn passed(bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        frames.pass(bytes);
        frames
    }

    #[test]
    fn stands_at_a_boundary_between_frames_only() {
        assert_eq!(passed(b"").place(), Place::Boundary);
        for len in [0, 1, 125, 126, 127, 0xffff, 0x10000] {
            for masked in [false, true] {
                let bytes = frame(BINARY, masked, &vec![0; len]);
                assert_eq!(passed(&bytes).place(), Place::Boundary, "{len}");
                for cut in [1, bytes.len() / 2, bytes.len() - 1] {
                    assert_eq!(passed(&bytes[..cut]).place(), Place::Frame, "{len} {cut}");
                }
            }
        }
    }

    #[test]
    fn a_close_frame_is_seen_from_its_header_on() {
        let bytes = [
            frame(TEXT, true, b"\x88\x02"),
            frame(0x88, true, b"\x03\xe8"),
        ]
        .concat();
        assert_eq!(passed(&bytes[..8]).close(), CloseSeen::No);
        assert_eq!(passed(&bytes[..9]).close(), CloseSeen::No);
        assert_eq!(passed(&bytes[..14]).close(), CloseSeen::Yes);
        assert_eq!(passed(&bytes[..14]).place(), Place::Frame);
        assert_eq!(passed(&bytes).place(), Place::Boundary);
        assert_eq!(passed(b"\x88\x00").close(), CloseSeen::Yes);
    }

    #[test]
    fn invalid_headers_leave_the_place_unknown_for_good() {
        for header in [
            // Lengths not spelled in the shortest way, or with the highest bit set.
            &b"\x82\x7e\x00\x7d"[..],
            b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
            b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
            // Control frames that are long, or in fragments.
            b"\x88\x7e\x00\x7e",
            b"\x09\x00",
            b"\x08\x00",
        ] {
            let mut frames = passed(header);
            assert_eq!(frames.place(), Place::Unknown, "{header:x?}");
            assert_eq!(frames.close(), CloseSeen::No);
            frames.pass(&frame(PING, false, b""));
            assert_eq!(frames.place(), Place::Unknown, "{header:x?}");
        }
    }

    #[test]
    fn close_frames_are_frames() {
        assert_eq!(
            &close_frame(CloseCode::GoingAway, Masked::No)[..],
            b"\x88\x02\x03\xe9"
        );
        let masked = close_frame(CloseCode::ServiceRestart, Masked::Yes([1, 2, 3, 4]));
        assert_eq!(&masked[..], [0x88, 0x82, 1, 2, 3, 4, 3 ^ 1, 0xf4 ^ 2]);
        for frame in [masked, close_frame(CloseCode::PolicyViolation, Masked::No)] {
            let frames = passed(&frame);
            assert_eq!(
                (frames.place(), frames.close()),
                (Place::Boundary, CloseSeen::Yes)
            );
        }
    }

    #[test]
    fn the_accept_of_the_rfcs_example_holds() {
        // RFC 6455, 1.3.
        let accept = accept_of(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(&accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(&new_key(*b"the sample nonce"), b"dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn keys_are_sixteen_bytes_in_base64() {
        assert!(is_key(&new_key([0xff; 16])));
        for key in [
            &b""[..],
            b"==",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZQ===",
            b"dGhlIHNhbXBsZSBub25jZWE=",
            b"dGhlIHNhbXBsZSBub25jZWEh",
            b"dGhlIHNhbXBsZSBub25jZ===",
            b"dGhlIHNhbXBsZSBub2 jZQ==",
            b"dGhlIHNhbXBsZSBub2-jZQ==",
        ] {
            assert!(!is_key(key), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn the_place_is_the_same_however_the_bytes_come(
            sizes in proptest::collection::vec((0usize..400, any::<bool>()), 0..6),
            pieces in proptest::collection::vec(1usize..300, 1..8),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            for (size, masked) in sizes {
                bytes.extend(frame(BINARY, masked, &vec![0xff; size]));
                ends.push(bytes.len());
            }
            let (mut frames, mut at) = (Frames::default(), 0);
            for piece in pieces.iter().cycle() {
                let expected = match ends.contains(&at) {
                    true => Place::Boundary,
                    false => Place::Frame,
                };
                prop_assert_eq!(frames.place(), expected, "at {}", at);
                if at == bytes.len() {
                    break;
                }
                let to = bytes.len().min(at + piece);
                frames.pass(&bytes[at..to]);
                at = to;
            }
        }

        #[test]
        fn any_bytes_come_to_the_same_in_one_piece_and_singly(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let whole = passed(&bytes);
            let mut single = Frames::default();
            for byte in &bytes {
                single.pass(&[*byte]);
            }
            prop_assert_eq!(whole.place(), single.place());
            prop_assert_eq!(whole.close(), single.close());
        }
    }
}
