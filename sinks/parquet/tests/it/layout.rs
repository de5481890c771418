use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::json;
use tidegate_testkit::suites::sealed;

use crate::support::{Bench, ids, prepare, read, rows, schema, visible};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_make_one_file() {
    let bench = Bench::new(json!({}), schema());
    let sink = bench.open().await.unwrap();
    let of = |writer: i64| (0..20).map(move |i| writer * 20 + i);
    let batch = |n: i64| rows(n * 1000..n * 1000 + 1000, |id| Some(format!("k{}", id % 7)));
    let batches = (0..8)
        .map(|writer| of(writer).map(batch).collect())
        .collect();
    let prepared = prepare(&sink, 1, batches).await.unwrap();
    assert_eq!(prepared.len(), 1, "the last writer holds all files");
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let names = visible(&bench.out());
    assert_eq!(names.len(), 1);
    let (lineage, run) = (bench.cx.common.lineage.short(), bench.cx.common.run.short());
    assert_eq!(names[0], format!("part-{lineage}-{run}-lake-1-0.parquet"));
    assert_eq!(ids(&bench.out())[""], (0..160_000).collect::<Vec<_>>());
    assert_eq!(bench.cx.common.metrics.total_files(), 1);
    let size = std::fs::metadata(bench.out().join(&names[0]))
        .unwrap()
        .len();
    assert_eq!(bench.cx.common.metrics.total_bytes(), size);
}

#[tokio::test]
async fn partitions_are_hive_directories_without_their_columns() {
    let bench = Bench::new(json!({"partition_by": ["kind"]}), schema());
    let sink = bench.open().await.unwrap();
    let kinds = [Some("a/b"), None, Some(""), Some("c=1:2"), Some("a/b")];
    let kind = |id: i64| kinds[usize::try_from(id).unwrap()].map(str::to_owned);
    let prepared = prepare(&sink, 1, vec![vec![rows(0..5, kind)]])
        .await
        .unwrap();
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let expected = BTreeMap::from([
        ("kind=__HIVE_DEFAULT_PARTITION__".to_owned(), vec![1, 2]),
        ("kind=a%2Fb".to_owned(), vec![0, 4]),
        ("kind=c%3D1%3A2".to_owned(), vec![3]),
    ]);
    assert_eq!(ids(&bench.out()), expected);
    let name = &visible(&bench.out())[0];
    let batch = &read(&bench.out().join(name))[0];
    assert_eq!(batch.num_columns(), 1);
}

#[tokio::test]
async fn more_partitions_than_may_be_open_lose_nothing() {
    let bench = Bench::new(json!({"partition_by": ["kind"]}), schema());
    let sink = bench.open().await.unwrap();
    let batch = |n: i64| rows(n * 700..n * 700 + 700, |id| Some((id % 350).to_string()));
    let batches = vec![(0..3).map(batch).collect(), (3..6).map(batch).collect()];
    let prepared = prepare(&sink, 1, batches).await.unwrap();
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let found = ids(&bench.out());
    assert_eq!(found.len(), 350);
    for (directory, ids) in found {
        let kind: i64 = directory.strip_prefix("kind=").unwrap().parse().unwrap();
        assert_eq!(ids, (0..12).map(|i| kind + i * 350).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_end_near_their_target_and_row_groups_at_their_rows() {
    let config = json!({
        "target_file_size": "200 KB", "row_group_rows": 3000, "compression": "none",
    });
    let bench = Bench::new(config, schema());
    let sink = bench.open().await.unwrap();
    let long = |id: i64| Some(format!("{:032x}", id.wrapping_mul(0x1E37_79B9_7F4A_7C15)));
    let batch = |n: i64| rows(n * 5000..n * 5000 + 5000, long);
    let batches = (0..4)
        .map(|writer| vec![batch(writer * 2), batch(writer * 2 + 1)])
        .collect();
    let prepared = prepare(&sink, 1, batches).await.unwrap();
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    assert_eq!(ids(&bench.out())[""], (0..40_000).collect::<Vec<_>>());
    let names = visible(&bench.out());
    let size = |name: &String| std::fs::metadata(bench.out().join(name)).unwrap().len();
    let whole: u64 = names.iter().map(size).sum();
    assert!(
        names.len() as u64 <= whole / 100_000,
        "{} files of {whole} bytes",
        names.len()
    );
    for name in &names {
        assert!(size(name) < 400_000);
        let file = SerializedFileReader::new(File::open(bench.out().join(name)).unwrap()).unwrap();
        for group in file.metadata().row_groups() {
            assert!(group.num_rows() <= 3000);
            assert!(group.column(0).statistics().is_some());
        }
    }
}

#[tokio::test]
async fn lists_are_named_as_every_reader_expects() {
    let mut lists = ListBuilder::new(Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let lists: ArrayRef = Arc::new(lists.finish());
    let field = Field::new("tags", lists.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![lists]).unwrap();
    let bench = Bench::new(json!({}), schema);
    let sink = bench.open().await.unwrap();
    let prepared = prepare(&sink, 1, vec![vec![batch]]).await.unwrap();
    sink.commit(&bench.commit(1, &prepared)).await.unwrap();
    let path = bench.out().join(&visible(&bench.out())[0]);
    let file = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let schema = file.metadata().file_metadata().schema_descr();
    assert_eq!(schema.column(0).path().string(), "tags.list.element");
    assert_eq!(read(&path)[0].num_rows(), 2);
}

#[tokio::test]
async fn c9_the_text_that_means_null_is_rejected_as_a_directories_name() {
    let bench = Bench::new(json!({"partition_by": ["kind"]}), schema());
    let sink = bench.open().await.unwrap();
    let kinds = [
        "__HIVE_DEFAULT_PARTITION__",
        "__HIVE_DEFAULT_PARTITION__ ",
        "x",
    ];
    let batch = rows(0..3, |id| {
        Some(kinds[usize::try_from(id).unwrap()].to_owned())
    });
    let sealed = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
    let rejected = sealed.rejected;
    assert_eq!(rejected.len(), 1);
    assert!(
        rejected.rows[0].reason.contains("means NULL"),
        "{rejected:?}"
    );
    let commit = bench.commit(1, &sealed.prepared);
    sink.commit(&commit).await.unwrap();
    assert_eq!(
        ids(&bench.out()).into_values().collect::<Vec<_>>(),
        [[1], [2]]
    );
}

#[tokio::test]
async fn a_value_too_long_for_a_directory_is_rejected_alone() {
    let bench = Bench::new(json!({"partition_by": ["kind"]}), schema());
    let sink = bench.open().await.unwrap();
    let batch = rows(0..3, |id| Some("x".repeat(if id == 1 { 300 } else { 3 })));
    let sealed = sealed(sink.as_ref(), 1, vec![vec![batch]]).await.unwrap();
    let rejected = sealed.rejected;
    assert_eq!(rejected.len(), 1);
    assert!(
        rejected.rows[0].row.starts_with("{\"id\":1"),
        "{rejected:?}"
    );
    let commit = bench.commit(1, &sealed.prepared);
    sink.commit(&commit).await.unwrap();
    assert_eq!(ids(&bench.out())["kind=xxx"], [0, 2]);
}
