//! What a footer doesn't say, or says wrongly, is not believed.

use std::fs;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array, StringArray, UInt32Array};
use arrow_schema::{DataType, Field};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnChunkMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use parquet::file::statistics::Statistics;
use tidegate_core::TableFormat;

use crate::world::World;

fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn floats<const N: usize>(values: [f64; N]) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

/// Writes a file's footer anew, with other statistics: of the row group and the column.
fn restated(
    world: &World,
    path: &str,
    edit: impl Fn(usize, &str, ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) {
    let path = world.path(path);
    let bytes = fs::read(&path).unwrap();
    let mut reader = ParquetMetaDataReader::new();
    reader
        .try_parse(&bytes::Bytes::from(bytes.clone()))
        .unwrap();
    let mut builder = reader.finish().unwrap().into_builder();
    let groups = builder.take_row_groups().into_iter().enumerate();
    let groups = groups.map(|(at, group)| {
        let mut group = group.into_builder();
        let columns = group
            .take_columns()
            .into_iter()
            .map(|column: ColumnChunkMetaData| {
                let name = column.column_path().string();
                let builder = column
                    .into_builder()
                    .set_column_index_offset(None)
                    .set_column_index_length(None)
                    .set_offset_index_offset(None)
                    .set_offset_index_length(None);
                edit(at, &name, builder).build().unwrap()
            });
        let columns = columns.collect();
        group.set_column_metadata(columns).build().unwrap()
    });
    let groups = groups.collect();
    let metadata = builder.set_row_groups(groups).build();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    let mut file = bytes[..bytes.len() - 8 - length as usize].to_vec();
    ParquetMetaDataWriter::new(&mut file, &metadata)
        .finish()
        .unwrap();
    fs::write(path, file).unwrap();
}

/// A file whose second row group tells nothing of its texts.
pub(crate) fn only_some_groups_told(world: &World) {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "", "late", ""]));
    world.parquet("a.parquet", vec![("id", ints(1..=4)), ("s", texts)], 2);
    restated(world, "a.parquet", |group, name, chunk| {
        match (group, name) {
            (1, "s") => chunk.clear_statistics(),
            _ => chunk,
        }
    });
}

/// A file whose first row group has a NaN that its bounds don't tell of.
pub(crate) fn nan_behind_a_bound(world: &World) {
    let values = floats([1.0, f64::NAN, 3.0, 3.0]);
    world.parquet("a.parquet", vec![("id", ints(1..=4)), ("f", values)], 2);
}

/// A file whose first row group doesn't tell how many NULLs it has.
pub(crate) fn nulls_not_counted(world: &World) {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(7), None]));
    world.parquet("a.parquet", vec![("id", ints(1..=4)), ("n", column)], 2);
    restated(world, "a.parquet", |group, name, chunk| {
        match (group, name) {
            (0, "n") => {
                chunk.set_statistics(Statistics::int64(Some(7), Some(7), None, None, false))
            }
            _ => chunk,
        }
    });
}

#[tokio::test]
async fn a1_statistics_of_some_row_groups_are_not_those_of_the_file() {
    let world = World::new().await;
    only_some_groups_told(&world);
    let rows = world.rows("SELECT id FROM 'a.parquet' WHERE s <> ''").await;
    assert_eq!(rows, "3");
    let rows = world
        .rows("SELECT max(s), count(s), max(id) FROM 'a.parquet'")
        .await;
    assert_eq!(rows, "late|4|4");
    let rows = world
        .rows("SELECT id, s FROM 'a.parquet' ORDER BY id")
        .await;
    assert_eq!(rows, "1|\n2|\n3|late\n4|");
    // What all row groups say is still of use.
    let plan = world
        .query("SELECT max(id) FROM 'a.parquet'")
        .await
        .unwrap();
    let plan = plan.explain().await.unwrap().plan;
    assert!(!plan.contains("DataSourceExec"), "{plan}");
}

#[tokio::test]
async fn a1_counts_of_nulls_that_are_missing_are_unknown() {
    let world = World::new().await;
    nulls_not_counted(&world);
    for (sql, rows) in [
        (
            "SELECT id FROM 'a.parquet' WHERE n IS NULL ORDER BY id",
            "2\n4",
        ),
        ("SELECT count(*), count(n) FROM 'a.parquet'", "4|2"),
        (
            "SELECT id, n FROM 'a.parquet' ORDER BY id",
            "1|7\n2|\n3|7\n4|",
        ),
        (
            "SELECT id FROM 'a.parquet' WHERE n IS DISTINCT FROM 7 ORDER BY id",
            "2\n4",
        ),
        ("SELECT id FROM 'a.parquet' WHERE n = 7 LIMIT 1", "1"),
    ] {
        assert_eq!(world.rows(sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn bounds_that_old_writers_got_wrong_are_not_believed() {
    let world = World::new().await;
    let large = 3_000_000_000_u32;
    let column: ArrayRef = Arc::new(UInt32Array::from(vec![large, 1]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["é", "a"]));
    world.parquet("a.parquet", vec![("n", column), ("s", texts)], 10);
    restated(&world, "a.parquet", |_, name, chunk| {
        // As signed numbers and bytes, in the fields that are deprecated.
        let (least, greatest) = (Some("é".into()), Some("a".into()));
        chunk.set_statistics(match name {
            "n" => Statistics::int32(Some(large.cast_signed()), Some(1), None, Some(0), true),
            _ => Statistics::byte_array(least, greatest, None, Some(0), true),
        })
    });
    for (sql, rows) in [
        (
            "SELECT n FROM 'a.parquet' WHERE n > 2000000000",
            "3000000000",
        ),
        ("SELECT max(n), min(n) FROM 'a.parquet'", "3000000000|1"),
        ("SELECT s FROM 'a.parquet' WHERE s > 'b'", "é"),
        ("SELECT max(s), min(s) FROM 'a.parquet'", "é|a"),
    ] {
        assert_eq!(world.rows(sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn a2_nan_and_zeros_are_in_no_bounds() {
    let world = World::new().await;
    let nan = f64::NAN;
    let values = floats([1.0, nan, 3.0, 3.0, nan, nan, -0.0, 0.0]);
    let singles: ArrayRef = Arc::new(Float32Array::from_iter_values([
        1.0,
        f32::NAN,
        3.0,
        3.0,
        f32::NAN,
        f32::NAN,
        -0.0,
        0.0,
    ]));
    let columns = vec![("id", ints(1..=8)), ("f", values), ("g", singles)];
    world.parquet("a.parquet", columns, 2);
    for column in ["f", "g"] {
        for (condition, ids) in [
            ("{} <> 1", "2,3,4,5,6,7,8"),
            ("{} > 2", "2,3,4,5,6"),
            ("{} > 5", "2,5,6"),
            ("{} = CAST('NaN' AS DOUBLE)", "2,5,6"),
            ("{} NOT IN (1, 3)", "2,5,6,7,8"),
            ("{} IS DISTINCT FROM 3", "1,2,5,6,7,8"),
            ("NOT ({} < 4)", "2,5,6"),
            ("isnan({})", "2,5,6"),
            ("{} = 3", "3,4"),
        ] {
            let condition = condition.replace("{}", column);
            let sql = format!("SELECT id FROM 'a.parquet' WHERE {condition} ORDER BY id");
            assert_eq!(world.rows(&sql).await.replace('\n', ","), ids, "{sql}");
        }
        let sql = format!("SELECT id FROM 'a.parquet' ORDER BY {column} DESC, id LIMIT 3");
        assert_eq!(world.rows(&sql).await, "2\n5\n6", "{sql}");
        let sql = format!("SELECT max({column}), count({column}) FROM 'a.parquet'");
        assert_eq!(world.rows(&sql).await, "NaN|8", "{sql}");
    }
}

#[tokio::test]
async fn a2_a_catalogs_table_keeps_its_nan() {
    let world = World::new().await;
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("f", DataType::Float64, true),
    ];
    world
        .table("shop.t", TableFormat::Parquet, fields, vec![])
        .await;
    world.parquet(
        "t/a.parquet",
        vec![("id", ints([1, 2])), ("f", floats([1.0, f64::NAN]))],
        10,
    );
    world.parquet(
        "t/b.parquet",
        vec![("id", ints([3, 4])), ("f", floats([1.0, 1.0]))],
        10,
    );
    for (sql, rows) in [
        (
            "SELECT id, f FROM shop.t ORDER BY id",
            "1|1.0\n2|NaN\n3|1.0\n4|1.0",
        ),
        ("SELECT id FROM t WHERE f <> 1", "2"),
        ("SELECT max(f), sum(f) FROM t", "NaN|NaN"),
    ] {
        assert_eq!(world.rows(sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn two_columns_of_one_name_are_two_columns() {
    let world = World::new().await;
    world.parquet(
        "a.parquet",
        vec![("a", ints([1, 1])), ("a", ints([2, 3]))],
        10,
    );
    let error = world
        .try_rows("SELECT * FROM 'a.parquet'")
        .await
        .unwrap_err();
    assert!(error.message().contains("`a`"), "{error:?}");
}
