//! Paths as tables.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array};
use tidegate_core::ErrorKind;

use crate::world::World;

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

#[tokio::test]
async fn a_pattern_is_a_table() {
    let world = World::new().await;
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    world.parquet("data/a.parquet", vec![("id", narrow)], 10);
    world.parquet(
        "data/b.parquet",
        vec![("id", ints([2])), ("x", ints([5]))],
        10,
    );
    world.text("data/_SUCCESS", "no data");
    for path in ["data/*.parquet", "data", "./data/**/*.parquet"] {
        let sql = format!("SELECT id, x FROM '{path}' ORDER BY id");
        assert_eq!(world.rows(&sql).await, "1|\n2|5", "{path}");
    }
    let absolute = world.path("data/b.parquet");
    let sql = format!("SELECT id FROM \"{}\"", absolute.display());
    assert_eq!(world.rows(&sql).await, "2");
}

#[tokio::test]
async fn folders_name_columns() {
    let world = World::new().await;
    for (year, month) in [(2023, "12"), (2024, "01"), (2024, "02")] {
        let file = format!("lake/year={year}/month={month}/a.parquet");
        world.parquet(&file, vec![("id", ints([year]))], 10);
    }
    let sql = "SELECT month, id FROM 'lake' WHERE year = 2024 ORDER BY month";
    assert_eq!(world.rows(sql).await, "01|2024\n02|2024");
    let explained = world.query(sql).await.unwrap().explain().await.unwrap();
    let share = explained.tables[0].partitions.unwrap();
    assert_eq!((share.read, share.of), (2, 3));
}

#[tokio::test]
async fn what_cant_be_read_is_said() {
    let world = World::new().await;
    let kind = async |sql: &str| world.query(sql).await.unwrap_err().kind();
    assert_eq!(
        kind("SELECT 1 FROM 'none/*.csv'").await,
        ErrorKind::NotFound
    );
    world.text("a.txt", "x");
    assert_eq!(kind("SELECT 1 FROM 'a.txt'").await, ErrorKind::Unsupported);
    for name in ["a.csv.bz2", "a.parquet.gz", "a.gz", "a.csv"] {
        world.text(name, "x\n");
        let sql = format!("SELECT 1 FROM '{name}'");
        assert_eq!(kind(&sql).await, ErrorKind::Unsupported, "{name}");
    }
    world.text("broken.parquet", "this is no Parquet at all, is it?");
    assert_eq!(
        kind("SELECT 1 FROM 'broken.parquet'").await,
        ErrorKind::Data
    );
    world.text("mixed/a.csv", "x\n1\n");
    world.text("mixed/b.json", "{}");
    assert_eq!(kind("SELECT 1 FROM 'mixed'").await, ErrorKind::Config);
    assert_eq!(kind("DELETE FROM 'a.csv'").await, ErrorKind::Config);
    assert_eq!(kind("SELECT FROM WHERE").await, ErrorKind::Config);
}

#[tokio::test]
async fn money_stays_exact() {
    let world = World::new().await;
    world.parquet("a.parquet", vec![("id", ints([1]))], 10);
    assert_eq!(
        world.rows("SELECT 0.1 + 0.2 AS s FROM 'a.parquet'").await,
        "0.3"
    );
}
