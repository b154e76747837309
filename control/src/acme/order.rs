//! One order, from the names to the chain. What is shown to the authority meanwhile is taken
//! back however the order ends.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeHandle,
    ChallengeType, Error as AcmeError, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::authority::Authority;
use super::certificate::{self, Leaf, Request};
use super::failure::{Failure, FailureKind, problem_text};
use super::{ChallengeKind, Names, Proof};
use crate::node::Node;

/// A chain and its key, both in PEM, that fit each other and the order.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) leaf: Leaf,
}

/// What to order.
pub(super) struct Wanted<'a> {
    pub(super) names: &'a Names,
    pub(super) challenge: ChallengeKind,
    /// The certificate whose place it takes, where the authority wants to know (RFC 9773
    /// section 5).
    pub(super) replaces: Option<&'a Leaf>,
}

/// Orders a certificate and waits for it.
pub(super) async fn place(
    authority: &Authority,
    wanted: Wanted<'_>,
    node: &Arc<dyn Node>,
) -> Result<Issued, Failure> {
    let work = Box::pin(run(authority, wanted, node));
    tokio::time::timeout(ORDER_MAX, work)
        .await
        .unwrap_or_else(|_| {
            let text = format!("the order has not come to an end within {ORDER_MAX:?}");
            Err(Failure::new(FailureKind::Authority, text))
        })
}

async fn run(
    authority: &Authority,
    wanted: Wanted<'_>,
    node: &Arc<dyn Node>,
) -> Result<Issued, Failure> {
    let names = wanted.names.all();
    let mut order = open(authority, &wanted).await?;
    let mut shown = Shown::new(node);
    prove(authority, &mut order, wanted.challenge, &mut shown).await?;
    match order.poll_ready(&VERIFICATION).await {
        Ok(OrderStatus::Invalid) => return Err(reasons(&mut order, None).await),
        Ok(_) => {}
        Err(AcmeError::Api(problem)) => {
            return Err(reasons(&mut order, Some(problem_text(&problem))).await);
        }
        Err(error) => return Err(authority.failed("waiting for the verification", error)),
    }
    drop(shown);
    let request = Request::new(names)
        .map_err(|error| Failure::new(FailureKind::Authority, format!("making a key: {error}")))?;
    order
        .finalize_csr(&request.csr)
        .await
        .map_err(|error| authority.failed("asking for the certificate", error))?;
    let chain = order
        .poll_certificate(&ISSUANCE)
        .await
        .map_err(|error| authority.failed("waiting for the certificate", error))?;
    let leaf = Leaf::of(&chain).map_err(|error| {
        let text = format!("the authority's certificate cannot be read: {error}");
        Failure::new(FailureKind::Authority, text)
    })?;
    if !leaf.belongs_to(&request.key) || !leaf.covers(names) {
        let text = "the authority's certificate is for other names or for another key";
        return Err(Failure::new(FailureKind::Authority, text));
    }
    Ok(Issued {
        chain,
        key: request.key,
        leaf,
    })
}

async fn open(authority: &Authority, wanted: &Wanted<'_>) -> Result<Order, Failure> {
    let names = wanted.names.all().iter().cloned();
    let identifiers: Vec<_> = names.map(Identifier::Dns).collect();
    let mut request = NewOrder::new(&identifiers);
    if let Some(leaf) = wanted.replaces
        && let Ok(id) = CertificateIdentifier::try_from(&leaf.der)
    {
        request = request.replaces(id);
    }
    let order = authority.account.new_order(&request).await;
    order.map_err(|error| authority.failed("ordering", error))
}

/// Shows a proof for every name that still needs one, and says so.
async fn prove(
    authority: &Authority,
    order: &mut Order,
    kind: ChallengeKind,
    shown: &mut Shown<'_>,
) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization =
            authorization.map_err(|error| authority.failed("asking for the challenges", error))?;
        let name = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Pending => {}
            // From an order before, which authorities remember for a while.
            AuthorizationStatus::Valid => continue,
            status => {
                let text = format!("{name}: the authorisation is {status:?} from the start");
                return Err(Failure::new(FailureKind::Refused, text));
            }
        }
        let mut challenge = challenge(&mut authorization, kind, &name)?;
        shown.show(proof(&challenge, kind, &name)?)?;
        let doing = format!("{name}: asking for the verification");
        challenge
            .set_ready()
            .await
            .map_err(|error| authority.failed(&doing, error))?;
    }
    Ok(())
}

fn challenge<'a>(
    authorization: &'a mut AuthorizationHandle<'a>,
    kind: ChallengeKind,
    name: &str,
) -> Result<ChallengeHandle<'a>, Failure> {
    let (wanted, word) = match kind {
        ChallengeKind::Http01 => (ChallengeType::Http01, "http-01"),
        ChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    authorization.challenge(wanted).ok_or_else(|| {
        let text = format!(
            "{name}: the authority does not verify it by {word}; set acme.challenge to the other kind"
        );
        Failure::new(FailureKind::Refused, text)
    })
}

fn proof(
    challenge: &ChallengeHandle<'_>,
    kind: ChallengeKind,
    name: &str,
) -> Result<Proof, Failure> {
    let authorisation = challenge.key_authorization();
    match kind {
        ChallengeKind::Http01 => Ok(Proof::Http01 {
            token: challenge.token.clone(),
            key_authorisation: authorisation.as_str().to_owned(),
        }),
        ChallengeKind::TlsAlpn01 => {
            let made = certificate::tls_alpn01(name, authorisation.digest().as_ref());
            let (certificate, key) = made.map_err(|error| {
                let text = format!("{name}: making the challenge's certificate: {error}");
                Failure::new(FailureKind::Authority, text)
            })?;
            Ok(Proof::TlsAlpn01 {
                name: name.to_owned(),
                certificate,
                key,
            })
        }
    }
}

/// Why an order failed: the authority says it of each name.
async fn reasons(order: &mut Order, summary: Option<String>) -> Failure {
    let mut told = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            break;
        }
        let name = authorization.identifier().to_string();
        for problem in authorization
            .challenges
            .iter()
            .filter_map(|c| c.error.as_ref())
        {
            told.push(format!("{name}: {}", problem_text(problem)));
        }
    }
    let text = match (told.is_empty(), summary) {
        (false, _) => told.join("; "),
        (true, Some(summary)) => summary,
        (true, None) => "the authority gives no reason".to_owned(),
    };
    Failure::new(FailureKind::Refused, format_args!("not verified: {text}"))
}

/// What the node shows for one order; taken back when this is dropped.
struct Shown<'a> {
    node: &'a Arc<dyn Node>,
    proofs: Vec<Proof>,
}

impl<'a> Shown<'a> {
    fn new(node: &'a Arc<dyn Node>) -> Self {
        Self {
            node,
            proofs: Vec::new(),
        }
    }

    fn show(&mut self, proof: Proof) -> Result<(), Failure> {
        self.node.prove(&proof).map_err(|error| {
            Failure::new(FailureKind::Authority, format_args!("{proof:?}: {error}"))
        })?;
        self.proofs.push(proof);
        Ok(())
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        for proof in &self.proofs {
            self.node.withdraw(proof);
        }
    }
}

/// A whole order with all its verifications.
const ORDER_MAX: Duration = Duration::from_secs(300);
/// Authorities look from several places; the pause between questions grows meanwhile.
const VERIFICATION: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));
const ISSUANCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));
