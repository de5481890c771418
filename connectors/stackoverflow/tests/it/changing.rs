//! What changes while it is read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_core::Span;
use tidegate_stackoverflow::{Order, StackOverflowConfig};
use tidegate_testkit::servers::{Kind, Rules, Site, StackExchange};

use crate::pipeline::{Pipeline, config, no_violations, seconds};

const DAY: Duration = Duration::from_secs(86_400);

/// Every question there is came with its last edit, and none came twice in a run.
#[track_caller]
fn assert_last_edits(pipeline: &Pipeline, site: &Site) {
    let rows = pipeline.merged("questions", "question_id");
    for truth in site.truth(Kind::Questions) {
        let id = &truth["question_id"];
        let row = rows
            .get(&id.to_string())
            .unwrap_or_else(|| panic!("question {id} is lost"));
        let active = seconds(&row["last_activity_date"]);
        assert_eq!(active, truth["last_activity_date"], "question {id}");
        assert_eq!(row["title"], truth["title"], "question {id}");
    }
}

#[track_caller]
fn assert_none_twice(pipeline: &Pipeline, run: &str) {
    let rows = pipeline.rows["questions"].len();
    let distinct = pipeline.merged("questions", "question_id").len();
    assert_eq!(rows, distinct, "{run}: no question comes twice in a run");
}

/// Changes rows before each page is made, and lets some time go by.
fn change_between_pages(api: &Arc<StackExchange>, site: &Site) {
    let (own, clock) = (site.clone(), Arc::downgrade(api));
    let dice = Mutex::new(1_u64);
    api.on_request(move |request| {
        if request.method != "/questions" {
            return;
        }
        let mut dice = dice.lock().unwrap();
        let mut roll = |n: usize| {
            *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(*dice >> 33).unwrap() % n
        };
        if let Some(api) = clock.upgrade() {
            api.advance(Duration::from_secs(2));
        }
        for _ in 0..3 {
            let ids = own.ids(Kind::Questions);
            own.edit(ids[roll(ids.len())]);
            own.delete(ids[roll(ids.len())]);
            own.answer(ids[roll(ids.len())]);
            own.add_question();
        }
    });
}

#[tokio::test]
async fn nothing_is_lost_when_rows_change_between_any_two_pages() {
    for (order, kill) in [
        (Order::Asc, None),
        (Order::Desc, None),
        (Order::Asc, Some(2)),
        (Order::Desc, Some(1)),
    ] {
        let api = Arc::new(StackExchange::start(Rules::default()));
        let site = api.site("stackoverflow");
        site.questions(600, 3 * DAY, 11);
        site.questions_at(api.now() - DAY, 70);
        change_between_pages(&api, &site);
        let mut pipeline = Pipeline::new(StackOverflowConfig {
            order,
            pagesize: 30,
            ..config(&api)
        });
        pipeline.killed_after = kill;
        let mut whole = Pipeline::new(pipeline.config.clone());
        for run in 0..3 {
            pipeline.rows.clear();
            pipeline.run_through().await;
            if pipeline.count("questions") > 0 {
                assert_none_twice(&pipeline, &format!("{order:?}, run {run}"));
            }
            for (stream, rows) in std::mem::take(&mut pipeline.rows) {
                whole.rows.entry(stream).or_default().extend(rows);
            }
            api.advance(Duration::from_secs(120));
        }
        api.on_request(|_| {});
        pipeline.run_through().await;
        for (stream, rows) in std::mem::take(&mut pipeline.rows) {
            whole.rows.entry(stream).or_default().extend(rows);
        }
        assert_last_edits(&whole, &site);
        no_violations(&api);
    }
}

#[tokio::test]
async fn what_answers_show_late_is_left_for_a_run_that_sees_it() {
    let late = Duration::from_secs(30);
    let api = StackExchange::start(Rules::default().answers_late(late));
    let site = api.site("stackoverflow");
    site.questions(100, DAY, 5);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        lag: Span(late),
        ..config(&api)
    });
    let ids = site.ids(Kind::Questions);
    for id in ids.iter().take(5) {
        site.edit(*id);
        site.add_question();
        api.advance(Duration::from_secs(13));
        pipeline.run_through().await;
    }
    api.advance(Duration::from_secs(120));
    pipeline.run_through().await;
    assert_last_edits(&pipeline, &site);
    no_violations(&api);
}

#[tokio::test]
async fn a_second_that_changes_while_its_pages_are_read_loses_nothing() {
    for order in [Order::Asc, Order::Desc] {
        let api = StackExchange::start(Rules::default());
        let site = api.site("stackoverflow");
        site.questions_at(api.now() - DAY, 95);
        let own = site.clone();
        // Rows leave the second before each of its pages.
        api.on_request(move |request| {
            if request.method == "/questions" {
                let ids = own.ids(Kind::Questions);
                own.edit(ids[request.number * 7 % ids.len()]);
                own.delete(ids[request.number * 11 % ids.len()]);
            }
        });
        let mut pipeline = Pipeline::new(StackOverflowConfig {
            order,
            pagesize: 10,
            ..config(&api)
        });
        pipeline.run_through().await;
        assert_none_twice(&pipeline, "the first run");
        api.on_request(|_| {});
        api.advance(Duration::from_secs(120));
        pipeline.run_through().await;
        assert_last_edits(&pipeline, &site);
        no_violations(&api);
    }
}

#[tokio::test]
async fn several_streams_are_read_side_by_side_while_they_change() {
    let api = StackExchange::start(Rules::default().backoff(9, 1..=1));
    let site = api.site("stackoverflow");
    site.questions(900, 3 * DAY, 19);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        streams: vec![
            tidegate_stackoverflow::Kind::Questions,
            tidegate_stackoverflow::Kind::Answers,
            tidegate_stackoverflow::Kind::Comments,
        ],
        pagesize: 100,
        ..config(&api)
    });
    let changes = site.changes_in_background(100, 23);
    for _ in 0..3 {
        pipeline.run_through().await;
    }
    changes.stop();
    api.advance(Duration::from_secs(120));
    pipeline.run_through().await;
    assert_last_edits(&pipeline, &site);
    for (kind, time) in [
        (Kind::Answers, "last_activity_date"),
        (Kind::Comments, "creation_date"),
    ] {
        let rows = pipeline.merged(kind.method(), kind.key());
        for truth in site.truth(kind) {
            let id = truth[kind.key()].to_string();
            let row = rows
                .get(&id)
                .unwrap_or_else(|| panic!("{kind:?} {id} is lost"));
            assert_eq!(seconds(&row[time]), truth[time], "{kind:?} {id}");
        }
    }
    no_violations(&api);
}
