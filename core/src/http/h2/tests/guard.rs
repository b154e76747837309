//! The guard against a model of it that keeps every frame.

use proptest::prelude::*;

use crate::http::h2::{Flood, Guard, Role};
use crate::snapshot::Http2Limits;

const LIMITS: Http2Limits = Http2Limits {
    resets_max: 6,
    pings_max: 5,
    settings_max: 4,
    empty_frames_max: 7,
    requests_per_second_max: 3,
    streams_max: 10,
    stream_window: 1 << 16,
    connection_window: 1 << 16,
};

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn server() -> Guard {
    let mut guard = Guard::new(&LIMITS, Role::Server);
    guard.see(PREFACE, 0).unwrap();
    guard
}

/// How many of a frame pass before the guard has had enough.
fn passing(guard: &mut Guard, frame: &[u8], now: u32) -> (u32, Flood) {
    for passed in 0..100_000 {
        if let Err(flood) = guard.see(frame, now) {
            return (passed, flood);
        }
    }
    panic!("never enough");
}

#[test]
fn counts_each_kind_within_its_limit() {
    let ping = frame(6, 0, 0, &[0; 8]);
    let reset = frame(3, 0, 1, &[0; 4]);
    let settings = frame(4, 0, 0, &[]);
    assert_eq!(passing(&mut server(), &ping, 0), (5, Flood::Pings));
    assert_eq!(passing(&mut server(), &reset, 0), (6, Flood::Resets));
    assert_eq!(passing(&mut server(), &settings, 0), (4, Flood::Settings));
    for empty in [
        frame(0, 0, 1, &[]),
        frame(0, 8, 1, &[3, 0, 0, 0]),
        frame(1, 4, 0, &[]),
        frame(1, 0x2c, 0, &[1, 0, 0, 0, 0, 0, 0]),
        frame(9, 4, 1, &[]),
        frame(2, 0, 1, &[0; 5]),
        frame(7, 0, 0, &[0; 8]),
        frame(0x42, 0, 0, b"x"),
    ] {
        let passed = passing(&mut server(), &empty, 0);
        assert_eq!(passed, (7, Flood::EmptyFrames), "{empty:?}");
    }
}

#[test]
fn frames_that_carry_something_are_free() {
    let mut guard = server();
    for free in [
        frame(0, 0, 1, b"x"),
        frame(0, 1, 1, &[]),
        frame(1, 4, 0, b"x"),
        frame(9, 4, 1, b"x"),
        frame(6, 1, 0, &[0; 8]),
        frame(4, 1, 0, &[]),
    ] {
        for _ in 0..1000 {
            assert_eq!(guard.see(&free, 0), Ok(()), "{free:?}");
        }
    }
}

#[test]
fn requests_are_counted_by_the_second_and_trailers_are_none() {
    let mut guard = server();
    for (stream, now) in [
        (1, 0),
        (3, 0),
        (5, 9),
        (5, 9),
        (5, 9),
        (7, 10),
        (9, 10),
        (11, 10),
    ] {
        assert_eq!(
            guard.see(&frame(1, 4, stream, b"x"), now),
            Ok(()),
            "{stream}"
        );
    }
    assert_eq!(guard.see(&frame(1, 4, 13, b"x"), 10), Err(Flood::Requests));
}

#[test]
fn what_we_sent_is_answered_for_free() {
    let ping = frame(6, 0, 0, &[0; 8]);
    let update = frame(8, 0, 0, &[0, 0, 0, 1]);
    let mut guard = server();
    for _ in 0..10_000 {
        guard.sent(300);
        for answer in [&ping, &update, &update] {
            assert_eq!(guard.see(answer, 0), Ok(()));
        }
    }
    let mut idle = server();
    assert_eq!(
        passing(&mut idle, &update, 0),
        (10_000, Flood::WindowUpdates)
    );
}

#[test]
fn an_origin_may_end_streams_and_sends_no_preface() {
    let mut guard = Guard::new(&LIMITS, Role::Client);
    for stream in 0..1000 {
        let response = frame(1, 4, 2 * stream + 1, b"x");
        let reset = frame(3, 0, 2 * stream + 1, &[0; 4]);
        assert_eq!(guard.see(&[response, reset].concat(), 0), Ok(()));
    }
    let settings = frame(4, 0, 0, &[]);
    assert_eq!(passing(&mut guard, &settings, 0), (4, Flood::Settings));
}

/// Frames in the order they came, each with its second.
#[derive(Default)]
struct Model {
    counted: Vec<(Flood, u32)>,
    spare: u32,
    last_stream: u32,
}

impl Model {
    fn count(&mut self, kind: Flood, second: u32, most: u32) -> Result<(), Flood> {
        self.counted.push((kind, second));
        let first = match kind {
            Flood::Requests => second,
            _ => second.saturating_sub(9),
        };
        let among = |(other, at): &&(Flood, u32)| *other == kind && *at >= first;
        match self.counted.iter().filter(among).count() as u32 > most {
            true => Err(kind),
            false => Ok(()),
        }
    }

    fn see(&mut self, act: &Act, second: u32) -> Result<(), Flood> {
        match *act {
            Act::Data(..) | Act::Headers(0, _) | Act::Ack => Ok(()),
            Act::Empty => self.count(Flood::EmptyFrames, second, 7),
            Act::Priority if self.spare > 0 => {
                self.spare -= 1;
                Ok(())
            }
            Act::Priority => self.count(Flood::EmptyFrames, second, 7),
            Act::Headers(step, _) => {
                self.last_stream += 2 * u32::from(step);
                self.spare += 2;
                self.count(Flood::Requests, second, 3)
            }
            Act::Reset => self.count(Flood::Resets, second, 6),
            Act::Ping => self.count(Flood::Pings, second, 5),
            Act::Settings(_) => self.count(Flood::Settings, second, 4),
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    /// Payload bytes, padding.
    Data(u8, u8),
    Empty,
    /// Streams further than the last one, padding.
    Headers(u8, u8),
    Priority,
    Reset,
    Ping,
    Ack,
    Settings(u8),
}

impl Act {
    fn bytes(&self, stream: u32) -> Vec<u8> {
        let padded = |content: &[u8], pad: u8| {
            let mut payload = vec![pad];
            payload.extend(content);
            payload.extend(vec![0; usize::from(pad)]);
            payload
        };
        match *self {
            Act::Data(len, 0) => frame(0, 0, stream, &vec![9; usize::from(len) + 1]),
            Act::Data(len, pad) => {
                frame(0, 8, stream, &padded(&vec![9; usize::from(len) + 1], pad))
            }
            Act::Empty => frame(0, 0, stream, &[]),
            Act::Headers(_, 0) => frame(1, 4, stream, b"x"),
            Act::Headers(_, pad) => frame(1, 0x2c, stream, &padded(&[0; 6], pad)),
            Act::Priority => frame(2, 0, stream, &[0; 5]),
            Act::Reset => frame(3, 0, stream, &[0; 4]),
            Act::Ping => frame(6, 0, 0, &[6; 8]),
            Act::Ack => frame(6, 1, 0, &[6; 8]),
            Act::Settings(count) => frame(4, 0, 0, &vec![0; usize::from(count) * 6]),
        }
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (any::<u8>(), prop_oneof![Just(0), any::<u8>()]).prop_map(|(len, pad)| Act::Data(len, pad)),
        1 => Just(Act::Empty),
        3 => (0..3u8, prop_oneof![Just(0), any::<u8>()]).prop_map(|(step, pad)| Act::Headers(step, pad)),
        1 => Just(Act::Priority),
        1 => Just(Act::Reset),
        1 => Just(Act::Ping),
        1 => Just(Act::Ack),
        1 => (0..4u8).prop_map(Act::Settings),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_model_however_the_bytes_are_cut(
        acts in prop::collection::vec((act(), 0..25u32), 1..120),
        cuts in prop::collection::vec(1..40usize, 1..20),
    ) {
        let mut cuts = cuts.into_iter().cycle();
        let mut guard = server();
        let mut model = Model::default();
        let mut now = 0;
        for (act, pause) in acts {
            now += pause;
            let step = match act {
                Act::Headers(step, _) => 2 * u32::from(step),
                _ => 0,
            };
            // Trailers come on the stream there is; a first request needs one.
            let bytes = act.bytes(model.last_stream + step);
            let expected = model.see(&act, now / 10);
            let mut seen = Ok(());
            let mut rest = &bytes[..];
            while !rest.is_empty() && seen.is_ok() {
                let (piece, left) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                seen = guard.see(piece, now);
                rest = left;
            }
            prop_assert_eq!(seen, expected, "{:?}", act);
            if expected.is_err() {
                break;
            }
        }
    }
}
