//! `min` and `max` of floating-point numbers.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array};

use crate::world::World;

#[tokio::test]
async fn groups_of_infinity_and_nan_have_the_extremes_that_all_rows_have() {
    let world = World::new().await;
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let rows = [
        (1, Some(-inf)),
        (1, Some(-inf)),
        (2, Some(inf)),
        (3, Some(nan)),
        (4, Some(nan)),
        (4, Some(1.0)),
        (5, Some(1.0)),
        (5, Some(nan)),
        (6, None),
        (7, Some(-0.0)),
        (7, Some(0.0)),
    ];
    let groups: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.map(|(group, _)| group)));
    let doubles: ArrayRef = Arc::new(Float64Array::from_iter(rows.map(|(_, value)| value)));
    #[expect(clippy::cast_possible_truncation, reason = "all are exact")]
    let singles = rows.map(|(_, value)| value.map(|value| value as f32));
    let singles: ArrayRef = Arc::new(Float32Array::from_iter(singles));
    let columns = vec![("g", groups), ("d", doubles), ("s", singles)];
    world.parquet("t.parquet", columns, 100);
    let expected = "1|-inf|-inf\n2|inf|inf\n3|NaN|NaN\n4|1.0|NaN\n5|1.0|NaN\n6||\n7|-0.0|0.0";
    for column in ["d", "s"] {
        let grouped = format!(
            "SELECT g, min({column}) AS lo, max({column}) AS hi FROM 't.parquet' GROUP BY g ORDER BY g"
        );
        assert_eq!(world.rows(&grouped).await, expected, "{column}");
        for line in expected.lines() {
            let (group, extremes) = line.split_once('|').unwrap();
            let sql = format!(
                "SELECT min({column}) AS lo, max({column}) AS hi FROM 't.parquet' WHERE g = {group}"
            );
            assert_eq!(world.rows(&sql).await, extremes, "{column} of {group}");
        }
    }
}
