//! What a place needs to be reached.

use std::sync::Arc;

use tidegate_aws::AwsSettings;
use tidegate_core::{Context, Metrics, Result};

/// What a place needs to be reached: settings, credentials, where retries are counted.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    not(feature = "s3"),
    expect(dead_code, reason = "only S3 needs anything")
)]
pub struct Access {
    pub(crate) aws: AwsSettings,
    pub(crate) metrics: Arc<Metrics>,
}

impl Access {
    /// The access of a component: the settings `[aws]` with its own `aws` laid over them.
    pub fn of(cx: &Context, aws: Option<&AwsSettings>) -> Result<Self> {
        Ok(Self {
            aws: AwsSettings::of(cx, aws)?,
            metrics: Arc::clone(&cx.metrics),
        })
    }
}
