//! Runs that read what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_api::{ApiSource, Endpoint, Incremental};
use tidegate_core::{ErrorKind, PlanState};

use crate::support::{Asked, Run, Server, client, endpoint, paged, run, source};

/// Records with a number that grows, changed by the test.
type Records = Arc<Mutex<Vec<Value>>>;

/// A server that gives the records from `since` on, the bound included, two a page.
fn changing(records: &Records) -> Server {
    let records = Arc::clone(records);
    Server::new(move |asked: &Asked| {
        let since = asked.query.get("since");
        let since: i64 = since.map_or(i64::MIN, |since| since.parse().unwrap());
        let mut all = records.lock().unwrap().clone();
        all.retain(|record| record["v"].as_i64().is_none_or(|v| v >= since));
        all.sort_by_key(|record| record["v"].as_i64());
        let start = asked.number("from").unwrap_or(0);
        let page: Vec<_> = all.iter().skip(start).take(2).cloned().collect();
        Json(json!({ "items": page, "total": all.len() }))
    })
}

fn growing(server: &Server, more: Value) -> Endpoint {
    let mut config = json!({ "param": "since", "field": "/v" });
    let more = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(more);
    let pagination = json!({ "type": "offset", "param": "from" });
    let mut one = endpoint(server.at("/"), paged(pagination), "/items");
    one.incremental = Some(serde_json::from_value::<Incremental>(config).unwrap());
    one.validate().unwrap();
    one
}

async fn next(one: Endpoint, before: Option<&Run>) -> Run {
    run(&source(one), before.map(|run| &run.state))
        .await
        .unwrap()
}

#[tokio::test]
async fn each_run_reads_what_is_new_and_nothing_twice() {
    let record = |id: i64, v: i64| json!({ "id": id, "v": v, "name": "x" });
    let records: Records = Arc::default();
    records
        .lock()
        .unwrap()
        .extend((1..=5).map(|id| record(id, id / 2)));
    let server = changing(&records);
    let one = || growing(&server, json!({}));
    let first = next(one(), None).await;
    assert_eq!(first.ids(), [1, 2, 3, 4, 5]);
    // The bound is asked for again, but its records are known.
    let second = next(one(), Some(&first)).await;
    assert_eq!(second.ids(), [0_i64; 0]);
    // One more with the same value, one greater, and an old one that was changed.
    records.lock().unwrap().extend([record(6, 2), record(7, 3)]);
    records.lock().unwrap()[0] = record(1, 3);
    let third = next(one(), Some(&second)).await;
    assert_eq!(third.ids(), [6, 1, 7]);
    // One of the last value changes without growing: it comes again.
    records.lock().unwrap()[6]["name"] = json!("y");
    let fourth = next(one(), Some(&third)).await;
    assert_eq!(fourth.ids(), [7]);
    let asked = server.asked();
    let bounds: Vec<_> = asked.iter().map(|asked| asked.query.get("since")).collect();
    let bounds: Vec<_> = bounds.into_iter().flatten().map(String::as_str).collect();
    assert!(
        bounds.starts_with(&["2"]) && bounds.ends_with(&["3"]),
        "{bounds:?}"
    );
}

#[tokio::test]
async fn a_run_without_records_keeps_the_bound_and_start_is_sent_first() {
    let records: Records = Arc::default();
    let server = changing(&records);
    let one = || growing(&server, json!({ "start": "3" }));
    let mut last = next(one(), None).await;
    last = next(one(), Some(&last)).await;
    records.lock().unwrap().push(json!({ "id": 1, "v": 7 }));
    last = next(one(), Some(&last)).await;
    assert_eq!(last.ids(), [1]);
    records.lock().unwrap().clear();
    for _ in 0..2 {
        last = next(one(), Some(&last)).await;
    }
    records.lock().unwrap().push(json!({ "id": 2, "v": 8 }));
    last = next(one(), Some(&last)).await;
    assert_eq!(last.ids(), [2]);
    let asked = server.asked();
    let mut bounds: Vec<_> = asked
        .iter()
        .map(|asked| asked.query["since"].as_str())
        .collect();
    bounds.dedup();
    assert_eq!(bounds, ["3", "7"]);
}

#[tokio::test]
async fn another_question_is_read_from_its_beginning() {
    let records: Records = Arc::default();
    records.lock().unwrap().push(json!({ "id": 1, "v": 7 }));
    let server = changing(&records);
    let first = next(growing(&server, json!({})), None).await;
    let mut other = growing(&server, json!({}));
    other.params.push(("state".into(), "closed".into()));
    let second = next(other, Some(&first)).await;
    assert_eq!(second.ids(), [1]);
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| !asked.query.contains_key("since"))
    );
}

#[tokio::test]
async fn the_size_of_a_page_is_no_other_question() {
    let records: Records = Arc::default();
    records.lock().unwrap().push(json!({ "id": 1, "v": 7 }));
    let server = changing(&records);
    let sized = |size: &str| {
        let mut one = growing(&server, json!({}));
        one.params.push(("Limit".into(), size.into()));
        one
    };
    let none = next(growing(&server, json!({})), None).await;
    let first = next(sized("50"), Some(&none)).await;
    let second = next(sized("200"), Some(&first)).await;
    assert_eq!([first.ids(), second.ids()], [[0_i64; 0]; 2]);
}

#[tokio::test]
async fn a_field_that_can_not_grow_is_refused() {
    for (records, about) in [
        (json!([{ "v": true }]), "no value that can grow"),
        (json!([{ "v": 1.5 }]), "no value that can grow"),
        (json!([{ "v": 1 }, { "v": "2" }]), "of another type"),
    ] {
        let server = Server::new(move |_: &Asked| Json(json!({ "items": records.clone() })));
        let error = run(&source(growing(&server, json!({}))), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.message().contains(about), "{error:?}");
    }
}

#[tokio::test]
async fn a_record_that_is_shown_does_not_show_what_is_hidden() {
    let server = Server::new(|_: &Asked| {
        let long = "x".repeat(170);
        Json(json!({ "items": [{ "a": long, "token": "hunter2", "v": true }] }))
    });
    let client = client();
    client.hide("hunter2");
    let source = ApiSource::new(client, vec![growing(&server, json!({}))]);
    let error = run(&source, None).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("record: {\"a\":\"xx"), "{text}");
    assert!(text.contains("***") && !text.contains("hunter"), "{text}");
}

#[tokio::test]
async fn records_without_the_field_come_every_time() {
    let records: Records = Arc::default();
    records
        .lock()
        .unwrap()
        .extend([json!({ "id": 1 }), json!({ "id": 2, "v": null })]);
    let server = changing(&records);
    let first = next(growing(&server, json!({})), None).await;
    assert_eq!(first.ids(), [1, 2]);
    assert_eq!(
        next(growing(&server, json!({})), Some(&first)).await.ids(),
        [1, 2]
    );
}

#[tokio::test]
async fn times_are_sent_as_the_server_wants_them() {
    for (format, overlap, sent) in [
        ("as_is", None, "2024-05-01T14:00:00+02:00"),
        ("rfc3339", None, "2024-05-01T12:00:00Z"),
        ("rfc3339", Some("1h"), "2024-05-01T11:00:00Z"),
        ("epoch_seconds", None, "1714564800"),
        ("epoch_millis", Some("1s"), "1714564799000"),
    ] {
        let server = Server::new(|asked: &Asked| {
            let at = "2024-05-01T14:00:00+02:00";
            let items = match asked.number("from") {
                Some(0) => json!([{ "id": 1, "v": at }]),
                _ => json!([]),
            };
            Json(json!({ "items": items }))
        });
        let mut config = json!({ "format": format });
        if let Some(overlap) = overlap {
            config["overlap"] = overlap.into();
        }
        let first = next(growing(&server, config.clone()), None).await;
        server.asked();
        next(growing(&server, config), Some(&first)).await;
        assert_eq!(server.asked()[0].query["since"], sent);
    }
}

#[tokio::test]
async fn counted_pages_are_read_one_after_the_other_and_find_the_largest_value() {
    let server = Server::new(|asked: &Asked| {
        let since = asked.number("since").unwrap_or(0);
        let all: Vec<_> = [5, 9, 2, 9, 1]
            .into_iter()
            .filter(|v| *v >= since)
            .collect();
        let start = (asked.number("page").unwrap() - 1) * 2;
        let page = all.iter().enumerate().skip(start).take(2);
        let page: Vec<_> = page.map(|(at, v)| json!({ "id": at, "v": v })).collect();
        Json(json!({ "items": page, "total": all.len() }))
    });
    let mut one = growing(&server, json!({}));
    let counted = json!({ "type": "page", "size": 2, "total": { "pointer": "/total" } });
    one.pagination = paged(counted);
    let first = next(one.clone(), None).await;
    assert_eq!(first.ids().len(), 5);
    // Pages that were counted beforehand would miss what is pushed to one more.
    assert_eq!(first.splits.len(), 1);
    assert_eq!(server.asked().len(), 3);
    next(one, Some(&first)).await;
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.query["since"] == "9")
    );
}

#[tokio::test]
async fn a_change_while_counted_pages_are_read_pushes_no_record_out() {
    let ids: Records = Arc::default();
    let record = |id: i64, v: i64| json!({ "id": id, "v": v });
    ids.lock().unwrap().extend((1..=6).map(|id| record(id, id)));
    let all = Arc::clone(&ids);
    let server = Server::new(move |asked: &Asked| {
        let mut all = all.lock().unwrap();
        let since = asked.number("since").unwrap_or(0);
        let mut found = all.clone();
        found.retain(|record| record["v"].as_u64() >= u64::try_from(since).ok());
        found.sort_by_key(|record| std::cmp::Reverse(record["v"].as_i64()));
        let total = found.len();
        let start = (asked.number("page").unwrap() - 1) * 2;
        let page: Vec<_> = found.into_iter().skip(start).take(2).collect();
        // Another comes in at the front when the first page has been given.
        if all.len() == 6 {
            all.push(json!({ "id": 7, "v": 7 }));
        }
        Json(json!({ "items": page, "total": total }))
    });
    let mut one = growing(&server, json!({}));
    let counted = json!({ "type": "page", "size": 2, "total": { "pointer": "/total" } });
    one.pagination = paged(counted);
    let first = next(one.clone(), None).await;
    let second = next(one, Some(&first)).await;
    let ids: BTreeSet<_> = first.ids().into_iter().chain(second.ids()).collect();
    assert_eq!(ids, (1..=7).collect());
}

/// A server with an ETag, of one page.
fn tagged(tag: &Arc<Mutex<&'static str>>) -> Server {
    let tag = Arc::clone(tag);
    Server::new(move |asked: &Asked| {
        let tag = *tag.lock().unwrap();
        let known = |headers: &HeaderMap| headers.get("if-none-match").is_some_and(|of| of == tag);
        if known(&asked.headers) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let page = asked.number("page").unwrap_or(1);
        let items = if page == 1 {
            json!([{ "id": 1 }])
        } else {
            json!([])
        };
        let count = [("etag", tag), ("x-total-count", "1")];
        (AppendHeaders(count), Json(items)).into_response()
    })
}

#[tokio::test]
async fn nothing_is_read_while_nothing_changes() {
    let counted = json!({ "type": "page", "size": 5, "total": { "header": "x-total-count" } });
    for (pagination, requests) in [
        (json!({ "type": "none" }), [1, 1, 1, 1]),
        (json!({ "type": "page" }), [2, 1, 2, 1]),
        (counted, [1, 1, 1, 1]),
    ] {
        let tag = Arc::new(Mutex::new("\"a\""));
        let server = tagged(&tag);
        let mut one = endpoint(server.at("/"), paged(pagination), "");
        one.conditional = true;
        let mut state: Option<PlanState> = None;
        for (at, requests) in requests.into_iter().enumerate() {
            if at == 2 {
                *tag.lock().unwrap() = "\"b\"";
            }
            let this = run(&source(one.clone()), state.as_ref()).await.unwrap();
            assert_eq!(
                this.ids().len(),
                if at % 2 == 0 { 1 } else { 0 },
                "run {at}"
            );
            assert_eq!(server.asked().len(), requests, "run {at}");
            state = Some(this.state);
        }
    }
}

#[tokio::test]
async fn what_has_not_changed_is_read_again_for_other_columns_headers_or_streams() {
    let tag = Arc::new(Mutex::new("\"a\""));
    let server = tagged(&tag);
    let mut one = endpoint(server.at("/"), paged(json!({ "type": "none" })), "");
    one.conditional = true;
    let first = next(one.clone(), None).await;
    assert!(next(one.clone(), Some(&first)).await.ids().is_empty());
    let mut other = one.clone();
    other.schema = Some(tidegate_api::columns("id:int64", &[]).unwrap());
    assert_eq!(next(other, Some(&first)).await.ids(), [1]);
    let mut other = one.clone();
    other.headers.push(("accept-language".into(), "de".into()));
    assert_eq!(next(other, Some(&first)).await.ids(), [1]);
    let archived = source(one.clone()).raw(true);
    let archived = run(&archived, Some(&first.state)).await.unwrap();
    assert_eq!(archived.rows["raw"].len(), 1);
    let notes = tidegate_core::Source::notes(&source(one));
    assert!(notes[0].contains("overwrite"), "{notes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_series_of_runs_holds_every_last_edit_and_nothing_for_nothing(
        steps in prop::collection::vec(prop::collection::vec((0_i64..8, 0_i64..2), 0..6), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let records: Records = Arc::default();
            let server = changing(&records);
            let (mut clock, mut edit) = (0, 0);
            let mut merged = BTreeMap::new();
            let mut last: Option<Run> = None;
            for edits in steps {
                let mut changed = BTreeSet::new();
                for (id, later) in edits {
                    clock += later;
                    edit += 1;
                    changed.insert(id);
                    let mut all = records.lock().unwrap();
                    all.retain(|record| record["id"] != id);
                    all.push(json!({ "id": id, "v": clock, "name": format!("edit {edit}") }));
                }
                let this = next(growing(&server, json!({})), last.as_ref()).await;
                let ids = this.ids();
                prop_assert_eq!(&ids.iter().copied().collect::<BTreeSet<_>>(), &changed);
                prop_assert_eq!(ids.len(), changed.len());
                for row in &this.rows.get("records").cloned().unwrap_or_default() {
                    merged.insert(row["id"].as_i64(), row["name"].clone());
                }
                last = Some(this);
            }
            let all = records.lock().unwrap();
            let expected = all.iter().map(|row| (row["id"].as_i64(), row["name"].clone()));
            prop_assert_eq!(merged, expected.collect::<BTreeMap<_, _>>());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn c6_the_first_run_sends_a_value_of_the_same_type_as_later_ones() {
    let text = |text: &str| json!(text);
    let may = "2024-05-01T12:00:00Z";
    for (start, format, field, first, later) in [
        (json!(3), "as_is", json!(7), json!(3), json!(7)),
        (json!("3"), "as_is", json!(7), text("3"), text("7")),
        (json!(3), "as_is", json!("7"), json!(3), json!(7)),
        (json!(3), "as_is", json!("07"), json!(3), text("07")),
        (json!(null), "as_is", json!(7), json!(null), json!(7)),
        (json!(null), "as_is", json!("7"), json!(null), text("7")),
        (
            json!("2024-01-01"),
            "as_is",
            json!(may),
            text("2024-01-01"),
            text(may),
        ),
        (
            json!(9_007_199_254_740_993_i64),
            "as_is",
            json!(9_007_199_254_740_995_i64),
            json!(9_007_199_254_740_993_i64),
            json!(9_007_199_254_740_995_i64),
        ),
        (json!(1.5), "as_is", json!(7), json!(1.5), json!(7)),
        (
            json!(1_704_067_200),
            "epoch_seconds",
            json!(may),
            json!(1_704_067_200),
            json!(1_714_564_800),
        ),
        (
            json!("1704067200"),
            "epoch_seconds",
            json!(may),
            json!(1_704_067_200),
            json!(1_714_564_800),
        ),
        (
            json!("2024-01-01T00:00:00Z"),
            "epoch_seconds",
            json!(1_714_564_800),
            json!(1_704_067_200),
            json!(1_714_564_800),
        ),
        (
            json!("2024-01-01"),
            "epoch_millis",
            json!(may),
            json!(1_704_067_200_000_i64),
            json!(1_714_564_800_000_i64),
        ),
        (
            json!(1_704_067_200),
            "rfc3339",
            json!(may),
            text("2024-01-01T00:00:00Z"),
            text(may),
        ),
        (
            json!("2024-01-01"),
            "rfc3339",
            json!(1_714_564_800),
            text("2024-01-01"),
            text(may),
        ),
    ] {
        for place in ["body", "query"] {
            let v = field.clone();
            let server = Server::new(move |asked: &Asked| match asked.number("from") {
                Some(0) => Json(json!({ "items": [{ "id": 1, "v": v }] })),
                _ => Json(json!({ "items": [] })),
            });
            let mut config = json!({ "format": format, "in": place });
            if !start.is_null() {
                config["start"] = start.clone();
            }
            let mut one = growing(&server, json!({}));
            config["param"] = json!("since");
            config["field"] = json!("/v");
            one.method = tidegate_http::Method::POST;
            one.body = Some(json!({}));
            one.incremental = Some(serde_json::from_value(config).unwrap());
            one.validate().unwrap();
            let sent = |server: &Server| {
                let asked = server.asked().remove(0);
                match place {
                    "body" => asked.body["since"].clone(),
                    _ => asked
                        .query
                        .get("since")
                        .map_or(json!(null), |sent| json!(sent)),
                }
            };
            let plain = |value: &Value| match (place, value) {
                ("body", _) | (_, Value::Null | Value::String(_)) => value.clone(),
                _ => json!(value.to_string()),
            };
            let run = next(one.clone(), None).await;
            assert_eq!(
                sent(&server),
                plain(&first),
                "{start} as {format} in {place}"
            );
            next(one, Some(&run)).await;
            assert_eq!(
                sent(&server),
                plain(&later),
                "{field} as {format} in {place}"
            );
        }
    }
}
