//! Aggregates over windows that move.

use super::{Case, ours, same};

/// What leaves a window leaves nothing behind.
pub(super) const WINDOWS: &[Case] = &[
    same(
        "SELECT id, sum(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s, avg(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m FROM {waves}",
        &[
            r#"{"id":1,"s":"NaN","m":"NaN"}"#,
            r#"{"id":2,"s":"NaN","m":"NaN"}"#,
            r#"{"id":3,"s":3.0,"m":1.5}"#,
            r#"{"id":4,"s":"Infinity","m":"Infinity"}"#,
            r#"{"id":5,"s":"Infinity","m":"Infinity"}"#,
            r#"{"id":6,"s":3.0,"m":3.0}"#,
            r#"{"id":7,"s":4.0,"m":4.0}"#,
        ],
    ),
    same(
        "SELECT id, sum(x) FILTER (WHERE id <> 4) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM {waves}",
        &[
            r#"{"id":1,"s":"NaN"}"#,
            r#"{"id":2,"s":"NaN"}"#,
            r#"{"id":3,"s":3.0}"#,
            r#"{"id":4,"s":2.0}"#,
            r#"{"id":5,"s":3.0}"#,
            r#"{"id":6,"s":3.0}"#,
            r#"{"id":7,"s":4.0}"#,
        ],
    ),
    same(
        "SELECT id, sum(y) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS s FROM {waves}",
        &[
            r#"{"id":1,"s":1e+20}"#,
            r#"{"id":2,"s":31.0}"#,
            r#"{"id":3,"s":30.0}"#,
            r#"{"id":4,"s":28.0}"#,
            r#"{"id":5,"s":24.0}"#,
            r#"{"id":6,"s":24.0}"#,
            r#"{"id":7,"s":16.0}"#,
        ],
    ),
    same(
        "SELECT id, sum(y) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND UNBOUNDED FOLLOWING) AS s FROM {waves}",
        &[
            r#"{"id":1,"s":1e+20}"#,
            r#"{"id":2,"s":1e+20}"#,
            r#"{"id":3,"s":31.0}"#,
            r#"{"id":4,"s":30.0}"#,
            r#"{"id":5,"s":28.0}"#,
            r#"{"id":6,"s":24.0}"#,
            r#"{"id":7,"s":24.0}"#,
        ],
    ),
    same(
        "SELECT id, avg(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS m, mean(n) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING) AS f FROM {waves}",
        &[
            r#"{"id":1,"m":9.223372036854776e+18,"f":1.5}"#,
            r#"{"id":2,"m":4.611686018427388e+18,"f":2.5}"#,
            r#"{"id":3,"m":1.5,"f":3.5}"#,
            r#"{"id":4,"m":2.5,"f":4.5}"#,
            r#"{"id":5,"m":3.5,"f":5.5}"#,
            r#"{"id":6,"m":4.5,"f":6.0}"#,
            r#"{"id":7,"m":5.5,"f":null}"#,
        ],
    ),
    same(
        "SELECT id, sum(y) OVER (ORDER BY t RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS s FROM {waves}",
        &[
            r#"{"id":1,"s":1e+20}"#,
            r#"{"id":2,"s":1e+20}"#,
            r#"{"id":3,"s":1e+20}"#,
            r#"{"id":4,"s":4.0}"#,
            r#"{"id":5,"s":4.0}"#,
            r#"{"id":6,"s":8.0}"#,
            r#"{"id":7,"s":24.0}"#,
        ],
    ),
    // Some frames are empty.
    same(
        "SELECT id, sum(y) OVER (ORDER BY t RANGE BETWEEN 9 PRECEDING AND 5 PRECEDING) AS s FROM {waves}",
        &[
            r#"{"id":1,"s":null}"#,
            r#"{"id":2,"s":null}"#,
            r#"{"id":3,"s":null}"#,
            r#"{"id":4,"s":1e+20}"#,
            r#"{"id":5,"s":3.0}"#,
            r#"{"id":6,"s":null}"#,
            r#"{"id":7,"s":null}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, var_pop(y) OVER w AS a, stddev_pop(y) OVER w AS b, var_samp(y) OVER w AS c FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id > 2",
        &[
            r#"{"id":3,"a":0.25,"b":0.5,"c":0.5}"#,
            r#"{"id":4,"a":1.0,"b":1.0,"c":2.0}"#,
            r#"{"id":5,"a":0.0,"b":0.0,"c":null}"#,
            r#"{"id":6,"a":0.0,"b":0.0,"c":null}"#,
            r#"{"id":7,"a":16.0,"b":4.0,"c":32.0}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, stddev(y - y + 2 * id) OVER w AS a FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id > 2",
        &[
            r#"{"id":3,"a":1.4142135623730951}"#,
            r#"{"id":4,"a":1.4142135623730951}"#,
            r#"{"id":5,"a":null}"#,
            r#"{"id":6,"a":null}"#,
            r#"{"id":7,"a":1.4142135623730951}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, covar_pop(y, id) OVER w AS a, covar_samp(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id > 2",
        &[
            r#"{"id":3,"a":0.25,"b":0.5}"#,
            r#"{"id":4,"a":0.5,"b":1.0}"#,
            r#"{"id":5,"a":0.0,"b":null}"#,
            r#"{"id":6,"a":0.0,"b":null}"#,
            r#"{"id":7,"a":2.0,"b":4.0}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, corr(y, id) OVER w AS a, regr_r2(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id IN (3, 4, 7)",
        &[
            r#"{"id":3,"a":1.0,"b":1.0}"#,
            r#"{"id":4,"a":1.0,"b":1.0}"#,
            r#"{"id":7,"a":1.0,"b":1.0}"#,
        ],
    ),
    ours(
        "SELECT * FROM (SELECT id, corr(y, id) OVER w AS a, regr_r2(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id IN (5, 6)",
        &[
            r#"{"id":5,"a":null,"b":null}"#,
            r#"{"id":6,"a":null,"b":null}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, regr_slope(y, id) OVER w AS a, regr_intercept(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id IN (3, 4, 7)",
        &[
            r#"{"id":3,"a":1.0,"b":-1.0}"#,
            r#"{"id":4,"a":2.0,"b":-4.0}"#,
            r#"{"id":7,"a":8.0,"b":-40.0}"#,
        ],
    ),
    ours(
        "SELECT * FROM (SELECT id, regr_slope(y, id) OVER w AS a, regr_intercept(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id IN (5, 6)",
        &[
            r#"{"id":5,"a":null,"b":null}"#,
            r#"{"id":6,"a":null,"b":null}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, regr_avgx(y, id) OVER w AS a, regr_avgy(y, id) OVER w AS b FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id > 2",
        &[
            r#"{"id":3,"a":2.5,"b":1.5}"#,
            r#"{"id":4,"a":3.5,"b":3.0}"#,
            r#"{"id":5,"a":4.0,"b":4.0}"#,
            r#"{"id":6,"a":6.0,"b":8.0}"#,
            r#"{"id":7,"a":6.5,"b":12.0}"#,
        ],
    ),
    same(
        "SELECT * FROM (SELECT id, regr_sxx(y, id) OVER w AS a, regr_syy(y, id) OVER w AS b, regr_sxy(y, id) OVER w AS c FROM {waves} WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) WHERE id > 2",
        &[
            r#"{"id":3,"a":0.5,"b":0.5,"c":0.5}"#,
            r#"{"id":4,"a":0.5,"b":2.0,"c":1.0}"#,
            r#"{"id":5,"a":0.0,"b":0.0,"c":0.0}"#,
            r#"{"id":6,"a":0.0,"b":0.0,"c":0.0}"#,
            r#"{"id":7,"a":0.5,"b":32.0,"c":4.0}"#,
        ],
    ),
    // Of groups, whose numbers are large beside their differences.
    same(
        "SELECT g, round(corr(x, y), 9) AS c, covar_pop(x, y) AS v, round(regr_slope(y, x), 9) AS s FROM (SELECT id % 2 AS g, CAST(id + 1000000000 AS DOUBLE) AS x, CAST(id * 2 + 1000000000 AS DOUBLE) AS y FROM {waves}) q GROUP BY g ORDER BY g",
        &[
            r#"{"g":0,"c":1.0,"v":5.333333333333333,"s":2.0}"#,
            r#"{"g":1,"c":1.0,"v":10.0,"s":2.0}"#,
        ],
    ),
];
