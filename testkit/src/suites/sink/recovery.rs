//! Checks of what is left when a process dies.

use tidegate_core::{Delivery, Epoch, ErrorKind, WriterId};

use super::hand::Hand;
use super::site::{Begun, ROWS, Site, writers};
use super::suite::SinkSuite;
use crate::suites::check::{Fault, Outcome, ensure, fail, skip_if};

/// What an abandoned epoch took never becomes visible.
pub(super) async fn abandoned_is_invisible(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let begun = site.begun(sink.as_ref(), 1, &[0]).await?;
    begun.abandon().await;
    site.shows("after an abandoned epoch", Vec::new()).await?;
    site.write(sink.as_ref(), 2, 1000).await?;
    site.shows("after the epoch that followed", site.rows(1000)?)
        .await
}

/// A process dies with epochs half-way, sealed and abandoned; its successor, told what was
/// journalled, leaves nothing of them.
pub(super) async fn recovery_leaves_nothing_else(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    site.write(sink.as_ref(), 1, 5000).await?;
    let before = site.objects().await?;
    site.killed(async move |sink, suite| {
        let half = Begun::with(sink.as_ref(), &suite, 2, &[0]).await?;
        let sealed = Begun::with(sink.as_ref(), &suite, 3, &[1000]).await?;
        sealed.seal().await?;
        let abandoned = Begun::with(sink.as_ref(), &suite, 4, &[2000]).await?;
        abandoned.abandon().await;
        std::mem::forget(half);
        Ok(())
    })
    .await?;

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
    let from: Vec<_> = (0..writers(sink.as_ref(), 2))
        .map(|index| i64::from(index) * 100)
        .collect();
    let mut rows = Vec::new();
    for from in &from {
        rows.extend(site.rows(*from)?);
    }
    let cx = site.cx.common();
    let (kept, before) = site
        .killed(async move |sink, suite| {
            let begun = Begun::with(sink.as_ref(), &suite, 1, &from).await?;
            let kept = begun.seal().await?;
            let before = (suite.objects)(cx).await?;
            let half = Begun::with(sink.as_ref(), &suite, 2, &[1000]).await?;
            std::mem::forget(half);
            Ok((kept, before))
        })
        .await?;
    let kept = site.stored(1, kept);

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
        executor: 0,
        index: 0,
    };
    let failed = async {
        let open = sink.epoch(id.epoch).await?;
        let written = async {
            let mut writer = Hand::open(&open, id).await?;
            writer.write(0, (suite.batches)(0, ROWS)).await?;
            writer.finish().await?;
            open.seal().await
        }
        .await;
        if written.is_err() {
            open.abandon().await;
        }
        written
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
