//! Columns that only later records and files have.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tidegate_core::{
    Context, ErrorKind, IgnoredColumn, KeyValue, Rejected, Result, Scan, Source, async_trait,
};

use crate::support::{context, ids, open_source, plan, read, source, write};

/// A store that keeps what it is given.
#[derive(Debug, Default)]
struct Kept(Mutex<HashMap<String, Value>>);

#[async_trait]
impl KeyValue for Kept {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn compare_and_set(&self, key: &str, old: Option<&Value>, new: &Value) -> Result<bool> {
        let mut kept = self.0.lock().unwrap();
        let same = kept.get(key) == old;
        if same {
            kept.insert(key.to_owned(), new.clone());
        }
        Ok(same)
    }
}

#[derive(Debug, Default)]
struct Read {
    batches: Vec<RecordBatch>,
    rejected: Rejected,
    ignored: Vec<IgnoredColumn>,
}

async fn everything(source: &Arc<dyn Source>) -> Result<Read> {
    let mut all = Read::default();
    for split in plan(source, None, true).await?.new {
        for (decoded, _) in read(source, &split, &Scan::all("rows"), None).await? {
            all.batches.extend(decoded.batches);
            all.rejected.extend(decoded.rejected);
            IgnoredColumn::merge(&mut all.ignored, decoded.ignored);
        }
    }
    Ok(all)
}

fn ignored(read: &Read) -> Vec<(String, u64, String, Option<u64>)> {
    let name = |file: &str| file.rsplit('/').next().unwrap().to_owned();
    let columns = read.ignored.iter();
    columns
        .map(|column| {
            let file = name(column.first.file.as_deref().unwrap());
            (column.name.clone(), column.values, file, column.first.line)
        })
        .collect()
}

fn names(source: &Arc<dyn Source>) -> Vec<String> {
    let schema = Arc::clone(&source.streams()[0].schema);
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

/// More lines than are looked at, and then one with other columns.
fn long(last: &str) -> String {
    let padding = "x".repeat(100);
    let line = |id: i64| format!("{{\"id\":{id},\"at\":{{\"x\":1}},\"note\":\"{padding}\"}}\n");
    (0..30_000).map(line).collect::<String>() + last
}

#[tokio::test]
async fn a6_few_files_are_all_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    for id in 0..10 {
        let tip = if id == 9 { ",\"tip\":7" } else { "" };
        write(
            dir.path(),
            &format!("nd/{id}.ndjson"),
            format!("{{\"id\":{id}{tip}}}\n"),
        );
    }
    let source = source(dir.path(), json!({"url": "nd"})).await.unwrap();
    assert_eq!(names(&source), ["id", "tip"]);
}

#[tokio::test]
async fn a6_columns_after_the_sample_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let last = "{\"id\":30000,\"at\":{\"x\":1,\"floor\":2},\"tip\":7}\n";
    write(dir.path(), "a.ndjson", long(last));
    let learnt = source(dir.path(), json!({"url": "a.ndjson"}))
        .await
        .unwrap();
    let read = everything(&learnt).await.unwrap();
    let place = |name: &str| (name.to_owned(), 1, "a.ndjson".to_owned(), Some(30_001));
    assert_eq!(ignored(&read), [place("at.floor"), place("tip")]);
    assert_eq!(ids(&read.batches).len(), 30_001);
    // Who gave the columns knows what they left out.
    let schema = json!([{"name": "id", "type": "int64"}]);
    let config = json!({"url": "a.ndjson", "schema": schema});
    let given = source(dir.path(), config.clone()).await.unwrap();
    assert!(everything(&given).await.unwrap().ignored.is_empty());
    let mut strict = config;
    strict["on_new_columns"] = json!("fail");
    let given = source(dir.path(), strict).await.unwrap();
    assert!(everything(&given).await.is_err());
}

#[tokio::test]
async fn a6_a_piece_of_a_file_tells_the_offset() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson", long("{\"id\":30000,\"tip\":7}\n"));
    let config = json!({"url": "a.ndjson", "piece_size": "1 MB"});
    let source = source(dir.path(), config).await.unwrap();
    let read = everything(&source).await.unwrap();
    let [column] = &read.ignored[..] else {
        panic!("{:?}", read.ignored);
    };
    assert_eq!(column.first.line, None);
    let begins = long("").len() as u64;
    assert_eq!(column.first.offset, Some(begins));
}

#[tokio::test]
async fn a6_csv_files_with_other_headers_are_read_by_name_in_any_order() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &format!("cs/{first}.csv"), "id,city\n1,Oslo\n");
        write(dir.path(), &format!("cs/{second}.csv"), "tip,id\n7,2\n");
        let source = source(dir.path(), json!({"url": "cs"})).await.unwrap();
        let mut columns = names(&source);
        columns.sort();
        assert_eq!(columns, ["city", "id", "tip"]);
        let read = everything(&source).await.unwrap();
        let mut all = ids(&read.batches);
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
        assert!(read.ignored.is_empty());
        let nulls = |name: &str| {
            let columns = read.batches.iter().map(|b| b.column_by_name(name).unwrap());
            columns.map(|column| column.null_count()).sum::<usize>()
        };
        assert_eq!((nulls("city"), nulls("tip")), (1, 1));
    }
}

#[tokio::test]
async fn a6_a_csv_file_of_none_of_the_columns_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "cs/a.csv", "id,city\n1,Oslo\n");
    let source = source(dir.path(), json!({"url": "cs"})).await.unwrap();
    write(dir.path(), "cs/b.csv", "sku,price\n7,2\n");
    let error = everything(&source).await.unwrap_err();
    assert!(error.to_string().contains("no column"), "{error}");
}

#[tokio::test]
async fn a6_what_csv_files_have_besides_is_told_rejected_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "cs/a.csv", "id\n1\n");
    let open = |policy: &'static str| {
        let config = json!({"url": "cs", "on_new_columns": policy});
        source(dir.path(), config)
    };
    let sources = [
        open("ignore").await.unwrap(),
        open("reject").await.unwrap(),
        open("fail").await.unwrap(),
    ];
    write(dir.path(), "cs/b.csv", "id,tip\n2,\n3,7\n");
    let read = everything(&sources[0]).await.unwrap();
    assert_eq!(
        ignored(&read),
        [("tip".to_owned(), 1, "b.csv".to_owned(), Some(3))]
    );
    assert_eq!(ids(&read.batches), [1, 2, 3]);
    let read = everything(&sources[1]).await.unwrap();
    assert_eq!(ids(&read.batches), [1, 2]);
    assert_eq!(read.rejected.rows[0].row, "3,7");
    let error = everything(&sources[2]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let text = format!("{error} {:?} {:?}", error.context(), error.hint_text());
    for part in ["`tip`", "b.csv", "on_new_columns"] {
        assert!(text.contains(part), "{text}");
    }
}

fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, writer.into_inner().unwrap()).unwrap();
}

fn ints(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

fn place(members: &[&str], values: [i64; 2]) -> ArrayRef {
    let members = members.iter().map(|name| {
        let field = Arc::new(Field::new(*name, DataType::Int64, true));
        (field, ints(values.map(Some)))
    });
    Arc::new(StructArray::from(members.collect::<Vec<_>>()))
}

/// A directory of one Parquet file, to which another is added that has more columns.
fn late(dir: &Path) -> impl Fn() {
    let at = ["x"];
    let columns = vec![("id", ints([Some(0), Some(1)])), ("at", place(&at, [1, 2]))];
    parquet(&dir.join("in/a.parquet"), columns);
    let path = dir.join("in/b.parquet");
    move || {
        let columns = vec![
            ("id", ints([Some(2), Some(3)])),
            ("empty", ints([None, None])),
            ("discount", ints([None, Some(5)])),
            ("at", place(&["floor", "x"], [1, 2])),
        ];
        parquet(&path, columns);
    }
}

#[tokio::test]
async fn a6_columns_of_later_parquet_files_are_told_rejected_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let later = late(dir.path());
    let config = |policy: &str| json!({"url": "in", "watch": true, "on_new_columns": policy});
    let mut sources = Vec::new();
    for policy in ["ignore", "reject", "fail", "add"] {
        sources.push(source(dir.path(), config(policy)).await.unwrap());
    }
    later();
    // What is under watch is taken once it stands still.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let read = everything(&sources[0]).await.unwrap();
    let told = |name: &str, values| (name.to_owned(), values, "b.parquet".to_owned(), None);
    assert_eq!(ignored(&read), [told("discount", 1), told("at.floor", 2)]);
    assert_eq!(ids(&read.batches), [0, 1, 2, 3]);
    let read = everything(&sources[1]).await.unwrap();
    assert_eq!(ids(&read.batches), [0, 1]);
    let reasons: Vec<_> = read
        .rejected
        .rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    let reason = |name: &str| format!("column `{name}`: the stream has no such column");
    assert_eq!(reasons, [reason("at.floor"), reason("discount")]);
    let error = everything(&sources[2]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("`discount`"), "{error}");
    let error = everything(&sources[3]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
}

#[tokio::test]
async fn a6_columns_that_are_added_are_there_for_who_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.ndjson",
        long("{\"id\":30000,\"at\":{\"floor\":2},\"tip\":7}\n"),
    );
    let cx = Context {
        store: Arc::new(Kept::default()),
        ..context(dir.path())
    };
    let config = json!({"url": "a.ndjson", "on_new_columns": "add"});
    let before = open_source("files", &cx, config.clone()).await.unwrap();
    let error = everything(&before).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    before.close().await.unwrap();
    let after = open_source("files", &cx, config).await.unwrap();
    assert_eq!(names(&after), ["id", "at", "note", "tip"]);
    let read = everything(&after).await.unwrap();
    assert_eq!(ids(&read.batches).len(), 30_001);
    assert!(read.ignored.is_empty() && read.rejected.is_empty());
    let schema = read.batches[0].schema();
    assert!(schema.field(1).data_type().to_string().contains("floor"));
    // Other files' columns mean nothing to those of another url.
    write(dir.path(), "b.ndjson", "{\"id\":1}\n");
    let config = json!({"url": "b.ndjson", "on_new_columns": "add"});
    let other = open_source("files", &cx, config).await.unwrap();
    assert_eq!(names(&other), ["id"]);
}

#[tokio::test]
async fn late_columns_of_different_files_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    // Of so many files, every fourth is looked at.
    for at in 0..200 {
        let text = match at {
            1 | 2 | 3 | 5 => format!("id,late{at}\n{at},7\n"),
            _ => format!("id\n{at}\n"),
        };
        write(dir.path(), &format!("in/{at:03}.csv"), text);
    }
    let cx = Context {
        store: Arc::new(Kept::default()),
        ..context(dir.path())
    };
    let config = json!({"url": "in", "on_new_columns": "add"});
    let mut met = 0;
    let all = loop {
        let source = open_source("files", &cx, config.clone()).await.unwrap();
        let read = everything(&source).await;
        source.close().await.unwrap();
        match read {
            Ok(_) => break source,
            Err(error) => assert_eq!(error.kind(), ErrorKind::SchemaChanged),
        }
        met += 1;
        assert!(met <= 4, "{:?}", names(&source));
    };
    assert_eq!(names(&all), ["id", "late1", "late2", "late3", "late5"]);
}
