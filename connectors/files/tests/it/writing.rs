use std::io::Read;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tidegate_core::{
    ComponentId, Epoch, ErrorKind, Origin, Prepared, Rejected, RunId, Sink, Visibility, WriterId,
};
use tidegate_testkit::suites::{Hand, killed};

use crate::support::{Bench, batch, ids, prepare, read_all, source};

fn id(epoch: u64, index: u32) -> WriterId {
    let epoch = Epoch(epoch);
    WriterId {
        epoch,
        executor: 0,
        index,
    }
}

fn bench(config: Value) -> Bench {
    Bench::new(config, batch(0..1).schema())
}

async fn written(bench: &Bench, batches: Vec<Vec<RecordBatch>>) -> Arc<dyn Sink> {
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, batches).await;
    assert!(
        bench.files().iter().all(|name| name.contains("/.")),
        "{:?}",
        bench.files()
    );
    sink.commit(&bench.commit(&prepared)).await.unwrap();
    sink
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_back_from_one_file_whatever_the_format() {
    for name in [
        "a.ndjson",
        "a.ndjson.gz",
        "a.ndjson.zst",
        "a.csv",
        "a.csv.gz",
        "a.json",
        "a.json.gz",
        "a.parquet",
    ] {
        let bench = bench(json!({"url": format!("out/{name}")}));
        let batches = (0..4)
            .map(|i| vec![batch(i * 20_000..(i + 1) * 20_000)])
            .collect();
        written(&bench, batches).await;
        let files = bench.files();
        assert_eq!(files.len(), 1, "{name}: {files:?}");
        assert!(files[0].starts_with("out/a-"), "{files:?}");
        let source = source(bench.dir.path(), json!({"url": files[0]}))
            .await
            .unwrap();
        let (batches, rejected) = read_all(&source).await.unwrap();
        assert!(rejected.is_empty(), "{name}");
        let mut ids = ids(&batches);
        ids.sort_unstable();
        assert!(
            ids == (0..80_000).collect::<Vec<_>>(),
            "{name}: {} rows",
            ids.len()
        );
    }
}

#[tokio::test]
async fn each_record_has_a_line_and_csv_one_header() {
    let bench = bench(json!({"url": "out"}));
    written(&bench, vec![vec![batch(0..3)]]).await;
    let text = bench.text(&bench.files()[0]);
    assert_eq!(text.lines().count(), 3);
    assert!(text.ends_with("}\n"));
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"id": 0, "name": "name \"0\", of many"}));

    let bench = self::bench(json!({"url": "out/x.csv.gz"}));
    written(&bench, vec![vec![batch(0..2)], vec![batch(2..4)]]).await;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&bench.bytes(&bench.files()[0])[..])
        .read_to_string(&mut text)
        .unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.remove(0), "id,name");
    lines.sort_unstable();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], "0,\"name \"\"0\"\", of many\"");
}

#[tokio::test]
async fn the_fields_of_tsv_are_written_between_tabs() {
    let bench = bench(json!({"url": "out/x.tsv"}));
    written(&bench, vec![vec![batch(0..1)]]).await;
    let text = bench.text(&bench.files()[0]);
    assert_eq!(text, "id\tname\n0\t\"name \"\"0\"\", of many\"\n");
}

#[tokio::test]
async fn files_end_near_their_target() {
    let bench = bench(json!({"url": "out", "target_file_size": "2 MB"}));
    let batches = vec![(0..20).map(|i| batch(i * 5000..(i + 1) * 5000)).collect()];
    written(&bench, batches).await;
    let sizes: Vec<_> = bench
        .files()
        .iter()
        .map(|name| bench.bytes(name).len())
        .collect();
    assert_eq!(sizes.len(), sizes.iter().sum::<usize>() / 2_000_000);
    assert!(sizes.iter().all(|size| *size < 4_000_000), "{sizes:?}");
}

#[tokio::test]
async fn raw_payloads_become_files_byte_for_byte() {
    let payloads: [&[u8]; 3] = [b"{\"a\":1}", b"", b"\x00\xff\n"];
    let column: ArrayRef = Arc::new(BinaryArray::from_vec(payloads.to_vec()));
    let urls: ArrayRef = Arc::new(StringArray::from(vec!["u"; 3]));
    let batch = RecordBatch::try_from_iter([("url", urls), ("body", column)]).unwrap();
    let bench = Bench::new(
        json!({"url": "raw/{stream}.json", "format": "raw"}),
        batch.schema(),
    );
    written(&bench, vec![vec![batch]]).await;
    let mut contents: Vec<_> = bench.files().iter().map(|name| bench.bytes(name)).collect();
    contents.sort();
    let mut expected: Vec<_> = payloads.iter().map(|payload| payload.to_vec()).collect();
    expected.sort();
    assert_eq!(contents, expected);
    assert!(bench.files()[0].starts_with("raw/shop.sales-"));
}

#[tokio::test]
async fn recovery_keeps_what_is_kept_and_removes_the_rest() {
    let bench = bench(json!({"url": "out/{stream}/{date}"}));
    let sink = bench.open().await.unwrap();
    let kept = prepare(&sink, 1, vec![vec![batch(0..5)]]).await;
    prepare(&sink, 2, vec![vec![batch(5..9)]]).await;
    let opening = bench.opening();
    let dies = async move {
        let sink = opening.await.unwrap();
        let epoch = sink.epoch(Epoch(3)).await.unwrap();
        let mut writer = Hand::open(&epoch, id(3, 0)).await.unwrap();
        writer.write(0, batch(0..50_000)).await.unwrap();
        std::mem::forget((sink, epoch, writer));
    };
    killed(dies).await.unwrap();
    let again = bench.open().await.unwrap();
    for _ in 0..2 {
        bench.recover(&again, &kept).await;
        assert_eq!(bench.files().len(), 1);
        again.commit(&bench.commit(&kept)).await.unwrap();
    }
    sink.commit(&bench.commit(&kept)).await.unwrap();
    let files = bench.files();
    assert_eq!(files.len(), 1);
    assert!(files[0].starts_with("out/shop.sales/20"), "{files:?}");
    assert_eq!(bench.text(&files[0]).lines().count(), 5);
}

#[tokio::test]
async fn an_epoch_that_is_given_up_leaves_nothing() {
    let bench = bench(json!({"url": "out", "target_file_size": "100 KB"}));
    let sink = bench.open().await.unwrap();
    let epoch = sink.epoch(Epoch(1)).await.unwrap();
    for index in 0..2 {
        let mut writer = Hand::open(&epoch, id(1, index)).await.unwrap();
        writer.write(0, batch(0..50_000)).await.unwrap();
    }
    while bench.files().is_empty() {
        tokio::task::yield_now().await;
    }
    epoch.abandon().await;
    assert!(bench.files().is_empty());
}

/// A whole run of the given epochs, up to its commit.
async fn run(bench: &mut Bench, epochs: &[std::ops::Range<i64>]) -> (Arc<dyn Sink>, Vec<Prepared>) {
    bench.cx.common.run = RunId::new();
    let sink = bench.open().await.unwrap();
    let mut prepared = Vec::new();
    for (epoch, ids) in (1..).zip(epochs) {
        prepared.extend(prepare(&sink, epoch, vec![vec![batch(ids.clone())]]).await);
    }
    prepared.extend(sink.conclude(&prepared).await.unwrap());
    (sink, prepared)
}

#[tokio::test]
async fn overwrite_uses_the_plain_name_for_a_single_file_and_spares_what_is_not_its_own() {
    let mut bench = bench(json!({"url": "out/x.ndjson", "mode": "overwrite"}));
    let (one, two, none) = (0..3, 3..5, 0..0);
    let (sink, first) = run(&mut bench, std::slice::from_ref(&one)).await;
    assert_eq!(sink.visibility(), Visibility::Run);
    sink.commit(&bench.commit(&first)).await.unwrap();
    assert_eq!(bench.files(), ["out/x.ndjson"]);
    std::fs::write(bench.dir.path().join("out/x-mine.ndjson"), "stays").unwrap();

    // Two files can't have one name.
    let (second_sink, second) = run(&mut bench, &[one.clone(), two.clone()]).await;
    second_sink.commit(&bench.commit(&second)).await.unwrap();
    let mut files = bench.files();
    files.retain(|name| !name.contains("mine"));
    assert_eq!(files.len(), 2);
    assert!(!files.contains(&"out/x.ndjson".to_owned()));

    let (third_sink, third) = run(&mut bench, std::slice::from_ref(&two)).await;
    third_sink.commit(&bench.commit(&third)).await.unwrap();
    assert_eq!(bench.files(), ["out/x-mine.ndjson", "out/x.ndjson"]);
    // Those who were fenced off come late.
    for (sink, prepared) in [(&sink, &first), (&third_sink, &third)] {
        sink.commit(&bench.commit(prepared)).await.unwrap();
    }
    let late = second_sink
        .commit(&bench.commit(&second))
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert_eq!(bench.text("out/x.ndjson").lines().count(), 2);
    assert_eq!(bench.files(), ["out/x-mine.ndjson", "out/x.ndjson"]);

    let (sink, empty) = run(&mut bench, std::slice::from_ref(&none)).await;
    sink.commit(&bench.commit(&empty)).await.unwrap();
    assert_eq!(bench.files(), ["out/x-mine.ndjson"]);
}

#[tokio::test]
async fn what_cannot_work_is_refused_and_leaves_nothing() {
    for (config, kind) in [
        (json!({"url": "out/{strem}.csv"}), ErrorKind::Config),
        (
            json!({"url": "out", "format": "raw", "csv": {"quote": "xx"}}),
            ErrorKind::Config,
        ),
        (
            json!({"url": "out/x.parquet", "compression": "gzip"}),
            ErrorKind::Config,
        ),
        (
            json!({"url": "out", "target_file_size": 0}),
            ErrorKind::Config,
        ),
        (
            json!({"url": "out/{date}", "time_zone": "Europe/Berln"}),
            ErrorKind::Config,
        ),
    ] {
        let bench = bench(config.clone());
        assert_eq!(bench.open().await.unwrap_err().kind(), kind, "{config}");
        assert!(bench.files().is_empty());
    }
}

#[tokio::test]
async fn files_lie_where_their_zone_has_the_time() {
    // It is never the same date in both.
    let mut found = Vec::new();
    for zone in ["Etc/GMT-14", "Etc/GMT+12"] {
        let bench = bench(json!({"url": "out/{date}", "time_zone": zone}));
        let before = Utc::now();
        written(&bench, vec![vec![batch(0..1)]]).await;
        let ahead = if zone == "Etc/GMT-14" { 14 } else { -12 };
        let date = |time: DateTime<Utc>| {
            (time + TimeDelta::hours(ahead))
                .format("out/%F/")
                .to_string()
        };
        let wanted = [before, Utc::now()].map(date);
        let [name] = &bench.files()[..] else {
            panic!("{:?}", bench.files())
        };
        assert!(wanted.iter().any(|one| name.starts_with(one)), "{name}");
        found.push(name[..wanted[0].len()].to_owned());
    }
    assert_ne!(found[0], found[1]);
}

#[tokio::test]
async fn rejected_rows_can_lie_in_directories_of_times() {
    let config = json!({"url": "bad/{stream}/{%Y/%m/%d/%H}/", "format": "ndjson"});
    let mut bench = Bench::new(config, Rejected::schema());
    bench.cx.inputs[0].name = "rows.rejected".into();
    let mut rejected = Rejected::default();
    rejected.push("a row", "a reason", Origin::default());
    let before = Utc::now();
    let rows = rejected
        .to_batch(&ComponentId::new("rows").unwrap())
        .unwrap();
    written(&bench, vec![vec![rows]]).await;
    let directory = |time: DateTime<Utc>| {
        time.format("bad/rows.rejected/%Y/%m/%d/%H/part-")
            .to_string()
    };
    let wanted = [before, Utc::now()].map(directory);
    let [name] = &bench.files()[..] else {
        panic!("{:?}", bench.files())
    };
    assert!(wanted.iter().any(|one| name.starts_with(one)), "{name}");
    let row: Value = serde_json::from_str(&bench.text(name)).unwrap();
    assert_eq!(
        (&row["component"], &row["reason"]),
        (&json!("rows"), &json!("a reason"))
    );
}

#[tokio::test]
async fn two_sinks_of_a_pipeline_can_share_a_directory() {
    let mut bench = bench(json!({"url": "out"}));
    written(&bench, vec![vec![batch(0..3)]]).await;
    bench.cx.common.id = ComponentId::new("other").unwrap();
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![batch(3..5)]]).await;
    sink.commit(&bench.commit(&prepared)).await.unwrap();
    let lines = |name: &String| bench.text(name).lines().count();
    assert_eq!(bench.files().iter().map(lines).sum::<usize>(), 5);
}

#[tokio::test]
async fn a_name_that_would_be_too_long_is_refused_when_the_sink_is_opened() {
    for (url, fits) in [
        (format!("out/{}.ndjson", "x".repeat(180)), true),
        (format!("out/{}.ndjson", "x".repeat(230)), false),
        (format!("out/{}{{part}}.csv", "x".repeat(230)), false),
        (format!("out/{{stream}}{}/x.csv", "y".repeat(250)), false),
    ] {
        let bench = bench(json!({ "url": url }));
        match bench.open().await {
            Ok(_) => assert!(fits, "{url}"),
            Err(error) => {
                assert!(!fits, "{error:?}");
                assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
                assert!(error.context().contains(&("key", "url".to_owned())));
                assert!(error.hint_text().unwrap().contains("255"), "{error:?}");
            }
        }
        assert!(bench.files().is_empty());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_overwrite_deletes_nothing_behind_a_link() {
    let config = json!({"url": "out/{stream}/{part}/x.ndjson", "mode": "overwrite"});
    let mut bench = bench(config);
    let one = 0..3;
    let (sink, first) = run(&mut bench, std::slice::from_ref(&one)).await;
    sink.commit(&bench.commit(&first)).await.unwrap();
    // What this sink wrote is elsewhere now, and is somebody's.
    let directory = bench.dir.path().join("out/shop.sales");
    let [name] = &bench.files()[..] else {
        panic!("{:?}", bench.files())
    };
    let part = directory.join(name.split('/').nth(2).unwrap());
    let precious = bench.dir.path().join("precious");
    std::fs::rename(&part, &precious).unwrap();
    std::os::unix::fs::symlink("../../precious", &part).unwrap();
    let (sink, second) = run(&mut bench, std::slice::from_ref(&one)).await;
    sink.commit(&bench.commit(&second)).await.unwrap();
    assert!(precious.join("x.ndjson").exists());
    assert!(part.is_symlink());

    // Nor does it write there.
    std::fs::rename(&directory, bench.dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink("../other", &directory).unwrap();
    let sink = bench.open().await.unwrap();
    let refused = tidegate_testkit::suites::sealed(sink.as_ref(), 1, vec![vec![batch(0..1)]]);
    let error = refused.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let prepared: Vec<_> = sink.conclude(&[]).await.unwrap().into_iter().collect();
    sink.commit(&bench.commit(&prepared)).await.unwrap();
    assert!(precious.join("x.ndjson").exists());
}
