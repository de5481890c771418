//! The requests, and what their errors mean.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, PutRecordsResultEntry, Shard, ShardIteratorType,
};
use rand::Rng as _;
use tidegate_aws::{Aws, SdkResultExt};
use tidegate_core::{Error, ErrorKind, Result};

/// A stream, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// Tries again by itself, and slows down all that it does when it is throttled.
    client: Client,
    /// Tries nothing again: limits are a shard's, so one that is throttled mustn't slow down the others.
    quick: Client,
    stream: String,
}

/// What is known of the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// When it was made, in milliseconds since 1970.
    pub(crate) created: i64,
    /// How long it keeps records.
    pub(crate) retention: Duration,
}

/// From where an iterator is to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From<'a> {
    TrimHorizon,
    Latest,
    /// Milliseconds since 1970.
    Time(i64),
    At(&'a str),
    After(&'a str),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The iterator is older than 5 minutes.
    Expired,
    /// The shard, or the stream, isn't there.
    Gone(Error),
    /// The request can't be answered as it stands.
    Refused(Error),
    /// Too much was asked of the shard.
    Throttled(Error),
    /// It may go away by itself.
    Passing(Error),
    Other(Error),
}

impl Failed {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Expired => Error::transient("a shard iterator has expired"),
            Self::Gone(error)
            | Self::Refused(error)
            | Self::Throttled(error)
            | Self::Passing(error)
            | Self::Other(error) => error,
        }
    }

    /// The same, of a request for a whole stream.
    pub(crate) fn of_stream(self, stream: &str) -> Error {
        let error = match self {
            Self::Gone(error) => Error::not_found("there is no such stream")
                .hint("check the name, the region and, if there is one, `endpoint_url`")
                .because(error),
            other => other.into_error(),
        };
        error.with("stream", stream)
    }
}

impl Api {
    pub(crate) fn new(aws: &Aws, stream: &str) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(aws.config());
        let config = config.interceptor(aws.retry_counter());
        let quick = config.clone().retry_config(RetryConfig::disabled());
        Self {
            client: Client::from_conf(config.build()),
            quick: Client::from_conf(quick.build()),
            stream: stream.to_owned(),
        }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// The stream's name or its ARN, as requests have it.
    fn named(&self) -> (Option<String>, Option<String>) {
        let stream = self.stream.clone();
        match stream.starts_with("arn:") {
            true => (None, Some(stream)),
            false => (Some(stream), None),
        }
    }

    pub(crate) async fn about(&self) -> Result<About> {
        let (name, arn) = self.named();
        let request = self.client.describe_stream_summary();
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = failed("look at the stream", request.send().await);
        let answer = answer.map_err(|failed| self.told(failed))?;
        let about = answer.stream_description_summary.ok_or_else(|| {
            Error::transient("can't look at the stream: the answer says nothing of it")
        })?;
        let created = millis(&about.stream_creation_timestamp);
        let hours = u64::try_from(about.retention_period_hours).unwrap_or(24);
        Ok(About {
            created,
            retention: Duration::from_secs(hours * 3600),
        })
    }

    /// All shards that aren't expired, open or closed.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>> {
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_shards();
            // A token stands for the stream too.
            let request = match token {
                None => {
                    let (name, arn) = self.named();
                    request.set_stream_name(name).set_stream_arn(arn)
                }
                Some(token) => request.next_token(token),
            };
            let page = failed("list the stream's shards", request.send().await);
            let page = page.map_err(|failed| self.told(failed))?;
            shards.extend(page.shards.unwrap_or_default());
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    pub(crate) async fn iterator(&self, shard: &str, from: From<'_>) -> Result<String, Failed> {
        let (name, arn) = self.named();
        let request = self.client.get_shard_iterator().shard_id(shard);
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let request = match from {
            From::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            From::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
            From::Time(millis) => request
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(millis)),
            From::At(sequence) => request
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence),
            From::After(sequence) => request
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence),
        };
        let answer = failed("find the place in a shard", request.send().await)?;
        answer.shard_iterator.ok_or_else(|| {
            Failed::Passing(Error::transient(
                "can't find the place in a shard: the answer has no iterator",
            ))
        })
    }

    /// A page: up to 10,000 records or 10 MiB.
    pub(crate) async fn records(&self, iterator: &str) -> Result<GetRecordsOutput, Failed> {
        let request = self.quick.get_records().shard_iterator(iterator);
        let request = request.set_stream_arn(self.named().1);
        failed("read a shard", request.send().await)
    }

    /// Puts records, by key and data; gives their results in their order.
    pub(crate) async fn put_records(
        &self,
        records: impl Iterator<Item = (Option<String>, Vec<u8>)>,
    ) -> Result<Vec<PutRecordsResultEntry>, Failed> {
        let records = records.map(|(key, data)| {
            let record = PutRecordsRequestEntry::builder().data(Blob::new(data));
            let record = record.set_partition_key(key).build();
            record.map_err(|error| {
                Failed::Other(Error::internal("a record can't be made").because(error))
            })
        });
        let records = records.collect::<Result<_, _>>()?;
        let (name, arn) = self.named();
        let request = self.quick.put_records().set_records(Some(records));
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = failed("put records", request.send().await)?;
        Ok(answer.records)
    }

    /// An error of a request for the whole stream.
    fn told(&self, failed: Failed) -> Error {
        failed.of_stream(&self.stream)
    }
}

/// What an SDK's error means.
pub(crate) fn failed<T, E>(doing: &str, result: Result<T, SdkError<E>>) -> Result<T, Failed>
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let error = match result {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let code = error.as_service_error().and_then(|error| error.code());
    let code = code.unwrap_or_default().to_owned();
    let error = match Err::<(), _>(error).doing(doing) {
        Ok(()) => Error::internal("an error was none"),
        Err(error) => error,
    };
    Err(match code.as_str() {
        "ExpiredIteratorException" | "ExpiredNextTokenException" => Failed::Expired,
        "ResourceNotFoundException" => Failed::Gone(error),
        "InvalidArgumentException" => Failed::Refused(error),
        // Here it is a rate, not something to be removed.
        "LimitExceededException" => Failed::Throttled(
            Error::rate_limited(
                format!("can't {doing}: the service asks for fewer requests"),
                None,
            )
            .because(error),
        ),
        _ => match error.kind() {
            ErrorKind::RateLimited { .. } => Failed::Throttled(error),
            ErrorKind::Transient => Failed::Passing(error),
            _ => Failed::Other(error),
        },
    })
}

/// How long to wait before the `tries`-th repetition, from 1: up to 10 s, and never the same for two, so that
/// those who were refused together don't come again together.
pub(crate) fn pause(tries: u32) -> Duration {
    let most = Duration::from_millis(100) * 2_u32.saturating_pow(tries.min(7));
    let most = most.min(Duration::from_secs(10));
    most.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: &DateTime) -> i64 {
    time.to_millis().unwrap_or_default()
}
