//! Every stream's rows against what the server knows to be true.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, Scan};
use tidegate_stackoverflow::Kind;
use tidegate_testkit::servers::{self, Rules, Site, StackExchange};
use tidegate_testkit::suites::context;

use crate::whole::{config, read, read_scans};

const DAY: Duration = Duration::from_secs(86_400);

fn server(questions: usize) -> (StackExchange, Site) {
    let api = StackExchange::start(Rules::default());
    let site = api.site("stackoverflow");
    site.questions(questions, DAY, 11);
    (api, site)
}

/// For many runs at once, each with a ledger of its own, as if they came from many addresses.
fn patient() -> Rules {
    Rules::default().quota(100_000).requests_per_second(100_000)
}

fn truth(site: &Site, kind: Kind) -> BTreeMap<String, Value> {
    let kind = match kind {
        Kind::Questions => servers::Kind::Questions,
        Kind::Answers => servers::Kind::Answers,
        Kind::Users => servers::Kind::Users,
        Kind::Tags => servers::Kind::Tags,
        Kind::Comments => servers::Kind::Comments,
    };
    by_key(site.truth(kind), kind.key())
}

/// Rows by their key, which none has twice.
fn by_key(rows: Vec<Value>, key: &str) -> BTreeMap<String, Value> {
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row[key].to_string(), row))
        .collect();
    assert_eq!(rows.len(), count, "a `{key}` comes twice");
    rows
}

/// Every field of the type but those that repeat other streams.
fn all_fields(kind: Kind, type_name: &str) -> Vec<String> {
    let schema = kind.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names
        .filter(|name| !["answers", "comments"].contains(name))
        .map(|name| format!("{type_name}.{name}"))
        .chain(["shallow_user.badge_counts".to_owned()])
        .collect()
}

#[tokio::test]
async fn every_documented_field_of_every_stream_arrives() {
    let (api, site) = server(150);
    for (kind, type_name) in [
        (Kind::Questions, "question"),
        (Kind::Answers, "answer"),
        (Kind::Users, "user"),
        (Kind::Tags, "tag"),
        (Kind::Comments, "comment"),
    ] {
        let filter = json!({ "include": all_fields(kind, type_name), "unsafe": true });
        let config = config(&api.url(), json!({ "streams": [kind], "filter": filter }));
        let read = read(&config, &[kind.name()]).await;
        assert_eq!(read.rejected.rows, []);
        let rows = by_key(read.rows(kind.name()), kind.key());
        let mut truth = truth(&site, kind);
        for row in truth.values_mut() {
            let row = row.as_object_mut().unwrap();
            row.retain(|field, _| !["answers", "comments"].contains(&field.as_str()));
        }
        assert_eq!(rows.len(), truth.len(), "{kind}");
        for (id, row) in &truth {
            assert_eq!(&rows[id], row, "{kind} {id}");
        }
    }
    assert_eq!(api.violations(), []);
}

/// Whether all that a row has is true.
fn agrees(row: &Value, truth: &Value) -> bool {
    match (row, truth) {
        (Value::Object(row), Value::Object(truth)) => row
            .iter()
            .all(|(field, value)| truth.get(field).is_some_and(|truth| agrees(value, truth))),
        (Value::Array(row), Value::Array(truth)) => {
            row.len() == truth.len() && row.iter().zip(truth).all(|(row, truth)| agrees(row, truth))
        }
        _ => row == truth,
    }
}

#[tokio::test]
async fn texts_of_safe_filters_come_as_somebody_wrote_them() {
    let (api, site) = server(300);
    let truth = truth(&site, Kind::Questions);
    let encoded = |row: &Value| {
        row["title"]
            .as_str()
            .is_some_and(|title| title.contains('&'))
    };
    assert!(truth.values().any(encoded), "no title shows anything");

    let config_of = |keys: Value| config(&api.url(), keys);
    let read_of = async |keys: Value| {
        let read = read(&config_of(keys), &["questions"]).await;
        by_key(read.rows("questions"), "question_id")
    };
    for (filter, has_body) in [("default", false), ("withbody", true)] {
        let rows = read_of(json!({ "filter": filter })).await;
        assert_eq!(rows.len(), truth.len());
        for (id, row) in &rows {
            assert!(agrees(row, &truth[id]), "{row:#}\n{:#}", truth[id]);
            assert_eq!(row.get("body").is_some(), has_body);
            assert!(row.get("title").is_some() && row.get("tags").is_some());
        }
    }
    api.advance(Duration::from_secs(61));
    let rows = read_of(json!({ "decode_entities": false })).await;
    assert!(
        rows.iter()
            .any(|(id, row)| row["title"] != truth[id]["title"])
    );
    assert_eq!(api.violations(), []);
}

#[tokio::test]
async fn a_filter_from_nothing_sends_what_was_asked_for_and_reading_needs() {
    let (api, site) = server(120);
    let filter = json!({ "base": "none", "include": ["question.title"] });
    let config = config(&api.url(), json!({ "filter": filter }));
    let read = read(&config, &["questions"]).await;
    let rows = read.rows("questions");
    assert_eq!(rows.len(), truth(&site, Kind::Questions).len());
    for row in &rows {
        let mut fields: Vec<_> = row.as_object().unwrap().keys().collect();
        fields.sort_unstable();
        assert_eq!(fields, ["last_activity_date", "question_id", "title"]);
    }
    assert_eq!(api.violations(), []);
}

#[tokio::test]
async fn a_filter_that_the_api_refuses_is_explained() {
    let (api, _) = server(1);
    for (filter, hint) in [
        (
            json!({ "include": ["question.titel"] }),
            "did you mean `question.title`?",
        ),
        (json!("!nosuchfilter"), "copied whole"),
    ] {
        let config = config(&api.url(), json!({ "filter": filter }));
        let scans = [Scan::all("questions")];
        let error = read_scans(&context(), &config, &scans).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("key: filter"), "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
    }
}

#[tokio::test]
async fn a_custom_filter_is_made_once_for_ever() {
    let api = StackExchange::start(Rules::default().repeat_window(Duration::ZERO));
    api.site("stackoverflow").questions(10, DAY, 11);
    let cx = context();
    let filter = json!({ "include": ["question.body_markdown"] });
    let keys = json!({ "filter": filter, "repeat_after": "0s" });
    let config = config(&api.url(), keys);
    for _ in 0..3 {
        let scans = [Scan::all("questions")];
        read_scans(&cx, &config, &scans).await.unwrap();
    }
    let requests = api.requests();
    let made = requests
        .iter()
        .filter(|seen| seen.request.method.contains("filters"));
    // With a total for the first page; there is no second.
    assert_eq!(made.count(), 1);
    assert_eq!(api.violations(), []);
}

#[tokio::test]
async fn raw_alone_has_the_pages_as_they_were_sent() {
    let (api, site) = server(250);
    let keys = json!({ "streams": ["questions", "tags"], "raw": true });
    let config = config(&api.url(), keys);
    let read = read(&config, &["raw"]).await;
    assert_eq!(read.batches.keys().collect::<Vec<_>>(), ["raw"]);
    let mut found: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for page in read.rows("raw") {
        let stream = page["stream"].as_str().unwrap().to_owned();
        let key = if stream == "tags" {
            "name"
        } else {
            "question_id"
        };
        assert_eq!(page["status"], 200);
        assert!(page["url"].as_str().unwrap().starts_with(&api.url()));
        let body: Value = serde_json::from_str(page["body"].as_str().unwrap()).unwrap();
        let items = body["items"].as_array().unwrap().clone();
        let rows = found.entry(stream).or_default();
        rows.extend(items.into_iter().map(|row| (row[key].to_string(), row)));
    }
    let count = |kind: Kind| truth(&site, kind).len();
    assert_eq!(found["questions"].len(), count(Kind::Questions));
    assert_eq!(found["tags"].len(), count(Kind::Tags));
    assert_eq!(api.violations(), []);
}

#[tokio::test]
async fn a_page_is_fetched_once_for_both_kinds_of_streams() {
    let (api, _) = server(250);
    let config = config(&api.url(), json!({ "raw": true }));
    let read = read(&config, &["questions", "raw"]).await;
    let pages = read.rows("raw").len();
    let asked = api.requests();
    let asked = asked
        .iter()
        .filter(|seen| seen.request.method.contains("questions"));
    assert_eq!(asked.count(), pages);
    assert_eq!(read.rows("questions").len(), 250);
}

#[tokio::test]
async fn only_the_columns_that_somebody_needs_are_made() {
    let (api, _) = server(30);
    let config = config(&api.url(), json!({ "streams": ["answers"] }));
    let scan = Scan {
        columns: Some(vec!["score".to_owned(), "answer_id".to_owned()]),
        ..Scan::all("answers")
    };
    let read = read_scans(&context(), &config, &[scan]).await.unwrap();
    for batch in &read.batches["answers"] {
        let schema = batch.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["answer_id", "score"]);
    }
}

#[tokio::test]
async fn every_sort_of_every_stream_reads_all_in_both_directions() {
    let api = StackExchange::start(patient());
    let site = api.site("stackoverflow");
    site.questions(60, DAY, 5);
    let mut runs = Vec::new();
    for kind in Kind::ALL {
        let sorts: &[&str] = match kind {
            Kind::Questions | Kind::Answers => &["activity", "creation", "votes"],
            Kind::Users => &["creation", "modified", "reputation", "name"],
            Kind::Tags => &["name", "popular", "activity"],
            Kind::Comments => &["creation", "votes"],
        };
        for (sort, order) in sorts
            .iter()
            .flat_map(|sort| [(sort, "asc"), (sort, "desc")])
        {
            runs.push((kind, *sort, order));
        }
    }
    let results = futures::future::join_all(runs.iter().map(async |(kind, sort, order)| {
        let mut keys = json!({ "streams": [kind], "sort": sort, "order": order, "pagesize": 7 });
        if *kind == Kind::Tags && *sort == "activity" {
            keys["filter"] = json!({ "include": ["tag.last_activity_date"] });
        }
        read(&config(&api.url(), keys), &[kind.name()]).await
    }))
    .await;
    for ((kind, sort, order), read) in runs.into_iter().zip(results) {
        let rows = by_key(read.rows(kind.name()), kind.key());
        let mut truth = truth(&site, kind);
        if sort == "modified" {
            truth.retain(|_, row| row.get("last_modified_date").is_some());
        }
        let ids: Vec<_> = rows.keys().collect();
        assert_eq!(
            ids,
            truth.keys().collect::<Vec<_>>(),
            "{kind} {sort} {order}"
        );
    }
}

#[tokio::test]
async fn names_that_come_encoded_are_asked_for_as_they_are() {
    let api = StackExchange::start(patient());
    let site = api.site("stackoverflow");
    site.questions(400, DAY, 5);
    let truth = truth(&site, Kind::Users);
    let odd = |row: &Value| {
        row["display_name"]
            .as_str()
            .is_some_and(|name| name.contains(['\'', '&', 'é']))
    };
    assert!(truth.values().filter(|row| odd(row)).count() > 1);
    let runs = ["asc", "desc"].map(async |order| {
        let keys = json!({ "streams": ["users"], "sort": "name", "order": order, "pagesize": 3 });
        read(&config(&api.url(), keys), &["users"]).await
    });
    for read in futures::future::join_all(runs).await {
        let rows = by_key(read.rows("users"), "user_id");
        let ids: Vec<_> = rows.keys().collect();
        assert_eq!(ids, truth.keys().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn comments_inside_of_posts_are_rows_in_lists() {
    let (api, site) = server(200);
    let filter = json!({ "include": ["question.comments", "comment.body", "question.answers"] });
    let config = config(&api.url(), json!({ "filter": filter }));
    let read = read(&config, &["questions"]).await;
    let comments = truth(&site, Kind::Comments);
    let answers = truth(&site, Kind::Answers);
    let (mut seen, mut answered) = (0, 0);
    for row in read.rows("questions") {
        for comment in row["comments"].as_array().into_iter().flatten() {
            let truth = &comments[&comment["comment_id"].to_string()];
            assert!(agrees(comment, truth), "{comment:#}\n{truth:#}");
            assert!(comment["creation_date"].is_i64() && comment["body"].is_string());
            seen += 1;
        }
        for answer in row["answers"].as_array().into_iter().flatten() {
            let truth = &answers[&answer["answer_id"].to_string()];
            assert!(agrees(answer, truth), "{answer:#}\n{truth:#}");
            answered += 1;
        }
    }
    assert!(seen > 0);
    assert_eq!(answered, answers.len());
}
