//! What loading makes of good files: references, includes, overrides, the redacted view.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringgate_config::model::{
    AccessLog, Action, Cap, Cores, EndpointAddr, FilterKind, HalfClose, Limits, ListenAddr,
    PathRewrite, Upgrade, UpstreamHost, ValueMatch, Workers,
};
use ringgate_config::{
    Config, Diagnostic, Loaded, Severity, Style, Verdict, load, load_str, render, to_json,
};

const LISTENER: &str = "[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:0\"\n";
const ROUTE: &str = "[[route]]\nname = \"ping\"\npath = \"/ping\"\nrespond = { body = \"pong\" }\n";

fn loaded(text: &str) -> Loaded {
    load_str("test.toml", text, &common::env, &common::Patterns)
}

fn good(text: &str) -> Config {
    let loaded = loaded(text);
    let said = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    loaded.config.unwrap_or_else(|| panic!("{said}"))
}

fn said(text: &str) -> String {
    let loaded = loaded(text);
    render(&loaded.diagnostics, &loaded.sources, Style::Plain)
}

#[test]
fn references_stand_for_text_numbers_booleans_and_off() {
    let config = good(&format!(
        "[runtime]\nworkers = \"${{env:RG_COUNT}}\"\n[path]\nmerge_slashes = \"${{env:RG_FLAG}}\"\n\
         [limits]\nbody_max = \"${{env:RG_OFF}}\"\nidle_timeout = \"${{env:RG_COUNT}}s\"\n\
         [[listener]]\nname = \"n-${{env:RG_COUNT}}\"\nlisten = \"${{env:RG_PORT}}\"\n{ROUTE}"
    ));
    assert!(matches!(*config.runtime.workers, Workers::Count(count) if count.get() == 7));
    assert!(!config.path.merge_slashes);
    assert_eq!(config.limits.body_max, Cap::Off);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(7));
    assert_eq!(&*config.listeners[0].name.value, "n-7");
    assert_eq!(config.listeners[0].listen.to_string(), "127.0.0.1:9009");
}

#[test]
fn a_doubled_dollar_escapes_a_reference() {
    let config = good(&format!(
        "{LISTENER}[[route]]\nname = \"a\"\npath = \"/\"\nrespond = {{ body = \"$${{env:X}} $5 $$\" }}\n"
    ));
    let Action::Respond(respond) = &config.routes[0].action else {
        panic!("not a constant answer");
    };
    assert_eq!(&*respond.body, "${env:X} $5 $$");
}

#[test]
fn a_missing_variable_is_reported_at_each_reference_and_asked_for_once() {
    let asked = std::cell::Cell::new(0);
    let env = |_: &str| {
        asked.set(asked.get() + 1);
        None
    };
    let text = format!(
        "{LISTENER}[[route]]\nname = \"a\"\npath = \"/${{env:A}}/${{env:B}}/${{env:A}}\"\nrespond = {{}}\n"
    );
    let loaded = load_str("test.toml", &text, &env, &common::Patterns);
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["missing-env"; 3]);
    assert_eq!(asked.get(), 2);
    let columns: Vec<usize> = loaded
        .diagnostics
        .iter()
        .map(|d| loaded.sources.position(d.span.unwrap()).column)
        .collect();
    assert_eq!(columns, [10, 19, 28]);
}

#[test]
fn a_full_route_arrives_in_the_typed_tree() {
    let config = good(&format!(
        "{LISTENER}half_close = \"allow\"\n\
         [[upstream]]\nname = \"u\"\nendpoints = [\"U.Internal.:80\", \"[::1]:81\"]\nkeepalive_max = 0\n\
         [filter.h]\ntype = \"headers\"\nrequest = {{ set = {{ X-A = \"1\" }}, add = {{ x-b = \"2\" }}, remove = [\"X-C\"] }}\n\
         [filter.p]\ntype = \"rewrite\"\nstrip_prefix = \"/a\"\n\
         [[route]]\nname = \"r\"\npath = \"/a/{{id}}\"\nmethods = [\"GET\"]\npriority = -3\n\
         match.headers = {{ X-V = {{ prefix = \"2\" }}, x-w = {{ present = false }} }}\n\
         match.query = {{ q = \"1\", r = {{ any = [\"a\", \"b\"] }} }}\n\
         filters = [\"h\", \"p\"]\nupstream = \"u\"\nrewrite = \"/b/{{id}}\"\ntimeout = \"2s\"\n\
         body_max = \"off\"\nupstream_host = \"u.internal:80\"\nupgrade = []\n"
    ));
    assert_eq!(config.listeners[0].half_close, HalfClose::Allow);
    let upstream = &config.upstreams[0];
    assert!(matches!(&*upstream.endpoints[0].address,
        EndpointAddr::Name { host, port } if &**host == "u.internal" && port.get() == 80));
    assert_eq!(upstream.keepalive_max, 0);
    let FilterKind::Headers(headers) = &config.filters[0].kind else {
        panic!("not a headers filter");
    };
    assert_eq!(&*headers.request.set[0].name.value, "x-a");
    assert_eq!(&*headers.request.remove[0].value, "x-c");
    let FilterKind::Rewrite(PathRewrite::Prefix { strip, add }) = &config.filters[1].kind else {
        panic!("not a rewrite filter");
    };
    assert_eq!((&**strip, &**add), ("/a", ""));
    let route = &config.routes[0];
    assert_eq!(*route.priority, -3);
    assert_eq!(
        *route.matches.headers[0].value,
        ValueMatch::Prefix("2".into())
    );
    assert_eq!(*route.matches.headers[1].value, ValueMatch::Absent);
    assert_eq!(
        *route.matches.query[1].value,
        ValueMatch::Any(vec!["a".into(), "b".into()])
    );
    assert_eq!(route.filters.len(), 2);
    assert_eq!(route.timeout, Some(Cap::At(Duration::from_secs(2))));
    assert_eq!(route.body_max, Some(Cap::Off));
    assert_eq!(
        route.upstream_host,
        UpstreamHost::Literal("u.internal:80".into())
    );
    assert_eq!(route.upgrade, Upgrade::Forbid);
}

#[test]
fn absent_tables_have_their_defaults() {
    let config = good(&format!("{LISTENER}{ROUTE}"));
    assert_eq!(*config.runtime.cores, Cores::Auto);
    assert_eq!(config.runtime.backlog, 4096);
    assert_eq!(config.runtime.shutdown_grace, Duration::from_secs(30));
    assert_eq!(config.admin, None);
    assert_eq!(config.log.access, AccessLog::Stdout);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(
        config.limits.tunnel_idle_timeout,
        Cap::At(Duration::from_secs(300))
    );
    assert_eq!(config.forwarded.via.as_deref(), Some("ringgate"));
    assert_eq!(config.forwarded.request_id.as_deref(), Some("x-request-id"));
}

#[test]
fn two_listeners_may_let_the_system_choose_their_ports() {
    let config = good(&format!(
        "{LISTENER}{}{ROUTE}",
        LISTENER.replace("public", "other")
    ));
    assert!(
        matches!(&*config.listeners[1].listen, ListenAddr::Tcp(address) if address.port() == 0)
    );
}

#[test]
fn moving_lines_changes_nothing() {
    let text = format!("{LISTENER}{ROUTE}");
    let moved = format!("# a note\n\n{LISTENER}\n{ROUTE}");
    assert_eq!(good(&text).routes, good(&moved).routes);
    assert_eq!(good(&text).listeners, good(&moved).listeners);
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn respond(name: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nrespond = {{}}\n")
}

#[test]
fn included_files_are_merged_in_sorted_order_and_read_once() {
    let main = format!(
        "include = [\"routes/*.toml\", \"routes/b.toml\", \"more/x.toml\"]\n{LISTENER}{ROUTE}"
    );
    let dir = directory(&[
        ("main.toml", &main),
        ("routes/b.toml", &respond("b")),
        (
            "routes/a.toml",
            &format!("include = [\"../deep/*.toml\"]\n{}", respond("a")),
        ),
        ("routes/ignored.txt", "not toml at all"),
        ("routes/.b.toml", "an editor's half-written file"),
        ("deep/d.toml", &respond("d")),
        (
            "more/x.toml",
            "[filter.f]\ntype = \"body_limit\"\nmax = \"1KiB\"\n",
        ),
    ]);
    let path = dir.path().join("main.toml");
    let loaded = load(&path, &common::env, &common::Patterns);
    let config = loaded.config.unwrap();
    let names: Vec<&str> = config
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect();
    assert_eq!(names, ["ping", "a", "d", "b"]);
    let files: Vec<&Path> = loaded
        .files
        .iter()
        .map(|file| file.strip_prefix(dir.path()).unwrap())
        .collect();
    let expected = [
        "main.toml",
        "routes/a.toml",
        "routes/../deep/d.toml",
        "routes/b.toml",
        "more/x.toml",
    ];
    assert_eq!(files, expected.map(Path::new));
    assert!(loaded.include_dirs.contains(&dir.path().join("routes")));
    // The unused filter is reported in the file that has it.
    let warning = &loaded.diagnostics[0];
    let file = loaded.sources.path(warning.span.unwrap().file);
    assert!(file.ends_with("more/x.toml"), "{}", file.display());
}

#[test]
fn a_directory_whose_name_looks_like_a_pattern_is_taken_as_it_is() {
    let main = format!("include = [\"r/*.toml\"]\n{LISTENER}{ROUTE}");
    let dir = directory(&[("[a]*/main.toml", &main), ("[a]*/r/x.toml", &respond("x"))]);
    let path = dir.path().join("[a]*/main.toml");
    let config = load(&path, &common::env, &common::Patterns).config.unwrap();
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn a_glob_that_matches_its_own_file_is_no_cycle() {
    let main = format!("include = [\"*.toml\"]\n{LISTENER}{ROUTE}");
    let dir = directory(&[("main.toml", &main), ("other.toml", &respond("other"))]);
    let loaded = load(
        &dir.path().join("main.toml"),
        &common::env,
        &common::Patterns,
    );
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(loaded.config.unwrap().routes.len(), 2);
}

#[test]
fn missing_includes_are_watched_for() {
    let main = format!("include = [\"late.toml\", \"dir/*.toml\"]\n{LISTENER}{ROUTE}");
    let dir = directory(&[("main.toml", &main)]);
    let loaded = load(
        &dir.path().join("main.toml"),
        &common::env,
        &common::Patterns,
    );
    assert_eq!(loaded.verdict(), Verdict::Invalid);
    assert!(loaded.files.contains(&dir.path().join("late.toml")));
    assert!(loaded.include_dirs.contains(&dir.path().join("dir")));
}

#[test]
fn listeners_of_included_files_get_the_main_limits() {
    let main = "include = [\"l.toml\"]\n[limits]\nheaders_max = 7\n".to_owned() + ROUTE;
    let dir = directory(&[("main.toml", &main), ("l.toml", LISTENER)]);
    let config = load(
        &dir.path().join("main.toml"),
        &common::env,
        &common::Patterns,
    )
    .config
    .unwrap();
    assert_eq!(config.listeners[0].limits.headers_max, 7);
}

#[test]
fn all_errors_are_found_in_order_of_their_place() {
    let text = format!(
        "{LISTENER}limits = {{ head_max = 1 }}\n{ROUTE}filters = [\"x\", \"y\"]\nmethods = [\"get\"]\n[log]\nlevel = 1\nx = 1\n"
    );
    let loaded = loaded(&text);
    let places: Vec<(usize, usize)> = loaded
        .diagnostics
        .iter()
        .map(|d| loaded.sources.position(d.span.unwrap()))
        .map(|position| (position.line, position.column))
        .collect();
    assert_eq!(
        places,
        [(4, 23), (9, 12), (9, 17), (10, 12), (12, 9), (13, 1)]
    );
}

#[test]
fn a_syntax_error_in_one_file_does_not_hide_those_of_others() {
    let main = format!("include = [\"a.toml\", \"b.toml\"]\n{LISTENER}{ROUTE}");
    let dir = directory(&[("main.toml", &main), ("a.toml", "x ="), ("b.toml", "y = [")]);
    let loaded = load(
        &dir.path().join("main.toml"),
        &common::env,
        &common::Patterns,
    );
    let files: Vec<PathBuf> = loaded
        .diagnostics
        .iter()
        .map(|d| loaded.sources.path(d.span.unwrap().file).to_owned())
        .collect();
    assert_eq!(
        files,
        [dir.path().join("a.toml"), dir.path().join("b.toml")]
    );
}

#[test]
fn the_redacted_view_has_defaults_and_references_but_no_secrets() {
    let config = good(&format!(
        "[[listener]]\nname = \"a\"\nlisten = \"${{env:RG_PORT}}\"\nlimits = {{ headers_max = 5 }}\n\
         [[upstream]]\nname = \"u\"\nendpoints = [{{ address = \"10.0.0.1:80\" }}, \"10.0.0.2:80\"]\n\
         [filter.h]\ntype = \"headers\"\nrequest.set = {{ Authorization = \"Basic Zm9v\", x-a = \"1\" }}\n\
         {ROUTE}\n[[route]]\nname = \"u\"\npath = \"/u\"\nupstream = \"u\"\nfilters = [\"h\"]\n\
         [[consumer]]\nname = \"c\"\napi_keys = [\"sha256:{}\"]\n",
        "ab".repeat(32)
    ));
    let view = config.to_json();
    assert_eq!(view["listener"][0]["listen"], "${env:RG_PORT}");
    assert_eq!(view["listener"][0]["half_close"], "abort");
    assert_eq!(
        view["listener"][0]["limits"],
        serde_json::json!({ "headers_max": 5 })
    );
    assert_eq!(view["limits"]["idle_timeout"], "75s");
    assert_eq!(view["limits"]["headers_max"], 100);
    assert_eq!(view["upstream"][0]["endpoints"][0]["weight"], 1);
    assert_eq!(view["upstream"][0]["endpoints"][1], "10.0.0.2:80");
    assert_eq!(view["filter"]["h"]["request"]["set"]["x-a"], "1");
    assert_eq!(
        view["filter"]["h"]["request"]["set"]["Authorization"],
        "(hidden)"
    );
    assert_eq!(view["consumer"][0]["api_keys"][0], "(hidden)");
    assert_eq!(view["route"][0]["respond"]["status"], 200);
    assert_eq!(view.get("admin"), None);
    let text = view.to_string();
    assert!(!text.contains("127.0.0.1:9009") && !text.contains("abab") && !text.contains("Zm9v"));
}

#[test]
fn the_redacted_view_merges_included_files() {
    let main = format!("include = [\"r.toml\"]\n{LISTENER}{ROUTE}");
    let dir = directory(&[("main.toml", &main), ("r.toml", &respond("r"))]);
    let config = load(
        &dir.path().join("main.toml"),
        &common::env,
        &common::Patterns,
    )
    .config
    .unwrap();
    let view = config.to_json();
    assert_eq!(view["route"].as_array().unwrap().len(), 2);
    assert_eq!(view.get("include"), None);
}

#[test]
fn colour_comes_only_when_asked_for() {
    let loaded = loaded("x = 1\n");
    let plain = render(&loaded.diagnostics, &loaded.sources, Style::Plain);
    let colour = render(&loaded.diagnostics, &loaded.sources, Style::Colour);
    assert!(!plain.contains('\x1b'));
    assert!(colour.contains("\x1b[1;31merror[unknown-key]\x1b[0m"));
}

#[test]
fn json_diagnostics_carry_place_label_and_help() {
    let loaded = loaded(&format!("{LISTENER}{ROUTE}[log]\nlevle = \"info\"\n"));
    let json = to_json(&loaded.diagnostics, &loaded.sources);
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "code": "unknown-key",
            "message": "unknown key `levle` in [log]",
            "file": "test.toml",
            "line": 9,
            "column": 1,
            "start": 125,
            "end": 130,
            "label": "unknown key",
            "help": "did you mean `level`?",
        }])
    );
}

#[test]
fn warnings_leave_a_configuration_usable() {
    let text =
        format!("{LISTENER}{ROUTE}[[upstream]]\nname = \"u\"\nendpoints = [\"10.0.0.1:80\"]\n");
    let loaded = loaded(&text);
    assert_eq!(loaded.verdict(), Verdict::Runnable);
    assert_eq!(loaded.diagnostics[0].severity, Severity::Warning);
    assert!(loaded.config.is_some());
}

#[test]
fn nothing_is_called_unused_while_something_could_not_be_read() {
    let text = format!(
        "{LISTENER}[[upstream]]\nname = \"u\"\nendpoints = [\"10.0.0.1:80\"]\n\
         [[route]]\nname = \"r\"\npath = 7\nupstream = \"u\"\n"
    );
    assert!(!said(&text).contains("unused"));
}

#[test]
fn an_invalid_filter_does_not_make_its_routes_look_wrong() {
    let text = format!("{LISTENER}[filter.f]\ntype = \"nonsense\"\n{ROUTE}filters = [\"f\"]\n");
    let loaded = loaded(&text);
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["unknown-filter-type"]);
}

#[test]
fn an_error_of_a_later_stage_takes_the_configuration_away() {
    let mut loaded = loaded(&format!("{LISTENER}{ROUTE}"));
    let place = loaded.config.as_ref().unwrap().routes[0].path.span;
    loaded.report([Diagnostic::warning("shadowed", "shadowed", place)]);
    assert!(loaded.config.is_some());
    loaded.report([Diagnostic::error("duplicate-route", "duplicate", place)]);
    assert!(loaded.config.is_none());
    assert_eq!(loaded.verdict(), Verdict::Invalid);
}

#[test]
fn credentials_in_header_values_are_not_repeated() {
    let text = format!(
        "{LISTENER}[filter.f]\ntype = \"headers\"\n\
         request.set = {{ Authorization = \"Bearer hunter2\\n\", x-a = \"b\\n\" }}\n\
         {ROUTE}filters = [\"f\"]\n"
    );
    let said = said(&text);
    assert!(!said.contains("hunter2"), "{said}");
    assert!(said.contains("invalid header value `b\\n`"), "{said}");
    let broken = text.replace("\\n\", x-a", ", x-a");
    let said = self::said(&broken);
    assert!(
        said.contains("error[syntax]") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_shorter_head_takes_the_target_with_it() {
    let config = good(&format!("[limits]\nhead_max = \"2KiB\"\n{LISTENER}{ROUTE}"));
    assert!(config.limits.uri_max < 2048);
    assert_eq!(config.listeners[0].limits.uri_max, config.limits.uri_max);
}

#[test]
fn upgrades_are_a_list_or_one_word() {
    for (written, expected) in [
        ("[\"websocket\"]", Upgrade::WebSocket),
        ("\"websocket\"", Upgrade::WebSocket),
        ("[]", Upgrade::Forbid),
        ("\"off\"", Upgrade::Forbid),
    ] {
        let config = good(&format!("{LISTENER}{ROUTE}upgrade = {written}\n"));
        assert_eq!(config.routes[0].upgrade, expected, "{written}");
    }
}
