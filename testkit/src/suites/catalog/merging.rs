//! Merging: nobody's columns are lost.

use std::sync::Arc;

use arrow_schema::{DataType, Field};
use futures::future::join_all;
use tidegate_core::{CatalogTable, ErrorKind, TableFormat};

use super::suite::{CatalogSuite, Site, shape};
use crate::suites::check::{Outcome, ensure};

/// New columns stand at the end, and types become wider.
pub(super) async fn merge_adds_and_widens(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let first = site.table("t", &[("n", DataType::Int32), ("m", DataType::Utf8)])?;
    site.catalog.merge(&first).await?;
    let more = site.table("t", &[("a", DataType::Boolean), ("n", DataType::Int64)])?;
    site.again().await?.merge(&more).await?;
    let wanted = [
        ("n", DataType::Int64),
        ("m", DataType::Utf8),
        ("a", DataType::Boolean),
    ];
    let wanted = shape(&site.table("t", &wanted)?.columns);
    let found = shape(&site.find(&first.name).await?.columns);
    ensure!(
        found == wanted,
        "merged, the columns are {found:?}, not {wanted:?}"
    );
    Ok(())
}

/// What another has added stays: columns that this one doesn't have, its location, its properties.
pub(super) async fn merge_drops_nothing(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let mut theirs = site.table("t", &[("a", DataType::Utf8), ("b", DataType::Int64)])?;
    theirs
        .properties
        .insert("owner_team".into(), "sales".into());
    site.catalog.merge(&theirs).await?;
    let before = site.find(&theirs.name).await?;
    let mut ours = site.table("t", &[("c", DataType::Boolean)])?;
    ours.location = "s3://elsewhere/t".into();
    site.again().await?.merge(&ours).await?;
    let after = site.find(&theirs.name).await?;
    for column in before.columns.fields() {
        ensure!(
            after.columns.fields().iter().any(|field| field == column),
            "merging a table without column `{}` dropped it: {:?}",
            column.name(),
            shape(&after.columns)
        );
    }
    ensure!(
        after.location == before.location,
        "merging moved a table from {} to {}",
        before.location,
        after.location
    );
    ensure!(
        after.properties.get("owner_team").map(String::as_str) == Some("sales"),
        "merging dropped a property of the table: {:?}",
        after.properties
    );
    Ok(())
}

/// Told again what it was told, or what it was told before, a table stays as it is.
pub(super) async fn merge_again_changes_nothing(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let narrow = site.table("t", &[("n", DataType::Int32)])?;
    let wide = site.table("t", &[("n", DataType::Int64), ("a", DataType::Utf8)])?;
    site.catalog.merge(&narrow).await?;
    site.catalog.merge(&wide).await?;
    let before = site.find(&wide.name).await?;
    for again in [&wide, &narrow, &wide] {
        site.again().await?.merge(again).await?;
        let after = site.find(&wide.name).await?;
        ensure!(
            after == before,
            "merging {:?} again made {after:?} of {before:?}",
            shape(&again.columns)
        );
    }
    Ok(())
}

/// What can't be merged is refused as a matter of the schema, and changes nothing.
pub(super) async fn contradictions_change_nothing(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let mut have = site.table("t", &[("a", DataType::Int64)])?;
    have.partition_keys = vec![Arc::new(Field::new("k", DataType::Utf8, true))];
    site.catalog.merge(&have).await?;
    let before = site.find(&have.name).await?;
    let text = site.table("t", &[("new", DataType::Utf8), ("a", DataType::Utf8)])?;
    let with_keys = |table: CatalogTable| CatalogTable {
        partition_keys: have.partition_keys.clone(),
        ..table
    };
    let format = CatalogTable {
        format: TableFormat::Ndjson,
        ..have.clone()
    };
    let keys = CatalogTable {
        partition_keys: Vec::new(),
        ..have.clone()
    };
    for (what, contradiction) in [
        ("a text for a number", with_keys(text)),
        ("another format", format),
        ("other partition keys", keys),
    ] {
        match site.catalog.merge(&contradiction).await {
            Ok(()) => ensure!(false, "{what} was merged"),
            Err(error) => ensure!(
                error.kind() == ErrorKind::Schema,
                "{what} is refused as {}: {error:?}",
                error.kind()
            ),
        }
        let after = site.find(&have.name).await?;
        ensure!(
            after == before,
            "{what} was refused, and changed the table to {after:?}"
        );
    }
    Ok(())
}

/// Several add columns to one table at once, and all of them are there in the end.
pub(super) async fn two_at_once(suite: &CatalogSuite) -> Outcome {
    const WRITERS: usize = 4;
    let site = suite.site().await?;
    // The first round makes the table, the others change it.
    for round in 0..3 {
        let tables = (0..WRITERS)
            .map(|writer| site.table("t", &[(&format!("r{round}_{writer}"), DataType::Int64)]));
        let tables = tables.collect::<Outcome<Vec<_>>>()?;
        let merges = tables.iter().map(|table| merge(&site, table));
        for outcome in join_all(merges).await {
            outcome?;
        }
        let found = site.find(&tables[0].name).await?;
        for table in &tables {
            let column = table.columns.field(0);
            ensure!(
                found
                    .columns
                    .fields()
                    .iter()
                    .any(|field| field.as_ref() == column),
                "{WRITERS} added a column each at once, and `{}` isn't there: {:?}",
                column.name(),
                shape(&found.columns)
            );
        }
    }
    Ok(())
}

async fn merge(site: &Site, table: &CatalogTable) -> Outcome {
    Ok(site.again().await?.merge(table).await?)
}
