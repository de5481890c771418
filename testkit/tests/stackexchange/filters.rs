//! Filters: which fields are sent, and how texts are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::servers::{Kind, Rules, StackExchange};

use crate::client::Client;

fn start() -> (StackExchange, Client) {
    let api = StackExchange::start(Rules::default());
    api.site("stackoverflow")
        .questions(100, Duration::from_secs(86_400), 3);
    let client = Client::new(&api);
    (api, client)
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

const QUESTIONS: &str = "/questions?site=stackoverflow&pagesize=100";

fn created(client: &Client, query: &str) -> String {
    let item = client.items(&format!("/filters/create?{query}")).remove(0);
    item["filter"].as_str().unwrap().to_owned()
}

#[test]
fn built_in_filters_send_what_they_should() {
    let (_api, client) = start();
    let default = client.get(QUESTIONS).json();
    let wrapper = ["has_more", "items", "quota_max", "quota_remaining"];
    assert_eq!(names(&default), BTreeSet::from(wrapper));
    assert!(!names(&default["items"][0]).contains("body"));
    let with_body = client.get(&format!("{QUESTIONS}&filter=withbody")).json();
    assert!(names(&with_body["items"][0]).contains("body"));
    assert_eq!(
        client.get(&format!("{QUESTIONS}&filter=none")).json(),
        json!({})
    );
    let total = client.get(&format!("{QUESTIONS}&filter=total")).json();
    assert_eq!(total, json!({ "total": 100 }));
}

#[test]
fn a_created_filter_sends_only_its_fields() {
    let (api, client) = start();
    let query = "base=none&include=.items;.has_more;.total;.page;.page_size;.type;\
                 question.question_id;question.owner;shallow_user.user_type";
    let filter = created(&client, query);
    assert!(filter.starts_with('!'));
    let got = client.get(&format!("{QUESTIONS}&filter={filter}")).json();
    let wrapper = ["has_more", "items", "page", "page_size", "total", "type"];
    assert_eq!(names(&got), BTreeSet::from(wrapper));
    assert_eq!(
        (&got["total"], &got["page"], &got["page_size"], &got["type"]),
        (&100.into(), &1.into(), &100.into(), &"question".into())
    );
    assert_eq!(
        names(&got["items"][0]),
        BTreeSet::from(["owner", "question_id"])
    );
    assert_eq!(
        names(&got["items"][0]["owner"]),
        BTreeSet::from(["user_type"])
    );

    let without = created(
        &client,
        "include=question.body&exclude=question.tags;.quota_max",
    );
    let got = client.get(&format!("{QUESTIONS}&filter={without}")).json();
    assert!(!names(&got).contains("quota_max"));
    let item = names(&got["items"][0]);
    assert!(item.contains("body") && !item.contains("tags"));
    assert_eq!(api.violations(), []);
}

#[test]
fn the_same_request_gives_the_same_id_in_every_server_for_ever() {
    let (_api, client) = start();
    let id = created(&client, "include=.total;question.body");
    let posted = client.post(
        "/filters/create",
        "include=question.body%3B.total&unsafe=false",
    );
    assert_eq!(posted.items()[0]["filter"], id);
    assert_eq!(posted.items()[0]["filter_type"], "safe");
    let included = posted.items()[0]["included_fields"].clone();
    assert!(included.as_array().unwrap().contains(&json!(".total")));
    let unlike = created(&client, "include=.total;question.body&unsafe=true");
    assert_ne!(unlike, id);
    // Another server, as after a restart.
    let (_other, client) = start();
    let got = client.get(&format!("{QUESTIONS}&filter={id}")).json();
    assert_eq!(got["total"], 100);
}

#[test]
fn what_is_no_filter_is_a_bad_parameter() {
    let (_api, client) = start();
    for query in [
        "include=question.titel",
        "base=!abc",
        "unsafe=perhaps",
        "exclude=title",
    ] {
        let got = client.get(&format!("/filters/create?{query}"));
        assert_eq!((got.status, got.error().0), (400, 400), "{query}");
    }
    let got = client.get(&format!("{QUESTIONS}&filter=!nothing"));
    assert_eq!(got.error(), (400, "Invalid filter specified".to_owned()));
}

#[test]
fn safe_texts_are_encoded_and_unsafe_ones_are_not_and_html_is_html_in_both() {
    let (api, client) = start();
    let truth = api.site("stackoverflow").truth(Kind::Questions);
    let of = |items: &[Value], truth: &Value| {
        let same = |item: &&Value| item["question_id"] == truth["question_id"];
        items.iter().find(same).unwrap().clone()
    };
    let safe = client.items(&format!("{QUESTIONS}&filter=withbody"));
    let filter = created(&client, "base=withbody&unsafe=true");
    let raw = client.items(&format!("{QUESTIONS}&filter={filter}"));
    let mut odd = 0;
    for row in &truth {
        let (safe, raw) = (of(&safe, row), of(&raw, row));
        assert_eq!(raw["title"], row["title"]);
        assert_eq!((&safe["body"], &raw["body"]), (&row["body"], &row["body"]));
        assert!(row["body"].as_str().unwrap().contains("&amp;"));
        let encoded = safe["title"].as_str().unwrap();
        assert!(!encoded.contains(['<', '>', '"', '\'']), "{encoded}");
        odd += u32::from(safe["title"] != raw["title"]);
    }
    assert!((1..40).contains(&odd), "{odd} of 100 titles are odd");
    let names = |rows: &[Value]| {
        let names = rows
            .iter()
            .filter_map(|row| row["owner"]["display_name"].as_str());
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert!(
        names(&raw)
            .iter()
            .any(|name| name.contains("ø") || name.contains("ñ"))
    );
    assert!(
        names(&safe)
            .iter()
            .any(|name| name.contains("&#248;") || name.contains("&#241;"))
    );
}

#[test]
fn comments_and_answers_come_in_their_posts_by_a_filter() {
    let (_api, client) = start();
    let query = "include=question.answers;question.comments;answer.comments;comment.body";
    let filter = created(&client, query);
    let items = client.items(&format!("{QUESTIONS}&filter={filter}"));
    let answered = items.iter().find(|item| item["answer_count"] != 0).unwrap();
    assert_eq!(
        answered["answers"][0]["question_id"],
        answered["question_id"]
    );
    let unanswered = items.iter().find(|item| item["answer_count"] == 0).unwrap();
    assert!(!names(unanswered).contains("answers"));
    let commented = items
        .iter()
        .find(|item| item.get("comments").is_some())
        .unwrap();
    assert!(commented["comments"][0]["body"].is_string());
}
