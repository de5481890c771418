//! The sink `firehose` as it stands in a pipeline file.

use std::sync::Arc;

use aws_sdk_firehose::Client;
use aws_sdk_firehose::config::retry::RetryConfig;
use aws_sdk_firehose::primitives::Blob;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::{Aws, AwsSettings};
use tidegate_core::{Error, Result, Sink, SinkConfig, SinkContext, async_trait, typetag};

use super::kinesis::{check_in_flight, in_flight};
use super::live::RecordSink;
use super::put::{Answer, Refused, Target, Way};
use super::records::{Limits, Record, RecordFormat, Shape};
use crate::api::{Failed, failed};
use crate::config::check_name;

/// Puts rows into an Amazon Data Firehose stream, a record each.
///
/// Firehose delivers records later, as the stream's buffer says; after a crash, or an answer that was
/// lost, some may be put again. Records that it doesn't take are put again until it does, and those
/// alone. A row whose record is larger than 1,000 KiB is rejected.
///
/// The permissions that are needed: `firehose:DescribeDeliveryStream`, `firehose:PutRecordBatch`.
///
/// ```toml
/// [sinks.archive]
/// type = "firehose"
/// inputs = ["events"]
/// stream = "events-to-s3"
/// newline = true
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirehoseSinkConfig {
    /// The Firehose stream's name.
    pub stream: String,

    /// What a record holds.
    #[serde(default)]
    pub format: RecordFormat,

    /// Whether a newline is put after each record. Firehose writes records one after the other, with
    /// nothing between them, unless the stream adds a delimiter itself (`AppendDelimiterToRecord`).
    #[serde(default)]
    pub newline: bool,

    /// How many requests are under way at once.
    #[serde(default = "in_flight")]
    pub in_flight: u32,

    /// How AWS is reached, where that differs from the settings `[aws]` in `tidegate.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

/// PutRecordBatch: 500 records, 4 MiB
/// ([limits](https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html)).
const LIMITS: Limits = Limits {
    records: 500,
    bytes: 4 << 20,
};

/// A record: 1,000 KiB before it is encoded as base64.
const LARGEST: usize = 1000 << 10;

#[async_trait]
#[typetag::serde(name = "firehose")]
impl SinkConfig for FirehoseSinkConfig {
    fn validate(&self) -> Result<()> {
        check_in_flight(self.in_flight)?;
        check_name(&self.stream, "stream", 64)?;
        if self.stream.starts_with("arn:") {
            return Err(
                Error::config("`stream` is an ARN, and Firehose knows names only")
                    .with("key", "stream")
                    .hint("write what stands after `deliverystream/`"),
            );
        }
        Ok(())
    }

    async fn open(&self, cx: &SinkContext) -> Result<Arc<dyn Sink>> {
        let settings = AwsSettings::of(&cx.common, self.aws.as_ref())?;
        let aws = Aws::connect(&settings, &cx.common.metrics).await?;
        let config = aws_sdk_firehose::config::Builder::from(aws.config());
        let config = config.interceptor(aws.retry_counter());
        if !cx.inputs.is_empty() {
            let client = Client::from_conf(config.clone().build());
            let request = client.describe_delivery_stream();
            let request = request.delivery_stream_name(&self.stream).limit(1);
            let answer = failed("look at the stream", request.send().await);
            answer.map_err(|failed| failed.of_stream(&self.stream))?;
        }
        let target = Firehose {
            client: Client::from_conf(config.retry_config(RetryConfig::disabled()).build()),
            stream: self.stream.clone(),
        };
        let shape = Shape {
            format: self.format,
            key: None,
            newline: self.newline,
            largest: LARGEST,
        };
        let way = Way {
            ordered: false,
            aggregation: None,
        };
        let sink = RecordSink::new(Box::new(target), shape, way, self.in_flight, cx)?;
        Ok(Arc::new(sink))
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["in_flight"]
    }
}

/// A Firehose stream.
#[derive(Debug)]
struct Firehose {
    client: Client,
    stream: String,
}

#[async_trait]
impl Target for Firehose {
    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn put(&self, records: &[&Record]) -> Result<Vec<Answer>, Failed> {
        let records = records.iter().map(|record| {
            let data = Blob::new(record.data.clone());
            let record = aws_sdk_firehose::types::Record::builder().data(data);
            record.build().map_err(unmade)
        });
        let records = records.collect::<Result<_, _>>()?;
        let request = self.client.put_record_batch();
        let request = request.delivery_stream_name(&self.stream);
        let request = request.set_records(Some(records));
        let answer = failed("put records", request.send().await)?;
        let results = answer.request_responses.into_iter();
        let results = results.map(|result| match result.error_code {
            None => Ok(None),
            Some(code) => Err(Refused {
                code,
                message: result.error_message.unwrap_or_default(),
            }),
        });
        Ok(results.collect())
    }
}

fn unmade(error: aws_sdk_firehose::error::BuildError) -> Failed {
    Failed::Other(Error::internal("a record can't be made").because(error))
}
