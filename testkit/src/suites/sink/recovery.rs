//! Checks of what is left when a process dies.

use tidegate_core::{Delivery, Epoch, ErrorKind, WriterId};

use super::site::{Site, writers};
use super::suite::SinkSuite;
use crate::suites::check::{Fault, Outcome, ensure, fail, skip_if};

/// What an abandoned writer took never becomes visible.
pub(super) async fn abandoned_is_invisible(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let writer = site.writer(sink.as_ref(), (1, 0), 0).await?;
    writer.abandon().await;
    site.shows("after an abandoned writer", Vec::new()).await?;
    site.write(sink.as_ref(), 2, 1000).await?;
    site.shows("after the epoch that followed", site.rows(1000)?)
        .await
}

/// A process dies with writers half-way, prepared and abandoned; its successor, told what was
/// journalled, leaves nothing of them.
pub(super) async fn recovery_leaves_nothing_else(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    site.write(sink.as_ref(), 1, 5000).await?;
    let before = site.objects().await?;
    let half = site.writer(sink.as_ref(), (2, 0), 0).await?;
    site.epoch(sink.as_ref(), 3, 1000).await?;
    let abandoned = site.writer(sink.as_ref(), (4, 0), 2000).await?;
    abandoned.abandon().await;
    // A killed process runs no destructors.
    std::mem::forget(half);
    std::mem::forget(sink);

    let successor = site.open().await?;
    let begun = site.cx.journal().begun();
    // Twice: the successor may die in the middle of it.
    for time in ["", " again"] {
        site.recover(successor.as_ref(), &[], &begun).await?;
        let after = site.objects().await?;
        ensure!(
            before == after,
            "recovered{time}, the destination held {after:?} where {before:?} was to be left"
        );
    }
    site.shows("after recovery", site.rows(5000)?).await
}

/// What recovery is told to keep stays, alone, and can still be committed.
pub(super) async fn recovery_leaves_what_is_kept(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let mut open = Vec::new();
    let mut rows = Vec::new();
    for index in 0..writers(sink.as_ref(), 2) {
        let from = i64::from(index) * 100;
        open.push(site.writer(sink.as_ref(), (1, index), from).await?);
        rows.extend(site.rows(from)?);
    }
    let kept = site.seal(1, open).await?;
    let before = site.objects().await?;
    let half = site.writer(sink.as_ref(), (2, 0), 1000).await?;
    std::mem::forget(half);
    std::mem::forget(sink);

    let successor = site.open().await?;
    let begun = site.cx.journal().begun();
    site.recover(successor.as_ref(), &kept.prepared, &begun)
        .await?;
    let after = site.objects().await?;
    // What an interrupted writer left is another check's matter.
    let lost: Vec<_> = before.iter().filter(|name| !after.contains(name)).collect();
    ensure!(
        lost.is_empty(),
        "recovery discarded {lost:?}, which it was told to keep"
    );
    let stored = site.checkpoint(successor.as_ref(), vec![kept]).await?;
    let committed = site.commit(successor.as_ref(), &stored, true).await;
    if let Err(Fault::Broken(why)) = committed {
        fail!("what recovery was told to keep could not be committed: {why}");
    }
    site.shows("after what was kept was committed", rows).await
}

/// Where the journal can't take a token, nothing is begun, and the writer fails with that error.
pub(super) async fn journalled_before_the_first_byte(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let before = site.objects().await?;
    site.cx.journal().fence();
    let id = WriterId {
        epoch: Epoch(1),
        index: 0,
    };
    let failed = async {
        let mut writer = sink.writer(id).await?;
        let batch = (suite.batches)(0, 50);
        if let Err(error) = writer.write(0, batch).await {
            writer.abandon().await;
            return Err(error);
        }
        writer.prepare().await
    }
    .await;
    if let Err(error) = &failed {
        ensure!(
            error.kind() == ErrorKind::Conflict,
            "the journal said Conflict, and the writer failed with {error:?}"
        );
    }
    let after = site.objects().await?;
    ensure!(
        before == after,
        "the journal refused, and yet {after:?} is there where {before:?} was before"
    );
    Ok(())
}

async fn two_phase(site: &Site<'_>) -> Outcome {
    let delivery = site.delivery().await?;
    skip_if!(delivery != Delivery::TwoPhase, "it is not two-phase");
    Ok(())
}
