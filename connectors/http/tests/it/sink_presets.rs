//! The `http` sink before a Kafka REST Proxy and before Kinesis behind a gateway: servers as strict as
//! they are, which fail single records of good answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_core::{Error, ErrorKind};

use crate::sink_far::{
    Answer, Far, Seen, answer, cx, deliver, keys, named, open, rows, send, with_origins,
};

/// What a server has taken, and how often each record came.
#[derive(Default)]
struct Log {
    taken: Vec<(Value, Value)>,
    came: HashMap<String, usize>,
}

impl Log {
    /// Counts how often a record has come before.
    fn before(&mut self, record: &Value) -> usize {
        let count = self.came.entry(record.to_string()).or_default();
        *count += 1;
        *count - 1
    }

    fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self
            .taken
            .iter()
            .map(|(_, row)| row["id"].as_i64().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    }
}

fn problem(status: u16, code: u32, message: &str) -> Answer {
    answer(
        status,
        json!({ "error_code": code, "message": message }).to_string(),
    )
}

/// A Kafka REST Proxy with the topic `orders`: of the records whose id ends in 3, none is taken the
/// first time; those whose id ends in 7 are refused.
fn kafka(log: &Mutex<Log>, seen: &Seen) -> Answer {
    if (seen.method.as_str(), seen.path.as_str()) != ("POST", "/base/topics/orders") {
        return problem(404, 40401, "Topic not found.");
    }
    if seen.header("content-type") != Some("application/vnd.kafka.json.v2+json") {
        return problem(415, 415, "HTTP 415 Unsupported Media Type");
    }
    let body = seen.json();
    let records = body
        .as_object()
        .filter(|body| body.len() == 1)
        .and_then(|body| body["records"].as_array());
    let Some(records) = records.filter(|records| !records.is_empty()) else {
        return problem(422, 42201, "records may not be empty");
    };
    let mut log = log.lock().unwrap();
    let offsets = records.iter().map(|record| {
        let names: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(names == ["key", "value"] || names == ["value"], "{record}");
        let failed = |code: u32, error: &str| json!({ "partition": null, "offset": null, "error_code": code, "error": error });
        match record["value"]["id"].as_i64().unwrap() % 10 {
            3 if log.before(record) == 0 => failed(50003, "leader is away"),
            7 => failed(50002, "record is too large"),
            _ => {
                log.taken.push((record["key"].clone(), record["value"].clone()));
                json!({ "partition": 0, "offset": log.taken.len(), "error_code": null, "error": null })
            }
        }
    });
    let offsets: Vec<_> = offsets.collect();
    let told = json!({ "offsets": offsets, "key_schema_id": null, "value_schema_id": null });
    answer(200, told.to_string())
}

#[tokio::test]
async fn kafka_takes_what_it_could_not_take_at_first() {
    let log: Arc<Mutex<Log>> = Arc::default();
    let kept = Arc::clone(&log);
    let far = Far::start(move |seen, _| kafka(&kept, seen)).await;
    let keys = keys(
        &format!("{}/base/", far.url),
        json!({ "body": "kafka_rest", "topic": "orders", "key": "name", "batch_rows": 40, "compression": "gzip" }),
    );
    let rejected = send(keys, rows(0, 100)).await.unwrap();
    assert_eq!(rejected.len(), 10);
    assert!(
        rejected.rows[0]
            .reason
            .contains("50002 record is too large"),
        "{rejected:?}"
    );
    let log = log.lock().unwrap();
    assert_eq!(
        log.ids(),
        (0..100).filter(|id| id % 10 != 7).collect::<Vec<_>>()
    );
    let (key, value) = &log.taken[0];
    assert_eq!(
        (key, value),
        (&json!("n\"0\""), &json!({ "id": 0, "name": "n\"0\"" }))
    );
    // Three loads, and what failed of each once more, alone.
    assert_eq!(far.seen().len(), 6);
    assert_eq!(far.seen()[0].header("idempotency-key"), None);
}

#[tokio::test]
async fn kafka_may_have_no_keys_and_one_record_a_request() {
    let log: Arc<Mutex<Log>> = Arc::default();
    let kept = Arc::clone(&log);
    let far = Far::start(move |seen, _| kafka(&kept, seen)).await;
    let keys = keys(
        &format!("{}/base", far.url),
        json!({ "body": "kafka_rest", "topic": "orders", "batch_rows": 1, "ordered": true }),
    );
    send(keys, rows(0, 6)).await.unwrap();
    let log = log.lock().unwrap();
    let ids: Vec<_> = log
        .taken
        .iter()
        .map(|(key, row)| (key.is_null(), row["id"].as_i64().unwrap()))
        .collect();
    assert_eq!(ids, (0..6).map(|id| (true, id)).collect::<Vec<_>>());
}

async fn refused_by(status: u16, body: Value, more: Value) -> Error {
    let body = body.to_string();
    let far = Far::start(move |_, _| answer(status, body.clone())).await;
    let error = send(keys(&far.url, more), rows(0, 1)).await.unwrap_err();
    assert_eq!(far.seen().len(), 1);
    error
}

#[tokio::test]
async fn what_kafka_says_of_the_whole_ends_the_run() {
    let kafka = || json!({ "body": "kafka_rest", "topic": "orders" });
    let one = |code: u32| json!({ "offsets": [{ "error_code": code, "error": "no" }] });
    for (status, body, kind) in [
        (
            401,
            json!({ "error_code": 40101, "message": "who?" }),
            ErrorKind::Auth,
        ),
        (
            403,
            json!({ "error_code": 40301, "message": "no" }),
            ErrorKind::Auth,
        ),
        (200, one(40101), ErrorKind::Auth),
        (200, one(40301), ErrorKind::Auth),
        (
            404,
            json!({ "error_code": 40401, "message": "Topic not found." }),
            ErrorKind::NotFound,
        ),
        (415, json!({}), ErrorKind::Config),
        (200, json!({ "offsets": [] }), ErrorKind::Data),
        (200, json!("ok"), ErrorKind::Data),
    ] {
        let error = refused_by(status, body.clone(), kafka()).await;
        assert_eq!(error.kind(), kind, "{status} {body}: {error:?}");
    }
}

/// Kinesis behind a gateway, with the stream `s-1`. `PutRecords` fails the first time for partition
/// keys that end in 3; records whose id ends in 7 fail forever. Records are told of in their order.
fn kinesis(log: &Mutex<Log>, seen: &Seen) -> Answer {
    assert_eq!(seen.method, "PUT");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body = seen.json();
    let mut log = log.lock().unwrap();
    if seen.path == "/v1/streams/s-1/record" {
        let names: Vec<_> = body
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, ["StreamName", "Data", "PartitionKey"]);
        assert_eq!(body["StreamName"], "s-1");
        if log.before(&body) == 0 && body["Data"]["id"].as_i64().unwrap() % 2 == 0 {
            let busy = json!({ "__type": "ProvisionedThroughputExceededException", "message": "slow down" });
            // A gateway may pass on an error under any status.
            let status = if log.taken.is_empty() { 400 } else { 200 };
            return answer(status, busy.to_string());
        }
        log.taken
            .push((body["PartitionKey"].clone(), body["Data"].clone()));
        return answer(
            200,
            json!({ "SequenceNumber": "1", "ShardId": "shardId-0" }).to_string(),
        );
    }
    assert_eq!(seen.path, "/v1/streams/s-1/records");
    let records = body["records"].as_array().unwrap();
    assert!((1..=500).contains(&records.len()) && body.as_object().unwrap().len() == 1);
    let mut failed = 0;
    let told = records.iter().map(|record| {
        let names: Vec<_> = record
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names, ["data", "partition-key"]);
        let key = record["partition-key"].as_str().unwrap();
        let id = record["data"]["id"].as_i64().unwrap();
        let error = match id % 10 {
            3 if log.before(record) == 0 => "ProvisionedThroughputExceededException",
            7 => "KMSAccessDeniedException",
            _ => {
                log.taken.push((key.into(), record["data"].clone()));
                return json!({ "SequenceNumber": "1", "ShardId": "shardId-0" });
            }
        };
        failed += 1;
        json!({ "ErrorCode": error, "ErrorMessage": format!("not {id}") })
    });
    let told: Vec<_> = told.collect();
    answer(
        200,
        json!({ "FailedRecordCount": failed, "Records": told }).to_string(),
    )
}

#[tokio::test]
async fn kinesis_gets_again_only_what_failed() {
    let log: Arc<Mutex<Log>> = Arc::default();
    let kept = Arc::clone(&log);
    let far = Far::start(move |seen, _| kinesis(&kept, seen)).await;
    let keys = keys(
        &format!("{}/v1", far.url),
        json!({ "body": "kinesis_gateway", "stream": "s-1", "key": "id", "batch_rows": 50 }),
    );
    let rejected = send(keys, rows(0, 100)).await.unwrap();
    assert_eq!(rejected.len(), 10);
    assert_eq!(
        rejected.rows[0].reason,
        "the server refuses the record: KMSAccessDeniedException not 7"
    );
    let log = log.lock().unwrap();
    assert_eq!(
        log.ids(),
        (0..100).filter(|id| id % 10 != 7).collect::<Vec<_>>()
    );
    assert!(
        log.taken
            .iter()
            .all(|(key, row)| row["id"] == key.as_str().unwrap().parse::<i64>().unwrap())
    );
    let again: Vec<_> = far
        .seen()
        .iter()
        .map(|seen| seen.json()["records"].as_array().unwrap().len())
        .collect();
    assert_eq!(
        again.iter().filter(|count| **count == 5).count(),
        2,
        "{again:?}"
    );
}

#[tokio::test]
async fn kinesis_takes_records_one_by_one() {
    let log: Arc<Mutex<Log>> = Arc::default();
    let kept = Arc::clone(&log);
    let far = Far::start(move |seen, _| kinesis(&kept, seen)).await;
    let keys = keys(
        &format!("{}/v1", far.url),
        json!({ "body": "kinesis_gateway", "stream": "s-1", "key": "name", "batch_rows": 1, "ordered": true }),
    );
    assert!(send(keys, rows(0, 6)).await.unwrap().is_empty());
    let log = log.lock().unwrap();
    let ids: Vec<_> = log
        .taken
        .iter()
        .map(|(_, row)| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    assert_eq!(far.seen().len(), 9);
}

#[tokio::test]
async fn what_kinesis_says_of_the_whole_ends_the_run() {
    let kinesis = |rows: u32| json!({ "body": "kinesis_gateway", "stream": "s", "key": "id", "batch_rows": rows });
    let error = |name: &str| json!({ "__type": format!("com.amazonaws.kinesis.v20131202#{name}"), "message": "no" });
    for (body, kind) in [
        (error("ResourceNotFoundException"), ErrorKind::NotFound),
        (error("AccessDeniedException"), ErrorKind::Auth),
        (error("SomethingElse"), ErrorKind::Config),
        (json!({}), ErrorKind::Data),
        (json!({ "Records": [] }), ErrorKind::Data),
        (json!({ "Records": [{}] }), ErrorKind::Data),
    ] {
        for rows in [1, 2] {
            let error = refused_by(200, body.clone(), kinesis(rows)).await;
            assert_eq!(error.kind(), kind, "{body}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_row_without_a_partition_key_is_rejected() {
    let log: Arc<Mutex<Log>> = Arc::default();
    let far = Far::start(|_, _| answer(200, r#"{"Records":[{"SequenceNumber":"1"}]}"#)).await;
    let keys = keys(
        &far.url,
        json!({ "body": "kinesis_gateway", "stream": "s", "key": "name" }),
    );
    let long = "x".repeat(257);
    let rejected = send(keys, named(&[None, Some(""), Some(&long), Some("a")]))
        .await
        .unwrap();
    assert_eq!(rejected.len(), 3);
    assert!(log.lock().unwrap().taken.is_empty());
}

#[tokio::test]
async fn a_record_that_is_never_taken_is_a_passing_error() {
    let far = Far::start(|_, _| {
        answer(
            200,
            json!({ "offsets": [{ "error_code": 50003, "error": "away" }] }).to_string(),
        )
    })
    .await;
    let cx = cx();
    let keys = keys(&far.url, json!({ "body": "kafka_rest", "topic": "t" }));
    let sink = open(&cx, keys, &rows(0, 0)).await.unwrap();
    let error = deliver(&sink, vec![with_origins(rows(0, 1), "s", 0)]).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("away"), "{error}");
    assert_eq!(far.seen().len(), 30, "`attempts` of `[http]`");
}
