//! The guard of an HTTP/2 connection: counts the frames that cost a peer nothing and us
//! something, and says when there are too many.
//!
//! It follows the frames of the received bytes, however they are cut, and keeps nothing of
//! them but ten bytes. What is allowed is a number within ten seconds, and what follows from
//! our own doing: acknowledgements of what we sent ([`Guard::sent`]).

use crate::snapshot::Http2Limits;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer is a client, and begins with the preface.
    Server,
    /// The peer is an origin. It may end as many streams as we open.
    Client,
}

/// What a peer sent too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flood {
    /// RST_STREAM: streams begun and cancelled (CVE-2023-44487).
    Resets,
    /// PING without ACK, behind nothing that we sent.
    Pings,
    /// SETTINGS without ACK.
    Settings,
    /// Frames that carry nothing: DATA and header fragments without a byte, PRIORITY, GOAWAY,
    /// unknown types.
    EmptyFrames,
    /// WINDOW_UPDATE far beyond what we sent.
    WindowUpdates,
    /// Streams begun within a second.
    Requests,
}

impl Flood {
    /// The name for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Flood::Resets => "RST_STREAM",
            Flood::Pings => "PING",
            Flood::Settings => "SETTINGS",
            Flood::EmptyFrames => "empty frames",
            Flood::WindowUpdates => "WINDOW_UPDATE",
            Flood::Requests => "requests",
        }
    }
}

impl std::fmt::Display for Flood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "too many {}", self.name())
    }
}

impl std::error::Error for Flood {}

/// The guard of one connection.
#[derive(Clone, Debug)]
pub struct Guard {
    /// The head of a frame as it comes in, and the byte behind it.
    head: [u8; HEAD_LEN + 1],
    have: u8,
    role: Role,
    /// Bytes to pass over: of a payload, or of the preface.
    skip: u32,
    /// The highest stream that the peer began.
    last_stream: u32,
    /// Bytes that we sent and the peer has not answered yet.
    credit: u32,
    /// Frames without content that requests make good.
    spare: u32,
    /// The second of `now`.
    second: u32,
    /// Of frames that count, within the last [`SECONDS`] seconds.
    counts: [[u32; KINDS]; SECONDS],
    totals: [u32; KINDS],
    limits: [u32; KINDS],
}

impl Guard {
    /// The guard of a fresh connection.
    pub fn new(limits: &Http2Limits, role: Role) -> Guard {
        let mut most = [0; KINDS];
        most[Flood::Resets as usize] = match role {
            Role::Server => limits.resets_max,
            Role::Client => u32::MAX,
        };
        most[Flood::Pings as usize] = limits.pings_max;
        most[Flood::Settings as usize] = limits.settings_max;
        most[Flood::EmptyFrames as usize] = limits.empty_frames_max;
        most[Flood::WindowUpdates as usize] = WINDOW_UPDATES_MAX;
        most[Flood::Requests as usize] = match role {
            Role::Server => limits.requests_per_second_max,
            Role::Client => u32::MAX,
        };
        Guard {
            head: [0; HEAD_LEN + 1],
            have: 0,
            role,
            skip: match role {
                Role::Server => PREFACE_LEN,
                Role::Client => 0,
            },
            last_stream: 0,
            credit: 0,
            spare: 0,
            second: 0,
            counts: [[0; KINDS]; SECONDS],
            totals: [0; KINDS],
            limits: most,
        }
    }

    /// Tells that we sent bytes: the peer may answer them with PING, to measure, and with
    /// WINDOW_UPDATE. Without it, a peer that takes much runs into the limits of both.
    #[inline]
    pub fn sent(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(CREDIT_MAX);
        self.credit = self.credit.saturating_add(bytes).min(CREDIT_MAX);
    }

    /// Takes the next received bytes; `now` is [`crate::rt::wheel::now`], in ticks of 100 ms.
    ///
    /// # Errors
    /// The kind of frame there are too many of. The connection is not worth another byte:
    /// GOAWAY with ENHANCE_YOUR_CALM, and close.
    pub fn see(&mut self, received: &[u8], now: u32) -> Result<(), Flood> {
        self.pass_time(now / TICKS_PER_SECOND);
        let mut rest = received;
        loop {
            if self.skip > 0 {
                let passed = rest.len().min(self.skip as usize);
                self.skip -= passed as u32;
                rest = &rest[passed..];
            }
            if rest.is_empty() {
                return Ok(());
            }
            let Some((frame, left)) = self.next_frame(rest) else {
                return Ok(());
            };
            rest = left;
            self.judge(frame)?;
        }
    }

    /// The next frame, without its payload but for the byte that tells of padding, and what
    /// is behind. None when more bytes are needed; they are all taken then.
    #[inline]
    fn next_frame<'a>(&mut self, bytes: &'a [u8]) -> Option<(Frame, &'a [u8])> {
        let (frame, rest) = match bytes.first_chunk() {
            Some(head) if self.have == 0 => {
                let frame = Frame::of(head);
                (frame, &bytes[frame.head_len()..])
            }
            _ => self.gather(bytes)?,
        };
        self.skip = frame.len - (frame.head_len() - HEAD_LEN) as u32;
        Some((frame, rest))
    }

    /// Completes the head of a frame that comes in pieces.
    fn gather<'a>(&mut self, bytes: &'a [u8]) -> Option<(Frame, &'a [u8])> {
        let mut rest = bytes;
        let mut have = usize::from(self.have);
        loop {
            let need = match have {
                0..HEAD_LEN => HEAD_LEN,
                _ => Frame::of(&self.head).head_len(),
            };
            if have == need {
                self.have = 0;
                return Some((Frame::of(&self.head), rest));
            }
            let taken = (need - have).min(rest.len());
            if taken == 0 {
                self.have = have as u8;
                return None;
            }
            self.head[have..have + taken].copy_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            have += taken;
        }
    }

    #[inline]
    fn judge(&mut self, frame: Frame) -> Result<(), Flood> {
        match frame.kind {
            DATA => match frame.flags & END_STREAM == 0 && frame.content() == 0 {
                true => self.count(Flood::EmptyFrames),
                false => Ok(()),
            },
            HEADERS => self.see_headers(frame),
            CONTINUATION if frame.len > 0 => Ok(()),
            RST_STREAM => self.count(Flood::Resets),
            SETTINGS | PING if frame.flags & ACK != 0 => Ok(()),
            SETTINGS => self.count(Flood::Settings),
            PING => self.count_unpaid(Flood::Pings, PING_PRICE),
            WINDOW_UPDATE => self.count_unpaid(Flood::WindowUpdates, WINDOW_UPDATE_PRICE),
            // The codec ends the connection.
            PUSH_PROMISE => Ok(()),
            _ if self.spare > 0 && !matches!(frame.kind, CONTINUATION | GOAWAY) => {
                self.spare -= 1;
                Ok(())
            }
            _ => self.count(Flood::EmptyFrames),
        }
    }

    fn see_headers(&mut self, frame: Frame) -> Result<(), Flood> {
        if frame.content() == 0 {
            self.count(Flood::EmptyFrames)?;
        }
        if frame.stream <= self.last_stream || self.role == Role::Client {
            return Ok(());
        }
        self.last_stream = frame.stream;
        // Clients send priorities, and some an unknown frame (RFC 8701's idea), per request.
        self.spare = (self.spare + SPARE_PER_REQUEST).min(SPARE_MAX);
        self.count(Flood::Requests)
    }

    /// Counts a frame unless what we sent makes it good.
    #[inline]
    fn count_unpaid(&mut self, kind: Flood, price: u32) -> Result<(), Flood> {
        match self.credit.checked_sub(price) {
            Some(left) => {
                self.credit = left;
                Ok(())
            }
            None => self.count(kind),
        }
    }

    #[inline]
    fn count(&mut self, kind: Flood) -> Result<(), Flood> {
        let at = kind as usize;
        let counts = &mut self.counts[self.second as usize % SECONDS];
        counts[at] = counts[at].saturating_add(1);
        self.totals[at] = self.totals[at].saturating_add(1);
        let counted = match kind {
            Flood::Requests => counts[at],
            _ => self.totals[at],
        };
        match counted > self.limits[at] {
            true => Err(kind),
            false => Ok(()),
        }
    }

    /// Forgets the seconds that are no longer among the last ten.
    #[inline]
    fn pass_time(&mut self, second: u32) {
        if second != self.second {
            self.forget(second);
        }
    }

    #[cold]
    fn forget(&mut self, second: u32) {
        let passed = second.wrapping_sub(self.second).min(SECONDS as u32);
        for _ in 0..passed {
            self.second = self.second.wrapping_add(1);
            let old = std::mem::take(&mut self.counts[self.second as usize % SECONDS]);
            for (total, old) in self.totals.iter_mut().zip(old) {
                *total -= old;
            }
        }
        if self.second != second {
            // A leap: everything is forgotten, and no slot needs its number.
            self.second = second;
        }
    }
}

/// What is read of a frame (RFC 9113, 4.1).
#[derive(Clone, Copy, Debug)]
struct Frame {
    len: u32,
    kind: u8,
    flags: u8,
    stream: u32,
    /// The first byte of the payload; meaningful where the frame is padded.
    pad: u8,
}

impl Frame {
    #[inline]
    fn of(head: &[u8; HEAD_LEN + 1]) -> Frame {
        let [a, b, c, kind, flags, s, t, u, v, pad] = *head;
        Frame {
            len: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
            pad,
        }
    }

    /// Whether the payload begins with the length of its padding.
    #[inline]
    fn is_padded(self) -> bool {
        self.flags & PADDED != 0 && self.len > 0 && matches!(self.kind, DATA | HEADERS)
    }

    /// Bytes of the head, and of the length of padding behind it.
    #[inline]
    fn head_len(self) -> usize {
        HEAD_LEN + usize::from(self.is_padded())
    }

    /// Bytes of data, or of a header block's fragment.
    #[inline]
    fn content(self) -> u32 {
        let mut around = match self.is_padded() {
            true => 1 + u32::from(self.pad),
            false => 0,
        };
        if self.kind == HEADERS && self.flags & PRIORITY_FLAG != 0 {
            around += 5;
        }
        self.len.saturating_sub(around)
    }
}

const HEAD_LEN: usize = 9;
const PREFACE_LEN: u32 = 24;

// RFC 9113, 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;
const PRIORITY_FLAG: u8 = 0x20;

const KINDS: usize = Flood::Requests as usize + 1;
const SECONDS: usize = 10;
const TICKS_PER_SECOND: u32 = 10;

/// Updates of windows within ten seconds that nothing we sent asked for: clients may open
/// their windows a little at a time, and each costs us far less than a microsecond.
const WINDOW_UPDATES_MAX: u32 = 10_000;

/// Bytes sent that one WINDOW_UPDATE answers: there may be two for a DATA frame, and a frame
/// with a short message has this many with its neighbours.
const WINDOW_UPDATE_PRICE: u32 = 32;

/// The same for PING, its answer of 17 bytes included: clients of gRPC measure the path with
/// one behind each message.
const PING_PRICE: u32 = 96;

/// More than one connection's usual window is not made good.
const CREDIT_MAX: u32 = 4 << 20;

const SPARE_PER_REQUEST: u32 = 2;
const SPARE_MAX: u32 = 256;
