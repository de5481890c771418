//! More rows than memory.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use serde_json::json;
use tidegate_core::{ErrorKind, Result, Transform};

use crate::support::{Memory, batch, gathered, open_within, run_with};

const ROWS: i64 = 300_000;

/// About 40 MB: a number out of order, and a long text of it.
fn large(name: &'static str, step: i64) -> Memory {
    let mut partitions = vec![Vec::new(), Vec::new()];
    for (i, start) in (0..ROWS).step_by(8_192).enumerate() {
        let numbers = (start..(start + 8_192).min(ROWS)).map(|n| (n * step) % ROWS);
        let texts = numbers.clone().map(|n| format!("{n:0>100}"));
        partitions[i % 2].push(batch(vec![
            (
                "n",
                Arc::new(Int64Array::from_iter_values(numbers.clone())) as _,
            ),
            ("text", Arc::new(StringArray::from_iter_values(texts)) as _),
        ]));
    }
    Memory {
        name,
        schema: partitions[0][0].schema(),
        partitions,
    }
}

async fn within(memory: &str, query: &str, tables: &[Memory]) -> Result<Vec<RecordBatch>> {
    run_with(json!({"query": query, "memory": memory}), tables).await
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let column = |batch: &RecordBatch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(column).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sorting_goes_to_disk() {
    let rows = within(
        "20 MB",
        "SELECT n, text FROM a ORDER BY text DESC",
        &[large("a", 7_919)],
    )
    .await
    .unwrap();
    let numbers = numbers(&rows);
    assert!(numbers.into_iter().eq((0..ROWS).rev()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_larger_than_its_share_is_taken_in_pieces() {
    let mut table = large("a", 7_919);
    for partition in &mut table.partitions {
        *partition = vec![concat_batches(&table.schema, &*partition).unwrap()];
    }
    let rows = within("20 MB", "SELECT n, text FROM a ORDER BY n", &[table])
        .await
        .unwrap();
    assert!(numbers(&rows).into_iter().eq(0..ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_windows_and_unions_go_to_disk() {
    let tables = [large("a", 7_919), large("b", 7_907)];
    let query = "SELECT n, row_number() OVER (PARTITION BY text ORDER BY n) AS nth FROM \
                 (SELECT n, text FROM a UNION SELECT n, text FROM b) WHERE n >= 0";
    let rows = within("40 MB", query, &tables).await.unwrap();
    let mut numbers = numbers(&rows);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grouping_goes_to_disk() {
    let query = "SELECT max(n) AS n, count(*) AS times FROM a GROUP BY text";
    let rows = within("20 MB", query, &[large("a", 7_919)]).await.unwrap();
    let mut numbers = numbers(&rows);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_goes_to_disk() {
    let tables = [large("a", 7_919), large("b", 7_907)];
    let query = "SELECT a.n, a.text AS one, b.text AS other FROM a JOIN b ON a.text = b.text";
    let rows = within("20 MB", query, &tables).await.unwrap();
    let mut numbers = numbers(&rows);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_memory_says_what_to_do() {
    let query = "SELECT n, text FROM a ORDER BY text";
    let error = within("50 KB", query, &[large("a", 7_919)])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.hint_text().unwrap().contains("`memory`"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_join_holds_none_of_its_largest_table() {
    let few = |name, step: i64| {
        let numbers = (0..500_i64).map(|n| n * step);
        batch(vec![(
            name,
            Arc::new(Int64Array::from_iter_values(numbers)) as _,
        )])
    };
    let tables = [
        large("a", 1),
        Memory::new("b", few("b", 1)),
        Memory::new("c", few("c", 2)),
    ];
    // Whether it is streamed is up to `run_with`, which does both.
    let query = "SELECT count(*) AS n FROM a JOIN b ON a.n % 500 = b.b JOIN c ON a.n % 500 = c.c \
                 WHERE length(a.text) + c.c >= b.b";
    let rows = within("4 MB", query, &tables).await.unwrap();
    assert_eq!(numbers(&rows), [ROWS / 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_to_disk_has_a_limit_too() {
    let directory = tempfile::tempdir().unwrap();
    let config = json!({"query": "SELECT n, text FROM a ORDER BY text DESC", "memory": "20 MB"});
    let tables = [large("a", 7_919)];
    let transform = open_within(config, &tables, directory.path(), 1_000_000).await;
    let Transform::Gather(gather) = transform.unwrap() else {
        panic!("a query that sorts is no map");
    };
    let error = gathered(&gather, &tables, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.hint_text().unwrap().contains("`spill`"), "{error:?}");
}
