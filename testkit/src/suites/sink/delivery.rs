//! Checks that every sink passes, whatever it promises, and of what only some ask for.

use tidegate_core::{Delivery, Spread, Visibility};

use super::site::{ROWS, Site, batch};
use super::suite::SinkSuite;
use crate::suites::check::{Outcome, Refusal, ensure, fail, skip_if};
use crate::suites::rows;

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

/// Rows that one writer took in an order are there in that order, if the sink asks for one.
pub(super) async fn ordered_rows_stay_in_order(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    let sink = site.open().await?;
    skip_if!(!sink.distribution(0).ordered, "it asks for no order");
    skip_if!(!suite.in_order, "its rows can't be seen in their order");
    let mut begun = site.begin(sink.as_ref(), 1).await?;
    let batch = batch(suite, 0, sink.wants_origins())?;
    let writer = begun.writer().await?;
    for row in 0..ROWS {
        writer.send(batch.slice(row, 1)).await?;
    }
    let stored = site.seal(begun).await?;
    let stored = site.checkpoint(sink.as_ref(), vec![stored]).await?;
    site.commit(sink.as_ref(), &stored, true).await?;
    let shown = rows::in_order(&(suite.visible)(site.cx.common()).await?)?;
    if let Some(why) = rows::difference(&shown, &rows::render(&batch.rows)?) {
        fail!("after rows that were written one by one, the destination showed {why}");
    }
    Ok(())
}

/// Rows that come again with the origins that they had count once, if the sink asks for origins and
/// says that it is idempotent.
pub(super) async fn the_same_origins_are_the_same_rows(suite: &SinkSuite) -> Outcome {
    let site = Site::new(suite);
    let sink = site.open().await?;
    skip_if!(
        !sink.wants_origins() || sink.delivery() != Delivery::Idempotent,
        "it doesn't tell rows by their origins"
    );
    skip_if!(
        sink.visibility() == Visibility::Run,
        "its rows appear at the run's end"
    );
    // A process dies after it has written, and before its checkpoint.
    let begun = site.begun(sink.as_ref(), 1, &[0]).await?;
    site.seal(begun).await?;
    let successor = site.open().await?;
    site.write(successor.as_ref(), 2, 0).await?;
    site.write(successor.as_ref(), 3, 1000).await?;
    let mut want = site.rows(0)?;
    want.extend(site.rows(1000)?);
    site.shows("after rows came again with the same origins", want)
        .await
}

/// Bad configurations are refused with the kind of error that says what to do.
pub(super) async fn errors_have_kinds(suite: &SinkSuite) -> Outcome {
    Refusal::check(&suite.refusals).await
}
