//! A bucket: the SDK's client for writing, `object_store`'s for reading.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::{BackoffConfig, CredentialProvider, ObjectStore, RetryConfig};
use tidegate_aws::{Aws, Checksums};
use tidegate_core::{Error, Metrics, Result};
use tokio::runtime::Handle;

use super::answers::ShortAnswers;
use super::complete::Patience;
use super::http::Counting;
use crate::{Access, Location};

/// A bucket as it is written to. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(super) name: String,
    pub(super) client: Client,
    /// The client for what takes long: the bytes of parts, and copies.
    pub(super) carrier: Client,
    pub(super) patience: Patience,
    /// Where uploads go on while nobody waits for them.
    pub(super) runtime: Handle,
    /// Whether parts carry a checksum that the server compares.
    pub(super) checksums: bool,
    /// Whether the transport guards what is sent, so that it needn't be hashed for the signature.
    pub(super) tls: bool,
    pub(super) metrics: Arc<Metrics>,
}

impl Bucket {
    /// The bucket of a location, and the store by which it is read. No request is made.
    pub(crate) async fn open(
        location: &Location,
        access: &Access,
    ) -> Result<(Self, Arc<dyn ObjectStore>)> {
        let aws = Aws::connect(&access.aws, &access.metrics).await?;
        let runtime = Handle::try_current().map_err(|error| {
            Error::internal("S3 can only be reached from a tokio runtime").because(error)
        })?;
        let url = url(&aws, location).await?;
        let config = aws_sdk_s3::config::Builder::from(aws.config())
            .force_path_style(aws.force_path_style())
            .interceptor(ShortAnswers)
            .retry_classifier(ShortAnswers)
            .interceptor(aws.retry_counter());
        let soon = config.clone().timeout_config(soon());
        let bucket = Self {
            name: location.bucket().to_owned(),
            client: Client::from_conf(soon.build()),
            carrier: Client::from_conf(config.build()),
            patience: Patience::default(),
            runtime,
            checksums: aws.settings().checksums == Some(Checksums::WhenSupported),
            tls: url.starts_with("https:"),
            metrics: Arc::clone(&access.metrics),
        };
        let objects = objects(&aws, location, url, access)?;
        Ok((bucket, objects))
    }
}

/// The ends of requests that are small and have small answers; the last is of all attempts of one.
fn soon() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .operation_attempt_timeout(Duration::from_secs(120))
        .operation_timeout(Duration::from_secs(300))
        .build()
}

/// The bucket's address, as the SDK finds it: so both clients go to the same server, in every
/// partition of AWS.
async fn url(aws: &Aws, location: &Location) -> Result<String> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::config("this bucket can't be addressed")
            .with("url", location)
            .hint("a bucket's name has 3 to 63 letters, digits, `-` and `.`")
            .because(error)
    };
    let config = aws.config();
    let params = Params::builder()
        .bucket(location.bucket())
        .region(aws.region())
        .set_endpoint(aws.endpoint("s3"))
        .force_path_style(aws.force_path_style())
        .set_use_fips(config.use_fips())
        .set_use_dual_stack(config.use_dual_stack())
        .build()
        .map_err(|error| failed(error.into()))?;
    let endpoint = DefaultResolver::new();
    let endpoint = endpoint.resolve_endpoint(&params).await.map_err(failed)?;
    Ok(endpoint.url().trim_end_matches('/').to_owned())
}

fn objects(
    aws: &Aws,
    location: &Location,
    url: String,
    access: &Access,
) -> Result<Arc<dyn ObjectStore>> {
    let allow_http = url.starts_with("http:");
    let store = AmazonS3Builder::new()
        .with_bucket_name(location.bucket())
        .with_region(aws.region())
        .with_credentials(Arc::new(Bridge(aws.credentials().clone())))
        // The address has the bucket in it already, which is what this means to `object_store`.
        .with_endpoint(url)
        .with_virtual_hosted_style_request(true)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(250),
                max_backoff: Duration::from_secs(20),
                base: 2.0,
            },
            max_retries: 8,
            retry_timeout: Duration::from_secs(120),
        })
        .with_allow_http(allow_http)
        .with_http_connector(Counting {
            allow_http,
            metrics: Arc::clone(&access.metrics),
        })
        .build();
    store.map(|store| Arc::new(store) as _).map_err(|error| {
        Error::config("this bucket can't be opened")
            .with("url", location)
            .because(error)
    })
}

/// The SDK's credentials for `object_store`.
struct Bridge(SharedCredentialsProvider);

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bridge")
    }
}

#[async_trait]
impl CredentialProvider for Bridge {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        match self.0.provide_credentials().await {
            Ok(credentials) => Ok(Arc::new(AwsCredential {
                key_id: credentials.access_key_id().to_owned(),
                secret_key: credentials.secret_access_key().to_owned(),
                token: credentials.session_token().map(str::to_owned),
            })),
            Err(error) => Err(object_store::Error::Generic {
                store: "S3",
                source: Box::new(error),
            }),
        }
    }
}
