//! From settings to what a client needs.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::service_config::ServiceConfigKey;
use tidegate_core::{Error, Metrics, Result};
use tokio::runtime;

use crate::credentials::{self, Remembered};
use crate::{AwsSettings, Checksums, RetryCounter, retries};

/// Where a server of one's own needs some region in its signatures and none was named.
const ANY_REGION: &str = "us-east-1";

/// The services whose own endpoint variables say that a server of one's own is meant.
const SERVICES: [&str; 5] = ["s3", "glue", "athena", "kinesis", "firehose"];

/// So many different settings are remembered; a process has one or two.
const REMEMBERED: usize = 64;

/// The way to AWS under some settings: region, credentials, endpoints, one HTTP client. Cheap to
/// clone; everyone with the same settings in the same tokio runtime shares it.
#[derive(Debug, Clone)]
pub struct Aws {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Shared {
    settings: AwsSettings,
    config: SdkConfig,
    region: String,
    credentials: SharedCredentialsProvider,
}

/// Settings, the secrets they led to when they were read, and the runtime on which connections
/// live: those of one that has ended are dead.
type Key = (AwsSettings, Option<[String; 3]>, runtime::Id);

static KNOWN: LazyLock<Mutex<HashMap<Key, Arc<Shared>>>> = LazyLock::new(Mutex::default);

impl Aws {
    /// Looks up everything that clients need: the settings first, then where the SDKs look
    /// (environment, profile, web identity, container, instance). Asks for no credentials yet; the
    /// instance's metadata service is asked for the region if nothing else names one.
    ///
    /// Retries of this `Aws`'s clients are counted into `metrics`.
    ///
    /// Errors: `Config` if no region is known and AWS itself is meant, `Auth` if a secret of the
    /// settings can't be read.
    pub async fn connect(settings: &AwsSettings, metrics: &Arc<Metrics>) -> Result<Self> {
        let keys = match &settings.credentials {
            None => None,
            Some(keys) => Some(credentials::read(keys).await?),
        };
        let secrets = keys.as_ref().map(|keys| {
            [
                keys.access_key_id().to_owned(),
                keys.secret_access_key().to_owned(),
                keys.session_token().unwrap_or_default().to_owned(),
            ]
        });
        let here = runtime::Handle::try_current().map_err(|error| {
            Error::internal("AWS can only be reached from a tokio runtime").because(error)
        })?;
        let key = (settings.clone(), secrets, here.id());
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(&key).cloned();
        let shared = match found {
            Some(shared) => shared,
            None => {
                let keys = keys.map(SharedCredentialsProvider::new);
                let shared = Arc::new(Shared::load(settings, keys).await?);
                let mut known = known();
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                Arc::clone(known.entry(key).or_insert(shared))
            }
        };
        Ok(Self {
            shared,
            metrics: Arc::clone(metrics),
        })
    }

    /// What `aws_sdk_…::config::Builder::from` takes.
    pub fn config(&self) -> &SdkConfig {
        &self.shared.config
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &AwsSettings {
        &self.shared.settings
    }

    /// Where retries of its clients are counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What each client is to be given, so that its retries are counted.
    pub fn retry_counter(&self) -> RetryCounter {
        RetryCounter::new(&self.metrics)
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.shared.region
    }

    /// The credentials, remembered until shortly before they expire.
    pub fn credentials(&self) -> &SharedCredentialsProvider {
        &self.shared.credentials
    }

    /// The address of the server that stands for a service (`"s3"`, `"glue"`, `"kinesis"`), as the
    /// SDK finds it: `endpoint_url` of the settings, `AWS_ENDPOINT_URL_<SERVICE>`,
    /// `AWS_ENDPOINT_URL`, the profile's; nothing of these but the first if
    /// `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is set. `None`: AWS itself.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        endpoint(&self.shared.settings, &self.shared.config, service)
    }

    /// Whether a bucket's name stands in the path: as the settings say, else with a server of
    /// one's own.
    pub fn force_path_style(&self) -> bool {
        let said = self.shared.settings.force_path_style;
        said.unwrap_or_else(|| self.endpoint("s3").is_some())
    }
}

impl Shared {
    async fn load(settings: &AwsSettings, keys: Option<SharedCredentialsProvider>) -> Result<Self> {
        let http = aws_smithy_http_client::Builder::new()
            // S3 closes a quiet connection after some 20 s; a request sent then is lost.
            .pool_idle_timeout(Duration::from_secs(15))
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts())
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .upload_enabled(true)
                    .download_enabled(true)
                    .grace_period(Duration::from_secs(20))
                    .build(),
            );
        if let Some(retries) = retries::config() {
            loader = loader.retry_config(retries);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(keys) = keys {
            loader = loader.credentials_provider(keys);
        }
        let (requests, responses) = checksums(settings.checksums);
        if let Some(requests) = requests {
            loader = loader.request_checksum_calculation(requests);
        }
        if let Some(responses) = responses {
            loader = loader.response_checksum_validation(responses);
        }
        let config = loader.load().await;

        let mut elsewhere = SERVICES.iter();
        let region = match config.region() {
            Some(region) => region.to_string(),
            None if elsewhere.any(|service| endpoint(settings, &config, service).is_some()) => {
                ANY_REGION.to_owned()
            }
            None => {
                return Err(Error::config("no AWS region is known").hint(
                    "set `region` under [aws] in tidegate.toml, or AWS_REGION, or `region` in the \
                     profile",
                ));
            }
        };
        let Some(source) = config.credentials_provider() else {
            return Err(Error::internal("the AWS SDK made no credential chain"));
        };
        let credentials = SharedCredentialsProvider::new(Remembered::new(source));
        let config = config
            .into_builder()
            .region(Region::new(region.clone()))
            .credentials_provider(credentials.clone())
            .build();
        Ok(Self {
            settings: settings.clone(),
            config,
            region,
            credentials,
        })
    }
}

/// An attempt's ends. A part of an upload may be large and the line thin, so the attempt as a whole
/// has much time; that bytes move is watched by the stalled stream protection.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(300))
        .operation_attempt_timeout(Duration::from_secs(900))
        .build()
}

/// When checksums are made and compared; `None`: what the environment or the profile says.
fn checksums(
    said: Option<Checksums>,
) -> (
    Option<RequestChecksumCalculation>,
    Option<ResponseChecksumValidation>,
) {
    // A server other than AWS may refuse requests that carry what it doesn't know.
    let unless = |name| match std::env::var_os(name) {
        Some(_) => None,
        None => Some(Checksums::WhenRequired),
    };
    let requests = said.or_else(|| unless("AWS_REQUEST_CHECKSUM_CALCULATION"));
    let responses = said.or_else(|| unless("AWS_RESPONSE_CHECKSUM_VALIDATION"));
    (
        requests.map(|when| match when {
            Checksums::WhenRequired => RequestChecksumCalculation::WhenRequired,
            Checksums::WhenSupported => RequestChecksumCalculation::WhenSupported,
        }),
        responses.map(|when| match when {
            Checksums::WhenRequired => ResponseChecksumValidation::WhenRequired,
            Checksums::WhenSupported => ResponseChecksumValidation::WhenSupported,
        }),
    )
}

fn endpoint(settings: &AwsSettings, config: &SdkConfig, service: &str) -> Option<String> {
    if settings.endpoint_url.is_some() {
        return settings.endpoint_url.clone();
    }
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = key.ok().and_then(|key| {
        let services = config.service_config()?;
        services.load_config(key)
    });
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use aws_credential_types::provider::ProvideCredentials;
    use serde_json::json;
    use tidegate_core::ErrorKind;

    use super::*;

    fn settings(secret: &std::path::Path) -> AwsSettings {
        serde_json::from_value(json!({
            "endpoint_url": "http://127.0.0.1:1",
            "credentials": {
                "access_key_id": "name",
                "secret_access_key": { "file": secret },
            },
        }))
        .unwrap()
    }

    async fn secret_of(aws: &Aws) -> String {
        let keys = aws.credentials().provide_credentials().await.unwrap();
        keys.secret_access_key().to_owned()
    }

    #[tokio::test]
    async fn equal_settings_share_one_client_until_their_secret_changes() {
        let dir = std::env::temp_dir().join(format!("tidegate-aws-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("secret");
        std::fs::write(&file, "one\n").unwrap();
        let metrics = Arc::default();
        let a = Aws::connect(&settings(&file), &metrics).await.unwrap();
        let b = Aws::connect(&settings(&file), &metrics).await.unwrap();
        assert!(Arc::ptr_eq(&a.shared, &b.shared));
        assert_eq!(secret_of(&a).await, "one");
        std::fs::write(&file, "two\n").unwrap();
        let c = Aws::connect(&settings(&file), &metrics).await.unwrap();
        assert_eq!(secret_of(&c).await, "two");
        assert!(!format!("{c:?}").contains("two"));
        std::fs::remove_dir_all(&dir).unwrap();
        let error = Aws::connect(&settings(&file), &metrics).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
    }

    #[tokio::test]
    async fn a_server_of_ones_own_implies_path_style_and_needs_no_region() {
        let own = AwsSettings {
            endpoint_url: Some("http://127.0.0.1:1".into()),
            ..AwsSettings::default()
        };
        let aws = Aws::connect(&own, &Arc::default()).await.unwrap();
        assert_eq!(aws.endpoint("glue").as_deref(), Some("http://127.0.0.1:1"));
        assert!(aws.force_path_style());
        assert!(!aws.region().is_empty());
        let virtual_hosts = AwsSettings {
            force_path_style: Some(false),
            ..own
        };
        let aws = Aws::connect(&virtual_hosts, &Arc::default()).await.unwrap();
        assert!(!aws.force_path_style());
    }
}
