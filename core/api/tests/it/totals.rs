//! A server that says how much there is, and isn't right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde_json::{Value, json};
use tidegate_api::Endpoint;
use tidegate_core::{Ask, FinishedSplit, Next, Result, Source};

use crate::support::{Asked, Run, Server, endpoint, numbered, paged, run, scans, source};

const RECORDS: usize = 7;
const SIZE: usize = 3;

/// What a server says of how much there is, where it is `right`, on the request of this number.
type Says = fn(right: usize, request: usize) -> Value;

/// A server of `count` records, three a page, by number or offset. Nothing lies after them; `after`
/// is what it says then.
fn server(count: usize, says: Says, after: fn(&[Value]) -> Response) -> Server {
    let requests = Arc::new(AtomicUsize::new(0));
    let records = numbered(count);
    Server::new(move |asked: &Asked| {
        let request = requests.fetch_add(1, Ordering::SeqCst);
        let page = asked.number("page").map(|page| (page - 1) * SIZE);
        let start = page.or(asked.number("offset")).unwrap_or(0);
        if start >= records.len() && start > 0 {
            return after(&records);
        }
        let items = &records[start..records.len().min(start + SIZE)];
        let total = says(records.len(), request);
        let pages = says(records.len().div_ceil(SIZE), request);
        let mut body = json!({ "items": items, "total": total, "pages": pages });
        if total == json!("missing") {
            body.as_object_mut().unwrap().remove("total");
            body.as_object_mut().unwrap().remove("pages");
        }
        let header = [("x-total", total.to_string().replace('"', ""))];
        (AppendHeaders(header), Json(body)).into_response()
    })
}

fn nothing(_: &[Value]) -> Response {
    Json(json!({ "items": [] })).into_response()
}

/// Every kind of paging that goes by a total.
fn ways() -> Vec<Value> {
    let records = json!({ "pointer": "/total" });
    vec![
        json!({ "type": "offset", "total": records }),
        json!({ "type": "offset", "size": SIZE, "total": records }),
        json!({ "type": "offset", "size": SIZE, "total": { "header": "X-Total" } }),
        json!({ "type": "page", "size": SIZE, "total": records }),
        json!({ "type": "page", "size": SIZE, "total": { "header": "X-Total" } }),
        json!({ "type": "page", "total": { "pages_pointer": "/pages" } }),
        json!({ "type": "page", "size": SIZE, "total": { "pages_pointer": "/pages" } }),
    ]
}

/// The endpoint, as a full run reads it and as one that reads what is new does.
fn endpoints(server: &Server, way: &Value) -> [Endpoint; 2] {
    let full = endpoint(server.at("/"), paged(way.clone()), "/items");
    let mut new = full.clone();
    let growing = json!({ "param": "since", "field": "/id" });
    new.incremental = Some(serde_json::from_value(growing).unwrap());
    [full, new]
}

async fn all(server: &Server, way: &Value) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for one in endpoints(server, way) {
        runs.push(run(&source(one), None).await?);
    }
    Ok(runs)
}

/// Every record once, in order.
async fn is_whole(server: &Server, way: &Value, count: usize) {
    let expected: Vec<_> = (1..=i64::try_from(count).unwrap()).collect();
    let runs = all(server, way).await;
    let runs = runs.unwrap_or_else(|error| panic!("{way}: {error:?}"));
    for run in runs {
        assert_eq!(run.ids(), expected, "{way}");
    }
}

#[tokio::test]
async fn a14_a_total_that_is_too_low_ends_nothing() {
    let too_low: [Says; 8] = [
        |_, _| json!(0),
        |_, _| json!(1),
        |_, _| json!(2),
        |_, _| json!(3),
        |_, _| json!(4),
        |_, _| json!(6),
        |right, _| json!(right - 1),
        // How many are on the page.
        |right, request| {
            json!(if right == RECORDS {
                [3, 3, 1, 0][request % 4]
            } else {
                1
            })
        },
    ];
    for says in too_low {
        // It must be too low for pages as well, where those are counted.
        let of_pages = says(RECORDS.div_ceil(SIZE), 0).as_u64() <= Some(2);
        for way in ways()
            .into_iter()
            .filter(|way| of_pages || way["total"].get("pages_pointer").is_none())
        {
            is_whole(&server(RECORDS, says, nothing), &way, RECORDS).await;
        }
    }
}

#[tokio::test]
async fn a14_a_total_that_changes_while_pages_are_read_loses_nothing() {
    let changing: [Says; 5] = [
        // It grows, it shrinks, it is said only once, or is not known later.
        |right, request| json!(if request == 0 { right.min(2) } else { right }),
        |right, request| json!(if request == 0 { right + 3 } else { right }),
        |right, request| json!(right.saturating_sub(request + 1)),
        |right, request| {
            if request % 4 == 0 {
                json!(right)
            } else {
                json!("missing")
            }
        },
        |right, request| {
            if request % 4 == 0 {
                json!(right)
            } else {
                json!(null)
            }
        },
    ];
    for says in changing {
        // Null can't be told in a header, nor counted beforehand and then be less.
        for way in ways()
            .into_iter()
            .filter(|way| way["total"].get("header").is_none())
        {
            for one in endpoints(&server(RECORDS, says, nothing), &way) {
                // The first answer says it, in each run.
                let server = server(RECORDS, says, nothing);
                let one = Endpoint {
                    url: server.at("/"),
                    ..one
                };
                let read = run(&source(one), None).await;
                let read = read.unwrap_or_else(|error| panic!("{way}: {error:?}"));
                assert_eq!(read.ids(), [1, 2, 3, 4, 5, 6, 7], "{way}");
            }
        }
    }
}

#[tokio::test]
async fn a14_a_total_may_be_written_as_a_text_or_with_a_point() {
    let forms: [Says; 4] = [
        |right, _| json!(right.to_string()),
        |right, _| json!(u32::try_from(right).map(f64::from).unwrap()),
        |right, _| json!(format!("{right}.0")),
        |right, _| json!(format!(" {right} ")),
    ];
    for says in forms {
        for way in ways() {
            let server = server(RECORDS, says, nothing);
            is_whole(&server, &way, RECORDS).await;
            assert_eq!(server.asked().len(), 6, "{way}: three pages in each run");
        }
    }
}

#[tokio::test]
async fn a14_what_is_no_total_is_refused_and_the_key_is_named() {
    let wrong: [Says; 6] = [
        |_, _| json!(-1),
        |_, _| json!(7.5),
        |_, _| json!("many"),
        |_, _| json!("1,000"),
        |_, _| json!(null),
        |_, _| json!([7]),
    ];
    for says in wrong {
        for way in ways() {
            let error = all(&server(RECORDS, says, nothing), &way)
                .await
                .unwrap_err();
            let hint = error.hint_text().unwrap();
            assert!(
                hint.contains("`pagination.total`") && hint.contains("leave it out"),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a14_one_page_more_is_asked_for_only_where_the_last_is_full() {
    // Requests of a full run, by how many records there are, in pages of three.
    for (count, requests) in [
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 2),
        (6, 3),
        (7, 3),
    ] {
        for way in ways().into_iter().filter(|way| way.get("size").is_some()) {
            let server = server(count, |right, _| json!(right), nothing);
            let [full, _] = endpoints(&server, &way);
            let read = run(&source(full), None).await.unwrap();
            assert_eq!(read.ids().len(), count, "{way}");
            assert_eq!(server.asked().len(), requests, "{way} of {count}");
        }
    }
}

#[tokio::test]
async fn a14_a_server_may_refuse_what_comes_after_its_end() {
    let refusals: [fn(&[Value]) -> Response; 8] = [
        |_| StatusCode::NOT_FOUND.into_response(),
        |_| StatusCode::BAD_REQUEST.into_response(),
        |_| StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |_| StatusCode::NO_CONTENT.into_response(),
        |_| Json(json!({ "error": "out of range" })).into_response(),
        // The last page once more, or the first.
        |all| Json(json!({ "items": all[3..], "total": 6, "pages": 2 })).into_response(),
        |all| Json(json!({ "items": all[..3], "total": 6, "pages": 2 })).into_response(),
    ];
    for after in refusals {
        for way in ways()
            .into_iter()
            .filter(|way| way["total"].get("header").is_none())
        {
            is_whole(&server(6, |right, _| json!(right), after), &way, 6).await;
        }
    }
}

#[tokio::test]
async fn a14_a_link_to_another_page_contradicts_a_total() {
    let server = Server::new(|asked: &Asked| {
        // No more than two a page, whatever is asked for.
        let records = numbered(5);
        let start = asked.number("offset").unwrap();
        let items: Vec<_> = records.iter().skip(start).take(2).collect();
        let link = (start + 2 < records.len()).then_some([("link", "</next>; rel=next")]);
        (
            link.map(AppendHeaders),
            Json(json!({ "items": items, "total": items.len() })),
        )
    });
    let way = json!({ "type": "offset", "size": 10, "total": { "pointer": "/total" } });
    is_whole(&server, &way, 5).await;
}

#[tokio::test]
async fn a14_a_page_after_the_end_is_a_position_to_resume_from() {
    for way in ways() {
        let server = server(RECORDS, |_, _| json!(3), nothing);
        let [_, one] = endpoints(&server, &way);
        let source = source(one);
        let splits = run(&source, None).await.unwrap().splits;
        let whole = crate::support::read(&source, &splits[0], None)
            .await
            .unwrap();
        for (offset, upto) in whole.offsets.iter().zip(&whole.upto) {
            let rest = crate::support::read(&source, &splits[0], Some(offset))
                .await
                .unwrap();
            let rest = rest.rows.get("records").map_or(0, Vec::len);
            assert_eq!(upto + rest, RECORDS, "{way}");
        }
    }
}

#[tokio::test]
async fn a14_more_that_is_said_after_the_end_and_does_not_come_is_an_error() {
    for way in ways()
        .into_iter()
        .filter(|way| way["total"].get("header").is_none())
    {
        let after =
            |_: &[Value]| Json(json!({ "items": [], "total": 10, "pages": 4 })).into_response();
        let error = all(&server(6, |right, _| json!(right), after), &way).await;
        let error = error.unwrap_err();
        assert!(error.message().contains("no more than"), "{way}: {error:?}");
        assert!(
            error.hint_text().unwrap().contains("`pagination.total`"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn pages_that_are_counted_are_handed_out_by_thousands_each_once() {
    const PAGES: u64 = 999_999;
    let server = Server::new(|_: &Asked| {
        Json(json!({ "items": [{ "id": 1, "name": "a" }], "total": PAGES, "pages": PAGES }))
    });
    let way = json!({ "type": "page", "size": 1, "total": { "pages_pointer": "/pages" } });
    let source = source(endpoint(server.at("/"), paged(way), "/items"));
    let scans = scans(&source);
    let (mut state, mut finished, mut open) = (None, Vec::new(), Vec::new());
    let (mut planned, mut most, mut asks) = (0, 0, 0);
    loop {
        let ask = Ask {
            scans: &scans,
            state: state.as_ref(),
            finished: &finished,
            first: asks == 0,
        };
        let plan = source.plan(&ask).await.unwrap();
        asks += 1;
        for split in plan.new {
            planned += 1;
            let id = format!("records:page={planned},size=1");
            assert_eq!(split.id.to_string(), id, "in their order, none left out");
            open.push(split);
        }
        most = most.max(open.len());
        assert!(serde_json::to_string(&plan.state).unwrap().len() < 2_000);
        state = Some(plan.state);
        if plan.next == Next::Complete {
            break;
        }
        // A few of them, then many.
        let count = if asks % 2 == 0 { 7 } else { 6_000 };
        let done = open.drain(..count.min(open.len()));
        let done = done.map(|split| FinishedSplit {
            split,
            offset: None,
        });
        finished = done.collect();
        assert!(!finished.is_empty(), "it waits for nothing");
    }
    assert_eq!(planned, PAGES);
    assert!(most <= 10_000, "{most}");
    // What was handed out last knows that it is the last.
    let last = serde_json::to_string(&open.last().unwrap().data).unwrap();
    assert!(last.contains("\"last\":1"), "{last}");
}
