//! Recursive queries, whose recursive part has to give what their start gives.

use tidegate_core::ErrorKind;

use crate::world::World;

async fn refused(sql: &str, told: &str) {
    let world = World::new().await;
    let error = world.query(sql).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{sql}");
    assert!(error.message().contains(told), "{sql}: {error:?}");
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.contains("cast both"), "{sql}: {hint}");
}

#[tokio::test]
async fn a_recursive_part_that_would_be_bent_is_refused() {
    let cases = [
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n, 10 AS v UNION ALL SELECT n + 1, v * 1.05 FROM r WHERE n < 4) SELECT * FROM r",
            "`v` of the recursive `r` starts as BIGINT, but its recursive part gives DECIMAL(24,2)",
        ),
        (
            "WITH RECURSIVE r(n, v) AS (SELECT 1, 10 UNION SELECT n + 1, v * 1.05 AS w FROM r WHERE n < 4) SELECT * FROM r",
            "`v` of",
        ),
        (
            "SELECT * FROM (WITH RECURSIVE \"R\" AS (SELECT 1 AS n UNION ALL SELECT * FROM (SELECT CAST(n AS DOUBLE) / 2 FROM \"R\" WHERE n > 0)) SELECT * FROM \"R\")",
            "`n` of the recursive `R` starts as BIGINT, but its recursive part gives DOUBLE",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n, 1 AS v UNION ALL SELECT r.n + 1, s.v FROM r JOIN (SELECT 1 AS n, 'x' AS v) s USING (n)) SELECT * FROM r",
            "`v` of",
        ),
        (
            "WITH RECURSIVE r AS (SELECT DATE '2024-01-01' AS d UNION ALL SELECT d + INTERVAL '1 hour' FROM (SELECT CAST(d AS TIMESTAMP) AS d FROM r) WHERE d < DATE '2024-01-02') SELECT * FROM r",
            "`d` of",
        ),
        (
            "SELECT 1 WHERE 3 IN (WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 0.5 FROM r WHERE n < 4) SELECT n FROM r)",
            "`n` of",
        ),
    ];
    for (sql, told) in cases {
        refused(sql, told).await;
    }
}

#[tokio::test]
async fn a_recursive_part_that_fits_runs() {
    let world = World::new().await;
    let cases = [
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n, CAST(10 AS DOUBLE) AS v UNION ALL SELECT n + 1, v * 1.5 FROM r WHERE n < 3) SELECT * FROM r ORDER BY n",
            "1|10.0\n2|15.0\n3|22.5",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n, 10 AS v UNION ALL SELECT n + 1, CAST(v * 1.25 AS BIGINT) FROM r WHERE n < 3) SELECT * FROM r ORDER BY n",
            "1|10\n2|12\n3|15",
        ),
        (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT r.n + 1 FROM r WHERE r.n < 3) SELECT sum(n) FROM r",
            "6",
        ),
        // Two columns of one name, and an alias.
        (
            "WITH RECURSIVE r AS (SELECT 1 AS a, 0 AS b UNION ALL SELECT s.a, q.a FROM r AS s JOIN (SELECT 1 AS a) q ON s.a = q.a WHERE s.b < 1) SELECT * FROM r ORDER BY b",
            "1|0\n1|1",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT n % 3 + 1 FROM r) SELECT * FROM r ORDER BY n",
            "1\n2\n3",
        ),
        // Lossless, and NULL.
        (
            "WITH RECURSIVE r AS (SELECT 1e0 AS v, 'abc' AS s UNION ALL SELECT CAST(2 AS INTEGER), NULL FROM r WHERE v < 2) SELECT * FROM r ORDER BY v",
            "1.0|abc\n2.0|",
        ),
        (
            "WITH RECURSIVE r AS (SELECT 'abc' AS s UNION ALL SELECT substr(s, 2) FROM r WHERE length(s) > 1) SELECT * FROM r ORDER BY s",
            "abc\nbc\nc",
        ),
        // Not recursive after all: the types of both meet.
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT 2.5) SELECT * FROM r ORDER BY n",
            "1.0\n2.5",
        ),
    ];
    for (sql, rows) in cases {
        assert_eq!(world.rows(sql).await, rows, "{sql}");
    }
}
