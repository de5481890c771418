//! Credentials that are asked for once and used until they expire.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use tidegate_core::{Context, Result};
use tokio::sync::Mutex;

use crate::Keys;

/// So long before their end credentials are asked for again.
const BEFORE_EXPIRY: Duration = Duration::from_secs(60);

/// How long credentials that name no end are used before the chain is asked again: someone may
/// have put others in their place.
const WITHOUT_EXPIRY: Duration = Duration::from_secs(15 * 60);

/// A provider that remembers what another one gave. Those who ask at the same time wait for one
/// answer.
pub(crate) struct Remembered {
    source: SharedCredentialsProvider,
    known: Arc<Mutex<Option<(Credentials, SystemTime)>>>,
}

impl Remembered {
    pub(crate) fn new(source: SharedCredentialsProvider) -> Self {
        Self {
            source,
            known: Arc::default(),
        }
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remembered({:?})", self.source)
    }
}

impl ProvideCredentials for Remembered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let mut known = self.known.lock().await;
            let now = SystemTime::now();
            if let Some((credentials, until)) = &*known
                && now < *until
            {
                return Ok(credentials.clone());
            }
            let credentials = match self.source.provide_credentials().await {
                Ok(credentials) => credentials,
                // What asks for it may be down for a moment, while the old ones still hold.
                Err(error) => match (&error, &*known) {
                    (
                        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_),
                        Some((credentials, _)),
                    ) if credentials.expiry().is_some_and(|end| now < end) => {
                        return Ok(credentials.clone());
                    }
                    _ => return Err(error),
                },
            };
            let until = match credentials.expiry() {
                Some(end) => end.checked_sub(BEFORE_EXPIRY).unwrap_or(end),
                None => now + WITHOUT_EXPIRY,
            };
            *known = Some((credentials.clone(), until));
            Ok(credentials)
        })
    }
}

/// The keys that stand in the settings.
pub(crate) async fn read(keys: &Keys) -> Result<Credentials> {
    let keys = keys.clone();
    let read = move || {
        // Paths are absolute since `AwsSettings::of`, so it makes no difference where this is.
        let cx = Context::detached(Path::new("/"), Arc::default())?;
        let token = keys.session_token.as_ref();
        let token = token.map(|token| token.resolve(&cx)).transpose()?;
        Ok(Credentials::new(
            &keys.access_key_id,
            keys.secret_access_key.resolve(&cx)?.expose(),
            token.map(|token| token.expose().to_owned()),
            None,
            "tidegate settings",
        ))
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(credentials) => credentials,
        Err(error) => {
            Err(tidegate_core::Error::internal("reading keys did not end").because(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Counted(Arc<AtomicUsize>, Option<Duration>);

    impl ProvideCredentials for Counted {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.0.fetch_add(1, Ordering::Relaxed);
            let end = self.1.map(|left| SystemTime::now() + left);
            future::ProvideCredentials::ready(match (asked, end) {
                (1.., Some(_)) => Err(CredentialsError::provider_error("down")),
                _ => Ok(Credentials::new("a", "b", None, end, "test")),
            })
        }
    }

    fn remembered(left: Option<Duration>) -> (Arc<AtomicUsize>, Remembered) {
        let asked = Arc::default();
        let source = SharedCredentialsProvider::new(Counted(Arc::clone(&asked), left));
        (asked, Remembered::new(source))
    }

    #[tokio::test]
    async fn credentials_are_asked_for_once() {
        let (asked, provider) = remembered(None);
        let all = (0..8).map(|_| async { provider.provide_credentials().await.is_ok() });
        for one in all {
            assert!(one.await);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_still_holds_bridges_a_failure() {
        let (asked, provider) = remembered(Some(Duration::from_secs(30)));
        assert!(provider.provide_credentials().await.is_ok());
        assert!(provider.provide_credentials().await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let (_, provider) = remembered(Some(Duration::ZERO));
        assert!(provider.provide_credentials().await.is_ok());
        assert!(provider.provide_credentials().await.is_err());
    }
}
