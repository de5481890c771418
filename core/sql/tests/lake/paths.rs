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
async fn directories_name_columns() {
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

#[tokio::test]
async fn c9_directories_of_uneven_depth_keep_their_columns() {
    let world = World::new().await;
    for (file, id) in [
        ("lake/a=1/x.parquet", 1),
        ("lake/a=2/b=u/x.parquet", 2),
        ("lake/x.parquet", 3),
        ("lake/A=/x.parquet", 4),
    ] {
        world.parquet(file, vec![("id", ints([id]))], 10);
    }
    let rows = world.rows("SELECT id, a, b FROM 'lake' ORDER BY id").await;
    assert_eq!(rows, "1|1|\n2|2|u\n3||\n4||");
    let rows = world
        .rows("SELECT id FROM 'lake' WHERE a IS NULL ORDER BY id")
        .await;
    assert_eq!(rows, "3\n4");
    let rows = world.rows("SELECT id FROM 'lake' WHERE b = 'u'").await;
    assert_eq!(rows, "2");
    // Where the files have the column, too, nobody knows which is meant of those that no directory names.
    world.parquet(
        "both/a=1/x.parquet",
        vec![("a", ints([7])), ("id", ints([1]))],
        10,
    );
    assert_eq!(world.rows("SELECT a FROM 'both'").await, "1");
    world.parquet(
        "both/x.parquet",
        vec![("a", ints([8])), ("id", ints([2]))],
        10,
    );
    let error = world.query("SELECT a FROM 'both'").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
    assert!(error.to_string().contains("both/x.parquet"), "{error}");
    world.parquet("twice/a=1/a=2/x.parquet", vec![("id", ints([1]))], 10);
    let error = world.query("SELECT id FROM 'twice'").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
}

#[tokio::test]
async fn values_of_directories_have_a_type_only_if_it_writes_them_back() {
    let world = World::new().await;
    for (n, text) in ["007", "1.10", "2024-1-5", "7"].iter().enumerate() {
        let file = format!("lake/v={text}/{n}.parquet");
        world.parquet(&file, vec![("id", ints([1]))], 10);
    }
    world.parquet("lake/v=a%2Fb%25 %3A/x.parquet", vec![("id", ints([2]))], 10);
    let rows = world.rows("SELECT v FROM 'lake' ORDER BY v").await;
    assert_eq!(rows, "007\n1.10\n2024-1-5\n7\na/b% :");
    assert_eq!(
        world.rows("SELECT id FROM 'lake' WHERE v = 'a/b% :'").await,
        "2"
    );
}

#[tokio::test]
async fn partitions_that_begin_with_an_underscore_are_in_a_directory() {
    let world = World::new().await;
    for file in [
        "lake/_op=insert/a.parquet",
        "lake/_op=delete/a.parquet",
        "lake/_tmp/x.parquet",
    ] {
        world.parquet(file, vec![("id", ints([1]))], 10);
    }
    for path in ["lake", "lake/**/*.parquet", "lake/_op=*/*"] {
        let sql = format!("SELECT _op FROM '{path}' ORDER BY _op");
        assert_eq!(world.rows(&sql).await, "delete\ninsert", "{path}");
    }
}

#[tokio::test]
async fn a8_a_name_that_is_there_is_no_pattern() {
    let world = World::new().await;
    for (file, id) in [
        ("s[1].parquet", 1),
        ("s1.parquet", 2),
        ("d[x]?/a#1.parquet", 3),
    ] {
        world.parquet(file, vec![("id", ints([id]))], 10);
    }
    world.parquet("dx1/b.parquet", vec![("id", ints([4]))], 10);
    let url = format!("file://{}/s%5B1%5D.parquet", world.path("").display());
    for (path, rows) in [
        ("s[1].parquet", "1"),
        (url.as_str(), "1"),
        ("s[12].parquet", "2"),
        ("d[x]?", "3"),
        ("d[x]?/*", "3"),
        ("d[x]?/a#1.parquet", "3"),
    ] {
        let sql = format!("SELECT id FROM '{path}'");
        assert_eq!(world.rows(&sql).await, rows, "{path}");
    }
    let error = world
        .query("SELECT 1 FROM 's[34].parquet'")
        .await
        .unwrap_err();
    assert!(error.hint_text().unwrap().contains("[[]"), "{error:?}");
}

#[tokio::test]
async fn c8_an_odd_neighbour_hides_no_file() {
    let world = World::new().await;
    world.parquet("in/a.parquet", vec![("id", ints([1]))], 10);
    world.text("in/Icon\r", "x");
    world.text("in/b\u{1}.parquet", "x");
    for path in ["in", "in/*", "in/*.parquet", "in/a.parquet"] {
        let sql = format!("SELECT id FROM '{path}'");
        assert_eq!(world.rows(&sql).await, "1", "{path}");
    }
}
