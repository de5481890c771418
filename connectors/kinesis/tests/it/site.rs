//! A stream in kinesis-local, and readings of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::Array as _;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use futures::StreamExt;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tidegate_aws::Aws;
use tidegate_core::{
    Ask, Event, FinishedSplit, Offset, PlanState, Result, Rows, Scan, Source, SourceConfig, Split,
};
use tidegate_kinesis::KinesisConfig;
use tidegate_testkit::servers::{AwsServer, Proxy, kinesis};
use tidegate_testkit::suites::{TestContext, context};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// kinesis-local behind a proxy.
pub(crate) struct Site {
    pub(crate) server: AwsServer,
    pub(crate) proxy: Proxy,
    pub(crate) client: Client,
    cx: TestContext,
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) payload: String,
    pub(crate) key: Option<String>,
    pub(crate) sequence: String,
    pub(crate) sub: Option<i64>,
    pub(crate) shard: String,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::on(kinesis()).await
    }

    /// On another server.
    pub(crate) async fn on(server: AwsServer) -> Self {
        let proxy = Proxy::before(&server.url());
        let settings = serde_json::from_value(server.settings()).unwrap();
        let aws = Aws::connect(&settings, &Arc::default()).await.unwrap();
        Self {
            client: Client::new(aws.config()),
            cx: context(),
            server,
            proxy,
        }
    }

    /// With a stream `clicks` of so many shards.
    pub(crate) async fn with_shards(shards: i32) -> Self {
        let site = Self::start().await;
        site.make(shards).await;
        site
    }

    pub(crate) async fn make(&self, shards: i32) {
        let request = self.client.create_stream().stream_name("clicks");
        request.shard_count(shards).send().await.unwrap();
        self.active().await;
    }

    async fn active(&self) {
        let wait = async {
            loop {
                let request = self.client.describe_stream_summary();
                let about = request.stream_name("clicks").send().await.unwrap();
                let about = about.stream_description_summary.unwrap();
                if about.stream_status == StreamStatus::Active {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    /// Puts records, by key and payload; gives the shard and the sequence number of each.
    pub(crate) async fn put(&self, records: &[(&str, &[u8])]) -> Vec<(String, String)> {
        let mut put = Vec::new();
        for records in records.chunks(500) {
            let entry = |(key, data): &(&str, &[u8])| {
                PutRecordsRequestEntry::builder()
                    .partition_key(*key)
                    .data(Blob::new(*data))
                    .build()
                    .unwrap()
            };
            let request = self.client.put_records().stream_name("clicks");
            let entries = records.iter().map(entry).collect();
            let answer = request.set_records(Some(entries)).send().await.unwrap();
            assert_eq!(answer.failed_record_count(), Some(0));
            put.extend(
                answer
                    .records
                    .into_iter()
                    .map(|record| (record.shard_id.unwrap(), record.sequence_number.unwrap())),
            );
        }
        put
    }

    /// Puts records `{key}:{number}` for these numbers, of so many keys.
    pub(crate) async fn put_numbers(&self, numbers: std::ops::Range<u32>, keys: u32) {
        let records: Vec<_> = numbers
            .map(|number| (format!("k{}", number % keys), number))
            .map(|(key, number)| (format!("{key}:{number}"), key))
            .collect();
        let records: Vec<_> = records
            .iter()
            .map(|(data, key)| (key.as_str(), data.as_bytes()))
            .collect();
        self.put(&records).await;
    }

    pub(crate) async fn shards(&self) -> Vec<Shard> {
        let request = self.client.list_shards().stream_name("clicks");
        request.send().await.unwrap().shards.unwrap()
    }

    /// Splits a shard in its middle.
    pub(crate) async fn split(&self, shard: &str) {
        let shards = self.shards().await;
        let range = shards.iter().find(|one| one.shard_id == shard).unwrap();
        let range = range.hash_key_range.clone().unwrap();
        let (from, to): (u128, u128) = (
            range.starting_hash_key.parse().unwrap(),
            range.ending_hash_key.parse().unwrap(),
        );
        let middle = from + (to - from) / 2 + 1;
        let request = self.client.split_shard().stream_name("clicks");
        let request = request.shard_to_split(shard);
        let request = request.new_starting_hash_key(middle.to_string());
        request.send().await.unwrap();
        self.active().await;
    }

    pub(crate) async fn merge(&self, shard: &str, other: &str) {
        let request = self.client.merge_shards().stream_name("clicks");
        let request = request.shard_to_merge(shard).adjacent_shard_to_merge(other);
        request.send().await.unwrap();
        self.active().await;
    }

    /// The keys of a source, by way of the proxy.
    pub(crate) fn keys(&self, more: Value) -> Value {
        let mut keys = json!({
            "stream": "clicks",
            "poll_interval": "200ms",
            "discover_interval": "1s",
            "aws": self.server.settings_at(&self.proxy.url()),
        });
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        keys
    }

    pub(crate) async fn open(&self, more: Value) -> Result<Arc<dyn Source>> {
        let config = config(self.keys(more));
        config.validate()?;
        config.open(&self.cx.source()).await
    }

    /// How often something was tried again.
    pub(crate) fn retries(&self) -> u64 {
        self.cx.source().metrics.total_retries()
    }
}

pub(crate) fn config(keys: Value) -> KinesisConfig {
    serde_json::from_value(keys).unwrap()
}

pub(crate) fn scans() -> Vec<Scan> {
    vec![Scan::all("records")]
}

/// Asks for splits.
pub(crate) async fn plan(
    source: &dyn Source,
    state: Option<&PlanState>,
    finished: &[FinishedSplit],
    first: bool,
) -> Result<tidegate_core::Plan> {
    let ask = Ask {
        scans: &scans(),
        state,
        finished,
        first,
    };
    source.plan(&ask).await
}

/// Reads a split to its end, with the position after each event.
pub(crate) async fn read(
    source: &dyn Source,
    split: &Split,
    resume: Option<&Offset>,
) -> Result<Vec<(Vec<Row>, Option<Offset>)>> {
    let mut events = source.read(split, &scans(), resume).await?;
    let mut read = Vec::new();
    while let Some(event) = tokio::time::timeout(PATIENCE, events.next()).await.unwrap() {
        read.push(rows(event?));
    }
    Ok(read)
}

/// The rows of an event, and the position after it.
pub(crate) fn rows(event: Event) -> (Vec<Row>, Option<Offset>) {
    let resume = event.position().cloned();
    let rows = match event {
        Event::Rows {
            rows: Rows::Encoded(encoded),
            ..
        } => encoded.decode().unwrap().batches,
        _ => Vec::new(),
    };
    (rows.iter().flat_map(rows_of).collect(), resume)
}

/// A batch's rows.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name| batch.column_by_name(name).unwrap();
    let text = |name, row| {
        let column = column(name).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let rows = (0..batch.num_rows()).map(|row| {
        let payload = column("payload").as_binary::<i32>().value(row);
        let sub = column("sub_sequence").as_primitive::<Int64Type>();
        let arrival = column("arrival_time").as_primitive::<TimestampMillisecondType>();
        assert!(arrival.value(row) > 1_700_000_000_000);
        Row {
            payload: String::from_utf8_lossy(payload).into_owned(),
            key: text("partition_key", row),
            sequence: text("sequence_number", row).unwrap(),
            sub: sub.is_valid(row).then(|| sub.value(row)),
            shard: text("shard_id", row).unwrap(),
        }
    });
    rows.collect()
}

/// Everything that there is in a run with an end, split by split.
pub(crate) async fn read_all(source: &dyn Source) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for split in plan(source, None, &[], true).await?.new {
        let events = read(source, &split, None).await?;
        all.extend(events.into_iter().flat_map(|(rows, _)| rows));
    }
    Ok(all)
}

/// The numbers of `put_numbers` by key, in the order in which they came.
pub(crate) fn numbers(rows: &[Row]) -> BTreeMap<String, Vec<u32>> {
    let mut numbers = BTreeMap::<_, Vec<u32>>::new();
    for row in rows {
        let (key, number) = row.payload.split_once(':').unwrap();
        assert_eq!(row.key.as_deref(), Some(key));
        let of = numbers.entry(key.to_owned()).or_default();
        of.push(number.parse().unwrap());
    }
    numbers
}

/// Asserts that each key has its numbers, all of them once, in their order.
pub(crate) fn assert_in_order(rows: &[Row], numbers: std::ops::Range<u32>, keys: u32) {
    let found = self::numbers(rows);
    for key in 0..keys {
        let expected: Vec<_> = numbers
            .clone()
            .filter(|number| number % keys == key)
            .collect();
        let found = found.get(&format!("k{key}")).cloned().unwrap_or_default();
        assert_eq!(found, expected, "k{key}");
    }
}

/// The same in any order.
pub(crate) fn assert_all(rows: &[Row], numbers: std::ops::Range<u32>) {
    let found = self::numbers(rows);
    let mut found: Vec<_> = found.into_values().flatten().collect();
    found.sort_unstable();
    assert_eq!(found, numbers.collect::<Vec<_>>());
}

/// An aggregated record, as the Kinesis Producer Library makes one.
pub(crate) fn aggregated(records: &[(&str, Vec<u8>)]) -> Vec<u8> {
    fn varint(out: &mut Vec<u8>, mut number: usize) {
        while number > 0x7f {
            out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        out.push(u8::try_from(number).unwrap());
    }
    fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
        out.push(field << 3 | 2);
        varint(out, bytes.len());
        out.extend(bytes);
    }
    let mut body = Vec::new();
    for (key, _) in records {
        bytes(&mut body, 1, key.as_bytes());
    }
    for (index, (_, data)) in records.iter().enumerate() {
        let mut record = vec![0x08];
        varint(&mut record, index);
        bytes(&mut record, 3, data);
        bytes(&mut body, 3, &record);
    }
    [
        &[0xF3, 0x89, 0x9A, 0xC2],
        &body[..],
        &Md5::digest(&body)[..],
    ]
    .concat()
}

/// How many records these rows were in.
pub(crate) fn records_of(rows: &[Row]) -> usize {
    let records = rows.iter().map(|row| (&row.shard, &row.sequence));
    records.collect::<BTreeSet<_>>().len()
}
