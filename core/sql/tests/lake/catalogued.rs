//! Tables of a catalog.

use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use tidegate_core::{CatalogTable, ErrorKind, TableFormat};

use crate::world::World;

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// `shop.sales`, partitioned by day: two days, and one of which not even the place can be opened.
async fn sales(world: &World) -> CatalogTable {
    let columns = vec![field("id", DataType::Int64), field("item", DataType::Utf8)];
    let keys = vec![field("day", DataType::Date32)];
    let table = world
        .table("shop.sales", TableFormat::Parquet, columns, keys)
        .await;
    for (day, ids) in [("2024-01-01", 0..3), ("2024-01-02", 3..6)] {
        let directory = format!("day={day}");
        let items = texts(&["tea", "milk", "sugar"]);
        let file = format!("sales/{directory}/a.parquet");
        world.parquet(&file, vec![("id", ints(ids)), ("item", items)], 1_000);
        world.partition(&table, &[Some(day)], &directory).await;
    }
    table
}

#[tokio::test]
async fn a_table_has_its_partition_keys_as_typed_columns() {
    let world = World::new().await;
    sales(&world).await;
    assert_eq!(
        world
            .rows(
                "SELECT day, count(*) AS n, sum(id) AS s FROM shop.sales GROUP BY day ORDER BY day"
            )
            .await,
        "2024-01-01|3|3\n2024-01-02|3|12"
    );
    assert_eq!(
        world
            .rows("SELECT item FROM sales WHERE day > DATE '2024-01-01' AND id = 4")
            .await,
        "milk"
    );
}

#[tokio::test]
async fn partitions_that_cant_match_are_never_listed() {
    let world = World::new().await;
    let table = sales(&world).await;
    world
        .partition(&table, &[Some("2024-01-03")], "gs://nowhere/x")
        .await;
    let error = world
        .try_rows("SELECT * FROM shop.sales")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let query = world
        .query("SELECT * FROM shop.sales WHERE day = '2024-01-02'")
        .await
        .unwrap();
    assert_eq!(query.traffic().listings(), 1);
    let explained = query.explain().await.unwrap();
    let share = explained.tables[0].partitions.unwrap();
    assert_eq!((share.read, share.of), (1, 3));
    assert_eq!(explained.tables[0].files, 1);
    assert_eq!(explained.tables[0].chosen_by.len(), 1);

    // What a catalog can't decide by itself is decided before any listing as well.
    let query = world
        .query("SELECT * FROM shop.sales WHERE extract(day FROM day) < 2")
        .await
        .unwrap();
    assert_eq!(query.traffic().listings(), 1);
}

#[tokio::test]
async fn a_null_partition_is_found_by_is_null_and_by_nothing_else() {
    let world = World::new().await;
    let table = sales(&world).await;
    let directory = "day=__HIVE_DEFAULT_PARTITION__";
    let file = format!("sales/{directory}/a.parquet");
    world.parquet(
        &file,
        vec![("id", ints([9])), ("item", texts(&["salt"]))],
        10,
    );
    world.partition(&table, &[None], directory).await;
    assert_eq!(
        world
            .rows("SELECT id, day FROM sales WHERE day IS NULL")
            .await,
        "9|"
    );
    assert_eq!(
        world
            .rows("SELECT count(*) AS n FROM sales WHERE day < DATE '2999-01-01'")
            .await,
        "6"
    );
    assert_eq!(
        world
            .rows("SELECT count(day) AS n, count(*) AS m FROM sales")
            .await,
        "6|7"
    );
}

#[tokio::test]
async fn older_files_have_fewer_and_narrower_columns() {
    let world = World::new().await;
    let columns = vec![
        field("id", DataType::Int64),
        field("amount", DataType::Decimal128(18, 2)),
        field("note", DataType::Utf8),
    ];
    world
        .table("shop.orders", TableFormat::Parquet, columns, Vec::new())
        .await;
    let old: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    world.parquet("orders/old.parquet", vec![("id", old)], 10);
    let amounts = arrow_array::Decimal128Array::from(vec![1_250, 300])
        .with_precision_and_scale(18, 2)
        .unwrap();
    world.parquet(
        "orders/new.parquet",
        vec![
            ("note", texts(&["x", "y"])),
            ("id", ints([3, 4])),
            ("amount", Arc::new(amounts)),
        ],
        10,
    );
    assert_eq!(
        world
            .rows("SELECT id, amount, note FROM orders ORDER BY id")
            .await,
        "1||\n2||\n3|12.50|x\n4|3.00|y"
    );
    assert_eq!(
        world
            .rows("SELECT max(id) AS m, min(id) AS l, count(*) AS n FROM orders")
            .await,
        "4|1|4"
    );
    assert_eq!(
        world
            .rows("SELECT id FROM orders WHERE id < 3 AND note IS NULL ORDER BY id")
            .await,
        "1\n2"
    );
}

#[tokio::test]
async fn columns_are_found_whatever_their_case() {
    let world = World::new().await;
    let columns = vec![
        field("userid", DataType::Int64),
        field("name", DataType::Utf8),
    ];
    world
        .table("shop.users", TableFormat::Parquet, columns, Vec::new())
        .await;
    world.parquet(
        "users/a.parquet",
        vec![("userId", ints([7, 8])), ("Name", texts(&["Ada", "Bob"]))],
        10,
    );
    assert_eq!(
        world
            .rows("SELECT USERID, Name FROM Shop.Users WHERE UserId > 7")
            .await,
        "8|Bob"
    );
    assert_eq!(
        world
            .rows("SELECT count(userid) AS n, max(userid) AS m FROM users")
            .await,
        "2|8"
    );
}

#[tokio::test]
async fn row_groups_are_left_out_by_their_bounds() {
    let world = World::new().await;
    let columns = vec![field("id", DataType::Int64)];
    world
        .table("shop.events", TableFormat::Parquet, columns, Vec::new())
        .await;
    world.parquet("events/a.parquet", vec![("id", ints(0..1_000))], 100);
    let query = world
        .query("SELECT id FROM events WHERE id BETWEEN 250 AND 349")
        .await
        .unwrap();
    let explained = query.explain().await.unwrap();
    let groups = explained.tables[0].row_groups.unwrap();
    assert_eq!((groups.read, groups.of), (2, 10));
    assert!(
        explained.tables[0]
            .pushed_down
            .iter()
            .any(|text| text.contains("250")),
        "{:?}",
        explained.tables[0].pushed_down
    );
}

#[tokio::test]
async fn without_readers_of_text_a_text_table_is_refused() {
    let world = World::new().await;
    let columns = vec![field("id", DataType::Int64)];
    let format = TableFormat::Ndjson;
    world.table("shop.json", format, columns, Vec::new()).await;
    world.text("json/a.ndjson", "{\"id\":1}\n");
    let error = world.query("SELECT id FROM json").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_table_that_isnt_there_is_named_with_its_neighbours() {
    let world = World::new().await;
    sales(&world).await;
    let error = world.query("SELECT 1\nFROM shop.sale").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("there is `sales`"), "{error:?}");
    assert!(
        error.context().contains(&("line", "2".to_owned())),
        "{error:?}"
    );
    let error = world.query("SELECT 1 FROM shopp.sales").await.unwrap_err();
    assert!(error.message().contains("there is `shop`"), "{error:?}");
    let error = world.query("SELECT itm FROM sales").await.unwrap_err();
    assert!(error.message().contains("there is `item`"), "{error:?}");
}

#[tokio::test]
async fn a_with_may_have_the_name_of_the_table_that_it_reads() {
    let world = World::new().await;
    sales(&world).await;
    assert_eq!(
        world
            .rows(
                "WITH sales AS (SELECT * FROM sales WHERE id > 3) SELECT count(*) AS n FROM sales"
            )
            .await,
        "2"
    );
}

#[tokio::test]
async fn a_table_may_be_joined_with_itself_and_with_a_file() {
    let world = World::new().await;
    sales(&world).await;
    let prices: ArrayRef = Arc::new(Float64Array::from(vec![2.5, 1.2]));
    let items = texts(&["tea", "milk"]);
    world.parquet(
        "prices.parquet",
        vec![("item", items), ("price", prices)],
        10,
    );
    assert_eq!(
        world
            .rows(
                "SELECT s.id, p.price FROM sales s JOIN 'prices.parquet' p ON s.item = p.item \
                 WHERE s.day = DATE '2024-01-02' ORDER BY s.id"
            )
            .await,
        "3|2.5\n4|1.2"
    );
    assert_eq!(
        world
            .rows("SELECT count(*) AS n FROM sales a JOIN sales b ON a.item = b.item")
            .await,
        "12"
    );
}

#[tokio::test]
async fn many_partitions_are_found_by_one_listing() {
    let world = World::new().await;
    let columns = vec![field("id", DataType::Int64)];
    let keys = vec![field("k", DataType::Int64)];
    let table = world
        .table("shop.wide", TableFormat::Parquet, columns, keys)
        .await;
    for k in 0..70 {
        let directory = format!("k={k}");
        world.parquet(
            &format!("wide/{directory}/a.parquet"),
            vec![("id", ints([k]))],
            10,
        );
        world
            .partition(&table, &[Some(&k.to_string())], &directory)
            .await;
    }
    // A directory that the catalog doesn't know is none of the table's.
    world.parquet("wide/k=999/a.parquet", vec![("id", ints([999]))], 10);
    let query = world.query("SELECT sum(id) AS s FROM wide").await.unwrap();
    assert_eq!(query.traffic().listings(), 1);
    assert_eq!(
        world
            .rows("SELECT sum(id) AS s, sum(k) AS k FROM wide")
            .await,
        "2415|2415"
    );
}

#[tokio::test]
async fn dates_compare_with_dates_of_files() {
    let world = World::new().await;
    let columns = vec![field("d", DataType::Date32)];
    world
        .table("shop.dates", TableFormat::Parquet, columns, Vec::new())
        .await;
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(19_723), None]));
    world.parquet("dates/a.parquet", vec![("d", dates)], 10);
    assert_eq!(
        world
            .rows("SELECT d FROM dates WHERE d = '2024-01-01'")
            .await,
        "2024-01-01"
    );
}

#[tokio::test]
async fn a_value_that_the_tables_type_cannot_hold_is_an_error_and_not_another_value() {
    use arrow_array::{Decimal128Array, TimestampNanosecondArray};
    use arrow_schema::TimeUnit;
    let nanos = |value: i64| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(vec![value])) };
    let decimal = |value: i128| -> ArrayRef {
        let values = Decimal128Array::from(vec![value]);
        Arc::new(values.with_precision_and_scale(5, 2).unwrap())
    };
    let float = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    for (number, (to, fits, other, shown)) in [
        (DataType::Int32, float(2.0), float(2.5), "2.5"),
        (DataType::Int32, ints([2]), ints([1 << 40]), "1099511627776"),
        (DataType::Decimal128(5, 1), decimal(20), decimal(25), "0.25"),
        (
            micros,
            nanos(2_000),
            nanos(2_001),
            "1970-01-01T00:00:00.000002001",
        ),
        (DataType::Int64, texts(&["2"]), texts(&["x"]), "x"),
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new().await;
        let name = format!("shop.t{number}");
        world
            .table(&name, TableFormat::Parquet, vec![field("a", to)], vec![])
            .await;
        world.parquet(&format!("t{number}/0.parquet"), vec![("A", fits)], 10);
        let sql = format!("SELECT a, a IS NULL AS n FROM {name}");
        assert!(world.rows(&sql).await.ends_with("|false"), "{shown}");
        world.parquet(&format!("t{number}/1.parquet"), vec![("A", other)], 10);
        let error = world.try_rows(&sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
        let says = format!("column `a`: `{shown}` doesn't fit");
        assert!(error.message().contains(&says), "{error}");
        assert!(error.hint_text().unwrap().contains("wider type"));
    }
}

/// More partitions than are listed one by one, in directories of odd names, and one that is the table's
/// own directory's neighbour.
#[tokio::test]
async fn partitions_that_begin_with_an_underscore_are_found_by_one_listing() {
    let world = World::new().await;
    let columns = vec![field("id", DataType::Int64)];
    let keys = vec![field("_op", DataType::Utf8)];
    let table = world
        .table("shop.changes", TableFormat::Parquet, columns, keys)
        .await;
    for n in 0..70 {
        let (value, directory) = (format!("{n} a:b"), format!("_op={n} a%3Ab"));
        let file = format!("changes/{directory}/a.parquet");
        world.parquet(&file, vec![("id", ints([n]))], 10);
        let url = format!("{}/{directory}", table.location)
            .replace('%', "%25")
            .replace(' ', "%20");
        world
            .partition(&table, &[Some(&value)], &format!("file://{url}"))
            .await;
    }
    world.parquet("changes/_staged/a.parquet", vec![("id", ints([1000]))], 10);
    world.partition(&table, &[Some("staged")], "_staged").await;
    let rows = world
        .rows("SELECT count(*) AS n, sum(id) AS s FROM changes")
        .await;
    assert_eq!(rows, "71|3415");
    let rows =
        world.rows("SELECT id FROM changes WHERE _op = '7 a:b' OR _op = 'staged' ORDER BY id");
    assert_eq!(rows.await, "7\n1000");
}
