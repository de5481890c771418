//! Servers that say of each record whether they took it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::Response;

use super::config::Body;

/// A protocol whose good answers have to be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// [Kafka REST Proxy, API v2](https://docs.confluent.io/platform/current/kafka-rest/api.html).
    Kafka,
    /// [PutRecords](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html), or
    /// PutRecord, behind an API gateway.
    Kinesis { alone: bool },
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    /// It may be taken when it is sent again.
    Again(String),
    Refused(String),
}

/// What became of a request that was answered with a good status.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Of each record, in their order.
    Each(Vec<Fate>),
    /// One of its records, or some, can't be taken, and none was.
    Some(String),
}

#[derive(Deserialize)]
struct KafkaAnswer {
    offsets: Vec<KafkaRecord>,
}

#[derive(Deserialize)]
struct KafkaRecord {
    error_code: Option<i64>,
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KinesisAnswer {
    records: Vec<KinesisRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KinesisRecord {
    error_code: Option<String>,
    error_message: Option<String>,
    sequence_number: Option<String>,
}

/// What a gateway passes on of an error of Kinesis, under whatever status.
#[derive(Deserialize)]
struct KinesisError {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Preset {
    pub(super) fn of(body: Body, alone: bool) -> Option<Self> {
        match body {
            Body::KafkaRest => Some(Self::Kafka),
            Body::KinesisGateway => Some(Self::Kinesis { alone }),
            _ => None,
        }
    }

    /// Whether an answer that says no means: not now.
    pub(super) fn is_busy(self, answer: &Response) -> bool {
        matches!(self, Self::Kinesis { .. })
            && kinesis_error(answer).is_some_and(|error| is_busy(error.name()))
    }

    /// What became of `count` records.
    ///
    /// Errors: `Data` for an answer of another shape; `Auth`, `NotFound`, `Config` for what isn't
    /// about the records.
    pub(super) fn read(self, answer: &Response, count: usize) -> Result<Told> {
        let fates = match self {
            Self::Kafka => {
                let offsets = answer.json::<KafkaAnswer>()?.offsets;
                let fates = offsets.into_iter().map(|record| record.fate(answer));
                fates.collect::<Result<Vec<_>>>()?
            }
            Self::Kinesis { alone } => {
                if let Some(error) = kinesis_error(answer) {
                    return error.told(answer, count);
                }
                let records = match alone {
                    true => vec![read(answer)?],
                    false => read::<KinesisAnswer>(answer)?.records,
                };
                let fates = records.into_iter().map(|record| record.fate(answer));
                fates.collect::<Result<Vec<_>>>()?
            }
        };
        match fates.len() == count {
            true => Ok(Told::Each(fates)),
            false => Err(answer.error(
                ErrorKind::Data,
                format!(
                    "the server tells of {} records, and {count} were sent",
                    fates.len()
                ),
            )),
        }
    }
}

fn read<T: DeserializeOwned>(answer: &Response) -> Result<T> {
    answer.json()
}

impl KafkaRecord {
    fn fate(self, answer: &Response) -> Result<Fate> {
        let said = |code: i64| {
            let error = self.error.as_deref().unwrap_or_default();
            answer.excerpt(format!("{code} {error}").as_bytes())
        };
        Ok(match self.error_code {
            None if self.error.is_none() => Fate::Taken,
            None => Fate::Refused(said(0)),
            // 2 is what older proxies say of a retriable exception of Kafka.
            Some(code @ (50003 | 2)) => Fate::Again(said(code)),
            Some(40101 | 40301) => {
                return Err(answer.error(ErrorKind::Auth, "Kafka does not allow this"));
            }
            Some(code) => Fate::Refused(said(code)),
        })
    }
}

impl KinesisRecord {
    fn fate(self, answer: &Response) -> Result<Fate> {
        let Some(code) = self.error_code.filter(|code| !code.is_empty()) else {
            return match self.sequence_number {
                Some(_) => Ok(Fate::Taken),
                None => Err(answer.error(
                    ErrorKind::Data,
                    "the server does not say whether it took a record",
                )),
            };
        };
        let message = self.error_message.unwrap_or_default();
        let said = answer.excerpt(format!("{code} {message}").as_bytes());
        Ok(match is_busy(&code) {
            true => Fate::Again(said),
            false => Fate::Refused(said),
        })
    }
}

fn kinesis_error(answer: &Response) -> Option<KinesisError> {
    serde_json::from_slice(&answer.body).ok()
}

/// Whether an error of Kinesis passes.
fn is_busy(name: &str) -> bool {
    matches!(
        name,
        "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ThrottlingException"
            | "KMSThrottlingException"
            | "InternalFailure"
            | "InternalFailureException"
            | "ServiceUnavailable"
    )
}

impl KinesisError {
    /// Without the service's name before it.
    fn name(&self) -> &str {
        self.kind.rsplit('#').next().unwrap_or_default()
    }

    fn told(&self, answer: &Response, count: usize) -> Result<Told> {
        let name = self.name();
        let message = self.message.as_deref().unwrap_or_default();
        let said = answer.excerpt(format!("{name} {message}").as_bytes());
        let kind = match name {
            _ if is_busy(name) => return Ok(Told::Each(vec![Fate::Again(said); count])),
            "ValidationException" | "InvalidArgumentException" | "SerializationException" => {
                return Ok(Told::Some(said));
            }
            "ResourceNotFoundException" => ErrorKind::NotFound,
            _ if name.contains("AccessDenied") || name.contains("Token") => ErrorKind::Auth,
            _ => ErrorKind::Config,
        };
        Err(Error::new(kind, "Kinesis refuses the request")
            .with("url", answer.shown_url())
            .with("body", said))
    }
}
