//! Fuzz entry points of what stands before HTTP: plain functions that a fuzzer and the unit
//! tests both call. Each takes any bytes and panics when a property does not hold.

use crate::client_hello::{Hello, server_name};
use crate::proxy_protocol::{self, HEADER_MAX, Read};

/// A header that is cut anywhere is either not there yet or judged as the whole is; what it
/// says reads the same when it is written again.
pub fn fuzz_proxy_protocol(bytes: &[u8]) {
    let whole = proxy_protocol::read(bytes);
    for cut in 0..bytes.len() {
        let part = proxy_protocol::read(&bytes[..cut]);
        assert!(part == Ok(Read::Partial) || part == whole, "cut at {cut}");
    }
    match whole {
        Ok(Read::Complete { len, header }) => {
            assert!(len <= bytes.len() && len <= HEADER_MAX);
            assert_eq!(header.source.is_some(), header.destination.is_some());
            let mut out = Vec::new();
            proxy_protocol::write(header.version, header.source, header.destination, &mut out);
            let Ok(Read::Complete { header: again, .. }) = proxy_protocol::read(&out) else {
                panic!("what was written does not read");
            };
            let ip = |addr: std::net::SocketAddr| (addr.ip().to_canonical(), addr.port());
            assert_eq!(again.version, header.version);
            assert_eq!(again.source.map(ip), header.source.map(ip));
            assert_eq!(again.destination.map(ip), header.destination.map(ip));
        }
        Ok(Read::Partial) => assert!(bytes.len() < HEADER_MAX),
        Err(_) => {}
    }
}

/// A first flight that is cut anywhere is either not there yet or judged as the whole is.
pub fn fuzz_client_hello(bytes: &[u8]) {
    let whole = server_name(bytes);
    for cut in 0..bytes.len() {
        let part = server_name(&bytes[..cut]);
        assert!(part == Hello::Partial || part == whole, "cut at {cut}");
    }
    if let Hello::Complete(asked) = whole
        && let Some(name) = asked.name
    {
        let clean = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(matches!(name.len(), 1..=253) && name.bytes().all(clean));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn each(corpus: &str, run: fn(&[u8])) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(corpus);
        let mut files = 0;
        for entry in fs::read_dir(&dir).unwrap() {
            run(&fs::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files >= 10, "{} is nearly empty", dir.display());
    }

    #[test]
    fn proxy_headers_of_the_corpus_hold() {
        each("proxy_protocol", fuzz_proxy_protocol);
    }

    #[test]
    fn client_hellos_of_the_corpus_hold() {
        each("client_hello", fuzz_client_hello);
    }
}
