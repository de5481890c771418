//! Files that can't be read, and are passed over.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_core::{
    Acknowledged, Ask, Changed, Context, ErrorKind, Event, FinishedSplit, Next, Offset, Plan,
    PlannedSplit, Replay, Result, Revision, Rows, Scan, Source, Split, StreamName,
};

use crate::support::{context, csv, gzip, ids, ndjson, open_source, parquet, plan, source, write};

/// The stream of files that were passed over.
const FAILED: &str = StreamName::FAILED_FILES;

fn scans() -> [Scan; 2] {
    [Scan::all("rows"), Scan::all(FAILED)]
}

fn over(url: &str) -> Value {
    json!({"url": url, "on_file_error": "skip", "schema": [
        {"name": "id", "type": "int64"}, {"name": "name", "type": "string"},
    ]})
}

/// What a split gives: the ids of its rows; of a file that is passed over why, and how many of its rows are
/// told to come before; all positions.
type Read = (Vec<i64>, Option<(String, Option<u64>)>, Vec<Offset>);

async fn read(source: &Arc<dyn Source>, split: &Split, resume: Option<&Offset>) -> Result<Read> {
    let mut events = source.read(split, &scans(), resume).await?;
    let (mut found, mut failed, mut positions) = (Vec::new(), None, Vec::new());
    while let Some(event) = events.next().await {
        let event = event?;
        assert_eq!(failed, None, "nothing comes after it");
        positions.extend(event.position().cloned());
        let Event::Rows { stream, rows, .. } = event else {
            panic!("another event");
        };
        match rows {
            Rows::Encoded(rows) => found.extend(ids(&rows.decode()?.batches)),
            Rows::Batch(batch) => {
                assert_eq!((stream.as_str(), batch.num_rows()), (FAILED, 1));
                let error = batch.column_by_name("error").unwrap().as_string::<i32>();
                let rows = batch.column_by_name("rows_committed").unwrap();
                let rows = rows.as_primitive::<UInt64Type>().iter().next().unwrap();
                failed = Some((error.value(0).to_owned(), rows));
            }
        }
    }
    Ok((found, failed, positions))
}

fn name(split: &Split) -> &str {
    split.id.as_str().split('@').next().unwrap()
}

#[tokio::test]
async fn each_kind_of_bad_file_is_passed_over_and_the_good_ones_are_read() {
    let cut = gzip(csv(0..5_000).as_bytes());
    let wide = parquet(0..10, 10);
    let bad: [(&str, &str, &[u8], &str); 5] = [
        ("csv.gz", "a.csv.gz", &cut[..cut.len() / 2], "truncated"),
        ("ndjson.gz", "b.ndjson.gz", b"no gzip at all", "gzip"),
        ("csv", "c.csv", b"id,nom\n1,x\n", "`name`"),
        ("parquet", "d.parquet", &wide[..wide.len() - 9], "Parquet"),
        ("parquet", "e.parquet", b"PAR1", "Parquet"),
    ];
    for (extension, file, bytes, why) in bad {
        let dir = tempfile::tempdir().unwrap();
        let good = format!("good.{extension}");
        let whole = match extension {
            "csv" => csv(0..3).into_bytes(),
            "csv.gz" => gzip(csv(0..3).as_bytes()),
            "ndjson.gz" => gzip(ndjson(0..3).as_bytes()),
            _ => parquet(0..3, 3),
        };
        write(dir.path(), file, bytes);
        write(dir.path(), &good, whole);
        write(dir.path(), "notes.txt", "these are no rows");
        let source = source(dir.path(), over(".")).await.unwrap();
        let streams = source.streams();
        assert_eq!(streams[1].name.as_str(), FAILED);
        assert_eq!(streams[1].replay, Replay::Offset);
        let first = plan(&source, None, true).await.unwrap();
        assert_eq!(first.next, Next::WhenFinished);
        assert_eq!(first.new.len(), 3, "{file}");
        for split in &first.new {
            let (rows, failed, positions) = read(&source, split, None).await.unwrap();
            match name(split) {
                is if is == good => assert_eq!((rows, failed), (vec![0, 1, 2], None)),
                is => {
                    let (error, committed) = failed.unwrap();
                    let said = if is == file { why } else { "format" };
                    assert!(error.contains(said), "{is}: {error}");
                    assert_eq!((rows, committed), (vec![], Some(0)), "{is}");
                    let last = positions.last();
                    let (rows, failed, _) = read(&source, split, last).await.unwrap();
                    assert_eq!((rows, failed), (vec![], None), "nothing is behind it");
                }
            }
        }
        // By default it ends the run, and says what else there is.
        let mut config = over(".");
        config["on_file_error"] = "fail".into();
        config["url"] = file.into();
        let error = match crate::support::source(dir.path(), config).await {
            Err(error) => error,
            Ok(source) => crate::support::read_all(&source).await.unwrap_err(),
        };
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("on_file_error"), "{file}: {error:?}");
    }
}

/// A compressed file that ends in the middle, of more than one event.
fn truncated() -> Vec<u8> {
    let mut bytes = gzip(ndjson(0..200_000).as_bytes());
    bytes.truncate(bytes.len() - 1_000);
    bytes
}

#[tokio::test]
async fn from_each_position_the_same_file_is_passed_over_at_the_same_row() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson.gz", truncated());
    let source = source(dir.path(), over("a.ndjson.gz")).await.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    let (all, failed, positions) = read(&source, &first.new[0], None).await.unwrap();
    assert!(positions.len() > 3, "{}", positions.len());
    assert!(all.iter().copied().eq(0..i64::try_from(all.len()).unwrap()));
    let (_, committed) = failed.clone().unwrap();
    assert_eq!(committed, Some(all.len() as u64));
    for position in &positions[..positions.len() - 1] {
        let resumed = read(&source, &first.new[0], Some(position)).await.unwrap();
        assert_eq!(resumed.1, failed);
        assert_eq!(all[all.len() - resumed.0.len()..], resumed.0);
    }
}

/// Opens it in a context whose counts can be looked at.
async fn opened(base: &Path, config: Value) -> (Context, Result<Arc<dyn Source>>) {
    let cx = context(base);
    let source = open_source("files", &cx, config).await;
    (cx, source)
}

async fn asked_again(source: &Arc<dyn Source>, before: &Plan, last: Option<&Offset>) -> Plan {
    let finished: Vec<_> = before
        .new
        .iter()
        .map(|split| FinishedSplit {
            split: split.clone(),
            offset: last.cloned(),
        })
        .collect();
    let ask = Ask {
        scans: &scans(),
        state: Some(&before.state),
        finished: &finished,
        first: false,
    };
    source.plan(&ask).await.unwrap()
}

#[tokio::test]
async fn a_file_is_moved_when_that_it_is_passed_over_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/day=1/a.csv", "id,nom\n1,x\n");
    let mut config = over("in/**/*.csv");
    config["incremental"] = true.into();
    config["on_file_error"] = "quarantine".into();
    config["quarantine"] = "bad/".into();
    let file = dir.path().join("in/day=1/a.csv");
    // A file of the right columns, from which the source is opened.
    write(dir.path(), "in/good.csv", csv(0..2));
    let (cx, source) = opened(dir.path(), config).await;
    let source = source.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    let bad = first.new.iter().find(|split| name(split) != "good.csv");
    let bad = bad.unwrap();
    let (_, failed, positions) = read(&source, bad, None).await.unwrap();
    assert_eq!(failed.unwrap().1, Some(0));
    assert!(file.exists());
    let told = |finished| {
        [Acknowledged {
            split: bad.id.clone(),
            offset: positions.last().cloned(),
            finished,
            rejected: 0,
        }]
    };
    source.acknowledge(&told(false)).await.unwrap();
    assert!(file.exists());
    // It may be told again, by this process or the next one.
    for _again in 0..2 {
        source.acknowledge(&told(true)).await.unwrap();
        assert!(!file.exists());
        let moved = dir.path().join("bad/day=1/a.csv");
        assert_eq!(fs::read_to_string(moved).unwrap(), "id,nom\n1,x\n");
        assert_eq!(cx.metrics.failed_files.count(), 1);
    }
    let (listed, moved_to) = cx.metrics.failed_files.listed().remove(0);
    assert!(listed.path.ends_with("in/day=1/a.csv"), "{listed:?}");
    assert!(moved_to.unwrap().ends_with("bad/day=1/a.csv"));
    let next = asked_again(&source, &first, positions.last()).await;
    assert_eq!(next.next, Next::Complete);
    // Another one of the same name is a new file, and its name in quarantine is taken.
    write(dir.path(), "in/day=1/a.csv", "id,nom\n1,yy\n");
    let again = plan(&source, Some(&next.state), true).await.unwrap();
    let (_, _, positions) = read(&source, &again.new[0], None).await.unwrap();
    let told = [Acknowledged {
        split: again.new[0].id.clone(),
        offset: positions.last().cloned(),
        finished: true,
        rejected: 0,
    }];
    source.acknowledge(&told).await.unwrap();
    assert_eq!(
        fs::read_dir(dir.path().join("bad/day=1")).unwrap().count(),
        2
    );
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/a.csv", "id,nom\n1,x\n");
    write(dir.path(), "in/b.csv", csv(0..2));
    let mut config = over("in");
    config["on_file_error"] = "quarantine".into();
    config["quarantine"] = "in/_bad".into();
    let (_, source) = opened(dir.path(), config).await;
    let source = source.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    let (_, _, positions) = read(&source, &first.new[0], None).await.unwrap();
    write(dir.path(), "in/a.csv", csv(0..9));
    let told = [Acknowledged {
        split: first.new[0].id.clone(),
        offset: positions.last().cloned(),
        finished: true,
        rejected: 0,
    }];
    source.acknowledge(&told).await.unwrap();
    assert!(dir.path().join("in/a.csv").exists());
}

#[tokio::test]
async fn a_quarantine_that_is_read_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/a.csv", csv(0..2));
    let open = |url: &str, quarantine: Value| {
        let mut config = over(url);
        config["on_file_error"] = "quarantine".into();
        config["quarantine"] = quarantine;
        opened(dir.path(), config)
    };
    for (url, quarantine) in [
        ("in", "in"),
        ("in", "in/bad"),
        ("in/*.csv", "in"),
        ("in/**/*.csv", "in/bad/"),
        ("in/*.csv", "."),
        ("in/*.csv", "s3://bucket/bad"),
    ] {
        let (_, refused) = open(url, quarantine.into()).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url} {quarantine}");
        let key = ("key", "quarantine".to_owned());
        assert!(error.context().contains(&key), "{error:?}");
    }
    for (url, quarantine) in [("in", "bad"), ("in", "in/_bad"), ("in/*.csv", "in/bad")] {
        open(url, quarantine.into()).await.1.unwrap();
    }
    let (_, refused) = open("in", Value::Null).await;
    assert!(refused.unwrap_err().to_string().contains("directory"));
}

#[tokio::test]
async fn what_changed_or_went_when_a_part_was_committed_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson.gz", truncated());
    for incremental in [false, true] {
        let mut config = over("*.gz");
        config["incremental"] = incremental.into();
        let source = source(dir.path(), config).await.unwrap();
        let first = plan(&source, None, true).await.unwrap();
        let split = &first.new[0];
        let (_, _, positions) = read(&source, split, None).await.unwrap();
        for gone in [false, true] {
            let whole = gzip(ndjson(0..10).as_bytes());
            match gone {
                false => write(dir.path(), "a.ndjson.gz", whole),
                true => fs::remove_file(dir.path().join("a.ndjson.gz")).unwrap(),
            }
            let begun = [PlannedSplit {
                split,
                offset: Some(&positions[0]),
                finished: false,
            }];
            let revision = Revision {
                scans: &scans(),
                state: Some(&first.state),
                splits: &begun,
                changed: Changed::Refuse,
            };
            let revised = source.revise(&revision).await.unwrap().unwrap();
            assert_eq!(revised.revoked, std::slice::from_ref(&split.id));
            assert_eq!(revised.next, Next::WhenFinished);
            let (rows, failed, positions) = read(&source, &revised.new[0], None).await.unwrap();
            let (error, committed) = failed.unwrap();
            assert!(error.contains("before line"), "{error}");
            assert_eq!((rows, committed), (vec![], None));
            // Nothing is found to be different of it after that.
            let over = [PlannedSplit {
                split: &revised.new[0],
                offset: None,
                finished: false,
            }];
            let revision = Revision {
                state: Some(&revised.state),
                splits: &over,
                ..revision
            };
            assert!(source.revise(&revision).await.unwrap().is_none());
            let last = positions.last();
            let next = asked_again(&source, &revised, last).await;
            assert_eq!(next.next, Next::Complete);
            if incremental && !gone {
                // As it is now it was never read.
                let again = plan(&source, Some(&next.state), true).await.unwrap();
                assert_eq!(again.new.len(), 1);
            }
        }
        write(dir.path(), "a.ndjson.gz", truncated());
    }
}

#[tokio::test]
async fn what_is_gone_before_it_was_read_is_new_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", csv(0..2));
    let mut config = over("*.csv");
    config["incremental"] = true.into();
    let source = source(dir.path(), config).await.unwrap();
    let first = plan(&source, None, true).await.unwrap();
    let planned = [PlannedSplit {
        split: &first.new[0],
        offset: None,
        finished: false,
    }];
    let away = dir.path().join("away");
    fs::rename(dir.path().join("a.csv"), &away).unwrap();
    let revision = Revision {
        scans: &scans(),
        state: Some(&first.state),
        splits: &planned,
        changed: Changed::Refuse,
    };
    let revised = source.revise(&revision).await.unwrap().unwrap();
    let (rows, failed, positions) = read(&source, &revised.new[0], None).await.unwrap();
    assert_eq!(
        (rows, failed),
        (vec![], Some(("the file is gone".to_owned(), Some(0))))
    );
    let next = asked_again(&source, &revised, positions.last()).await;
    fs::rename(&away, dir.path().join("a.csv")).unwrap();
    let again = plan(&source, Some(&next.state), true).await.unwrap();
    assert_eq!(again.new.len(), 1);
}
