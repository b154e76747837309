//! What is asked: one request, or a mix of several by weight. Everything that can be is encoded
//! beforehand; a drawn request is two numbers. Draws are the same in every run.

use ringgate_core::http::Method;
use serde::Deserialize;

use super::plan::{Protocol, Reuse, size};
use super::{Command, grpc, paths};
use crate::fault::{Fault, Result};
use paths::{Paths, Template};

/// What is asked, by weight.
#[derive(Debug)]
pub struct Mix {
    requests: Vec<Request>,
    weight: u64,
    head_max: usize,
}

/// One kind of request.
#[derive(Debug)]
pub struct Request {
    /// The method; the token of one that is not well known is in the encoded head only.
    pub method: Method,
    token: http::Method,
    paths: Paths,
    weight: u64,
    /// The head behind the path: version and fields.
    tail: Vec<u8>,
    /// The fields that were asked for, as HTTP/2 sends them.
    http2_fields: http::HeaderMap,
    /// Where HTTP/2 asks for: without a path unless there is one only.
    scheme: http::uri::Scheme,
    authority: http::uri::Authority,
    uri: Option<http::Uri>,
    /// The body.
    pub body: bytes::Bytes,
    /// What it is.
    pub call: Call,
}

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Any request of HTTP.
    Http,
    /// A unary call of gRPC, whose body is one message.
    Grpc,
}

/// A request that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    request: u32,
    path: u64,
}

/// Draws requests; one per thread.
#[derive(Debug)]
pub struct Draws {
    random: Random,
    /// Of each request, how many of its paths were drawn in order.
    drawn: Vec<u64>,
}

/// As it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMix {
    #[serde(default)]
    request: Vec<RawRequest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    weight: Option<u64>,
    method: Option<String>,
    path: Option<String>,
    paths: Option<Vec<String>>,
    order: Option<paths::Order>,
    headers: Option<Vec<String>>,
    body: Option<String>,
    body_size: Option<String>,
    body_file: Option<std::path::PathBuf>,
    #[serde(default)]
    grpc: bool,
}

impl Mix {
    /// The mix of a command line: its file, or the one request that it describes.
    ///
    /// # Errors
    /// A file that cannot be read, and whatever is wrong with a request.
    pub fn of(command: &Command, target: &http::Uri, reuse: Reuse) -> Result<Mix> {
        let raws = match &command.requests {
            None => vec![RawRequest {
                method: command.method.clone(),
                path: Some(
                    target
                        .path_and_query()
                        .map_or("/", |p| p.as_str())
                        .to_owned(),
                ),
                body_size: command.body_size.map(|size| size.to_string()),
                grpc: command.grpc,
                ..RawRequest::default()
            }],
            Some(file) => {
                let name = file.display();
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Fault::io(&format!("read {name}"), &error))?;
                parse(&text).map_err(|what| Fault::Setup(format!("{name}: {what}")))?
            }
        };
        let requests = raws.into_iter().zip(1..).map(|(raw, number)| {
            let directory = command
                .requests
                .as_deref()
                .and_then(std::path::Path::parent);
            let made = Request::of(raw, &command.header, target, reuse, directory);
            let made = made.and_then(|request| request.spoken_by(command.protocol));
            made.map_err(|what| match &command.requests {
                None => Fault::Setup(what),
                Some(file) => Fault::Setup(format!("{}: request {number}: {what}", file.display())),
            })
        });
        Mix::new(requests.collect::<Result<Vec<_>>>()?)
    }

    fn new(requests: Vec<Request>) -> Result<Mix> {
        let head_max = requests.iter().map(Request::head_max).max().unwrap_or(0);
        if head_max > HEAD_MAX {
            return Err(Fault::Setup(format!(
                "a request head has {head_max} bytes; at most {HEAD_MAX} are sent"
            )));
        }
        Ok(Mix {
            weight: requests.iter().map(|request| request.weight).sum(),
            requests,
            head_max,
        })
    }

    /// Draws the next request.
    pub fn draw(&self, draws: &mut Draws) -> Drawn {
        let mut request = 0;
        if self.requests.len() > 1 {
            let mut at = draws.random.below(self.weight);
            for (index, candidate) in self.requests.iter().enumerate() {
                request = index;
                match at.checked_sub(candidate.weight) {
                    Some(rest) => at = rest,
                    None => break,
                }
            }
        }
        let paths = &self.requests[request].paths;
        let path = match (paths.count(), paths.order()) {
            (1, _) => 0,
            (count, paths::Order::Random) => draws.random.below(count),
            (count, paths::Order::Sequential) => {
                let drawn = &mut draws.drawn[request];
                *drawn += 1;
                (*drawn - 1) % count
            }
        };
        Drawn {
            request: request as u32,
            path,
        }
    }

    /// The draws of one of several threads, which go through ordered paths side by side.
    pub fn draws(&self, thread: u32, threads: u32) -> Draws {
        let begin = |request: &Request| request.paths.count() / u64::from(threads);
        Draws {
            random: Random(SEED ^ u64::from(thread)),
            drawn: self
                .requests
                .iter()
                .map(|request| begin(request) * u64::from(thread))
                .collect(),
        }
    }

    /// The kind of a drawn request.
    pub fn request(&self, drawn: Drawn) -> &Request {
        &self.requests[drawn.request as usize]
    }

    /// The longest head in bytes.
    pub fn head_max(&self) -> usize {
        self.head_max
    }

    /// The longest head with its body, in bytes.
    pub fn whole_max(&self) -> usize {
        let whole = |request: &Request| request.head_max() + request.body.len();
        self.requests.iter().map(whole).max().unwrap_or(0)
    }
}

fn parse(text: &str) -> std::result::Result<Vec<RawRequest>, String> {
    let raw: RawMix = toml::from_str(text).map_err(|error| error.to_string())?;
    match raw.request.is_empty() {
        true => Err("there is no [[request]] in it".to_owned()),
        false => Ok(raw.request),
    }
}

impl Request {
    fn of(
        raw: RawRequest,
        common: &[String],
        target: &http::Uri,
        reuse: Reuse,
        directory: Option<&std::path::Path>,
    ) -> std::result::Result<Request, String> {
        let body = body_of(&raw, directory)?;
        let (call, body) = match raw.grpc {
            true => (Call::Grpc, grpc::message(&body)?),
            false => (Call::Http, body),
        };
        let own = raw.headers.unwrap_or_default();
        let mut fields = fields_of(common.iter().chain(&own))?;
        if call == Call::Grpc {
            grpc::complete(&mut fields);
        }
        let default = if body.is_empty() { "GET" } else { "POST" };
        let token = raw.method.unwrap_or_else(|| default.to_owned());
        let token = http::Method::from_bytes(token.as_bytes())
            .map_err(|_| format!("{token:?} is no method"))?;
        let paths = match (raw.path, raw.paths) {
            (Some(path), None) => vec![path],
            (None, Some(paths)) => paths,
            (None, None) => vec!["/".to_owned()],
            (Some(_), Some(_)) => return Err("give either `path` or `paths`".to_owned()),
        };
        let templates = paths.iter().map(|path| Template::parse(path));
        let templates = templates.collect::<std::result::Result<Vec<_>, _>>()?;
        let method = Method::of(token.as_str().as_bytes());
        if method == Method::Connect {
            return Err("CONNECT asks for a tunnel, which is no load".to_owned());
        }
        let host = fields.get(http::header::HOST).map(|host| host.as_bytes());
        let host = host.or_else(|| Some(target.authority()?.as_str().as_bytes()));
        let authority = http::uri::Authority::try_from(host.unwrap_or_default())
            .map_err(|error| format!("the host is none: {error}"))?;
        let weight = raw.weight.unwrap_or(1);
        if weight == 0 {
            return Err("`weight` is at least 1; leave the request out instead".to_owned());
        }
        let tail = tail_of(&fields, authority.as_str(), method, body.len(), reuse);
        let mut http2_fields = fields;
        http2_fields.remove(http::header::HOST);
        let mut request = Request {
            tail,
            method,
            token,
            paths: Paths::new(templates, raw.order.unwrap_or_default())?,
            weight,
            http2_fields,
            scheme: target.scheme().cloned().unwrap_or(http::uri::Scheme::HTTP),
            authority,
            uri: None,
            body,
            call,
        };
        if request.paths.count() == 1 {
            request.uri = Some(request.uri_of(0));
        }
        Ok(request)
    }

    /// The request, if it can be made in this protocol.
    fn spoken_by(self, protocol: Protocol) -> std::result::Result<Request, String> {
        match (self.call, protocol) {
            (Call::Grpc, Protocol::Http1) => {
                Err("gRPC is spoken over HTTP/2 only: give --protocol h2".to_owned())
            }
            _ => Ok(self),
        }
    }

    /// Writes the whole HTTP/1.1 head; `put` takes its pieces in order.
    pub fn encode(&self, drawn: Drawn, mut put: impl FnMut(&[u8])) {
        put(self.token.as_str().as_bytes());
        put(b" ");
        self.paths.put(drawn.path, &mut put);
        put(&self.tail);
    }

    /// The head as HTTP/2 has it.
    pub fn to_http2(&self, drawn: Drawn) -> http::Request<()> {
        let mut request = http::Request::new(());
        *request.uri_mut() = self.uri.clone().unwrap_or_else(|| self.uri_of(drawn.path));
        request.method_mut().clone_from(&self.token);
        request.headers_mut().clone_from(&self.http2_fields);
        request
    }

    fn uri_of(&self, number: u64) -> http::Uri {
        let mut path = Vec::with_capacity(64);
        self.paths
            .put(number, |piece| path.extend_from_slice(piece));
        let uri = http::Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone());
        // The templates were checked to be paths.
        uri.path_and_query(path).build().unwrap_or_default()
    }

    fn head_max(&self) -> usize {
        self.token.as_str().len() + 1 + self.paths.length_max() + self.tail.len()
    }
}

fn tail_of(
    fields: &http::HeaderMap,
    authority: &str,
    method: Method,
    body: usize,
    reuse: Reuse,
) -> Vec<u8> {
    let mut tail = format!(" HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    for (name, value) in fields {
        if name == http::header::HOST {
            continue;
        }
        tail.extend_from_slice(name.as_str().as_bytes());
        tail.extend_from_slice(b": ");
        tail.extend_from_slice(value.as_bytes());
        tail.extend_from_slice(b"\r\n");
    }
    // RFC 9110, 8.6: methods that usually have a body tell its length even when it is empty.
    if body > 0 || matches!(method, Method::Post | Method::Put | Method::Patch) {
        tail.extend_from_slice(format!("Content-Length: {body}\r\n").as_bytes());
    }
    if reuse == Reuse::EachNew {
        tail.extend_from_slice(b"Connection: close\r\n");
    }
    tail.extend_from_slice(b"\r\n");
    tail
}

fn fields_of<'a>(
    lines: impl Iterator<Item = &'a String>,
) -> std::result::Result<http::HeaderMap, String> {
    let mut fields = http::HeaderMap::new();
    for line in lines {
        let wrong = || format!("{line:?} is no header such as 'accept: text/html'");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name = http::HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
        if OURS.contains(&name.as_str()) {
            return Err(format!(
                "the header `{name}` follows from what is sent: leave it out"
            ));
        }
        let value = http::HeaderValue::try_from(value.trim()).map_err(|_| wrong())?;
        fields.append(name, value);
    }
    Ok(fields)
}

fn body_of(
    raw: &RawRequest,
    directory: Option<&std::path::Path>,
) -> std::result::Result<bytes::Bytes, String> {
    match (&raw.body, &raw.body_size, &raw.body_file) {
        (None, None, None) => Ok(bytes::Bytes::new()),
        (Some(body), None, None) => Ok(body.clone().into()),
        (None, Some(text), None) => match size(text)? {
            length if length > BODY_MAX => Err(format!("a body has at most {BODY_MAX} bytes")),
            length => Ok(vec![b'x'; length as usize].into()),
        },
        (None, None, Some(file)) => {
            // Relative to the file that names it.
            let file = directory.map_or_else(|| file.clone(), |base| base.join(file));
            let read = std::fs::read(&file);
            read.map(Into::into)
                .map_err(|error| format!("cannot read {}: {error}", file.display()))
        }
        _ => Err("give one of `body`, `body_size` and `body_file`".to_owned()),
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * u128::from(end)) >> 64) as u64
    }
}

/// Where every run begins to draw.
const SEED: u64 = 0x5269_6e67_6761_7465;

/// The longest head, so that one always fits into a block with room to spare.
const HEAD_MAX: usize = 8 << 10;

/// The longest body: bodies are held in memory.
const BODY_MAX: u64 = 1 << 30;

/// Fields that follow from what is sent.
const OURS: [&str; 4] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
