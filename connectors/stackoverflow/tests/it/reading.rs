//! What stands still: everything arrives, once, with few requests.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_core::{ErrorKind, SourceConfig, Span};
use tidegate_http::Url;
use tidegate_stackoverflow::{Order, Sort, StackOverflowConfig};
use tidegate_testkit::servers::{Kind, Packing, Rules, StackExchange};
use tidegate_testkit::suites::{context, source_suite};

use crate::pipeline::{Pipeline, config, no_violations};

const DAY: Duration = Duration::from_secs(86_400);

fn kinds() -> Vec<tidegate_stackoverflow::Kind> {
    tidegate_stackoverflow::Kind::ALL.to_vec()
}

fn api(rules: Rules, questions: usize) -> StackExchange {
    let api = StackExchange::start(rules);
    api.site("stackoverflow").questions(questions, 30 * DAY, 7);
    api
}

/// Every row that there is came once.
#[track_caller]
fn assert_whole(pipeline: &Pipeline, api: &StackExchange, kind: Kind) {
    let truth = api.site("stackoverflow").truth(kind);
    let truth: BTreeSet<_> = truth
        .iter()
        .map(|row| row[kind.key()].to_string())
        .collect();
    let rows = pipeline.merged(kind.method(), kind.key());
    let rows: BTreeSet<_> = rows.into_keys().collect();
    let lost: Vec<_> = truth.difference(&rows).take(5).collect();
    assert!(lost.is_empty(), "{kind:?} lost: {lost:?}");
    assert_eq!(rows.len(), truth.len(), "{kind:?}: rows that don't exist");
    assert_eq!(
        pipeline.count(kind.method()),
        truth.len(),
        "{kind:?} doubled"
    );
}

#[tokio::test]
async fn every_stream_arrives_whole_and_a_page_is_fetched_once() {
    let api = api(Rules::default(), 400);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        streams: kinds(),
        raw: true,
        ..config(&api)
    });
    pipeline.run().await.unwrap();
    for kind in Kind::ALL {
        assert_whole(&pipeline, &api, kind);
        let pages = api.requests();
        let pages = pages
            .iter()
            .filter(|seen| seen.request.method == format!("/{}", kind.method()));
        let raw = &pipeline.rows["raw"];
        let raw = raw.iter().filter(|row| row["stream"] == kind.method());
        assert_eq!(
            pages.count(),
            raw.count(),
            "{kind:?}: typed and raw of one page"
        );
    }
    assert!(pipeline.rows["raw"].iter().all(|row| row["status"] == 200));
    no_violations(&api);

    // What comes next is nothing, but for what has no order in time.
    let before = pipeline.rows.clone();
    pipeline.run().await.unwrap();
    for kind in Kind::ALL {
        let times = if kind == Kind::Tags { 2 } else { 1 };
        assert_eq!(
            pipeline.count(kind.method()),
            before[kind.method()].len() * times,
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn without_a_key_far_more_than_25_pages_are_read_with_the_fewest_requests() {
    for (order, rows) in [(Order::Asc, 10_000), (Order::Desc, 3_000)] {
        let api = api(Rules::default(), rows);
        let mut pipeline = Pipeline::new(StackOverflowConfig {
            order,
            ..config(&api)
        });
        pipeline.run().await.unwrap();
        assert_whole(&pipeline, &api, Kind::Questions);
        no_violations(&api);
        let requests = api.requests();
        let pages = requests
            .iter()
            .filter(|seen| seen.request.method == "/questions");
        let (pages, fewest) = (pages.count(), rows / 100);
        assert!(
            pages <= fewest + fewest.div_ceil(50),
            "{order:?}: {pages} requests, and {fewest} are the fewest"
        );
        assert!(
            requests.len() <= pages + 1,
            "only a filter was made besides"
        );
    }
}

#[tokio::test]
async fn a_second_with_more_rows_than_a_page_is_read_whole() {
    for order in [Order::Asc, Order::Desc] {
        let api = StackExchange::start(Rules::default());
        let site = api.site("stackoverflow");
        site.questions(60, DAY, 3);
        let hour = Duration::from_secs(3_600);
        site.questions_at(api.now() - 2 * DAY, 130);
        site.questions_at(api.now() - hour, 250);
        site.questions_at(api.now() - 2 * hour, 30);
        let mut pipeline = Pipeline::new(StackOverflowConfig {
            order,
            pagesize: 30,
            ..config(&api)
        });
        // Resumed after every page.
        pipeline.killed_after = Some(1);
        pipeline.run_through().await;
        assert_whole(&pipeline, &api, Kind::Questions);
        no_violations(&api);
    }
}

#[tokio::test]
async fn a_first_page_that_goes_past_the_end_is_enough() {
    let api = StackExchange::start(Rules::default());
    let site = api.site("stackoverflow");
    site.questions(30, DAY, 7);
    api.advance(Duration::from_secs(120));
    site.questions_at(api.now() - Duration::from_secs(20), 10);
    site.questions_at(api.now() - Duration::from_secs(10), 10);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        pagesize: 40,
        lag: Span(Duration::from_secs(60)),
        ..config(&api)
    });
    pipeline.run().await.unwrap();
    assert_eq!(pipeline.count("questions"), 30);
    let asked = api.requests();
    let asked = asked
        .iter()
        .filter(|seen| seen.request.method == "/questions");
    assert_eq!(asked.count(), 1);

    api.advance(Duration::from_secs(120));
    pipeline.run().await.unwrap();
    assert_whole(&pipeline, &api, Kind::Questions);
    no_violations(&api);
}

#[tokio::test]
async fn a_question_for_a_number_is_no_page_of_the_archive() {
    let api = StackExchange::start(Rules::default());
    let site = api.site("stackoverflow");
    site.questions_at(api.now() - DAY, 50);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        pagesize: 20,
        raw: true,
        ..config(&api)
    });
    // Resumed after every page.
    pipeline.killed_after = Some(1);
    pipeline.streams = vec!["raw"];
    pipeline.run_through().await;
    let numbers = |pages: &[String]| pages.iter().filter(|size| *size == "1").count();
    let asked = api.requests();
    let asked = asked.iter().map(|seen| &seen.request);
    let asked = asked.filter(|request| request.method == "/questions");
    let asked: Vec<_> = asked.map(|page| page.query["pagesize"].clone()).collect();
    assert_eq!(numbers(&asked), 1, "{asked:?}");
    let raw = pipeline.rows["raw"].iter();
    let raw = raw.map(|row| Url::parse(row["url"].as_str().unwrap()).unwrap());
    let size = |url: Url| {
        let size = url.query_pairs().find(|(name, _)| name == "pagesize");
        size.unwrap().1.into_owned()
    };
    let raw: Vec<_> = raw.map(size).collect();
    assert_eq!((numbers(&raw), raw.len()), (0, asked.len() - 1), "{raw:?}");
    no_violations(&api);
}

#[tokio::test]
async fn a_run_that_goes_on_with_another_order_ends_as_it_began() {
    for (before, after) in [(Order::Asc, Order::Desc), (Order::Desc, Order::Asc)] {
        let api = api(Rules::default(), 200);
        let mut pipeline = Pipeline::new(StackOverflowConfig {
            order: before,
            pagesize: 30,
            ..config(&api)
        });
        pipeline.killed_after = Some(2);
        pipeline.run().await.unwrap();
        pipeline.config.order = after;
        pipeline.killed_after = None;
        pipeline.run().await.unwrap();
        assert_whole(&pipeline, &api, Kind::Questions);
        no_violations(&api);
    }
}

#[tokio::test]
async fn a_second_with_more_rows_than_25_pages_wants_a_key() {
    let api = StackExchange::start(Rules::default());
    let site = api.site("stackoverflow");
    site.questions_at(api.now() - DAY, 60);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        pagesize: 2,
        ..config(&api)
    });
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
    assert!(error.hint_text().unwrap().contains("`key`"), "{error:?}");
    assert!(error.to_string().contains("403"), "{error:?}");
}

#[tokio::test]
async fn every_sort_of_every_stream_arrives_whole() {
    use tidegate_stackoverflow::Kind::{Answers, Comments, Questions, Tags, Users};
    for (stream, sort) in [
        (Questions, Sort::Creation),
        (Questions, Sort::Votes),
        (Answers, Sort::Creation),
        (Answers, Sort::Votes),
        (Users, Sort::Reputation),
        (Users, Sort::Name),
        (Tags, Sort::Popular),
        (Comments, Sort::Votes),
    ] {
        for order in [Order::Asc, Order::Desc] {
            let api = api(Rules::default().requests_per_second(1_000), 300);
            let mut pipeline = Pipeline::new(StackOverflowConfig {
                streams: vec![stream],
                sort: Some(sort),
                order,
                pagesize: 70,
                ..config(&api)
            });
            pipeline
                .run()
                .await
                .unwrap_or_else(|error| panic!("{stream} by {sort}: {error:?}"));
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.method() == stream.name());
            assert_whole(&pipeline, &api, kind.unwrap());
            no_violations(&api);
        }
    }
}

#[tokio::test]
async fn only_questions_with_all_tags_come() {
    let api = api(Rules::default(), 500);
    let truth = api.site("stackoverflow").truth(Kind::Questions);
    let tags = truth[0]["tags"].as_array().unwrap();
    let tag = tags[0].as_str().unwrap();
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        tagged: vec![tag.to_owned()],
        ..config(&api)
    });
    pipeline.run().await.unwrap();
    let has = |row: &&serde_json::Value| row["tags"].as_array().unwrap().contains(&tags[0]);
    assert_eq!(
        pipeline.count("questions"),
        truth.iter().filter(has).count()
    );

    // Other tags are another reading, from the beginning.
    pipeline.config.tagged.clear();
    pipeline.rows.clear();
    pipeline.run().await.unwrap();
    assert_whole(&pipeline, &api, Kind::Questions);
}

#[tokio::test]
async fn the_first_run_begins_at_since() {
    let api = api(Rules::default(), 500);
    let since = api.now() - 10 * DAY;
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        since: Some(tidegate_stackoverflow::Since::At(since)),
        ..config(&api)
    });
    pipeline.run().await.unwrap();
    let truth = api.site("stackoverflow").truth(Kind::Questions);
    let active =
        |row: &&serde_json::Value| row["last_activity_date"].as_i64().unwrap() >= since.timestamp();
    let expected = truth.iter().filter(active).count();
    assert!(expected > 0 && expected < truth.len());
    assert_eq!(pipeline.count("questions"), expected);
}

#[tokio::test]
async fn bodies_are_understood_however_they_are_packed() {
    for packing in [Packing::Gzip, Packing::GzipWithoutHeader, Packing::Plain] {
        let api = api(Rules::default().packing(packing), 150);
        let mut pipeline = Pipeline::new(config(&api));
        pipeline.run().await.unwrap();
        assert_whole(&pipeline, &api, Kind::Questions);
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let rules = Rules::default()
        .requests_per_second(100_000)
        .quota(100_000)
        .repeat_window(Duration::ZERO);
    let api = api(rules, 60);
    // A second that fills pages is resumed within, too.
    let site = api.site("stackoverflow");
    site.questions_at(api.now() - DAY, 60);
    let config = StackOverflowConfig {
        pagesize: 25,
        ..config(&api)
    };
    let cx = context();
    let shared = cx.source();
    source_suite(move || {
        let (config, cx) = (config.clone(), shared.clone());
        async move { config.open(&cx).await }
    })
    .rows("questions", 120)
    .incremental()
    .check()
    .await;
    no_violations(&api);
}
