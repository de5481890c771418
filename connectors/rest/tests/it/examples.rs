//! The files under `examples/rest`, against servers that answer in the shapes their APIs document.

use std::path::Path;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tidegate_testkit::servers::jsonplaceholder;
use toml_edit::{DocumentMut, Item, TableLike};

use crate::support::{Log, Pipeline, Seen, params, serve};

/// The only source of an example, asking another server.
fn source(file: &str, url: impl Into<String>) -> Value {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rest");
    let text = std::fs::read_to_string(directory.join(file)).unwrap();
    let document: DocumentMut = text.parse().unwrap();
    let sources = document["sources"].as_table_like().unwrap();
    let (_, only) = sources.iter().next().unwrap();
    let mut source = Value::Object(table(only.as_table_like().unwrap()));
    assert_eq!(
        source.as_object_mut().unwrap().remove("type"),
        Some(json!("rest"))
    );
    source["url"] = json!(url.into());
    // The tests don't have to be polite to themselves.
    source.as_object_mut().unwrap().remove("rate_limit");
    source
}

fn table(table: &dyn TableLike) -> Map<String, Value> {
    table
        .iter()
        .map(|(key, item)| (key.to_owned(), json(item)))
        .collect()
}

fn json(item: &Item) -> Value {
    if let Some(inner) = item.as_table_like() {
        return Value::Object(table(inner));
    }
    let value = item.as_value().unwrap();
    if let Some(array) = value.as_array() {
        return array
            .iter()
            .map(|value| json(&Item::Value(value.clone())))
            .collect();
    }
    match (value.as_str(), value.as_integer(), value.as_bool()) {
        (Some(text), ..) => json!(text),
        (_, Some(number), _) => json!(number),
        (_, _, Some(truth)) => json!(truth),
        _ => panic!("{value} isn't used in these files"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn todos_are_read_in_pages_side_by_side() {
    let server = jsonplaceholder();
    let mut pipeline = Pipeline::new(source("todos.toml", format!("{}/todos", server.url())));
    let read = pipeline.run().await.unwrap();
    assert_eq!(read.splits, 4);
    let mut ids = read.ids();
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    let row = &read.of("records")[0];
    assert!(
        row["userId"].is_i64() && row["completed"].is_boolean(),
        "{row}"
    );
}

/// An issue as GitHub's "List repository issues" has it, less what the example doesn't read.
fn issue(number: i64, updated_at: &str) -> Value {
    json!({
        "id": 1_000_000 + number, "number": number, "title": format!("Issue {number}"),
        "state": if number % 3 == 0 { "closed" } else { "open" },
        "user": { "login": "octocat", "id": 1, "type": "User", "site_admin": false },
        "labels": [{ "id": 208045946, "name": "bug", "color": "f29513", "default": true }],
        "comments": 2, "locked": false, "milestone": null, "assignees": [],
        "created_at": "2026-01-02T08:00:00Z", "updated_at": updated_at,
        "closed_at": if number % 3 == 0 { json!(updated_at) } else { json!(null) },
        "body": if number % 5 == 0 { json!(null) } else { json!("It's \"broken\"\n") },
    })
}

fn github(seen: &Seen) -> Response {
    let params = params(&seen.uri);
    let is = |name: &str, value: &str| params.get(name).map(String::as_str) == Some(value);
    let polite = seen.header("user-agent").is_some()
        && seen.header("accept") == Some("application/vnd.github+json")
        && seen.header("x-github-api-version") == Some("2022-11-28");
    if !polite {
        return StatusCode::FORBIDDEN.into_response();
    }
    if !(is("state", "all") && is("sort", "updated") && is("direction", "desc")) {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let since = &params["since"];
    let size: usize = params["per_page"].parse().unwrap();
    let page: usize = params.get("page").map_or(1, |text| text.parse().unwrap());
    let all: Vec<_> = (1..=250)
        .rev()
        .map(|number| issue(number, &format!("2026-02-{:02}T10:00:00Z", 1 + number / 10)))
        .filter(|issue| issue["updated_at"].as_str() >= Some(since))
        .collect();
    let end = all.len().min(page * size);
    let mut answer = Json(json!(all[(page - 1) * size..end])).into_response();
    let headers: &mut HeaderMap = answer.headers_mut();
    for (name, value) in [
        ("x-ratelimit-limit", "60"),
        ("x-ratelimit-remaining", "42"),
        ("x-ratelimit-reset", "4102444800"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if end < all.len() {
        let host = seen.header("host").unwrap();
        let to = |page: usize| {
            format!(
                "<http://{host}/repositories/1/issues?state=all&sort=updated&direction=desc\
                 &per_page={size}&since={}&page={page}>",
                since.replace(':', "%3A")
            )
        };
        let link = format!("{}; rel=\"next\", {}; rel=\"last\"", to(page + 1), to(3));
        headers.insert(header::LINK, link.parse().unwrap());
    }
    answer
}

#[tokio::test]
async fn issues_are_read_once_and_then_what_has_changed() {
    let log = Log::default();
    let noted = log.clone();
    let router = Router::new().fallback(move |request: Request| async move {
        let seen = Seen::of(request).await;
        noted.add(seen.clone());
        github(&seen)
    });
    let url = serve(router).await.join("repos/o/r/issues").unwrap();
    let mut pipeline = Pipeline::new(source("issues.toml", url));
    let read = pipeline.run().await.unwrap();
    assert!(read.rejected.is_empty(), "{:?}", read.rejected);
    let numbers: Vec<_> = read
        .field("number")
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert_eq!(numbers, (1..=250).rev().collect::<Vec<_>>());
    assert_eq!(log.count(), 3);
    let row = &read.of("records")[247];
    assert_eq!(row["user"], json!({ "login": "octocat", "id": 1 }));
    assert_eq!(row["labels"], json!([{ "name": "bug" }]));
    assert!(
        row["closed_at"]
            .as_str()
            .is_some_and(|at| at.starts_with("2026-02-01T10:00:00"))
    );

    assert!(pipeline.run().await.unwrap().ids().is_empty());
    let seen = log.all();
    assert_eq!(seen.len(), 4, "one request to see that nothing is new");
    assert_eq!(
        seen[0].param("since").as_deref(),
        Some("2026-01-01T00:00:00Z")
    );
    assert_eq!(
        seen[3].param("since").as_deref(),
        Some("2026-02-26T10:00:00Z")
    );
}

#[tokio::test]
async fn pokemon_are_read_by_the_urls_of_next_pages() {
    let router = Router::new().fallback(|request: Request| async move {
        let seen = Seen::of(request).await;
        let params = params(&seen.uri);
        let number = |name: &str| params.get(name).map_or(0, |text| text.parse().unwrap());
        let (offset, limit): (usize, usize) = (number("offset"), number("limit"));
        let end = (offset + limit).min(450);
        let host = seen.header("host").unwrap();
        let base = format!("http://{host}/api/v2/pokemon");
        let next = (end < 450).then(|| format!("{base}?offset={end}&limit={limit}"));
        let name = |n| json!({ "name": format!("p{n}"), "url": format!("{base}/{n}/") });
        let results: Vec<_> = (offset..end).map(name).collect();
        Json(json!({ "count": 450, "next": next, "previous": null, "results": results }))
    });
    let url = serve(router).await.join("api/v2/pokemon").unwrap();
    let read = Pipeline::new(source("pokemon.toml", url))
        .run()
        .await
        .unwrap();
    assert_eq!(read.of("records").len(), 450);
    assert_eq!(read.of("raw").len(), 3);
}

#[tokio::test]
async fn titles_are_read_by_a_cursor() {
    let router = Router::new().fallback(|request: Request| async move {
        let seen = Seen::of(request).await;
        let params = params(&seen.uri);
        let is = |name: &str, value: &str| params.get(name).map(String::as_str) == Some(value);
        if !(is("action", "query") && is("list", "allpages") && is("format", "json")) {
            // As MediaWiki answers what it doesn't know: 200 and an object without a list.
            return Json(json!({ "error": { "code": "badvalue" } }));
        }
        let from: i64 = params
            .get("apcontinue")
            .map_or(0, |text| text.parse().unwrap());
        let end = (from + 100).min(230);
        let page = |n| json!({ "pageid": n, "ns": 0, "title": format!("Tide {n}") });
        let pages: Vec<_> = (from..end).map(page).collect();
        let mut answer = json!({ "batchcomplete": true, "query": { "allpages": pages } });
        if end < 230 {
            answer["continue"] = json!({ "apcontinue": end.to_string(), "continue": "-||" });
        }
        Json(answer)
    });
    let url = serve(router).await.join("w/api.php").unwrap();
    let read = Pipeline::new(source("titles.toml", url))
        .run()
        .await
        .unwrap();
    let ids: Vec<_> = read
        .field("pageid")
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    assert_eq!(ids, (0..230).collect::<Vec<_>>());
}
