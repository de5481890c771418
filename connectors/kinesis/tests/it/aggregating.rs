//! Several rows in one record.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{BinaryArray, RecordBatch, StringArray};
use serde_json::json;
use tidegate_kinesis::KinesisSinkConfig;
use tidegate_testkit::suites::{context, sealed};

use crate::apart::{hash, records, taken_apart};
use crate::putting::{batch, batch_of, numbers, open};
use crate::site::{Row, Site, assert_all, assert_in_order, read_all, records_of};
use crate::strict::{Strict, Taken};

/// The largest record with several rows, its key included.
const LARGEST: usize = 51_200;

/// Asserts of each record that it isn't too large, and that its keys belong to one shard: the one that
/// has it.
fn assert_keeps_to_the_format(server: &Strict) {
    let taken = server.taken("clicks");
    let fake = server.now();
    for ((key, data), shard) in taken.iter().zip(&fake.shards_of) {
        let Some(rows) = records(data) else { continue };
        assert!(rows.len() > 1, "alone, it is a plain record");
        let key = key.as_deref().unwrap();
        assert!(data.len() + key.len() <= LARGEST);
        assert_eq!(rows[0].0.as_deref(), Some(key));
        for (key, _) in rows {
            assert_eq!(*shard, fake.shard_of(&key.unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_is_there_once_with_its_key_in_few_records() {
    let codes = vec!["ProvisionedThroughputExceededException", "InternalFailure"];
    for (refused, shards) in [(0.0, 1), (0.0, 4), (0.3, 4)] {
        for (rows, bytes, most) in [(4000, 10, 20), (300, 5000, 60), (30, 200_000, 30)] {
            let (server, cx) = (Strict::start().await, context());
            server.now().refused = refused;
            server.now().codes = codes.clone();
            server.now().shards = shards;
            let batch = batch(0..rows, 7, bytes);
            let keys =
                json!({ "stream": "clicks", "partition_key": "{key}-{number}", "aggregate": true });
            let aws = server.settings();
            let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &batch).await;
            let sealed = sealed(sink.unwrap().as_ref(), 1, vec![vec![batch]]).await;
            assert!(sealed.unwrap().rejected.is_empty());
            assert_keeps_to_the_format(&server);
            let taken = server.taken("clicks");
            assert!(
                taken.len() <= most,
                "{} records for {rows} rows",
                taken.len()
            );
            let apart = taken_apart(&taken);
            for ((key, _), number) in apart.iter().zip(numbers(&apart)) {
                assert_eq!(key.as_deref(), Some(&*format!("k{}-{number}", number % 7)));
            }
            let mut numbers = numbers(&apart);
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..rows), "each row once");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_keys_are_one_in_each_record() {
    let (server, cx) = (Strict::start().await, context());
    server.now().shards = 4;
    server.now().refused = 0.3;
    let batch = batch(0..4000, 7, 100);
    let keys = json!({ "stream": "clicks", "aggregate": true });
    let sink = open::<KinesisSinkConfig>(&cx, keys, server.settings(), &batch).await;
    let sealed = sealed(sink.unwrap().as_ref(), 1, vec![vec![batch]]).await;
    sealed.unwrap();
    assert_keeps_to_the_format(&server);
    let taken = server.taken("clicks");
    assert!(taken.len() < 20, "{} records", taken.len());
    let keys: BTreeSet<_> = taken.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), taken.len());
    for (key, data) in &taken {
        let rows = records(data).unwrap();
        assert!(rows.iter().all(|(of, _)| of == key));
    }
    let mut numbers = numbers(&taken_apart(&taken));
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..4000), "each row once");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_no_row_overtakes_one_of_its_key() {
    let (server, cx) = (Strict::start().await, context());
    server.now().refused = 0.3;
    server.now().shards = 3;
    let keys =
        json!({ "stream": "clicks", "partition_key": "key", "ordered": true, "aggregate": true });
    // Some are records of their own.
    let sizes = (0..1200).map(|number| if number % 100 == 3 { 60_000 } else { 1000 });
    let batch = batch_of(0..1200, 40, sizes);
    let aws = server.settings();
    let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &batch).await;
    sealed(sink.unwrap().as_ref(), 1, vec![vec![batch]])
        .await
        .unwrap();
    assert_keeps_to_the_format(&server);
    let taken = server.taken("clicks");
    assert!(taken.len() < 120, "{} records", taken.len());
    let apart = taken_apart(&taken);
    assert_eq!(apart.len(), 1200);
    let mut of = BTreeMap::<_, Vec<Taken>>::new();
    for row in apart {
        of.entry(row.0.clone()).or_default().push(row);
    }
    for (key, rows) in of {
        let numbers = numbers(&rows);
        assert!(
            numbers.is_sorted() && numbers.len() == 30,
            "{key:?}: {numbers:?}"
        );
    }
}

/// A row's own record has another limit than those with several.
#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_the_record_that_is_put() {
    let (server, cx) = (Strict::start().await, context());
    let keys = StringArray::from(vec![
        Some("a"),
        Some("b"),
        None,
        Some("鍵"),
        Some("a"),
        Some("b"),
    ]);
    let (most, over) = (vec![b'.'; 999], vec![b','; 1000]);
    let payloads: Vec<&[u8]> = vec![b"1", &over, b"2", b"", &most, b"3"];
    let batch = RecordBatch::try_from_iter([
        ("key", Arc::new(keys) as _),
        ("payload", Arc::new(BinaryArray::from(payloads)) as _),
    ]);
    let batch = batch.unwrap();
    let keys = json!({
        "stream": "clicks",
        "partition_key": "key",
        "format": "raw",
        "max_record": "1000 B",
        "aggregate": true,
    });
    let sink = open::<KinesisSinkConfig>(&cx, keys, server.settings(), &batch).await;
    let sealed = sealed(sink.unwrap().as_ref(), 1, vec![vec![batch]]).await;
    let rejected = sealed.unwrap().rejected.rows;
    let reasons = rejected.iter().map(|row| row.reason.as_str());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            "the record has 1001 bytes, and 1000 are the most",
            "column `key`: null, but it is the partition key",
        ]
    );
    let taken = server.taken("clicks");
    assert_eq!(taken.len(), 2);
    assert!(taken.contains(&(Some("a".to_owned()), most.clone())));
    let row = |key: &str, data: &[u8]| (Some(key.to_owned()), data.to_vec());
    let mut apart = taken_apart(&taken);
    apart.retain(|(_, data)| *data != most);
    assert_eq!(apart, [row("a", b"1"), row("鍵", b""), row("b", b"3")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_keys_aren_t_heeded_only_rows_of_one_share_a_record() {
    let (server, cx) = (Strict::start().await, context());
    server.now().shards = 4;
    server.now().heeds_keys = false;
    let keys = json!({ "stream": "clicks", "partition_key": "key", "aggregate": true });
    let like = batch(0..1, 1, 1);
    let sink = open::<KinesisSinkConfig>(&cx, keys, server.settings(), &like).await;
    let sink = sink.unwrap();
    let sent = vec![batch(0..400, 20, 10)];
    sealed(sink.as_ref(), 1, vec![sent]).await.unwrap();
    let taken = taken_apart(&server.taken("clicks"));
    assert!(taken.len() > 400 && taken.len() <= 800);
    let numbers: BTreeSet<_> = numbers(&taken).into_iter().collect();
    assert!(numbers.into_iter().eq(0..400), "each row");
    let before = server.taken("clicks").len();
    let sent = vec![batch(0..400, 20, 10)];
    sealed(sink.as_ref(), 2, vec![sent]).await.unwrap();
    let taken = server.taken("clicks");
    assert_eq!(taken.len() - before, 20, "one for each key");
}

/// Rows `user`, `payload` as `assert_in_order` expects them, some too large to share a record.
fn rows(numbers: Range<u32>, keys: u32) -> RecordBatch {
    let key = numbers.clone().map(|number| format!("k{}", number % keys));
    let payload = numbers.map(|number| {
        let width = if is_large(number) { 60_000 } else { 1 };
        format!("k{}:{number:0width$}", number % keys)
    });
    let column = |texts: Vec<String>| Arc::new(StringArray::from(texts)) as _;
    RecordBatch::try_from_iter([
        ("user", column(key.collect())),
        ("payload", column(payload.collect())),
    ])
    .unwrap()
}

fn is_large(number: u32) -> bool {
    number % 500 == 7
}

#[tokio::test(flavor = "multi_thread")]
async fn our_source_reads_what_was_aggregated() {
    for keys in [
        json!({ "partition_key": "user", "ordered": true }),
        json!({ "partition_key": "user" }),
        json!({}),
    ] {
        let (site, cx) = (Site::with_shards(3).await, context());
        let mut keys = keys;
        let random = keys.get("partition_key").is_none();
        keys["stream"] = "clicks".into();
        keys["aggregate"] = true.into();
        keys["format"] = "raw".into();
        let like = rows(0..1, 1);
        let ordered = keys.get("ordered").is_some();
        let aws = site.server.settings();
        let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &like).await;
        let sent = [0, 1000, 2000].map(|from| rows(from..from + 1000, 200));
        sealed(sink.unwrap().as_ref(), 1, vec![sent.to_vec()])
            .await
            .unwrap();
        let source = site.open(json!({ "until": "now" })).await.unwrap();
        let mut read = read_all(source.as_ref()).await.unwrap();
        let records = records_of(&read);
        assert!(records <= 30, "{records} records for 3000 rows");
        for row in &read {
            let (_, number) = row.payload.split_once(':').unwrap();
            assert_eq!(row.sub.is_none(), is_large(number.parse().unwrap()));
        }
        if random {
            let of = |row: &Row| (row.shard.clone(), row.sequence.clone(), row.key.clone());
            let keys: BTreeSet<_> = read.iter().map(of).collect();
            assert_eq!(keys.len(), records);
            for row in &mut read {
                row.key = row.payload.split_once(':').map(|(key, _)| key.to_owned());
            }
        }
        match ordered {
            true => assert_in_order(&read, 0..3000, 200),
            false => assert_all(&read, 0..3000),
        }
    }
}

/// The rows that a consumer of Amazon's library sees: no record with a key of another shard.
async fn as_amazon_s_library_sees(site: &Site, read: &[Row]) -> Vec<Row> {
    let mut ranges = BTreeMap::new();
    for shard in site.shards().await {
        let range = shard.hash_key_range.unwrap();
        let (first, last) = (range.starting_hash_key, range.ending_hash_key);
        let range = first.parse::<u128>().unwrap()..=last.parse().unwrap();
        ranges.insert(shard.shard_id, range);
    }
    let strange = read.iter().filter(|row| {
        let hash = hash(row.key.as_deref().unwrap());
        row.sub.is_some() && !ranges[&row.shard].contains(&hash)
    });
    let strange: BTreeSet<_> = strange.map(|row| &row.sequence).collect();
    let kept = read.iter().filter(|row| !strange.contains(&row.sequence));
    kept.cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_to_the_shards_of_their_keys_through_splits_and_merges() {
    let (site, cx) = (Site::with_shards(2).await, context());
    let keys = json!({
        "stream": "clicks",
        "partition_key": "user",
        "ordered": true,
        "format": "raw",
        "aggregate": true,
    });
    let aws = site.server.settings();
    let sink = open::<KinesisSinkConfig>(&cx, keys, aws, &rows(0..1, 1)).await;
    let sink = sink.unwrap();
    let mut from = 0;
    for epoch in 1..=4 {
        let sent = vec![
            rows(from..from + 500, 100),
            rows(from + 500..from + 1000, 100),
        ];
        sealed(sink.as_ref(), epoch, vec![sent]).await.unwrap();
        from += 1000;
        let shards = site.shards().await;
        let id = |at: usize| shards[at].shard_id.as_str();
        match epoch {
            1 => site.split(id(0)).await,
            2 => site.split(id(1)).await,
            // The children of the first.
            3 => site.merge(id(2), id(3)).await,
            _ => {}
        }
    }
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let read = read_all(source.as_ref()).await.unwrap();
    assert!(
        read.len() > 4000 && read.len() < 5500,
        "{} rows",
        read.len()
    );
    assert!(records_of(&read) < 80);
    let seen = as_amazon_s_library_sees(&site, &read).await;
    assert_in_order(&seen, 0..4000, 100);
}
