//! What DataFusion infers wrongly, and what is here only because of that.
//!
//! These tests hold what is wrong. When one fails, DataFusion has mended it: what its message names
//! can go.

use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::statistics::{nan_behind_a_bound, nulls_not_counted, only_some_groups_told};
use crate::world::World;

/// What DataFusion by itself makes of a file.
async fn datafusion(world: &World, file: &str, sql: &str) -> String {
    let session = SessionContext::new();
    let path = world.path(file).display().to_string();
    let options = ParquetReadOptions::default();
    session.register_parquet("t", path, options).await.unwrap();
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    World::drawn(&batches)
}

#[tokio::test]
async fn statistics_of_some_row_groups_are_taken_for_those_of_the_file() {
    let world = World::new().await;
    only_some_groups_told(&world);
    let rows = datafusion(&world, "a.parquet", "SELECT max(s) FROM t").await;
    assert_ne!(rows, "late", "`complete` in `lake/footers.rs` can go");
}

#[tokio::test]
async fn bounds_are_taken_for_those_of_nan() {
    let world = World::new().await;
    nan_behind_a_bound(&world);
    let sql = "SELECT id FROM t WHERE f > 2 ORDER BY id";
    let rows = datafusion(&world, "a.parquet", sql).await;
    let message = "`Trust::Counts` in `lake/trusted.rs` can go for floating-point numbers";
    assert_ne!(rows, "2\n3\n4", "{message}");
}

#[tokio::test]
async fn missing_counts_of_nulls_are_taken_for_none() {
    let world = World::new().await;
    nulls_not_counted(&world);
    let sql = "SELECT id FROM t WHERE n IS NULL ORDER BY id";
    let rows = datafusion(&world, "a.parquet", sql).await;
    assert_ne!(rows, "2\n4", "`counts_nulls` in `lake/trusted.rs` can go");
}

#[tokio::test]
async fn a_time_between_two_of_a_column_is_taken_for_the_lower() {
    let session = SessionContext::new();
    let sql = "SELECT count(*) FROM (SELECT arrow_cast('2024-01-01T00:00:00', \
               'Timestamp(Microsecond, None)') AS at FROM generate_series(1, 2)) \
               WHERE at < TIMESTAMP '2024-01-01T00:00:00.000000001'";
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let message = "`Moment::Above` in `dialect/moments.rs` can go";
    assert_ne!(World::drawn(&batches), "2", "{message}");
}

#[tokio::test]
async fn decimals_beside_doubles_make_decimals_of_them() {
    let session = SessionContext::new();
    let sql = "SELECT arrow_typeof(coalesce(CAST(1.5 AS DOUBLE), CAST(0.5 AS DECIMAL(2, 1))))";
    let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
    let message = "`number` in `dialect/common.rs` can go";
    assert_ne!(World::drawn(&batches), "Float64", "{message}");
}
