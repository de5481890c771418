//! Partitions: all of them, each once, under the values that they have.

use std::collections::BTreeSet;

use arrow_schema::DataType;
use tidegate_core::{CatalogTable, Comparison, ErrorKind, Literal, Predicate, TablePartition};

use super::suite::{CatalogSuite, Site, partition};
use crate::suites::check::{Outcome, ensure, fail};

/// Partitions come back with their directories, sorted by their values; NULL is a value.
pub(super) async fn partitions_come_back_in_order(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let keys = [("year", DataType::Int32), ("kind", DataType::Utf8)];
    let table = site.partitioned("t", &keys)?;
    site.catalog.merge(&table).await?;
    let told: Vec<_> = [
        [Some("2024"), Some("b")],
        [Some("2023"), Some("z")],
        [Some("2024"), None],
        [None, Some("b")],
        [Some("2024"), Some("a")],
    ]
    .iter()
    .enumerate()
    .map(|(number, values)| partition(&table, number, values))
    .collect();
    site.catalog.add_partitions(&table.name, &told).await?;
    let mut wanted = told.clone();
    wanted.sort();
    let found = site.partitions(&table).await?;
    ensure!(
        found == wanted,
        "the partitions {wanted:?} came back as {found:?}"
    );
    Ok(())
}

/// Added again, also to another directory, a partition is there once, as it was.
pub(super) async fn a_partition_stays_where_it_is(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let table = site.partitioned("t", &[("k", DataType::Utf8)])?;
    site.catalog.merge(&table).await?;
    let one = partition(&table, 1, &[Some("x")]);
    let elsewhere = partition(&table, 2, &[Some("x")]);
    let new = partition(&table, 3, &[Some("y")]);
    site.catalog
        .add_partitions(&table.name, std::slice::from_ref(&one))
        .await?;
    for again in [vec![one.clone()], vec![elsewhere, new.clone()], vec![]] {
        site.again()
            .await?
            .add_partitions(&table.name, &again)
            .await?;
    }
    let found = site.partitions(&table).await?;
    let wanted = [one, new];
    ensure!(
        found == wanted,
        "{wanted:?}, added again, came back as {found:?}"
    );
    Ok(())
}

/// Values of any characters come back as they were.
pub(super) async fn odd_values_come_back(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let table = site.partitioned("t", &[("k", DataType::Utf8)])?;
    site.catalog.merge(&table).await?;
    let long = "long".repeat(250);
    let odd = [
        "a/b",
        "a=b",
        "a:b",
        "a b",
        " a ",
        "100%",
        "%2F",
        "a%3Ab",
        "it's",
        "\"quoted\"",
        "a\\b",
        "a,b",
        "größe",
        "日本",
        "🦀",
        "a\tb",
        "NULL",
        "null",
        "-",
        ".",
        "..",
        "*",
        "?",
        "#",
        &long,
    ];
    let told: Vec<_> = odd
        .iter()
        .enumerate()
        .map(|(number, value)| partition(&table, number, &[Some(*value)]))
        .collect();
    site.catalog.add_partitions(&table.name, &told).await?;
    let mut wanted = told.clone();
    wanted.sort();
    let found = site.partitions(&table).await?;
    for (found, wanted) in found.iter().zip(&wanted) {
        ensure!(found == wanted, "{wanted:?} came back as {found:?}");
    }
    ensure!(
        found.len() == wanted.len(),
        "{} odd values came back as {}",
        wanted.len(),
        found.len()
    );
    // What was told with odd values is found by them again.
    let values: Vec<_> = told.into_iter().map(|partition| partition.values).collect();
    site.catalog.drop_partitions(&table.name, &values).await?;
    let left = site.partitions(&table).await?;
    ensure!(
        left.is_empty(),
        "partitions with odd values can't be dropped: {left:?}"
    );
    Ok(())
}

/// More partitions than any request takes.
pub(super) async fn many_partitions(suite: &CatalogSuite) -> Outcome {
    const MANY: usize = 1_205;
    let site = suite.site().await?;
    let table = site.partitioned("t", &[("k", DataType::Int64)])?;
    site.catalog.merge(&table).await?;
    let told: Vec<_> = (0..MANY)
        .map(|number| partition(&table, number, &[Some(&number.to_string())]))
        .collect();
    site.catalog.add_partitions(&table.name, &told).await?;
    let found = site.partitions(&table).await?;
    let (found, wanted): (BTreeSet<_>, BTreeSet<_>) =
        (found.into_iter().collect(), told.iter().cloned().collect());
    ensure!(
        found == wanted,
        "{MANY} partitions were added, and {} of them came back",
        found.intersection(&wanted).count()
    );
    Ok(())
}

/// Predicates may leave out what can't fulfil them, and never what can.
pub(super) async fn predicates_are_offers(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let keys = [
        ("n", DataType::Int32),
        ("s", DataType::Utf8),
        ("d", DataType::Date32),
    ];
    let table = site.partitioned("t", &keys)?;
    site.catalog.merge(&table).await?;
    let told: Vec<_> = [
        [Some("9"), Some("a"), Some("2024-01-01")],
        [Some("10"), Some("it's"), Some("2024-01-02")],
        [Some("-1"), Some("größe"), Some("1969-12-31")],
        [Some("9"), Some("A"), None],
        [None, None, Some("2024-01-02")],
        [Some("100"), Some("a\\b\"c"), Some("2024-12-31")],
    ]
    .iter()
    .enumerate()
    .map(|(number, values)| partition(&table, number, values))
    .collect();
    site.catalog.add_partitions(&table.name, &told).await?;
    let compare = |column: &str, op, value| Predicate::Compare {
        column: column.into(),
        op,
        value,
    };
    let text = |text: &str| Literal::Text(text.into());
    let any = |column: &str, values| Predicate::In {
        column: column.into(),
        values,
    };
    // Each with the partitions, by number, that a row in them may fulfil it in.
    let asked: Vec<(Vec<Predicate>, &[usize])> = vec![
        (
            vec![compare("n", Comparison::GtEq, Literal::Int(10))],
            &[1, 5],
        ),
        (
            vec![compare("n", Comparison::Lt, Literal::Int(10))],
            &[0, 2, 3],
        ),
        (
            vec![compare("n", Comparison::NotEq, Literal::Int(9))],
            &[1, 2, 5],
        ),
        (vec![compare("s", Comparison::Eq, text("it's"))], &[1]),
        (vec![compare("s", Comparison::Eq, text("größe"))], &[2]),
        (vec![compare("s", Comparison::Eq, text("a\\b\"c"))], &[5]),
        (vec![compare("s", Comparison::Eq, text("nothing"))], &[]),
        (
            vec![compare("d", Comparison::Eq, Literal::Date(19_724))],
            &[1, 4],
        ),
        (vec![compare("d", Comparison::Lt, Literal::Date(0))], &[2]),
        (
            vec![any("n", vec![Literal::Int(9), Literal::Int(100)])],
            &[0, 3, 5],
        ),
        (vec![any("s", vec![text("a"), text("it's")])], &[0, 1]),
        (vec![Predicate::IsNull("s".into())], &[4]),
        (vec![Predicate::IsNotNull("d".into())], &[0, 1, 2, 4, 5]),
        (
            vec![
                compare("n", Comparison::Eq, Literal::Int(9)),
                compare("s", Comparison::Eq, text("a")),
            ],
            &[0],
        ),
        (
            vec![compare("id", Comparison::Eq, Literal::Int(1))],
            &[0, 1, 2, 3, 4, 5],
        ),
        // More than any request can say.
        (
            vec![any("n", (0..5_000).map(Literal::Int).collect())],
            &[0, 1, 3, 5],
        ),
    ];
    for (predicates, matching) in asked {
        let found = site.catalog.partitions(&table, &predicates).await?;
        for number in matching {
            ensure!(
                found.contains(&told[*number]),
                "asked for {}, it left out {:?}",
                shown(&predicates),
                told[*number].values
            );
        }
        if let Some(odd) = found.iter().find(|one| !told.contains(one)) {
            fail!("asked for {}, it gave {odd:?}", shown(&predicates));
        }
    }
    Ok(())
}

fn shown(predicates: &[Predicate]) -> String {
    let text = format!("{predicates:?}");
    text.chars().take(200).collect()
}

/// Partitions that were dropped are gone, and only they; what isn't there is fine.
pub(super) async fn dropped_partitions_are_gone(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let (table, told) = sixty(&site).await?;
    let (gone, stay) = told.split_at(40);
    let mut values: Vec<_> = gone.iter().map(|one| one.values.clone()).collect();
    values.push(vec![Some("never there".to_owned())]);
    for _ in 0..2 {
        site.again()
            .await?
            .drop_partitions(&table.name, &values)
            .await?;
        let found = site.partitions(&table).await?;
        ensure!(
            found == stay,
            "of {} partitions {} were dropped, and {} are left",
            told.len(),
            gone.len(),
            found.len()
        );
    }
    Ok(())
}

async fn sixty(site: &Site) -> Outcome<(CatalogTable, Vec<TablePartition>)> {
    let table = site.partitioned("t", &[("k", DataType::Utf8)])?;
    site.catalog.merge(&table).await?;
    let mut told: Vec<_> = (0..59)
        .map(|number| partition(&table, number, &[Some(&format!("{number:02}"))]))
        .collect();
    told.insert(0, partition(&table, 59, &[None]));
    site.catalog.add_partitions(&table.name, &told).await?;
    Ok((table, told))
}

/// A partition of a table that isn't there is refused.
pub(super) async fn partitions_need_a_table(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let table = site.partitioned("t", &[("k", DataType::Utf8)])?;
    let one = partition(&table, 1, &[Some("x")]);
    match site.catalog.add_partitions(&table.name, &[one]).await {
        Ok(()) => fail!("a partition was added to a table that isn't there"),
        Err(error) => ensure!(
            error.kind() == ErrorKind::NotFound,
            "a partition of a table that isn't there is refused as {}: {error:?}",
            error.kind()
        ),
    }
    Ok(())
}

/// When a table gets other columns, its partitions stay.
pub(super) async fn partitions_survive_a_merge(suite: &CatalogSuite) -> Outcome {
    let site = suite.site().await?;
    let (table, told) = sixty(&site).await?;
    let mut wider = site.table("t", &[("id", DataType::Int64), ("more", DataType::Utf8)])?;
    wider.partition_keys.clone_from(&table.partition_keys);
    site.catalog.merge(&wider).await?;
    let found = site.partitions(&table).await?;
    ensure!(
        found == told,
        "a table of {} partitions got a column, and has {} now",
        told.len(),
        found.len()
    );
    Ok(())
}
