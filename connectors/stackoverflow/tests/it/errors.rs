//! What goes wrong: each error says its id and what to do, and none loses a row.

use std::time::Duration;

use tidegate_core::{ErrorKind, Secret};
use tidegate_stackoverflow::StackOverflowConfig;
use tidegate_testkit::servers::{Failure, Kind, Rules, StackExchange};

use crate::pipeline::{Pipeline, config, no_violations};

const DAY: Duration = Duration::from_secs(86_400);

fn api(questions: usize) -> StackExchange {
    // Errors lead to the same question once more.
    let rules = Rules::default().repeat_window(Duration::ZERO);
    let api = StackExchange::start(rules);
    api.site("stackoverflow").questions(questions, DAY, 7);
    api
}

fn pipeline(api: &StackExchange) -> Pipeline {
    Pipeline::new(StackOverflowConfig {
        pagesize: 30,
        ..config(api)
    })
}

/// The second page and what follows go wrong, until it is told otherwise.
fn fail_pages(api: &StackExchange, failure: Failure) {
    let mut pages = 0;
    api.fail_when(move |request| {
        pages += usize::from(request.method == "/questions");
        (pages > 1).then(|| failure.clone())
    });
}

#[tokio::test]
async fn every_error_is_told_with_its_id_and_what_to_do_and_costs_no_row() {
    for (failure, kind, says) in [
        (Failure::Error(400), ErrorKind::Config, "400 bad_parameter"),
        (
            Failure::Error(401),
            ErrorKind::Auth,
            "401 access_token_required",
        ),
        (
            Failure::Error(402),
            ErrorKind::Auth,
            "402 invalid_access_token",
        ),
        (Failure::Error(403), ErrorKind::Auth, "403 access_denied"),
        (Failure::Error(404), ErrorKind::Config, "404 no_method"),
        (Failure::Error(405), ErrorKind::Auth, "405 key_required"),
        (
            Failure::Error(406),
            ErrorKind::Auth,
            "406 access_token_compromised",
        ),
        (Failure::Error(407), ErrorKind::Internal, "407 write_failed"),
        (
            Failure::Error(409),
            ErrorKind::Transient,
            "409 duplicate_request",
        ),
        (
            Failure::Error(500),
            ErrorKind::Transient,
            "500 internal_error",
        ),
        (
            Failure::Error(502),
            ErrorKind::RateLimited { wait: None },
            "502 throttle_violation",
        ),
        (
            Failure::Error(503),
            ErrorKind::Transient,
            "503 temporarily_unavailable",
        ),
        (
            Failure::ErrorWith200(400),
            ErrorKind::Config,
            "400 bad_parameter",
        ),
        (
            Failure::ErrorWith200(500),
            ErrorKind::Transient,
            "500 internal_error",
        ),
        (Failure::Html, ErrorKind::Transient, "503"),
        (Failure::NotJson, ErrorKind::Transient, "not JSON"),
        (Failure::Cut, ErrorKind::Transient, "lost"),
        (Failure::Dropped, ErrorKind::Transient, "lost"),
        (Failure::Repeated, ErrorKind::Transient, "same page again"),
    ] {
        let api = api(100);
        let mut pipeline = pipeline(&api);
        fail_pages(&api, failure.clone());
        let error = pipeline.run().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{failure:?}: {error:?}");
        assert!(error.to_string().contains(says), "{failure:?}: {error:?}");
        assert!(error.to_string().contains("/2.3/questions?"), "{error:?}");
        if failure != Failure::Cut && failure != Failure::Dropped {
            assert!(error.hint_text().is_some(), "{failure:?}: {error:?}");
        }
        assert_eq!(pipeline.count("questions"), 30, "{failure:?}");

        api.fail_when(|_| None);
        pipeline.run().await.unwrap();
        let all = pipeline.merged("questions", "question_id");
        assert_eq!(pipeline.count("questions"), 100, "{failure:?}");
        assert_eq!(all.len(), 100, "{failure:?}");
        no_violations(&api);
    }
}

#[tokio::test]
async fn what_goes_away_by_itself_is_not_noticed() {
    for failure in [
        Failure::Error(409),
        Failure::Error(500),
        Failure::Error(502),
        Failure::Error(503),
        Failure::Said(502, "Violation of backoff parameter".to_owned()),
        Failure::Html,
        Failure::NotJson,
        Failure::Cut,
        Failure::Dropped,
    ] {
        let api = api(100);
        let mut pipeline = pipeline(&api);
        let mut pages = 0;
        let (once, mut done) = (failure.clone(), false);
        api.fail_when(move |request| {
            pages += usize::from(request.method == "/questions");
            let fails = pages == 3 && !std::mem::replace(&mut done, pages == 3);
            fails.then(|| once.clone())
        });
        let ran = pipeline.run().await;
        ran.unwrap_or_else(|error| panic!("{failure:?}: {error:?}"));
        let all = pipeline.merged("questions", "question_id");
        assert_eq!((pipeline.count("questions"), all.len()), (100, 100));
        no_violations(&api);
    }
}

#[tokio::test]
async fn a_site_that_does_not_exist_is_told_with_its_key() {
    let api = api(10);
    let mut pipeline = Pipeline::new(StackOverflowConfig {
        site: "stakoverflow".to_owned(),
        ..config(&api)
    });
    let error = pipeline.run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.context().contains(&("key", "site".to_owned())),
        "{error:?}"
    );
    assert!(error.to_string().contains("stakoverflow"), "{error:?}");
}

#[tokio::test]
async fn keys_and_tokens_are_sent_and_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        Some(Secret::File(path))
    };
    let api = api(10);
    let with = |key, token| StackOverflowConfig {
        key: secret(key),
        access_token: secret(token),
        raw: true,
        ..config(&api)
    };
    let mut pipeline = Pipeline::new(with("a-key", "a-token"));
    pipeline.run().await.unwrap();
    assert_eq!(pipeline.count("questions"), 10);
    let sent = api.requests().last().unwrap().request.query.clone();
    assert_eq!(
        (&*sent["key"], &*sent["access_token"]),
        ("a-key", "a-token")
    );
    let kept = format!(
        "{:?} {:?} {:?} {:?}",
        pipeline.rows, pipeline.state, pipeline.shared, pipeline.store
    );
    assert!(
        !kept.contains("a-key") && !kept.contains("a-token"),
        "{kept}"
    );

    for (key, token, id) in [
        ("not-a-key", "a-token", "400 bad_parameter"),
        ("a-key", "not-a-token", "402 invalid_access_token"),
    ] {
        let error = Pipeline::new(with(key, token)).run().await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(shown.contains(id), "{shown}");
        assert!(!shown.contains(key) && !shown.contains(token), "{shown}");
    }
    assert_eq!(api.site("stackoverflow").ids(Kind::Questions).len(), 10);
}
