//! Checks of what is read.

use std::collections::BTreeMap;

use futures::StreamExt;
use tidegate_core::{Replay, Scan};

use super::suite::{Expected, Seen, SourceSuite, content, everything, replay, unlike, walk};
use crate::suites::check::{Outcome, Refusal, ensure, fail, skip_if};
use crate::suites::rows::{difference, in_order};
use crate::suites::tasks::isolated;

/// All splits together give the expected rows of each stream, none missing, none duplicated.
pub(super) async fn splits_cover_the_streams_once(suite: &SourceSuite) -> Outcome {
    skip_if!(suite.expected.is_empty(), "no rows were expected");
    skip_if!(suite.prefix.is_some(), "its splits never end");
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for split in &walk.splits {
        let seen = suite.read(source.as_ref(), split, &scans, None).await?;
        for (stream, rows) in content(&seen)? {
            all.entry(stream).or_default().extend(rows);
        }
    }
    for (stream, expected) in &suite.expected {
        ensure!(
            scans.iter().any(|scan| scan.stream == *stream),
            "it has no stream `{stream}`"
        );
        let mut rows = all.remove(stream.as_str()).unwrap_or_default();
        match expected {
            Expected::Count(count) => ensure!(
                rows.len() as u64 == *count,
                "stream `{stream}` gave {} rows instead of {count}",
                rows.len()
            ),
            Expected::Rows(expected) => {
                rows.sort_unstable();
                if let Some(why) = difference(&rows, expected) {
                    fail!("stream `{stream}` (sorted) gave {why}");
                }
            }
        }
    }
    Ok(())
}

/// A split read twice gives the same rows in the same order.
pub(super) async fn two_reads_are_alike(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in &walk.splits {
        let first = content(&suite.read(source.as_ref(), split, &scans, None).await?)?;
        let second = content(&suite.read(source.as_ref(), split, &scans, None).await?)?;
        if let Some(why) = unlike(&second, &first, suite.prefix.is_some()) {
            fail!("split {} read a second time gave {why}", split.id);
        }
    }
    Ok(())
}

/// Every batch has the schema that its stream told, or announced since.
pub(super) async fn schema_told_is_schema_given(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in &walk.splits {
        let mut told: BTreeMap<_, _> = source
            .streams()
            .into_iter()
            .map(|stream| (stream.name, stream.schema))
            .collect();
        for event in suite.read(source.as_ref(), split, &scans, None).await? {
            let Some(stream) = event.stream else { continue };
            let Some(schema) = told.get_mut(&stream) else {
                fail!("it gave rows of `{stream}`, a stream that it never told");
            };
            if let Some(new) = event.schema {
                *schema = new;
            }
            for batch in event.batches {
                ensure!(
                    batch.schema().fields() == schema.fields(),
                    "stream `{stream}` told {:?} and gave {:?}",
                    schema.fields(),
                    batch.schema().fields()
                );
            }
        }
    }
    Ok(())
}

/// A scan of some columns gives exactly these, in the stream's order, with the same rows.
pub(super) async fn projection_is_exact(suite: &SourceSuite) -> Outcome {
    let (source, walk_all) = suite.planned().await?;
    let all = everything(source.as_ref());
    // Every other column from the last one on, asked for in the wrong order.
    let some: Vec<_> = source
        .streams()
        .into_iter()
        .map(|stream| Scan {
            columns: Some(
                stream
                    .schema
                    .fields()
                    .iter()
                    .rev()
                    .step_by(2)
                    .map(|field| field.name().clone())
                    .collect(),
            ),
            ..Scan::all(stream.name)
        })
        .collect();
    let evolves = |seen: &[Seen]| seen.iter().any(|event| event.schema.is_some());
    for split in &walk_all.splits {
        let full = suite.read(source.as_ref(), split, &all, None).await?;
        let other = suite.open().await?;
        let part = suite.read(other.as_ref(), split, &some, None).await?;
        if evolves(&full) {
            continue;
        }
        for stream in source.streams() {
            let scan = some.iter().find(|scan| scan.stream == stream.name);
            let Some(scan) = scan else { continue };
            let want = scan.schema(&stream.schema)?;
            let (mut got, mut expected) = (Vec::new(), Vec::new());
            for event in part
                .iter()
                .filter(|e| e.stream.as_ref() == Some(&stream.name))
            {
                for batch in &event.batches {
                    let names = |schema: &arrow_schema::Schema| -> Vec<String> {
                        schema.fields().iter().map(|f| f.name().clone()).collect()
                    };
                    let (asked, given) = (names(&want), names(&batch.schema()));
                    ensure!(
                        asked == given,
                        "stream `{}` was asked for {asked:?} and gave {given:?}",
                        stream.name
                    );
                }
                got.extend(in_order(&event.batches)?);
            }
            for event in full
                .iter()
                .filter(|e| e.stream.as_ref() == Some(&stream.name))
            {
                for batch in &event.batches {
                    expected.extend(in_order(&[scan.project(batch.clone())?])?);
                }
            }
            if suite.prefix.is_some() {
                let both = got.len().min(expected.len());
                got.truncate(both);
                expected.truncate(both);
            }
            if let Some(why) = difference(&got, &expected) {
                fail!("with fewer columns, split {} gave {why}", split.id);
            }
        }
    }
    Ok(())
}

/// Streams that nobody asked for are not given.
pub(super) async fn only_asked_streams(suite: &SourceSuite) -> Outcome {
    let source = suite.open().await?;
    let scans = everything(source.as_ref());
    skip_if!(scans.len() < 2, "it has one stream");
    for scan in &scans {
        let source = suite.open().await?;
        let one = std::slice::from_ref(scan);
        for split in walk(source.as_ref(), one).await?.splits {
            for event in suite.read(source.as_ref(), &split, one, None).await? {
                if let Some(stream) = &event.stream {
                    ensure!(
                        *stream == scan.stream,
                        "asked for `{}` alone, it gave rows of `{stream}`",
                        scan.stream
                    );
                }
            }
        }
    }
    Ok(())
}

/// Where a split tells its rows, the figure is within three orders of magnitude.
pub(super) async fn estimates_are_sane(suite: &SourceSuite) -> Outcome {
    skip_if!(suite.prefix.is_some(), "its splits never end");
    let (source, walk) = suite.planned().await?;
    let scans = everything(source.as_ref());
    for split in &walk.splits {
        let Some(told) = split.estimate.rows else {
            continue;
        };
        let seen = suite.read(source.as_ref(), split, &scans, None).await?;
        let rows = content(&seen)?.values().map(Vec::len).sum::<usize>() as u64;
        ensure!(
            told <= (rows + 1) * 1000 && rows <= (told + 1) * 1000,
            "split {} was estimated at {told} rows and has {rows}",
            split.id
        );
    }
    Ok(())
}

/// A stream dropped after any event leaves no task and no thread behind.
pub(super) async fn cancellation_leaks_nothing(suite: &SourceSuite) -> Outcome {
    let suite = suite.clone();
    isolated(|lingering| async move {
        let (mut source, walk) = suite.planned().await?;
        let scans = everything(source.as_ref());
        let before = lingering.count()?;
        let mut drops: usize = 0;
        let replay = replay(source.as_ref());
        let few: Vec<_> = walk.splits.iter().take(4).collect();
        // Reading it again and again costs its whole each time.
        let events = if replay == Some(Replay::Whole) { 2 } else { 16 };
        // Short splits end before many streams are dropped, and of a few streams a pool may well keep
        // a connection each.
        for (turn, split) in few.iter().cycle().take(12).enumerate() {
            if turn >= few.len() && drops >= 12 {
                break;
            }
            for after in 0..events {
                let mut stream = source.read(split, &scans, None).await?;
                let mut ended = false;
                for _ in 0..after {
                    match stream.next().await {
                        Some(event) => drop(event?),
                        None => ended = true,
                    }
                    if ended {
                        break;
                    }
                }
                drop(stream);
                drops += 1;
                // What was dropped may have held a part of the session, which then is lost.
                if replay == Some(Replay::Session) {
                    source.close().await?;
                    source = suite.open().await?;
                }
                if ended {
                    break;
                }
            }
        }
        // A pool may keep a connection or a thread for what comes next, but not one for each.
        let most = before + drops.div_ceil(2);
        let left = lingering.settle(most).await?;
        ensure!(
            left <= most,
            "{drops} streams were dropped in the middle, and {left} tasks or threads are still \
             there ({before} were before)"
        );
        source.close().await?;
        drop(source);
        let left = lingering.settle(0).await?;
        ensure!(
            left == 0,
            "the source was closed and dropped, and {left} tasks or threads are still there"
        );
        Ok(())
    })
    .await
}

/// Bad configurations are refused with the kind of error that says what to do.
pub(super) async fn errors_have_kinds(suite: &SourceSuite) -> Outcome {
    Refusal::check(&suite.refusals).await
}
