//! How Athena is asked, wherever that is said: in `[athena]` or by a source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_core::{Context, Error, Result, Span};

/// Athena reuses no result that is older (API reference, `MaxAgeInMinutes`): a week.
const LONGEST_REUSE: u64 = 10_080;

/// How Athena runs queries where nothing else is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AthenaSettings {
    /// The workgroup. Its own settings may come before these. Default: `primary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workgroup: Option<String>,

    /// The database of tables that are named without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,

    /// The data catalog of databases that are named without one. Default: `AwsDataCatalog`, which
    /// is Glue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,

    /// The directory for Athena's own result files: `"s3://my-bucket/athena-results"`. Not needed if
    /// the workgroup has one. Athena leaves its files there; a lifecycle rule of the bucket can
    /// remove them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,

    /// How old a result of the very same query may be to be given again instead of running it:
    /// `"60m"`, in whole minutes, at most 7 days. Such a result costs nothing and may be stale:
    /// Athena doesn't look whether the tables have changed. Default: every query is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Span>,

    /// What Athena charges for a terabyte scanned, in your region and currency. Only with it is an
    /// estimate of a query's cost shown. See <https://aws.amazon.com/athena/pricing/>.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_tb: Option<f64>,

    /// How AWS is reached, where it differs from `[aws]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

tidegate_core::register_settings!("athena", AthenaSettings);

impl AthenaSettings {
    /// The settings `[athena]` of `tidegate.toml` with `own` laid over them.
    ///
    /// Errors: `Config`.
    pub fn of(cx: &Context, own: Self) -> Result<Self> {
        let shared: Self = cx.settings("athena")?;
        Ok(Self {
            workgroup: own.workgroup.or(shared.workgroup),
            database: own.database.or(shared.database),
            catalog: own.catalog.or(shared.catalog),
            output: own.output.or(shared.output),
            reuse: own.reuse.or(shared.reuse),
            price_per_tb: own.price_per_tb.or(shared.price_per_tb),
            aws: match (own.aws, shared.aws) {
                (Some(own), Some(shared)) => Some(own.or(shared)),
                (own, shared) => own.or(shared),
            },
        })
    }

    /// Checks what the JSON Schema can't. No I/O. Errors: `Config`.
    pub fn validate(&self) -> Result<()> {
        self.reuse_minutes()?;
        self.output_directory()?;
        let empty = |text: &Option<String>| text.as_deref().is_some_and(|t| t.trim().is_empty());
        for (key, text) in [
            ("workgroup", &self.workgroup),
            ("database", &self.database),
            ("catalog", &self.catalog),
        ] {
            if empty(text) {
                return Err(Error::config(format!("`{key}` is empty"))
                    .with("key", key)
                    .hint("leave it out for the default"));
            }
        }
        if self
            .price_per_tb
            .is_some_and(|price| price.is_nan() || price < 0.0)
        {
            return Err(Error::config("`price_per_tb` is negative").with("key", "price_per_tb"));
        }
        Ok(())
    }

    /// `reuse` as Athena wants it; `None` if results aren't to be reused.
    pub(crate) fn reuse_minutes(&self) -> Result<Option<i32>> {
        let Some(Span(age)) = self.reuse else {
            return Ok(None);
        };
        let wrong = |message: &str| {
            Err(Error::config(message)
                .with("key", "reuse")
                .hint("write it in whole minutes, at most \"7days\""))
        };
        if age.subsec_nanos() != 0 || age.as_secs() % 60 != 0 {
            return wrong("`reuse` is no whole number of minutes");
        }
        match age.as_secs() / 60 {
            0 => Ok(None),
            minutes if minutes > LONGEST_REUSE => wrong("`reuse` is longer than 7 days"),
            minutes => match i32::try_from(minutes) {
                Ok(minutes) => Ok(Some(minutes)),
                Err(_) => wrong("`reuse` is longer than 7 days"),
            },
        }
    }

    /// `output` with a `/` at its end.
    pub(crate) fn output_directory(&self) -> Result<Option<String>> {
        let Some(output) = &self.output else {
            return Ok(None);
        };
        match output.strip_prefix("s3://") {
            Some(place) if !place.is_empty() && !place.starts_with('/') => {
                Ok(Some(format!("{}/", output.trim_end_matches('/'))))
            }
            _ => Err(Error::config("`output` is not a directory on S3")
                .with("key", "output")
                .with("output", output)
                .hint("write it as \"s3://my-bucket/athena-results\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn reuse(text: &str) -> Result<Option<i32>> {
        let settings = AthenaSettings {
            reuse: Some(text.parse().unwrap()),
            ..AthenaSettings::default()
        };
        settings.validate()?;
        settings.reuse_minutes()
    }

    #[test]
    fn reuse_is_whole_minutes_up_to_a_week() {
        assert_eq!(reuse("60m").unwrap(), Some(60));
        assert_eq!(reuse("7days").unwrap(), Some(10_080));
        assert_eq!(reuse("0s").unwrap(), None);
        assert!(reuse("90s").is_err());
        assert!(reuse("7days 1m").is_err());
    }

    #[test]
    fn output_is_a_directory_on_s3() {
        let output = |text: &str| {
            let settings = AthenaSettings {
                output: Some(text.to_owned()),
                ..AthenaSettings::default()
            };
            settings.output_directory()
        };
        assert_eq!(output("s3://b").unwrap().unwrap(), "s3://b/");
        assert_eq!(output("s3://b/a//").unwrap().unwrap(), "s3://b/a/");
        for wrong in ["", "b/a", "s3://", "s3:///a", "https://b/a"] {
            assert!(output(wrong).is_err(), "{wrong}");
        }
    }
}
