//! Checks of reading on from a position.

use tidegate_core::{Acknowledged, Replay, Source, Split};

use super::suite::{Seen, SourceSuite, content, everything, replay, unlike};
use crate::suites::check::{Outcome, fail, skip_if};
use crate::suites::rows::in_order;

/// From every position that a reading gives, a later process reads exactly what came after it.
pub(super) async fn resume_law(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in replayable(source.as_ref(), &walk.splits)? {
        let whole = suite.read(source.as_ref(), split, &scans, None).await?;
        for at in positions(&whole, suite.resumes) {
            rest_is(suite, split, &whole, at).await?;
        }
    }
    Ok(())
}

/// A position that a resumed reading gives is as good as one of the first reading.
pub(super) async fn resume_after_resume(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in replayable(source.as_ref(), &walk.splits)? {
        let whole = suite.read(source.as_ref(), split, &scans, None).await?;
        for at in inner(&whole, 4) {
            let later = suite.open().await?;
            let rest = suite
                .read(later.as_ref(), split, &scans, whole[at].resume.as_ref())
                .await?;
            for at in inner(&rest, 4) {
                rest_is(suite, split, &rest, at).await?;
            }
        }
    }
    Ok(())
}

/// What is acknowledged, even twice, takes nothing away of what comes after it: neither of the rest of
/// a split, nor of other splits once one has finished.
pub(super) async fn acknowledge_keeps_the_rest(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in replayable(source.as_ref(), &walk.splits)? {
        let whole = suite.read(source.as_ref(), split, &scans, None).await?;
        let positions = inner(&whole, usize::MAX);
        let Some(&at) = positions.get(positions.len() / 2) else {
            continue;
        };
        let upto = [Acknowledged {
            split: split.id.clone(),
            offset: whole[at].resume.clone(),
            finished: false,
            rejected: 1,
        }];
        source.acknowledge(&upto).await?;
        source.acknowledge(&upto).await?;
        rest_is(suite, split, &whole, at).await?;
    }
    let Some((first, others)) = walk.splits.split_first() else {
        return Ok(());
    };
    if suite.prefix.is_some() || others.is_empty() {
        return Ok(());
    }
    let earlier = suite.open().await?;
    let mut before = Vec::new();
    for split in others {
        before.push(suite.read(earlier.as_ref(), split, &scans, None).await?);
    }
    let whole = suite.read(source.as_ref(), first, &scans, None).await?;
    let finished = [Acknowledged {
        split: first.id.clone(),
        offset: whole.iter().rev().find_map(|event| event.resume.clone()),
        finished: true,
        rejected: 0,
    }];
    source.acknowledge(&finished).await?;
    source.acknowledge(&finished).await?;
    let later = suite.open().await?;
    for (split, before) in others.iter().zip(&before) {
        let after = suite.read(later.as_ref(), split, &scans, None).await?;
        if let Some(why) = unlike(&content(&after)?, &content(before)?, false) {
            fail!(
                "once split {} was acknowledged as finished, split {} gave {why}",
                first.id,
                split.id
            );
        }
    }
    Ok(())
}

/// Where a later process reads on, its events end at the same rows as before, with the same
/// positions: what the origins of rows are made of.
pub(super) async fn positions_stand_at_the_same_rows(suite: &SourceSuite) -> Outcome {
    skip_if!(!suite.same_positions, "it doesn't say so");
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in &walk.splits {
        let whole = suite.read(source.as_ref(), split, &scans, None).await?;
        let positions = match replay(source.as_ref()) {
            Some(Replay::Offset) => inner(&whole, suite.resumes),
            _ => Vec::new(),
        };
        // Also from the beginning.
        for at in std::iter::once(None).chain(positions.into_iter().map(Some)) {
            let later = suite.open().await?;
            let resume = at.and_then(|at| whole[at].resume.as_ref());
            let rest = suite.read(later.as_ref(), split, &scans, resume).await?;
            let before = &whole[at.map_or(0, |at| at + 1)..];
            for (event, (now, then)) in rest.iter().zip(before).enumerate() {
                let (rows, want) = (in_order(&now.batches)?, in_order(&then.batches)?);
                if now.resume != then.resume || rows.len() != want.len() {
                    fail!(
                        "split {} read on from {resume:?}: event {event} had {} rows and the \
                         position {:?}, where it had {} and {:?} before",
                        split.id,
                        rows.len(),
                        now.resume,
                        want.len(),
                        then.resume
                    );
                }
            }
        }
    }
    Ok(())
}

/// Reads in a fresh process from the `at`-th event of `whole`, and compares with what followed it.
async fn rest_is(suite: &SourceSuite, split: &Split, whole: &[Seen], at: usize) -> Outcome {
    let source = suite.open().await?;
    let scans = everything(source.as_ref());
    let resume = whole[at].resume.as_ref();
    let rest = suite.read(source.as_ref(), split, &scans, resume).await?;
    let (got, want) = (content(&rest)?, content(&whole[at + 1..])?);
    if let Some(why) = unlike(&got, &want, suite.prefix.is_some()) {
        fail!(
            "split {} read on from {resume:?}, the position after event {at}, gave {why}",
            split.id
        );
    }
    Ok(())
}

/// The splits, if their positions can be resumed from.
fn replayable<'a>(source: &dyn Source, splits: &'a [Split]) -> Outcome<&'a [Split]> {
    skip_if!(
        !matches!(replay(source), Some(Replay::Offset | Replay::Whole)),
        "no split replays from offsets"
    );
    skip_if!(splits.is_empty(), "there are no splits");
    Ok(splits)
}

/// The events that give a position: at most so many, evenly spread, the last one among them.
fn positions(events: &[Seen], most: usize) -> Vec<usize> {
    let all: Vec<_> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.resume.is_some())
        .map(|(at, _)| at)
        .collect();
    let step = all.len().div_ceil(most).max(1);
    let mut some: Vec<_> = all.iter().rev().step_by(step).copied().collect();
    some.reverse();
    some
}

/// The same without the end of the split, which is a matter of its own.
fn inner(events: &[Seen], most: usize) -> Vec<usize> {
    let mut some = positions(events, most);
    if some.last() == events.len().checked_sub(1).as_ref() {
        some.pop();
    }
    some
}
