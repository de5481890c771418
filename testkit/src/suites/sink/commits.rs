//! Checks of what becomes visible, and when.

use std::sync::Arc;

use tidegate_core::{Delivery, ErrorKind, Sink, Spread, Visibility};

use super::site::{Begun, Site, Stored, fill, writers};
use super::suite::SinkSuite;
use crate::suites::check::{Fault, Outcome, skip_if};

const FROM: [i64; 3] = [0, 1000, 2000];

/// Rows that are written or prepared are not visible before their commit.
pub(super) async fn nothing_visible_before_commit(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let begun = site.begun(sink.as_ref(), 1, &[0]).await?;
    site.shows("while rows were written", Vec::new()).await?;
    let stored = site.seal(begun).await?;
    site.shows("prepared, before the commit", Vec::new())
        .await?;
    site.checkpoint(sink.as_ref(), vec![stored]).await?;
    site.shows("before the commit", Vec::new()).await
}

/// After a commit exactly the rows of its writers are visible, and so on with each epoch.
pub(super) async fn commit_shows_exactly_the_rows(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    seen(&site).await?;
    let sink = site.open().await?;
    let mut epochs = Vec::new();
    let mut rows = Vec::new();
    for (i, from) in FROM.into_iter().enumerate() {
        let epoch = i as u64 + 1;
        let all: Vec<_> = (0..writers(sink.as_ref(), 2))
            .map(|index| from + i64::from(index) * 100)
            .collect();
        for from in &all {
            rows.extend(site.rows(*from)?);
        }
        let begun = site.begun(sink.as_ref(), epoch, &all).await?;
        let stored = site.seal(begun).await?;
        if sink.visibility() == Visibility::Epoch {
            site.commit(sink.as_ref(), &[stored], i == 2).await?;
            site.shows(&format!("after the commit of epoch {epoch}"), rows.clone())
                .await?;
        } else {
            epochs.push(stored);
        }
    }
    if sink.visibility() == Visibility::Run {
        let stored = site.checkpoint(sink.as_ref(), epochs).await?;
        site.commit(sink.as_ref(), &stored, true).await?;
    }
    site.shows("after the run", rows).await
}

/// A commit sent again, by the same process or by its successor, changes nothing.
pub(super) async fn commit_replayed_is_harmless(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let stored = site.write(sink.as_ref(), 1, 0).await?;
    let rows = site.rows(0)?;
    site.commit(sink.as_ref(), &stored, true).await?;
    site.shows("after a commit sent twice", rows.clone())
        .await?;
    let successor = site.open_to_replay().await?;
    site.commit(successor.as_ref(), &stored, true).await?;
    site.shows("after a successor sent the commit again", rows)
        .await
}

/// A commit that a process died before is done by its successor, which knows no inputs.
pub(super) async fn commit_by_a_successor(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let stored = site.epoch(sink.as_ref(), 1, 0).await?;
    let stored = site.checkpoint(sink.as_ref(), vec![stored]).await?;
    drop(sink);
    let successor = site.open_to_replay().await?;
    site.commit(successor.as_ref(), &stored, true).await?;
    site.shows("after the successor's commit", site.rows(0)?)
        .await
}

/// A fenced process that replays its last commit after its successor's next one changes nothing.
pub(super) async fn commit_by_a_fenced_process(suite: &SinkSuite) -> Outcome {
    let mut site = Site::new(suite);
    two_phase(&site).await?;
    let fenced = site.open().await?;
    let first = site.epoch(fenced.as_ref(), 1, FROM[0]).await?;
    let first = site.checkpoint(fenced.as_ref(), vec![first]).await?;
    let successor = site.open().await?;
    site.commit(successor.as_ref(), &first, true).await?;
    site.cx.next_run();
    site.write(successor.as_ref(), 2, FROM[1]).await?;
    let before = site.visible().await?;
    // It may refuse: its files may have been replaced since, which looks to it like a loss.
    match site.try_commit(fenced.as_ref(), &first, true).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        result => result?,
    }
    site.shows("after a fenced process replayed its commit", before)
        .await
}

/// Writers that work at once, on several threads, lose no row.
pub(super) async fn writers_at_once(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    seen(&site).await?;
    let sink = site.open().await?;
    let from: Vec<_> = (0..writers(sink.as_ref(), 8))
        .map(|index| i64::from(index) * 1000)
        .collect();
    let mut begun = site.begin(sink.as_ref(), 1).await?;
    for _ in &from {
        begun.writer().await?;
    }
    let mut tasks = Vec::new();
    for (from, mut writer) in from.iter().copied().zip(std::mem::take(&mut begun.writers)) {
        let (suite, origins) = (suite.clone(), sink.wants_origins());
        tasks.push(tokio::spawn(async move {
            fill(&mut writer, &suite, from, origins).await?;
            Outcome::Ok(writer)
        }));
    }
    for task in tasks {
        let joined = task.await;
        let writer = joined.map_err(|error| Fault::Broken(error.to_string()))??;
        begun.writers.push(writer);
    }
    let stored = site.seal(begun).await?;
    let stored = site.checkpoint(sink.as_ref(), vec![stored]).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    let mut rows = Vec::new();
    for from in from {
        rows.extend(site.rows(from)?);
    }
    site.shows("after writers at once", rows).await
}

/// Executors that work on one epoch, each with a sink of its own, are in nobody's way: one commit shows
/// what all of them have prepared.
pub(super) async fn executors_at_once(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    seen(&site).await?;
    let sinks = [site.open_in(0).await?, site.open_in(1).await?];
    skip_if!(
        sinks[0].distribution(0).spread == Spread::Single,
        "it has one writer, so one executor works alone"
    );
    let (mut begun, mut rows, mut prepared) = (Vec::new(), Vec::new(), Vec::new());
    for ((sink, executor), from) in sinks.iter().zip(0..).zip(FROM) {
        let mut open = Begun::open_in(sink.as_ref(), executor, 1).await?;
        let origins = sink.wants_origins();
        fill(open.writer().await?, suite, from, origins).await?;
        begun.push(open);
        rows.extend(site.rows(from)?);
    }
    for begun in begun {
        prepared.extend(begun.seal().await?);
    }
    let stored = site.stored(1, prepared);
    let stored = site.checkpoint(sinks[0].as_ref(), vec![stored]).await?;
    site.commit(sinks[0].as_ref(), &stored, true).await?;
    site.shows("after executors at once", rows).await
}

/// While an epoch is prepared and committed, the next one's writers already take rows.
pub(super) async fn epochs_overlap(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    two_phase(&site).await?;
    let sink = site.open().await?;
    let epoch = sink.visibility() == Visibility::Epoch;
    let (one, two) = (
        site.begun(sink.as_ref(), 1, &FROM[..1]).await?,
        site.begun(sink.as_ref(), 2, &FROM[1..2]).await?,
    );
    let mut stored = vec![site.seal(one).await?];
    let mut rows = site.rows(FROM[0])?;
    if epoch {
        site.commit(sink.as_ref(), &stored, false).await?;
        site.shows("while the second epoch was written", rows.clone())
            .await?;
        stored.clear();
    }
    stored.push(site.seal(two).await?);
    let stored = site.checkpoint(sink.as_ref(), stored).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    rows.extend(site.rows(FROM[1])?);
    site.shows("after both epochs", rows).await
}

/// An epoch whose writer had no rows is sealed and committed as any other.
pub(super) async fn empty_epoch(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    seen(&site).await?;
    let sink = site.open().await?;
    let mut begun = site.begin(sink.as_ref(), 1).await?;
    begun.writer().await?;
    let stored = site.seal(begun).await?;
    let stored = site.checkpoint(sink.as_ref(), vec![stored]).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    site.shows("after an epoch without rows", Vec::new())
        .await?;
    site.write(sink.as_ref(), 2, 0).await?;
    site.shows("after the epoch that followed", site.rows(0)?)
        .await
}

/// A run that overwrites replaces all that was there with the rows of all its epochs, also where
/// it was interrupted between them.
pub(super) async fn overwrite_keeps_all_epochs(suite: &SinkSuite) -> Outcome {
    let mut site = Site::new(suite);
    overwriting(&site).await?;
    let sink = site.open().await?;
    site.write(sink.as_ref(), 1, 9000).await?;
    site.cx.next_run();
    let mut stored = Vec::new();
    let mut rows = Vec::new();
    for (epoch, from) in (2..).zip(FROM) {
        // Each epoch in a process of its own, which keeps what those before it prepared.
        let sink = site.open().await?;
        let keep: Vec<_> = stored
            .iter()
            .flat_map(|s: &Stored| s.prepared.clone())
            .collect();
        site.recover(sink.as_ref(), &keep, &site.cx.journal().begun())
            .await?;
        stored.push(site.epoch(sink.as_ref(), epoch, from).await?);
        rows.extend(site.rows(from)?);
        site.shows("before the run ended", site.rows(9000)?).await?;
    }
    let sink = site.open().await?;
    let stored = site.checkpoint(sink.as_ref(), stored).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    site.shows("after a run that overwrites", rows).await
}

/// A run that overwrites with no rows leaves no rows, or, if it only replaces what it touches, all.
pub(super) async fn overwrite_with_nothing(suite: &SinkSuite) -> Outcome {
    let mut site = Site::new(suite);
    overwriting(&site).await?;
    let sink = site.open().await?;
    site.write(sink.as_ref(), 1, 0).await?;
    site.cx.next_run();
    let sink = site.open().await?;
    let stored = site.checkpoint(sink.as_ref(), Vec::new()).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    let rows = if suite.only_touched {
        site.rows(0)?
    } else {
        Vec::new()
    };
    site.shows("after a run without rows", rows).await
}

async fn two_phase(site: &Site<'_>) -> Outcome {
    let delivery = site.delivery().await?;
    skip_if!(delivery != Delivery::TwoPhase, "it is not two-phase");
    Ok(())
}

async fn seen(site: &Site<'_>) -> Outcome {
    let delivery = site.delivery().await?;
    skip_if!(delivery == Delivery::Observer, "an observer keeps nothing");
    Ok(())
}

async fn overwriting(site: &Site<'_>) -> Outcome {
    let sink: Arc<dyn Sink> = site.open().await?;
    skip_if!(
        sink.visibility() != Visibility::Run,
        "its rows appear with each epoch"
    );
    Ok(())
}
