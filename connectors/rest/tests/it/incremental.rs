//! Runs that read what is new, from a server that changes.

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate_http::Url;
use tidegate_testkit::suites::source_suite;

use crate::support::{Log, Pipeline, Seen, impatient, open, params, schema, serve, things};

const SIZE: usize = 4;

/// Records since `since` (included), the newest first, in pages by the header `Link`; with an ETag.
#[derive(Clone, Default)]
struct Shop {
    records: Arc<Mutex<Vec<Value>>>,
    log: Log,
    /// Whether a record is changed after each answer: which one was last, and when.
    busy: Arc<Mutex<Option<(i64, i64)>>>,
}

impl Shop {
    fn with(records: Vec<Value>) -> Self {
        let shop = Self::default();
        *shop.records.lock().unwrap() = records;
        shop
    }

    async fn serve(&self) -> Url {
        let shop = self.clone();
        let answer = move |request: Request| async move { shop.answer(request).await };
        serve(Router::new().fallback(answer))
            .await
            .join("things")
            .unwrap()
    }

    async fn answer(&self, request: Request) -> Response {
        let seen = Seen::of(request).await;
        self.log.add(seen.clone());
        let params = params(&seen.uri);
        let number = |name: &str| params.get(name).map(|text| text.parse::<i64>().unwrap());
        let since = number("since").unwrap_or(i64::MIN);
        let from = usize::try_from(number("from").unwrap_or(0)).unwrap();
        let mut all = self.records.lock().unwrap().clone();
        all.sort_by_key(|record| Reverse(record["at"].as_i64()));
        let tag = format!("\"{:?}\"", all.iter().map(|r| r["at"].to_string()).max());
        all.retain(|record| record["at"].as_i64().is_none_or(|at| at >= since));
        if seen.header("if-none-match") == Some(tag.as_str()) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let end = all.len().min(from + SIZE);
        let mut answer = Json(json!(all[from..end])).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, tag.parse().unwrap());
        if end < all.len() {
            let next = format!("</things?since={since}&from={end}>; rel=next");
            headers.insert(header::LINK, next.parse().unwrap());
        }
        let change = self.busy.lock().unwrap().as_mut().map(|(id, at)| {
            (*id, *at) = (*id % 40 + 7, *at + 1);
            (*id, *at)
        });
        if let Some((id, at)) = change {
            self.put(id, at);
        }
        answer
    }

    fn put(&self, id: i64, at: i64) {
        let mut records = self.records.lock().unwrap();
        records.retain(|record| record["id"] != id);
        records.push(json!({ "id": id, "name": "changed", "at": at }));
    }
}

fn config(url: &Url) -> Value {
    json!({ "url": url, "schema": schema(), "key": ["id"], "pagination": { "type": "link" },
        "incremental": { "param": "since", "field": "/at", "start": "1002" } })
}

#[tokio::test]
async fn each_run_reads_what_is_new_or_changed() {
    let shop = Shop::with(things(1..=10));
    let url = shop.serve().await;
    let mut pipeline = Pipeline::new(config(&url));
    let read = pipeline.run().await.unwrap();
    assert_eq!(
        read.ids(),
        (2..=10).rev().collect::<Vec<_>>(),
        "from `start` on"
    );
    assert_eq!(shop.log.all()[0].param("since").as_deref(), Some("1002"));

    let read = pipeline.run().await.unwrap();
    assert_eq!(read.ids(), [0_i64; 0], "nothing is new");

    shop.put(11, 1_010);
    shop.put(3, 1_020);
    let read = pipeline.run().await.unwrap();
    assert_eq!(
        read.ids(),
        [3, 11],
        "one of the last second too, and an edit"
    );
    let last = shop.log.all().pop().unwrap();
    assert_eq!(last.param("since").as_deref(), Some("1010"));

    let read = pipeline.run().await.unwrap();
    assert!(read.ids().is_empty());
    shop.put(12, 1_030);
    assert_eq!(
        pipeline.run().await.unwrap().ids(),
        [12],
        "an empty run keeps the bound"
    );
}

#[tokio::test]
async fn a_series_of_runs_misses_no_change() {
    let shop = Shop::with(things(1..=40));
    let url = shop.serve().await;
    let mut pipeline = Pipeline::new(config(&url));
    let mut merged = std::collections::BTreeMap::new();
    let mut clock = 1_040;
    for run in 0..20 {
        for row in pipeline.run().await.unwrap().of("records") {
            merged.insert(row["id"].as_i64(), row.clone());
        }
        for change in 0..run % 7 {
            // Several in the same second now and then.
            clock += i64::from(change % 3 == 0);
            shop.put((run * 11 + change * 5) % 60 + 1, clock);
        }
    }
    for row in pipeline.run().await.unwrap().of("records") {
        merged.insert(row["id"].as_i64(), row.clone());
    }
    let mut expected = shop.records.lock().unwrap().clone();
    expected.retain(|record| record["at"].as_i64() >= Some(1_002));
    expected.sort_by_key(|record| record["id"].as_i64());
    assert_eq!(merged.into_values().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn changes_while_pages_are_read_are_found_by_the_next_run() {
    let shop = Shop::with(things(1..=40));
    *shop.busy.lock().unwrap() = Some((0, 5_000));
    let url = shop.serve().await;
    let mut pipeline = Pipeline::new(config(&url));
    let mut merged = std::collections::BTreeMap::<i64, Value>::new();
    for run in 0..6 {
        if run == 4 {
            *shop.busy.lock().unwrap() = None;
        }
        for row in pipeline.run().await.unwrap().of("records") {
            // A record that moved while it was read comes twice.
            let kept = merged.entry(row["id"].as_i64().unwrap()).or_default();
            if kept["at"].as_i64() <= row["at"].as_i64() {
                *kept = row.clone();
            }
        }
    }
    let mut expected = shop.records.lock().unwrap().clone();
    expected.retain(|record| record["at"].as_i64() >= Some(1_002));
    expected.sort_by_key(|record| record["id"].as_i64());
    assert!(expected.iter().any(|record| record["name"] == "changed"));
    assert_eq!(merged.into_values().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_run_that_fails_is_done_again_from_where_it_began() {
    let shop = Shop::with(things(1..=10));
    let url = shop.serve().await;
    let mut pipeline = Pipeline::new(config(&url));
    pipeline.run().await.unwrap();
    shop.put(11, 1_050);
    let good = std::mem::take(&mut *shop.records.lock().unwrap());
    *shop.records.lock().unwrap() = vec![json!({ "id": 1, "name": "x", "at": "soon" })];
    let error = pipeline.run().await.unwrap_err();
    assert!(format!("{error:?}").contains("/at"), "{error:?}");
    *shop.records.lock().unwrap() = good;
    assert_eq!(pipeline.run().await.unwrap().ids(), [11]);
}

#[tokio::test]
async fn the_contract_is_kept() {
    let shop = Shop::with(things(1..=10));
    let config = config(&shop.serve().await);
    source_suite(move || {
        let config = config.clone();
        async move { open(&config, &impatient(&[]).source()).await }
    })
    .rows("records", 9)
    .check()
    .await;
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_read_again() {
    let shop = Shop::with(things(1..=10));
    let url = shop.serve().await;
    let mut pipeline = Pipeline::new(json!({ "url": url, "schema": schema(),
        "conditional": true, "pagination": { "type": "link" } }));
    assert_eq!(pipeline.run().await.unwrap().ids().len(), 10);
    let asked = shop.log.count();
    assert!(pipeline.run().await.unwrap().ids().is_empty());
    assert_eq!(shop.log.count(), asked + 1);
    shop.put(3, 2_000);
    assert_eq!(pipeline.run().await.unwrap().ids().len(), 10, "all of it");
}
