//! Checks of streams and plans.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{Ask, Split, StreamName};

use super::suite::{SourceSuite, content, everything, finished, walk_from};
use crate::suites::check::{Outcome, ensure, skip_if};

/// Streams have names of their own, none of them reserved, the same in every process.
pub(super) async fn streams_are_named(suite: &SourceSuite) -> Outcome {
    let told = async || {
        let streams = suite.open().await?.streams();
        let told = streams.into_iter().map(|s| (s.name, s.schema, s.bounded));
        Outcome::Ok(told.collect::<Vec<_>>())
    };
    let streams = told().await?;
    ensure!(!streams.is_empty(), "it has no stream");
    let mut names = BTreeSet::new();
    for (name, ..) in &streams {
        ensure!(
            name.as_str() != StreamName::REJECTED,
            "a stream is named `rejected`, which is reserved for rows that can't be taken"
        );
        ensure!(!name.as_str().is_empty(), "a stream has no name");
        ensure!(names.insert(name), "two streams are named `{name}`");
    }
    ensure!(
        told().await? == streams,
        "opened again, it told other streams"
    );
    Ok(())
}

/// The columns of a stream's key are columns of the stream.
pub(super) async fn keys_are_columns(suite: &SourceSuite) -> Outcome {
    for stream in suite.open().await?.streams() {
        for column in &stream.key {
            ensure!(
                stream.schema.index_of(column).is_ok(),
                "the key of stream `{}` has `{column}`, which is no column of it",
                stream.name
            );
        }
    }
    Ok(())
}

/// No answer has two splits of one id.
pub(super) async fn split_ids_are_unique(suite: &SourceSuite) -> Outcome {
    let (_, walk) = suite.planned().await?;
    let mut from = 0;
    for bound in walk.bounds {
        let mut ids = BTreeSet::new();
        for split in &walk.splits[from..bound] {
            ensure!(ids.insert(&split.id), "two splits are named {}", split.id);
        }
        from = bound;
    }
    Ok(())
}

/// A plan takes back only splits that an earlier answer gave, and gives none of them anew at once.
pub(super) async fn revoked_were_given(suite: &SourceSuite) -> Outcome {
    let (_, walk) = suite.planned().await?;
    let mut from = 0;
    for (bound, revoked) in walk.bounds.into_iter().zip(walk.revoked) {
        for id in revoked {
            ensure!(
                walk.splits[..from].iter().any(|split| split.id == id),
                "it takes split {id} back, which no earlier answer gave"
            );
            ensure!(
                !walk.splits[from..bound].iter().any(|split| split.id == id),
                "it takes split {id} back and gives it in one answer"
            );
        }
        from = bound;
    }
    Ok(())
}

/// `after` names splits that are known, and no split waits for itself, however indirectly.
pub(super) async fn after_is_kept(suite: &SourceSuite) -> Outcome {
    let (_, walk) = suite.planned().await?;
    let mut from = 0;
    for bound in walk.bounds {
        let known: BTreeSet<_> = walk.splits[..bound].iter().map(|s| &s.id).collect();
        for split in &walk.splits[from..bound] {
            for before in &split.after {
                ensure!(
                    known.contains(before),
                    "split {} is to start after {before}, which was never given",
                    split.id
                );
            }
        }
        from = bound;
    }
    // Start what may start until nothing is left: what is left then waits in a circle.
    let mut waiting: BTreeMap<_, _> = walk.splits.iter().map(|s| (&s.id, &s.after)).collect();
    loop {
        let ready: Vec<_> = waiting
            .iter()
            .filter(|(_, after)| !after.iter().any(|before| waiting.contains_key(before)))
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() {
            break;
        }
        for id in ready {
            waiting.remove(id);
        }
    }
    let stuck: Vec<_> = waiting.keys().collect();
    ensure!(
        stuck.is_empty(),
        "these splits wait for each other: {stuck:?}"
    );
    Ok(())
}

/// The same question gives the same splits: in the same process, and in a later one.
pub(super) async fn plan_has_no_side_effects(suite: &SourceSuite) -> Outcome {
    let source = suite.open().await?;
    let scans = everything(source.as_ref());
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let first = ids(&source.plan(&ask).await?.new);
    let again = ids(&source.plan(&ask).await?.new);
    ensure!(
        first == again,
        "the first question, put again, gave {again:?} instead of {first:?}"
    );
    let later = ids(&suite.open().await?.plan(&ask).await?.new);
    ensure!(
        first == later,
        "the first question, put in another process, gave {later:?} instead of {first:?}"
    );
    Ok(())
}

/// With the state that it returned, a plan gives no split that was given before: while splits are
/// read, when they have finished, and in a later process.
pub(super) async fn plan_gives_nothing_twice(suite: &SourceSuite) -> Outcome {
    let source = suite.open().await?;
    let scans = everything(source.as_ref());
    let mut ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let first = source.plan(&ask).await?;
    let mut given = ids(&first.new);
    ask.first = false;
    ask.state = Some(&first.state);
    let all = finished(&first.new);
    let told = [
        ("while they are read", &[][..]),
        ("when they finished", &all),
    ];
    for (when, told) in told {
        ask.finished = told;
        for (who, source) in [
            ("the same process", source.clone()),
            ("a later process", suite.open().await?),
        ] {
            let more = ids(&source.plan(&ask).await?.new);
            let twice: Vec<_> = more.intersection(&given).collect();
            ensure!(
                twice.is_empty(),
                "asked again {when}, in {who}, it gave {twice:?} a second time"
            );
        }
    }
    // And over the whole of a run.
    let (_, walk) = suite.planned().await?;
    given.clear();
    let mut from = 0;
    for bound in walk.bounds {
        let answer = ids(&walk.splits[from..bound]);
        let twice: Vec<_> = answer.intersection(&given).collect();
        ensure!(
            twice.is_empty(),
            "later in the run, it gave {twice:?} again"
        );
        given.extend(answer);
        from = bound;
    }
    Ok(())
}

/// Where every stream is bounded, the plan completes once all splits have finished.
pub(super) async fn plan_completes(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    let bounded = source.streams().iter().all(|stream| stream.bounded);
    skip_if!(!bounded, "it has an unbounded stream");
    ensure!(
        walk.completed,
        "all splits have finished and nothing is new, but the plan is not complete"
    );
    Ok(())
}

/// A run after a complete one reads everything again, or, if it is incremental, nothing.
pub(super) async fn next_run(suite: &SourceSuite) -> Outcome {
    let (source, walk) = suite.planned().await?;
    skip_if!(!walk.completed, "its first run doesn't end");
    let scans = everything(source.as_ref());
    let count = async |splits: &[Split]| {
        let source = suite.open().await?;
        let mut rows = 0;
        for split in splits {
            let seen = suite.read(source.as_ref(), split, &scans, None).await?;
            rows += content(&seen)?.values().map(Vec::len).sum::<usize>();
        }
        Outcome::Ok(rows)
    };
    let source = suite.open().await?;
    let next = walk_from(source.as_ref(), &scans, Some(&walk.state)).await?;
    let (before, after) = (count(&walk.splits).await?, count(&next.splits).await?);
    if suite.incremental {
        ensure!(
            after == 0,
            "it is incremental, but the next run read {after} rows again"
        );
    } else {
        ensure!(
            after == before,
            "it is not incremental, but after a run of {before} rows the next one read {after}"
        );
    }
    Ok(())
}

fn ids(splits: &[Split]) -> BTreeSet<String> {
    splits.iter().map(|split| split.id.to_string()).collect()
}
