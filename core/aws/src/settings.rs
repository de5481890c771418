//! The settings, as they stand in `tidegate.toml` and in a component's `aws`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Context, Result, Secret};

/// How AWS, or a server that speaks its protocols, is reached.
///
/// What isn't set here comes from where the AWS SDKs look: `AWS_REGION`, `AWS_PROFILE`,
/// `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3` and the like, then the profile's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwsSettings {
    /// The region: `"eu-west-1"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// Another server than AWS, for all services: `"http://127.0.0.1:8333"`. Implies
    /// `force_path_style`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,

    /// The profile of `~/.aws/config` and `~/.aws/credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,

    /// Whether a bucket's name stands in the path (`https://server/bucket/key`) rather than in the
    /// host's name. Default: with an endpoint of one's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,

    /// When uploads carry a checksum besides the one of their transport. Default:
    /// `"when_required"`, because servers other than AWS refuse what they don't know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksums: Option<Checksums>,

    /// Keys of their own, for servers other than AWS. Default: the SDK's chain (environment,
    /// profile, SSO, web identity, instance metadata).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Keys>,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The key's name, which is no secret.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// The token of keys that expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
}

impl Keys {
    fn make_absolute(&mut self, cx: &Context) {
        let secrets = std::iter::once(&mut self.secret_access_key).chain(&mut self.session_token);
        for secret in secrets {
            if let Secret::File(path) = secret {
                *path = cx.path(&*path);
            }
        }
    }
}

/// When uploads carry a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksums {
    /// Where the operation demands it.
    WhenRequired,
    /// Wherever the operation knows it.
    WhenSupported,
}

tidegate_core::register_settings!("aws", AwsSettings);

impl AwsSettings {
    /// The settings `[aws]` of `tidegate.toml` with a component's own laid over them; the paths of
    /// secrets are made absolute, so that equal settings mean the same.
    pub fn of(cx: &Context, own: Option<&Self>) -> Result<Self> {
        let shared: Self = cx.settings("aws")?;
        let mut settings = match own {
            None => shared,
            Some(own) => own.clone().or(shared),
        };
        if let Some(keys) = &mut settings.credentials {
            keys.make_absolute(cx);
        }
        Ok(settings)
    }

    /// These, and the others where these say nothing.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            region: self.region.or(others.region),
            endpoint_url: self.endpoint_url.or(others.endpoint_url),
            profile: self.profile.or(others.profile),
            force_path_style: self.force_path_style.or(others.force_path_style),
            checksums: self.checksums.or(others.checksums),
            credentials: self.credentials.or(others.credentials),
        }
    }
}
