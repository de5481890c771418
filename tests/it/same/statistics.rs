//! What statistics of Parquet files can mislead to.

use super::{Case, ours, same};

/// A1, A2.
pub(super) const STATISTICS: &[Case] = &[
    same(
        "SELECT job FROM {jobs} WHERE error <> ''",
        &[r#"{"job":3}"#],
    ),
    same(
        "SELECT job, length(error) AS n FROM {jobs}",
        &[
            r#"{"job":1,"n":0}"#,
            r#"{"job":2,"n":0}"#,
            r#"{"job":3,"n":5411}"#,
            r#"{"job":4,"n":0}"#,
        ],
    ),
    same(
        "SELECT job FROM {jobs} WHERE error LIKE 'Trace%'",
        &[r#"{"job":3}"#],
    ),
    same(
        "SELECT count(*) AS n FROM {jobs} WHERE error IS NOT NULL",
        &[r#"{"n":4}"#],
    ),
    same("SELECT count(error) AS n FROM {jobs}", &[r#"{"n":4}"#]),
    same(
        "SELECT length(max(s)) AS n, min(s) AS l FROM {texts}",
        &[r#"{"n":5000,"l":"a"}"#],
    ),
    same(
        "SELECT count(DISTINCT length(s)) AS n FROM {texts}",
        &[r#"{"n":2}"#],
    ),
    same(
        "SELECT count(*) AS a, count(n) AS b, max(n) AS c FROM {nulls}",
        &[r#"{"a":4,"b":1,"c":7}"#],
    ),
    same(
        "SELECT id FROM {nulls} WHERE n IS NOT NULL",
        &[r#"{"id":3}"#],
    ),
    same(
        "SELECT id, f FROM {one}",
        &[
            r#"{"id":1,"f":1.0}"#,
            r#"{"id":2,"f":"NaN"}"#,
            r#"{"id":3,"f":1.0}"#,
        ],
    ),
    same("SELECT sum(f) AS s FROM {one}", &[r#"{"s":"NaN"}"#]),
    same("SELECT id FROM {one} WHERE isnan(f)", &[r#"{"id":2}"#]),
    ours(
        "SELECT id FROM {two} WHERE f <> 1",
        &[r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    ours("SELECT max(f) AS m FROM {two}", &[r#"{"m":"NaN"}"#]),
    same("SELECT min(f) AS m FROM {two}", &[r#"{"m":1.0}"#]),
    ours(
        "SELECT id FROM {two} WHERE f > 2",
        &[r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    ours("SELECT id FROM {two} WHERE f > 5", &[r#"{"id":2}"#]),
    ours("SELECT id FROM {two} WHERE NOT (f <= 3)", &[r#"{"id":2}"#]),
    ours(
        "SELECT id FROM {two} WHERE f = CAST('NaN' AS DOUBLE)",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {two} WHERE f NOT IN (1, 3)",
        &[r#"{"id":2}"#],
    ),
    ours(
        "SELECT id FROM {two} WHERE f NOT BETWEEN 0 AND 4",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {two} WHERE f IS DISTINCT FROM 1",
        &[r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT id FROM {two} WHERE f IS NOT DISTINCT FROM CAST('NaN' AS DOUBLE)",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT id FROM {two} ORDER BY f DESC LIMIT 1",
        &[r#"{"id":2}"#],
    ),
    same("SELECT f FROM {two} WHERE id = 2", &[r#"{"f":"NaN"}"#]),
    same(
        "SELECT id, f FROM {last}",
        &[
            r#"{"id":1,"f":1.0}"#,
            r#"{"id":2,"f":1.0}"#,
            r#"{"id":3,"f":"NaN"}"#,
            r#"{"id":4,"f":"NaN"}"#,
        ],
    ),
    same(
        "SELECT id FROM {last} WHERE f > 1",
        &[r#"{"id":3}"#, r#"{"id":4}"#],
    ),
    same(
        "SELECT CAST(count(DISTINCT f) AS BIGINT) AS n FROM {last}",
        &[r#"{"n":2}"#],
    ),
    ours(
        "SELECT id FROM {zeros} WHERE f IN (SELECT f FROM {zeros} WHERE id = 1)",
        &[r#"{"id":1}"#, r#"{"id":2}"#],
    ),
    same(
        "SELECT id, f FROM {zeros}",
        &[r#"{"id":1,"f":-0.0}"#, r#"{"id":2,"f":0.0}"#],
    ),
    ours(
        "SELECT id FROM {places} WHERE spot['lat'] > 5",
        &[r#"{"id":2}"#],
    ),
    same(
        "SELECT max(spot['lat']) AS m FROM {places}",
        &[r#"{"m":"NaN"}"#],
    ),
    same("SELECT id FROM {noted}", &[r#"{"id":1}"#, r#"{"id":2}"#]),
];
