#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use tidegate_core::{ErrorKind, async_trait};

use super::*;
use crate::streams::Sort;

fn questions() -> Vec<(Kind, SortBy)> {
    vec![(Kind::Questions, Kind::Questions.sorted(None).unwrap())]
}

fn filter(value: Value) -> Filter {
    serde_json::from_value(value).unwrap()
}

fn api() -> Url {
    Url::parse("https://api.stackexchange.com/2.3").unwrap()
}

fn recipe(wanted: Wanted) -> Recipe {
    match wanted {
        Wanted::Made(recipe) => recipe,
        Wanted::Named(name) => panic!("{name} needs no making"),
    }
}

fn query(recipe: &Recipe, name: &str) -> Option<String> {
    let query = recipe.query();
    let found = query.into_iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value)
}

#[test]
fn built_in_filters_are_sent_by_name() {
    for name in ["default", "withbody"] {
        let filter = filter(json!(name));
        filter.validate(&questions()).unwrap();
        assert_eq!(filter.pages(&questions()), Wanted::Named(name.to_owned()));
        assert_eq!(filter.identity(), name);
        let total = filter.with_total(&questions());
        assert_eq!(query(&total, "base").as_deref(), Some(name));
        assert_eq!(query(&total, "include").as_deref(), Some(".total"));
        assert_eq!(query(&total, "unsafe").as_deref(), Some("false"));
    }
    // One filter with a total serves all streams.
    let default = Filter::default();
    let users = [(Kind::Users, Kind::Users.sorted(None).unwrap())];
    assert_eq!(default.with_total(&questions()), default.with_total(&users));
}

#[test]
fn what_reading_needs_is_in_every_filter() {
    let mut streams = questions();
    let tags = Kind::Tags.sorted(Some(Sort::Activity)).unwrap();
    streams.push((Kind::Tags, tags));
    for setting in [
        json!("!nNPvSNVZJS"),
        json!({}),
        json!({ "base": "none", "include": ["question.title"], "unsafe": true }),
    ] {
        let filter = filter(setting);
        filter.validate(&streams).unwrap();
        let pages = recipe(filter.pages(&streams));
        let total = filter.with_total(&streams);
        for recipe in [&pages, &total] {
            let include = query(recipe, "include").unwrap();
            let include: Vec<_> = include.split(';').collect();
            for field in [
                ".items",
                ".has_more",
                ".backoff",
                ".quota_remaining",
                ".error_id",
                "question.question_id",
                "question.last_activity_date",
                "tag.name",
                "tag.last_activity_date",
            ] {
                assert!(include.contains(&field), "{field} in {include:?}");
            }
            assert_eq!(include.contains(&".total"), recipe == &total);
        }
        // The first page has the texts of the others.
        assert_eq!(query(&pages, "unsafe"), query(&total, "unsafe"));
        assert_eq!(query(&pages, "base"), query(&total, "base"));
    }
}

#[test]
fn the_order_of_fields_makes_no_other_filter() {
    let one = filter(json!({ "include": ["question.body", "answer.body"] }));
    let other = filter(json!({ "include": ["answer.body", "question.body", "answer.body"] }));
    let more = filter(json!({ "include": ["answer.body"] }));
    assert_eq!(one.identity(), other.identity());
    assert_ne!(one.identity(), more.identity());
    let raw = filter(json!({ "include": ["answer.body"], "unsafe": true }));
    assert_ne!(raw.identity(), more.identity());
}

#[test]
fn what_is_no_filter_is_refused_with_a_hint() {
    for (setting, words) in [
        (json!("withbdy"), "`withbdy` is not a filter"),
        (json!("none"), "`none` is not a filter"),
        (json!("!"), "`!` is not a filter"),
        (json!("!a b"), "`!a b` is not a filter"),
        (json!({ "base": "all" }), "`all` is not a filter"),
        (json!({ "include": ["title"] }), "`title` is not a field"),
        (
            json!({ "include": ["question.title;question.body"] }),
            "is not a field",
        ),
        (
            json!({ "exclude": ["question.question_id"] }),
            "without `question.question_id` no rows",
        ),
        (json!({ "exclude": [".backoff"] }), "without `.backoff`"),
        (
            json!({ "include": ["question.body"], "exclude": ["question.body"] }),
            "in `include` and in `exclude`",
        ),
    ] {
        let error = filter(setting).validate(&questions()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = format!("{error:?}");
        assert!(
            text.contains(words) && text.contains("key: filter"),
            "{text}"
        );
    }
    assert!(serde_json::from_value::<Filter>(json!({ "includes": [] })).is_err());
}

#[test]
fn what_the_api_answers_is_understood() {
    let wanted = filter(json!({ "include": ["question.body"] }));
    let recipe = recipe(wanted.pages(&questions()));
    let mut item = json!({ "filter": "!one", "filter_type": "safe" });
    let made = recipe.made(&item.to_string()).unwrap();
    assert_eq!(made.filter, "!one");

    item["included_fields"] = json!(recipe.include);
    assert!(recipe.made(&item.to_string()).is_ok());
    item["included_fields"] = json!([".items"]);
    let error = recipe.made(&item.to_string()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("without `.backoff`"), "{error}");

    item["included_fields"] = json!(recipe.include);
    item["filter_type"] = json!("unsafe");
    let error = recipe.made(&item.to_string()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("base = \"default\", unsafe = true"), "{hint}");

    item["filter_type"] = json!("invalid");
    let error = recipe.made(&item.to_string()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("question.body"), "{error}");

    assert_eq!(recipe.made("{}").unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn a_field_that_is_written_wrong_is_found() {
    let hint = |field: &str| {
        let wanted = filter(json!({ "include": [field] }));
        let recipe = recipe(wanted.pages(&questions()));
        let error = recipe.blamed(Error::config("the API can't take it"));
        assert!(error.to_string().contains("key: filter"), "{error}");
        error.hint_text().unwrap().to_owned()
    };
    assert!(hint("question.titel").contains("did you mean `question.title`?"));
    assert!(hint("questoin.title").contains("did you mean `question.title`?"));
    assert!(hint("shallow_user.badge_count").contains("`shallow_user.badge_counts`"));
    assert!(hint("question.shoe_size").contains("`question.shoe_size` is not documented: see"));
    assert!(hint("question.body").contains("id must be copied whole"));
    let passing = Error::transient("later");
    let recipe = Filter::default().with_total(&questions());
    assert_eq!(recipe.blamed(passing).hint_text(), None);
}

#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Value>>);

#[async_trait]
impl KeyValue for Memory {
    async fn get(&self, key: &str) -> Result<Option<Value>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&Value>,
        value: &Value,
    ) -> Result<bool> {
        let mut values = self.0.lock().unwrap();
        let same = values.get(key) == expected;
        if same {
            values.insert(key.to_owned(), value.clone());
        }
        Ok(same)
    }
}

#[tokio::test]
async fn a_filter_is_remembered_for_its_api_and_its_recipe() {
    let shared = Memory::default();
    let total = Filter::default().with_total(&questions());
    assert_eq!(total.recall(&shared, &api()).await.unwrap(), None);
    let made = Made {
        filter: "!one".to_owned(),
    };
    total.remember(&made, &shared, &api()).await.unwrap();
    total.remember(&made, &shared, &api()).await.unwrap();
    assert_eq!(total.recall(&shared, &api()).await.unwrap(), Some(made));

    let fake = Url::parse("http://me:secret@127.0.0.1:4711/2.3").unwrap();
    assert_eq!(total.recall(&shared, &fake).await.unwrap(), None);
    assert!(!total.place(&fake).contains("secret"));
    let withbody = filter(json!("withbody")).with_total(&questions());
    assert_eq!(withbody.recall(&shared, &api()).await.unwrap(), None);
}
