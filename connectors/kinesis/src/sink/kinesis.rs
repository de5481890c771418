//! The sink `kinesis` as it stands in a pipeline file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::{Aws, AwsSettings};
use tidegate_core::{ByteSize, Error, Result, Sink, SinkConfig, SinkContext, async_trait, typetag};

use super::key::KeyTemplate;
use super::live::RecordSink;
use super::pack;
use super::put::{Aggregation, Answer, Refused, Target, Way};
use super::records::{Limits, Record, RecordFormat, Shape};
use super::shards::Shards;
use crate::api::{Api, Failed};
use crate::config::check_name;

/// Puts rows into an Amazon Kinesis data stream, a record each, or with `aggregate` several in one.
///
/// Records are there as soon as they are put, before their epoch is committed; after a crash, or an
/// answer that was lost, some may be put again. Records that Kinesis doesn't take (a shard takes
/// 1 MB and 1,000 records a second) are put again until it does, and those alone.
///
/// A row is rejected if its record is larger than `max_record`, or if its partition key is NULL, empty,
/// or longer than 256 characters.
///
/// The permissions that are needed: `kinesis:DescribeStreamSummary`, `kinesis:PutRecords`,
/// `kinesis:ListShards` with `aggregate` and `partition_key`, and `kms:GenerateDataKey` for a stream
/// that is encrypted with a key of one's own.
///
/// ```toml
/// [sinks.clicks]
/// type = "kinesis"
/// inputs = ["events"]
/// stream = "clicks"
/// partition_key = "user_id"
/// ordered = true
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KinesisSinkConfig {
    /// The stream's name, or its ARN.
    pub stream: String,

    /// A record's partition key: a column's name (`"user_id"`), or columns in braces
    /// (`"{shop}-{user_id}"`). Default: random, which spreads records evenly over the shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,

    /// Whether rows of one partition key stay in the order in which they come. Needs
    /// `partition_key`. A record is then put only when the one of its key before it is taken, because
    /// PutRecords promises no order: so it needs many keys to be fast.
    #[serde(default)]
    pub ordered: bool,

    /// Whether rows are put together to records of up to 50 KiB (and `max_record`), in the format of
    /// the Kinesis Producer Library. A shard takes 1,000 records a second, however small they are: so
    /// it takes many more small rows. Whoever reads the stream has to take the records apart, as the
    /// source `kinesis` and the Kinesis Client Library do. Rows don't wait for others: a row that
    /// comes alone is a record of its own, and so is one that is larger.
    ///
    /// Rows share a record if their partition keys belong to one shard, and each has its own key in
    /// it. Random keys are those of records then: rows of one record have the same. With `ordered`, a
    /// record is put only when the one before it for its shard is taken, rather than for its key.
    ///
    /// While a shard is split, some rows are put twice, because they came to the wrong half. For a
    /// stream that doesn't heed keys (`RecordDistributionStrategy` `AUTO`) leave it `false`: the
    /// Kinesis Client Library leaves out records whose keys belong to other shards.
    #[serde(default)]
    pub aggregate: bool,

    /// What a record holds.
    #[serde(default)]
    pub format: RecordFormat,

    /// The largest record, with its partition key: what the stream is set to (`MaxRecordSizeInKiB`),
    /// at most `"10 MiB"`.
    #[serde(default = "max_record")]
    pub max_record: ByteSize,

    /// How many requests are under way at once.
    #[serde(default = "in_flight")]
    pub in_flight: u32,

    /// How AWS is reached, where that differs from the settings `[aws]` in `tidegate.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

fn max_record() -> ByteSize {
    ByteSize(1 << 20)
}

/// Unless told otherwise.
pub(super) fn in_flight() -> u32 {
    16
}

/// Refuses a number of requests that is none, or far more than any limit lets through.
pub(super) fn check_in_flight(requests: u32) -> Result<()> {
    match requests {
        1..=1024 => Ok(()),
        _ => Err(Error::config("`in_flight` is too small or too large")
            .with("key", "in_flight")
            .hint("from 1 to 1024")),
    }
}

/// PutRecords: 500 records, 10 MiB with their keys
/// ([limits](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html)). It was
/// 5 MiB for long, and that is enough: servers that know only that limit work too.
const LIMITS: Limits = Limits {
    records: 500,
    bytes: 5 << 20,
};

/// The largest `MaxRecordSizeInKiB`.
const LARGEST: u64 = 10 << 20;

#[async_trait]
#[typetag::serde(name = "kinesis")]
impl SinkConfig for KinesisSinkConfig {
    fn validate(&self) -> Result<()> {
        check_name(&self.stream, "stream", 128)?;
        check_in_flight(self.in_flight)?;
        let key = KeyTemplate::parse(self.partition_key.as_deref())?;
        if self.ordered && key.columns().is_empty() {
            return Err(Error::config("`ordered` needs a `partition_key`")
                .with("key", "ordered")
                .hint("set `partition_key` to the column whose rows are to stay in order"));
        }
        if self.max_record.0 == 0 || self.max_record.0 > LARGEST {
            return Err(Error::config("`max_record` is too small or too large")
                .with("key", "max_record")
                .hint("more than 0, and at most \"10 MiB\""));
        }
        Ok(())
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        let settings = AwsSettings::of(&cx.common, self.aws.as_ref())?;
        let aws = Aws::connect(&settings, &cx.common.metrics).await?;
        let api = Api::new(&aws, &self.stream);
        if !cx.inputs.is_empty() {
            api.about().await?;
        }
        let key = KeyTemplate::parse(self.partition_key.as_deref())?;
        let largest = self.max_record.as_usize();
        let aggregation = match self.aggregate {
            false => None,
            true => Some(Aggregation {
                largest: largest.min(pack::LARGEST),
                shards: match key.is_random() || cx.inputs.is_empty() {
                    true => None,
                    false => Some(Shards::list(api.clone()).await?),
                },
            }),
        };
        let way = Way {
            ordered: self.ordered,
            aggregation,
        };
        let shape = Shape {
            format: self.format,
            key: Some(key),
            newline: false,
            largest,
        };
        let sink = RecordSink::new(Box::new(api), shape, way, self.in_flight, cx)?;
        Ok(Arc::new(sink))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["in_flight"]
    }
}

#[async_trait]
impl Target for Api {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn put(&self, records: &[&Record]) -> Result<Vec<Answer>, Failed> {
        let records = records
            .iter()
            .map(|record| (record.key.clone(), record.data.clone()));
        let results = self.put_records(records).await?;
        let results = results.into_iter().map(|result| match result.error_code {
            None => Ok(result.shard_id),
            Some(code) => Err(Refused {
                code,
                message: result.error_message.unwrap_or_default(),
            }),
        });
        Ok(results.collect())
    }
}
