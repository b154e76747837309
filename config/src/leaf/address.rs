//! Addresses, networks and cores.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use ipnet::IpNet;

use super::Fault;
use crate::model::{EndpointAddr, ListenAddr};

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
    if let Some((ip, port)) = bare_ipv6_port(text) {
        return Err(fault("an IPv6 address with a port needs brackets")
            .help(format!("write \"[{ip}]:{port}\"")));
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

/// `::1:8080` is an address itself, but hardly what was meant.
fn bare_ipv6_port(text: &str) -> Option<(Ipv6Addr, u16)> {
    let (ip, port) = text.rsplit_once(':')?;
    Some((ip.parse().ok()?, port.parse().ok()?))
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
            "https" => fault.help(format!(
                "write \"{}\" and add [upstream.tls]",
                with_port(rest, 443)
            )),
            _ => fault,
        });
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(fault("port 0 is nowhere")),
            _ => Ok(EndpointAddr::Tcp(address)),
        };
    }
    if let Some((ip, port)) = bare_ipv6_port(text) {
        return Err(fault("an IPv6 address with a port needs brackets")
            .help(format!("write \"[{ip}]:{port}\"")));
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
        .map_err(fault)
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

/// A name that the admin API answers to.
pub(crate) fn admin_host(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "host name",
            "a host name without a port, such as \"metrics.internal\"",
            label,
        )
    };
    if text.parse::<IpAddr>().is_ok() {
        return Err(fault("IP addresses need no entry").help("remove it"));
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(fault("has a port").help(format!("write \"{name}\": any port fits it")));
    }
    host_name(text).map_err(fault)
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
        && inner.parse::<Ipv6Addr>().is_ok()
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

/// The only text that stands for a number of workers.
pub(crate) fn auto_workers(text: &str) -> Result<(), Fault> {
    let fault = |label: &str| {
        let expected = "\"auto\" or a number such as 4";
        Fault::new("number of workers", expected, label)
    };
    match (text, text.parse::<u32>()) {
        ("auto", _) => Ok(()),
        (_, Ok(count)) => Err(fault("a number has no quotes")
            .help(format!("write {count}; \"auto\" is one for each core"))),
        (_, Err(_)) => Err(fault("is neither \"auto\" nor a number")),
    }
}

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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn help_of<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().help.unwrap_or_default()
    }

    #[test]
    fn listens_on_addresses_and_unix_paths() {
        for text in [
            "127.0.0.1:0",
            "0.0.0.0:65535",
            "[::]:80",
            "[::1]:80",
            "unix:/run/a.sock",
        ] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            ":",
            "a:b",
            "127.0.0.1:",
            "127.0.0.1:-1",
            "[::1]",
            "[::1:80",
            "unix:",
            "unix:a",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert!(listen(&format!("unix:/{}", "a".repeat(107))).is_err());
    }

    #[test]
    fn endpoints_take_names_and_show_as_written() {
        for text in [
            "10.0.0.1:80",
            "[fd00::1]:80",
            "a.b-c.d_e:1",
            "localhost:80",
            "unix:/a",
        ] {
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        assert_eq!(
            endpoint("A.Example.:80").unwrap().to_string(),
            "a.example:80"
        );
        for text in [
            "", "a", ":80", "a:0", "a:65536", "a..b:80", "-a:80", "a b:80", "1.2.3:80", "ä:80",
            "a:80/x", "[a]:80",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proposes_whole_addresses() {
        assert_eq!(
            help_of(endpoint("https://a.b:8443/x")),
            "write \"a.b:8443\" and add [upstream.tls]"
        );
        assert_eq!(help_of(endpoint("http://a.b:8080/x")), "write \"a.b:8080\"");
        assert_eq!(help_of(endpoint("::1")), "add one: \"[::1]:80\"");
        assert_eq!(
            help_of(endpoint("fd00::7:8080")),
            "write \"[fd00::7]:8080\""
        );
        assert_eq!(help_of(listen("8080")), "write \"127.0.0.1:8080\"");
    }

    #[test]
    fn networks_are_networks_or_single_addresses() {
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(network("10.1.2.3").unwrap().to_string(), "10.1.2.3/32");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        assert!(network("10.0.0.0/33").is_err());
        assert_eq!(help_of(network("10.1.2.3/8")), "write \"10.0.0.0/8\"");
    }

    #[test]
    fn core_lists_keep_their_order() {
        assert_eq!(cores("2-4, 0,7").unwrap(), [2, 3, 4, 0, 7]);
        for text in [
            "",
            "a",
            "1-",
            "-1",
            "1,,2",
            "1-2-3",
            "4096",
            "0-18446744073709551615",
        ] {
            assert!(cores(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_authority_is_a_host_with_or_without_a_port() {
        for text in [
            "a.b",
            "a.b:80",
            "10.0.0.1",
            "10.0.0.1:80",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(&*authority(text).unwrap(), text);
        }
        for text in ["", "a b", "a:b", "a:b:c", "a/b", "user@a", "[::1", "a\r\nb"] {
            assert!(authority(text).is_err(), "{text}");
        }
    }
}
