//! Queries over all rows, compared with what is computed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Int64Array, StringArray};
use futures::{StreamExt, stream};
use tidegate_core::{BatchStream, Error, ErrorKind, Gathered, Result, StageInput, Transform};

use crate::support::{Memory, batch, lines, open, ordered_lines, orders, run, users};

#[tokio::test]
async fn joins_aggregates_windows_and_unions() {
    let tables = [orders(), users()];
    for (query, expected) in [
        (
            "SELECT u.name, sum(o.amount) AS total, count(*) AS n FROM orders o \
             JOIN users u ON u.id = o.userId GROUP BY u.name",
            vec!["Ann,17.50,3", "Bob,143.45,2"],
        ),
        (
            "SELECT o.id, u.name FROM shop.orders o LEFT JOIN users u ON u.id = o.userId WHERE o.id > 3",
            vec!["4,", "5,Bob", "6,Ann"],
        ),
        ("SELECT DISTINCT userId FROM orders", vec!["1", "2", "3"]),
        (
            "SELECT id, sum(id) OVER (PARTITION BY userId ORDER BY id) AS s FROM orders WHERE userId = 1",
            vec!["1,1", "3,4", "6,10"],
        ),
        (
            "SELECT id FROM users UNION ALL SELECT id FROM orders WHERE id = 6",
            vec!["1", "2", "6"],
        ),
        ("SELECT count(*) AS n FROM orders", vec!["6"]),
        (
            "SELECT sum(amount) / sum(id) AS mean FROM orders",
            vec!["7.854285"],
        ),
        (
            "SELECT unnest([id, id]) AS x FROM users",
            vec!["1", "1", "2", "2"],
        ),
        ("SELECT id FROM users WHERE 1 = 0", vec![]),
        (
            "SELECT id FROM orders WHERE amount = (SELECT max(amount) FROM orders)",
            vec!["5"],
        ),
    ] {
        let rows = run(query, &tables)
            .await
            .unwrap_or_else(|e| panic!("{query}: {e:?}"));
        assert_eq!(lines(&rows), expected, "{query}");
    }
}

#[tokio::test]
async fn order_comes_out_in_one_partition() {
    let numbers = Int64Array::from_iter_values((0..10_000).map(|i| (i * 7_919) % 10_007));
    let table = Memory::new("t", batch(vec![("n", Arc::new(numbers) as _)])).spread(1_000);
    let rows = run("SELECT n FROM t ORDER BY n DESC", &[table])
        .await
        .unwrap();
    let given: Vec<i64> = ordered_lines(&rows)
        .iter()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(given.len(), 10_000);
    assert!(given.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn groups_of_many_partitions_are_whole() {
    let keys = StringArray::from_iter_values((0..20_000).map(|i| format!("k{}", i % 97)));
    let values = Int64Array::from_iter_values(0..20_000);
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    for i in 0..20_000 {
        *expected.entry(format!("k{}", i % 97)).or_default() += i;
    }
    let table = Memory::new(
        "t",
        batch(vec![
            ("k", Arc::new(keys) as _),
            ("v", Arc::new(values) as _),
        ]),
    )
    .spread(512);
    let rows = run("SELECT k, sum(v) AS s FROM t GROUP BY k", &[table])
        .await
        .unwrap();
    let expected: Vec<_> = expected.iter().map(|(k, s)| format!("{k},{s}")).collect();
    let mut expected = expected;
    expected.sort();
    assert_eq!(lines(&rows), expected);
}

#[tokio::test]
async fn no_rows_are_rows_too() {
    let table = crate::support::columns("t", &[("n", arrow_schema::DataType::Int64)]);
    let rows = run(
        "SELECT count(*) AS c, sum(n) AS s FROM t",
        std::slice::from_ref(&table),
    )
    .await
    .unwrap();
    assert_eq!(lines(&rows), ["0,"]);
    let mut none = table;
    none.partitions = Vec::new();
    let rows = run("SELECT n FROM t ORDER BY n", &[none]).await.unwrap();
    assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_value_that_cannot_be_computed_ends_the_run_with_its_reason() {
    let error = run("SELECT sum(CAST(qty AS INT)) AS s FROM orders", &[orders()])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.message().contains("cannot cast string 'x'"),
        "{error:?}"
    );
    assert!(error.hint_text().is_some());
}

/// Rows whose reading fails.
#[derive(Debug)]
struct Broken(Memory);

impl Gathered for Broken {
    fn schema(&self) -> arrow_schema::SchemaRef {
        self.0.schema()
    }
    fn rows(&self) -> u64 {
        self.0.rows()
    }
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
    fn partitions(&self) -> usize {
        1
    }
    fn open(&self, _: usize) -> Result<BatchStream> {
        let error = Error::transient("the disk is away")
            .with("path", "/x")
            .hint("plug it in");
        Ok(stream::iter([Ok(self.0.batch()), Err(error)]).boxed())
    }
}

#[tokio::test]
async fn errors_of_the_rows_come_through_as_they_are() {
    let scratch = tempfile::tempdir().unwrap();
    let keys =
        serde_json::json!({"query": "SELECT userId, count(qty) AS n FROM orders GROUP BY userId"});
    let opened = crate::support::open_with(keys, &[orders()], scratch.path()).await;
    let Ok(Transform::Gather(gather)) = opened else {
        panic!("{opened:?}");
    };
    let streams = gather
        .run(vec![StageInput::Collected(Arc::new(Broken(orders())))])
        .await
        .unwrap();
    let mut failed = 0;
    for stream in streams {
        for result in stream.collect::<Vec<_>>().await {
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::Transient, "{error:?}");
                assert_eq!(error.to_string(), "the disk is away (path: /x)");
                assert_eq!(error.hint_text(), Some("plug it in"));
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
}

#[tokio::test]
async fn the_time_is_that_of_the_run() {
    let query =
        "SELECT count(*) AS n, now() > '2020-01-01' AS late, current_date() AS day FROM users";
    let rows = run(query, &[users()]).await.unwrap();
    assert!(
        lines(&rows)[0].starts_with("2,true,2"),
        "{:?}",
        lines(&rows)
    );
}

#[tokio::test]
async fn a_gather_can_run_again() {
    let query = "SELECT u.name FROM users u ORDER BY u.name";
    let Transform::Gather(_) = open(query, &[users()]).await.unwrap() else {
        panic!("not a gather");
    };
    for _ in 0..2 {
        assert_eq!(
            ordered_lines(&run(query, &[users()]).await.unwrap()),
            ["Ann", "Bob"]
        );
    }
}
