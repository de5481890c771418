//! The law of resuming, for any number and size of pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use proptest::prelude::*;
use serde_json::json;
use tidegate_api::{Access, Endpoint, Make};
use tidegate_core::{Error, ErrorKind, Result, Source, async_trait};
use tidegate_http::Response;

use crate::paging::{way, ways};
use crate::support::{pager, read, run, scans, source};

/// Lets so many requests through, and then says that the quota is spent.
#[derive(Debug)]
struct Quota(AtomicUsize);

#[async_trait]
impl Access for Quota {
    async fn send(&self, _: &Endpoint, make: &Make<'_>) -> Result<Response> {
        let left = |left: usize| left.checked_sub(1);
        match self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
        {
            Ok(_) => make().send().await,
            Err(_) => Err(Error::exhausted("the quota is spent")),
        }
    }
}

#[tokio::test]
async fn a_quota_that_is_spent_loses_no_page_and_costs_none_twice() {
    let server = pager(10, 3);
    for one in ways() {
        let open = |requests| {
            source(way(&server, &one)).access(Arc::new(Quota(AtomicUsize::new(requests))))
        };
        let all = run(&open(100), None).await.unwrap();
        let needed = server.asked().len();
        let (mut ids, mut spent) = (Vec::new(), 0);
        for split in &all.splits {
            let mut resume = None;
            loop {
                let source = open(2);
                let mut events = source
                    .read(split, &scans(&source), resume.as_ref())
                    .await
                    .unwrap();
                let ended = loop {
                    match events.next().await {
                        Some(Ok(event)) => {
                            resume = event.position().cloned();
                            ids.extend(crate::support::ids(event));
                        }
                        Some(Err(error)) => {
                            assert_eq!(error.kind(), ErrorKind::Exhausted, "{error:?}");
                            spent += 1;
                            break false;
                        }
                        None => break true,
                    }
                };
                if ended {
                    break;
                }
            }
        }
        assert_eq!(ids, (1..=10).collect::<Vec<_>>(), "{one:?}");
        assert_eq!(server.asked().len(), needed, "{one:?}");
        assert_eq!(spent > 0, needed > 2 && all.splits.len() == 1, "{one:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn from_every_position_exactly_the_rest_is_read(
        count in 0_usize..14,
        size in 1_usize..6,
        which in 0_usize..14,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = pager(count, size);
            let mut one = ways()[which].clone();
            if let Some(asked) = one.2.get_mut("size") {
                *asked = json!(size);
            }
            let open = || source(way(&server, &one));
            for split in run(&open(), None).await.unwrap().splits {
                let whole = read(&open(), &split, None).await.unwrap();
                let rows = whole.rows.get("records").cloned().unwrap_or_default();
                prop_assert_eq!(whole.upto.last().copied().unwrap_or(0), rows.len());
                for (offset, upto) in whole.offsets.iter().zip(&whole.upto) {
                    server.asked();
                    let rest = read(&open(), &split, Some(offset)).await.unwrap();
                    let rest = rest.rows.get("records").cloned().unwrap_or_default();
                    prop_assert_eq!(&rest[..], &rows[*upto..]);
                    // Nothing that was read is asked for again.
                    let left = whole.offsets.len() - whole.offsets.iter().position(|one| one == offset).unwrap() - 1;
                    prop_assert_eq!(server.asked().len(), left);
                }
            }
            Ok(())
        })?;
    }
}
