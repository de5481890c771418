//! Records that are pushed, by ministack: kinesis-local pushes none.

use serde_json::json;
use tidegate_core::{ErrorKind, SourceConfig};
use tidegate_testkit::servers::ministack;

use crate::resharding::{Closed, read_while_resharding};
use crate::site::{Site, assert_all, config, plan, read};

/// A stream with a consumer `reader`.
async fn with_consumer(shards: i32) -> Site {
    let site = Site::on(ministack()).await;
    site.make(shards).await;
    let about = site.client.describe_stream_summary();
    let about = about.stream_name("clicks").send().await.unwrap();
    let arn = about.stream_description_summary.unwrap().stream_arn;
    let request = site.client.register_stream_consumer().stream_arn(arn);
    request.consumer_name("reader").send().await.unwrap();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_pushed_are_read_on_from_any_position() {
    let site = with_consumer(2).await;
    site.put_numbers(0..400, 20).await;
    // The proxy passes on only whole answers, and these have no end.
    let keys = json!({
        "until": "now",
        "mode": "fan_out",
        "consumer": "reader",
        "aws": site.server.settings(),
    });
    let source = site.open(keys.clone()).await.unwrap();
    let mut all = Vec::new();
    for split in plan(source.as_ref(), None, &[], true).await.unwrap().new {
        let whole = read(source.as_ref(), &split, None).await.unwrap();
        let rows: Vec<_> = whole.iter().flat_map(|(rows, _)| rows.clone()).collect();
        let mut before = 0;
        for (rows_of, resume) in &whole {
            before += rows_of.len();
            let later = site.open(keys.clone()).await.unwrap();
            let rest = read(later.as_ref(), &split, resume.as_ref()).await.unwrap();
            let rest: Vec<_> = rest.into_iter().flat_map(|(rows, _)| rows).collect();
            assert_eq!(rest, rows[before..]);
        }
        all.extend(rows);
    }
    assert_all(&all, 0..400);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_keep_their_order_over_splits_and_merges() {
    let site = with_consumer(2).await;
    let keys = json!({
        "mode": "fan_out",
        "consumer": "reader",
        "aws": site.server.settings(),
    });
    let source = site.open(keys).await.unwrap();
    read_while_resharding(&site, source, Closed::Lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_needed_and_has_to_be_there() {
    let site = with_consumer(1).await;
    let keys = json!({ "mode": "fan_out", "consumer": "nobody" });
    let error = site.open(keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    for keys in [
        json!({ "mode": "fan_out" }),
        json!({ "consumer": "reader" }),
    ] {
        let error = config(site.keys(keys)).validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
