//! Records and shards that have expired before they were read.

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tidegate_core::{ErrorKind, Offset};
use tidegate_testkit::servers::Reply;

use crate::site::{Site, assert_all, plan, read};

/// A position that was reached this many hours ago.
fn position(sequence: Option<&str>, hours: i64) -> Offset {
    let at = Utc::now() - TimeDelta::hours(hours);
    Offset::encode(&json!({ "sequence": sequence, "at": at.timestamp_millis() })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_expired_unread_are_told() {
    let site = Site::with_shards(1).await;
    let first = site.put(&[("k0", b"k0:0")]).await.remove(0).1;
    site.put_numbers(1..10, 3).await;
    // No record has this number: as if it had expired.
    let shards = site.shards().await;
    let before = shards[0].sequence_number_range.clone().unwrap();
    let before = before.starting_sequence_number;
    for (on_loss, lost) in [("fail", true), ("warn", false)] {
        let source = site.open(json!({ "until": "now", "on_loss": on_loss }));
        let source = source.await.unwrap();
        let split = plan(source.as_ref(), None, &[], true).await.unwrap();
        let split = &split.new[0];
        // The last record is still there, so is what came after it.
        let resume = position(Some(&first), 1000);
        let rest = read(source.as_ref(), split, Some(&resume)).await.unwrap();
        let rows: Vec<_> = rest.into_iter().flat_map(|(rows, _)| rows).collect();
        assert_all(&rows, 1..10);
        // It isn't there, but nothing that came later can have expired.
        let resume = position(Some(&before), 23);
        let rest = read(source.as_ref(), split, Some(&resume)).await.unwrap();
        let rows: Vec<_> = rest.into_iter().flat_map(|(rows, _)| rows).collect();
        assert_all(&rows, 0..10);
        for sequence in [Some(before.as_str()), None] {
            let resume = position(sequence, 25);
            match read(source.as_ref(), split, Some(&resume)).await {
                Ok(rest) => {
                    assert!(!lost);
                    let rows: Vec<_> = rest.into_iter().flat_map(|(rows, _)| rows).collect();
                    assert_all(&rows, 0..10);
                }
                Err(error) => {
                    assert!(lost, "{error:?}");
                    assert_eq!(error.kind(), ErrorKind::Data);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_expired_unread_is_told() {
    let site = Site::with_shards(1).await;
    let last = site.put(&[("k0", b"k0:0")]).await.remove(0).1;
    for (on_loss, lost) in [("fail", true), ("warn", false)] {
        site.proxy.calm();
        let source = site.open(json!({ "until": "now", "on_loss": on_loss }));
        let source = source.await.unwrap();
        let first = plan(source.as_ref(), None, &[], true).await.unwrap();
        site.proxy.reply(|request| match request.target() {
            target if target.ends_with(".GetShardIterator") => Some(Reply::json_error(
                400,
                "ResourceNotFoundException",
                "Shard shardId-000000000000 does not exist",
            )),
            target if target.ends_with(".ListShards") => Some(Reply {
                status: 200,
                headers: vec![("Content-Type".into(), "application/x-amz-json-1.1".into())],
                body: json!({ "Shards": [] }).to_string(),
            }),
            _ => None,
        });
        let resume = position(Some(&last), 30);
        let rest = read(source.as_ref(), &first.new[0], Some(&resume)).await;
        // And where a run that had an end has left it.
        let next = plan(source.as_ref(), Some(&first.state), &[], true).await;
        if lost {
            assert_eq!(rest.unwrap_err().kind(), ErrorKind::Data);
            assert_eq!(next.unwrap_err().kind(), ErrorKind::Data);
        } else {
            let rest = rest.unwrap();
            assert!(rest.iter().all(|(rows, _)| rows.is_empty()));
            let end = rest.last().unwrap().1.clone().unwrap();
            assert_eq!(serde_json::to_value(end).unwrap()["end"], true);
            assert!(next.unwrap().new.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_is_another_one() {
    let site = Site::with_shards(1).await;
    site.put_numbers(0..10, 3).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let first = plan(source.as_ref(), None, &[], true).await.unwrap();
    let request = site.client.delete_stream().stream_name("clicks");
    request.send().await.unwrap();
    let gone = async {
        let request = || site.client.describe_stream_summary().stream_name("clicks");
        while request().send().await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone)
        .await
        .unwrap();
    // Its creation is told in seconds.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    site.make(1).await;
    let source = site.open(json!({ "until": "now" })).await.unwrap();
    let error = plan(source.as_ref(), Some(&first.state), &[], true).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
    let error = read(source.as_ref(), &first.new[0], None).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
}
