//! Hosts of routes that no client could reach over TLS.

use std::collections::HashMap;

use ringgate_config::model::ListenerProtocol;
use ringgate_config::{Config, Diagnostic};

use super::server::Server;

/// Where every listener refuses names that it has no certificate for, warns of hosts that none
/// of them has one for.
pub fn check(config: &Config, servers: &HashMap<Box<str>, Server>, findings: &mut Vec<Diagnostic>) {
    let mut names: Vec<&str> = Vec::new();
    for listener in &config.listeners {
        if listener.protocol != ListenerProtocol::Http {
            continue;
        }
        let strict = listener.tls.as_ref().is_some_and(|tls| tls.strict_sni);
        let Some(server) = servers.get(&**listener.name).filter(|_| strict) else {
            return;
        };
        names.extend(server.names.iter().map(|name| &**name));
    }
    if names.is_empty() {
        return;
    }
    for host in config.routes.iter().flat_map(|route| &route.hosts) {
        if !names.iter().any(|name| may_serve(name, &host.value)) {
            let message = format!(
                "no certificate is for {}: with strict_sni no client can ask for it over TLS",
                host.value
            );
            let finding = Diagnostic::warning("tls-uncovered-host", message, host.span);
            let help = "add a certificate for it to a listener, or remove the host";
            findings.push(finding.help(help));
        }
    }
}

/// Whether a certificate for `name` is shown for at least one name that the pattern means.
pub fn may_serve(name: &str, host: &str) -> bool {
    match (name.strip_prefix("*."), host.strip_prefix("*.")) {
        (None, None) => name == host,
        (Some(parent), None) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        (None, Some(suffix)) => {
            let head = name.strip_suffix(suffix);
            head.is_some_and(|head| head.len() > 1 && head.ends_with('.'))
        }
        (Some(parent), Some(suffix)) => {
            parent == suffix
                || parent
                    .strip_suffix(suffix)
                    .is_some_and(|head| head.ends_with('.'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_serve;

    #[test]
    fn a_certificate_serves_a_host_when_one_name_is_of_both() {
        for (name, host, serves) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("a.example", "*.example", true),
            ("a.b.example", "*.example", true),
            ("example", "*.example", false),
            ("xexample", "*.example", false),
            ("*.example", "*.example", true),
            ("*.b.example", "*.example", true),
            ("*.example", "*.b.example", false),
        ] {
            assert_eq!(may_serve(name, host), serves, "{name} for {host}");
        }
    }
}
