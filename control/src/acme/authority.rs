//! The account at an authority: made once, kept in storage, found again after a restart.

use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AccountCredentials, CertificateIdentifier, Error as AcmeError, NewAccount,
};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Settings;
use super::certificate::Leaf;
use super::failure::{Failure, FailureKind};
use super::https::Https;
use super::schedule::Window;
use super::storage::Storage;

/// An authority that knows us.
pub(super) struct Authority {
    pub(super) account: Account,
    https: Https,
}

impl Authority {
    /// With the account in storage, or with a new one that is put there.
    pub(super) async fn enter(settings: &Settings, storage: &Storage) -> Result<Self, Failure> {
        match Self::known(settings, storage).await? {
            Some(authority) => Ok(authority),
            None => Self::introduce(settings, storage).await,
        }
    }

    /// With the account in storage, if there is one.
    pub(super) async fn known(
        settings: &Settings,
        storage: &Storage,
    ) -> Result<Option<Self>, Failure> {
        let url = settings.directory.clone();
        let text = blocking(storage, move |storage| storage.account(&url)).await?;
        let Some(kept) = text.and_then(|text| serde_json::from_str::<Kept>(&text).ok()) else {
            return Ok(None);
        };
        if kept.directory != settings.directory {
            return Ok(None);
        }
        let https = Https::new(settings.ca.as_deref())?;
        let account = Account::builder_with_http(Box::new(https.clone()))
            .from_credentials(kept.credentials)
            .await;
        let authority = Self {
            account: account.map_err(|error| failed(&https, "asking for the directory", error))?,
            https,
        };
        if kept.contact != settings.contact {
            authority.tell_contact(settings, storage).await;
        }
        Ok(Some(authority))
    }

    async fn introduce(settings: &Settings, storage: &Storage) -> Result<Self, Failure> {
        // What lies there is no account that can be used, or there would be no need for one.
        let url = settings.directory.clone();
        blocking(storage, move |storage| storage.set_account_aside(&url)).await?;
        let https = Https::new(settings.ca.as_deref())?;
        let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
        let request = NewAccount {
            contact: &contact,
            // The configuration is refused without `acme.terms_agreed`.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = Account::builder_with_http(Box::new(https.clone()))
            .create(&request, settings.directory.clone(), None)
            .await;
        let (account, credentials) =
            made.map_err(|error| failed(&https, "making an account", error))?;
        keep(settings, storage, credentials).await?;
        info!(
            directory = settings.directory,
            account = account.id(),
            "account made with the certificate authority"
        );
        Ok(Self { account, https })
    }

    /// Says once whom the authority may write to now. A refusal stands in nobody's way.
    async fn tell_contact(&self, settings: &Settings, storage: &Storage) {
        let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
        if let Err(error) = self.account.update_contacts(&contact).await {
            let error = self.failed("changing the contact", error);
            warn!(%error, "the certificate authority does not take acme.contact; it is told again with the next order");
            return;
        }
        let url = settings.directory.clone();
        let contact = settings.contact.clone();
        let told = blocking(storage, move |storage| {
            let text = storage.account(&url)?.unwrap_or_default();
            let Ok(mut kept) = serde_json::from_str::<Kept>(&text) else {
                return Ok(());
            };
            kept.contact = contact;
            storage.keep_account(&url, &written(&kept))
        });
        if let Err(error) = told.await {
            warn!(%error, "the changed contact could not be noted");
        }
    }

    /// When the authority would have `leaf` renewed, and how long it wants not to be asked
    /// again. `None` where it has no opinion.
    pub(super) async fn window(&self, leaf: &Leaf) -> Result<Option<(Window, Duration)>, Failure> {
        let Ok(id) = CertificateIdentifier::try_from(&leaf.der) else {
            return Ok(None);
        };
        match self.account.renewal_info(&id).await {
            Ok((info, again)) => {
                let window = Window {
                    start: SystemTime::from(info.suggested_window.start),
                    end: SystemTime::from(info.suggested_window.end),
                };
                Ok(Some((window, again)))
            }
            Err(AcmeError::Unsupported(_)) => Ok(None),
            Err(error) => Err(self.failed("asking when to renew", error)),
        }
    }

    pub(super) fn failed(&self, doing: &str, error: AcmeError) -> Failure {
        failed(&self.https, doing, error)
    }
}

/// The account as it lies in storage.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    contact: Vec<String>,
    credentials: AccountCredentials,
}

async fn keep(
    settings: &Settings,
    storage: &Storage,
    credentials: AccountCredentials,
) -> Result<(), Failure> {
    let kept = Kept {
        directory: settings.directory.clone(),
        contact: settings.contact.clone(),
        credentials,
    };
    blocking(storage, move |storage| {
        storage.keep_account(&kept.directory, &written(&kept))
    })
    .await
}

fn written(kept: &Kept) -> String {
    serde_json::to_string_pretty(kept).expect("strings as JSON")
}

fn failed(https: &Https, doing: &str, error: AcmeError) -> Failure {
    Failure::of(doing, error, https.take_retry_after())
}

/// Storage waits for a disk, which the control thread must not.
pub(super) async fn blocking<T: Send + 'static>(
    storage: &Storage,
    work: impl FnOnce(&Storage) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let storage = storage.clone();
    let done = tokio::task::spawn_blocking(move || work(&storage)).await;
    done.unwrap_or_else(|error| Err(Failure::new(FailureKind::Storage, error)))
}
