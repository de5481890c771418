//! What is read, and that it is read on from any position.

use std::sync::Arc;

use serde_json::json;
use tidegate_core::{ErrorKind, SourceConfig};
use tidegate_testkit::suites::{context, source_suite};

use crate::site::{Row, Site, aggregated, config, plan, read, read_all};

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_exactly_the_records() {
    let site = Site::with_shards(3).await;
    let keys: Vec<_> = (0..700).map(|number| format!("größe-{number}")).collect();
    let data: Vec<Vec<u8>> = (0..700_u32)
        .map(|number| match number % 3 {
            0 => format!("{{\"number\":{number}}}").into_bytes(),
            1 => number.to_string().into_bytes(),
            _ => vec![b'x'; 100 + usize::try_from(number).unwrap()],
        })
        .collect();
    let records = keys.iter().zip(&data);
    let records: Vec<_> = records
        .map(|(key, data)| (key.as_str(), data.as_slice()))
        .collect();
    let put = site.put(&records).await;
    let mut expected: Vec<_> = records
        .iter()
        .zip(put)
        .map(|((key, data), (shard, sequence))| Row {
            payload: String::from_utf8_lossy(data).into_owned(),
            key: Some((*key).to_owned()),
            sequence,
            sub: None,
            shard,
        })
        .collect();
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let mut rows = read_all(source.as_ref()).await.unwrap();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
    let shards: std::collections::BTreeSet<_> = rows.iter().map(|row| &row.shard).collect();
    assert_eq!(shards.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregated_records_are_taken_apart() {
    let site = Site::with_shards(1).await;
    let two = aggregated(&[("a", b"one".to_vec()), ("b", b"two".to_vec())]);
    let mut broken = two.clone();
    *broken.last_mut().unwrap() ^= 1;
    site.put(&[("x", &two), ("y", b"plain"), ("z", &broken)])
        .await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let rows = read_all(source.as_ref()).await.unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.key.as_deref().unwrap(), row.payload.as_str(), row.sub))
        .collect();
    assert_eq!(
        found,
        [
            ("a", "one", Some(0)),
            ("b", "two", Some(1)),
            ("y", "plain", None),
            ("z", &*String::from_utf8_lossy(&broken), None),
        ]
    );
    assert_eq!(rows[0].sequence, rows[1].sequence);
}

/// A stream with what gives many positions: plain records over several events, and an aggregated
/// one that is cut.
async fn varied(site: &Site) -> u64 {
    let large: Vec<_> = (0..3000)
        .map(|number| ("k", format!("{number:0300}").into_bytes()))
        .collect();
    let large = aggregated(&large);
    let small = aggregated(&[("a", b"one".to_vec()), ("b", b"two".to_vec())]);
    let fat = vec![b'.'; 400 << 10];
    let mut records: Vec<(&str, &[u8])> = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        records.extend([(key, &fat[..]), (key, b"thin"), (key, &small[..])]);
    }
    records.insert(4, ("e", &large));
    records.push(("c", b"last"));
    for record in records {
        site.put(&[record]).await;
    }
    5 * 4 + 3000 + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_keeps_the_contract() {
    let site = Arc::new(Site::with_shards(2).await);
    let rows = varied(&site).await;
    let server = site.server.settings();
    let missing = move |keys: serde_json::Value| {
        let server = server.clone();
        move || {
            let mut keys = keys.clone();
            keys["aws"] = server.clone();
            async move {
                let config = config(keys);
                config.validate()?;
                config.open(&context().source()).await.map(drop)
            }
        }
    };
    let opened = Arc::clone(&site);
    let report = source_suite(move || {
        let site = Arc::clone(&opened);
        async move { site.open(json!({ "until": "now" })).await }
    })
    .rows("records", rows)
    .resumes(12)
    .refuses(
        "a stream that isn't there",
        ErrorKind::NotFound,
        missing(json!({ "stream": "nothing" })),
    )
    .refuses(
        "a name that is none",
        ErrorKind::Config,
        missing(json!({ "stream": "no name" })),
    )
    .refuses(
        "a poll that is too fast",
        ErrorKind::Config,
        missing(json!({ "stream": "clicks", "poll_interval": "1ms" })),
    )
    .refuses(
        "a beginning in the future",
        ErrorKind::Config,
        missing(json!({ "stream": "clicks", "start": { "at_timestamp": "2999-01-01T00:00:00Z" } })),
    )
    .report()
    .await;
    // The connections belong to the process's one pool, which outlives the source. That no dropped
    // stream keeps one of its own, the same check has counted before.
    let idle = "the source was closed and dropped, and ";
    let failed = report.failed.iter();
    let failed = failed.filter(|failure| !failure.why.starts_with(idle));
    assert_eq!(failed.count(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_in_the_middle_of_an_aggregated_record() {
    let site = Site::with_shards(1).await;
    let rows = varied(&site).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let splits = plan(source.as_ref(), None, &[], true).await.unwrap().new;
    let whole = read(source.as_ref(), &splits[0], None).await.unwrap();
    let all: Vec<_> = whole.iter().flat_map(|(rows, _)| rows.clone()).collect();
    assert_eq!(all.len() as u64, rows);
    let mut inside = 0;
    let mut before = 0;
    for (rows, resume) in &whole {
        before += rows.len();
        let resume = resume.as_ref().unwrap();
        let shown = serde_json::to_value(resume).unwrap();
        inside += usize::from(shown.get("sub").is_some());
        let later = site.open(json!({ "until": "now" })).await.unwrap();
        let rest = read(later.as_ref(), &splits[0], Some(resume))
            .await
            .unwrap();
        let rest: Vec<_> = rest.into_iter().flat_map(|(rows, _)| rows).collect();
        assert_eq!(rest, all[before..], "after {shown}");
    }
    assert!(inside >= 2, "{inside} positions in an aggregated record");
    assert!(whole.len() >= 6, "{} events", whole.len());
}
