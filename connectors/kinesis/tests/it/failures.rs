//! Throttling, expired iterators, servers that fail.

use serde_json::json;
use tidegate_core::ErrorKind;
use tidegate_testkit::servers::{Fault, Faults, Reply, Request};

use crate::site::{Site, assert_all, read_all};

fn calls(request: &Request, operation: &str) -> bool {
    request.target().ends_with(&format!(".{operation}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_requests_are_made_again() {
    let site = Site::with_shards(3).await;
    site.put_numbers(0..300, 10).await;
    let mut count = 0;
    site.proxy.reply(move |request| {
        count += 1;
        let code = match count % 3 {
            0 => return None,
            1 if calls(request, "GetRecords") => "ProvisionedThroughputExceededException",
            _ if calls(request, "GetRecords") => "KMSThrottlingException",
            1 => "LimitExceededException",
            _ => return None,
        };
        Some(Reply::json_error(400, code, "slowly"))
    });
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let rows = read_all(source.as_ref()).await.unwrap();
    assert_all(&rows, 0..300);
    assert!(site.retries() >= 4, "{}", site.retries());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_iterators_are_opened_again_at_the_position() {
    let site = Site::with_shards(2).await;
    site.put_numbers(0..100, 10).await;
    let mut count = 0;
    site.proxy.reply(move |request| {
        if !calls(request, "GetRecords") {
            return None;
        }
        count += 1;
        let message = "Iterator expired.";
        (count % 2 == 1).then(|| Reply::json_error(400, "ExpiredIteratorException", message))
    });
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let rows = read_all(source.as_ref()).await.unwrap();
    assert_all(&rows, 0..100);
    let opened = site.proxy.seen();
    let opened = opened
        .iter()
        .filter(|seen| calls(&seen.request, "GetShardIterator"));
    assert_eq!(opened.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_costs_no_record() {
    let site = Site::with_shards(2).await;
    site.put_numbers(0..100, 10).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    for seed in 0..5 {
        let kinds = [Fault::ResetBefore, Fault::ResetAfter, Fault::Cut];
        site.proxy.fail(Faults::some(0.3, seed).of(&kinds));
        let rows = read_all(source.as_ref()).await.unwrap();
        assert_all(&rows, 0..100);
    }
    assert!(site.proxy.failures() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_doesn_t_go_away_is_told() {
    let site = Site::with_shards(1).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    for (code, kind) in [
        ("AccessDeniedException", ErrorKind::Auth),
        ("KMSAccessDeniedException", ErrorKind::Auth),
    ] {
        site.proxy.reply(move |request| {
            calls(request, "GetRecords").then(|| Reply::json_error(400, code, "no"))
        });
        let error = read_all(source.as_ref()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error:?}");
    }
}
