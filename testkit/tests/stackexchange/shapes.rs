//! Rows look like those of the real API. What is expected here was read off answers of 2021 and
//! 2023; no row of theirs is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::servers::{Kind, Rules, StackExchange};

use crate::client::Client;

/// Fields that are always there, and those that may be; each with its type.
type Shape = &'static [(&'static str, &'static str, bool)];

const QUESTION: Shape = &[
    ("accepted_answer_id", "int", false),
    ("answer_count", "int", true),
    ("bounty_amount", "int", false),
    ("bounty_closes_date", "int", false),
    ("closed_date", "int", false),
    ("closed_reason", "string", false),
    ("community_owned_date", "int", false),
    ("content_license", "string", false),
    ("creation_date", "int", true),
    ("is_answered", "bool", true),
    ("last_activity_date", "int", true),
    ("last_edit_date", "int", false),
    ("link", "string", true),
    ("locked_date", "int", false),
    ("migrated_from", "object", false),
    ("migrated_to", "object", false),
    ("owner", "object", false),
    ("protected_date", "int", false),
    ("question_id", "int", true),
    ("score", "int", true),
    ("tags", "array", true),
    ("title", "string", true),
    ("view_count", "int", true),
];

const ANSWER: Shape = &[
    ("answer_id", "int", true),
    ("community_owned_date", "int", false),
    ("content_license", "string", true),
    ("creation_date", "int", true),
    ("is_accepted", "bool", true),
    ("last_activity_date", "int", true),
    ("last_edit_date", "int", false),
    ("owner", "object", false),
    ("question_id", "int", true),
    ("score", "int", true),
];

const OWNER: Shape = &[
    ("accept_rate", "int", false),
    ("account_id", "int", false),
    ("display_name", "string", true),
    ("link", "string", false),
    ("profile_image", "string", false),
    ("reputation", "int", false),
    ("user_id", "int", false),
    ("user_type", "string", true),
];

const USER: Shape = &[
    ("accept_rate", "int", false),
    ("account_id", "int", true),
    ("badge_counts", "object", true),
    ("creation_date", "int", true),
    ("display_name", "string", true),
    ("is_employee", "bool", true),
    ("last_access_date", "int", true),
    ("last_modified_date", "int", false),
    ("link", "string", true),
    ("location", "string", false),
    ("profile_image", "string", true),
    ("reputation", "int", true),
    ("reputation_change_day", "int", true),
    ("reputation_change_month", "int", true),
    ("reputation_change_quarter", "int", true),
    ("reputation_change_week", "int", true),
    ("reputation_change_year", "int", true),
    ("user_id", "int", true),
    ("user_type", "string", true),
    ("website_url", "string", false),
];

const TAG: Shape = &[
    ("count", "int", true),
    ("has_synonyms", "bool", true),
    ("is_moderator_only", "bool", true),
    ("is_required", "bool", true),
    ("name", "string", true),
];

const COMMENT: Shape = &[
    ("comment_id", "int", true),
    ("content_license", "string", true),
    ("creation_date", "int", true),
    ("edited", "bool", true),
    ("owner", "object", false),
    ("post_id", "int", true),
    ("post_type", "string", true),
    ("reply_to_user", "object", false),
    ("score", "int", true),
];

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int",
        Value::Number(_) => "float",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Checks all rows; those fields that may be absent must be in some, and not in others.
fn check<'a>(rows: impl IntoIterator<Item = &'a Value>, shape: Shape) {
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        for (field, value) in row.as_object().unwrap() {
            let known = shape.iter().find(|(name, ..)| name == field);
            let (name, kind, _) = known.unwrap_or_else(|| panic!("{field} in {row}"));
            assert_eq!(type_of(value), *kind, "{field} in {row}");
            *seen.entry(name).or_default() += 1;
        }
    }
    for (field, _, always) in shape {
        let seen = seen.get(field).copied().unwrap_or_default();
        assert!(
            if *always {
                seen == count
            } else {
                (1..count).contains(&seen)
            },
            "{field} is in {seen} of {count}"
        );
    }
}

fn all(client: &Client, kind: Kind) -> Vec<Value> {
    let mut items = Vec::new();
    for page in 1.. {
        let method = kind.method();
        let url = format!("/{method}?site=stackoverflow&key=a-key&pagesize=100&page={page}");
        let json = client.get(&url).json();
        items.extend_from_slice(json["items"].as_array().unwrap());
        if json["has_more"] == false {
            break;
        }
    }
    items
}

#[test]
fn rows_have_the_fields_of_the_real_ones() {
    let api = StackExchange::start(Rules::default().requests_per_second(1_000));
    let site = api.site("stackoverflow");
    site.questions(3_000, Duration::from_secs(30 * 86_400), 5);
    let client = Client::new(&api);
    let questions = all(&client, Kind::Questions);
    let answers = all(&client, Kind::Answers);
    let comments = all(&client, Kind::Comments);
    check(&questions, QUESTION);
    check(&answers, ANSWER);
    check(&comments, COMMENT);
    check(&all(&client, Kind::Users), USER);
    check(&all(&client, Kind::Tags), TAG);
    let rows = || questions.iter().chain(&answers).chain(&comments);
    check(rows().filter_map(|row| row.get("owner")), OWNER);
    // Of whom was deleted nothing is left but a name.
    let gone = rows()
        .find(|row| row["owner"]["user_type"] == "does_not_exist")
        .unwrap();
    assert_eq!(gone["owner"].as_object().unwrap().len(), 2);
    // What belongs together fits together.
    let count = |rows: &[Value], field: &str, id: &Value| {
        rows.iter().filter(|row| row[field] == *id).count()
    };
    for question in &questions[..50] {
        let answers = count(&answers, "question_id", &question["question_id"]);
        assert_eq!(question["answer_count"], answers);
    }
    let posts: BTreeSet<_> = questions
        .iter()
        .map(|row| row["question_id"].as_i64())
        .chain(answers.iter().map(|row| row["answer_id"].as_i64()))
        .collect();
    assert_eq!(posts.len(), questions.len() + answers.len());
    assert!(
        comments
            .iter()
            .all(|row| posts.contains(&row["post_id"].as_i64()))
    );
    for tag in site.truth(Kind::Tags) {
        let has = |row: &&Value| row["tags"].as_array().unwrap().contains(&tag["name"]);
        assert_eq!(tag["count"], questions.iter().filter(has).count());
    }
    for row in questions.iter().chain(&answers) {
        let at = |field: &str| row[field].as_i64().unwrap();
        assert!(at("creation_date") <= at("last_activity_date"));
        assert!(at("last_activity_date") < api.now().timestamp());
    }
    assert_eq!(api.violations(), []);
}

#[test]
fn the_same_seed_makes_the_same_rows() {
    let titles = |seed| {
        let api = StackExchange::start(Rules::default());
        let site = api.site("stackoverflow");
        site.questions(200, Duration::from_secs(86_400), seed);
        let rows = site.truth(Kind::Questions).into_iter();
        let of = |row: Value| (row["question_id"].clone(), row["title"].clone());
        rows.map(of).collect::<Vec<_>>()
    };
    assert_eq!(titles(1), titles(1));
    assert_ne!(titles(1), titles(2));
}

#[test]
fn sites_are_listed_and_apart() {
    let api = StackExchange::start(Rules::default());
    api.site("stackoverflow")
        .questions(5, Duration::from_secs(60), 1);
    api.site("dba").questions(9, Duration::from_secs(60), 1);
    let client = Client::new(&api);
    let sites = client.items("/sites");
    assert_eq!(sites.len(), 2);
    assert_eq!(sites[0]["api_site_parameter"], "dba");
    assert_eq!(client.items("/questions?site=dba").len(), 9);
    assert_eq!(client.items("/questions?site=stackoverflow").len(), 5);
}
