//! Whole configurations, compiled.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use ringgate_core::chain::BodyMode;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::snapshot::{
    Action, Carries, Http2Limits, Http2Unasked, ProxyVersion, UpstreamHost, UpstreamHttp2,
    UpstreamProtocol,
};

use super::*;

mod policies;

const LISTENER: &str = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:8080\"\n";
const UPSTREAM: &str = "[[upstream]]\nname = \"a\"\nendpoints = [\"127.0.0.1:1\"]\n";

fn config(text: &str) -> Config {
    let loaded = ringgate_config::load_str("t.toml", text, &|_| None, &RouterPatterns);
    let shown = ringgate_config::render(
        &loaded.diagnostics,
        &loaded.sources,
        ringgate_config::Style::Plain,
    );
    loaded.config.unwrap_or_else(|| panic!("{shown}"))
}

fn compiled_with(
    text: &str,
    addresses: &Addresses,
) -> Result<(Snapshot, Vec<Diagnostic>), Vec<Diagnostic>> {
    let around = Surroundings {
        registry: &Registry::new(1),
        addresses,
        connections: &|_| Arc::default(),
        tls: &Configured::default(),
        challenges: &Arc::default(),
        ledgers: &Ledgers::new(1, 0),
        issuers: &Issuers::default(),
        backends: &Backends::none(),
        networks: &Default::default(),
        passwords: &Htpasswds::default(),
        generation: 3,
    };
    compile(&config(text), &around)
}

fn snapshot(text: &str) -> Snapshot {
    compiled_with(text, &Addresses::default()).unwrap().0
}

fn refused(text: &str) -> Vec<Diagnostic> {
    let compiled = compiled_with(text, &Addresses::default());
    compiled.err().unwrap()
}

#[test]
fn a_route_keeps_its_action_and_overrides() {
    let snapshot = snapshot(&format!(
        "{LISTENER}{UPSTREAM}[[route]]\nname = \"r\"\npath = \"/{{id}}\"\nupstream = \"a\"\n\
         rewrite = \"/x/{{id}}\"\ntimeout = \"off\"\nbody_max = \"1KiB\"\n\
         upstream_host = \"upstream\"\nupgrade = \"websocket\"\n"
    ));
    assert_eq!(snapshot.generation, 3);
    let route = &snapshot.routes[0];
    assert!(matches!(route.action, Action::Upstream(0)));
    assert!(route.rewrite.is_some());
    assert_eq!(route.timeout, Some(Ticks::NEVER));
    assert_eq!(route.body_max, Some(1024));
    assert_eq!(route.upstream_host, UpstreamHost::Endpoint);
    assert_eq!(*route.upgrades, [Box::from("websocket")]);
}

#[test]
fn limits_are_lowered_with_off_as_never() {
    let snapshot = snapshot(&format!(
        "[limits]\nbody_max = \"off\"\nheader_timeout = \"250ms\"\n{LISTENER}\
         [[route]]\nname = \"r\"\npath = \"/\"\nrespond = {{ status = 204 }}\n"
    ));
    let limits = snapshot.listeners[0].limits;
    assert_eq!(limits.body_max, u64::MAX);
    assert_eq!(
        limits.header_timeout,
        Ticks(3),
        "rounded up to ticks of 100 ms"
    );
    assert_eq!(limits.request_timeout, Ticks::NEVER);
    assert_ne!(limits.tunnel_idle_timeout, Ticks::NEVER);
}

#[test]
fn bounds_of_http2_and_proxies_are_lowered() {
    let listener = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:8080\"\nh2c = false\n\
                    proxy_protocol_from = [\"10.0.0.0/8\"]\n\
                    limits.tunnel_timeout = \"1d\"\n\
                    http2 = { streams_max = 9, requests_per_second_max = 50 }\n";
    let snapshot = snapshot(&format!(
        "{listener}{UPSTREAM}protocol = \"h2\"\nhttp2 = {{ connections_max = 3 }}\n\
         [[upstream]]\nname = \"b\"\nendpoints = [\"127.0.0.1:2\"]\nproxy_protocol = \"v2\"\n\
         [[route]]\nname = \"r\"\npath = \"/\"\n\
         split = [{{ upstream = \"a\" }}, {{ upstream = \"b\" }}]\n"
    ));
    let listener = &snapshot.listeners[0];
    let bounds = Http2Limits {
        streams_max: 9,
        requests_per_second_max: 50,
        ..Http2Limits::default()
    };
    assert_eq!(listener.http2, bounds);
    assert_eq!(listener.h2c, Http2Unasked::Refused);
    assert!(listener.proxies.contains("10.1.2.3".parse().unwrap()));
    assert_eq!(listener.limits.tunnel_timeout, Ticks(864_000));
    let [a, b] = &snapshot.upstreams[..] else {
        panic!("not two upstreams");
    };
    assert_eq!(a.protocol, UpstreamProtocol::Http2);
    assert_eq!(a.http2.connections_max, 3);
    assert_eq!(b.protocol, UpstreamProtocol::Http1);
    assert_eq!(b.proxy, Some(ProxyVersion::V2));
}

#[test]
fn written_defaults_of_http2_are_those_of_the_data_plane() {
    let snapshot = snapshot(&format!(
        "{LISTENER}{UPSTREAM}[[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"a\"\n"
    ));
    let listener = &snapshot.listeners[0];
    assert_eq!(listener.http2, Http2Limits::default());
    assert_eq!(listener.h2c, Http2Unasked::default());
    assert_eq!(listener.limits.tunnel_timeout, Ticks::NEVER);
    let upstream = &snapshot.upstreams[0];
    assert_eq!(upstream.http2, UpstreamHttp2::default());
    assert_eq!(upstream.protocol, UpstreamProtocol::default());
    assert_eq!(upstream.proxy, None);
}

#[test]
fn passed_connections_go_to_upstreams_by_name() {
    let snapshot = snapshot(&format!(
        "[[listener]]\nname = \"t\"\nlisten = \"127.0.0.1:1\"\nprotocol = \"tcp\"\nupstream = \"b\"\n\
         [[listener]]\nname = \"s\"\nlisten = \"127.0.0.1:2\"\nprotocol = \"tls\"\nupstream = \"a\"\n\
         [[listener.sni]]\nnames = [\"DB.example.com\", \"*.x.example\"]\nupstream = \"b\"\n\
         {UPSTREAM}[[upstream]]\nname = \"b\"\nendpoints = [\"127.0.0.1:2\"]\n"
    ));
    assert!(matches!(snapshot.listeners[0].carries, Carries::Tcp(1)));
    let Carries::Tls(named) = &snapshot.listeners[1].carries else {
        panic!("not by name");
    };
    assert_eq!(named.find(Some("db.example.com")), Some(1));
    assert_eq!(named.find(Some("y.x.example")), Some(1));
    assert_eq!(named.find(Some("other.example")), Some(0));
    assert_eq!(named.find(None), Some(0));
}

#[test]
fn routes_share_a_filter_unless_its_template_means_other_captures() {
    let snapshot = snapshot(&format!(
        "{LISTENER}{UPSTREAM}\
         [filter.edit]\ntype = \"headers\"\nrequest.set = {{ x-a = \"1\" }}\n\
         [filter.small]\ntype = \"body_limit\"\nmax = \"1KiB\"\n\
         [filter.path]\ntype = \"rewrite\"\npath = \"/n/{{id}}\"\n\
         [[route]]\nname = \"r\"\npath = \"/r/{{id}}\"\nupstream = \"a\"\nfilters = [\"edit\", \"path\"]\n\
         [[route]]\nname = \"s\"\npath = \"/s/{{id}}\"\nupstream = \"a\"\nfilters = [\"edit\", \"path\", \"small\"]\n\
         [[route]]\nname = \"t\"\npath = \"/t/{{shop}}/{{id}}\"\nupstream = \"a\"\nfilters = [\"path\"]\n"
    ));
    let step = |route: usize, index: usize| &snapshot.routes[route].program.steps()[index];
    assert!(Arc::ptr_eq(&step(0, 0).filter, &step(1, 0).filter));
    assert!(Arc::ptr_eq(&step(0, 1).filter, &step(1, 1).filter));
    assert!(!Arc::ptr_eq(&step(0, 1).filter, &step(2, 0).filter));
    assert!(Arc::ptr_eq(&step(0, 1).stats, &step(2, 0).stats));
    let mode = |route: usize| snapshot.routes[route].program.request_body_mode();
    assert_eq!((mode(0), mode(1)), (BodyMode::Skip, BodyMode::Observe));
}

#[test]
fn names_have_the_endpoints_that_were_found_for_them() {
    let text = format!(
        "{LISTENER}[[upstream]]\nname = \"a\"\n\
         endpoints = [{{ address = \"app.internal:80\", weight = 2 }}, \"127.0.0.1:1\", \"unix:/run/a.sock\"]\n\
         [[route]]\nname = \"r\"\npath = \"/\"\nupstream = \"a\"\n"
    );
    let found: Vec<SocketAddr> = ["10.0.0.1:80", "10.0.0.2:80"]
        .map(|text| text.parse().unwrap())
        .into();
    let key = ("a".into(), "app.internal".into(), 80);
    let (snapshot, _) = compiled_with(&text, &Addresses::from([(key, found)])).unwrap();
    let shown: Vec<String> = snapshot.upstreams[0]
        .endpoints
        .iter()
        .map(|endpoint| {
            format!(
                "{} {} {}",
                endpoint.addr, endpoint.weight, endpoint.authority
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "10.0.0.1:80 2 app.internal:80",
            "10.0.0.2:80 2 app.internal:80",
            "127.0.0.1:1 1 127.0.0.1:1",
            "unix:/run/a.sock 1 localhost",
        ]
    );
    let targets = targets(&config(&text));
    assert_eq!(targets.len(), 1);
    assert_eq!(
        (&*targets[0].endpoint, targets[0].port),
        ("app.internal", 80)
    );
}

#[test]
fn a_repeated_route_is_an_error_with_a_request_that_proves_it() {
    let found = refused(&format!(
        "{LISTENER}{UPSTREAM}\
         [[route]]\nname = \"one\"\npath = \"/api/{{id}}\"\nmethods = [\"GET\"]\nupstream = \"a\"\n\
         [[route]]\nname = \"two\"\npath = \"/api/{{key}}\"\nmethods = [\"GET\"]\nupstream = \"a\"\n"
    ));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].severity, found[0].code),
        (Severity::Error, "duplicate-route")
    );
    for part in ["\"two\"", "\"one\""] {
        assert!(found[0].message.contains(part), "{}", found[0].message);
    }
    assert!(found[0].label.contains("GET http://"), "{}", found[0].label);
    assert_eq!(found[0].related.len(), 1);
}

#[test]
fn a_shadowed_route_is_a_warning() {
    let (_, found) = compiled_with(
        &format!(
            "{LISTENER}{UPSTREAM}\
             [[route]]\nname = \"all\"\npath = \"/api/{{id}}\"\npriority = 1\nupstream = \"a\"\n\
             [[route]]\nname = \"get\"\npath = \"/api/{{id}}\"\nmethods = [\"GET\"]\nupstream = \"a\"\n"
        ),
        &Addresses::default(),
    )
    .unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].severity, found[0].code),
        (Severity::Warning, "shadowed-route")
    );
    assert!(found[0].label.contains("GET http://"), "{}", found[0].label);
}

#[test]
fn routes_are_judged_even_when_other_parts_come_later() {
    let text = format!(
        "{LISTENER}{UPSTREAM}[filter.f]\ntype = \"api_key\"\n\
         [[route]]\nname = \"one\"\npath = \"/a\"\nfilters = [\"f\"]\nupstream = \"a\"\n\
         [[route]]\nname = \"two\"\npath = \"/a\"\nupstream = \"a\"\n"
    );
    let found = judge(&config(&text));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, "duplicate-route");
}

#[test]
fn ten_thousand_routes_compile() {
    let mut text = format!("{LISTENER}{UPSTREAM}");
    for index in 0..10_000 {
        text.push_str(&format!(
            "[[route]]\nname = \"r{index}\"\npath = \"/v{}/r{index}/{{id}}\"\nupstream = \"a\"\n",
            index % 7
        ));
    }
    assert_eq!(snapshot(&text).routes.len(), 10_000);
}
