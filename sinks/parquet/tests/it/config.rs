use std::sync::Arc;

use arrow_schema::{DataType, Field, IntervalUnit, Schema};
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Input};

use crate::support::{Bench, schema, tree};

async fn refused(config: Value, schema: Schema) -> (ErrorKind, String) {
    let bench = Bench::new(config, Arc::new(schema));
    let error = bench.open().await.unwrap_err();
    assert!(
        tree(bench.dir.path()).is_empty(),
        "something was left behind"
    );
    (error.kind(), error.to_string())
}

fn plain() -> Schema {
    (*schema()).clone()
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_made() {
    let list = DataType::new_list(DataType::Int64, true);
    for (config, schema, kind, says) in [
        (
            json!({"partition_by": ["x"]}),
            plain(),
            ErrorKind::Schema,
            "`x`",
        ),
        (
            json!({"partition_by": ["id", "kind"]}),
            plain(),
            ErrorKind::Schema,
            "no column is left",
        ),
        (
            json!({"partition_by": ["id", "id"]}),
            plain(),
            ErrorKind::Config,
            "twice",
        ),
        (
            json!({"mode": "overwrite_partitions"}),
            plain(),
            ErrorKind::Config,
            "partition_by",
        ),
        (
            json!({"mode": "replace"}),
            plain(),
            ErrorKind::Config,
            "overwrite_partitions",
        ),
        (
            json!({"partition": ["id"]}),
            plain(),
            ErrorKind::Config,
            "partition",
        ),
        (
            json!({"compression_level": 40}),
            plain(),
            ErrorKind::Config,
            "1 to 22",
        ),
        (
            json!({"compression": "snappy", "compression_level": 1}),
            plain(),
            ErrorKind::Config,
            "no meaning",
        ),
        (
            json!({"partition_by": ["tags"]}),
            Schema::new(vec![
                Field::new("id", DataType::Int64, true),
                Field::new("tags", list, true),
            ]),
            ErrorKind::Schema,
            "`tags`",
        ),
        (
            json!({}),
            Schema::new(vec![
                Field::new("id", DataType::Int64, true),
                Field::new("gap", DataType::Interval(IntervalUnit::MonthDayNano), true),
            ]),
            ErrorKind::Schema,
            "`gap`",
        ),
        (
            json!({}),
            Schema::new(vec![
                Field::new("id", DataType::Int64, true),
                Field::new("id", DataType::Int64, true),
            ]),
            ErrorKind::Schema,
            "two columns `id`",
        ),
    ] {
        let shown = config.to_string();
        let (was, message) = refused(config, schema).await;
        assert_eq!(was, kind, "{shown}: {message}");
        assert!(message.contains(says), "{shown}: {message}");
    }
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let bench = Bench::new(json!({}), schema());
    bench.open().await.unwrap();
    assert!(tree(bench.dir.path()).is_empty());
}

#[tokio::test]
async fn a_directory_that_is_a_file_is_refused() {
    let bench = Bench::new(json!({}), schema());
    std::fs::write(bench.out(), "x").unwrap();
    let error = bench.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn inputs_must_have_the_same_columns() {
    let mut bench = Bench::new(json!({}), schema());
    let other = Schema::new(vec![Field::new("id", DataType::Utf8, false)]);
    bench.cx.inputs.push(Input {
        name: "other".into(),
        schema: Arc::new(other),
    });
    let error = bench.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().contains("`in` and `other`"), "{error}");
}
