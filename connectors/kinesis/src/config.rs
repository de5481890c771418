//! The source as it stands in a pipeline file.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::AwsSettings;
use tidegate_core::{
    Error, Result, Source, SourceConfig, SourceContext, Span, async_trait, typetag,
};

use crate::source::KinesisSource;

/// Reads the records of an Amazon Kinesis data stream, each as a row of the stream `records`.
///
/// | column | type | what it is |
/// |---|---|---|
/// | `payload` | binary | the record's data |
/// | `partition_key` | string | the key that the producer gave it; NULL if it gave none |
/// | `sequence_number` | string | the record's number, which grows within a shard |
/// | `sub_sequence` | int64 | the index within an aggregated record, from 0; NULL for a plain record |
/// | `shard_id` | string | the shard |
/// | `arrival_time` | timestamp_ms | when Kinesis took it, about; it doesn't always grow. NULL if it isn't told |
///
/// Records that the Kinesis Producer Library has aggregated are taken apart. All that is in them is
/// given: after a resharding, that library may send some of it twice.
///
/// Each shard is read on its own; what resharding makes of a shard is read when all of that shard was
/// read, so rows of one partition key come in their order as far as the pipeline keeps order. Positions
/// are kept in the pipeline's state; no lease table is needed, and no other consumer is
/// disturbed but by the share of the limits that reading takes: 5 requests and 2 MB a second for each shard.
/// Requests are paced to that, and retried later when Kinesis refuses them because of others.
///
/// The permissions that are needed: `kinesis:DescribeStreamSummary`, `kinesis:ListShards`,
/// `kinesis:GetShardIterator`, `kinesis:GetRecords`, and `kms:Decrypt` for a stream that is encrypted with
/// a key of one's own.
///
/// How far a shard is behind is logged once a minute where it is more than a minute
/// (`millis_behind`), and with each page at the level `debug`.
///
/// ```toml
/// [sources.clicks]
/// type = "kinesis"
/// stream = "clicks"
/// start = { at_timestamp = "2026-12-01T00:00:00Z" } # or "latest"
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KinesisConfig {
    /// The stream's name, or its ARN (`"arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"`).
    pub stream: String,

    /// Where the first run begins; `{ at_timestamp = "2026-12-01T00:00:00Z" }`: with what came at that
    /// time or later. Later runs resume where the last one ended.
    #[serde(default)]
    pub start: Start,

    /// Where a run ends. Default: it doesn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,

    /// What is done when records may have expired before they were read: the pipeline stood still for
    /// longer than the stream keeps records.
    #[serde(default)]
    pub on_loss: OnLoss,

    /// How records come.
    #[serde(default)]
    pub mode: Mode,

    /// With `mode = "fan_out"`: the consumer that is registered with the stream, by its name or its
    /// ARN. It belongs to one pipeline alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,

    /// How long a shard that was read to its end is left alone. At least 200 ms.
    #[serde(default = "poll_interval")]
    pub poll_interval: Span,

    /// How often new shards are looked for. They are also looked for when a closed shard was read to
    /// its end and committed.
    #[serde(default = "discover_interval")]
    pub discover_interval: Span,

    /// How AWS is reached, where that differs from the settings `[aws]` in `tidegate.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

/// How records come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They are asked for (GetRecords). All consumers of the stream share what a shard gives.
    #[default]
    Polling,
    /// They are pushed to a consumer that is registered with the stream (enhanced fan-out,
    /// SubscribeToShard): 2 MB a second for each shard that nobody else shares, with less delay, at
    /// a price of its own. The permissions `kinesis:DescribeStreamConsumer` and `kinesis:SubscribeToShard`
    /// take the place of the last two.
    FanOut,
}

/// Where the first run begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest records that are there.
    #[default]
    TrimHorizon,
    /// With what comes from the run's beginning on, by this machine's clock.
    Latest,
    /// With what came at a time or later.
    AtTimestamp(Moment),
}

/// A time, with its zone: `"2026-12-01T00:00:00Z"`. What has expired by the first run is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Moment(#[schemars(with = "String")] pub DateTime<Utc>);

/// Where a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// With what is there when it begins. Each shard is read up to the first record that arrived
    /// after the run's beginning, by this machine's clock, or to its end (`MillisBehindLatest` is 0).
    /// The next run resumes right there. Shards that resharding makes meanwhile are the next run's.
    Now,
}

/// What is done when records may have expired before they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// The run fails.
    #[default]
    Fail,
    /// A warning is logged, and reading continues with what is left.
    Warn,
}

fn poll_interval() -> Span {
    Span(Duration::from_secs(1))
}

fn discover_interval() -> Span {
    Span(Duration::from_secs(10))
}

/// GetRecords: 5 requests a second for each shard
/// ([limits](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html)).
pub(crate) const LEAST_POLL: Duration = Duration::from_millis(200);

#[async_trait]
#[typetag::serde(name = "kinesis")]
impl SourceConfig for KinesisConfig {
    fn validate(&self) -> Result<()> {
        check_name(&self.stream, "stream", 128)?;
        let short = |key: &'static str, least: Duration| {
            Error::config(format!("`{key}` is too short"))
                .with("key", key)
                .hint(format!("write at least {}", Span(least)))
        };
        if self.poll_interval.0 < LEAST_POLL {
            return Err(short("poll_interval", LEAST_POLL));
        }
        let least = Duration::from_secs(1);
        if self.discover_interval.0 < least {
            return Err(short("discover_interval", least));
        }
        match (self.mode, &self.consumer) {
            (Mode::FanOut, None) => {
                return Err(Error::config("`mode = \"fan_out\"` needs a `consumer`")
                    .with("key", "mode")
                    .hint("set `consumer` to one that is registered with the stream"));
            }
            (Mode::Polling, Some(_)) => {
                return Err(
                    Error::config("`consumer` is used with `mode = \"fan_out\"` only")
                        .with("key", "consumer"),
                );
            }
            (Mode::FanOut, Some(consumer)) => check_name(consumer, "consumer", 128)?,
            (Mode::Polling, None) => {}
        }
        match self.start {
            Start::AtTimestamp(Moment(time)) if time > Utc::now() => {
                Err(Error::config("`start` lies in the future")
                    .with("key", "start")
                    .hint("write a time that has passed, or \"latest\""))
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(KinesisSource::open(self, cx).await?))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &[
            "on_loss",
            "mode",
            "consumer",
            "poll_interval",
            "discover_interval",
        ]
    }
}

/// Refuses what is no stream's name: letters, digits, `_`, `.`, `-`
/// ([names](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html)), or an
/// ARN.
pub(crate) fn check_name(name: &str, key: &'static str, longest: usize) -> Result<()> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_.-".contains(char);
    let good = !name.is_empty() && name.len() <= longest && name.chars().all(plain);
    if good || name.starts_with("arn:") {
        return Ok(());
    }
    Err(Error::config(format!("`{name}` is no name"))
        .with("key", key)
        .hint(format!(
            "a name has up to {longest} letters, digits, `_`, `.` and `-`; or write the ARN"
        )))
}
