//! Schemas that are learnt, and endpoints that contradict themselves.

use std::sync::Arc;

use axum::Json;
use futures::StreamExt;
use serde_json::{Value, json};
use tidegate_api::{ApiSource, Endpoint, Open, learn};
use tidegate_core::{Ask, ErrorKind, Event, IgnoredColumn, NewColumns, Result, Rows, Scan, Source};
use tidegate_formats::SchemaSpec;
use tidegate_http::{HttpClient, Method};

use crate::support::{Asked, Server, endpoint, impatient, paged, pager};

/// A schema as a user would write it.
fn written(schema: &arrow_schema::Schema) -> String {
    let fields = SchemaSpec::from_arrow(schema).0.into_iter();
    let fields = fields.map(|field| format!("{}:{}", field.name, field.type_));
    fields.collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_schema_is_learnt_from_pages_once_and_stays() {
    let server = Server::new(|asked: &Asked| {
        let mut items = vec![json!({ "id": 1, "geo": { "lat": 1.5 } })];
        if asked.number("page") == Some(2) {
            items = vec![json!({ "id": 2, "late": "x", "geo": { "lng": 2 }, "tags": ["a"] })];
        }
        Json(items)
    });
    let cx = impatient();
    let cx = cx.source();
    let client = HttpClient::new(&cx).unwrap();
    let one = endpoint(server.at("/"), paged(json!({ "type": "page" })), "");
    let schema = learn(&cx, &client, &Open, &one, 1).await.unwrap();
    assert_eq!(written(&schema), "id:int64,geo:struct<lat:float64>");
    assert_eq!(server.asked().len(), 1);
    // Opened again, it asks for nothing.
    assert_eq!(learn(&cx, &client, &Open, &one, 1).await.unwrap(), schema);
    assert!(server.asked().is_empty());
    // More pages are another question.
    let schema = learn(&cx, &client, &Open, &one, 2).await.unwrap();
    assert_eq!(
        written(&schema),
        "id:int64,late:string,geo:struct<lng:int64,lat:float64>,tags:list<string>"
    );
    assert_eq!(learn(&cx, &client, &Open, &one, 2).await.unwrap(), schema);
    // So are other headers, and records of another kind.
    server.asked();
    let mut other = one.clone();
    other.headers.push(("x-version".into(), "2".into()));
    learn(&cx, &client, &Open, &other, 1).await.unwrap();
    assert_eq!(server.asked().len(), 1);
    other.records.object = true;
    learn(&cx, &client, &Open, &other, 1).await.unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_older_rules_gave_is_learnt_anew() {
    let server = Server::new(|_: &Asked| Json([json!({ "id": 1 })]));
    let cx = impatient();
    let cx = cx.source();
    let client = HttpClient::new(&cx).unwrap();
    let one = endpoint(server.at("/"), paged(json!({ "type": "none" })), "");
    let schema = learn(&cx, &client, &Open, &one, 1).await.unwrap();
    let key = format!("schema:{}", one.name);
    let kept = cx.store.get(&key).await.unwrap().unwrap();
    let mut older = kept.clone();
    older.as_object_mut().unwrap().remove("rules");
    older["schema"][0]["type"] = json!("bool");
    let replaced = cx.store.compare_and_set(&key, Some(&kept), &older).await;
    assert!(replaced.unwrap());
    assert_eq!(learn(&cx, &client, &Open, &one, 1).await.unwrap(), schema);
    assert_eq!(cx.store.get(&key).await.unwrap(), Some(kept));
}

#[tokio::test]
async fn nothing_is_learnt_from_nothing() {
    let server = pager(0, 3);
    let cx = impatient();
    let cx = cx.source();
    let client = HttpClient::new(&cx).unwrap();
    let one = endpoint(server.at("/page"), paged(json!({ "type": "page" })), "");
    let error = learn(&cx, &client, &Open, &one, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.hint_text().unwrap().contains("`schema`"), "{error:?}");
}

#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    let server = pager(0, 1);
    let good = || endpoint(server.at("/"), paged(json!({ "type": "none" })), "");
    let with = |config: Value| good().pagination(paged(config));
    let grows = |config: Value| Endpoint {
        incremental: Some(serde_json::from_value(config).unwrap()),
        ..good()
    };
    let total = json!({ "header": "x" });
    for (about, bad) in [
        (
            "pagination.size_param",
            with(json!({ "type": "page", "size_param": "n" })),
        ),
        (
            "pagination.total",
            with(json!({ "type": "page", "total": total })),
        ),
        (
            "pagination.short_page_ends",
            with(json!({ "type": "offset", "short_page_ends": true })),
        ),
        (
            "pagination.has_more",
            with(json!({ "type": "offset", "total": total, "has_more": "/x" })),
        ),
        (
            "pagination.total",
            with(json!({ "type": "offset", "total": { "pages_header": "x" } })),
        ),
        (
            "pagination.param",
            with(json!({ "type": "page", "param": "" })),
        ),
        (
            "pagination.param",
            with(json!({ "type": "cursor", "cursor": "/c", "param": "" })),
        ),
        ("in the body", with(json!({ "type": "page", "in": "body" }))),
        (
            "incremental.field",
            grows(json!({ "param": "since", "field": "" })),
        ),
        (
            "incremental.param",
            grows(json!({ "param": "", "field": "/v" })),
        ),
        (
            "incremental.overlap",
            grows(json!({ "param": "s", "field": "/v", "overlap": "1h" })),
        ),
        (
            "in the body",
            grows(json!({ "param": "s", "field": "/v", "in": "body" })),
        ),
        (
            "`body`",
            Endpoint {
                body: Some(json!({})),
                ..good()
            },
        ),
        ("`key`", good().key(&["ID"])),
        (
            "in the body",
            Endpoint {
                method: Method::POST,
                body: Some(json!([])),
                ..with(json!({ "type": "page", "in": "body" }))
            },
        ),
    ] {
        let error = bad.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(about), "{about}: {error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
    }
    for unknown in [
        json!({ "type": "page", "prm": "x" }),
        json!({ "type": "pages" }),
        json!({ "type": "next_url", "next": "next" }),
    ] {
        serde_json::from_value::<tidegate_api::Pagination>(unknown).unwrap_err();
    }
}

/// What the pages have that the columns don't.
async fn left_out(source: &ApiSource) -> Result<Vec<IgnoredColumn>> {
    let scans = [Scan::all("records")];
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let mut all = Vec::new();
    for split in source.plan(&ask).await?.new {
        let mut events = source.read(&split, &scans, None).await?;
        while let Some(event) = events.next().await.transpose()? {
            if let Event::Rows {
                rows: Rows::Encoded(rows),
                ..
            } = event
            {
                IgnoredColumn::merge(&mut all, rows.decode()?.ignored);
            }
        }
    }
    Ok(all)
}

#[tokio::test]
async fn a6_what_only_later_pages_have_is_told_with_its_page_or_added() {
    let server = Server::new(|asked: &Asked| {
        Json(match asked.number("page") {
            Some(1) | None => vec![json!({ "id": 1, "geo": { "lat": 1.5 } })],
            Some(2) => vec![json!({ "id": 2, "late": "x", "geo": { "lng": 2 }, "no": null })],
            _ => vec![],
        })
    });
    let cx = impatient();
    let cx = cx.source();
    let client = HttpClient::new(&cx).unwrap();
    let learnt = async |policy| {
        let mut one = endpoint(server.at("/"), paged(json!({ "type": "page" })), "");
        one.schema = Some(learn(&cx, &client, &Open, &one, 1).await.unwrap());
        one.on_new_columns = policy;
        let schema = written(one.schema.as_ref().unwrap());
        let store = Arc::clone(&cx.store);
        (
            ApiSource::new(client.clone(), vec![one]).store(store),
            schema,
        )
    };
    let (source, _) = learnt(None).await;
    assert!(left_out(&source).await.unwrap().is_empty());
    let (source, _) = learnt(Some(NewColumns::Ignore)).await;
    let ignored = left_out(&source).await.unwrap();
    let names: Vec<_> = ignored.iter().map(|c| (&*c.name, c.values)).collect();
    assert_eq!(names, [("geo.lng", 1), ("late", 1)]);
    assert!(ignored[0].first.file.as_deref().unwrap().contains("page=2"));
    let (source, _) = learnt(Some(NewColumns::Fail)).await;
    let error = left_out(&source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema);
    let (source, _) = learnt(Some(NewColumns::Add)).await;
    let error = left_out(&source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaChanged);
    source.close().await.unwrap();
    // Opened again, the source has them.
    let (source, schema) = learnt(Some(NewColumns::Add)).await;
    assert_eq!(
        schema,
        "id:int64,geo:struct<lat:float64,lng:int64>,late:string"
    );
    assert!(left_out(&source).await.unwrap().is_empty());
}
