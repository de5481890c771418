use std::fmt;
use std::time::Duration;

use backon::ExponentialBuilder;
use reqwest::redirect::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{ByteSize, Error, Result, Span};
use url::Url;

use crate::redact;

/// How HTTP requests are made: the table `[http]` of `tidegate.toml`.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The longest time to wait for a connection.
    pub connect_timeout: Span,
    /// The longest time that one attempt may take, from connecting to the last byte of the body.
    pub request_timeout: Span,
    /// How often a request is made before it counts as failed; 1 means that none is retried.
    /// Only what may go away is tried again: lost connections, time-outs, 408, 429, 5xx.
    pub attempts: u32,
    /// The wait before the second attempt. It doubles with each further one, up to `max_backoff`;
    /// up to as much again is added at random, so that many clients don't return at once.
    pub backoff: Span,
    /// The longest wait between two attempts, before what is added at random.
    pub max_backoff: Span,
    /// The longest wait that is granted to a server that tells how long to wait (`Retry-After`).
    /// Asked for more, the request fails as rate limited.
    pub max_retry_after: Span,
    /// The largest body that is accepted, after unpacking. A whole body is held in memory.
    pub max_response: ByteSize,
    /// How many requests a second are made to one host at most, evenly spaced, by all components of
    /// this process. `0.5` is one every two seconds. Default: any number, but for what a connector knows
    /// of its API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.001))]
    pub rate_limit: Option<f64>,
    /// The address of the proxy for all requests, such as `"http://proxy.example.com:3128"`. With
    /// it, every request goes through the proxy, also to this machine, whatever `NO_PROXY` says.
    /// Default: what the variables `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` say of the kind of
    /// address, but for the hosts in `NO_PROXY`. The address may hold a user and a password, which
    /// are never shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// What requests call themselves.
    pub user_agent: String,
}

tidegate_core::register_settings!("http", HttpSettings);

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Span(Duration::from_secs(10)),
            request_timeout: Span(Duration::from_secs(60)),
            attempts: 5,
            backoff: Span(Duration::from_millis(500)),
            max_backoff: Span(Duration::from_secs(30)),
            max_retry_after: Span(Duration::from_secs(60)),
            max_response: ByteSize(64 << 20),
            rate_limit: None,
            proxy: None,
            user_agent: concat!("tidegate/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl HttpSettings {
    /// How long is waited between attempts, and how often.
    pub(crate) fn retries(&self) -> ExponentialBuilder {
        ExponentialBuilder::new()
            .with_min_delay(self.backoff.0)
            .with_max_delay(self.max_backoff.0)
            .with_max_times(usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX))
            .with_jitter()
    }

    /// A client as these settings ask for.
    ///
    /// Errors: `Config` naming the setting that can't be used.
    pub(crate) fn client(&self, redirects: Policy) -> Result<reqwest::Client> {
        if self.rate_limit.is_some_and(|rate| !is_rate(rate)) {
            return Err(
                Error::config("the setting `rate_limit` of `[http]` is not a rate")
                    .hint("it is the number of requests a second, such as 5 or 0.5"),
            );
        }
        let mut builder = reqwest::Client::builder()
            .redirect(redirects)
            // It would tell one server the parameters that another was asked with.
            .referer(false)
            .connect_timeout(self.connect_timeout.0)
            .timeout(self.request_timeout.0)
            .user_agent(&self.user_agent);
        if let Some(proxy) = &self.proxy {
            // The address may hold a password: the error doesn't quote it.
            let proxy = reqwest::Proxy::all(proxy.as_str()).map_err(|_| {
                Error::config("the setting `proxy` of `[http]` is not an address of a proxy")
                    .hint("write it as \"http://proxy.example.com:3128\"")
            })?;
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|error| {
            Error::config("the settings `[http]` can't be used")
                .hint("`user_agent` may hold visible ASCII only")
                .because(error)
        })
    }
}

/// As it is written, without the proxy's password.
impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proxy = self.proxy.as_deref().map(|proxy| match Url::parse(proxy) {
            Ok(url) if url.has_host() => redact(&url),
            _ => "***".to_owned(),
        });
        let shown = Self {
            proxy,
            ..self.clone()
        };
        let shown = serde_json::to_value(shown).map_err(|_| fmt::Error)?;
        write!(f, "HttpSettings {shown}")
    }
}

/// Whether so many requests a second can be kept: one in 1000 seconds, or more.
pub fn is_rate(per_second: f64) -> bool {
    per_second.is_finite() && per_second >= 0.001
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::ErrorKind;

    #[test]
    fn an_empty_table_is_the_default() {
        let settings: HttpSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, HttpSettings::default());
        assert!(settings.user_agent.starts_with("tidegate/"));
    }

    #[test]
    fn waits_are_random() {
        use backon::BackoffBuilder;
        let waits = || {
            HttpSettings::default()
                .retries()
                .build()
                .collect::<Vec<_>>()
        };
        assert_ne!(waits(), waits());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<HttpSettings>(r#"{"retries": 3}"#).unwrap_err();
        assert!(error.to_string().contains("retries"), "{error}");
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_without_showing_its_password() {
        let settings = HttpSettings {
            proxy: Some("http://me:hunter2@:bad port".into()),
            ..HttpSettings::default()
        };
        let error = settings.client(Policy::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        for (proxy, shown) in [
            (
                "http://me:hunter2@proxy.test:3128",
                "http://***@proxy.test:3128/",
            ),
            ("me:hunter2@proxy.test", "***"),
            ("hunter2", "***"),
        ] {
            let settings = HttpSettings {
                proxy: Some(proxy.into()),
                ..HttpSettings::default()
            };
            let text = format!("{settings:?}");
            assert!(text.contains(&format!("\"proxy\":\"{shown}\"")), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
