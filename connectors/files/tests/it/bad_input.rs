use parquet::file::metadata::{ParquetMetaDataReader, ParquetMetaDataWriter};
use serde_json::json;
use tidegate_core::{ErrorKind, Result};

use crate::support::{csv, gzip, ids, ndjson, parquet, plan, read, read_all, source, write};

#[tokio::test]
async fn a_bad_row_is_rejected_with_its_file_and_line_also_in_a_later_piece() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<String> = ndjson(0..30_000).lines().map(str::to_owned).collect();
    for bad in [3, 15_000, 15_002, 29_999] {
        lines[bad] = "{\"id\": \"no number\"".to_owned();
    }
    write(dir.path(), "a.ndjson", lines.join("\n"));
    let config = json!({
        "url": "a.ndjson",
        "piece_size": "200 KB",
        "schema": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
    });
    let source = source(dir.path(), config).await.unwrap();
    let (batches, rejected) = read_all(&source).await.unwrap();
    let lines: Vec<_> = rejected.rows.iter().map(|row| row.origin.line).collect();
    assert_eq!(lines, [Some(4), Some(15_001), Some(15_003), Some(30_000)]);
    let path = dir.path().join("a.ndjson");
    for row in &rejected.rows {
        assert_eq!(row.origin.file.as_deref(), path.to_str());
        assert!(!row.reason.is_empty());
    }
    assert_eq!(ids(&batches).len(), 29_996);
}

#[tokio::test]
async fn a_csv_row_with_too_many_fields_and_bad_utf8_are_rejected_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", b"id,name\n1,a\n2,b,c\n3,\xff\n4,d\n");
    let source = source(
        dir.path(),
        json!({"url": "a.csv", "schema": [
            {"name": "id", "type": "int64"}, {"name": "name", "type": "string"},
        ]}),
    )
    .await
    .unwrap();
    let (batches, rejected) = read_all(&source).await.unwrap();
    assert_eq!(ids(&batches), [1, 4]);
    let lines: Vec<_> = rejected.rows.iter().map(|row| row.origin.line).collect();
    assert_eq!(lines, [Some(3), Some(4)]);
}

/// The error of opening a source, or else of reading all of it.
async fn error(dir: &std::path::Path, config: serde_json::Value) -> tidegate_core::Error {
    let all = async {
        let source = source(dir, config).await?;
        read_all(&source).await
    };
    all.await.unwrap_err()
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let schema = json!([{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]);
    let cut = gzip(csv(0..5_000).as_bytes());
    let wide = parquet(0..10, 10);
    let files: [(&str, &[u8], ErrorKind, &[&str]); 6] = [
        (
            "a.csv.gz",
            &cut[..cut.len() / 2],
            ErrorKind::Data,
            &["truncated"],
        ),
        ("b.ndjson.gz", b"no gzip at all", ErrorKind::Data, &[]),
        ("c.csv", b"id,nom\n1,x\n", ErrorKind::Schema, &["`name`"]),
        ("d.parquet", &wide[..wide.len() - 9], ErrorKind::Data, &[]),
        (
            "e.json",
            b"[{\"id\": 1, \"name\": \"x\"}, {\"id\"",
            ErrorKind::Data,
            &[],
        ),
        ("f.parquet", b"PAR1", ErrorKind::Data, &[]),
    ];
    for (name, bytes, kind, says) in files {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let error = error(dir.path(), json!({"url": name, "schema": schema})).await;
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(name), "{name}: {text}");
        assert!(
            says.iter().all(|says| text.contains(says)),
            "{name}: {text}"
        );
    }
}

#[tokio::test]
async fn a_column_of_the_schema_that_the_file_has_not_is_told_when_it_is_opened() {
    let schema = json!([{"name": "id", "type": "int64"}, {"name": "naem", "type": "string"}]);
    for (name, bytes) in [
        ("a.csv", csv(0..3).into_bytes()),
        ("a.csv.gz", gzip(csv(0..3).as_bytes())),
        ("a.parquet", parquet(0..10, 10)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let error = source(dir.path(), json!({"url": name, "schema": schema}))
            .await
            .unwrap_err();
        let key = ("key", "schema.1.name".to_owned());
        assert!(error.context().contains(&key), "{name}: {error:?}");
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("did you mean `name`?"), "{name}: {hint}");
    }
    // JSON may leave out any, a file without a header has no names, and one without a byte nothing.
    for (name, bytes, more) in [
        ("a.ndjson", "{\"id\": 1}\n", json!({})),
        ("a.csv", "1,x\n", json!({"header": false})),
        ("a.csv", "", json!({})),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let config = json!({"url": name, "schema": schema, "csv": more});
        assert!(source(dir.path(), config).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn files_without_a_record_are_told_alike_and_a_schema_makes_them_no_rows() {
    for (name, bytes) in [
        ("a.csv", ""),
        ("a.csv", "\n\n"),
        ("a.ndjson", ""),
        ("a.ndjson", "\n"),
        ("a.json", ""),
        ("a.json", "[]"),
        ("a.json", " [\n] "),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, bytes);
        let error = error(dir.path(), json!({"url": name})).await;
        assert_eq!(
            error.message(),
            "the columns can't be found out: there is no record",
            "{name}: {bytes:?}"
        );
        assert!(error.hint_text().unwrap().contains("`schema`"));
        let schema = json!([{"name": "id", "type": "int64"}]);
        let given = source(dir.path(), json!({"url": name, "schema": schema})).await;
        let (batches, rejected) = read_all(&given.unwrap()).await.unwrap();
        assert_eq!(
            (ids(&batches).len(), rejected.len()),
            (0, 0),
            "{name}: {bytes:?}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "id,name\n");
    let source = source(dir.path(), json!({"url": "a.csv"})).await.unwrap();
    assert_eq!(source.streams()[0].schema.fields().len(), 2);
}

#[tokio::test]
async fn a_later_file_that_has_other_columns_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", parquet(0..10, 10));
    let other = {
        use std::sync::Arc;
        let names: arrow_array::ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["x"]));
        let batch =
            arrow_array::RecordBatch::try_from_iter([("id", Arc::clone(&names)), ("name", names)]);
        let batch = batch.unwrap();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    write(dir.path(), "b.parquet", other);
    let error = error(dir.path(), json!({"url": "*.parquet"})).await;
    assert_eq!(error.kind(), ErrorKind::Schema);
    let text = error.to_string();
    assert!(
        text.contains("b.parquet") && text.contains("`id`"),
        "{text}"
    );
}

#[tokio::test]
async fn a_directory_without_matches_and_mixed_formats_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = error(dir.path(), json!({"url": "in/*.csv"})).await;
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    write(dir.path(), "in/a.csv", csv(0..1));
    write(dir.path(), "in/b.ndjson", ndjson(0..1));
    let refused = error(dir.path(), json!({"url": "in"})).await;
    assert_eq!(refused.kind(), ErrorKind::Config);
    write(dir.path(), "in/c.txt", "x");
    let refused = error(dir.path(), json!({"url": "in/c.txt"})).await;
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.hint_text().unwrap().contains("format"));
    for config in [
        json!({"url": "in/a.csv", "stream": "rejected"}),
        json!({"url": "in/a.csv", "csv": {"delimiter": "ä"}}),
        json!({"url": "in/a.csv", "format": "xml"}),
        json!({"url": "in/a.csv", "pol": "1s"}),
    ] {
        assert_eq!(error(dir.path(), config).await.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_file_that_changes_between_plan_and_read_is_left_to_the_next_attempt() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.ndjson", ndjson(0..10));
    let source = source(dir.path(), json!({"url": "a.ndjson"}))
        .await
        .unwrap();
    let split = plan(&source, None, true).await.unwrap().new.remove(0);
    write(dir.path(), "a.ndjson", ndjson(0..11));
    let scan = tidegate_core::Scan::all("rows");
    let result: Result<_> = read(&source, &split, &scan, None).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(error.message(), "a file changed while it was being read");
}

#[tokio::test]
async fn a_damaged_parquet_file_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", b"PAR1xxxxxxxx\xff\xff\xff\x00PAR1");
    let refused = error(dir.path(), json!({"url": "a.parquet"})).await;
    assert_eq!(refused.kind(), ErrorKind::Data, "{refused:?}");

    let whole = parquet(0..300, 100);
    for at in (whole.len() / 3..whole.len()).step_by(3) {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            write(dir.path(), "b.parquet", &bytes);
            // A panic would end the test.
            if let Ok(source) = source(dir.path(), json!({"url": "b.parquet"})).await {
                let _ = read_all(&source).await;
            }
        }
    }
}

/// A file whose footer says that each row group has so many rows.
fn of_rows(bytes: &[u8], rows: i64) -> Vec<u8> {
    let mut reader = ParquetMetaDataReader::new();
    reader
        .try_parse(&bytes::Bytes::copy_from_slice(bytes))
        .unwrap();
    let mut builder = reader.finish().unwrap().into_builder();
    let groups = builder.take_row_groups().into_iter();
    let groups = groups.map(|group| group.into_builder().set_num_rows(rows).build().unwrap());
    let groups = groups.collect();
    let metadata = builder.set_row_groups(groups).build();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap());
    let mut file = bytes[..bytes.len() - 8 - length as usize].to_vec();
    ParquetMetaDataWriter::new(&mut file, &metadata)
        .finish()
        .unwrap();
    file
}

#[tokio::test]
async fn a_row_group_with_fewer_rows_than_its_footer_says_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let whole = parquet(0..300, 100);
    for rows in [-1, 101, 10_000, 1 << 40, i64::MAX / 3] {
        write(dir.path(), "a.parquet", of_rows(&whole, rows));
        let refused = error(dir.path(), json!({"url": "a.parquet"})).await;
        assert_eq!(refused.kind(), ErrorKind::Data, "{rows}: {refused:?}");
        assert!(format!("{refused:?}").contains("a.parquet"), "{refused:?}");
    }
}
