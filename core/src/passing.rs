//! Connections that are passed on as they are: bytes for one upstream, unread.

use std::rc::Rc;

use crate::balance;
use crate::block::Block;
use crate::chain::Filter;
use crate::client::{Client, Loan};
use crate::error::{Fault, Phase};
use crate::forward::{Trial, Wants};
use crate::link::Link;
use crate::rt::clock::Stamp;
use crate::snapshot::Upstream;
use crate::tunnel::{Speaks, Tunnel};
use crate::upstream::{Asked, Pool, Tried};
use crate::wire::Wire;
use crate::worker::Installed;

/// Passes a connection on to the upstream of the snapshot that it was accepted under; `received`
/// came already. `told` stands in the log where a request does.
pub(crate) async fn pass<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    upstream: usize,
    (received, told): (Block, &str),
) {
    let mut exchange = Loan::new(&client.worker);
    exchange.account.began = Stamp::now();
    exchange.account.head_at = exchange.account.began;
    client.identify_refused(installed, &mut exchange);
    let told = Block::from_slice(told.as_bytes());
    exchange.request.fields.put_text(told);
    exchange.account.upstream = Some(upstream);
    exchange.account.phase = Phase::Connect;
    exchange.account.decided_at = Some(Stamp::now());
    let passed = through(client, installed, upstream, received, &mut exchange).await;
    if let Err(fault) = passed {
        exchange.note(fault);
    }
    exchange.settle(&client.worker, installed);
}

async fn through<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    upstream: usize,
    received: Block,
    exchange: &mut Loan<F>,
) -> Result<(), Fault> {
    let (Some(spec), Some(pool)) = (
        installed.snapshot.upstreams.get(upstream),
        installed.pools.get(upstream),
    ) else {
        return Err(Fault::NoEndpoint);
    };
    let (wire, _trial) = connect(client, (spec, pool), exchange).await?;
    exchange.account.connected_at = Some(Stamp::now());
    exchange.account.phase = Phase::Tunnel;
    let origin = Link::Http1(Rc::new(wire));
    let ahead = ((!received.is_empty()).then_some(received), None);
    let tunnel = Tunnel::new(&client.limits, Speaks::Anything, &client.worker);
    let (passed, fault) = tunnel.relay(&client.link, &origin, ahead).await;
    exchange.account.received = passed.from_client;
    exchange.account.sent = passed.from_origin;
    fault.map_or(Ok(()), Err)
}

/// Connects to an endpoint, or to another one where connections that fail are retried.
async fn connect<'u, F: Filter>(
    client: &Client<F>,
    (spec, pool): (&'u Upstream, &Pool),
    exchange: &mut Loan<F>,
) -> Result<(Wire, Trial<'u>), Fault> {
    let (worker, policy) = (&client.worker, spec.policy.retry.as_deref());
    let policy = policy.filter(|policy| policy.on.connect);
    let mut tried = Tried::default();
    if policy.is_some() {
        spec.state.budget.live(worker.core(), Stamp::now().moment());
    }
    loop {
        let random = worker.ids.borrow_mut().random();
        let choice = pool.choose(&Asked {
            hash: balance::hash_address(client.peer.ip),
            tried,
            ..Asked::of(spec, random)
        })?;
        tried = tried.with(&choice);
        exchange.account.endpoint = Some(Rc::clone(&choice.endpoint));
        let trial = Trial::begin(spec, &choice.endpoint, worker.core(), Wants::default())?;
        let retries = exchange.account.attempts;
        exchange.account.attempts += 1;
        let wait = spec.connect_timeout;
        match Pool::connect(&choice, spec, wait, client.told_ends()).await {
            Ok(wire) => {
                trial.connected();
                return Ok((wire, trial));
            }
            Err(fault) => {
                trial.failed(fault);
                let again = policy.filter(|policy| retries < policy.attempts);
                if !again.is_some_and(|policy| trial.may_spend(policy)) {
                    return Err(fault);
                }
                spec.stats.of(worker.core()).retries.add(1);
            }
        }
    }
}
