//! HTTP/2 frame by frame: it sends exactly the frames of the case, lawful or not, and reads
//! strictly. It shares no code with the gateway's codec.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::hpack::{self, Decoder, Line};
use super::message::Fields;
use super::{PATIENCE, Peer};

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    pub const NONE: u8 = 0;
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
    /// Of a request without a body, in one frame.
    pub const WHOLE: u8 = END_HEADERS | END_STREAM;
}

/// Codes of errors (RFC 9113, 7).
pub mod code {
    pub const NO_ERROR: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const FLOW_CONTROL_ERROR: u32 = 3;
    pub const STREAM_CLOSED: u32 = 5;
    pub const FRAME_SIZE_ERROR: u32 = 6;
    pub const REFUSED_STREAM: u32 = 7;
    pub const CANCEL: u32 = 8;
    pub const COMPRESSION_ERROR: u32 = 9;
    pub const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Settings (RFC 9113, 6.5.2).
pub mod setting {
    pub const ENABLE_PUSH: u16 = 2;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// A request's head, or trailers, in one frame.
    pub fn headers(stream: u32, flags: u8, lines: &[(&str, &str)]) -> Self {
        let lines = lines.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
        Self::raw_headers(stream, flags, lines)
    }

    /// The same of any bytes.
    pub fn raw_headers<'a>(
        stream: u32,
        flags: u8,
        lines: impl IntoIterator<Item = Line<'a>>,
    ) -> Self {
        Self::new(kind::HEADERS, flags, stream, hpack::literals(lines))
    }

    /// A GET without a body.
    pub fn get(stream: u32, path: &str) -> Self {
        Self::headers(stream, flag::WHOLE, &request("GET", path))
    }

    /// A POST whose body follows.
    pub fn post(stream: u32, path: &str) -> Self {
        Self::headers(stream, flag::END_HEADERS, &request("POST", path))
    }

    pub fn data(stream: u32, flags: u8, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::DATA, flags, stream, bytes)
    }

    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, flag::NONE, stream, code.to_be_bytes())
    }

    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        Self::new(kind::SETTINGS, flag::NONE, 0, payload)
    }

    pub fn ping(bytes: [u8; 8]) -> Self {
        Self::new(kind::PING, flag::NONE, 0, bytes)
    }

    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(
            kind::WINDOW_UPDATE,
            flag::NONE,
            stream,
            increment.to_be_bytes(),
        )
    }

    pub fn continuation(stream: u32, flags: u8, fragment: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::CONTINUATION, flags, stream, fragment)
    }

    /// The frame as it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The number that the payload begins with, or that stands at `at`.
    pub fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// The pseudo-headers of a request to the gateway.
pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", "gateway.test"),
        (":path", path),
    ]
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer(Answer),
    /// RST_STREAM with this code.
    Reset(u32),
    /// The connection ended; the code of GOAWAY if one came.
    Gone(Option<u32>),
}

impl Outcome {
    /// The answer, or a failure of the case.
    #[track_caller]
    pub fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            other => panic!("no answer but {other:?}"),
        }
    }
}

/// A response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The statuses of interim responses before it.
    pub interim: Vec<u16>,
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the peer does about flow control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Nothing but what the case says.
    Left,
    /// Every DATA frame is given back at once, on the stream and on the connection.
    GivenBack,
}

/// One connection to the gateway, or the gateway's to us.
#[derive(Debug)]
pub struct Http2 {
    peer: Peer,
    held: Vec<u8>,
    decoder: Decoder,
    /// A header block that is not whole yet, with the flags of its first frame.
    block: Option<(u8, Vec<u8>)>,
    answers: HashMap<u32, Answer>,
    ended: HashMap<u32, Outcome>,
    goaway: Option<(u32, u32)>,
    /// The pings that were answered.
    pub pongs: usize,
    pub windows: Windows,
}

impl Http2 {
    /// Connects and begins by prior knowledge, with the settings given.
    #[track_caller]
    pub fn connect_with(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut http2 = Self::bare(address);
        http2.send_bytes(PREFACE);
        http2.send(&Frame::settings(settings));
        http2
    }

    /// The same with no settings.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        Self::connect_with(address, &[])
    }

    /// Connects and sends nothing.
    #[track_caller]
    pub fn bare(address: &str) -> Self {
        let peer = Peer::connect(address).unwrap_or_else(|e| panic!("connect {address}: {e}"));
        Self {
            peer,
            held: Vec::new(),
            decoder: Decoder::default(),
            block: None,
            answers: HashMap::new(),
            ended: HashMap::new(),
            goaway: None,
            pongs: 0,
            windows: Windows::Left,
        }
    }

    /// Sends a frame; whether the gateway still took it.
    pub fn send(&mut self, frame: &Frame) -> bool {
        self.send_bytes(&frame.bytes())
    }

    /// Sends frames in one piece; whether the gateway still took them.
    pub fn send_all<'a>(&mut self, frames: impl IntoIterator<Item = &'a Frame>) -> bool {
        let bytes: Vec<u8> = frames.into_iter().flat_map(Frame::bytes).collect();
        self.send_bytes(&bytes)
    }

    /// Sends any bytes; whether the gateway still took them.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.peer.write_all(bytes).is_ok()
    }

    /// The socket below.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// A GET of `path` and what becomes of it.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) -> Outcome {
        self.send(&Frame::get(stream, path));
        self.outcome(stream)
    }

    /// The next frame; `None` at the end of the connection. Fails when nothing comes in time.
    #[track_caller]
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.held_frame() {
                return Some(frame);
            }
            let mut piece = [0; 64 << 10];
            match self.peer.read(&mut piece) {
                Ok(0) => return None,
                Ok(n) => self.held.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if is_timeout(&e) => panic!("no frame within {PATIENCE:?}"),
                Err(_) => return None,
            }
        }
    }

    fn held_frame(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.held.get(..9)?.try_into().unwrap();
        let [a, b, c, kind, flags, s, t, u, v] = head;
        let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        let payload = self.held.get(9..end)?.to_vec();
        self.held.drain(..end);
        let stream = u32::from_be_bytes([s, t, u, v]);
        Some(Frame::new(kind, flags, stream, payload))
    }

    /// Reads until the stream has ended, one way or another; answers SETTINGS and PING.
    #[track_caller]
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            if let Some(outcome) = self.ended.remove(&stream) {
                return outcome;
            }
            if let Some((last, code)) = self.goaway
                && last < stream
            {
                return Outcome::Gone(Some(code));
            }
            if !self.turn() {
                return Outcome::Gone(self.goaway.map(|(_, code)| code));
            }
        }
    }

    /// Reads to the end of the connection; the code of GOAWAY if one came.
    #[track_caller]
    pub fn gone(&mut self) -> Option<u32> {
        while self.turn() {}
        self.goaway.map(|(_, code)| code)
    }

    /// The last stream and the code of the GOAWAY that came.
    pub fn goaway(&self) -> Option<(u32, u32)> {
        self.goaway
    }

    /// What came of a stream's answer so far.
    pub fn partial(&self, stream: u32) -> Option<&Answer> {
        self.answers.get(&stream)
    }

    /// Reads one frame and does what it asks for; false at the end of the connection.
    #[track_caller]
    pub fn turn(&mut self) -> bool {
        let Some(frame) = self.frame() else {
            return false;
        };
        match frame.kind {
            kind::SETTINGS if frame.flags & flag::ACK == 0 => {
                self.send(&Frame::new(kind::SETTINGS, flag::ACK, 0, []));
            }
            kind::PING if frame.flags & flag::ACK == 0 => {
                self.send(&Frame::new(kind::PING, flag::ACK, 0, frame.payload));
            }
            kind::PING => self.pongs += 1,
            kind::GOAWAY => self.goaway = Some((frame.number(0), frame.number(4))),
            kind::RST_STREAM => {
                let outcome = Outcome::Reset(frame.number(0));
                self.ended.entry(frame.stream).or_insert(outcome);
            }
            kind::HEADERS | kind::CONTINUATION => self.take_block(frame),
            kind::DATA => self.take_data(frame),
            kind::PUSH_PROMISE => panic!("the gateway pushes: {frame:?}"),
            _ => {}
        }
        true
    }

    fn take_data(&mut self, frame: Frame) {
        assert_eq!(frame.flags & flag::PADDED, 0, "nobody pads here");
        if self.windows == Windows::GivenBack && !frame.payload.is_empty() {
            let len = frame.payload.len() as u32;
            self.send(&Frame::window_update(frame.stream, len));
            self.send(&Frame::window_update(0, len));
        }
        let answer = self.answers.get_mut(&frame.stream);
        let answer = answer.expect("DATA behind a head");
        answer.body.extend_from_slice(&frame.payload);
        self.end_if(frame.flags, frame.stream);
    }

    fn take_block(&mut self, frame: Frame) {
        let ours = flag::PADDED | flag::PRIORITY;
        assert!(frame.kind != kind::HEADERS || frame.flags & ours == 0);
        let (first, mut block) = self.block.take().unwrap_or((frame.flags, Vec::new()));
        block.extend_from_slice(&frame.payload);
        if frame.flags & flag::END_HEADERS == 0 {
            self.block = Some((first, block));
            return;
        }
        let fields = self.decoder.fields(&block);
        let answer = self.answers.entry(frame.stream).or_default();
        match fields.first() {
            Some((name, status)) if name == ":status" => {
                if (100..200).contains(&answer.status) {
                    answer.interim.push(answer.status);
                }
                answer.status = status.parse().unwrap();
                answer.fields = Fields(fields[1..].to_vec());
            }
            _ => answer.trailers = Fields(fields),
        }
        for (name, _) in &answer.fields.0 {
            assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "{name}");
        }
        self.end_if(first, frame.stream);
    }

    fn end_if(&mut self, flags: u8, stream: u32) {
        if flags & flag::END_STREAM != 0 {
            let answer = self.answers.remove(&stream).unwrap_or_default();
            self.ended.entry(stream).or_insert(Outcome::Answer(answer));
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
