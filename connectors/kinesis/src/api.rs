//! The requests, and what their errors mean.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, PutRecordsResultEntry, Record, Shard,
    ShardIteratorType, StartingPosition, SubscribeToShardEventStream,
};
use rand::Rng as _;
use tidegate_aws::{Aws, Refusal, SdkResultExt};
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
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) arn: String,
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

impl From<'_> {
    fn of(self) -> (ShardIteratorType, Option<DateTime>, Option<String>) {
        match self {
            Self::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
            Self::Latest => (ShardIteratorType::Latest, None, None),
            Self::Time(millis) => {
                let time = DateTime::from_millis(millis);
                (ShardIteratorType::AtTimestamp, Some(time), None)
            }
            Self::At(sequence) => {
                let sequence = Some(sequence.to_owned());
                (ShardIteratorType::AtSequenceNumber, None, sequence)
            }
            Self::After(sequence) => {
                let sequence = Some(sequence.to_owned());
                (ShardIteratorType::AfterSequenceNumber, None, sequence)
            }
        }
    }
}

/// What a shard gives at once.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) records: Vec<Record>,
    /// Where it continues, if that is to be asked for.
    pub(crate) next: Option<String>,
    /// Whether the shard is closed, and no more comes.
    pub(crate) closed: bool,
    /// How far it is behind, in milliseconds.
    pub(crate) behind: i64,
}

/// What Kinesis pushes of a shard, for at most 5 minutes.
pub(crate) struct Pushed(SubscribeToShardOutput);

impl Pushed {
    /// What comes next; `None` if the time is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Fetched>, Failed> {
        let doing = "read a shard";
        loop {
            match self.0.event_stream.recv().await {
                Ok(None) => return Ok(None),
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => {
                    return Ok(Some(Fetched {
                        records: event.records,
                        next: None,
                        closed: event.child_shards.is_some_and(|shards| !shards.is_empty()),
                        behind: event.millis_behind_latest,
                    }));
                }
                // What we don't know says nothing of records.
                Ok(Some(_)) => {}
                Err(error) => {
                    let Some(said) = error.as_service_error() else {
                        let broken = Error::transient(format!("can't {doing}: it broke off"));
                        return Err(Failed::Passing(broken.because(error)));
                    };
                    let refusal = Refusal {
                        code: said.code().map(str::to_owned),
                        message: said.message().map(str::to_owned),
                        ..Refusal::default()
                    };
                    let code = said.code().unwrap_or_default();
                    return Err(meaning(code, doing, refusal.into_error(doing)));
                }
            }
        }
    }
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
            Error::transient("can't describe the stream: the answer says nothing of it")
        })?;
        let created = millis(&about.stream_creation_timestamp);
        let hours = u64::try_from(about.retention_period_hours).unwrap_or(24);
        Ok(About {
            arn: about.stream_arn,
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
        let (kind, time, sequence) = from.of();
        let request = request.shard_iterator_type(kind).set_timestamp(time);
        let request = request.set_starting_sequence_number(sequence);
        let answer = failed("find the place in a shard", request.send().await)?;
        answer.shard_iterator.ok_or_else(|| {
            Failed::Passing(Error::transient(
                "can't find the place in a shard: the answer has no iterator",
            ))
        })
    }

    /// A page: up to 10,000 records or 10 MiB.
    pub(crate) async fn records(&self, iterator: &str) -> Result<Fetched, Failed> {
        let request = self.quick.get_records().shard_iterator(iterator);
        let request = request.set_stream_arn(self.named().1);
        let page = failed("read a shard", request.send().await)?;
        Ok(Fetched {
            records: page.records,
            closed: page.next_shard_iterator.is_none(),
            next: page.next_shard_iterator,
            behind: page.millis_behind_latest.unwrap_or_default(),
        })
    }

    /// The ARN of a consumer that is registered with the stream, by its name or its ARN.
    pub(crate) async fn consumer(&self, stream: &str, consumer: &str) -> Result<String> {
        let request = self.client.describe_stream_consumer();
        let request = match consumer.starts_with("arn:") {
            true => request.consumer_arn(consumer),
            false => request.stream_arn(stream).consumer_name(consumer),
        };
        let answer = match failed("look at the consumer", request.send().await) {
            Ok(answer) => answer,
            Err(Failed::Gone(error)) => {
                return Err(Error::not_found("there is no such consumer")
                    .with("key", "consumer")
                    .hint(format!(
                        "register it: `aws kinesis register-stream-consumer --stream-arn {stream} --consumer-name {consumer}`"
                    ))
                    .because(error));
            }
            Err(failed) => return Err(self.told(failed)),
        };
        let about = answer.consumer_description.ok_or_else(|| {
            Error::transient("can't describe the consumer: the answer says nothing of it")
        })?;
        match about.consumer_status {
            ConsumerStatus::Active => Ok(about.consumer_arn),
            _ => Err(Error::transient("the consumer isn't ready")),
        }
    }

    pub(crate) async fn subscribe(
        &self,
        consumer: &str,
        shard: &str,
        from: From<'_>,
    ) -> Result<Pushed, Failed> {
        let (kind, time, sequence) = from.of();
        let position = StartingPosition::builder().r#type(kind);
        let position = position
            .set_timestamp(time)
            .set_sequence_number(sequence)
            .build();
        let position = position.map_err(|error| {
            Failed::Other(Error::internal("a position can't be made").because(error))
        })?;
        let request = self.quick.subscribe_to_shard().consumer_arn(consumer);
        let request = request.shard_id(shard).starting_position(position);
        failed("subscribe to a shard", request.send().await).map(Pushed)
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
    Err(meaning(&code, doing, error))
}

fn meaning(code: &str, doing: &str, error: Error) -> Failed {
    match code {
        "ExpiredIteratorException" | "ExpiredNextTokenException" => Failed::Expired,
        "ResourceNotFoundException" => Failed::Gone(error),
        "InvalidArgumentException" => Failed::Refused(error),
        // Here it is a rate, not something to be removed. The others: a subscription within 5 s of
        // the one before, and Firehose's word for it.
        "LimitExceededException" | "ResourceInUseException" | "ServiceUnavailableException" => {
            Failed::Throttled(
                Error::rate_limited(
                    format!("can't {doing}: the service asks for fewer requests"),
                    None,
                )
                .because(error),
            )
        }
        _ => match error.kind() {
            ErrorKind::RateLimited { .. } => Failed::Throttled(error),
            ErrorKind::Transient => Failed::Passing(error),
            _ => Failed::Other(error),
        },
    }
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
