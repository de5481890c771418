//! The sinks against a strict server and real ones.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{BinaryArray, Int64Array, RecordBatch, StringArray};
use aws_sdk_firehose::types::{
    BufferingHints, CompressionFormat, EncryptionConfiguration, ExtendedS3DestinationConfiguration,
};
use serde_json::{Map, Value, json};
use tidegate_core::{
    Delivery, ErrorKind, Input, PipelineSpec, Registry, Result, Sink, SinkConfig, Span,
};
use tidegate_kinesis::{FirehoseSinkConfig, KinesisSinkConfig};
use tidegate_runtime::{Pipeline, RunOptions};
use tidegate_testkit::servers::moto;
use tidegate_testkit::suites::{TestContext, context, sealed, sink_suite};

use crate::apart::taken_apart;
use crate::site::{Site, assert_in_order, read_all, records_of};
use crate::strict::{Strict, Taken};

/// Rows `key`, `number`, with these bytes beside.
pub(crate) fn batch(numbers: std::ops::Range<i64>, keys: i64, bytes: usize) -> RecordBatch {
    batch_of(numbers, keys, std::iter::repeat(bytes))
}

/// The same, each with its own bytes.
pub(crate) fn batch_of(
    numbers: std::ops::Range<i64>,
    keys: i64,
    bytes: impl Iterator<Item = usize>,
) -> RecordBatch {
    let key = numbers.clone().map(|number| format!("k{}", number % keys));
    let payload = numbers.clone().zip(bytes);
    let payload = payload.map(|(_, bytes)| vec![b'.'; bytes]);
    let payload = BinaryArray::from_iter_values(payload);
    RecordBatch::try_from_iter([
        ("key", Arc::new(key.map(Some).collect::<StringArray>()) as _),
        (
            "number",
            Arc::new(Int64Array::from_iter_values(numbers)) as _,
        ),
        ("payload", Arc::new(payload) as _),
    ])
    .unwrap()
}

fn inputs(batch: &RecordBatch) -> Vec<Input> {
    vec![Input {
        name: "rows".into(),
        schema: batch.schema(),
    }]
}

pub(crate) async fn open<C: SinkConfig + serde::de::DeserializeOwned>(
    cx: &TestContext,
    mut keys: Value,
    aws: Value,
    like: &RecordBatch,
) -> Result<Arc<dyn Sink>> {
    keys["aws"] = aws;
    let config: C = serde_json::from_value(keys).unwrap();
    config.validate()?;
    config.open(&cx.sink(inputs(like))).await
}

/// The numbers of records of JSON, in their order.
pub(crate) fn numbers(taken: &[Taken]) -> Vec<i64> {
    let numbers = taken.iter().map(|(_, data)| {
        let row: Value = serde_json::from_slice(data).unwrap();
        row["number"].as_i64().unwrap()
    });
    numbers.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_keep_to_the_limits_and_only_what_failed_is_put_again() {
    for (refused, codes) in [
        (0.0, vec!["InternalFailure"]),
        (
            0.3,
            vec!["ProvisionedThroughputExceededException", "InternalFailure"],
        ),
    ] {
        for (rows, bytes) in [(2000, 10), (40, 500_000)] {
            let (server, cx) = (Strict::start().await, context());
            server.now().refused = refused;
            server.now().codes = codes.clone();
            let batch = batch(0..rows, 7, bytes);
            let keys = json!({ "stream": "clicks", "partition_key": "{key}-{number}" });
            let aws = server.settings();
            let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &batch)
                .await
                .unwrap();
            assert_eq!(sink.delivery(), Delivery::AtLeastOnce);
            let rejected = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
            assert!(rejected.rejected.is_empty());
            let taken = server.taken("clicks");
            for (key, data) in &taken {
                let row: Value = serde_json::from_slice(data).unwrap();
                let (name, number) = (row["key"].as_str().unwrap(), &row["number"]);
                assert_eq!(key.as_deref(), Some(&*format!("{name}-{number}")));
            }
            let mut numbers = numbers(&taken);
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..rows), "each row once");
            let sent: usize = server.now().requests.iter().sum();
            let sent = i64::try_from(sent).unwrap();
            if refused == 0.0 {
                assert_eq!(sent, rows);
            } else {
                assert!(
                    sent > rows && sent < 2 * rows + 1000,
                    "{sent} for {rows} rows"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_no_record_overtakes_one_of_its_key() {
    let (server, cx) = (Strict::start().await, context());
    server.now().refused = 0.2;
    let keys = json!({ "stream": "clicks", "partition_key": "key", "ordered": true });
    let like = batch(0..1, 1, 1);
    let aws = server.settings();
    let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &like)
        .await
        .unwrap();
    let batches = vec![batch(0..300, 40, 1), batch(300..600, 40, 1)];
    sealed(sink.as_ref(), 1, vec![batches]).await.unwrap();
    let taken = server.taken("clicks");
    assert_eq!(taken.len(), 600);
    for key in 0..40 {
        let key = format!("k{key}");
        let of: Vec<_> = taken
            .iter()
            .filter(|(of, _)| *of == Some(key.clone()))
            .cloned()
            .collect();
        let numbers = numbers(&of);
        assert!(
            numbers.is_sorted() && numbers.len() == 15,
            "{key}: {numbers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_a_record_is_rejected() {
    let (server, cx) = (Strict::start().await, context());
    let long = "ü".repeat(257);
    let keys = StringArray::from(vec![Some("a"), None, Some(""), Some(&*long), Some("b")]);
    let most = vec![b'.'; (1 << 20) - 1];
    let over = vec![b'.'; 1 << 20];
    let payloads: Vec<Option<&[u8]>> =
        vec![Some(&most), Some(b""), Some(b""), Some(b""), Some(&over)];
    let batch = RecordBatch::try_from_iter([
        ("key", Arc::new(keys) as _),
        ("payload", Arc::new(BinaryArray::from(payloads)) as _),
    ]);
    let batch = batch.unwrap();
    let keys = json!({ "stream": "clicks", "partition_key": "key", "format": "raw" });
    let sink = open::<KinesisSinkConfig>(&cx, keys, server.settings(), &batch)
        .await
        .unwrap();
    let sealed = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
    let reasons = sealed.rejected.rows.iter().map(|row| row.reason.as_str());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            "column `key`: null, but it is the partition key",
            "the partition key is empty",
            "the partition key has 257 characters, and 256 are the most",
            "the record has 1048577 bytes, and 1048576 are the most",
        ]
    );
    assert_eq!(server.taken("clicks"), [(Some("a".to_owned()), most)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_takes_records_with_newlines() {
    for refused in [0.0, 0.3] {
        for (rows, bytes) in [(1200, 10), (12, 700_000)] {
            let (server, cx) = (Strict::start().await, context());
            server.now().refused = refused;
            server.now().codes = vec!["ServiceUnavailableException", "InternalFailure"];
            let batch = batch(0..rows, 7, bytes);
            let keys = json!({ "stream": "clicks", "newline": true });
            let aws = server.settings();
            let sink = open::<FirehoseSinkConfig>(&cx, keys, aws, &batch)
                .await
                .unwrap();
            let sealed = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
            assert!(sealed.rejected.is_empty());
            let taken = server.taken("clicks");
            assert!(taken.iter().all(|(_, data)| data.ends_with(b"}\n")));
            let mut numbers = numbers(&taken);
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..rows), "each row once");
        }
    }
    let (server, cx) = (Strict::start().await, context());
    let (fits, over) = (batch(0..1, 1, 1000 << 10), batch(0..1, 1, (1000 << 10) + 1));
    let keys = json!({ "stream": "clicks", "format": "raw" });
    let sink = open::<FirehoseSinkConfig>(&cx, keys, server.settings(), &fits)
        .await
        .unwrap();
    let sealed = sealed(sink.as_ref(), 1, vec![vec![fits, over]])
        .await
        .unwrap();
    assert_eq!(
        (sealed.rejected.len(), server.taken("clicks").len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_doesn_t_recover_ends_the_attempt() {
    let (server, cx) = (Strict::start().await, context());
    let batch = batch(0..3, 1, 1);
    let keys = json!({ "stream": "clicks" });
    let sink = open::<KinesisSinkConfig>(&cx, keys, server.settings(), &batch)
        .await
        .unwrap();
    server.now().refused = 1.0;
    let error = sealed(sink.as_ref(), 1, vec![vec![batch]])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(server.now().requests.len(), 8);
}

/// The rows of the suite's batches, out of the records of a stream.
pub(crate) fn shown(taken: &[Taken]) -> Result<Vec<RecordBatch>> {
    let rows = taken.iter().map(|(_, data)| serde_json::from_slice(data));
    let rows: Vec<Value> = rows.collect::<Result<_, _>>().unwrap();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids = rows.iter().map(|row| row["id"].as_i64());
    let names = rows.iter().map(|row| row["name"].as_str());
    let amounts = rows.iter().map(|row| row["amount"].as_f64());
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(ids.collect::<Int64Array>()) as _),
        ("name", Arc::new(names.collect::<StringArray>()) as _),
        (
            "amount",
            Arc::new(amounts.collect::<arrow_array::Float64Array>()) as _,
        ),
    ])?;
    Ok(vec![batch])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sinks_keep_the_contract() {
    for (firehose, keys) in [
        (false, json!({})),
        (false, json!({ "partition_key": "id", "ordered": true })),
        (false, json!({ "aggregate": true })),
        (
            false,
            json!({ "partition_key": "id", "ordered": true, "aggregate": true }),
        ),
        (true, json!({})),
    ] {
        let server = Arc::new(Strict::start().await);
        let (aws, behind) = (server.settings(), Arc::clone(&server));
        let missing = move |keys: Value| {
            move || {
                let mut keys = keys.clone();
                keys["stream"] = keys.get("stream").cloned().unwrap_or("clicks".into());
                async move {
                    let config: KinesisSinkConfig = serde_json::from_value(keys).unwrap();
                    config.validate()
                }
            }
        };
        sink_suite(
            move |cx| {
                let mut keys = keys.clone();
                keys["stream"] = cx.common.pipeline.as_ref().into();
                keys["aws"] = aws.clone();
                async move {
                    if firehose {
                        let config: FirehoseSinkConfig = serde_json::from_value(keys).unwrap();
                        return config.open(&cx).await;
                    }
                    let config: KinesisSinkConfig = serde_json::from_value(keys).unwrap();
                    config.open(&cx).await
                }
            },
            move |cx| {
                let taken = taken_apart(&behind.taken(&cx.pipeline));
                async move { shown(&taken) }
            },
        )
        .in_order()
        .refuses(
            "no name",
            ErrorKind::Config,
            missing(json!({ "stream": "" })),
        )
        .refuses(
            "an order of random keys",
            ErrorKind::Config,
            missing(json!({ "ordered": true })),
        )
        .refuses(
            "a template that is none",
            ErrorKind::Config,
            missing(json!({ "partition_key": "{a" })),
        )
        .refuses(
            "records that are too large",
            ErrorKind::Config,
            missing(json!({ "max_record": "11 MiB" })),
        )
        .refuses(
            "no requests",
            ErrorKind::Config,
            missing(json!({ "in_flight": 0 })),
        )
        .check()
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_streams_that_aren_t_there_are_refused() {
    let (server, cx) = (Site::with_shards(1).await, context());
    let batch = batch(0..1, 1, 1);
    for (keys, kind) in [
        (json!({ "stream": "nothing" }), ErrorKind::NotFound),
        (
            json!({ "stream": "clicks", "partition_key": "kye" }),
            ErrorKind::Schema,
        ),
    ] {
        let aws = server.server.settings();
        let error = open::<KinesisSinkConfig>(&cx, keys, aws, &batch).await;
        assert_eq!(error.unwrap_err().kind(), kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_puts_what_a_source_reads_in_order() {
    for aggregate in [false, true] {
        check_pipeline(aggregate).await;
    }
}

async fn check_pipeline(aggregate: bool) {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::with_shards(3).await;
    let mut registry = Registry::linked().unwrap();
    let rows = |numbers: std::ops::Range<u32>| {
        let key = numbers.clone().map(|number| format!("k{}", number % 20));
        let payload = numbers.map(|number| format!("k{}:{number}", number % 20));
        RecordBatch::try_from_iter([
            (
                "user",
                Arc::new(key.map(Some).collect::<StringArray>()) as _,
            ),
            (
                "payload",
                Arc::new(payload.map(Some).collect::<StringArray>()) as _,
            ),
        ])
        .unwrap()
    };
    let (hand, source) = tidegate_program::source("rows", rows(0..1).schema());
    registry.add(source).unwrap();
    let mut spec = PipelineSpec::new("put", directory.path())
        .source("in", "rows", json!({}))
        .unwrap()
        .sink(
            "out",
            "kinesis",
            &["in"],
            json!({
                "stream": "clicks",
                "partition_key": "user",
                "format": "raw",
                "ordered": true,
                "aggregate": aggregate,
                "aws": site.server.settings_at(&site.proxy.url()),
            }),
        )
        .unwrap();
    spec.options.checkpoint.interval = Some(Span(Duration::from_millis(50)));
    let pipeline = Pipeline::new(spec, registry, Map::new()).unwrap();
    let options = RunOptions {
        state: directory.path().join("state").into(),
        ..RunOptions::default()
    };
    let running = tokio::spawn(async move { pipeline.run(options).await });
    for from in [0, 500, 1000, 1500] {
        hand.send(rows(from..from + 500)).await.unwrap();
    }
    drop(hand);
    let (report, result) = running.await.unwrap();
    result.unwrap();
    let sink = report
        .components
        .iter()
        .find(|one| one.id.as_str() == "out");
    let sink = sink.unwrap();
    assert_eq!((sink.rows_in, report.rejected), (2000, 0));
    assert!(sink.bytes > 2000 * 6, "{} bytes", sink.bytes);
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let read = read_all(source.as_ref()).await.unwrap();
    assert_in_order(&read, 0..2000, 20);
    let records = records_of(&read);
    match aggregate {
        true => assert!(records < 500, "{records} records"),
        false => assert_eq!(records, 2000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_delivers_to_a_bucket() {
    let (server, cx) = (moto(), context());
    server.bucket("archive");
    let settings = serde_json::from_value(server.settings()).unwrap();
    let aws = tidegate_aws::Aws::connect(&settings, &Arc::default()).await;
    let client = aws_sdk_firehose::Client::new(aws.unwrap().config());
    // moto tells only what it was told, and the SDK takes no less than AWS tells.
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn("arn:aws:iam::123456789012:role/firehose")
        .compression_format(CompressionFormat::Uncompressed)
        .buffering_hints(BufferingHints::builder().build())
        .encryption_configuration(EncryptionConfiguration::builder().build())
        .bucket_arn("arn:aws:s3:::archive")
        .prefix("rows/")
        .build()
        .unwrap();
    let request = client.create_delivery_stream();
    let request = request.delivery_stream_name("rows");
    let request = request.extended_s3_destination_configuration(destination);
    request.send().await.unwrap();
    let batch = batch(0..700, 5, 3);
    let keys = json!({ "stream": "rows", "newline": true });
    let sink = open::<FirehoseSinkConfig>(&cx, keys, server.settings(), &batch)
        .await
        .unwrap();
    sealed(sink.as_ref(), 1, vec![vec![batch.clone()]])
        .await
        .unwrap();
    let mut text = Vec::new();
    for object in server.objects("archive", "rows/") {
        text.extend(server.get("archive", &object.key));
    }
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines: Vec<Taken> = lines.map(|line| (None, line.to_vec())).collect();
    let mut numbers = numbers(&lines);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..700));
    let keys = json!({ "stream": "nothing" });
    let error = open::<FirehoseSinkConfig>(&cx, keys, server.settings(), &batch).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}
