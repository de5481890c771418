//! Which queries go batch by batch, and which need all rows.

use tidegate_core::{Scan, Transform};

use crate::support::{open, orders, users};

async fn is_map(query: &str) -> bool {
    let tables = [orders(), users()];
    match open(query, &tables).await {
        Ok(transform) => matches!(transform, Transform::Map(_)),
        Err(error) => panic!("{query}: {error:?}"),
    }
}

#[tokio::test]
async fn filters_and_projections_go_batch_by_batch() {
    for query in [
        "SELECT * FROM shop.orders",
        "SELECT id, amount * 2 AS double FROM orders WHERE amount > 5 AND qty <> 'x'",
        "SELECT o.id FROM shop.orders o WHERE o.userId IN (1, 2)",
        "WITH big AS (SELECT * FROM orders WHERE amount > 5) SELECT id + 1 AS next FROM big WHERE id < 9",
        "SELECT id, now() AS at, random() AS dice FROM orders",
        "SELECT CASE WHEN qty = 'x' THEN NULL ELSE CAST(qty AS INT) END AS qty FROM orders",
        "SELECT unnest([1, 2]) AS x FROM orders",
        "SELECT id, unnest([userId, id]) AS x FROM orders WHERE id > 1",
        "SELECT x + 1 AS y FROM (SELECT unnest_outer([userId, id]) AS x FROM orders) WHERE x > 2",
    ] {
        assert!(is_map(query).await, "{query}");
    }
}

#[tokio::test]
async fn whatever_needs_other_rows_gathers() {
    for query in [
        "SELECT count(*) AS n FROM orders",
        "SELECT userId, sum(amount) AS total FROM orders GROUP BY userId",
        "SELECT o.id, u.name FROM orders o JOIN users u ON u.id = o.userId",
        "SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders",
        "SELECT id FROM orders ORDER BY id",
        "SELECT id FROM orders LIMIT 3",
        "SELECT DISTINCT userId FROM orders",
        "SELECT id FROM orders UNION ALL SELECT id FROM users",
        "SELECT id FROM orders WHERE userId IN (SELECT id FROM users)",
        "SELECT id, (SELECT max(id) FROM users) AS most FROM orders",
        "SELECT unnest([id, userId]) AS x FROM orders ORDER BY x",
        "SELECT count(*) AS n FROM (SELECT unnest([id, userId]) AS x FROM orders)",
        "SELECT id FROM orders WHERE userId IN (SELECT unnest([1, 2]))",
    ] {
        assert!(!is_map(query).await, "{query}");
    }
}

#[tokio::test]
async fn only_what_rows_alone_decide_is_deterministic() {
    for (query, deterministic) in [
        ("SELECT id FROM orders WHERE amount > 5", true),
        ("SELECT id, now() AS at FROM orders", false),
        ("SELECT id FROM orders WHERE random() < 0.5", false),
        ("SELECT id, uuid() AS key FROM orders", false),
        ("SELECT sum(amount) AS total FROM orders", true),
        ("SELECT id FROM orders LIMIT 3", false),
        ("SELECT id FROM orders ORDER BY id LIMIT 3", true),
        ("SELECT id, row_number() OVER () AS n FROM orders", false),
        (
            "SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders",
            true,
        ),
        ("SELECT array_agg(id) AS ids FROM orders", false),
        ("SELECT array_agg(id ORDER BY id) AS ids FROM orders", true),
        (
            "SELECT id FROM orders WHERE day < (SELECT current_date())",
            false,
        ),
    ] {
        let transform = open(query, &[orders(), users()]).await.unwrap();
        assert_eq!(transform.deterministic(), deterministic, "{query}");
    }
}

#[tokio::test]
async fn an_epoch_as_scope_is_told() {
    for (keys, scoped) in [
        (
            serde_json::json!({"query": "SELECT count(*) AS n FROM users"}),
            false,
        ),
        (
            serde_json::json!({"query": "SELECT count(*) AS n FROM users", "scope": "epoch"}),
            true,
        ),
    ] {
        let nowhere = std::path::Path::new("/nonexistent");
        let opened = crate::support::open_with(keys, &[users()], nowhere).await;
        let Ok(Transform::Gather(gather)) = opened else {
            panic!("{opened:?}");
        };
        assert_eq!(gather.epoch_scoped(), scoped);
    }
}

#[tokio::test]
async fn an_input_that_is_not_read_is_asked_for_no_rows() {
    let transform = open("SELECT id FROM orders", &[orders(), users()])
        .await
        .unwrap();
    assert_eq!(
        transform.scan(1),
        Scan {
            columns: Some(vec!["id".into()]),
            limit: Some(0),
            ..Scan::all("users")
        }
    );
}

/// Of each table whether its rows may come while the query runs.
async fn streams(query: &str) -> Vec<bool> {
    let tables = [orders(), users()];
    match open(query, &tables).await {
        Ok(Transform::Gather(gather)) => (0..2).map(|input| gather.streams(input)).collect(),
        other => panic!("{query}: {other:?}"),
    }
}

#[tokio::test]
async fn tables_that_are_read_once_may_come_while_the_query_runs() {
    for (query, expected) in [
        ("SELECT count(*) AS n FROM orders", [true, false]),
        ("SELECT id FROM orders ORDER BY id LIMIT 3", [true, false]),
        (
            "SELECT o.id, u.name FROM orders o LEFT JOIN users u ON u.id = o.userId",
            [true, true],
        ),
        (
            "SELECT id FROM orders WHERE userId IN (SELECT id FROM users)",
            [true, true],
        ),
        (
            "SELECT id FROM orders UNION ALL SELECT id FROM users",
            [true, true],
        ),
        // Twice, or as often as there are rows of the other.
        (
            "SELECT a.id FROM orders a JOIN orders b ON a.id = b.userId",
            [false, false],
        ),
        (
            "SELECT a.id FROM orders a JOIN users u ON a.userId = u.id \
             WHERE a.id IN (SELECT userId FROM orders)",
            [false, true],
        ),
        (
            "SELECT o.id, u.name FROM orders o CROSS JOIN users u",
            [false, false],
        ),
        (
            "SELECT o.id, u.name FROM orders o JOIN users u ON o.id < u.id",
            [false, false],
        ),
        (
            "WITH RECURSIVE up AS (SELECT id FROM users UNION ALL \
             SELECT o.userId FROM orders o JOIN up ON o.id = up.id) SELECT id FROM up",
            [false, false],
        ),
    ] {
        assert_eq!(streams(query).await, expected, "{query}");
    }
}
