//! Header lists as bytes (RFC 7541), independent of the gateway's codec: written as plain
//! literals, so that a case says every byte; read whole, as a server may compress.

use std::collections::VecDeque;

/// A field as it is sent, in any bytes.
pub type Line<'a> = (&'a [u8], &'a [u8]);

/// The list as literals without indexing and without Huffman's code.
pub fn literals<'a>(lines: impl IntoIterator<Item = Line<'a>>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        literal(0x00, name, value, &mut block);
    }
    block
}

/// One literal with a new name; `first` says what becomes of it (RFC 7541, 6.2).
pub fn literal(first: u8, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
    block.push(first);
    for text in [name, value] {
        integer(0x00, 7, text.len(), block);
        block.extend_from_slice(text);
    }
}

/// A number behind `prefix` bits of a first byte (RFC 7541, 5.1).
pub fn integer(first: u8, prefix: u32, mut number: usize, block: &mut Vec<u8>) {
    let most = (1 << prefix) - 1;
    if number < most {
        block.push(first | number as u8);
        return;
    }
    block.push(first | most as u8);
    number -= most;
    while number >= 0x80 {
        block.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    block.push(number as u8);
}

/// Reads the blocks of one connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    dynamic: VecDeque<(String, String)>,
    max: usize,
    huffman: Vec<(u8, u32, usize)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            dynamic: VecDeque::new(),
            max: 4096,
            huffman: codes(),
        }
    }
}

impl Decoder {
    /// The fields of a block, pseudo-headers first as they came.
    #[track_caller]
    pub fn fields(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut rest = block;
        let mut fields = Vec::new();
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = take_integer(&mut rest, 7);
                fields.push(self.entry(index));
            } else if first & 0xe0 == 0x20 {
                self.max = take_integer(&mut rest, 5);
                self.evict();
            } else {
                let indexed = first & 0x40 != 0;
                let index = take_integer(&mut rest, if indexed { 6 } else { 4 });
                let name = match index {
                    0 => self.text(&mut rest),
                    index => self.entry(index).0,
                };
                let value = self.text(&mut rest);
                if indexed {
                    self.dynamic.push_front((name.clone(), value.clone()));
                    self.evict();
                }
                fields.push((name, value));
            }
        }
        fields
    }

    fn entry(&self, index: usize) -> (String, String) {
        if let Some((name, value)) = STATIC.get(index - 1) {
            return ((*name).to_owned(), (*value).to_owned());
        }
        let entry = self.dynamic.get(index - 1 - STATIC.len());
        entry.expect("an index in the tables").clone()
    }

    fn evict(&mut self) {
        let size = |(name, value): &(String, String)| name.len() + value.len() + 32;
        while self.dynamic.iter().map(size).sum::<usize>() > self.max {
            self.dynamic.pop_back();
        }
    }

    fn text(&self, rest: &mut &[u8]) -> String {
        let coded = rest[0] & 0x80 != 0;
        let len = take_integer(rest, 7);
        let (text, behind) = rest.split_at(len);
        *rest = behind;
        let text = match coded {
            true => self.uncoded(text),
            false => text.to_vec(),
        };
        String::from_utf8_lossy(&text).into_owned()
    }

    fn uncoded(&self, coded: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        let (mut code, mut len) = (0u32, 0u8);
        for byte in coded {
            for bit in (0..8).rev() {
                code = code << 1 | u32::from(byte >> bit & 1);
                len += 1;
                let found = self
                    .huffman
                    .binary_search_by_key(&(len, code), |c| (c.0, c.1));
                if let Ok(at) = found {
                    let symbol = u8::try_from(self.huffman[at].2);
                    text.push(symbol.expect("the end of a string is not sent"));
                    (code, len) = (0, 0);
                }
            }
        }
        assert!(len < 8 && code + 1 == 1 << len, "padding of ones");
        text
    }
}

fn take_integer(rest: &mut &[u8], prefix: u32) -> usize {
    let most = (1usize << prefix) - 1;
    let mut number = usize::from(rest[0]) & most;
    *rest = &rest[1..];
    if number < most {
        return number;
    }
    let mut shift = 0;
    loop {
        let byte = rest[0];
        *rest = &rest[1..];
        number += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return number;
        }
    }
}

/// Length, code and symbol of Huffman's code, in that order: it is canonical, so the lengths
/// say all (RFC 7541, appendix B).
fn codes() -> Vec<(u8, u32, usize)> {
    let mut codes: Vec<(u8, u32, usize)> = LENGTHS
        .iter()
        .enumerate()
        .map(|(symbol, len)| (*len, 0, symbol))
        .collect();
    codes.sort_by_key(|(len, _, symbol)| (*len, *symbol));
    let (mut next, mut before) = (0u32, 0);
    for (len, code, _) in &mut codes {
        next <<= *len - before;
        before = *len;
        *code = next;
        next += 1;
    }
    codes
}

const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_the_rfc() {
        // RFC 7541, appendix C.4.1 and C.4.2.
        let mut decoder = Decoder::default();
        let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        let fields = decoder.fields(first);
        assert_eq!(fields[3], (":authority".into(), "www.example.com".into()));
        let second = b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf";
        let fields = decoder.fields(second);
        assert_eq!(fields[3].1, "www.example.com");
        assert_eq!(fields[4], ("cache-control".into(), "no-cache".into()));
    }

    #[test]
    fn reads_what_it_writes() {
        let long = [b'x'; 1000];
        let block = literals([(&b"a"[..], &long[..]), (b"b", b"")]);
        let fields = Decoder::default().fields(&block);
        assert_eq!(fields[0], ("a".into(), "x".repeat(1000)));
        assert_eq!(fields[1], ("b".into(), String::new()));
    }
}
