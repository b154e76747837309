//! Which tasks a reload leaves alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::super::checker::Checker;
use super::super::{Place, Standing, State, Target};
use super::{check, http, run, target};
use crate::counters::Counters;
use crate::exposition::Exposition;
use crate::node::{Cause, Node, Readiness, Shutdown};
use crate::report::{ReloadRefused, ReloadReport};

/// An upstream, and what the node was told of it.
type Told = (String, Vec<(Place, Standing)>);

#[derive(Default)]
struct FakeNode {
    targets: Mutex<Vec<Target>>,
    judged: Mutex<Vec<Told>>,
}

impl Node for FakeNode {
    fn metrics(&self, _out: &mut Exposition) {}
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
    fn reload(&self, _cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        Ok(ReloadReport::default())
    }
    fn resolved(&self, _upstream: &str, _endpoint: &str, _addresses: &[SocketAddr]) {}
    fn resolve_targets(&self) -> Vec<crate::node::Target> {
        Vec::new()
    }
    fn watched_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
    fn shutdown(&self, _cause: Shutdown) {}
    fn reopen_logs(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn health_checks(&self) -> Vec<Target> {
        self.targets.lock().unwrap().clone()
    }
    fn judged(&self, upstream: &str, standings: Vec<(Place, Standing)>) {
        let mut judged = self.judged.lock().unwrap();
        judged.push((upstream.to_owned(), standings));
    }
}

#[test]
fn a_reload_ends_and_starts_only_what_it_changed() {
    run(async {
        let fake = Arc::new(FakeNode::default());
        let node: Arc<dyn Node> = Arc::clone(&fake) as _;
        let (_changed, changes) = watch::channel(0);
        let counters = Arc::new(Counters::default());
        let moved = Arc::new(Notify::new());
        let checker = Checker::new(&node, &counters, changes, &moved);
        let mut rounds = checker.rounds();
        let mut after = |targets: &[Target]| {
            *fake.targets.lock().unwrap() = targets.to_vec();
            rounds.adopt()
        };
        let app = |places: &[&str]| target("app", check(http()), places);
        let first = after(&[app(&["127.0.0.1:1", "127.0.0.1:2"])]);
        assert_eq!(first.len(), 2);
        let second = after(&[app(&["127.0.0.1:2", "127.0.0.1:3"])]);
        let kept = second.iter().filter(|task| first.contains(task)).count();
        assert_eq!((second.len(), kept), (2, 1));
        let mut other = app(&["127.0.0.1:2", "127.0.0.1:3"]);
        other.check.healthy_after = 9;
        let third = after(&[other]);
        assert!(third.iter().all(|task| !second.contains(task)));
        assert!(after(&[]).is_empty());
        let judged = fake.judged.lock().unwrap();
        let (upstream, left) = judged.last().unwrap();
        assert_eq!(
            (&**upstream, left.len()),
            ("app", 0),
            "it is known no longer"
        );
        let (_, standings) = &judged[0];
        let states = standings.iter().map(|(_, standing)| standing.state);
        assert!(states.eq([State::Unchecked; 2]));
    });
}
