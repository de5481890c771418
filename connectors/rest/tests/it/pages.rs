//! Each way of paging, from servers that refuse what they don't know.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tidegate_http::Url;
use tidegate_testkit::suites::source_suite;

use crate::support::{Log, Pipeline, Seen, impatient, open, params, schema, serve, things};

const RECORDS: i64 = 23;
const SIZE: usize = 5;

/// How a server pages.
#[derive(Debug, Clone, Copy)]
enum Way {
    Page,
    Counted,
    Offset,
    Cursor,
    /// A cursor in the body of a POST.
    Posted,
    LastId,
    Link,
    NextUrl,
}
use Way::{Counted, Cursor, LastId, Link, NextUrl, Offset, Page, Posted};

const WAYS: [Way; 8] = [Page, Counted, Offset, Cursor, Posted, LastId, Link, NextUrl];

/// Serves [`RECORDS`] things in one way only.
async fn server(way: Way, log: &Log) -> Url {
    let log = log.clone();
    let answer = move |request: Request| async move {
        let post = request.method() == "POST";
        let seen = Seen::of(request).await;
        log.add(seen.clone());
        if post != matches!(way, Posted) {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        page(way, &seen).unwrap_or_else(|why| (StatusCode::BAD_REQUEST, why).into_response())
    };
    serve(Router::new().fallback(answer))
        .await
        .join("things")
        .unwrap()
}

fn page(way: Way, seen: &Seen) -> Result<Response, String> {
    let mut params = params(&seen.uri);
    let body: Value = match seen.body.as_str() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|error| error.to_string())?,
    };
    let mut number = |name: &str| {
        let value = params.remove(name);
        value
            .map(|text| text.parse::<usize>().map_err(|_| format!("{name}={text}")))
            .transpose()
    };
    let from = match way {
        Page | Counted => {
            if number("size")? != Some(SIZE) {
                return Err("no size".into());
            }
            (number("page")?.ok_or("no page")? - 1) * SIZE
        }
        Offset => number("skip")?.ok_or("no skip")?,
        Cursor | Link | NextUrl | LastId => number("after")?.unwrap_or(0),
        Posted => match &body["paging"]["after"] {
            Value::Null => 0,
            after => after
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or("after")?,
        },
    };
    if let Some(name) = params.keys().next() {
        return Err(format!("what is {name}?"));
    }
    let typed = seen.header("content-type") == Some("application/vnd.api+json");
    if matches!(way, Posted) && !(typed && body["query"] == "all") {
        return Err("no query".into());
    }
    let all = things(1..=RECORDS);
    let end = all.len().min(from + SIZE);
    let items = all.get(from..end).unwrap_or_default();
    let more = end < all.len();
    let host = seen.header("host").ok_or("no host")?;
    let next = more.then(|| format!("http://{host}/things?after={end}"));
    let mut answer = match way {
        Page | LastId | Link => Json(json!(items)).into_response(),
        Counted => Json(json!({ "total": all.len(), "items": items })).into_response(),
        Offset => Json(json!({ "more": more, "items": items })).into_response(),
        Cursor | Posted => {
            let after = more.then_some(end);
            Json(json!({ "meta": { "after": after }, "items": items })).into_response()
        }
        NextUrl => {
            let relative = next.as_ref().map(|_| format!("things?after={end}"));
            Json(json!({ "next": relative, "items": items })).into_response()
        }
    };
    if let (Link, Some(next)) = (way, next) {
        let link = format!("<http://{host}/things>; rel=\"first\", <{next}>; rel=\"next\"");
        let link = HeaderValue::from_str(&link).map_err(|error| error.to_string())?;
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

/// How the pipeline file says it.
fn config(way: Way, url: &Url) -> Value {
    let pagination = match way {
        Page => json!({ "type": "page", "size_param": "size", "size": SIZE }),
        Counted => json!({ "type": "page", "size_param": "size", "size": SIZE,
            "total": { "pointer": "/total" } }),
        Offset => json!({ "type": "offset", "param": "skip", "has_more": "/more" }),
        Cursor => json!({ "type": "cursor", "cursor": "/meta/after", "param": "after" }),
        Posted => json!({ "type": "cursor", "cursor": "/meta/after", "param": "/paging/after",
            "in": "body" }),
        LastId => json!({ "type": "cursor", "cursor": "/id", "from": "last_record",
            "param": "after" }),
        Link => json!({ "type": "link" }),
        NextUrl => json!({ "type": "next_url", "next": "/next" }),
    };
    let mut config = json!({ "url": url, "schema": schema(), "key": ["id"], "raw": true,
        "pagination": pagination });
    if !matches!(way, Page | LastId | Link) {
        config["records"] = json!("/items");
    }
    if let Posted = way {
        config["method"] = json!("POST");
        config["body"] = json!({ "query": "all" });
        config["headers"] = json!({ "Content-Type": "application/vnd.api+json" });
    }
    config
}

#[tokio::test]
async fn every_way_of_paging_gives_every_record_once() {
    for way in WAYS {
        let log = Log::default();
        let url = server(way, &log).await;
        let read = Pipeline::new(config(way, &url)).run().await;
        let read = read.unwrap_or_else(|error| panic!("{way:?}: {error:?}"));
        let mut rows = read.of("records").to_vec();
        rows.sort_by_key(|row| row["id"].as_i64());
        assert_eq!(rows, things(1..=RECORDS), "{way:?}");
        // Five pages; where only an empty page tells the end, one more.
        let pages = match way {
            Page | LastId => 6,
            _ => 5,
        };
        assert_eq!(log.count(), pages, "{way:?}");
        assert_eq!(read.of("raw").len(), pages, "{way:?}");
        assert_eq!(
            read.splits,
            if let Counted = way { 5 } else { 1 },
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn every_way_of_paging_keeps_the_contract() {
    for way in WAYS {
        let url = server(way, &Log::default()).await;
        let mut config = config(way, &url);
        // A page that is fetched again has another time.
        config["raw"] = json!(false);
        source_suite(move || {
            let config = config.clone();
            async move { open(&config, &impatient(&[]).source()).await }
        })
        .rows("records", RECORDS.unsigned_abs())
        .check()
        .await;
    }
}

#[tokio::test]
async fn credentials_go_with_every_page_and_into_no_row() {
    for way in WAYS {
        let log = Log::default();
        let url = server(way, &log).await;
        let mut config = config(way, &url);
        config["auth"] = json!({ "type": "bearer", "token": { "file": "token" } });
        let mut pipeline = Pipeline::with_secrets(config, &[("token", "swordfish")]);
        let read = pipeline.run().await.unwrap();
        for seen in log.all() {
            assert_eq!(
                seen.header("authorization"),
                Some("Bearer swordfish"),
                "{way:?}"
            );
        }
        assert!(!format!("{:?}", read.rows).contains("swordfish"));
    }
}
