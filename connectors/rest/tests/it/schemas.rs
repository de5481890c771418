//! Columns that are given, and columns that are found out; answers as they came.

use axum::extract::Request;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate_core::ErrorKind;
use tidegate_http::Url;

use crate::support::{Log, Pipeline, Seen, params, serve, things};

/// Pages of ten things; from the second on, they have a field more.
async fn server(log: &Log) -> Url {
    let log = log.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let seen = Seen::of(request).await;
        log.add(seen.clone());
        let page: i64 = params(&seen.uri)["page"].parse().unwrap();
        let mut records = things((page - 1) * 10 + 1..=(page * 10).min(25));
        for record in records.iter_mut().filter(|_| page > 1) {
            record["late"] = json!(true);
        }
        Json(json!({ "data": { "list": records } }))
    });
    serve(router).await
}

fn config(url: &Url) -> Value {
    json!({ "url": url, "records": "/data/list", "pagination": { "type": "page" },
        "key": ["id"] })
}

#[tokio::test]
async fn columns_are_found_out_by_one_request_and_kept() {
    let log = Log::default();
    let url = server(&log).await;
    let mut pipeline = Pipeline::new(config(&url));
    let source = pipeline.open().await.unwrap();
    assert_eq!(log.count(), 1, "one request");
    let streams = source.streams();
    let schema = &streams[0].schema;
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["id", "name", "at"], "as the first page has them");
    assert_eq!(streams[0].key, ["id"]);

    let read = pipeline.run().await.unwrap();
    assert_eq!(read.of("records"), things(1..=25));
    assert_eq!(log.count(), 1 + 4, "no other request to find them out");
}

#[tokio::test]
async fn without_a_record_there_are_no_columns() {
    let router = Router::new().fallback(|| async { Json(json!([])) });
    let url = serve(router).await;
    let error = Pipeline::new(json!({ "url": url }))
        .run()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(format!("{error:?}").contains("`schema`"), "{error:?}");
}

#[tokio::test]
async fn a_key_that_is_no_column_is_refused_when_they_are_known() {
    let url = server(&Log::default()).await;
    let mut config = config(&url);
    config["key"] = json!(["nr"]);
    let error = Pipeline::new(config).run().await.unwrap_err();
    assert!(
        format!("{error:?}").contains("`id`, `name`, `at`"),
        "{error:?}"
    );
}

#[tokio::test]
async fn raw_alone_needs_no_columns_and_has_whole_answers() {
    let log = Log::default();
    let url = server(&log).await;
    let mut config = config(&url);
    config["raw"] = json!("only");
    config.as_object_mut().unwrap().remove("key");
    let mut pipeline = Pipeline::new(config);
    let source = pipeline.open().await.unwrap();
    assert_eq!(log.count(), 0, "nothing has to be found out");
    let streams = source.streams();
    assert_eq!(streams.len(), 1);
    assert_eq!(streams[0].name.as_str(), "raw");
    let read = pipeline.run().await.unwrap();
    let pages = read.of("raw");
    assert_eq!((pages.len(), log.count()), (4, 4));
    assert_eq!(pages[0]["stream"], "records");
    assert_eq!(pages[0]["status"], 200);
    assert_eq!(pages[2]["url"], json!(format!("{url}?page=3")));
}

#[tokio::test]
async fn each_page_is_fetched_once_for_both_streams() {
    let log = Log::default();
    let url = server(&log).await;
    let mut config = config(&url);
    config["raw"] = json!(true);
    config["stream"] = json!("things");
    config["schema"] = json!([{ "name": "id", "type": "int64" }]);
    let read = Pipeline::new(config).run().await.unwrap();
    assert_eq!(read.of("things").len(), 25);
    assert_eq!((read.of("raw").len(), log.count()), (4, 4));
    assert_eq!(read.of("raw")[0]["stream"], "things");
}

#[tokio::test]
async fn an_object_or_nothing_is_taken_where_that_is_said() {
    let router = Router::new()
        .route(
            "/one",
            axum::routing::get(|| async { Json(json!({ "id": 1 })) }),
        )
        .route(
            "/none",
            axum::routing::get(|| async { Json(json!({ "more": false })) }),
        );
    let url = serve(router).await;
    let ask = |path: &str, more: Value| {
        let mut config = json!({ "url": url.join(path).unwrap(),
            "schema": [{ "name": "id", "type": "int64" }] });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        async move { Pipeline::new(config).run().await }
    };
    let one = ask("one", json!({ "records_object": true })).await.unwrap();
    assert_eq!(one.ids(), [1]);
    let none = json!({ "records": "/items", "records_optional": true });
    assert!(ask("none", none).await.unwrap().ids().is_empty());
    for (path, more) in [("one", json!({})), ("none", json!({ "records": "/items" }))] {
        let error = ask(path, more).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
    }
}
