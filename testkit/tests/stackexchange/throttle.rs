//! Rate, repeats, backoff and quota.

use std::io::Read as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tidegate_testkit::servers::{Broken, Failure, Rules, StackExchange};

use crate::client::{Client, send};

fn start(rules: Rules) -> (StackExchange, Client) {
    let api = StackExchange::start(rules);
    api.site("stackoverflow")
        .questions(40, Duration::from_secs(86_400), 1);
    let client = Client::new(&api);
    (api, client)
}

/// A different question each time.
fn page(number: usize) -> String {
    format!("/questions?site=stackoverflow&pagesize=1&page={number}")
}

fn broken(api: &StackExchange) -> Vec<Broken> {
    api.violations()
        .into_iter()
        .map(|violation| violation.rule)
        .collect()
}

#[test]
fn more_than_thirty_requests_in_a_second_get_undefined_answers_for_a_while() {
    let (api, client) = start(Rules::default().requests_per_second(5));
    api.stop_clock();
    let mut answers: Vec<_> = (1..=12)
        .map(|number| client.try_get(&page(number)))
        .collect();
    assert!(
        answers[..5]
            .iter()
            .all(|answer| answer.as_ref().unwrap().status == 200)
    );
    let undefined = answers.split_off(5);
    for answer in undefined.into_iter().flatten() {
        assert!(matches!(answer.status, 429 | 503), "{}", answer.status);
    }
    assert_eq!(broken(&api), [Broken::Rate]);
    assert_eq!(api.quota_used(), 5);
    api.advance(Duration::from_millis(29_999));
    let banned = client.try_get(&page(13));
    assert!(banned.is_err() || banned.unwrap().status != 200);
    api.advance(Duration::from_millis(1));
    assert_eq!(client.get(&page(13)).status, 200);
}

#[test]
fn undefined_answers_are_of_every_kind() {
    let (api, client) = start(Rules::default().requests_per_second(0));
    let mut statuses: Vec<u16> = (1..=30)
        .map(|number| client.try_get(&page(number)).map_or(0, |got| got.status))
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [0, 429, 503]);
    assert_eq!(broken(&api), [Broken::Rate]);
}

#[test]
fn the_same_question_within_a_minute_is_a_violation_and_gets_the_same_rows() {
    let (api, client) = start(Rules::default());
    let site = api.site("stackoverflow");
    let first = client.items("/questions?site=stackoverflow&order=desc");
    site.add_question();
    // The same in other words.
    let again = client.items("/questions?page=1&sort=activity&site=stackoverflow&key=a-key");
    assert_eq!(first, again);
    assert_eq!(broken(&api), [Broken::Repeat]);
    api.advance(Duration::from_secs(60));
    let later = client.items("/questions?site=stackoverflow");
    assert_ne!(first, later);
    assert_eq!(broken(&api), [Broken::Repeat]);
}

#[test]
fn ids_are_a_set_without_an_order() {
    let (api, client) = start(Rules::default());
    client.get("/questions/1;2?site=stackoverflow");
    client.get("/questions/1;3?site=stackoverflow");
    assert_eq!(broken(&api), []);
    client.get("/questions/2;1?site=stackoverflow");
    assert_eq!(broken(&api), [Broken::Repeat]);
}

#[test]
fn a_backoff_that_is_ignored_is_a_violation_of_its_method_alone() {
    let (api, client) = start(Rules::default().backoff(1, 10..=10));
    let json = client.get(&page(1)).json();
    assert_eq!(json["backoff"], 10);
    // It came with rows.
    assert_eq!(json["items"].as_array().unwrap().len(), 1);
    assert_eq!(client.get("/tags?site=stackoverflow").status, 200);
    assert_eq!(broken(&api), []);
    let refused = client.get(&page(2));
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.error(),
        (502, "Violation of backoff parameter".to_owned())
    );
    assert_eq!(broken(&api), [Broken::Backoff]);
    api.advance(Duration::from_secs(11));
    assert_eq!(client.get(&page(2)).status, 200);
    assert_eq!(broken(&api), [Broken::Backoff]);
    assert_eq!(api.requests()[0].backoff, Some(10));
}

#[test]
fn a_client_that_waits_not_a_moment_longer_than_it_was_told_is_early() {
    let (api, client) = start(Rules::default().backoff(1, 10..=10));
    api.stop_clock();
    assert_eq!(client.get(&page(1)).status, 200);
    api.advance(Duration::from_secs(10));
    assert_eq!(client.get(&page(2)).error().0, 502);
    api.advance(Duration::from_millis(100));
    assert_eq!(client.get(&page(3)).status, 200);
    assert_eq!(broken(&api), [Broken::Backoff]);
}

#[test]
fn backoffs_come_by_chance_and_the_same_for_the_same_seed() {
    let asked = |seed| {
        let rules = Rules::default()
            .backoff(4, 1..=5)
            .seed(seed)
            .requests_per_second(1_000);
        let (api, client) = start(rules);
        for number in 1..=25 {
            client.get(&page(number));
            api.advance(Duration::from_secs(6));
        }
        assert_eq!(broken(&api), []);
        let requests = api.requests();
        requests
            .into_iter()
            .map(|seen| seen.backoff)
            .collect::<Vec<_>>()
    };
    let first = asked(1);
    let some = first.iter().flatten().count();
    assert!((1..25).contains(&some), "{first:?}");
    assert_eq!(asked(1), first);
    assert_ne!(asked(2), first);
}

#[test]
fn two_requests_at_once_break_a_backoff_that_is_on_its_way() {
    let latency = Duration::from_millis(400)..=Duration::from_millis(400);
    let (api, _client) = start(Rules::default().backoff(1, 1..=1).latency(latency));
    let at_once = |paths: [&str; 2]| {
        let sent = paths.map(|path| send(&api, path));
        for mut connection in sent {
            connection.read_to_end(&mut Vec::new()).unwrap();
        }
    };
    at_once([&page(1), "/tags?site=stackoverflow"]);
    assert_eq!(broken(&api), []);
    api.advance(Duration::from_secs(2));
    at_once([&page(2), &page(3)]);
    assert_eq!(broken(&api), [Broken::Backoff]);
}

#[test]
fn a_request_counts_though_its_client_has_gone() {
    let latency = Duration::from_millis(50)..=Duration::from_millis(50);
    let (api, client) = start(Rules::default().backoff(1, 60..=60).latency(latency));
    let connection = send(&api, &page(1));
    until(|| api.quota_used() == 1);
    drop(connection);
    until(|| api.requests().len() == 1);
    assert_eq!(client.get(&page(2)).error().0, 502);
    assert_eq!(broken(&api), [Broken::Backoff]);
}

fn until(mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "it is never reached");
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_spent_quota_is_told_and_then_kept_to() {
    let (api, client) = start(Rules::default().quota(3));
    api.stop_clock();
    for (number, left) in [(1, 2), (2, 1), (3, 0)] {
        let json = client.get(&page(number)).json();
        assert_eq!(
            (&json["quota_max"], &json["quota_remaining"]),
            (&3.into(), &left.into())
        );
    }
    assert_eq!(broken(&api), []);
    let refused = client.get(&page(4));
    assert_eq!(refused.status, 400);
    let (id, message) = refused.error();
    assert_eq!(id, 502);
    let seconds = message
        .strip_prefix("too many requests from this IP, more requests available in ")
        .and_then(|rest| rest.strip_suffix(" seconds"))
        .unwrap();
    let seconds: u64 = seconds.parse().unwrap();
    assert_eq!(seconds, 86_400);
    assert_eq!(broken(&api), [Broken::Quota]);
    // A day from the first request, not at midnight.
    api.advance(Duration::from_secs(seconds));
    assert_eq!(client.get(&page(5)).json()["quota_remaining"], 2);
    assert_eq!(broken(&api), [Broken::Quota]);
}

#[test]
fn who_could_not_know_that_the_quota_is_spent_is_told_once() {
    let (api, client) = start(Rules::default().quota(10));
    assert_eq!(client.get(&page(1)).json()["quota_remaining"], 9);
    // Another program on the same machine.
    api.spend(9);
    assert_eq!(client.get(&page(2)).error().0, 502);
    assert_eq!(broken(&api), []);
    assert_eq!(client.get(&page(3)).error().0, 502);
    assert_eq!(broken(&api), [Broken::Quota]);
}

#[test]
fn a_key_raises_the_quota_of_the_address_and_a_token_has_its_own() {
    let (api, client) = start(Rules::default());
    assert_eq!(client.get(&page(1)).json()["quota_max"], 300);
    let json = client.get(&format!("{}&key=a-key", page(2))).json();
    assert_eq!(
        (&json["quota_max"], &json["quota_remaining"]),
        (&10_000.into(), &9_998.into())
    );
    assert_eq!(client.get(&page(3)).json()["quota_max"], 10_000);
    let json = client
        .get(&format!("{}&key=a-key&access_token=a-token", page(4)))
        .json();
    assert_eq!(json["quota_remaining"], 9_999);
    assert_eq!(api.quota_used(), 3);
}

#[test]
fn a_token_sent_over_http_is_dead() {
    let (api, client) = start(Rules::default().tokens_over_http(false));
    let url = format!("{}&key=a-key&access_token=a-token", page(1));
    assert_eq!(client.get(&url).error().0, 406);
    assert_eq!(broken(&api), [Broken::TokenOverHttp]);
}

#[test]
fn errors_may_be_asked_for_again_at_once() {
    let (api, client) = start(Rules::default());
    api.fail_next([Failure::Error(503)]);
    assert_eq!(client.get(&page(1)).error().0, 503);
    assert_eq!(client.get(&page(1)).status, 200);
    assert_eq!(broken(&api), []);
    client.get(&page(1));
    assert_eq!(broken(&api), [Broken::Repeat]);
}
