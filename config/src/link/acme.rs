//! Whether the names whose certificates are ordered have an authority, and a way to prove them.

use crate::diagnostic::Diagnostic;
use crate::model::{Challenge, Listener, ListenerProtocol};
use crate::read::{Parts, Reader};

pub(super) fn check(r: &mut Reader<'_>, parts: &Parts) {
    let listeners = || {
        let all = parts.listeners.iter().map(|raw| &raw.listener);
        all.filter(|listener| listener.protocol == ListenerProtocol::Http)
    };
    let first = listeners().find_map(|listener| listener.acme.first());
    let (raw, name) = match (&parts.acme, first) {
        (Some(raw), Some(name)) => (raw, name),
        (None, Some(name)) => {
            let message = "certificates are to be ordered, but there is no [acme]";
            r.report(
                Diagnostic::error("missing-key", message, name.span)
                    .label("nothing says where")
                    .help("add [acme] with `storage` and `terms_agreed` to the main file"),
            );
            return;
        }
        (Some(raw), None) => {
            if !super::has_errors(r) {
                r.report(
                    Diagnostic::warning("unused", "[acme] orders no certificate", raw.span)
                        .label("no listener has `acme` names")
                        .help("add `acme = [\"www.example.com\"]` to a listener, or remove it"),
                );
            }
            return;
        }
        (None, None) => return,
    };
    let Some(acme) = &raw.acme else {
        return;
    };
    let plain =
        |listener: &Listener| listener.protocol == ListenerProtocol::Http && listener.tls.is_none();
    if acme.challenge.value == Challenge::Http01 && !listeners().any(plain) {
        let message = "\"http-01\" needs a listener without TLS, and there is none";
        r.report(
            Diagnostic::warning("no-effect", message, acme.challenge.span)
                .label("the authority asks at port 80 of each name, without TLS")
                .help("add a [[listener]] for port 80, or set `challenge = \"tls-alpn-01\"`")
                .related(name.span, "such a name"),
        );
    }
}
