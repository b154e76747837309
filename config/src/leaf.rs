//! The texts that stand in single values: names, addresses, header fields, and so on. Each
//! parser takes the whole text and says what is wrong with it without knowing where it stood.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::{EndpointAddr, ListenAddr, Name};
use crate::units::UnitFault;

/// Why a text is not what its key wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it should have been, without an article: `duration`.
    pub what: &'static str,
    /// How that is written: the help of last resort. Never holds parts of the text.
    pub expected: &'static str,
    /// What is wrong; may hold parts of the text.
    pub label: String,
    /// A correct spelling or another way out; may hold parts of the text.
    pub help: Option<String>,
}

impl Fault {
    fn new(what: &'static str, expected: &'static str, label: impl Into<String>) -> Self {
        Self {
            what,
            expected,
            label: label.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

const NAME_LEN_MAX: usize = 64; // metric labels and log lines stay readable

/// A name of something configured.
pub(crate) fn name(text: &str) -> Result<Name, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "name",
            "1 to 64 of the characters `A-Z a-z 0-9 . _ -`",
            label,
        )
    };
    if text.is_empty() {
        return Err(fault("is empty"));
    }
    if text.len() > NAME_LEN_MAX {
        return Err(fault("is longer than 64 characters"));
    }
    match text.chars().find(|&c| !is_name_char(c)) {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Name(Arc::from(text))),
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// `30s` and the like, for [`Fault`].
pub(crate) fn quantity_fault(
    what: &'static str,
    expected: &'static str,
    fault: UnitFault,
) -> Fault {
    let mut out = Fault::new(what, expected, fault.label);
    if let Some(instead) = fault.instead {
        out.help = Some(format!("write \"{instead}\""));
    }
    out
}

const UNIX_PATH_MAX: usize = 107; // sun_path holds 108 bytes, one of them the final NUL

fn unix_path(what: &'static str, text: &str) -> Result<PathBuf, Fault> {
    let fault = |label: &str| {
        Fault::new(
            what,
            "`unix:` and an absolute path, such as \"unix:/run/app.sock\"",
            label,
        )
    };
    if !text.starts_with('/') {
        return Err(fault("the path of a Unix socket must be absolute"));
    }
    if text.len() > UNIX_PATH_MAX {
        return Err(fault("the path of a Unix socket is at most 107 bytes long"));
    }
    if text.contains('\0') {
        return Err(fault("a path cannot hold a NUL"));
    }
    Ok(PathBuf::from(text))
}

/// `127.0.0.1:8080`, `[::]:8080` or `unix:/run/ringgate.sock`.
pub(crate) fn listen(text: &str) -> Result<ListenAddr, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "address",
            "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\", or \"unix:/path\"",
            label,
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path("address", path).map(ListenAddr::Unix);
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenAddr::Tcp(address));
    }
    if let Some(port) = text.strip_prefix(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(fault("has a port but no IP address").help(format!(
            "write \"0.0.0.0:{port}\" for every IPv4 address or \"[::]:{port}\""
        )));
    }
    if text.parse::<u16>().is_ok() {
        return Err(
            fault("has a port but no IP address").help(format!("write \"127.0.0.1:{text}\""))
        );
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(fault("has no port").help(format!("write \"{}\"", SocketAddr::new(ip, 8080))));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => Err(fault("a listener needs an IP address, not a name")
            .help(format!("write \"127.0.0.1:{port}\""))),
        Some((host, port)) => Err(host_port_fault(host, port, fault)),
        None => Err(fault("is not an IP address with a port")),
    }
}

fn host_port_fault(host: &str, port: &str, fault: impl Fn(&str) -> Fault) -> Fault {
    if port.parse::<u16>().is_err() {
        return fault("the port is not a number from 0 to 65535");
    }
    if host.contains(':') && !host.starts_with('[') {
        return fault("an IPv6 address with a port needs brackets")
            .help(format!("write \"[{host}]:{port}\""));
    }
    fault("the part before the port is not an IP address")
}

/// `10.0.0.7:80`, `[2001:db8::1]:80`, `users.internal:80` or `unix:/run/users.sock`.
pub(crate) fn endpoint(text: &str) -> Result<EndpointAddr, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "endpoint",
            "an address with a port, such as \"10.0.0.7:8080\", \"[2001:db8::1]:8080\" or \
             \"users.internal:8080\", or \"unix:/path\"",
            label,
        )
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path("endpoint", path).map(EndpointAddr::Unix);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or(rest);
        let fault = fault("an endpoint is an address, not a URL");
        return Err(match scheme {
            "http" => fault.help(format!("write \"{}\"", with_port(rest, 80))),
            _ => fault,
        });
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(fault("port 0 is nowhere")),
            _ => Ok(EndpointAddr::Tcp(address)),
        };
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Err(missing_port(fault, &SocketAddr::new(ip, 80).to_string()));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(missing_port(fault, &format!("{text}:80")));
    };
    let Ok(number) = port.parse::<u16>() else {
        return Err(fault("the port is not a number from 1 to 65535"));
    };
    let Some(number) = NonZeroU16::new(number) else {
        return Err(fault("port 0 is nowhere"));
    };
    if host.starts_with('[') {
        return Err(fault("the part in brackets is not an IPv6 address"));
    }
    if host.contains(':') {
        return Err(host_port_fault(host, port, fault));
    }
    host_name(host)
        .map_err(|label| fault(label))
        .map(|host| EndpointAddr::Name { host, port: number })
}

fn with_port(rest: &str, port: u16) -> String {
    if rest
        .rsplit(':')
        .next()
        .is_some_and(|end| end.parse::<u16>().is_ok())
    {
        rest.to_owned()
    } else {
        format!("{rest}:{port}")
    }
}

fn missing_port(fault: impl Fn(&str) -> Fault, instead: &str) -> Fault {
    fault("has no port").help(format!("add one: \"{instead}\""))
}

const HOST_LEN_MAX: usize = 253; // RFC 1035, section 2.3.4
const LABEL_LEN_MAX: usize = 63;

/// A DNS name in lower case without its final dot, or what is wrong with it.
pub(crate) fn host_name(text: &str) -> Result<Box<str>, &'static str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err("has no host");
    }
    if text.len() > HOST_LEN_MAX {
        return Err("a host name is at most 253 characters long");
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_LEN_MAX {
            return Err("each part of a host name has 1 to 63 characters");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !label.bytes().all(allowed) {
            return Err("a host name has letters, digits, `-` and `.` only");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part of a host name may begin or end with `-`");
        }
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("ends in a number but is not an IPv4 address");
    }
    Ok(text.to_ascii_lowercase().into_boxed_str())
}

/// What may stand in `Host`: a name or an IP address, with or without a port.
pub(crate) fn authority(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "host",
            "\"preserve\", \"upstream\", or a host such as \"users.internal\" or \"users.internal:8080\"",
            label,
        )
    };
    if text.parse::<SocketAddr>().is_ok() || text.parse::<Ipv4Addr>().is_ok() {
        return Ok(Box::from(text));
    }
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        && inner.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Ok(Box::from(text));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(fault("the port is not a number from 0 to 65535"));
    }
    host_name(host).map_err(fault)?;
    Ok(Box::from(text))
}

/// `10.0.0.0/8`, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "network",
            "an IP network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or one IP address",
            label,
        )
    };
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(fault("is neither a network nor an IP address"));
    };
    if net.addr() != net.network() {
        return Err(
            fault("has bits set beyond its prefix").help(format!("write \"{}\"", net.trunc()))
        );
    }
    Ok(net)
}

const CORE_MAX: usize = 4095; // what a kernel's CPU mask can name in practice

/// `0-3,8`.
pub(crate) fn cores(text: &str) -> Result<Vec<usize>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "core list",
            "\"auto\" or cores and ranges, such as \"0-3,8\"",
            label,
        )
    };
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>())
        else {
            return Err(fault(
                "has a part that is neither a core nor a range of cores",
            ));
        };
        if last > CORE_MAX {
            return Err(fault("core numbers go up to 4095"));
        }
        if first > last {
            return Err(fault("has a range that ends before it begins")
                .help(format!("write \"{last}-{first}\"")));
        }
        for core in first..=last {
            if cores.contains(&core) {
                return Err(fault(&format!("names core {core} twice")));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

/// A byte of a token (RFC 9110, section 5.6.2).
fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A method, in upper case as registered.
pub(crate) fn method(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("method", "a method such as \"GET\" or \"POST\"", label);
    if text.is_empty() || !text.bytes().all(is_token_byte) {
        return Err(fault("is not a method name"));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(fault("methods are case-sensitive")
            .help(format!("write \"{}\"", text.to_ascii_uppercase())));
    }
    Ok(Box::from(text))
}

/// A field name, which comes back in lower case.
pub(crate) fn header_name(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "header name",
            "letters, digits and `-`, such as \"x-request-source\"",
            label,
        )
    };
    if text.is_empty() {
        return Err(fault("is empty"));
    }
    if let Some(other) = text
        .chars()
        .find(|&c| !c.is_ascii() || !is_token_byte(c as u8))
    {
        let label = format!("has the character `{}`", other.escape_debug());
        return Err(match text.strip_suffix(':') {
            Some(bare) => fault(&label).help(format!("write \"{bare}\"")),
            None => fault(&label),
        });
    }
    Ok(text.to_ascii_lowercase().into_boxed_str())
}

/// A field value without line breaks or controls; the gateway's own are ASCII.
pub(crate) fn header_value(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "header value",
            "visible ASCII characters, spaces and tabs, without spaces at its ends",
            label,
        )
    };
    if let Some(other) = text.chars().find(|&c| !matches!(c, '\t' | ' '..='~')) {
        return Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        )));
    }
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(fault("begins or ends with a space")
            .help(format!("write \"{}\"", text.trim_matches([' ', '\t']))));
    }
    Ok(Box::from(text))
}

/// Fields that frame messages or belong to one connection (RFC 9110, section 7.6.1): a filter
/// that could touch them could smuggle requests. Says what to do instead.
pub(crate) fn untouchable(name: &str) -> Option<&'static str> {
    match name {
        "content-length" | "transfer-encoding" => {
            Some("the gateway frames messages itself; remove this entry")
        }
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
            Some("the gateway manages its own connections; remove this entry")
        }
        "host" => Some("to send another `Host` upstream, use `upstream_host` in the route"),
        "expect" => Some("the gateway answers `Expect` itself; remove this entry"),
        _ => None,
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn key_digest(text: &str) -> Result<(), Fault> {
    let fault = |label: &str| {
        Fault::new(
            "key digest",
            "\"sha256:\" and the 64 hexadecimal digits of the key's SHA-256",
            label,
        )
    };
    let Some(digits) = text.strip_prefix("sha256:") else {
        return Err(fault("does not begin with `sha256:`")
            .help("never write the key itself; take its digest: printf %s KEY | sha256sum"));
    };
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(fault("does not hold 64 hexadecimal digits"));
    }
    Ok(())
}

/// The file of an access log.
pub(crate) fn log_path(text: &str) -> Result<PathBuf, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "access log",
            "\"stdout\", \"off\" or a file path with a `/` in it, such as \"/var/log/ringgate/access.log\"",
            label,
        )
    };
    if text.contains('\0') {
        return Err(fault("a path cannot hold a NUL"));
    }
    if !text.contains('/') {
        // Without this, `stdot` would quietly become a file of that name.
        return Err(
            fault("is neither \"stdout\" nor \"off\" nor a path").help(format!(
                "for a file in the working directory write \"./{text}\""
            )),
        );
    }
    if text.ends_with('/') {
        return Err(fault("is a directory"));
    }
    Ok(PathBuf::from(text))
}

/// The pseudonym or host of `Via`'s received-by (RFC 9110, section 7.6.3).
pub(crate) fn via(text: &str) -> Result<Box<str>, Fault> {
    let fits = |b: u8| is_token_byte(b) || matches!(b, b':' | b'[' | b']');
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(Fault::new(
            "name for `Via`",
            "\"off\", a name such as \"ringgate\", or a host and port",
            "has characters that cannot stand in `Via`",
        ));
    }
    Ok(Box::from(text))
}

/// A template of a path; its captures are the router's business.
pub(crate) fn template(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "path template",
            "a path such as \"/v2/users/{rest}\"",
            label,
        )
    };
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    match text.chars().find(|&c| !is_target_char(c)) {
        Some('?') => Err(fault(
            "a rewrite changes the path; the query stays as it is",
        )),
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// A template of `Location`.
pub(crate) fn location(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "redirect target",
            "a path such as \"/api/{rest}\", or a URL that begins with `http://` or `https://`",
            label,
        )
    };
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    if !is_url && !text.starts_with('/') {
        return Err(fault("is neither a path nor an http URL"));
    }
    if text.starts_with("//") {
        return Err(
            fault("begins with `//`, which names a host").help("write one `/`, or the whole URL")
        );
    }
    match text
        .chars()
        .find(|&c| !is_target_char(c) && c != '?' && c != '#')
    {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// What may stand in a path (RFC 3986, section 3.3), and the braces of captures.
fn is_target_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/{}".contains(c)
}

/// A prefix of a path, without captures and without a final slash.
pub(crate) fn prefix(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("path prefix", "a path such as \"/api\"", label);
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    if text.ends_with('/') {
        let bare = text.trim_end_matches('/');
        return Err(match bare {
            "" => fault("every path begins with `/`: this changes nothing"),
            bare => fault("ends with `/`").help(format!("write \"{bare}\"")),
        });
    }
    if text.contains("//") {
        return Err(fault("has an empty segment"));
    }
    match text
        .chars()
        .find(|&c| !is_target_char(c) || matches!(c, '{' | '}'))
    {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// What names a limiter's key.
pub(crate) fn limiter_key(text: &str) -> Result<(), Fault> {
    let fault = |label: &str| {
        Fault::new(
            "limiter key",
            "\"client_ip\", \"consumer\", \"route\", \"header:NAME\" or \"claim:NAME\"",
            label,
        )
    };
    match text.split_once(':') {
        Some(("header", name)) => header_name(name)
            .map(|_| ())
            .map_err(|_| fault("has no header name after `header:`")),
        Some(("claim", "")) => Err(fault("has no claim after `claim:`")),
        Some(("claim", _)) => Ok(()),
        None if matches!(text, "client_ip" | "consumer" | "route") => Ok(()),
        _ => Err(fault("is not known")),
    }
}

/// A path that begins with a slash.
pub(crate) fn absolute_path(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("path", "a path such as \"/healthz\"", label);
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    match text.chars().find(|&c| !is_target_char(c) && c != '?') {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// A path of a file.
pub(crate) fn file_path(text: &str) -> Result<PathBuf, Fault> {
    if text.is_empty() || text.contains('\0') {
        return Err(Fault::new(
            "file path",
            "the path of a file",
            "is not a file path",
        ));
    }
    Ok(PathBuf::from(text))
}
