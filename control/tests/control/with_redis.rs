//! Limits shared through a real server by two control planes, whose data planes are ledgers of
//! a few lines.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringgate_control::cluster::{Algorithm, Cluster, Grant, Presence, Supply, Terms, Url, Want};
use ringgate_control::{
    AdminOptions, Cause, ControlPlane, Exposition, Handle, Node, Options, Readiness, ReloadRefused,
    ReloadReport, Shutdown, Target,
};
use serde_json::Value;

use crate::fake::{eventually, get, metric, quiet};
use crate::log;
use crate::redis::Redis;

const NODES: u32 = 2;

/// The tokens of one key.
#[derive(Default)]
struct Purse {
    tokens: u64,
    until: Option<Instant>,
    wanted: u64,
    back: u64,
    ended: Option<Instant>,
}

/// A ledger without credit: what is admitted was granted.
struct Ledger {
    terms: Terms,
    purses: Mutex<HashMap<u64, Purse>>,
}

impl Ledger {
    fn new(terms: Terms) -> Arc<Self> {
        Arc::new(Self {
            terms,
            purses: Mutex::default(),
        })
    }

    /// Whether a request of a key passes at `now`.
    fn admits(&self, hash: u64, now: Instant) -> bool {
        let mut purses = self.purses.lock().unwrap();
        let purse = purses.entry(hash).or_default();
        purse.expire(now);
        purse.wanted = (purse.wanted + 1).min(self.terms.limit);
        let enough = purse.tokens > 0;
        purse.tokens -= u64::from(enough);
        enough
    }
}

impl Purse {
    fn expire(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now >= until) {
            self.back += self.tokens;
            self.ended = self.ended.or(self.until);
            self.tokens = 0;
            self.until = None;
        }
    }
}

impl Supply for Ledger {
    fn policy(&self) -> &str {
        "per-client"
    }
    fn position(&self) -> usize {
        0
    }
    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
    fn terms(&self) -> Terms {
        self.terms
    }
    fn reconcile(&self) -> Duration {
        Duration::from_millis(10)
    }
    fn credit(&self) -> u64 {
        0
    }
    fn end_grant(&self, _: u64) {}
    fn wants(&self, see: &mut dyn FnMut(Want)) {
        for (hash, purse) in self.purses.lock().unwrap().iter_mut() {
            purse.expire(Instant::now());
            let want = Want {
                hash: *hash,
                asked: std::mem::take(&mut purse.wanted).saturating_sub(purse.tokens),
                back: std::mem::take(&mut purse.back),
                ended: purse.ended.take(),
                debt: 0,
            };
            if (want.asked, want.back) != (0, 0) {
                see(want);
            }
        }
    }
    fn grant(&self, grant: Grant) {
        let mut purses = self.purses.lock().unwrap();
        let purse = purses.get_mut(&grant.hash).unwrap();
        purse.expire(Instant::now());
        // What is left ends when it would have, and what comes to it then too.
        purse.until = purse
            .until
            .filter(|_| purse.tokens > 0)
            .or(Some(grant.until));
        purse.tokens += grant.tokens;
    }
}

struct SharingNode {
    cluster: Mutex<Cluster>,
}

impl Node for SharingNode {
    fn clusters(&self) -> Vec<Cluster> {
        vec![self.cluster.lock().unwrap().clone()]
    }
    fn metrics(&self, _: &mut Exposition) {}
    fn readiness(&self) -> Readiness {
        Readiness::Ready
    }
    fn config(&self) -> Value {
        Value::Null
    }
    fn upstreams(&self) -> Value {
        Value::Null
    }
    fn routes(&self) -> Value {
        Value::Null
    }
    fn version(&self) -> Value {
        Value::Null
    }
    fn reload(&self, _: Cause) -> Result<ReloadReport, ReloadRefused> {
        Ok(ReloadReport::default())
    }
    fn resolved(&self, _: &str, _: &str, _: &[SocketAddr]) {}
    fn resolve_targets(&self) -> Vec<Target> {
        Vec::new()
    }
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    fn shutdown(&self, _: Shutdown) {}
    fn reopen_logs(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A node with its control plane.
struct Member {
    ledger: Arc<Ledger>,
    admin: SocketAddr,
    _handle: Handle,
}

impl Member {
    fn start(url: &str, terms: Terms) -> Self {
        log::collect();
        let ledger = Ledger::new(terms);
        let cluster = Cluster {
            name: "shared".into(),
            url: Url::parse(url).unwrap(),
            nodes: NODES,
            timeout: Duration::from_millis(200),
            supplies: vec![Arc::clone(&ledger) as _],
        };
        let node = Arc::new(SharingNode {
            cluster: Mutex::new(cluster),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = listener.local_addr().unwrap();
        let options = Options {
            admin: Some(AdminOptions::new(listener)),
            ..quiet()
        };
        Self {
            ledger,
            admin,
            _handle: ControlPlane::start(node, options).unwrap(),
        }
    }

    fn up(&self) -> bool {
        metric(self.admin, "ringgate_redis_up{redis=\"shared\"}") == 1
    }

    fn limits(&self) -> String {
        get(self.admin, "/limits").2
    }
}

/// Presses on both nodes until `enough`, and returns when each request passed.
fn press(members: &[&Member], mut enough: impl FnMut(Instant) -> bool) -> Vec<Instant> {
    let mut passed = Vec::new();
    loop {
        for member in members {
            let now = Instant::now();
            if member.ledger.admits(7, now) {
                passed.push(now);
            }
        }
        if enough(Instant::now()) {
            passed.sort();
            return passed;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn for_time(time: Duration) -> impl FnMut(Instant) -> bool {
    let end = Instant::now() + time;
    move |now| now >= end
}

/// The most that passed in any stretch of `per`.
fn most(passed: &[Instant], per: Duration) -> usize {
    let mut first = 0;
    let counts = passed.iter().enumerate().map(|(last, time)| {
        while *time - passed[first] >= per {
            first += 1;
        }
        last - first + 1
    });
    counts.max().unwrap_or(0)
}

fn terms(algorithm: Algorithm) -> Terms {
    let burst = match algorithm {
        Algorithm::TokenBucket => 50,
        _ => 0,
    };
    Terms {
        algorithm,
        limit: 100,
        per: Duration::from_millis(500),
        burst,
    }
}

#[track_caller]
fn two(redis: &Redis, algorithm: Algorithm) -> [Member; 2] {
    let members = [(), ()].map(|()| Member::start(&redis.url(), terms(algorithm)));
    eventually("both are connected", || members.iter().all(Member::up));
    members
}

#[test]
fn two_nodes_share_a_bucket() {
    let redis = Redis::start();
    let [a, b] = two(&redis, Algorithm::TokenBucket);
    let passed = press(&[&a, &b], for_time(Duration::from_millis(2_500)));
    let most = most(&passed, Duration::from_millis(500));
    assert!(most <= 150, "{most} in a window");
    assert!(passed.len() > 250, "{} in all", passed.len());
}

#[test]
fn two_nodes_share_a_sliding_window() {
    let redis = Redis::start();
    let [a, b] = two(&redis, Algorithm::SlidingWindow);
    let passed = press(&[&a, &b], for_time(Duration::from_millis(2_500)));
    let most = most(&passed, Duration::from_millis(500));
    assert!(most <= 100, "{most} in a window");
    assert!(passed.len() > 250, "{} in all", passed.len());
}

#[test]
fn two_nodes_share_a_fixed_window() {
    let redis = Redis::start();
    let [a, b] = two(&redis, Algorithm::FixedWindow);
    let passed = press(&[&a, &b], for_time(Duration::from_millis(2_500)));
    // The end of one window and the beginning of the next: twice the limit, and no more.
    let most = most(&passed, Duration::from_millis(500));
    assert!(most <= 200, "{most} in a window");
    assert!(
        (250..=600).contains(&passed.len()),
        "{} in all",
        passed.len()
    );
}

#[test]
fn what_one_node_leaves_the_other_may_use() {
    let redis = Redis::start();
    let [a, _idle] = two(&redis, Algorithm::TokenBucket);
    let passed = press(&[&a], for_time(Duration::from_millis(2_500)));
    assert!(passed.len() > 300, "more than a half: {}", passed.len());
}

#[test]
fn a_server_that_comes_and_goes_keeps_the_bound() {
    let mut redis = Redis::start();
    let [a, b] = two(&redis, Algorithm::TokenBucket);
    let mut passed = press(&[&a, &b], for_time(Duration::from_millis(700)));
    redis.kill();
    passed.extend(press(&[&a, &b], |_| !a.up() && !b.up()));
    passed.extend(press(&[&a, &b], for_time(Duration::from_millis(1_500))));
    redis.start_again();
    passed.extend(press(&[&a, &b], |_| a.up() && b.up()));
    passed.extend(press(&[&a, &b], for_time(Duration::from_millis(700))));
    redis.pause();
    passed.extend(press(&[&a, &b], |_| !a.up() && !b.up()));
    redis.resume();
    passed.extend(press(&[&a, &b], |_| a.up() && b.up()));
    passed.extend(press(&[&a, &b], for_time(Duration::from_millis(700))));
    passed.sort();
    let bound = terms(Algorithm::TokenBucket).bound(NODES, 0, Presence::Away);
    let most = most(&passed, Duration::from_millis(500)) as u64;
    assert!(most <= bound, "{most} in a window, at most {bound}");
    let page = a.limits();
    assert!(page.contains("\"state\": \"answers\""), "{page}");
    let debts = "ringgate_shared_limit_debt_total{filter=\"per-client\",limit=\"0\"}";
    assert!(metric(a.admin, debts) > 0, "the share was settled");
}

#[test]
fn a_server_that_forgets_the_script_is_told_it_again() {
    let redis = Redis::start();
    let [a, b] = two(&redis, Algorithm::TokenBucket);
    press(&[&a, &b], for_time(Duration::from_millis(200)));
    assert_eq!(redis.say(&["SCRIPT", "FLUSH"]), "OK");
    let failed = "ringgate_redis_calls_total{redis=\"shared\",result=\"failed\"}";
    let before = metric(a.admin, failed);
    let passed = press(&[&a], for_time(Duration::from_millis(600)));
    assert!(!passed.is_empty());
    assert_eq!(metric(a.admin, failed), before);
    let keys = redis.say(&["KEYS", "*"]);
    assert_eq!(keys, "ringgate:{per-client}:0:b500:0000000000000007");
    let ttl: i64 = redis.say(&["PTTL", &keys]).parse().unwrap();
    assert!((1..=5_000).contains(&ttl), "{ttl}");
}

#[test]
fn a_wrong_password_is_said_once_and_shown_nowhere() {
    let redis = Redis::with_password("opensesame");
    let url = format!("redis://:hunter2@127.0.0.1:{}/", redis.port());
    let member = Member::start(&url, terms(Algorithm::TokenBucket));
    let failed = "ringgate_redis_calls_total{redis=\"shared\",result=\"failed\"}";
    eventually("it tries again", || metric(member.admin, failed) >= 3);
    let address = format!("127.0.0.1:{}", redis.port());
    let said = log::lines_with(&address);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("limits are not shared"), "{said:?}");
    let page = member.limits();
    for text in [&page, &said[0]] {
        assert!(text.to_lowercase().contains("pass"), "why: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(page.contains("\"state\": \"away\""), "{page}");
}

#[test]
fn a_right_password_lets_in() {
    let redis = Redis::with_password("opensesame");
    let [a, b] = two(&redis, Algorithm::TokenBucket);
    assert!(!press(&[&a, &b], for_time(Duration::from_millis(300))).is_empty());
    assert!(!a.limits().contains("opensesame"));
}

/// What the script says of one key, as the session asks it: tokens, wait, time, the server's
/// clock. Times are in microseconds.
fn lease(redis: &Redis, algorithm: &str, per: u64, [asked, back, since]: [u64; 3]) -> Vec<u64> {
    let script = include_str!("../../src/cluster/limits.lua");
    let [per, asked, back, since] = [per, asked, back, since].map(|n| n.to_string());
    let said = redis.say(&[
        "EVAL", script, "1", "key", algorithm, "100", &per, "100", "30000", &asked, &back, &since,
        "0",
    ]);
    let numbers: Vec<u64> = said.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.len(), 4, "{said}");
    numbers
}

/// Windows and buckets that change by themselves only after years.
const AGES: u64 = 100 * 365 * 86_400 * 1_000_000;

#[test]
fn what_goes_back_is_there_for_others() {
    for algorithm in ["bucket", "fixed", "sliding"] {
        let redis = Redis::start();
        let begun = lease(&redis, algorithm, AGES, [100, 0, 0]);
        assert_eq!(begun[0], 100, "{algorithm}");
        assert_eq!(lease(&redis, algorithm, AGES, [10, 0, 0])[0], 0);
        // A bucket keeps the fraction that has flowed in meanwhile to itself.
        let again = lease(&redis, algorithm, AGES, [100, 60, begun[3]]);
        assert!((59..=60).contains(&again[0]), "{algorithm}: {again:?}");
        let none = lease(&redis, algorithm, AGES, [100, 0, 0]);
        assert!(none[0] <= 1, "{algorithm}: {none:?}");
    }
}

#[test]
fn what_was_leased_too_long_ago_does_not_go_back() {
    // A bucket of 100 that fills in a minute: half of what was leased half a minute ago has
    // flowed in since, for others to use.
    let minute = 60_000_000;
    let redis = Redis::start();
    let begun = lease(&redis, "bucket", minute, [100, 0, 0]);
    let ago = begun[3] - minute / 2;
    let half = lease(&redis, "bucket", minute, [100, 100, ago])[0];
    assert!((50..=60).contains(&half), "{half}");
    let nothing = lease(&redis, "bucket", minute, [100, 100, begun[3] - minute])[0];
    assert!(nothing <= 10, "{nothing}");
    let ahead = lease(&redis, "bucket", minute, [100, 100, begun[3] + minute])[0];
    assert!(ahead <= 10, "of a clock that is ahead: {ahead}");

    // Another window's is none of this one's.
    let redis = Redis::start();
    let begun = lease(&redis, "fixed", AGES, [100, 0, 0]);
    let hour = 60 * minute;
    assert!(begun[3] > hour);
    redis.say(&["SET", "key", "0:100"]);
    assert_eq!(lease(&redis, "fixed", AGES, [10, 20, 1])[0], 10);
    redis.say(&["DEL", "key"]);
    let here = lease(&redis, "fixed", hour, [100, 0, 0]);
    let former = here[3] - hour;
    assert_eq!(lease(&redis, "fixed", hour, [100, 100, former])[0], 0);

    // A sub-window before the lease holds what others have used.
    let redis = Redis::start();
    lease(&redis, "sliding", hour, [100, 0, 0]);
    let slot = redis.say(&["HKEYS", "key"]);
    let next = (slot.parse::<u64>().unwrap() + 1) * (hour / 64) + 1;
    assert_eq!(lease(&redis, "sliding", hour, [100, 100, next])[0], 0);
    assert_eq!(
        lease(&redis, "sliding", hour, [200, 500, 0])[0],
        100,
        "no more than was leased"
    );
}
