//! An own strict reader of HTTP/1 messages, independent of the gateway's codec: what
//! it accepts has one meaning only. It refuses everything that RFC 9112 lets a
//! recipient tolerate.

use std::fmt;
use std::io::{self, Read};

/// Why no message could be read.
#[derive(Debug)]
pub enum ReadError {
    /// The peer ended before the first byte of a message.
    Closed,
    /// The peer ended, or failed, in the middle of a message.
    Cut(String),
    /// Nothing came within the deadline.
    TimedOut,
    /// The bytes are not a strict HTTP/1 message.
    Malformed(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed"),
            Self::Cut(how) => write!(f, "cut short: {how}"),
            Self::TimedOut => f.write_str("nothing came in time"),
            Self::Malformed(why) => write!(f, "malformed: {why}"),
        }
    }
}

/// Field lines in the order they came; names are compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the only field called `name`; more than one is a test failure.
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {self:?}", all.len());
        all.first().copied()
    }

    /// Every value of the fields called `name`.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// Whether a field called `name` is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// A whole request as the origin saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

/// How the end of a response's body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The status or the method leaves no body.
    None,
    Length,
    Chunked,
    Close,
}

/// A response as the client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub reason: String,
    pub fields: Fields,
    pub framing: Framing,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The value of the only field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }
}

/// Reads messages out of a byte stream and keeps what came behind them.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    held: Vec<u8>,
    /// Every byte that was ever received.
    pub seen: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            held: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub fn source(&self) -> &R {
        &self.source
    }

    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// Bytes received and not yet consumed.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Receives once; the count of new bytes, 0 at the end of the stream.
    pub fn fill(&mut self) -> io::Result<usize> {
        let mut block = [0; 64 * 1024];
        loop {
            match self.source.read(&mut block) {
                Ok(n) => {
                    self.held.extend_from_slice(&block[..n]);
                    // Bodies of many megabytes are not kept twice.
                    if self.seen.len() < SEEN_BYTES_MAX {
                        self.seen.extend_from_slice(&block[..n]);
                    }
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn more(&mut self, inside: &str) -> Result<(), ReadError> {
        match self.fill() {
            Ok(0) => Err(ReadError::Cut(format!("end of stream in {inside}"))),
            Ok(_) => Ok(()),
            Err(e) if is_timeout(&e) => Err(ReadError::TimedOut),
            Err(e) => Err(ReadError::Cut(format!("{e} in {inside}"))),
        }
    }

    /// Takes exactly `count` bytes.
    pub fn take(&mut self, count: usize, inside: &str) -> Result<Vec<u8>, ReadError> {
        while self.held.len() < count {
            self.more(inside)?;
        }
        let rest = self.held.split_off(count);
        Ok(std::mem::replace(&mut self.held, rest))
    }

    /// Takes everything up to the end of the stream.
    pub fn rest(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            match self.fill() {
                Ok(0) => return Ok(std::mem::take(&mut self.held)),
                Ok(_) => {}
                Err(e) if is_timeout(&e) => return Err(ReadError::TimedOut),
                Err(e) => return Err(ReadError::Cut(e.to_string())),
            }
        }
    }

    /// Takes one line that ends in CRLF, without it.
    fn line(&mut self, inside: &str) -> Result<String, ReadError> {
        let mut scanned = 0;
        loop {
            if let Some(at) = self.held[scanned..].iter().position(|b| *b == b'\n') {
                let mut line = self.take(scanned + at + 1, inside)?;
                line.pop();
                if line.pop() != Some(b'\r') {
                    return Err(malformed(format!("bare LF in {inside}")));
                }
                if line
                    .iter()
                    .any(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f)
                {
                    return Err(malformed(format!("control byte in {inside}: {line:?}")));
                }
                // Latin-1, so that every byte stays visible.
                return Ok(line.iter().map(|b| char::from(*b)).collect());
            }
            scanned = self.held.len();
            self.more(inside)?;
        }
    }

    fn fields(&mut self, inside: &str) -> Result<Fields, ReadError> {
        let mut fields = Vec::new();
        loop {
            let line = self.line(inside)?;
            if line.is_empty() {
                return Ok(Fields(fields));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("no colon in {line:?}")))?;
            if !is_token(name) {
                return Err(malformed(format!("field name {name:?}")));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// Reads a request's head, the body being left in the stream.
    pub fn request_head(&mut self) -> Result<Request, ReadError> {
        if self.held.is_empty() {
            match self.fill() {
                Ok(0) => return Err(ReadError::Closed),
                Ok(_) => {}
                Err(e) if is_timeout(&e) => return Err(ReadError::TimedOut),
                Err(_) => return Err(ReadError::Closed),
            }
        }
        let line = self.line("request line")?;
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = parts[..] else {
            return Err(malformed(format!("request line {line:?}")));
        };
        if !is_token(method) || target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(malformed(format!("request line {line:?}")));
        }
        if version != "HTTP/1.1" {
            return Err(malformed(format!("version in {line:?}")));
        }
        let fields = self.fields("request fields")?;
        if fields.all("host").len() != 1 {
            return Err(malformed(format!(
                "{} Host fields",
                fields.all("host").len()
            )));
        }
        Ok(Request {
            method: method.to_owned(),
            target: target.to_owned(),
            version: version.to_owned(),
            fields,
            ..Request::default()
        })
    }

    /// Reads the body that belongs to `request`, as its framing says.
    pub fn request_body(&mut self, request: &mut Request) -> Result<(), ReadError> {
        match framing(&request.fields)? {
            Some(BodyLength::Bytes(n)) => request.body = self.take(n, "request body")?,
            Some(BodyLength::Chunked) => {
                (request.body, request.trailers) = self.chunked()?;
            }
            None => {}
        }
        Ok(())
    }

    /// Reads one whole request.
    pub fn request(&mut self) -> Result<Request, ReadError> {
        let mut request = self.request_head()?;
        self.request_body(&mut request)?;
        Ok(request)
    }

    /// Reads a response's head; `method` is that of its request.
    pub fn response_head(&mut self, method: &str) -> Result<Response, ReadError> {
        if self.held.is_empty() {
            match self.fill() {
                Ok(0) => return Err(ReadError::Closed),
                Ok(_) => {}
                Err(e) if is_timeout(&e) => return Err(ReadError::TimedOut),
                Err(_) => return Err(ReadError::Closed),
            }
        }
        let line = self.line("status line")?;
        let mut parts = line.splitn(3, ' ');
        let version = parts.next().unwrap_or_default();
        let status = parts.next().unwrap_or_default();
        // RFC 9112, section 4: the space before an empty reason is still sent.
        let reason = parts
            .next()
            .ok_or_else(|| malformed(format!("status line {line:?}")))?;
        if version != "HTTP/1.1" || status.len() != 3 {
            return Err(malformed(format!("status line {line:?}")));
        }
        let status: u16 = status
            .parse()
            .map_err(|_| malformed(format!("status in {line:?}")))?;
        let fields = self.fields("response fields")?;
        let framing = match framing(&fields)? {
            _ if method == "HEAD" || status < 200 || status == 204 || status == 304 => {
                Framing::None
            }
            Some(BodyLength::Bytes(_)) => Framing::Length,
            Some(BodyLength::Chunked) => Framing::Chunked,
            None => Framing::Close,
        };
        Ok(Response {
            version: version.to_owned(),
            status,
            reason: reason.to_owned(),
            fields,
            framing,
            body: Vec::new(),
            trailers: Fields::default(),
        })
    }

    /// Reads the body that belongs to `response`.
    pub fn response_body(&mut self, response: &mut Response) -> Result<(), ReadError> {
        match response.framing {
            Framing::None => {}
            Framing::Length => {
                let Some(BodyLength::Bytes(n)) = framing(&response.fields)? else {
                    unreachable!("the framing came from the same fields")
                };
                response.body = self.take(n, "response body")?;
            }
            Framing::Chunked => (response.body, response.trailers) = self.chunked()?,
            Framing::Close => response.body = self.rest()?,
        }
        Ok(())
    }

    /// Reads one whole response, interim ones too.
    pub fn response(&mut self, method: &str) -> Result<Response, ReadError> {
        let mut response = self.response_head(method)?;
        self.response_body(&mut response)?;
        Ok(response)
    }

    /// Reads one chunk; `None` at the last one, whose trailers stay in the stream.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let line = self.line("chunk size")?;
        if line.is_empty() || line.len() > 8 || !line.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(malformed(format!("chunk size {line:?}")));
        }
        let size = usize::from_str_radix(&line, 16)
            .map_err(|e| malformed(format!("chunk size {line:?}: {e}")))?;
        if size == 0 {
            return Ok(None);
        }
        let mut data = self.take(size + 2, "chunk")?;
        if !data.ends_with(b"\r\n") {
            return Err(malformed("a chunk without its CRLF".to_owned()));
        }
        data.truncate(size);
        Ok(Some(data))
    }

    fn chunked(&mut self) -> Result<(Vec<u8>, Fields), ReadError> {
        let mut body = Vec::new();
        while let Some(data) = self.chunk()? {
            body.extend_from_slice(&data);
        }
        Ok((body, self.fields("trailers")?))
    }
}

/// Splits `bytes` into whole requests; anything else in them is the error.
pub fn requests_in(bytes: &[u8]) -> Result<Vec<Request>, ReadError> {
    let mut reader = Reader::new(bytes);
    let mut requests = Vec::new();
    loop {
        match reader.request() {
            Ok(request) => requests.push(request),
            Err(ReadError::Closed) => return Ok(requests),
            Err(error) => return Err(error),
        }
    }
}

enum BodyLength {
    Bytes(usize),
    Chunked,
}

fn framing(fields: &Fields) -> Result<Option<BodyLength>, ReadError> {
    let coding = fields.all("transfer-encoding");
    let length = fields.all("content-length");
    match (&coding[..], &length[..]) {
        ([], []) => Ok(None),
        (["chunked"], []) => Ok(Some(BodyLength::Chunked)),
        ([], [digits]) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let bytes = digits
                .parse()
                .map_err(|e| malformed(format!("{digits}: {e}")))?;
            Ok(Some(BodyLength::Bytes(bytes)))
        }
        _ => Err(malformed(format!(
            "ambiguous framing: {coding:?} and {length:?}"
        ))),
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn malformed(reason: String) -> ReadError {
    ReadError::Malformed(reason)
}

const SEEN_BYTES_MAX: usize = 1 << 20;

mod tests {
    use super::*;

    #[test]
    fn splits_two_pipelined_requests() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\n\
            Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n";
        let requests = requests_in(bytes).unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].body, b"abc");
        assert_eq!(requests[1].trailers.one("x-t"), Some("1"));
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for bytes in [
            &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(
                requests_in(bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
