//! Columns whose values directories name.

use std::path::Path;

use arrow_schema::DataType;
use serde_json::{Value, json};
use tidegate_core::{Ask, Comparison, ErrorKind, Literal, Predicate, Result, Scan};
use tidegate_formats::row_to_json;

use crate::support::{ndjson, parquet, plan, read, read_all, source, write};

/// The rows of a source as JSON, sorted; rejected ones as what they are.
async fn rows(base: &Path, config: Value) -> Result<Vec<String>> {
    let source = source(base, config).await?;
    let (batches, rejected) = read_all(&source).await?;
    let mut rows = Vec::new();
    for batch in &batches {
        assert_eq!(batch.schema(), source.streams()[0].schema);
        rows.extend((0..batch.num_rows()).map(|row| row_to_json(batch, row).unwrap()));
    }
    rows.extend(rejected.rows.iter().map(|row| row.reason.to_string()));
    rows.sort();
    Ok(rows)
}

#[tokio::test]
async fn all_formats_have_them_and_only_what_is_asked_for_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for (year, ids) in [(2023, 0..2), (2024, 2..5)] {
        write(
            dir.path(),
            &format!("p/year={year}/a.parquet"),
            parquet(ids.clone(), 2),
        );
        write(dir.path(), &format!("j/year={year}/a.ndjson"), ndjson(ids));
        write(dir.path(), &format!("r/year={year}/a.bin"), "x");
    }
    for url in ["p", "j"] {
        let source = source(dir.path(), json!({ "url": url })).await.unwrap();
        let schema = &source.streams()[0].schema;
        let last = schema.field(schema.fields().len() - 1);
        assert_eq!(
            (last.name().as_str(), last.data_type()),
            ("year", &DataType::Int64)
        );
        let scan = Scan {
            columns: Some(vec!["year".into(), "id".into()]),
            ..Scan::all("rows")
        };
        let mut seen = Vec::new();
        for split in plan(&source, None, true).await.unwrap().new {
            for (decoded, _) in read(&source, &split, &scan, None).await.unwrap() {
                for batch in decoded.batches {
                    seen.extend((0..batch.num_rows()).map(|row| row_to_json(&batch, row).unwrap()));
                }
            }
        }
        seen.sort();
        let wanted = [(0, 2023), (1, 2023), (2, 2024), (3, 2024), (4, 2024)];
        let wanted = wanted.map(|(id, year)| format!("{{\"id\":{id},\"year\":{year}}}"));
        assert_eq!(seen, wanted, "{url}");
    }
    let raw = rows(dir.path(), json!({"url": "r"})).await.unwrap();
    assert_eq!(raw.len(), 2);
    assert!(raw[0].ends_with("\"year\":2023}"), "{raw:?}");
}

#[tokio::test]
async fn of_a_schema_that_is_given_they_are_those_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "c/year=2024/a.csv", "Year,id\n1999,1\n");
    write(dir.path(), "c/year=2025/a.csv", "id\n2\n");
    let (id, year) = (
        json!({"name": "id", "type": "int64"}),
        json!({"name": "year", "type": "string"}),
    );
    let given = |schema: Value| json!({"url": "c", "schema": schema});
    let with = rows(dir.path(), given(json!([year, id]))).await.unwrap();
    assert_eq!(
        with,
        [r#"{"id":1,"year":"2024"}"#, r#"{"id":2,"year":"2025"}"#]
    );
    let without = rows(dir.path(), given(json!([id]))).await.unwrap();
    assert_eq!(without, [r#"{"id":1}"#, r#"{"id":2}"#]);
    // What is given has to be there, be it in the file or in the directory's name.
    let tip = json!({"name": "tip", "type": "int64"});
    let error = rows(dir.path(), given(json!([id, tip, year])))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no column `tip`"), "{error}");
    let date = json!({"name": "year", "type": "date"});
    let error = rows(dir.path(), given(json!([id, date])))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("`year=2024`"), "{error}");
    // By position, a name says nothing.
    write(dir.path(), "h/id=7/a.csv", "1,x\n");
    let config = json!({"url": "h", "csv": {"header": false}, "schema": [id, {"name": "v", "type": "string"}]});
    let by_position = rows(dir.path(), config).await.unwrap();
    assert_eq!(by_position, [r#"{"id":1,"v":"x"}"#]);
}

#[tokio::test]
async fn a_column_that_only_some_directories_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/year=2024/a.csv", "id\n1\n");
    write(dir.path(), "in/b.csv", "id,year\n1,1999\n");
    let error = rows(dir.path(), json!({"url": "in"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("not of all"), "{error}");
}

#[tokio::test]
async fn directories_that_come_later_are_told_added_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "in/year=2024/a.ndjson", "{\"id\":1}\n");
    let config = |policy: &str| json!({"url": "in", "watch": true, "on_new_columns": policy});
    let mut sources = Vec::new();
    for policy in ["ignore", "fail", "add"] {
        sources.push(source(dir.path(), config(policy)).await.unwrap());
    }
    write(dir.path(), "in/year=2024/m=1/b.ndjson", "{\"id\":2}\n");
    write(
        dir.path(),
        "in/year=__HIVE_DEFAULT_PARTITION__/c.ndjson",
        "{\"id\":3}\n",
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (batches, _) = read_all(&sources[0]).await.unwrap();
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        3
    );
    let error = plan(&sources[1], None, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("`m`"), "{error}");
    let error = plan(&sources[2], None, true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    // A value that the column can't hold is no NULL.
    write(dir.path(), "in/year=soon/d.ndjson", "{\"id\":4}\n");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let error = read_all(&sources[0]).await.unwrap_err();
    assert!(error.to_string().contains("`year=soon`"), "{error}");
}

#[tokio::test]
async fn files_whose_directories_rule_them_out_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    for year in ["2023", "2024", "__HIVE_DEFAULT_PARTITION__"] {
        write(
            dir.path(),
            &format!("in/year={year}/a.ndjson"),
            "{\"id\":1}\n",
        );
    }
    let source = source(dir.path(), json!({"url": "in"})).await.unwrap();
    let is_2024 = Predicate::Compare {
        column: "year".into(),
        op: Comparison::Eq,
        value: Literal::Int(2024),
    };
    let scan = Scan {
        predicates: vec![is_2024],
        ..Scan::all("rows")
    };
    let ask = Ask {
        state: None,
        scans: &[scan],
        finished: &[],
        first: true,
    };
    let plan = source.plan(&ask).await.unwrap();
    let ids: Vec<_> = plan.new.iter().map(|split| split.id.to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(ids[0].starts_with("year=2024/"), "{ids:?}");
}
