//! Tables: what was told comes back.

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tidegate_core::{ErrorKind, TableFormat, TableName};

use super::suite::{CatalogSuite, partition, shape};
use crate::suites::check::{Outcome, ensure};

/// A table comes back as it was told: location, columns in their order, keys.
pub(super) async fn a_table_comes_back(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let list = DataType::List(Field::new("element", DataType::Utf8, true).into());
    let inner = vec![
        Field::new("b", DataType::Decimal128(10, 2), true),
        Field::new("a", list, true),
    ];
    let keys = [("day", DataType::Date32), ("kind", DataType::Utf8)];
    let columns = site.table(
        "sales",
        &[
            ("z", DataType::Int64),
            ("a", DataType::Utf8),
            ("flag", DataType::Boolean),
            (
                "at",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            ("nested", DataType::Struct(inner.into())),
        ],
    )?;
    let mut told = site.partitioned("sales", &keys)?;
    told.columns = columns.columns;
    site.catalog.merge(&told).await?;
    let found = site.find(&told.name).await?;
    ensure!(
        found.columns == told.columns,
        "the columns {:?} came back as {:?}",
        shape(&told.columns),
        shape(&found.columns)
    );
    ensure!(
        found.partition_keys == told.partition_keys,
        "the keys {:?} came back as {:?}",
        told.partition_keys,
        found.partition_keys
    );
    ensure!(
        (&found.name, &found.location) == (&told.name, &told.location),
        "table `{}` at {} came back as `{}` at {}",
        told.name,
        told.location,
        found.name,
        found.location
    );
    Ok(())
}

/// Every format comes back with all that its readers must know.
pub(super) async fn formats_come_back(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let csv = |delimiter, header, quoted| TableFormat::Csv {
        delimiter,
        header,
        quoted,
    };
    let formats = [
        TableFormat::Parquet,
        TableFormat::Ndjson,
        csv(',', true, true),
        csv(';', false, true),
        csv('\t', true, false),
        csv('|', false, false),
    ];
    for (number, format) in formats.into_iter().enumerate() {
        let mut told = site.table(&format!("t{number}"), &[("a", DataType::Utf8)])?;
        told.format = format;
        site.catalog.merge(&told).await?;
        let found = site.find(&told.name).await?;
        ensure!(
            found.format == told.format,
            "{:?} came back as {:?}",
            told.format,
            found.format
        );
    }
    Ok(())
}

/// What isn't there is no error where it is asked for.
pub(super) async fn what_is_not_there_is_not_found(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let nowhere = TableName::new(&site.database, "nothing");
    ensure!(
        site.catalog.table(&nowhere).await?.is_none(),
        "a table was found in a database that isn't there"
    );
    ensure!(
        site.catalog.tables(&site.database).await?.is_empty(),
        "a database that isn't there has tables"
    );
    site.catalog
        .merge(&site.table("something", &[("a", DataType::Utf8)])?)
        .await?;
    ensure!(
        site.catalog.table(&nowhere).await?.is_none(),
        "a table was found that isn't there"
    );
    ensure!(
        !site.catalog.drop_table(&nowhere).await?,
        "what wasn't there was dropped"
    );
    site.catalog
        .drop_partitions(&nowhere, &[vec![Some("1".to_owned())]])
        .await?;
    Ok(())
}

/// Databases and tables are listed, sorted.
pub(super) async fn names_are_listed_in_order(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    for name in ["c", "a", "b"] {
        let mut table = site.table(name, &[("id", DataType::Int64)])?;
        site.catalog.merge(&table).await?;
        table.name.database = format!("{}_{name}", site.database);
        site.catalog.merge(&table).await?;
    }
    let tables = site.catalog.tables(&site.database).await?;
    ensure!(
        tables == ["a", "b", "c"],
        "the tables a, b, c are listed as {tables:?}"
    );
    let mut databases = site.catalog.databases().await?;
    databases.retain(|name| name.starts_with(&site.database));
    let own = ["", "_a", "_b", "_c"].map(|more| format!("{}{more}", site.database));
    ensure!(
        databases == own,
        "the databases {own:?} are listed as {databases:?}"
    );
    Ok(())
}

/// What is folded stays as it is when it is folded again; a name that can't be stored is refused
/// with one that can; two columns of one name are refused.
pub(super) async fn folding_is_done_once(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let catalog = &site.catalog;
    for name in ["a", "Sales", "order-id", "größe", "a b", "", "1st", "x.y"] {
        match catalog.fold(name) {
            Ok(folded) => {
                let again = catalog.fold(&folded)?;
                ensure!(
                    again == folded,
                    "`{name}` is folded to `{folded}`, and that to `{again}`"
                );
            }
            Err(error) => ensure!(
                error.kind() == ErrorKind::Config && error.hint_text().is_some(),
                "`{name}` isn't refused as a matter of the configuration, with a hint: {error:?}"
            ),
        }
    }
    let schema = Schema::new(vec![
        Field::new("Id", DataType::UInt32, false),
        Field::new("Name", DataType::LargeUtf8, false),
    ]);
    let stored = catalog.storable(&schema)?;
    let again = catalog.storable(&stored)?;
    ensure!(
        again == stored,
        "{:?} is stored as {:?}",
        shape(&stored),
        shape(&again)
    );
    ensure!(
        stored.fields().iter().all(|field| field.is_nullable()),
        "a stored column isn't nullable"
    );
    let twice = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("id", DataType::Utf8, true),
    ]);
    match catalog.storable(&twice) {
        Ok(_) => ensure!(false, "two columns of one name are stored"),
        Err(error) => ensure!(
            error.kind() == ErrorKind::Schema,
            "two columns of one name are refused as {}",
            error.kind()
        ),
    }
    Ok(())
}

/// A table that was dropped is gone with its partitions, and only it.
pub(super) async fn dropping_forgets_all(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let keys = [("k", DataType::Utf8)];
    let (gone, stays) = (
        site.partitioned("gone", &keys)?,
        site.partitioned("stays", &keys)?,
    );
    for table in [&gone, &stays] {
        site.catalog.merge(table).await?;
        let one = partition(table, 1, &[Some("x")]);
        site.catalog.add_partitions(&table.name, &[one]).await?;
    }
    ensure!(
        site.catalog.drop_table(&gone.name).await?,
        "a table was dropped, and was not there before"
    );
    ensure!(
        site.again().await?.table(&gone.name).await?.is_none(),
        "a table that was dropped is there"
    );
    site.catalog.merge(&gone).await?;
    let left = site.partitions(&gone).await?;
    ensure!(
        left.is_empty(),
        "a new table has the partitions of a dropped one: {left:?}"
    );
    let others = site.partitions(&stays).await?;
    ensure!(
        others.len() == 1,
        "with a table, partitions of another were dropped"
    );
    Ok(())
}
