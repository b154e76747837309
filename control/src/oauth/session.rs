//! One client: its token is got, used and replaced, over and over.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::Client;
use super::fetch::{Fetcher, Granted};
use crate::backoff::{Backoff, jittered, random_fraction};
use crate::counters::Counters;

/// Keeps a token at its place for as long as it runs.
pub(super) async fn run(client: Client, counters: Arc<Counters>) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut fails = false;
    let mut fetcher = None;
    loop {
        let pause = match fetch(&client, &mut fetcher).await {
            Ok(granted) => {
                backoff.reset();
                let ends = SystemTime::now() + granted.lifetime;
                client.place.put(&granted.token, ends);
                let pause = refresh_after(granted.lifetime, random_fraction());
                counters.oauth.granted(&client.name, ends, pause);
                if std::mem::take(&mut fails) {
                    info!(
                        oauth_client = &*client.name,
                        "the gateway's own token for origins is there again"
                    );
                }
                pause
            }
            Err(failure) => {
                let pause = jittered(backoff.step());
                counters.oauth.failed(&client.name, &failure, pause);
                if !std::mem::replace(&mut fails, true) {
                    warn!(
                        oauth_client = &*client.name,
                        cause = failure,
                        "the gateway cannot get its own token for origins: the last one is used until it ends, then requests get 503; it is tried again in the background"
                    );
                }
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn fetch(client: &Client, fetcher: &mut Option<Fetcher>) -> Result<Granted, String> {
    // The roots may be mended meanwhile.
    let ready = match fetcher.take() {
        Some(ready) => ready,
        None => Fetcher::new(client)?,
    };
    let granted = ready.fetch(client).await;
    *fetcher = Some(ready);
    granted
}

/// When a token is replaced that lives so long: behind four fifths of its life and somewhat
/// earlier by chance, so that a fleet does not ask in step, and never in a hurry.
fn refresh_after(lifetime: Duration, chance: f64) -> Duration {
    let share = lifetime.mul_f64(0.8 - 0.1 * chance);
    share.clamp(REFRESH_MIN, REFRESH_MAX)
}

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
const REFRESH_MIN: Duration = Duration::from_millis(500);
/// What was revoked at the server is noticed some time.
const REFRESH_MAX: Duration = Duration::from_secs(12 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_replaced_before_they_end() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(refresh_after(hour, 0.0), hour.mul_f64(0.8));
        assert!(refresh_after(hour, 0.999) >= hour.mul_f64(0.7));
        assert_eq!(refresh_after(Duration::ZERO, 0.5), REFRESH_MIN);
        assert_eq!(refresh_after(hour * 1_000, 0.5), REFRESH_MAX);
    }
}
