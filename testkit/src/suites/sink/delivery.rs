//! Checks that every sink passes, whatever it promises.

use tidegate_core::Spread;

use super::site::Site;
use super::suite::SinkSuite;
use crate::suites::check::{Outcome, Refusal, ensure};

/// `tidegate check` opens a sink too: opened and closed, it leaves nothing.
pub(super) async fn open_leaves_nothing(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    let before = site.objects().await?;
    let sink = site.open().await?;
    // Whether it closes well is another check's matter.
    let _ = sink.close().await;
    let after = site.objects().await?;
    ensure!(
        before == after,
        "opened and closed, it left {after:?} where {before:?} was before"
    );
    Ok(())
}

/// The columns by which rows are to be spread are columns of the input.
pub(super) async fn distribution_names_columns(suite: &SinkSuite) -> Outcome {
    let sink = Site::new(suite).open().await?;
    let schema = (suite.batches)(0, 0).schema();
    if let Spread::Hash(columns) = sink.distribution(0).spread {
        ensure!(!columns.is_empty(), "it spreads rows by no column");
        for column in columns {
            ensure!(
                schema.index_of(&column).is_ok(),
                "it spreads rows by `{column}`, which is no column of its input"
            );
        }
    }
    Ok(())
}

/// It takes rows, prepares and commits them, recovers from nothing, and closes.
pub(super) async fn takes_rows_and_closes(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    let sink = site.open().await?;
    site.recover(sink.as_ref(), &[], &[]).await?;
    site.write(sink.as_ref(), 1, 0).await?;
    sink.close().await?;
    Ok(())
}

/// Bad configurations are refused with the kind of error that says what to do.
pub(super) async fn errors_have_kinds(suite: &SinkSuite) -> Outcome {
    Refusal::check(&suite.refusals).await
}
