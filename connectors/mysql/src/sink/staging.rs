//! Staging tables: their names, how they are made and how they go.

use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};
use tidegate_core::{Context, Origin, Rejected, Result, WriterId};

use super::checks;
use super::plan::Plan;
use super::target::Named;
use crate::sql;
use crate::wire::Connection;

/// What a writer is about to begin, as it stands in the journal: its staging table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) staging: Named,
}

/// The name of a writer's staging table: lineage, run, epoch, executor and writer, and a number that tells
/// the sinks of a pipeline apart, and the attempts at an epoch: a statement of a process that died
/// may still be at work when its successor begins. At most 64 characters: a run has no 10¹⁵ epochs.
pub(super) fn name(cx: &Context, id: WriterId) -> String {
    // Its keys are random, so its hash is.
    let number = RandomState::new().hash_one(id) & 0xFFFF_FFFF;
    format!(
        "_tg_{}_{}_{}_{}_{}_{number:08x}",
        cx.lineage.short(),
        cx.run.short(),
        id.epoch,
        id.executor,
        id.index
    )
}

/// Says of a row which check it failed. So the rows that are told and those that are deleted are the
/// same, whatever others do to the target in between.
const REASON: &str = "`_tg_reason`";

/// Makes a staging table: as the target, so that the server checks rows there as it would in the
/// target, but without the indexes that would only slow it down.
pub(super) async fn create(
    connection: &mut Connection,
    plan: &Plan,
    staging: &Named,
) -> Result<()> {
    let doing = "make a staging table";
    let like = format!("CREATE TABLE {} LIKE {}", staging.sql(), plan.target.sql());
    connection.run(doing, &like).await?;
    let drops = plan.needless.iter();
    let mut changes: Vec<_> = drops
        .map(|index| format!("DROP INDEX {}", sql::name(index)))
        .collect();
    if !plan.checks.is_empty() {
        changes.push(format!("ADD COLUMN {REASON} SMALLINT UNSIGNED NULL"));
    }
    if !changes.is_empty() {
        let alter = format!("ALTER TABLE {} {}", staging.sql(), changes.join(", "));
        connection.run(doing, &alter).await?;
    }
    Ok(())
}

/// Takes out the rows that the target wouldn't take, and gives each as JSON, with the reason.
pub(super) async fn sift(
    connection: &mut Connection,
    plan: &Plan,
    staging: &Named,
) -> Result<Rejected> {
    let mut rejected = Rejected::default();
    let doing = "look for rows that the target wouldn't take";
    let mut failed = 0;
    for (at, check) in plan.checks.iter().enumerate() {
        let mark = format!(
            "UPDATE {} AS s SET s.{REASON} = {at} WHERE s.{REASON} IS NULL AND ({})",
            staging.sql(),
            check.condition(staging)
        );
        failed += connection.execute(doing, &mark).await?.rows;
    }
    if failed == 0 {
        return Ok(rejected);
    }
    let told = format!(
        "SELECT s.{REASON}, {} FROM {} AS s WHERE s.{REASON} IS NOT NULL",
        checks::as_json(&plan.slots),
        staging.sql()
    );
    for row in connection.query(doing, &told).await? {
        let mut row = row.into_iter();
        let at = row.next().flatten().and_then(|at| at.parse::<usize>().ok());
        let reason = at.and_then(|at| plan.checks.get(at));
        let reason = reason.map_or("the target wouldn't take it", |check| &check.reason);
        let row = row.next().flatten().unwrap_or_default();
        rejected.push(row, reason, Origin::default());
    }
    let delete = format!("DELETE FROM {} WHERE {REASON} IS NOT NULL", staging.sql());
    connection.run(doing, &delete).await?;
    Ok(rejected)
}

/// Drops staging tables, those that are gone already included.
pub(super) async fn drop(connection: &mut Connection, staging: &[Named]) -> Result<()> {
    for some in staging.chunks(100) {
        let names: Vec<_> = some.iter().map(Named::sql).collect();
        let drop = format!("DROP TABLE IF EXISTS {}", names.join(", "));
        connection.run("drop staging tables", &drop).await?;
    }
    Ok(())
}
