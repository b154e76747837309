//! Secrets in every place that takes one, and everything that the gateway writes: none of the
//! former may be in the latter.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::certificates::Authority;
use crate::support::{Driver, Gateway, Origin, Run, Setup, on_both_drivers, run};
use crate::support::{ringgate, wait_until};

on_both_drivers!(
    no_secret_is_in_any_output,
    a_secrets_file_is_followed,
    commands_are_run_for_those_who_serve,
);

/// Each is recognised by this.
const MARK: &str = "5ecret";

/// Every place that takes a secret, each with one of its own; those of `fault` make the
/// configuration invalid.
fn places(dir: &Path, origin: &Origin) -> String {
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let file = write("word", &format!("{MARK}-of-a-file\n"));
    let url = write(
        "redis-url",
        &format!("redis://user:{MARK}-redis@127.0.0.1:1/0"),
    );
    let endpoint = origin.address();
    format!(
        "[redis.store]\nurl = \"${{file:{}}}\"\ntimeout = \"50ms\"\n\
         [redis.other]\nurl = \"redis://:{MARK}-inline@127.0.0.1:1/0\"\ntimeout = \"50ms\"\n\
         [filter.shared]\ntype = \"rate_limit\"\nkey = \"client_ip\"\nlimit = 1000\nper = \"1s\"\n\
         redis = \"store\"\n\
         [filter.word]\ntype = \"maintenance\"\nenabled = false\n\
         header = {{ name = \"x-word\", value = \"${{file:{}}}\" }}\n\
         [filter.variable]\ntype = \"maintenance\"\nenabled = false\n\
         header = {{ name = \"x-word\", value = \"${{env:PLANTED}}\" }}\n\
         [filter.command]\ntype = \"maintenance\"\nenabled = false\n\
         header = {{ name = \"x-word\", value = \"${{command:printf {MARK}-%s of-a-command}}\" }}\n\
         [filter.inline]\ntype = \"maintenance\"\nenabled = false\n\
         header = {{ name = \"x-word\", value = \"{MARK}-inline-word\" }}\n\
         [filter.fields]\ntype = \"headers\"\n\
         request.set = {{ authorization = \"Bearer {MARK}-token\", x-api-key = \"{MARK}-key\", \
         x-internal = \"${{env:PLANTED}}\" }}\n\
         [filter.key]\ntype = \"api_key\"\nquery = \"key\"\n\
         [filter.token]\ntype = \"jwt\"\nissuers = [\"own\"]\n\
         [[issuer]]\nname = \"own\"\nissuer = \"https://issuer.example\"\n\
         algorithms = [\"HS256\"]\n\
         keys = [{{ alg = \"HS256\", secret = \"{MARK}-of-more-than-thirty-two-bytes\" }}]\n\
         [filter.asked]\ntype = \"introspection\"\nupstream = \"dead\"\npath = \"/i\"\n\
         client_id = \"gateway\"\nclient_secret = \"{MARK}-introspection\"\n\
         [filter.decided]\ntype = \"forward_auth\"\nupstream = \"dead\"\npath = \"/d\"\n\
         [[oauth_client]]\nname = \"own\"\ntoken_url = \"http://127.0.0.1:1/token\"\n\
         client_id = \"gateway\"\nclient_secret = \"${{env:PLANTED}}\"\n\
         [filter.as-gateway]\ntype = \"client_credentials\"\nclient = \"own\"\n\
         [[upstream]]\nname = \"app\"\nendpoints = [\"{endpoint}\"]\n\
         sticky.secret = \"{MARK}-sticky-of-sixteen-bytes\"\n\
         [[upstream]]\nname = \"dead\"\nendpoints = [\"127.0.0.1:1\"]\n\
         sticky.secret = \"${{env:PLANTED}}-of-sixteen-bytes\"\n",
        url.display(),
        file.display(),
    )
}

/// Uses everything, with secrets of clients as well.
fn ask_around(gateway: &Gateway) -> String {
    let ask = |method: &str, target: &str| {
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 0\r\n\
             X-Word: {MARK}-of-a-client\r\nAuthorization: Bearer {MARK}-bearer\r\n\
             X-Api-Key: {MARK}-client-key\r\nCookie: ringgate-node={MARK}-cookie\r\n\r\n"
        );
        let answer = gateway.client().exchange(text);
        format!("{:?}{}", answer.fields, answer.text())
    };
    let target = format!("/key?key={MARK}-query&x=1");
    let targets = [
        "/", "/dead", "/no", "/token", "/asked", "/decided", "/own", &target,
    ];
    let mut said = targets.map(|target| ask("GET", target));
    said[0].push_str(&ask("POST", "/"));
    said.concat()
}

fn pages(gateway: &Gateway) -> String {
    let list = gateway.admin("GET", "/").text().to_owned();
    let is_between = |c: char| c.is_whitespace() || c == '"';
    let paths = list.split(is_between).filter(|word| word.starts_with('/'));
    let mut said = list.clone();
    for path in paths.filter(|path| !path.contains(char::is_uppercase)) {
        said.push_str(gateway.admin("GET", path).text());
    }
    assert!(said.contains("ringgate_"), "the metrics are not among them");
    for page in ["/config", "/routes", "/upstreams", "/metrics"] {
        said.push_str(gateway.admin("GET", page).text());
    }
    said
}

fn with_secret(arguments: &[&str]) -> Run {
    let mut command = std::process::Command::new(ringgate());
    let output = command
        .args(arguments)
        .env("PLANTED", format!("{MARK}-of-the-environment"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[track_caller]
fn hides(what: &str, said: &str) {
    let at = said.find(MARK);
    let near = at.and_then(|at| said[at.saturating_sub(60)..].lines().next());
    assert_eq!(near, None, "{what} shows a secret");
}

/// A route through each of the filters.
fn routed(setup: Setup) -> Setup {
    setup
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\n\
             filters = [\"word\", \"variable\", \"command\", \"inline\", \"fields\", \"shared\"]",
        )
        .route("key", "/key", "upstream = \"app\"\nfilters = [\"key\"]")
        .route(
            "token",
            "/token",
            "upstream = \"app\"\nfilters = [\"token\"]",
        )
        .route("dead", "/dead", "upstream = \"dead\"")
        .route(
            "asked",
            "/asked",
            "upstream = \"app\"\nfilters = [\"asked\"]",
        )
        .route(
            "decided",
            "/decided",
            "upstream = \"app\"\nfilters = [\"decided\"]",
        )
        .route(
            "own",
            "/own",
            "upstream = \"app\"\nfilters = [\"as-gateway\"]",
        )
}

fn no_command_shows_one(file: &str) {
    for arguments in [
        &["check", file][..],
        &["check", "--json", "--run-commands", file],
        &["explain", "--run-commands", "-v", file, "GET", "/"],
        &["explain", "--run-commands", "--json", file, "GET", "/dead"],
        &["explain", "--run-commands", file, "GET", "/key"],
        &["explain", "--run-commands", file, "GET", "/token"],
        &["explain", "--run-commands", "--json", file, "GET", "/asked"],
        &["explain", "--run-commands", file, "GET", "/decided"],
        &["explain", "--run-commands", file, "GET", "/own"],
    ] {
        let run = with_secret(arguments);
        hides(
            &arguments.join(" "),
            &format!("{}{}", run.stdout, run.stderr),
        );
        let expected = match arguments {
            ["check", "--json", ..] => Some(0),
            ["check", ..] => Some(2),
            _ => None,
        };
        let fits = expected.is_none_or(|code| code == run.code);
        assert!(fits, "{arguments:?}: {} {}", run.stdout, run.stderr);
    }
}

fn no_secret_is_in_any_output(driver: Driver) {
    let origin = Origin::named("x");
    let pair = Authority::new().server(&["gateway.test"]);
    let key = fs::read_to_string(pair.key()).unwrap();
    let setup = Setup::new(driver)
        .set("log", "level", "\"debug\"")
        .variable("PLANTED", &format!("{MARK}-of-the-environment"));
    let dir = setup.dir().to_owned();
    let setup = setup.body(&places(&dir, &origin)).body(&format!(
        "[[listener]]\nname = \"tls\"\nlisten = \"127.0.0.1:0\"\ncertificate = [{}]\n",
        pair.toml()
    ));
    let mut gateway = routed(setup).start();
    let file = gateway.file().to_str().unwrap().to_owned();
    hides("an answer", &ask_around(&gateway));
    let said = pages(&gateway);
    hides("a page of the admin API", &said);
    hides("an answer to a reload", gateway.reload().text());
    let secret_key = key.lines().nth(1).unwrap();
    assert!(!said.contains(secret_key), "a private key is shown");
    no_command_shows_one(&file);
    // Values with something wrong about them.
    let faulty = format!(
        "[redis.bad]\nurl = \"{MARK}-no-url\"\n[filter.bad]\ntype = \"maintenance\"\n\
         header = {{ name = \"x\", value = \"{MARK}\\u007f\" }}\n\
         [[upstream]]\nname = \"bad\"\nendpoints = [\"127.0.0.1:1\"]\nsticky.secret = \"{MARK}\"\n\
         [[consumer]]\nname = \"bad\"\napi_keys = [\"{MARK}-key\"]\n"
    );
    gateway.rewrite(|setup| setup.body(&faulty));
    let refused = gateway.reload();
    assert_ne!(refused.status, 200);
    hides("a refused reload", refused.text());
    let run = with_secret(&["check", "--run-commands", &file]);
    hides(
        "a check of faults",
        &format!("{}{}", run.stdout, run.stderr),
    );
    assert_eq!(run.code, 2);
    gateway.stop();
    hides("the access log", &gateway.log_lines(5).concat());
    hides("standard output", &gateway.stdout());
    hides("standard error", &gateway.stderr());
}

fn known_by_file(driver: Driver, word: &Path) -> Gateway {
    let word = word.display();
    Setup::new(driver)
        .body(&format!(
            "[filter.break]\ntype = \"maintenance\"\n\
             header = {{ name = \"x-word\", value = \"${{file:{word}}}\" }}"
        ))
        .route(
            "all",
            "/{r*}",
            "respond = { body = \"in\" }\nfilters = [\"break\"]",
        )
        .start()
}

fn passes(gateway: &Gateway, word: &str) -> bool {
    let text = format!("GET / HTTP/1.1\r\nHost: gateway.test\r\nX-Word: {word}\r\n\r\n");
    gateway.client().exchange(text).status == 200
}

fn a_secrets_file_is_followed(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    let word = dir.path().join("word");
    fs::write(&word, "the-first-word\n").unwrap();
    let gateway = known_by_file(driver, &word);
    assert!(passes(&gateway, "the-first-word"));
    assert!(gateway.stderr().contains("every user"), "no warning");
    // As mounted secrets are replaced: by another file under the same name.
    let next = dir.path().join("next");
    fs::write(&next, "the-second-word\n").unwrap();
    fs::rename(&next, &word).unwrap();
    wait_until("the file is read again", || {
        passes(&gateway, "the-second-word")
    });
    assert!(!passes(&gateway, "the-first-word"));
}

fn commands_are_run_for_those_who_serve(driver: Driver) {
    let gateway = Setup::new(driver)
        .body(
            "[filter.break]\ntype = \"maintenance\"\n\
             header = { name = \"x-word\", value = \"${command:echo the-word-of-it}\" }",
        )
        .route(
            "all",
            "/{r*}",
            "respond = { body = \"in\" }\nfilters = [\"break\"]",
        )
        .start();
    assert!(passes(&gateway, "the-word-of-it"));
    let file = gateway.file().to_str().unwrap();
    let looked = run(&["check", file]);
    assert_eq!(looked.code, 2);
    assert!(
        looked.stdout.contains("--run-commands"),
        "{}",
        looked.stdout
    );
    assert_eq!(run(&["check", "--run-commands", file]).code, 0);
}
