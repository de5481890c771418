use serde_json::json;
use tidegate_core::Scan;

use crate::support::{array, csv, gzip, ids, ndjson, parquet, plan, read, read_all, source, write};

const MANY: std::ops::Range<i64> = 0..60_000;

/// Every kind of file, large enough for several events.
fn files() -> Vec<(&'static str, Vec<u8>, serde_json::Value)> {
    let none = json!({});
    vec![
        ("a.ndjson", ndjson(MANY).into(), none.clone()),
        ("a.jsonl.gz", gzip(ndjson(MANY).as_bytes()), none.clone()),
        ("a.csv", csv(MANY).into(), none.clone()),
        ("a.csv.gz", gzip(csv(MANY).as_bytes()), none.clone()),
        ("a.json", array(MANY).into(), none.clone()),
        ("a.json.gz", gzip(array(MANY).as_bytes()), none.clone()),
        ("a.parquet", parquet(MANY, 25_000), none),
        (
            "b.ndjson",
            ndjson(MANY).into(),
            json!({"piece_size": "500 KB"}),
        ),
        (
            "b.parquet",
            parquet(MANY, 5_000),
            json!({"piece_size": "100 KB"}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_gives_each_row_once_from_every_position() {
    for (name, bytes, mut config) in files() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        config["url"] = json!(name);
        let source = source(dir.path(), config).await.unwrap();
        let scan = Scan::all("rows");
        let mut all = Vec::new();
        let splits = plan(&source, None, true).await.unwrap().new;
        for split in &splits {
            let whole = read(&source, split, &scan, None).await.unwrap();
            for (decoded, _) in &whole {
                assert!(
                    decoded.rejected.is_empty(),
                    "{name}: {:?}",
                    decoded.rejected
                );
                all.extend(ids(&decoded.batches));
            }
            for (index, (_, resume)) in whole.iter().enumerate() {
                let rest = read(&source, split, &scan, Some(resume)).await.unwrap();
                let wanted: Vec<_> = whole[index + 1..]
                    .iter()
                    .flat_map(|(decoded, _)| ids(&decoded.batches))
                    .collect();
                let given: Vec<_> = rest
                    .iter()
                    .flat_map(|(decoded, _)| ids(&decoded.batches))
                    .collect();
                assert!(
                    given == wanted,
                    "{name} after event {index} of {}",
                    split.id
                );
            }
        }
        assert!(
            all == MANY.collect::<Vec<_>>(),
            "{name}: {} rows",
            all.len()
        );
        if name.starts_with('b') {
            assert!(splits.len() > 2, "{name}: {} splits", splits.len());
        }
    }
}

#[tokio::test]
async fn files_are_read_by_name_and_estimated_by_size() {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in [
        ("in/c.csv", 4),
        ("in/a.csv", 0),
        ("in/sub/b.csv", 2),
        ("in/.x.csv", 9),
    ] {
        write(dir.path(), name, csv(from..from + 2));
    }
    let source = source(dir.path(), json!({"url": "in/**/*.csv"}))
        .await
        .unwrap();
    let splits = plan(&source, None, true).await.unwrap().new;
    let bytes: Option<u64> = splits.iter().map(|split| split.estimate.bytes).sum();
    assert_eq!(splits.len(), 3);
    assert!(bytes.unwrap() > 60);
    let (batches, _) = read_all(&source).await.unwrap();
    assert_eq!(ids(&batches), [0, 1, 4, 5, 2, 3]);
    assert_eq!(source.streams()[0].name.as_str(), "rows");
    assert!(source.streams()[0].bounded);
}

#[tokio::test]
async fn only_the_columns_asked_for_are_given() {
    for (name, bytes) in [
        ("a.csv", csv(0..10).into_bytes()),
        ("a.ndjson", ndjson(0..10).into_bytes()),
        ("a.parquet", parquet(0..10, 4)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let source = source(dir.path(), json!({"url": name})).await.unwrap();
        let split = plan(&source, None, true).await.unwrap().new.remove(0);
        for columns in [vec!["name"], vec![], vec!["id", "name"]] {
            let mut scan = Scan::all("rows");
            scan.columns = Some(columns.iter().map(|&column| column.to_owned()).collect());
            let mut rows = 0;
            for (decoded, _) in read(&source, &split, &scan, None).await.unwrap() {
                for batch in decoded.batches {
                    let names: Vec<_> = batch
                        .schema()
                        .fields()
                        .iter()
                        .map(|f| f.name().clone())
                        .collect();
                    assert_eq!(names, columns, "{name}");
                    rows += batch.num_rows();
                }
            }
            assert_eq!(rows, 10, "{name}");
        }
    }
}

#[tokio::test]
async fn a_raw_file_is_one_row_of_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    write(dir.path(), "a.bin", &bytes);
    write(dir.path(), "b.bin.gz", gzip(&bytes));
    let source = source(dir.path(), json!({"url": "*"})).await.unwrap();
    let (batches, _) = read_all(&source).await.unwrap();
    assert_eq!(batches.len(), 2);
    for batch in batches {
        use arrow_array::cast::AsArray;
        assert_eq!(batch.column(0).as_binary::<i32>().value(0), bytes);
    }
}

#[tokio::test]
async fn a_schema_that_is_given_is_the_streams() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "x;1\ny;2\n");
    let config = json!({
        "url": "a.csv",
        "csv": {"header": false, "delimiter": ";"},
        "schema": [{"name": "key", "type": "string"}, {"name": "id", "type": "int64"}],
        "stream": "pairs",
    });
    let source = source(dir.path(), config).await.unwrap();
    let (batches, _) = read_all(&source).await.unwrap();
    assert_eq!(ids(&batches), [1, 2]);
    assert_eq!(source.streams()[0].name.as_str(), "pairs");
}

/// Names that other readers hide or take for patterns, incremental too.
#[tokio::test]
async fn a8_a9_c8_files_of_odd_names_are_read_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("p[1]?");
    write(dir.path(), "p1x/in/a.ndjson", ndjson(900..901));
    for (id, name) in ["s[1].ndjson", "a#1", "100%.ndjson", "_op=x/b.ndjson"]
        .iter()
        .enumerate()
    {
        let id = i64::try_from(id).unwrap();
        write(&base, &format!("in/{name}"), ndjson(id..id + 1));
    }
    write(&base, "in/s1.ndjson", ndjson(4..5));
    write(&base, "in/_tmp/c.ndjson", ndjson(901..902));
    write(&base, "in/Icon\r", "x");
    let read = async |url: &str| {
        let config = json!({ "url": url, "format": "ndjson", "incremental": true });
        let source = source(&base, config).await.unwrap();
        let first = plan(&source, None, true).await.unwrap();
        let again = plan(&source, Some(&first.state), true).await.unwrap();
        assert!(again.new.is_empty(), "{url}");
        let (batches, _) = read_all(&source).await.unwrap();
        let mut ids = ids(&batches);
        ids.sort_unstable();
        ids
    };
    assert_eq!(read("in").await, [0, 1, 2, 3, 4]);
    assert_eq!(read("in/**/*").await, [0, 1, 2, 3, 4]);
    assert_eq!(read("in/*").await, [0, 1, 2, 4]);
    assert_eq!(read("in/s[1].ndjson").await, [0]);
    assert_eq!(read("in/s[12].ndjson").await, [4]);
    assert_eq!(read("in/a#1").await, [1]);
    assert_eq!(read("../p[1]?/in/s1.ndjson").await, [4]);
}
