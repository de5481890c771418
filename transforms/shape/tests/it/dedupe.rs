//! `dedupe`.

use std::collections::HashMap;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Map, Transform, TransformConfig};
use tidegate_testkit::suites::context;
use tidegate_transform_shape::DedupeConfig;

use super::support::{inputs, map, open, rows, suite, told};

fn events(ids: &[i64]) -> RecordBatch {
    let texts = StringArray::from_iter_values((0..ids.len()).map(|at| format!("t{at}")));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_from_iter([("id", ids), ("text", Arc::new(texts) as _)]).unwrap()
}

fn passed(map: &dyn Map, batch: &RecordBatch) -> Vec<i64> {
    let mapped = map.map(0, batch).unwrap();
    assert!(mapped.rejected.is_empty());
    let ids = mapped
        .batches
        .iter()
        .flat_map(|batch| batch["id"].as_primitive::<Int64Type>().values());
    ids.copied().collect()
}

#[tokio::test]
async fn the_first_row_of_a_key_passes() {
    let batch = events(&[1, 2, 1, 3, 2]);
    let map = map::<DedupeConfig>(json!({ "key": ["id"] }), &batch)
        .await
        .unwrap();
    let (rows, _) = rows(map.as_ref(), &batch);
    assert_eq!(rows, ["id=1, text=t0", "id=2, text=t1", "id=3, text=t3"]);
    assert_eq!(passed(map.as_ref(), &batch), [0; 0]);
    assert_eq!(passed(map.as_ref(), &events(&[3, 4])), [4]);
    assert!(!map.deterministic());
}

#[tokio::test]
async fn without_a_key_all_columns_are_compared() {
    let batch = events(&[1, 1]);
    let map = map::<DedupeConfig>(json!({}), &batch).await.unwrap();
    assert_eq!(passed(map.as_ref(), &batch), [1, 1], "their texts differ");
    assert_eq!(passed(map.as_ref(), &batch), [0; 0]);
}

#[tokio::test]
async fn nulls_are_equal_and_so_are_floats_that_are_no_numbers() {
    let column = vec![
        None,
        Some(f64::NAN),
        None,
        Some(-f64::NAN),
        Some(0.0),
        Some(-0.0),
    ];
    let column: ArrayRef = Arc::new(Float64Array::from(column));
    let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let map = map::<DedupeConfig>(json!({}), &batch).await.unwrap();
    assert_eq!(rows(map.as_ref(), &batch).0, ["x=∅", "x=NaN", "x=0.0"]);
}

#[tokio::test]
async fn what_is_forgotten_passes_again() {
    let all = events(&[1, 2, 3]);
    let few = map::<DedupeConfig>(json!({ "key": ["id"], "max_keys": 2 }), &all)
        .await
        .unwrap();
    assert_eq!(passed(few.as_ref(), &all), [1, 2, 3]);
    assert_eq!(passed(few.as_ref(), &events(&[3, 2, 1, 2])), [1, 2]);
    let short = json!({ "key": ["id"], "window": "20ms" });
    let short = map::<DedupeConfig>(short, &all).await.unwrap();
    assert_eq!(passed(short.as_ref(), &all), [1, 2, 3]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while passed(short.as_ref(), &events(&[1])).is_empty() {
        assert!(
            std::time::Instant::now() < deadline,
            "the window doesn't end"
        );
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn inputs_share_what_was_seen_and_openings_do_not() {
    let (one, other) = (events(&[1, 2]), events(&[2, 3]));
    let columns = other.project(&[1, 0]).unwrap();
    let open = || async {
        let cx = context().transform(inputs(&[&one, &columns]));
        match open::<DedupeConfig>(json!({ "key": ["id"] }), cx)
            .await
            .unwrap()
        {
            Transform::Map(map) => map,
            other => panic!("{other:?}"),
        }
    };
    let map = open().await;
    assert_eq!(passed(map.as_ref(), &one), [1, 2]);
    let mapped = map.map(1, &columns).unwrap();
    assert_eq!(mapped.batches[0].schema(), map.schema());
    assert_eq!(mapped.batches[0].num_rows(), 1);
    // As after a restart.
    assert_eq!(passed(open().await.as_ref(), &one), [1, 2]);
}

#[tokio::test]
async fn of_equal_rows_on_several_threads_exactly_one_passes() {
    const THREADS: i64 = 4;
    const KEYS: i64 = 3_000;
    let map = map::<DedupeConfig>(json!({ "key": ["id"] }), &events(&[]))
        .await
        .unwrap();
    let start = Barrier::new(usize::try_from(THREADS).unwrap());
    let work = |thread: i64| {
        let mut passed_here = Vec::new();
        start.wait();
        for piece in 0..KEYS / 100 {
            // Each thread has all keys, in pieces that meet those of the others.
            let from = (piece + thread) * 100 % KEYS;
            let ids: Vec<i64> = (from..from + 100).map(|id| id * 7 % KEYS).collect();
            passed_here.extend(passed(map.as_ref(), &events(&ids)));
        }
        passed_here
    };
    let mut counts: HashMap<i64, u32> = HashMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        for thread in threads {
            for id in thread.join().unwrap() {
                *counts.entry(id).or_default() += 1;
            }
        }
    });
    assert_eq!(counts.len(), usize::try_from(KEYS).unwrap());
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn keys_that_cannot_be_held_are_refused() {
    let batch = events(&[1]);
    let open_with = |memory: u64, config: Value| {
        let cx = context().memory(memory).transform(inputs(&[&batch]));
        async move { open::<DedupeConfig>(config, cx).await }
    };
    let told = told(open_with(1 << 20, json!({ "max_keys": 1_000_000 })).await);
    assert!(
        told.contains("so many keys can't be held") && told.contains("set at most 28671"),
        "{told}"
    );
    assert!(
        open_with(1 << 20, json!({ "max_keys": 28_671 }))
            .await
            .is_ok()
    );
    assert!(
        open_with(1 << 20, json!({})).await.is_ok(),
        "what nobody asked for is made less"
    );
}

#[tokio::test]
async fn mistakes_are_refused_before_anything_is_read() {
    for (config, text) in [
        (json!({ "key": [] }), "no columns"),
        (json!({ "key": ["id", "id"] }), "`id` twice"),
        (json!({ "key": ["ID"] }), "did you mean `id`?"),
        (json!({ "window": "0s" }), "holds nothing"),
        (json!({ "max_keys": 0 }), "at least 1"),
    ] {
        let told = told(map::<DedupeConfig>(config, &events(&[])).await);
        assert!(told.contains(text), "{told}");
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    for config in [
        json!({}),
        json!({ "key": ["id"], "window": "10m", "max_keys": 10 }),
    ] {
        suite::<DedupeConfig>(config, vec![events(&[1, 2, 1]), events(&[2, 3])])
            .refuses("no time", ErrorKind::Config, || async {
                let cx = context().transform(Vec::new());
                open::<DedupeConfig>(json!({ "window": 0 }), cx)
                    .await
                    .map(drop)
            })
            .check()
            .await;
    }
    suite::<DedupeConfig>(
        json!({ "key": ["id"] }),
        vec![events(&[1, 2, 1]), events(&[2, 3])],
    )
    .exactly(vec![
        "id=1, text=t0".into(),
        "id=2, text=t1".into(),
        "id=3, text=t1".into(),
    ])
    .check()
    .await;
    let config: DedupeConfig = serde_json::from_value(json!({ "window": "10m" })).unwrap();
    let stored = serde_json::to_value(Box::new(config) as Box<dyn TransformConfig>).unwrap();
    assert_eq!(stored, json!({ "type": "dedupe", "window": "10m" }));
}
