//! Requests are counted, pauses kept, and a run that can't be finished isn't begun.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tidegate_core::{ErrorKind, Secret, Span};
use tidegate_http::OnQuota;
use tidegate_stackoverflow::StackOverflowConfig;
use tidegate_testkit::servers::{Failure, Rules, StackExchange};

use crate::pipeline::{Pipeline, config, no_violations};

const DAY: Duration = Duration::from_secs(86_400);

fn api(rules: Rules, questions: usize) -> StackExchange {
    let api = StackExchange::start(rules);
    api.site("stackoverflow").questions(questions, DAY, 7);
    api
}

fn pipeline(api: &StackExchange) -> Pipeline {
    Pipeline::new(StackOverflowConfig {
        pagesize: 10,
        ..config(api)
    })
}

#[track_caller]
fn assert_whole(pipeline: &Pipeline, rows: usize) {
    let all = pipeline.merged("questions", "question_id");
    assert_eq!((pipeline.count("questions"), all.len()), (rows, rows));
}

#[tokio::test]
async fn a_run_that_fits_a_whole_quota_but_not_what_is_left_is_not_begun() {
    let api = api(Rules::default().quota(20), 100);
    api.spend(10);
    let mut pipeline = pipeline(&api);
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
    let shown = error.to_string();
    assert!(shown.contains("about 11 requests needed"), "{shown}");
    assert!(shown.contains("8 of 20 left until"), "{shown}");
    assert!(pipeline.state.is_none(), "nothing is planned");

    // Refused once, it isn't asked for again until something has changed.
    let before = api.requests().len();
    let again = pipeline.run().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Exhausted, "{again:?}");
    assert_eq!(api.requests().len(), before);
    no_violations(&api);
}

#[tokio::test]
async fn a_run_that_was_refused_does_what_it_was_advised_to() {
    // First pages are asked for anew.
    let rules = Rules::default().quota(20).repeat_window(Duration::ZERO);
    let api = api(rules, 100);
    api.spend(10);
    let mut pipeline = pipeline(&api);
    let error = pipeline.run().await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("set max_requests"));

    pipeline.config.max_requests = NonZeroU64::new(3);
    let stopped = pipeline.run().await.unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Exhausted, "{stopped:?}");
    assert!(
        stopped.to_string().contains("`max_requests` allows"),
        "{stopped:?}"
    );
    assert!(pipeline.count("questions") > 10, "a part was read");

    // Larger pages need fewer requests.
    let mut other = self::pipeline(&api);
    other.shared = pipeline.shared.clone();
    other.run().await.unwrap_err();
    other.config.pagesize = 100;
    other.run().await.unwrap();
    assert_whole(&other, 100);
    no_violations(&api);
}

#[tokio::test]
async fn two_accounts_ask_no_faster_than_their_address_may() {
    let directory = tempfile::tempdir().unwrap();
    let api = api(Rules::default().key("one").key("two"), 100);
    // The filter is made before.
    let mut before = pipeline(&api);
    before.config.pagesize = 100;
    before.run().await.unwrap();
    // Each asks for other pages.
    let mut pipelines = [("one", 5), ("two", 6)].map(|(key, pagesize)| {
        let path = directory.path().join(key);
        std::fs::write(&path, key).unwrap();
        let mut pipeline = pipeline(&api);
        pipeline.config.key = Some(Secret::File(path));
        pipeline.config.pagesize = pagesize;
        pipeline.shared = before.shared.clone();
        pipeline
    });
    for run in join_all(pipelines.iter_mut().map(Pipeline::run)).await {
        run.unwrap();
    }
    for pipeline in &pipelines {
        assert_whole(pipeline, 100);
    }
    no_violations(&api);
}

#[tokio::test]
async fn a_run_that_no_quota_has_room_for_goes_on_run_by_run() {
    let api = api(Rules::default().quota(5), 100);
    let mut pipeline = pipeline(&api);
    let mut stops = 0;
    while let Err(error) = pipeline.run().await {
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
        assert!(error.hint_text().is_some(), "{error:?}");
        let asked = api.requests().len();
        let again = pipeline.run().await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Exhausted, "{again:?}");
        assert_eq!(
            api.requests().len(),
            asked,
            "nothing is asked while it is spent"
        );
        stops += 1;
        assert!(stops < 5, "every day comes further");
        // A day later, with a clock that is a day behind: the ledger's own time doesn't pass.
        api.advance(DAY);
        pipeline.shared = Arc::default();
    }
    assert_eq!(stops, 2);
    assert_whole(&pipeline, 100);
    no_violations(&api);
}

#[tokio::test]
async fn a_spent_quota_stops_the_run_or_is_waited_for() {
    for on_quota in [OnQuota::Stop, OnQuota::Wait] {
        let api = api(Rules::default(), 100);
        let mut pages = 0;
        api.fail_when(move |request| {
            pages += usize::from(request.method == "/questions");
            let spent = "too many requests from this IP, more requests available in 2 seconds";
            (pages == 3).then(|| {
                pages += 1;
                Failure::Said(502, spent.to_owned())
            })
        });
        let mut pipeline = pipeline(&api);
        pipeline.config.on_quota = on_quota;
        // So long a wait is no pause.
        pipeline.http["max_retry_after"] = "1s".into();
        let begun = Instant::now();
        if on_quota == OnQuota::Stop {
            let error = pipeline.run().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
            assert!(
                error.to_string().contains("502 throttle_violation"),
                "{error:?}"
            );
            assert_eq!(pipeline.count("questions"), 19, "what was read is kept");
            // It is remembered: nothing is asked before.
            let asked = api.requests().len();
            if pipeline.run().await.is_err() {
                assert_eq!(api.requests().len(), asked);
            }
            pipeline.config.on_quota = OnQuota::Wait;
        }
        pipeline.run().await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(2));
        assert_whole(&pipeline, 100);
        no_violations(&api);
    }
}

#[tokio::test]
async fn c9_a_pause_of_a_second_is_made_whatever_is_done_when_the_quota_is_spent() {
    for on_quota in [OnQuota::Stop, OnQuota::Wait] {
        let api = api(Rules::default(), 100);
        let mut pages = 0;
        api.fail_when(move |request| {
            pages += usize::from(request.method == "/questions");
            let brief = "too many requests from this IP, more requests available in 1 seconds";
            (pages == 3 || pages == 7).then(|| {
                pages += 1;
                Failure::Said(502, brief.to_owned())
            })
        });
        let mut pipeline = pipeline(&api);
        pipeline.config.on_quota = on_quota;
        let begun = Instant::now();
        pipeline.run().await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(2));
        assert_whole(&pipeline, 100);
        no_violations(&api);
    }
}

#[tokio::test]
async fn c9_a_last_page_that_says_there_is_more_costs_a_few_requests_and_no_error() {
    let requests = |lies: bool| async move {
        let api = api(Rules::default(), 45);
        if lies {
            api.fail_when(|_| Some(Failure::MoreAlways));
        }
        let mut pipeline = pipeline(&api);
        pipeline.run().await.unwrap();
        assert_whole(&pipeline, 45);
        no_violations(&api);
        api.requests().len()
    };
    let (honest, lying) = (requests(false).await, requests(true).await);
    assert!(lying <= honest + 6, "{lying} requests instead of {honest}");
}

#[tokio::test]
async fn a_run_makes_no_more_requests_than_it_may() {
    let api = api(Rules::default(), 100);
    let mut pipeline = pipeline(&api);
    pipeline.config.max_requests = NonZeroU64::new(4);
    let mut stops = 0;
    loop {
        let before = api.requests().len();
        let run = pipeline.run().await;
        assert!(api.requests().len() - before <= 4);
        match run {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}"),
        }
        stops += 1;
        assert!(stops < 10, "every run comes further");
    }
    assert_eq!(stops, 2);
    assert_whole(&pipeline, 100);
}

#[tokio::test]
async fn many_streams_come_further_with_one_request_a_run() {
    let api = api(Rules::default(), 60);
    let mut pipeline = pipeline(&api);
    pipeline.config.streams = tidegate_stackoverflow::Kind::ALL.to_vec();
    pipeline.config.pagesize = 100;
    pipeline.config.max_requests = NonZeroU64::new(1);
    let mut runs = 0;
    while pipeline.run().await.is_err() {
        runs += 1;
        assert!(runs < 20, "every run comes further");
    }
    assert_whole(&pipeline, 60);
}

#[tokio::test]
async fn a_backoff_is_kept_and_remembered_by_the_next_process() {
    let api = api(Rules::default().backoff(2, 1..=1), 60);
    let mut pipeline = pipeline(&api);
    // A process for each page.
    pipeline.killed_after = Some(1);
    pipeline.run_through().await;
    assert_whole(&pipeline, 60);
    let asked = api.requests();
    assert!(asked.iter().any(|seen| seen.backoff.is_some()));
    no_violations(&api);
}

#[tokio::test]
async fn the_same_is_not_asked_twice_within_the_time_it_is_cached() {
    let window = Duration::from_secs(1);
    let api = api(Rules::default().repeat_window(window), 30);
    let mut pipeline = pipeline(&api);
    pipeline.config.repeat_after = Span(window);
    // Killed after the plan, before any page was stored.
    pipeline.killed_after = Some(0);
    pipeline.run().await.unwrap();
    pipeline.killed_after = None;
    pipeline.run().await.unwrap();
    assert_whole(&pipeline, 30);
    no_violations(&api);
}

#[tokio::test]
async fn a_process_that_dies_while_it_asks_breaks_no_backoff() {
    let latency = Duration::from_millis(20)..=Duration::from_millis(60);
    let rules = Rules::default().latency(latency).backoff(2, 1..=1);
    let api = api(rules.repeat_window(Duration::ZERO), 40);
    let mut pipeline = pipeline(&api);
    // Longer than any backoff that the dead process may not have heard of.
    pipeline.config.caution = Span(Duration::from_millis(1_100));
    // No request is under way for longer.
    pipeline.http["request_timeout"] = "1s".into();
    for millis in [5, 90, 150] {
        let life = Duration::from_millis(millis);
        let lived = tokio::time::timeout(life, pipeline.run()).await;
        assert!(lived.is_err(), "it died");
    }
    pipeline.run_through().await;
    assert_whole(&pipeline, 40);
    no_violations(&api);
}

#[tokio::test]
async fn pipelines_share_what_they_know_of_the_api() {
    let rules = Rules::default().backoff(4, 1..=1).requests_per_second(26);
    let api = api(rules, 100);
    let mut pipelines: Vec<_> = (0..3).map(|_| pipeline(&api)).collect();
    for (n, pagesize) in [20, 25, 30].into_iter().enumerate() {
        pipelines[n].config.pagesize = pagesize;
        // Whoever comes first makes the filter.
        pipelines[n].config.repeat_after = Span(Duration::from_secs(60));
        pipelines[n].shared = pipelines[0].shared.clone();
    }
    for run in join_all(pipelines.iter_mut().map(Pipeline::run)).await {
        run.unwrap();
    }
    for pipeline in &pipelines {
        assert_whole(pipeline, 100);
    }
    no_violations(&api);
}

#[tokio::test]
async fn what_is_known_of_the_quota_is_told_without_a_request() {
    let api = api(Rules::default(), 10);
    let mut pipeline = pipeline(&api);
    let notes = pipeline.source().await.unwrap().notes();
    assert_eq!(
        notes,
        [
            "reads without a key: 300 requests a day for this address",
            "reads `questions` by `activity`, on from where the last run ended"
        ]
    );
    assert_eq!(api.requests(), []);

    pipeline.run().await.unwrap();
    let asked = api.requests().len();
    let notes = pipeline.source().await.unwrap().notes();
    let left = format!("knows of the quota: {} of 300 left until ", 300 - asked);
    assert!(notes[1].starts_with(&left), "{notes:?}");
    assert_eq!(api.requests().len(), asked);
}
