//! What all connectors to AWS share: one credential chain, endpoints, retry settings and one way to
//! explain what went wrong.
//!
//! ```text
//! [aws] in tidegate.toml ─┐
//! `aws` of a component ───┴─> AwsSettings ── (feature `sdk`) Aws::connect ──> SdkConfig ──> clients
//! environment, profile ─────────────────────────────┘
//! ```
//!
//! Without the feature `sdk` there is only [`AwsSettings`], so that the configuration of a
//! connector that may read `s3://` compiles no SDK. With it, a connector makes its client so:
//!
//! ```ignore
//! let aws = Aws::connect(&AwsSettings::of(&cx, config.aws.as_ref())?, &cx.metrics).await?;
//! let conf = aws_sdk_glue::config::Builder::from(aws.config()).interceptor(aws.retry_counter());
//! let glue = aws_sdk_glue::Client::from_conf(conf.build());
//! let table = glue.get_table().send().await.map_err(|e| tidegate_aws::error("read a table", e))?;
//! ```

#[cfg(feature = "sdk")]
mod connect;
#[cfg(feature = "sdk")]
mod credentials;
#[cfg(feature = "sdk")]
mod error;
#[cfg(feature = "sdk")]
mod rds;
#[cfg(feature = "sdk")]
mod refusal;
#[cfg(feature = "sdk")]
mod retries;
mod settings;

#[cfg(feature = "sdk")]
pub use connect::Aws;
#[cfg(feature = "sdk")]
pub use error::{SdkResultExt, credentials_error, error};
#[cfg(feature = "sdk")]
pub use rds::rds_region;
#[cfg(feature = "sdk")]
pub use refusal::Refusal;
#[cfg(feature = "sdk")]
pub use retries::RetryCounter;
pub use settings::{AwsSettings, Checksums, Keys};
