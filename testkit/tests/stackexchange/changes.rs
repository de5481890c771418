//! Data that changes while it is read.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::servers::{Kind, Rules, Site, StackExchange};

use crate::client::Client;

fn start(rules: Rules) -> (StackExchange, Site, Client) {
    let api = StackExchange::start(
        rules
            .repeat_window(Duration::ZERO)
            .requests_per_second(1_000),
    );
    let site = api.site("stackoverflow");
    site.questions(120, Duration::from_secs(86_400), 1);
    let client = Client::new(&api);
    (api, site, client)
}

fn latest(client: &Client, kind: Kind) -> Value {
    let sort = match kind {
        Kind::Questions | Kind::Answers => "activity",
        Kind::Users => "modified",
        _ => "creation",
    };
    let method = kind.method();
    let url = format!("/{method}?site=stackoverflow&sort={sort}&pagesize=1");
    client.items(&url).remove(0)
}

fn row(site: &Site, kind: Kind, id: i64) -> Value {
    let rows = site.truth(kind).into_iter();
    rows.into_iter().find(|row| row[kind.key()] == id).unwrap()
}

#[test]
fn an_edit_moves_a_question_to_now() {
    let (api, site, client) = start(Rules::default());
    let id = site.ids(Kind::Questions)[17];
    let before = row(&site, Kind::Questions, id);
    api.advance(Duration::from_secs(1_000));
    let at = api.now().timestamp();
    assert!(site.edit(id));
    let after = latest(&client, Kind::Questions);
    assert_eq!(after["question_id"], id);
    assert_ne!(after["title"], before["title"]);
    assert_eq!(after["last_activity_date"], after["last_edit_date"]);
    assert!(after["last_edit_date"].as_i64().unwrap() >= at);
    assert_eq!(after["creation_date"], before["creation_date"]);
    assert!(!site.edit(1));
}

#[test]
fn what_is_added_is_found_at_once_and_what_is_deleted_nowhere() {
    let (api, site, client) = start(Rules::default());
    api.advance(Duration::from_secs(10));
    let id = site.add_question();
    assert_eq!(latest(&client, Kind::Questions)["question_id"], id);
    api.advance(Duration::from_secs(10));
    let old = site.ids(Kind::Questions)[3];
    let answer = site.answer(old).unwrap();
    assert_eq!(latest(&client, Kind::Questions)["question_id"], old);
    assert_eq!(latest(&client, Kind::Answers)["answer_id"], answer);
    api.advance(Duration::from_secs(10));
    let comment = site.comment(answer).unwrap();
    let found = latest(&client, Kind::Comments);
    assert_eq!(
        (&found["comment_id"], &found["post_type"]),
        (&comment.into(), &"answer".into())
    );
    let user = site.ids(Kind::Users)[2];
    assert!(site.edit_user(user));
    assert_eq!(latest(&client, Kind::Users)["user_id"], user);
    assert!(site.edit_answer(answer));
    let counts = || Kind::ALL.map(|kind| site.truth(kind).len());
    let before = counts();
    assert!(site.delete(old));
    let after = counts();
    assert_eq!(after[0], before[0] - 1);
    assert!(after[1] < before[1] && after[4] < before[4]);
    assert!(!site.delete(old));
    let own = row(&site, Kind::Questions, id)["owner"]["user_id"].as_i64();
    if let Some(own) = own {
        assert!(site.delete_user(own));
        let owner = row(&site, Kind::Questions, id)["owner"].clone();
        assert_eq!(owner["user_type"], "does_not_exist");
        assert_eq!(owner.get("user_id"), None);
    }
}

#[test]
fn changes_between_two_pages_shift_them() {
    let (api, site, client) = start(Rules::default());
    let ids = site.ids(Kind::Questions);
    let changing = site.clone();
    api.on_request(move |request| {
        if request.number == 1 {
            // From the first page, so that the second begins one row later than it would have.
            let first = changing.truth(Kind::Questions).into_iter();
            let first = first
                .min_by_key(|row| row["last_activity_date"].as_i64())
                .unwrap();
            changing.delete(first["question_id"].as_i64().unwrap());
        }
    });
    let mut found = Vec::new();
    for page in 1..=2 {
        let url = format!("/questions?site=stackoverflow&order=asc&pagesize=100&page={page}");
        found.extend(
            client
                .items(&url)
                .iter()
                .map(|row| row["question_id"].as_i64().unwrap()),
        );
    }
    found.sort_unstable();
    found.dedup();
    // A client that pages by number loses a row that is still there.
    assert_eq!(found.len(), ids.len() - 1);
    let lost: Vec<_> = site
        .ids(Kind::Questions)
        .into_iter()
        .filter(|id| !found.contains(id))
        .collect();
    assert_eq!(lost.len(), 1);
}

#[test]
fn answers_may_be_late() {
    let (api, site, client) = start(Rules::default().answers_late(Duration::from_secs(60)));
    assert_eq!(client.items("/questions?site=stackoverflow").len(), 30);
    let id = site.add_question();
    assert_ne!(latest(&client, Kind::Questions)["question_id"], id);
    assert_eq!(site.ids(Kind::Questions).last(), Some(&id));
    let made = api.now().timestamp();
    api.advance(Duration::from_secs(60));
    let seen = latest(&client, Kind::Questions);
    assert_eq!(seen["question_id"], id);
    // With the time at which it was made, before others that were seen then.
    assert!(seen["last_activity_date"].as_i64().unwrap() <= made);
    assert!(site.delete(id));
    assert_eq!(latest(&client, Kind::Questions)["question_id"], id);
    api.advance(Duration::from_secs(60));
    assert_ne!(latest(&client, Kind::Questions)["question_id"], id);
}

#[test]
fn changes_go_on_in_the_background_until_they_are_stopped() {
    let (_api, site, client) = start(Rules::default());
    let before = site.truth(Kind::Questions);
    let changes = site.changes_in_background(1_000, 4);
    let deadline = Instant::now() + Duration::from_secs(20);
    while changes.made() < 200 {
        assert!(Instant::now() < deadline, "only {} changes", changes.made());
        assert_eq!(client.get("/questions?site=stackoverflow").status, 200);
        sleep(Duration::from_millis(1));
    }
    changes.stop();
    let after = site.truth(Kind::Questions);
    assert_ne!(before, after);
    assert_eq!(after, site.truth(Kind::Questions));
    let ids: Vec<_> = after
        .iter()
        .map(|row| row["question_id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, site.ids(Kind::Questions));
    let asked = ids
        .iter()
        .filter(|id| !before.iter().any(|row| row["question_id"] == **id));
    assert!(asked.count() > 0);
}
