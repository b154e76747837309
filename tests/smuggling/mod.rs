//! The smuggling corpus: every request is refused, or the origin sees exactly the one
//! unambiguous request that was meant. `README.md` has the format of the cases.

mod mutations;

use crate::support::message::{ReadError, requests_in};
use crate::support::{Client, Driver, Gateway, Origin, Request, Setup, on_both_drivers};

on_both_drivers!(framing, chunks, lines, targets, fields, pipelines);

fn framing(driver: Driver) {
    run(driver, include_str!("framing.txt"));
}

fn chunks(driver: Driver) {
    run(driver, include_str!("chunks.txt"));
}

fn lines(driver: Driver) {
    run(driver, include_str!("lines.txt"));
}

fn targets(driver: Driver) {
    run(driver, include_str!("targets.txt"));
}

fn fields(driver: Driver) {
    run(driver, include_str!("fields.txt"));
}

fn pipelines(driver: Driver) {
    run(driver, include_str!("pipelines.txt"));
}

/// The files of the corpus.
const TEXTS: [&str; 6] = [
    include_str!("framing.txt"),
    include_str!("chunks.txt"),
    include_str!("lines.txt"),
    include_str!("targets.txt"),
    include_str!("fields.txt"),
    include_str!("pipelines.txt"),
];

/// Method, target and body of a request that the client meant.
type Intended = (String, String, Vec<u8>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Reject,
    RejectBody,
    Cut,
    Pass,
    Either,
}

#[derive(Debug)]
struct Case {
    name: String,
    verdict: Verdict,
    intended: Vec<Intended>,
    bytes: Vec<u8>,
}

/// Runs every case of a file and reports all that fail, not only the first.
fn run(driver: Driver, text: &str) {
    let mut failures = Vec::new();
    let cases = parse(text);
    let count = cases.len();
    for case in cases {
        // A gateway and an origin of its own, so that no case hides in another's bytes.
        let origin = Origin::replying(echo);
        let gateway = Setup::proxy(driver, origin.address())
            .set("listener", "half_close", "\"allow\"")
            .start();
        if let Err(why) = play(&case, &gateway, &origin) {
            failures.push(format!("{}: {why}", case.name));
        }
    }
    let failed = failures.len();
    assert!(
        failures.is_empty(),
        "{failed} of {count}:\n{}",
        failures.join("\n")
    );
}

fn echo(request: &Request) -> Vec<u8> {
    let body = format!("{} {}", request.method, request.target);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    if request.method == "HEAD" {
        head.into_bytes()
    } else {
        (head + &body).into_bytes()
    }
}

fn play(case: &Case, gateway: &Gateway, origin: &Origin) -> Result<(), String> {
    let answers = exchange(case, gateway)?;
    // The probe comes on a fresh client connection; were an upstream connection
    // poisoned, it would get somebody else's answer.
    let probe = gateway.get("/probe");
    if probe.status != 200 || probe.text() != "GET /probe" {
        return Err(format!(
            "the next client got {} {:?}",
            probe.status,
            probe.text()
        ));
    }
    let mut seen = strict(origin, case.verdict)?;
    let at = seen
        .iter()
        .position(|r| r.1 == "/probe")
        .ok_or("the probe is not at the origin")?;
    seen.remove(at);
    judge(case, &answers, &seen)
}

/// Sends the case and reads all answers up to the close.
fn exchange(case: &Case, gateway: &Gateway) -> Result<Vec<u16>, String> {
    let mut client = Client::connect(gateway.address());
    client.try_send(&case.bytes);
    client.finish_sending();
    let mut answers = Vec::new();
    loop {
        let meant = case
            .intended
            .get(answers.len())
            .map_or("GET", |i| i.0.as_str());
        match client.try_response(meant) {
            Ok(response) if response.status == 100 => {}
            Ok(response) => answers.push(response.status),
            // A reset after the answer is the close of one who does not read on.
            Err(ReadError::Closed | ReadError::Cut(_)) => return Ok(answers),
            Err(error) => return Err(format!("after {answers:?}: {error}")),
        }
    }
}

/// What the origin received, with every byte accounted for.
fn strict(origin: &Origin, verdict: Verdict) -> Result<Vec<Intended>, String> {
    let mut seen = Vec::new();
    for bytes in origin.seen() {
        let mut whole = bytes.as_slice();
        let requests = match requests_in(whole) {
            Err(ReadError::Cut(_)) if matches!(verdict, Verdict::RejectBody | Verdict::Cut) => {
                // The begun request is the last; cut it off and the rest must be whole.
                let last = last_head(whole);
                whole = &whole[..last];
                requests_in(whole)
            }
            other => other,
        };
        let requests = requests
            .map_err(|e| format!("{e} at the origin: {:?}", String::from_utf8_lossy(&bytes)))?;
        seen.extend(requests.into_iter().map(|r| (r.method, r.target, r.body)));
    }
    Ok(seen)
}

/// Where the last request line begins.
fn last_head(bytes: &[u8]) -> usize {
    let mut last = 0;
    for at in 1..=bytes.len() {
        if requests_in(&bytes[..at]).is_ok() {
            last = at;
        }
    }
    last
}

fn judge(case: &Case, answers: &[u16], seen: &[Intended]) -> Result<(), String> {
    let refused = answers
        .last()
        .is_some_and(|s| (400..500).contains(s) || [501, 505].contains(s));
    let whole = seen == case.intended;
    let part = seen.len() < case.intended.len() && case.intended.starts_with(seen);
    let fine = match case.verdict {
        Verdict::Pass => whole && answers.len() == seen.len() && answers.iter().all(|s| *s == 200),
        Verdict::Reject | Verdict::RejectBody => {
            refused && whole && answers.len() == seen.len() + 1
        }
        Verdict::Cut => whole,
        Verdict::Either => {
            (whole && answers.len() == seen.len() && !refused)
                || ((whole || part) && refused && answers.len() <= case.intended.len() + 1)
        }
    };
    if fine {
        return Ok(());
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|(m, t, b)| format!("{m} {t} {:?}", String::from_utf8_lossy(b)))
        .collect();
    Err(format!(
        "{:?}, but the answers are {answers:?} and the origin saw {seen:?}",
        case.verdict
    ))
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut head = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            cases.push(Case {
                name: name.to_owned(),
                verdict: Verdict::Pass,
                intended: Vec::new(),
                bytes: Vec::new(),
            });
            head = true;
            continue;
        }
        let case = cases.last_mut().expect("the file begins with a case");
        match (head, line.split_once(' ')) {
            (true, Some((">", verdict))) => case.verdict = verdict_of(verdict),
            (true, Some(("=", request))) => case.intended.push(intended(request)),
            _ => {
                head = false;
                let (line, end) = match line.strip_suffix('\\') {
                    Some(line) if !line.ends_with('\\') => (line, ""),
                    _ => (line, "\r\n"),
                };
                case.bytes.extend(unescape(line));
                case.bytes.extend_from_slice(end.as_bytes());
            }
        }
    }
    cases
}

fn verdict_of(word: &str) -> Verdict {
    match word {
        "reject" => Verdict::Reject,
        "reject-body" => Verdict::RejectBody,
        "cut" => Verdict::Cut,
        "pass" => Verdict::Pass,
        "either" => Verdict::Either,
        other => panic!("no verdict {other}"),
    }
}

fn intended(text: &str) -> Intended {
    let mut parts = text.splitn(3, ' ');
    let mut part = || unescape(parts.next().unwrap_or_default());
    let text = |bytes: Vec<u8>| bytes.iter().map(|b| char::from(*b)).collect::<String>();
    (text(part()), text(part()), part())
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let mut used = 1;
        match escape.as_bytes()[0] {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                bytes.push(u8::from_str_radix(&escape[1..3], 16).unwrap());
                used = 3;
            }
            b'*' => {
                let mut parts = escape[1..].splitn(3, '*');
                let (count, unit) = (parts.next().unwrap(), parts.next().unwrap());
                bytes.extend(unescape(unit).repeat(count.parse().unwrap()));
                used = count.len() + unit.len() + 3;
            }
            other => panic!("no escape {:?}", char::from(other)),
        }
        rest = &escape[used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[test]
fn the_corpus_has_at_least_150_cases_with_names_of_their_own() {
    let mut names: Vec<String> = TEXTS
        .iter()
        .flat_map(|text| parse(text))
        .map(|case| case.name)
        .collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");
    assert!(count >= 150, "{count}");
}
