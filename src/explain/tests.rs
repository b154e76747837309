//! Whole explanations of a small configuration, as they are printed.

use clap::Parser as _;
use ringgate_config::Style;

use super::{Explain, Said};
use crate::cli::Exit;

const CONFIG: &str = r#"[forwarded]
trusted = ["10.0.0.0/8"]

[[listener]]
name = "public"
listen = "127.0.0.1:8080"

[[upstream]]
name = "users"
endpoints = ["users.internal:9001"]

[filter.small]
type = "body_limit"
max = "1KiB"

[filter.mark]
type = "headers"
request.set = { x-gateway = "edge" }

[[route]]
name = "user"
path = "/api/users/{id}"
methods = ["GET"]
upstream = "users"

[[route]]
name = "user-v2"
path = "/api/users/{id}"
methods = ["GET", "POST"]
match.headers = { x-version = "2" }
filters = ["small", "mark"]
rewrite = "/v2/{id}"
upstream = "users"

[[route]]
name = "all-users"
path = "/api/{rest*}"
upstream = "users"

[[route]]
name = "ping"
path = "/ping"
respond = { status = 200, body = "pong" }

[[route]]
name = "secret"
path = "/secret"
match.headers = { authorization = "Bearer abc" }
respond = { status = 204 }
"#;

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    explain: Explain,
}

fn said(arguments: &[&str]) -> Said {
    said_of(CONFIG, arguments)
}

fn said_of(config: &str, arguments: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gate.toml");
    std::fs::write(&file, config).unwrap();
    std::fs::write(dir.path().join("seq.toml"), SEQUENCE).unwrap();
    let place = format!("{}/", dir.path().display());
    let arguments = arguments.iter().map(|a| a.replace("DIR/", &place));
    let line = ["explain".to_owned(), format!("{place}gate.toml")];
    let line = Line::try_parse_from(line.into_iter().chain(arguments)).unwrap();
    let mut said = line.explain.say(Style::Plain, Style::Plain);
    for text in [&mut said.out, &mut said.err] {
        *text = masked(&text.replace(&place, ""));
    }
    said
}

/// Without what differs from run to run.
fn masked(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once("X-Request-Id: ") {
            Some((before, _)) => format!("{before}X-Request-Id: ID\n"),
            None => format!("{line}\n"),
        });
    lines.collect()
}

#[test]
fn a_routed_request_is_told_from_the_verdict_to_the_head() {
    let said = said(&[
        "GET",
        "http://api.example.com/api/./users/7?x=1",
        "-H",
        "X-Version: 2",
        "--peer",
        "192.0.2.9",
    ]);
    assert_eq!(said.out, include_str!("golden/routed.txt"), "{}", said.out);
    assert_eq!((said.exit, said.err.as_str()), (Exit::Fine, ""));
}

#[test]
fn a_filter_that_answers_ends_the_way() {
    let said = said(&[
        "POST",
        "/api/users/7",
        "-H",
        "x-version: 2",
        "-H",
        "accept: text/plain",
        "--body-length",
        "2000",
    ]);
    assert!(said.out.contains("answers      small"), "{}", said.out);
    assert!(said.out.contains("not reached  mark"), "{}", said.out);
    assert!(said.out.contains("-> 413"), "{}", said.out);
    assert_eq!(said.exit, Exit::Refused);
}

#[test]
fn verbose_quotes_the_conditions_and_hides_credentials() {
    let said = said(&["GET", "/secret", "-v", "-H", "accept: text/plain"]);
    assert_eq!(said.exit, Exit::Refused);
    assert!(said.out.contains("^^^"), "{}", said.out);
    assert!(!said.out.contains("abc"), "{}", said.out);
}

#[test]
fn each_loser_has_its_reason_and_line() {
    let said = said(&["DELETE", "/api/users/7"]);
    let lost: Vec<&str> = said.out.lines().filter(|l| l.contains("lost")).collect();
    assert_eq!(
        lost,
        [
            "  lost  user       method: it takes GET, HEAD  gate.toml:23",
            "  lost  user-v2    method: it takes GET, HEAD, POST  gate.toml:29",
        ]
    );
    let said = self::said(&["GET", "/api/users/7", "-H", "x-version: 1"]);
    let header = "user-v2    header x-version: wants \"2\", the request has \"1\"  gate.toml:30";
    assert!(said.out.contains(header), "{}", said.out);
    assert!(
        said.out
            .contains("all-users  less specific path than user's: /api/{rest*}  gate.toml:37"),
        "{}",
        said.out
    );
}

#[test]
fn a_head_that_breaks_the_rules_is_refused() {
    let said = said(&["GET", "/", "-H", "transfer-encoding: gzip"]);
    assert!(said.out.contains("-> 501"), "{}", said.out);
    for part in [
        "  Connection: close\n",
        "  content-type: application/json\n",
        "{\"status\":501,",
        "\"request_id\":\"",
    ] {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
    assert_eq!(said.exit, Exit::Refused);
}

#[test]
fn a_path_alone_has_a_host_on_a_unix_socket_too() {
    let config = CONFIG.replace("127.0.0.1:8080", "unix:/run/gate.sock");
    let said = said_of(&config, &["GET", "/ping"]);
    assert!(said.out.contains("http://localhost/ping"), "{}", said.out);
    assert_eq!(said.exit, Exit::Fine);
}

#[test]
fn the_client_behind_a_trusted_proxy_is_told() {
    let said = said(&[
        "GET",
        "/ping",
        "--peer",
        "10.1.1.1",
        "-H",
        "x-forwarded-for: 192.0.2.7",
    ]);
    let line =
        "  client    192.0.2.7   X-Forwarded-For, from the trusted proxy 10.1.1.1  gate.toml:2";
    assert!(said.out.contains(line), "{}", said.out);
}

#[test]
fn json_says_the_same() {
    let said = said(&["GET", "/ping", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(value["outcome"]["kind"], "answer");
    assert_eq!(value["outcome"]["body"], "pong");
    assert_eq!(value["routes"][0]["verdict"], "won");
    assert_eq!(value["routes"][0]["place"]["line"], 42);
}

const SEQUENCE: &str = "[[request]]\nurl = \"/ping\"\nrepeat = 3\n\n[[request]]\nat = \"2s\"\n\
    url = \"/nowhere\"\nheaders = { accept = \"text/plain\" }\n";

#[test]
fn a_sequence_is_told_in_a_line_for_each_run() {
    let said = said(&["--requests", "DIR/seq.toml"]);
    assert_eq!(
        said.out,
        "0s  GET http://127.0.0.1:8080/ping     x3   -> 200 OK from route ping\n\
         2s  GET http://127.0.0.1:8080/nowhere       -> 404 Not Found: no route takes this host and path\n"
    );
    assert_eq!(said.exit, Exit::Refused);
}

#[test]
fn an_origin_of_http2_is_shown_what_it_gets() {
    let config = CONFIG.replace(
        "endpoints = [\"users.internal:9001\"]",
        "endpoints = [\"users.internal:9001\"]\nprotocol = \"h2\"",
    );
    let field = "te: trailers";
    let said = said_of(&config, &["GET", "/api/users/7?full=1", "-H", field]);
    let (_, head) = said.out.split_once("The origin gets, in HTTP/2\n").unwrap();
    assert!(
        head.starts_with(
            "  :method: GET\n  :scheme: http\n  :authority: 127.0.0.1:8080\n  \
             :path: /api/users/7?full=1\n"
        ),
        "{head}"
    );
    assert!(
        head.contains("TE: trailers") && !head.contains("Connection:"),
        "{head}"
    );
}

#[test]
fn a_listener_that_takes_no_requests_is_refused() {
    let passing = "[[listener]]\nname = \"db\"\nlisten = \"127.0.0.1:5432\"\nprotocol = \"tcp\"\n\
                   upstream = \"users\"\n\n";
    let config = CONFIG.replacen("[[listener]]", &format!("{passing}[[listener]]"), 1);
    let said = said_of(&config, &["GET", "/ping", "--listener", "db"]);
    assert_eq!(said.exit, Exit::Failed);
    assert_eq!(
        said.err,
        "ringgate: listener \"db\" takes no requests: it passes its connections on unread\n"
    );
    let first = said_of(&config, &["GET", "/ping"]);
    assert!(first.out.contains("listener  public"), "{}", first.out);
}

#[test]
fn exit_codes_tell_whose_fault_it_is() {
    assert_eq!(
        said(&["GET", "/ping", "--listener", "x"]).exit,
        Exit::Failed
    );
    assert_eq!(said(&["G T", "/ping"]).exit, Exit::Failed);
    assert_eq!(said_of("[[listner]]\n", &["GET", "/"]).exit, Exit::Invalid);
    let later = "[admin]\nlisten = \"unix:/run/admin.sock\"\n";
    let said = said_of(&format!("{CONFIG}{later}"), &["GET", "/ping"]);
    assert_eq!(said.exit, Exit::Unsupported, "{}", said.err);
}

const POLICIES: &str = r#"[[listener]]
name = "public"
listen = "127.0.0.1:8080"

[[upstream]]
name = "orders"
endpoints = ["10.0.0.7:8080", "10.0.0.8:8080"]
balance = "least_connections"
slow_start = "30s"
endpoint_requests_max = 100
[upstream.breaker]
error_ratio = 0.5
window = "10s"
minimum_requests = 20
open_for = "5s"
probes = 3
[upstream.outlier]
consecutive_5xx = 5
ejection = "30s"
[upstream.retry]
attempts = 2
on = ["connect", "reset", "502", "503"]
body_max = "1KiB"
hedge = { after_percentile = 0.95, after_minimum = "10ms" }
[upstream.concurrency]
max = 200
queue_max = 50

[[upstream]]
name = "standby"
endpoints = ["10.0.1.7:8080"]

[[upstream]]
name = "shadow"
endpoints = ["10.0.2.7:8080"]

[[route]]
name = "orders"
path = "/orders/{rest*}"
upstream = "orders"
urgency = "high"
deadline_header = "x-deadline-ms"
mirror = { upstream = "shadow", share = 0.1 }
[route.fallback]
statuses = [502, 503, 504]
upstream = "standby"

[[route]]
name = "split"
path = "/split"
split = [
    { upstream = "orders", weight = 9 },
    { upstream = "standby", weight = 1 },
    { upstream = "shadow", headers = { x-beta = "1" } },
]
split_key = "cookie:uid"

[[route]]
name = "ramp"
path = "/ramp"
upstream = "standby"
canary = { upstream = "shadow", from = 0.05, to = 0.5, over = "1h", halt = { error_ratio = 0.05, minimum_requests = 50, window = "1m" } }
"#;

/// The lines of a section.
fn section<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.is_empty()).collect()
}

#[test]
fn traffic_policies_are_told_in_the_order_in_which_they_have_a_say() {
    let said = said_of(POLICIES, &["GET", "/orders/7"]);
    assert_eq!((said.exit, &*said.err), (Exit::Fine, ""));
    let golden: Vec<&str> = include_str!("golden/policies.txt").lines().collect();
    let told = section(&said.out, "Traffic policies");
    assert_eq!(told, golden, "{}", said.out);
}

#[test]
fn a_request_that_may_not_be_sent_twice_is_told_so() {
    let policy = |name: &str, arguments: &[&str]| {
        let said = said_of(POLICIES, arguments);
        let told = section(&said.out, "Traffic policies");
        let mut told = told.iter().map(|line| line.trim());
        told.find(|line| line.starts_with(name)).unwrap().to_owned()
    };
    let once = policy("retry", &["POST", "/orders/7"]);
    assert!(
        once.contains("only what surely never reached the origin, as POST is not idempotent"),
        "{once}"
    );
    let hedge = policy("hedge", &["POST", "/orders/7"]);
    assert!(hedge.contains("no second attempt"), "{hedge}");
    let keyed = policy("retry", &["POST", "/orders/7", "-H", "idempotency-key: 7"]);
    assert!(keyed.contains("up to 2 times more"), "{keyed}");
    let long = policy("retry", &["PUT", "/orders/7", "--body-length", "2000"]);
    assert!(long.contains("its body of 2000 bytes is longer"), "{long}");
}

#[test]
fn the_choice_among_upstreams_has_its_reason() {
    let told = |arguments: &[&str]| {
        let said = said_of(POLICIES, arguments);
        section(&said.out, "Upstream").join("\n")
    };
    let asked = told(&["GET", "/split", "-H", "x-beta: 1"]);
    assert!(asked.contains("shadow   10.0.2.7:8080"), "{asked}");
    assert!(
        asked.contains("chosen by the conditions of its branch, which hold"),
        "{asked}"
    );
    let first = told(&["GET", "/split", "-H", "cookie: uid=alice"]);
    assert!(first.contains("alice"), "{first}");
    assert!(first.contains("the same key goes the same way"), "{first}");
    let chosen = |text: &str| text.split_whitespace().next().map(str::to_owned);
    let again = told(&["GET", "/split", "-H", "cookie: uid=alice"]);
    assert_eq!(chosen(&again), chosen(&first));
    let drawn = told(&["GET", "/ramp"]);
    assert!(
        drawn.contains("chosen by a draw; each request draws anew"),
        "{drawn}"
    );
    let said = said_of(POLICIES, &["GET", "/ramp"]);
    let policies = section(&said.out, "Traffic policies").join("\n");
    let ramp = "shadow gets 5 %, growing to 50 % over 1h, and none any more at 5 % failed of at \
                least 50 requests in 1m; this request is";
    assert!(policies.contains(ramp), "{policies}");
}
