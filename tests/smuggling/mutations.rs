//! The corpus, mutated at random from fixed seeds. No verdict is known for these, but what
//! reaches the origin must be strict, and the next client must get its own answer.

use super::{Case, TEXTS, echo, parse};
use crate::support::{Client, Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(no_mutation_reaches_the_origin_ambiguously);

const MUTATIONS: usize = 3000;

/// What parsers trip over, put in anywhere.
const MORSELS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b",",
    b";",
    b"\r\n\r\n",
    b"\r\n ",
    b"chunked",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"GET /evil HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    b"HTTP/1.1",
    b"%0d%0a",
    b"\xff",
    b"..",
    b"/",
    b"\\",
    b"Connection: close, content-length\r\n",
    b"Expect: 100-continue\r\n",
    b"ffffffffffffffff",
    b"-1",
    b"+1",
    b"0x1",
    b"Host: evil.test\r\n",
    b"\"",
];

struct Mutator(u64);

impl Mutator {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn mutate(&mut self, cases: &[Case]) -> Vec<u8> {
        let mut bytes = cases[self.below(cases.len())].bytes.clone();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => drop(bytes.splice(at..at, MORSELS[self.below(MORSELS.len())].iter().copied())),
                1 => drop(bytes.splice(at..(at + 1).min(bytes.len()), std::iter::empty())),
                2 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                3 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                4 => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
                _ => bytes.extend_from_slice(&cases[self.below(cases.len())].bytes),
            }
        }
        bytes
    }
}

fn no_mutation_reaches_the_origin_ambiguously(driver: Driver) {
    let cases: Vec<Case> = TEXTS.iter().flat_map(|text| parse(text)).collect();
    let origin = Origin::replying(echo);
    let gateway = Setup::proxy(driver, origin.address())
        .set("listener", "half_close", "\"allow\"")
        .start();
    let mut mutator = Mutator(0x5eed_0001);
    for turn in 0..MUTATIONS {
        let bytes = mutator.mutate(&cases);
        let mut client = Client::connect(gateway.address());
        client.try_send(&bytes);
        client.finish_sending();
        client.rest();
        probe(&gateway, &origin, turn, &bytes);
    }
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}

/// The next client gets its own answer, and the origin met nothing but strict requests and
/// such as were cut off.
fn probe(gateway: &Gateway, origin: &Origin, turn: usize, bytes: &[u8]) {
    let path = format!("/probe/{turn}");
    let answer = gateway.get(&path);
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(
        answer.text(),
        format!("GET {path}"),
        "turn {turn}, after {shown:?}"
    );
    let failures = origin.failures();
    let odd = failures
        .iter()
        .find(|failure| !failure.contains("cut short"));
    assert_eq!(odd, None, "turn {turn}, after {shown:?}");
}
