//! Which rows come, in which order.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tidegate_testkit::servers::{Kind, Rules, Site, StackExchange};

use crate::client::Client;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn start(questions: usize) -> (StackExchange, Site, Client) {
    let api = StackExchange::start(Rules::default().requests_per_second(10_000).quota(100_000));
    let site = api.site("stackoverflow");
    site.questions(questions, MONTH, 1);
    let client = Client::new(&api);
    (api, site, client)
}

fn numbers(items: &[Value], field: &str) -> Vec<i64> {
    items
        .iter()
        .map(|item| item[field].as_i64().unwrap())
        .collect()
}

#[test]
fn fifty_thousand_questions_are_read_page_by_page() {
    let (api, site, client) = start(50_000);
    let mut ids = BTreeSet::new();
    let mut last = 0;
    for page in 1.. {
        let url = format!(
            "/questions?site=stackoverflow&key=a-key&sort=activity&order=asc&pagesize=100&page={page}"
        );
        let json = client.get(&url).json();
        let items = json["items"].as_array().unwrap();
        for active in numbers(items, "last_activity_date") {
            assert!(active >= last);
            last = active;
        }
        ids.extend(numbers(items, "question_id"));
        if json["has_more"] == false {
            assert_eq!(page, 500);
            break;
        }
        assert_eq!(items.len(), 100);
    }
    assert_eq!(
        ids.into_iter().collect::<Vec<_>>(),
        site.ids(Kind::Questions)
    );
    assert_eq!(api.violations(), []);
    assert_eq!((api.requests().len(), api.quota_used()), (500, 500));
}

#[test]
fn every_sort_of_every_method_goes_both_ways_within_its_bounds() {
    let (api, site, client) = start(300);
    let questions = site.ids(Kind::Questions);
    for question in &questions[..5] {
        site.comment(*question).unwrap();
    }
    for (kind, sort, field) in [
        (Kind::Questions, "activity", "last_activity_date"),
        (Kind::Questions, "creation", "creation_date"),
        (Kind::Questions, "votes", "score"),
        (Kind::Answers, "activity", "last_activity_date"),
        (Kind::Answers, "creation", "creation_date"),
        (Kind::Answers, "votes", "score"),
        (Kind::Users, "reputation", "reputation"),
        (Kind::Users, "creation", "creation_date"),
        (Kind::Users, "modified", "last_modified_date"),
        (Kind::Tags, "popular", "count"),
        (Kind::Comments, "creation", "creation_date"),
        (Kind::Comments, "votes", "score"),
    ] {
        let url = |order: &str, rest: &str| {
            let method = kind.method();
            format!("/{method}?site=stackoverflow&sort={sort}&order={order}&pagesize=100{rest}")
        };
        let up = numbers(&client.items(&url("asc", "")), field);
        let down = numbers(&client.items(&url("desc", "")), field);
        assert!(
            up.is_sorted() && down.is_sorted_by(|a, b| a >= b),
            "{kind:?} by {sort}"
        );
        let (min, max) = (up[5], up[20]);
        let within = client.items(&url("asc", &format!("&min={min}&max={max}")));
        let found = numbers(&within, field);
        assert!(found.iter().all(|value| (min..=max).contains(value)));
        // Both are included.
        assert_eq!((found.first(), found.last()), (Some(&min), Some(&max)));
    }
    for kind in [Kind::Users, Kind::Tags] {
        let method = kind.method();
        let field = if kind == Kind::Tags {
            "name"
        } else {
            "display_name"
        };
        let url = format!(
            "/{method}?site=stackoverflow&sort=name&order=asc&pagesize=100&filter=default&min=b&max=M"
        );
        let names: Vec<String> = client
            .items(&url)
            .iter()
            .map(|item| item[field].as_str().unwrap().to_lowercase())
            .collect();
        assert!(!names.is_empty() && names.is_sorted());
        let within = |name: &String| ("b".."m").contains(&name.as_str());
        assert!(names.iter().all(within), "{names:?}");
    }
    assert_eq!(api.violations(), []);
}

#[test]
fn defaults_are_those_documented() {
    let (_api, site, client) = start(100);
    let items = client.items("/questions?site=stackoverflow");
    assert_eq!(items.len(), 30);
    let mut active: Vec<i64> = numbers(&site.truth(Kind::Questions), "last_activity_date");
    active.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(numbers(&items, "last_activity_date"), active[..30]);
    let none = client
        .get("/questions?site=stackoverflow&pagesize=0")
        .json();
    assert_eq!(none["items"], Value::from(Vec::<Value>::new()));
    let beyond = client.get("/questions?site=stackoverflow&page=20").json();
    assert_eq!(beyond["items"], Value::from(Vec::<Value>::new()));
    assert_eq!(beyond["has_more"], false);
}

#[test]
fn wrong_parameters_are_told() {
    let (api, _site, client) = start(10);
    for (rest, id, message) in [
        ("/questions", 400, "site is required"),
        (
            "/questions?site=overstack",
            400,
            "No site found for name `overstack`",
        ),
        ("/questions?site=stackoverflow&page=0", 400, "page"),
        ("/questions?site=stackoverflow&page=x", 400, "page"),
        (
            "/questions?site=stackoverflow&pagesize=101",
            400,
            "pagesize",
        ),
        ("/questions?site=stackoverflow&pagesize=-1", 400, "pagesize"),
        ("/questions?site=stackoverflow&sort=name", 400, "sort"),
        ("/questions?site=stackoverflow&order=up", 400, "order"),
        ("/questions?site=stackoverflow&min=2024-01-01", 400, "min"),
        (
            "/questions?site=stackoverflow&filter=mine",
            400,
            "Invalid filter specified",
        ),
        (
            "/questions?site=stackoverflow&key=wrong",
            400,
            "`key` doesn't match a known application",
        ),
        (
            "/questions?site=stackoverflow&access_token=a-token",
            405,
            "`key` is required when `access_token` is passed",
        ),
        (
            "/questions?site=stackoverflow&key=a-key&access_token=x",
            402,
            "`access_token` is not valid",
        ),
        (
            "/posters?site=stackoverflow",
            404,
            "no method found with this name",
        ),
        ("/questions/12;x?site=stackoverflow", 400, "ids"),
        (
            "/questions?site=stackoverflow&page=26",
            403,
            "page above 25 requires access token or app key",
        ),
    ] {
        let got = client.get(rest);
        assert_eq!(got.status, 400, "{rest}");
        assert_eq!(got.error(), (id, message.to_owned()), "{rest}");
    }
    let versionless = Client::at(&api.origin()).get("/questions?site=stackoverflow");
    assert_eq!(versionless.error().0, 404);
    // Unknown parameters are ignored, and so is what is empty.
    let got = client.get("/questions?site=stackoverflow&mni=3&order=&tagged=");
    assert_eq!(got.items().len(), 10);
    let deep = client.get("/questions?site=stackoverflow&page=26&key=a-key");
    assert_eq!(deep.status, 200);
    assert_eq!(api.violations(), []);
}

#[test]
fn tags_are_all_wanted_and_never_more_than_five() {
    let (_api, site, client) = start(400);
    let both = client.items("/questions?site=stackoverflow&tagged=python;C%23&pagesize=100");
    let truth = site.truth(Kind::Questions);
    let has = |row: &&Value, tag: &str| row["tags"].as_array().unwrap().contains(&tag.into());
    let expected = truth
        .iter()
        .filter(|row| has(row, "python") && has(row, "c#"))
        .count();
    assert!(expected > 0);
    assert_eq!(both.len(), expected);
    let six = "python;c%23;java;php;html;android";
    let six = client.items(&format!("/questions?site=stackoverflow&tagged={six}"));
    assert_eq!(six.len(), 0);
}

#[test]
fn dates_filter_by_creation_whatever_the_sort() {
    let (_api, site, client) = start(200);
    let mut asked = numbers(&site.truth(Kind::Questions), "creation_date");
    asked.sort_unstable();
    let (from, to) = (asked[20], asked[60]);
    let url = format!(
        "/questions?site=stackoverflow&sort=activity&fromdate={from}&todate={to}&pagesize=100"
    );
    let mut found = numbers(&client.items(&url), "creation_date");
    found.sort_unstable();
    let expected: Vec<i64> = asked
        .into_iter()
        .filter(|at| (from..=to).contains(at))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_second_can_hold_more_than_a_page() {
    let (api, site, client) = start(50);
    let second = api.now() - TimeDelta::hours(1);
    site.questions_at(second, 250);
    let at = second.timestamp();
    let mut ids = BTreeSet::new();
    for page in 1..=3 {
        let url = format!(
            "/questions?site=stackoverflow&sort=activity&min={at}&max={at}&pagesize=100&page={page}"
        );
        let items = client.items(&url);
        let page = numbers(&items, "question_id");
        // No field tells their order.
        assert!(!page.is_sorted() && !page.is_sorted_by(|a, b| a >= b));
        ids.extend(page);
    }
    assert_eq!(ids.len(), 250);
}

#[test]
fn rows_are_found_by_their_ids() {
    let (_api, site, client) = start(50);
    let ids = site.ids(Kind::Answers);
    let url = format!(
        "/answers/{};{};{}?site=stackoverflow",
        ids[3], ids[9], ids[3]
    );
    let mut found = numbers(&client.items(&url), "answer_id");
    found.sort_unstable();
    assert_eq!(found, [ids[3], ids[9]]);
    let tags = client.items("/tags/python;java/info?site=stackoverflow");
    assert_eq!(tags.len(), 2);
}
