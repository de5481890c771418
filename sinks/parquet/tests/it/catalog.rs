//! Files that are a table of a catalog.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde_json::{Value, json};
use tidegate_core::{Commit, ErrorKind, Prepared, RunId, TablePartition};
use tidegate_testkit::suites::sealed;

use crate::shelf::{Shelf, column, shelf, with_columns};
use crate::support::{Bench, ids, prepare, read, rows, schema, visible};

/// A sink whose table is on a shelf of its own.
struct Lake {
    bench: Bench,
    shelf: Arc<Shelf>,
    keys: Value,
}

impl Lake {
    fn new(keys: Value, catalog: Value, schema: SchemaRef) -> Self {
        let name = RunId::new().to_string();
        let mut table = json!({
            "type": "shelf", "shelf": name, "database": "Retail", "table": "sales",
        });
        table
            .as_object_mut()
            .unwrap()
            .extend(catalog.as_object().unwrap().clone());
        let mut keys = keys;
        keys["catalog"] = table;
        Self {
            bench: Bench::new(keys.clone(), schema),
            shelf: shelf(&name),
            keys,
        }
    }

    /// The next run: other rows, the same directory and table.
    fn next(&self, policy: &str, schema: SchemaRef) -> Self {
        let mut keys = self.keys.clone();
        keys["catalog"]["schema_policy"] = policy.into();
        keys["url"] = self.bench.out().to_str().unwrap().into();
        Self {
            bench: Bench::new(keys.clone(), schema),
            shelf: Arc::clone(&self.shelf),
            keys,
        }
    }

    async fn write(&self, epoch: u64, batch: RecordBatch) -> Vec<Prepared> {
        let sink = self.bench.open().await.unwrap();
        let prepared = prepare(&sink, epoch, vec![vec![batch]]).await.unwrap();
        sink.commit(&self.bench.commit(epoch, &prepared))
            .await
            .unwrap();
        prepared
    }

    async fn refused(&self) -> tidegate_core::Error {
        let error = self.bench.open().await.unwrap_err();
        assert!(
            visible(self.bench.dir.path()).is_empty(),
            "nothing was written"
        );
        error
    }
}

fn kind(id: i64) -> Option<String> {
    Some(format!("k{}", id % 2))
}

fn of(columns: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(columns))
}

#[tokio::test]
async fn a_commit_makes_the_table_and_its_partitions() {
    let lake = Lake::new(json!({"partition_by": ["kind"]}), json!({}), schema());
    lake.write(1, rows(0..4, kind)).await;
    assert_eq!(lake.shelf.columns(), ["id: Int64", "kind: Utf8"]);
    let table = lake.shelf.table();
    assert_eq!(table.name.to_string(), "Retail.sales");
    assert_eq!(table.location, lake.bench.out().to_str().unwrap());
    assert_eq!(table.partition_keys.len(), 1);
    assert_eq!(lake.shelf.directories(), ["kind=k0", "kind=k1"]);
    lake.write(2, rows(4..6, |_| Some("k2".into()))).await;
    assert_eq!(lake.shelf.directories(), ["kind=k0", "kind=k1", "kind=k2"]);
}

#[tokio::test]
async fn nothing_is_registered_before_the_commit_and_a_replay_registers_all_of_it() {
    let lake = Lake::new(json!({"partition_by": ["kind"]}), json!({}), schema());
    let sink = lake.bench.open().await.unwrap();
    let first = prepare(&sink, 1, vec![vec![rows(0..4, kind)]])
        .await
        .unwrap();
    let second = prepare(&sink, 2, vec![vec![rows(4..5, |_| None)]])
        .await
        .unwrap();
    drop(sink);
    assert!(lake.shelf.tables.lock().unwrap().is_empty());
    // The process died; its successor knows only what is stored.
    let sink = lake.bench.reopen().await;
    for _ in 0..2 {
        sink.commit(&lake.bench.commit(1, &first)).await.unwrap();
        sink.commit(&lake.bench.commit(2, &second)).await.unwrap();
    }
    assert_eq!(lake.shelf.columns(), ["id: Int64", "kind: Utf8"]);
    let null = "kind=__HIVE_DEFAULT_PARTITION__";
    assert_eq!(lake.shelf.directories(), [null, "kind=k0", "kind=k1"]);
    assert_eq!(ids(&lake.bench.out()).len(), 3);
}

#[tokio::test]
async fn a_run_without_rows_makes_the_table() {
    for mode in ["append", "overwrite"] {
        let lake = Lake::new(json!({"mode": mode}), json!({}), schema());
        let sink = lake.bench.open().await.unwrap();
        let concluded: Vec<_> = match mode {
            "append" => Vec::new(),
            _ => sink.conclude(&[]).await.unwrap().into_iter().collect(),
        };
        let commit = Commit {
            last: true,
            ..lake.bench.commit(1, &concluded)
        };
        sink.commit(&commit).await.unwrap();
        assert_eq!(lake.shelf.columns(), ["id: Int64", "kind: Utf8"], "{mode}");
    }
}

#[tokio::test]
async fn odd_values_name_directories_that_are_read_back() {
    let lake = Lake::new(json!({"partition_by": ["kind"]}), json!({}), schema());
    let odd = [
        Some("a/b"),
        Some("c=1:2"),
        Some(" x y "),
        Some("100%"),
        Some("ü日"),
        None,
        Some(""),
    ];
    let batch = rows(0..7, |id| {
        odd[usize::try_from(id).unwrap()].map(str::to_owned)
    });
    lake.write(1, batch).await;
    let mut values: Vec<_> = lake.shelf.values().into_iter().flatten().collect();
    values.sort();
    let mut expected: Vec<_> = odd[..6]
        .iter()
        .map(|text| text.map(str::to_owned))
        .collect();
    expected.sort();
    assert_eq!(values, expected);
    for directory in lake.shelf.directories() {
        assert!(lake.bench.out().join(&directory).is_dir(), "{directory}");
    }
}

#[tokio::test]
async fn names_are_folded_in_files_directories_and_table() {
    let columns = || {
        of(vec![
            column("Id", DataType::Int64),
            column("Kind", DataType::Utf8),
        ])
    };
    let lake = Lake::new(
        json!({"partition_by": ["Kind"]}),
        json!({"lower": true}),
        columns(),
    );
    let batch = RecordBatch::try_new(columns(), rows(0..3, kind).columns().to_vec()).unwrap();
    lake.write(1, batch).await;
    assert_eq!(lake.shelf.columns(), ["id: Int64", "kind: Utf8"]);
    assert_eq!(lake.shelf.table().name.to_string(), "retail.sales");
    // `ids` reads the column `id`.
    assert_eq!(ids(&lake.bench.out())["kind=k0"], [0, 2]);
}

#[tokio::test]
async fn two_columns_that_fold_to_one_are_refused() {
    let columns = of(vec![
        column("Id", DataType::Int64),
        column("id", DataType::Utf8),
    ]);
    let lake = Lake::new(json!({}), json!({"lower": true}), columns);
    let error = lake.refused().await;
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.message().contains("`Id` and `id`"), "{error}");
}

#[tokio::test]
async fn evolve_adds_columns_widens_types_and_keeps_what_others_added() {
    let lake = Lake::new(json!({}), json!({}), schema());
    lake.write(1, rows(0..2, kind)).await;
    lake.shelf.change(|table| {
        let columns = [("id", DataType::Int32), ("theirs", DataType::Date32)];
        let columns = columns.map(|(name, data_type)| column(name, data_type));
        with_columns(table, columns.into());
    });
    let columns = of(vec![
        column("more", DataType::Utf8),
        column("id", DataType::Int64),
    ]);
    let next = lake.next("evolve", Arc::clone(&columns));
    let more: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    next.write(2, RecordBatch::try_new(columns, vec![more, id]).unwrap())
        .await;
    let merged = ["id: Int64", "theirs: Date32", "more: Utf8"];
    assert_eq!(lake.shelf.columns(), merged);
    // A stream that is narrower than the table writes the table's type.
    let columns = of(vec![column("id", DataType::Int32)]);
    let next = lake.next("evolve", Arc::clone(&columns));
    let id: ArrayRef = Arc::new(Int32Array::from(vec![8]));
    next.write(3, RecordBatch::try_new(columns, vec![id]).unwrap())
        .await;
    assert_eq!(lake.shelf.columns(), merged);
    assert_eq!(ids(&lake.bench.out())[""], [0, 1, 7, 8]);
}

#[tokio::test]
async fn a_text_where_the_table_has_a_number_is_refused_before_any_file() {
    let lake = Lake::new(json!({}), json!({}), schema());
    lake.write(1, rows(0..2, kind)).await;
    let next = lake.next("evolve", of(vec![column("id", DataType::Utf8)]));
    let error = next.refused().await;
    assert_eq!(error.kind(), ErrorKind::Schema);
    for part in ["`id`", "Utf8", "Int64", "`Retail.sales`"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(error.hint_text().unwrap().contains("cast"));
}

#[tokio::test]
async fn freeze_refuses_every_difference() {
    let lake = Lake::new(json!({}), json!({}), schema());
    lake.write(1, rows(0..2, kind)).await;
    let kind_column = || column("kind", DataType::Utf8);
    for (columns, part) in [
        (vec![column("id", DataType::Int64)], "`kind`"),
        (vec![column("id", DataType::Int32), kind_column()], "`id`"),
        (
            vec![
                column("id", DataType::Int64),
                kind_column(),
                column("x", DataType::Utf8),
            ],
            "`x`",
        ),
    ] {
        let error = lake.next("freeze", of(columns)).refused().await;
        assert_eq!(error.kind(), ErrorKind::Schema);
        assert!(error.message().contains(part), "{error}");
    }
    // The order is no difference.
    let columns = of(vec![kind_column(), column("id", DataType::Int64)]);
    lake.next("freeze", columns).bench.open().await.unwrap();
}

#[tokio::test]
async fn reject_leaves_the_table_and_takes_the_rows_that_fit() {
    let narrow = of(vec![column("id", DataType::Int16)]);
    let lake = Lake::new(json!({}), json!({}), Arc::clone(&narrow));
    lake.bench.open().await.unwrap();
    let sink = lake.bench.open().await.unwrap();
    let last = Commit {
        last: true,
        ..lake.bench.commit(1, &[])
    };
    sink.commit(&last).await.unwrap();

    let next = lake.next("reject", schema());
    let sink = next.bench.open().await.unwrap();
    // 1 has a value in a column that the table doesn't have, 70000 is too large.
    let kinds: ArrayRef = Arc::new(StringArray::from(vec![None, Some("k"), None]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 70_000]));
    let batch = RecordBatch::try_new(schema(), vec![numbers, kinds]).unwrap();
    let sealed = sealed(sink.as_ref(), 2, vec![vec![batch]]).await.unwrap();
    let rejected = sealed.rejected;
    let reasons: Vec<_> = rejected
        .rows
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert!(
        reasons[0].contains("`kind`") && reasons[1].contains("`id`"),
        "{reasons:?}"
    );
    assert!(rejected.rows[1].row.contains("70000"));
    let prepared = sealed.prepared;
    sink.commit(&next.bench.commit(2, &prepared)).await.unwrap();
    assert_eq!(lake.shelf.columns(), ["id: Int16"]);
    let files = visible(&lake.bench.out());
    let batch = &read(&lake.bench.out().join(&files[0]))[0];
    assert_eq!(
        (batch.num_rows(), batch.schema().field(0).data_type()),
        (1, &DataType::Int16)
    );
}

#[tokio::test]
async fn another_place_other_keys_and_another_policy_of_types_are_refused() {
    let lake = Lake::new(json!({}), json!({}), schema());
    lake.write(1, rows(0..2, kind)).await;
    let refused = async |key: &str, value: Value| {
        let mut next = lake.next("evolve", schema());
        let mut keys = next.keys.clone();
        keys[key] = value;
        next.bench = Bench::new(keys, schema());
        next.refused().await
    };
    let error = refused("url", "elsewhere".into()).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .to_string()
            .contains(lake.bench.out().to_str().unwrap()),
        "{error}"
    );
    let error = refused("partition_by", json!(["kind"])).await;
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.message().contains("partitioned"), "{error}");
    assert_eq!(
        refused("types", "exact".into()).await.kind(),
        ErrorKind::Config
    );
}

#[tokio::test]
async fn a_partition_that_lies_elsewhere_gets_no_files_that_nobody_sees() {
    let lake = Lake::new(json!({"partition_by": ["kind"]}), json!({}), schema());
    lake.write(1, rows(0..2, kind)).await;
    {
        let mut tables = lake.shelf.tables.lock().unwrap();
        let (_, partitions) = tables.values_mut().next().unwrap();
        partitions.insert(TablePartition {
            values: vec![Some("moved".into())],
            location: "/somewhere/else".into(),
        });
    }
    let next = lake.next("evolve", schema());
    let sink = next.bench.open().await.unwrap();
    let moved = |_| Some("moved".to_owned());
    let error = prepare(&sink, 2, vec![vec![rows(2..3, moved)]])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("/somewhere/else"), "{error}");
}

#[tokio::test]
async fn a_change_since_the_opening_is_merged_or_is_a_conflict() {
    let lake = Lake::new(json!({}), json!({}), schema());
    let sink = lake.bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![rows(0..2, kind)]])
        .await
        .unwrap();
    // Somebody else made the table meanwhile.
    let other = Lake::new(
        json!({}),
        json!({}),
        of(vec![column("x", DataType::Date32)]),
    );
    let mut theirs = {
        let sink = other.bench.open().await.unwrap();
        let last = Commit {
            last: true,
            ..other.bench.commit(1, &[])
        };
        sink.commit(&last).await.unwrap();
        other.shelf.table()
    };
    theirs.location = lake.bench.out().to_str().unwrap().into();
    let put = |table: &tidegate_core::CatalogTable| {
        let mut tables = lake.shelf.tables.lock().unwrap();
        tables.insert(table.name.clone(), (table.clone(), Default::default()));
    };
    put(&theirs);
    sink.commit(&lake.bench.commit(1, &prepared)).await.unwrap();
    assert_eq!(
        lake.shelf.columns(),
        ["x: Date32", "id: Int64", "kind: Utf8"]
    );

    with_columns(&mut theirs, vec![column("id", DataType::Date32)]);
    put(&theirs);
    let error = sink
        .commit(&lake.bench.commit(1, &prepared))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn an_overwrite_leaves_exactly_the_partitions_that_have_files() {
    let keys = json!({"partition_by": ["kind"], "mode": "overwrite"});
    let lake = Lake::new(keys, json!({}), schema());
    let run = async |lake: &Lake, batch: Option<RecordBatch>| {
        let sink = lake.bench.open().await.unwrap();
        let batches = vec![batch.into_iter().collect()];
        let mut prepared = prepare(&sink, 1, batches).await.unwrap();
        prepared.extend(sink.conclude(&prepared).await.unwrap());
        sink.commit(&lake.bench.commit(1, &prepared)).await.unwrap();
        prepared
    };
    run(&lake, Some(rows(0..4, kind))).await;
    assert_eq!(lake.shelf.directories(), ["kind=k0", "kind=k1"]);
    let second = lake.next("evolve", schema());
    let of_second = run(&second, Some(rows(4..5, |_| Some("k1".into())))).await;
    assert_eq!(lake.shelf.directories(), ["kind=k1"]);

    // A successor fills the partition again; a late replay must not take it away.
    let third = lake.next("evolve", schema());
    run(&third, Some(rows(5..7, |id| Some(format!("k{}", id - 5))))).await;
    assert_eq!(lake.shelf.directories(), ["kind=k0", "kind=k1"]);
    let late = second.bench.reopen().await;
    let replay = late.commit(&second.bench.commit(1, &of_second)).await;
    if let Err(error) = replay {
        // Its own files are gone, which it says.
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert_eq!(lake.shelf.directories(), ["kind=k0", "kind=k1"]);

    run(&lake.next("evolve", schema()), None).await;
    assert!(lake.shelf.directories().is_empty());
    assert_eq!(lake.shelf.columns(), ["id: Int64", "kind: Utf8"]);
}
