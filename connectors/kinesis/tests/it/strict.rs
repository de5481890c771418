//! A server that takes records as Kinesis and Firehose do, and holds whoever puts them to the rules of
//! their references: what they refuse it refuses. Some records it doesn't take, as both may.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::apart::hash;

/// A record that was taken: its key, and its data.
pub(crate) type Taken = (Option<String>, Vec<u8>);

/// What it has, and how it behaves.
#[derive(Debug)]
pub(crate) struct Fake {
    /// By stream, in the order in which they were taken.
    pub(crate) taken: BTreeMap<String, Vec<Taken>>,
    /// The shard of each that Kinesis has taken, over all streams.
    pub(crate) shards_of: Vec<String>,
    /// The shards, which divide the keys evenly between them.
    pub(crate) shards: u64,
    /// Whether records come to the shards of their keys.
    pub(crate) heeds_keys: bool,
    /// How many records each request had.
    pub(crate) requests: Vec<usize>,
    /// The share of records that aren't taken, and of requests that fail as a whole.
    pub(crate) refused: f64,
    /// Why records aren't taken.
    pub(crate) codes: Vec<&'static str>,
    random: StdRng,
}

pub(crate) struct Strict {
    url: String,
    secret: tempfile::NamedTempFile,
    fake: Arc<Mutex<Fake>>,
}

impl Strict {
    /// A server on a port of its own, which ends with the test's runtime.
    pub(crate) async fn start() -> Self {
        let fake = Arc::new(Mutex::new(Fake {
            taken: BTreeMap::new(),
            shards_of: Vec::new(),
            shards: 1,
            heeds_keys: true,
            requests: Vec::new(),
            refused: 0.0,
            codes: vec!["InternalFailure"],
            random: StdRng::seed_from_u64(7),
        }));
        let app = Router::new()
            .route("/", post(answer))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&secret, "secret").unwrap();
        Self { url, secret, fake }
    }

    pub(crate) fn now(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }

    /// The settings `[aws]` with which it is reached.
    pub(crate) fn settings(&self) -> Value {
        json!({
            "region": "us-east-1",
            "endpoint_url": self.url,
            "credentials": { "access_key_id": "a", "secret_access_key": { "file": self.secret.path() } },
        })
    }

    /// What a stream has taken.
    pub(crate) fn taken(&self, stream: &str) -> Vec<Taken> {
        self.now().taken.get(stream).cloned().unwrap_or_default()
    }
}

type Answer = Result<Value, (u16, &'static str, String)>;

async fn answer(
    State(fake): State<Arc<Mutex<Fake>>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let target = headers["x-amz-target"].to_str().unwrap();
    let (_, operation) = target.split_once('.').unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let answer = match operation {
        "DescribeStreamSummary" => Ok(json!({ "StreamDescriptionSummary": {
            "StreamName": body["StreamName"],
            "StreamARN": "arn:aws:kinesis:us-east-1:123456789012:stream/clicks",
            "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1_700_000_000.0,
            "EnhancedMonitoring": [],
            "OpenShardCount": 1,
        } })),
        "ListShards" => Ok(fake.lock().unwrap().list_shards()),
        "DescribeDeliveryStream" => Ok(json!({ "DeliveryStreamDescription": {
            "DeliveryStreamName": body["DeliveryStreamName"],
            "DeliveryStreamARN": "arn:aws:firehose:us-east-1:123456789012:deliverystream/clicks",
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "Destinations": [],
            "HasMoreDestinations": false,
        } })),
        "PutRecords" => fake.lock().unwrap().put_records(&body),
        "PutRecordBatch" => fake.lock().unwrap().put_record_batch(&body),
        other => panic!("{other} is not known"),
    };
    let (status, answer) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err((status, code, message)) => {
            let error = json!({ "__type": code, "message": message });
            (StatusCode::from_u16(status).unwrap(), error)
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-amz-json-1.1"),
        // So that no idle connection looks like something left behind.
        (header::CONNECTION, "close"),
    ];
    (status, headers, answer.to_string()).into_response()
}

fn shard_id(number: u128) -> String {
    format!("shardId-{number:012}")
}

fn invalid(code: &'static str, message: impl Into<String>) -> (u16, &'static str, String) {
    (400, code, message.into())
}

fn data(record: &Value) -> Vec<u8> {
    STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()
}

impl Fake {
    /// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
    fn put_records(&mut self, body: &Value) -> Answer {
        let stream = body["StreamName"].as_str().unwrap();
        let mut records = Vec::new();
        for record in body["Records"].as_array().unwrap() {
            let key = record["PartitionKey"].as_str().unwrap_or_default();
            if !(1..=256).contains(&key.chars().count()) {
                return Err(invalid("ValidationException", "a key of no length"));
            }
            records.push((Some(key.to_owned()), data(record)));
        }
        let sizes = records.iter();
        let sizes = sizes.map(|(key, data)| key.as_ref().map_or(0, String::len) + data.len());
        let sizes: Vec<_> = sizes.collect();
        if !(1..=500).contains(&records.len()) {
            return Err(invalid("ValidationException", "not 1 to 500 records"));
        }
        if sizes.iter().any(|size| *size > 1 << 20) {
            return Err(invalid(
                "ValidationException",
                "a record of more than 1 MiB",
            ));
        }
        if sizes.iter().sum::<usize>() > 10 << 20 {
            return Err(invalid("InvalidArgumentException", "more than 10 MiB"));
        }
        let keys = records.iter();
        let keys: Vec<_> = keys.map(|(key, _)| key.clone().unwrap()).collect();
        let failed = self.take(stream, records)?;
        let count = failed.iter().flatten().count();
        let (mut results, mut shards) = (Vec::new(), Vec::new());
        for (key, code) in keys.iter().zip(failed) {
            results.push(match code {
                Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "not now" }),
                None => {
                    let shard = self.shard(key);
                    shards.push(shard.clone());
                    json!({ "SequenceNumber": "1", "ShardId": shard })
                }
            });
        }
        // As they were taken.
        self.shards_of.extend(shards.into_iter().rev());
        Ok(json!({ "FailedRecordCount": count, "Records": results }))
    }

    fn shard(&mut self, key: &str) -> String {
        match self.heeds_keys {
            true => self.shard_of(key),
            false => shard_id(u128::from(self.random.random_range(0..self.shards))),
        }
    }

    /// The shard of a key.
    pub(crate) fn shard_of(&self, key: &str) -> String {
        shard_id((hash(key) >> 64) / self.share())
    }

    /// How many hashes each shard has, by their upper halves.
    fn share(&self) -> u128 {
        u128::from(u64::MAX) / u128::from(self.shards) + 1
    }

    fn list_shards(&self) -> Value {
        let share = self.share();
        let shards = (0..u128::from(self.shards)).map(|shard| {
            let last = match shard + 1 == u128::from(self.shards) {
                true => u128::MAX,
                false => (((shard + 1) * share) << 64) - 1,
            };
            let range = json!({
                "StartingHashKey": ((shard * share) << 64).to_string(),
                "EndingHashKey": last.to_string(),
            });
            json!({
                "ShardId": shard_id(shard),
                "HashKeyRange": range,
                "SequenceNumberRange": { "StartingSequenceNumber": "1" },
            })
        });
        json!({ "Shards": shards.collect::<Vec<_>>() })
    }

    /// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>
    fn put_record_batch(&mut self, body: &Value) -> Answer {
        let stream = body["DeliveryStreamName"].as_str().unwrap();
        let records = body["Records"].as_array().unwrap().iter();
        let records: Vec<_> = records.map(|record| (None, data(record))).collect();
        let sizes: Vec<_> = records.iter().map(|(_, data)| data.len()).collect();
        if !(1..=500).contains(&records.len()) {
            return Err(invalid("ValidationException", "not 1 to 500 records"));
        }
        if sizes.iter().any(|size| *size > 1000 << 10) {
            return Err(invalid(
                "ValidationException",
                "a record of more than 1,000 KiB",
            ));
        }
        if sizes.iter().sum::<usize>() > 4 << 20 {
            return Err(invalid("InvalidArgumentException", "more than 4 MiB"));
        }
        let failed = self.take(stream, records)?;
        let count = failed.iter().flatten().count();
        let results = failed.into_iter().map(|code| match code {
            Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "not now" }),
            None => json!({ "RecordId": "1" }),
        });
        Ok(json!({ "FailedPutCount": count, "RequestResponses": results.collect::<Vec<_>>() }))
    }

    /// Takes some records, the last ones first: the records of a request have no order.
    fn take(
        &mut self,
        stream: &str,
        records: Vec<Taken>,
    ) -> Result<Vec<Option<&'static str>>, (u16, &'static str, String)> {
        self.requests.push(records.len());
        if self.random.random_bool(self.refused / 4.0) {
            return Err((500, "InternalFailure", "not at all".to_owned()));
        }
        let mut failed = Vec::new();
        for record in records.into_iter().rev() {
            let code = match self.random.random_bool(self.refused) {
                true => Some(self.codes[self.random.random_range(0..self.codes.len())]),
                false => None,
            };
            if code.is_none() {
                self.taken
                    .entry(stream.to_owned())
                    .or_default()
                    .push(record);
            }
            failed.push(code);
        }
        failed.reverse();
        Ok(failed)
    }
}
