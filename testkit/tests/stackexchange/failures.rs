//! Answers that go wrong when a test wants them to, and how bodies are packed.

use std::time::Duration;

use tidegate_testkit::servers::{
    Broken, Failure, Fault, Faults, Kind, Packing, Proxy, Rules, StackExchange,
};

use crate::client::Client;

fn start(rules: Rules) -> (StackExchange, Client) {
    let api = StackExchange::start(rules);
    api.site("stackoverflow")
        .questions(40, Duration::from_secs(86_400), 1);
    let client = Client::new(&api);
    (api, client)
}

fn page(number: usize) -> String {
    format!("/questions?site=stackoverflow&pagesize=5&page={number}")
}

#[test]
fn every_error_is_http_400_with_its_id_and_name() {
    let (api, client) = start(Rules::default());
    let names = [
        (400, "bad_parameter"),
        (401, "access_token_required"),
        (402, "invalid_access_token"),
        (403, "access_denied"),
        (404, "no_method"),
        (405, "key_required"),
        (406, "access_token_compromised"),
        (407, "write_failed"),
        (409, "duplicate_request"),
        (500, "internal_error"),
        (502, "throttle_violation"),
        (503, "temporarily_unavailable"),
    ];
    for (id, name) in names {
        api.fail_next([Failure::Error(id)]);
        for got in [client.get(&page(1)), client.get(&format!("/errors/{id}"))] {
            assert_eq!(got.status, 400);
            assert_eq!(got.json()["error_id"], id);
            assert_eq!(got.json()["error_name"], name);
        }
    }
    let said = "too many requests from this IP, more requests available in 90 seconds";
    api.fail_next([Failure::Said(502, said.to_owned())]);
    assert_eq!(client.get(&page(1)).error(), (502, said.to_owned()));
    assert_eq!(client.items("/errors").len(), names.len());
    let ids = api.requests().into_iter().filter_map(|seen| seen.error_id);
    assert_eq!(ids.count(), 2 * names.len() + 1);
    assert_eq!(api.violations(), []);
}

#[test]
fn answers_go_wrong_as_they_are_told_to() {
    let (api, client) = start(Rules::default());
    let first = client.items(&page(1));
    api.fail_next([
        Failure::ErrorWith200(500),
        Failure::Html,
        Failure::NotJson,
        Failure::Cut,
        Failure::Dropped,
        Failure::Repeated,
    ]);
    let error = client.get(&page(2));
    assert_eq!((error.status, error.error().0), (200, 500));
    let html = client.get(&page(2));
    assert_eq!(html.status, 503);
    assert!(html.text().starts_with("<html>"));
    let not_json = client.get(&page(2));
    assert_eq!(not_json.status, 200);
    assert!(serde_json::from_str::<serde_json::Value>(&not_json.text()).is_err());
    assert!(client.try_get(&page(2)).is_err());
    assert!(client.try_get(&page(3)).is_err());
    // The last rows that were sent, as far as the server knows, are those that were cut.
    let repeated = client.get(&page(4)).json();
    assert_eq!(repeated["has_more"], true);
    assert_ne!(repeated["items"], serde_json::Value::from(first));
    assert_eq!(repeated["items"].as_array().unwrap().len(), 5);
    let failures: Vec<_> = api
        .requests()
        .into_iter()
        .map(|seen| seen.failure)
        .collect();
    assert_eq!(failures[0], None);
    assert_eq!(failures[4], Some(Failure::Cut));
    assert_eq!(api.violations(), []);
}

#[test]
fn chosen_requests_fail() {
    let (api, client) = start(Rules::default());
    api.fail_when(|request| {
        let second = request.query.get("page").is_some_and(|page| page == "2");
        second.then_some(Failure::Error(500))
    });
    let statuses: Vec<_> = (1..=3)
        .map(|number| client.get(&page(number)).status)
        .collect();
    assert_eq!(statuses, [200, 400, 200]);
}

#[test]
fn a_repeated_page_is_that_of_the_request_before() {
    let (api, client) = start(Rules::default());
    let first = client.items(&page(1));
    api.fail_next([Failure::Repeated]);
    assert_eq!(client.items(&page(2)), first);
    assert_ne!(client.items(&page(3)), first);
}

#[test]
fn bodies_are_packed_though_nobody_asked_for_it() {
    let gzip = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b]);
    let (_api, client) = start(Rules::default());
    let got = client.get(&page(1));
    assert!(gzip(&got.bytes));
    assert_eq!(got.encoding.as_deref(), Some("gzip"));
    // Found before a method was called.
    let early = client.get("/questions");
    assert!(!gzip(&early.bytes) && early.encoding.is_none());

    let (_api, client) = start(Rules::default().packing(Packing::GzipWithoutHeader));
    let got = client.get(&page(1));
    assert!(gzip(&got.bytes) && got.encoding.is_none());

    let (_api, client) = start(Rules::default().packing(Packing::Plain));
    let got = client.get(&page(1));
    assert!(!gzip(&got.bytes) && got.encoding.is_none());
    assert_eq!(got.items().len(), 5);
}

#[test]
fn a_proxy_can_stand_before_it() {
    let (api, client) = start(Rules::default());
    let proxy = Proxy::before(&api.origin());
    proxy.fail(Faults::some(1.0, 1).of(&[Fault::ResetAfter]));
    let through = Client::at(&format!("{}/2.3", proxy.url()));
    assert!(through.try_get(&page(1)).is_err());
    // It was answered, as far as the server knows.
    assert_eq!(api.requests().len(), 1);
    client.get(&page(1));
    assert_eq!(api.violations()[0].rule, Broken::Repeat);
}

#[test]
fn the_date_is_the_servers() {
    let (api, client) = start(Rules::default());
    api.advance(Duration::from_secs(1_000_000));
    let before = api.now().timestamp();
    let date = client.get(&page(1)).date;
    let date = chrono::DateTime::parse_from_rfc2822(&date)
        .unwrap()
        .timestamp();
    assert!((before..=api.now().timestamp()).contains(&date));
}

#[test]
fn it_ends_when_it_is_dropped_whatever_its_functions_hold() {
    let (api, client) = start(Rules::default());
    let site = api.site("stackoverflow");
    api.on_request(move |_| {
        site.add_question();
    });
    assert_eq!(client.get(&page(1)).status, 200);
    let others = api.site("stackoverflow");
    assert_eq!(others.ids(Kind::Questions).len(), 41);
    drop(api);
    assert!(client.try_get(&page(2)).is_err());
}
