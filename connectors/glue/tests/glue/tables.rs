use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use serde_json::{Value, json};
use tidegate_catalog::{is_guessed, mark_guessed, naive_times};
use tidegate_core::{CatalogTable, ErrorKind, TableFormat, TableName, TablePartition};

use crate::strict::{Strict, strict};

pub(crate) fn table(columns: &[(&str, DataType)], keys: &[&str]) -> CatalogTable {
    let field = |name: &str, data_type: &DataType| -> FieldRef {
        Arc::new(Field::new(name, data_type.clone(), true))
    };
    let columns: Vec<_> = columns.iter().map(|(name, of)| field(name, of)).collect();
    CatalogTable {
        name: TableName::new("shop", "sales"),
        location: "s3://lake/sales".into(),
        format: TableFormat::Parquet,
        columns: Arc::new(Schema::new(columns)),
        partition_keys: keys.iter().map(|key| field(key, &DataType::Utf8)).collect(),
        properties: Default::default(),
    }
}

async fn raw(strict: &Strict) -> Value {
    let name = json!({ "DatabaseName": "shop", "Name": "sales" });
    strict.glue("GetTable", name).await["Table"].take()
}

/// Makes a table as other programs do.
async fn theirs(strict: &Strict, input: Value) {
    strict
        .glue(
            "CreateDatabase",
            json!({ "DatabaseInput": { "Name": "shop" } }),
        )
        .await;
    let input = json!({ "DatabaseName": "shop", "TableInput": input });
    strict.glue("CreateTable", input).await;
}

#[tokio::test]
async fn tables_are_made_as_athena_reads_them() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let csv = |quoted, header| TableFormat::Csv {
        delimiter: ';',
        header,
        quoted,
    };
    let text = (
        "org.apache.hadoop.mapred.TextInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    );
    let parquet = (
        "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
        "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    );
    for (format, classes, serde, options, classification, header) in [
        (
            TableFormat::Parquet,
            parquet,
            "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            json!({ "serialization.format": "1" }),
            "parquet",
            Value::Null,
        ),
        (
            TableFormat::Ndjson,
            text,
            "org.openx.data.jsonserde.JsonSerDe",
            json!({}),
            "json",
            Value::Null,
        ),
        (
            csv(false, true),
            text,
            "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
            json!({ "field.delim": ";", "serialization.format": ";" }),
            "csv",
            json!("1"),
        ),
        (
            csv(true, false),
            text,
            "org.apache.hadoop.hive.serde2.OpenCSVSerde",
            json!({ "separatorChar": ";", "quoteChar": "\"" }),
            "csv",
            Value::Null,
        ),
    ] {
        let mut told = table(&[("Id", DataType::UInt32)], &[]);
        told.format = format;
        told.properties.insert("comment".into(), "All sales".into());
        catalog.merge(&told).await.unwrap();
        let found = raw(&strict).await;
        let storage = &found["StorageDescriptor"];
        assert_eq!(
            storage["Columns"],
            json!([{ "Name": "id", "Type": "bigint" }])
        );
        assert_eq!(storage["Location"], "s3://lake/sales/");
        assert_eq!(storage["InputFormat"], classes.0);
        assert_eq!(storage["OutputFormat"], classes.1);
        assert_eq!(storage["SerdeInfo"]["SerializationLibrary"], serde);
        assert_eq!(storage["SerdeInfo"]["Parameters"], options);
        assert_eq!(found["TableType"], "EXTERNAL_TABLE");
        assert_eq!(found["PartitionKeys"], json!([]));
        assert_eq!(found["Description"], "All sales");
        let parameters = &found["Parameters"];
        assert_eq!(parameters["EXTERNAL"], "TRUE");
        assert_eq!(parameters["classification"], classification);
        assert_eq!(parameters["typeOfData"], "file");
        assert_eq!(parameters["skip.header.line.count"], header);
        assert_eq!(parameters["comment"], Value::Null);
        assert!(catalog.drop_table(&told.name).await.unwrap());
    }
}

#[tokio::test]
async fn an_update_keeps_what_tidegate_does_not_know() {
    let strict = strict().await;
    theirs(
        &strict,
        json!({
            "Name": "sales",
            "Description": "theirs",
            "Owner": "team",
            "Retention": 7,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": { "projection.enabled": "false", "their.key": "x" },
            "PartitionKeys": [{ "Name": "day", "Type": "date", "Comment": "of the sale" }],
            "StorageDescriptor": {
                "Columns": [
                    { "Name": "UserId", "Type": "int", "Comment": "who", "Parameters": { "pii": "no" } },
                    { "Name": "code", "Type": "varchar(20)" },
                ],
                "Location": "s3://lake/theirs/",
                "Compressed": true,
                "NumberOfBuckets": 3,
                "BucketColumns": ["UserId"],
                "SortColumns": [{ "Column": "code", "SortOrder": 1 }],
                "Parameters": { "sizeKey": "12" },
                "StoredAsSubDirectories": true,
                "SerdeInfo": {
                    "Name": "theirs",
                    "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                    "Parameters": { "serialization.format": "1", "other": "y" },
                },
            },
        }),
    )
    .await;
    let before = raw(&strict).await;
    let mut ours = table(
        &[
            ("userid", DataType::Int64),
            ("code", DataType::Utf8),
            ("more", DataType::Boolean),
        ],
        &[],
    );
    ours.partition_keys = vec![Arc::new(Field::new("day", DataType::Date32, true))];
    strict.open().await.merge(&ours).await.unwrap();
    let after = raw(&strict).await;
    let mut wanted = before.clone();
    wanted["StorageDescriptor"]["Columns"][0]["Type"] = "bigint".into();
    let columns = wanted["StorageDescriptor"]["Columns"]
        .as_array_mut()
        .unwrap();
    columns.push(json!({ "Name": "more", "Type": "boolean" }));
    for changing in ["VersionId", "UpdateTime"] {
        wanted[changing] = after[changing].clone();
    }
    assert_eq!(after, wanted);
    assert_ne!(after["VersionId"], before["VersionId"]);
}

#[tokio::test]
async fn what_a_crawl_has_guessed_is_kept_and_follows_a_later_one() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let guessed = |data_type: DataType, quoted| {
        let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
        let mut table = table(&[("a", data_type), ("at", naive)], &["k"]);
        table.format = TableFormat::Csv {
            delimiter: ';',
            header: true,
            quoted,
        };
        mark_guessed(&mut table, None);
        table
    };
    let first = guessed(DataType::Int64, false);
    catalog.merge(&first).await.unwrap();
    let partitions = [TablePartition {
        values: vec![Some("x".into())],
        location: "s3://lake/sales/k=x".into(),
    }];
    let added = catalog.add_partitions(&first.name, &partitions);
    added.await.unwrap();
    let found = catalog.table(&first.name).await.unwrap().unwrap();
    assert!(is_guessed(&found));
    assert_eq!(naive_times(&found), ["at"]);
    for _ in 0..2 {
        catalog.merge(&guessed(DataType::Utf8, true)).await.unwrap();
    }
    let found = catalog.table(&first.name).await.unwrap().unwrap();
    assert_eq!(found.columns.field(0).data_type(), &DataType::Utf8);
    assert_eq!(naive_times(&found), ["at"]);
    let name = json!({ "DatabaseName": "shop", "TableName": "sales" });
    let partitions = strict.glue("GetPartitions", name).await;
    for place in [&raw(&strict).await, &partitions["Partitions"][0]] {
        let storage = &place["StorageDescriptor"];
        assert_eq!(storage["Columns"][0]["Type"], "string");
        let serde = &storage["SerdeInfo"]["SerializationLibrary"];
        assert_eq!(serde, "org.apache.hadoop.hive.serde2.OpenCSVSerde");
    }
    assert_eq!(strict.seen("UpdateTable").len(), 1);
}

#[tokio::test]
async fn a_merge_that_changes_nothing_sends_no_change() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let table = table(&[("a", DataType::Int64)], &["k"]);
    for _ in 0..3 {
        catalog.merge(&table).await.unwrap();
    }
    assert_eq!(strict.seen("UpdateTable").len(), 0);
}

#[tokio::test]
async fn tables_that_are_not_of_files_are_refused() {
    let strict = strict().await;
    let parquet = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
    let columns = json!([{ "Name": "a", "Type": "int" }]);
    let with = |serde: &str, columns: &Value| json!({ "Columns": columns, "Location": "s3://lake/x", "SerdeInfo": { "SerializationLibrary": serde } });
    theirs(&strict, json!({ "Name": "first" })).await;
    let catalog = strict.open().await;
    for (input, kind, says) in [
        (
            json!({ "TableType": "VIRTUAL_VIEW" }),
            ErrorKind::Unsupported,
            "a view",
        ),
        (
            json!({ "Parameters": { "table_type": "ICEBERG" }, "StorageDescriptor": with(parquet, &columns) }),
            ErrorKind::Unsupported,
            "iceberg",
        ),
        (
            json!({ "StorageDescriptor": with("org.apache.hadoop.hive.ql.io.orc.OrcSerde", &columns) }),
            ErrorKind::Unsupported,
            "OrcSerde",
        ),
        (
            json!({ "StorageDescriptor": with(parquet, &json!([{ "Name": "odd", "Type": "array<uniontype<int>>" }])) }),
            ErrorKind::Schema,
            "uniontype",
        ),
    ] {
        let mut input = input.clone();
        input["Name"] = "sales".into();
        strict
            .glue(
                "CreateTable",
                json!({ "DatabaseName": "shop", "TableInput": input }),
            )
            .await;
        let want = table(&[("a", DataType::Int32)], &[]);
        for error in [
            catalog.table(&want.name).await.expect_err(says),
            catalog.merge(&want).await.expect_err(says),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains("shop.sales"), "{error}");
            assert!(error.hint_text().is_some(), "{error}");
        }
        strict
            .glue(
                "DeleteTable",
                json!({ "DatabaseName": "shop", "Name": "sales" }),
            )
            .await;
    }
}

#[tokio::test]
async fn partitions_get_the_columns_that_the_table_gets() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let narrow = table(&[("n", DataType::Int32)], &["k"]);
    catalog.merge(&narrow).await.unwrap();
    let partitions: Vec<_> = (0..150)
        .map(|number| TablePartition {
            values: vec![Some(number.to_string())],
            location: format!("s3://lake/sales/k={number}"),
        })
        .collect();
    catalog
        .add_partitions(&narrow.name, &partitions)
        .await
        .unwrap();
    let wide = table(&[("n", DataType::Int64), ("more", DataType::Utf8)], &["k"]);
    catalog.merge(&wide).await.unwrap();
    let name = json!({ "DatabaseName": "shop", "TableName": "sales" });
    let found = strict.glue("GetPartitions", name).await;
    let found = found["Partitions"].as_array().unwrap();
    assert_eq!(found.len(), 150);
    for partition in found {
        let storage = &partition["StorageDescriptor"];
        let columns =
            json!([{ "Name": "n", "Type": "bigint" }, { "Name": "more", "Type": "string" }]);
        assert_eq!(storage["Columns"], columns);
        let value = partition["Values"][0].as_str().unwrap();
        assert_eq!(storage["Location"], format!("s3://lake/sales/k={value}/"));
    }
    // A crash before the table itself is changed is made good by the next merge: partitions first.
    let all = ["BatchUpdatePartition", "UpdateTable"].map(|operation| strict.seen(operation).len());
    assert_eq!(all, [2, 1]);
}

/// The columns of all partitions, which are the same.
async fn columns_of_partitions(strict: &Strict, count: usize) -> Value {
    let name = json!({ "DatabaseName": "shop", "TableName": "sales" });
    let found = strict.glue("GetPartitions", name).await;
    let found = found["Partitions"].as_array().unwrap();
    assert_eq!(found.len(), count);
    let columns: Vec<_> = found
        .iter()
        .map(|partition| &partition["StorageDescriptor"]["Columns"])
        .collect();
    assert!(
        columns.windows(2).all(|pair| pair[0] == pair[1]),
        "{columns:?}"
    );
    columns[0].clone()
}

fn partition(value: &str) -> TablePartition {
    TablePartition {
        values: vec![Some(value.to_owned())],
        location: format!("s3://lake/sales/k={value}"),
    }
}

/// Two runs: one makes partitions while the other widens a column and adds one. Whichever request of
/// the one all of the other comes before, no partition keeps the older columns.
#[tokio::test]
async fn partitions_made_while_another_run_widens_get_the_columns_too() {
    let narrow = table(&[("n", DataType::Int32)], &["k"]);
    let wide = table(&[("n", DataType::Int64), ("more", DataType::Utf8)], &["k"]);
    let wanted = json!([{ "Name": "n", "Type": "bigint" }, { "Name": "more", "Type": "string" }]);
    let new = [partition("new"), partition("old")];
    let strict = strict().await;
    let (one, other) = (strict.open().await, strict.open().await);
    let moments = ["add", "merge"]
        .into_iter()
        .flat_map(|halted| (0..8).map(move |at| (halted, at)));
    for (halted, at) in moments {
        one.merge(&narrow).await.unwrap();
        let old = [partition("old")];
        one.add_partitions(&narrow.name, &old).await.unwrap();
        // The first run stops before its request number `at` until the other one has ended.
        let (stopped, go) = strict.halt(at);
        let first = async {
            match halted {
                "add" => one.add_partitions(&narrow.name, &new).await.unwrap(),
                _ => one.merge(&wide).await.unwrap(),
            }
            strict.halt_no_more();
        };
        let second = async {
            let _ = stopped.await;
            match halted {
                "add" => other.merge(&wide).await.unwrap(),
                _ => other.add_partitions(&narrow.name, &new).await.unwrap(),
            }
            let _ = go.send(());
        };
        tokio::join!(first, second);
        assert_eq!(
            columns_of_partitions(&strict, 2).await,
            wanted,
            "{halted} {at}"
        );
        assert!(one.drop_table(&narrow.name).await.unwrap());
    }
}

/// A process that dies after it made partitions of an older table makes them good when it is
/// replayed, though they are there.
#[tokio::test]
async fn partitions_that_a_dead_process_made_get_the_columns_when_it_is_replayed() {
    let strict = strict().await;
    let catalog = strict.open().await;
    let narrow = table(&[("n", DataType::Int32)], &["k"]);
    catalog.merge(&narrow).await.unwrap();
    let wide = table(&[("n", DataType::Int64)], &["k"]);
    catalog.merge(&wide).await.unwrap();
    let stale = json!({
        "DatabaseName": "shop", "TableName": "sales",
        "PartitionInputList": [{
            "Values": ["new"],
            "StorageDescriptor": {
                "Columns": [{ "Name": "n", "Type": "int" }],
                "Location": "s3://lake/sales/k=new/",
            },
        }],
    });
    strict.glue("BatchCreatePartition", stale).await;
    catalog
        .add_partitions(&wide.name, &[partition("new")])
        .await
        .unwrap();
    let wanted = json!([{ "Name": "n", "Type": "bigint" }]);
    assert_eq!(columns_of_partitions(&strict, 1).await, wanted);
    // Where all is right, one look says so.
    let before = strict.seen("BatchUpdatePartition").len();
    catalog
        .add_partitions(&wide.name, &[partition("new")])
        .await
        .unwrap();
    assert_eq!(strict.seen("BatchUpdatePartition").len(), before);
}
