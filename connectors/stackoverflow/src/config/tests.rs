#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::{Value, json};
use tidegate_core::ErrorKind;

use super::*;

fn config(keys: &Value) -> StackOverflowConfig {
    serde_json::from_value(keys.clone()).unwrap()
}

fn refused(keys: &Value) -> String {
    let error = config(keys).validate().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{keys}");
    assert!(error.hint_text().is_some() || format!("{error}").contains("twice"));
    format!("{error:?}")
}

#[test]
fn an_empty_table_reads_the_questions_of_stack_overflow() {
    let config = config(&json!({}));
    config.validate().unwrap();
    assert_eq!(config, StackOverflowConfig::default());
    assert_eq!(config.streams, [Kind::Questions]);
    assert_eq!(
        config.url().unwrap().as_str(),
        "https://api.stackexchange.com/2.3"
    );
    assert!(config.entities());
    assert_eq!(config.sorts().unwrap()[0].1.sort, Sort::Activity);
}

#[test]
fn everything_can_be_written_down_and_read_again() {
    let config = config(&json!({
        "site": "math",
        "streams": ["questions"],
        "raw": true,
        "tagged": ["algebra", "c#"],
        "sort": "creation",
        "order": "desc",
        "since": "7d",
        "lag": "5m",
        "filter": { "include": ["question.body"], "unsafe": true },
        "decode_entities": false,
        "key": { "env": "SE_KEY" },
        "access_token": { "file": "token" },
        "pagesize": 30,
        "base_url": "https://example.com/2.3/",
        "max_requests": 10,
        "on_quota": "wait",
        "caution": "2m",
    }));
    config.validate().unwrap();
    let stored = serde_json::to_value(&config).unwrap();
    assert_eq!(
        serde_json::from_value::<StackOverflowConfig>(stored).unwrap(),
        config
    );
    assert_eq!(config.url().unwrap().as_str(), "https://example.com/2.3");
}

#[test]
fn every_stream_can_be_read_as_it_comes() {
    config(&json!({ "streams": Kind::ALL, "raw": true }))
        .validate()
        .unwrap();
    for kind in Kind::ALL {
        for by in kind.sorts() {
            let filter = json!({ "include": ["tag.last_activity_date"] });
            let keys = json!({ "streams": [kind], "sort": by.sort, "filter": filter });
            config(&keys).validate().unwrap();
        }
    }
}

#[test]
fn what_can_be_refused_is_refused_without_a_server() {
    for (keys, words) in [
        (json!({ "site": "" }), "`site`"),
        (json!({ "site": "https://stackoverflow.com" }), "`site`"),
        (json!({ "streams": [] }), "`streams` is empty"),
        (json!({ "streams": ["tags", "tags"] }), "twice"),
        (
            json!({ "sort": "reputation" }),
            "`questions` can't be sorted by `reputation`",
        ),
        (
            json!({ "streams": ["questions", "comments"], "sort": "activity" }),
            "`comments` has: creation, votes",
        ),
        (
            json!({ "streams": ["tags"], "sort": "activity" }),
            "tag.last_activity_date",
        ),
        (
            json!({ "streams": ["questions", "answers"], "tagged": ["rust"] }),
            "`tagged` can't restrict `answers`",
        ),
        (
            json!({ "tagged": ["a", "b", "c", "d", "e", "f"] }),
            "more than 5 tags",
        ),
        (json!({ "tagged": ["rust;async"] }), "is not a tag"),
        (json!({ "tagged": [""] }), "is not a tag"),
        (json!({ "tagged": ["rust", "rust"] }), "twice"),
        (json!({ "filter": "body" }), "`body` is not a filter"),
        (
            json!({ "filter": { "unsafe": true }, "decode_entities": true }),
            "plain already",
        ),
        (
            json!({ "access_token": { "env": "T" } }),
            "`access_token` needs a `key`",
        ),
        (json!({ "pagesize": 0 }), "`pagesize`"),
        (json!({ "pagesize": 1 }), "`pagesize`"),
        (json!({ "pagesize": 101 }), "`pagesize`"),
        (json!({ "base_url": "api.stackexchange.com" }), "`base_url`"),
        (json!({ "base_url": "ftp://example.com" }), "`base_url`"),
        (json!({ "base_url": "https://x.com/?key=1" }), "`base_url`"),
    ] {
        let text = refused(&keys);
        assert!(text.contains(words), "{text}");
    }
    for keys in [
        json!({ "page_size": 5 }),
        json!({ "streams": ["posts"] }),
        json!({ "since": "long ago" }),
        json!({ "max_requests": 0 }),
        json!({ "key": "plain" }),
    ] {
        assert!(serde_json::from_value::<StackOverflowConfig>(keys).is_err());
    }
}

#[test]
fn what_changes_no_rows_makes_no_other_pipeline() {
    let keys = json!({
        "key": { "env": "K" }, "access_token": { "env": "T" }, "max_requests": 1, "pagesize": 2,
    });
    let config = config(&keys);
    config.validate().unwrap();
    let tuning = config.tuning_keys();
    let stored = serde_json::to_value(&config).unwrap();
    let known = |key: &&&str| stored.get(**key).is_some();
    assert_eq!(tuning.iter().filter(known).count(), tuning.len());
    for key in keys.as_object().unwrap().keys() {
        assert!(tuning.contains(&&**key), "{key}");
    }
}

#[test]
fn a_token_is_never_sent_in_the_open() {
    let with = |base_url: &str| {
        config(&json!({
            "key": { "env": "K" }, "access_token": { "env": "T" }, "base_url": base_url,
        }))
        .validate()
    };
    for url in [
        "https://api.stackexchange.com/2.3",
        "http://localhost:8080/2.3",
        "http://127.0.0.1:8080/2.3",
        "http://[::1]:8080/2.3",
    ] {
        with(url).unwrap();
    }
    for url in [
        "http://api.stackexchange.com/2.3",
        "http://localhost.example.com/2.3",
        "http://10.0.0.1/2.3",
    ] {
        let error = with(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().unwrap().contains("https"), "{error}");
    }
}

#[test]
fn texts_are_decoded_unless_they_come_plain() {
    let entities = |keys: Value| config(&keys).entities();
    assert!(entities(json!({ "filter": "withbody" })));
    assert!(entities(json!({ "filter": "!abc" })));
    assert!(!entities(json!({ "filter": { "unsafe": true } })));
    assert!(!entities(json!({ "decode_entities": false })));
}
