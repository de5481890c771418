//! How failed requests are tried again, and where that is counted.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::RetryConfig;
use tidegate_core::Metrics;

/// Eight attempts wait for about half a minute in all: longer than a busy partition of S3 needs to
/// answer again, shorter than anyone's patience. What lasts longer is the runtime's to retry.
const ATTEMPTS: u32 = 8;

/// Adaptive: after a throttled answer all of a service's requests are sent more slowly, until it
/// throttles no more.
///
/// `None` if the environment says something else, by the SDKs' own variables.
pub(crate) fn config() -> Option<RetryConfig> {
    let said = ["AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"];
    if said.iter().any(|name| std::env::var_os(name).is_some()) {
        return None;
    }
    Some(
        RetryConfig::adaptive()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(Duration::from_millis(250))
            .with_max_backoff(Duration::from_secs(20)),
    )
}

/// Counts every attempt of a request after its first into a component's metrics.
///
/// Each client gets it: `aws_sdk_s3::config::Builder::interceptor(aws.retry_counter())`.
#[derive(Debug, Clone)]
pub struct RetryCounter(Arc<Metrics>);

impl RetryCounter {
    /// A counter into these metrics.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self(Arc::clone(metrics))
    }
}

impl Intercept for RetryCounter {
    fn name(&self) -> &'static str {
        "RetryCounter"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if bag
            .load::<RequestAttempts>()
            .is_some_and(|attempt| attempt.attempts() > 1)
        {
            self.0.retries(1);
        }
        Ok(())
    }
}
