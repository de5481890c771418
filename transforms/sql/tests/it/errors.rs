//! What a wrong query is told, and where.

use crate::support::{orders, told_of, users};

/// `line:column message | hint`
async fn told(query: &str) -> String {
    told_of(query, &[orders(), users()]).await
}

#[tokio::test]
async fn syntax() {
    assert_eq!(
        told("SELECT id\nFROM orders\n  WHER id = 1").await,
        "3:8 the query is not valid SQL: expected: end of statement, found: id"
    );
    assert_eq!(
        told("SELECT id\nFROM\n").await,
        "2:5 the query is not valid SQL: expected: identifier, found the query's end"
    );
    assert_eq!(
        told("SELECT 'open FROM orders").await,
        "1:8 the query is not valid SQL: unterminated string literal"
    );
}

#[tokio::test]
async fn names() {
    assert_eq!(
        told("SELECT\n  amuont\nFROM shop.orders").await,
        "2:3 no column `amuont` in `shop.orders`; there is `amount`"
    );
    assert_eq!(
        told("SELECT o.zzz FROM shop.orders o").await,
        "1:8 no column `zzz` in `o` | there are: `id`, `userId`, `amount`, `qty`, `day`"
    );
    assert_eq!(
        told("SELECT x.id FROM orders").await,
        "1:8 the query has no table `x` here, for the column `x.id`"
    );
    assert_eq!(
        told("SELECT id FROM shop.order").await,
        "1:16 no table `shop.order` among the inputs; there is `shop.orders`"
    );
    assert_eq!(
        told("SELECT id FROM\n  weather").await,
        "2:3 no table `weather` among the inputs | there are: `shop.orders`, `users`"
    );
    assert_eq!(
        told("SELECT id FROM orders o JOIN users u ON u.id = o.userId").await,
        "1:8 `id` is a column of more than one table | say which: `table.id`"
    );
    assert_eq!(
        told("SELECT summ(id) FROM orders").await,
        "1:8 no function `summ` | did you mean `sum`?"
    );
}

#[tokio::test]
async fn a_bare_name_that_means_two() {
    let mut other = users();
    other.name = "old.orders";
    assert_eq!(
        told_of("SELECT * FROM orders", &[orders(), other]).await,
        "1:15 `orders` can mean `shop.orders` or `old.orders` | write the table's full name"
    );
}

#[tokio::test]
async fn groups_and_types() {
    assert_eq!(
        told("SELECT userId, count(*) FROM orders").await,
        "1:8 'orders.userId' must appear in GROUP BY clause because it's not an aggregate expression \
         | either add 'orders.userId' to GROUP BY clause, or use an aggregate function like ANY_VALUE(orders.userId)"
    );
}

#[tokio::test]
async fn two_columns_of_one_name() {
    let id = "the query gives two columns named `id` | name one of them: `… AS other_id`";
    for (query, place) in [
        (
            "SELECT o.id, u.id FROM orders o JOIN users u ON u.id = o.userId",
            "1:14",
        ),
        ("SELECT id, id FROM users", "1:12"),
        ("SELECT *, id FROM users", "1:11"),
        ("SELECT name AS id,\n  id FROM users", "2:3"),
        ("SELECT x.id FROM (SELECT id,\n id FROM users) x", "2:2"),
    ] {
        assert_eq!(told(query).await, format!("{place} {id}"), "{query}");
    }
    assert_eq!(
        told("SELECT count(*), count(*) FROM users").await,
        "1:18 the query gives two columns named `count(*)` | name one of them: `count(*) AS …`"
    );
    assert_eq!(
        told("SELECT id + 1, id + 1 FROM users").await,
        "1:16 the query gives two columns named `id + 1` | name one of them: `id + 1 AS …`"
    );
}

#[tokio::test]
async fn arguments_that_a_function_does_not_take() {
    assert_eq!(
        told("SELECT id,\n  sum(name) AS total FROM users GROUP BY id").await,
        "2:3 `sum` takes no text | there is `sum(DECIMAL)`, `sum(BIGINT UNSIGNED)`, `sum(BIGINT)`, \
         `sum(DOUBLE)`, `sum(Duration)`, `sum(INTERVAL)`"
    );
    for (query, place, said) in [
        (
            "SELECT sum(id), sum(name) FROM users",
            "1:17",
            "`sum` takes no text",
        ),
        ("SELECT avg(name) FROM users", "1:8", "`avg` takes no text"),
        (
            "SELECT id FROM users WHERE\n abs(name) > 1",
            "2:2",
            "`abs` takes no text",
        ),
        (
            "SELECT sqrt(id, id) FROM users",
            "1:8",
            "`sqrt` doesn't take (BIGINT, BIGINT)",
        ),
        (
            "SELECT upper() FROM users",
            "1:8",
            "`upper` takes arguments",
        ),
        (
            "SELECT sum(name) OVER () FROM users",
            "1:8",
            "`sum` takes no text",
        ),
    ] {
        let error = told(query).await;
        assert!(
            error.starts_with(&format!("{place} {said}")),
            "{query}: {error}"
        );
        assert!(
            !error.contains("nternal") && !error.contains("Utf8"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_datafusion_tells_no_place_of_has_one() {
    for (query, wanted) in [
        (
            "SELECT id,\n  CAST(id AS INTEGR) AS i FROM users",
            "2:14 no type `INTEGR` | did you mean `INTEGER`?",
        ),
        (
            "SELECT id::floot AS i FROM users",
            "1:12 no type `floot` | did you mean `FLOAT`?",
        ),
        (
            "SELECT * FROM 'a.csv'",
            "1:15 no table `a.csv` among the inputs | there are: `shop.orders`, `users`",
        ),
        (
            "SELECT * FROM users LIMIT -1",
            "1:28 LIMIT takes a count of rows, and -1 is none",
        ),
        (
            "SELECT * FROM users LIMIT 'x'",
            "1:27 LIMIT takes a count of rows",
        ),
        (
            "SELECT CAST(id AS VARCHR(3)) AS i FROM users",
            "1:19 no type `VARCHR(3)` | did you mean `VARCHAR`?",
        ),
        (
            "SELECT * FROM users WHERE name",
            "1:27 `users.name` is no condition: it is text | compare it with something",
        ),
        (
            "SELECT lag(id) AS before FROM users",
            "1:8 no function `lag` | it needs a window: `lag(…) OVER (ORDER BY …)`",
        ),
        (
            "SELECT substr(id, 'x') AS a FROM users",
            "1:15 `substr` doesn't take (BIGINT, text) | there is `substr(text, BIGINT)`, \
             `substr(text, BIGINT, BIGINT)`",
        ),
        (
            "SELECT * FROM users ORDER BY id OFFSET -2",
            "1:41 OFFSET takes a count of rows, and -2 is none",
        ),
        (
            "SELECT id, name FROM users ORDER BY nope",
            "1:37 no column `nope` in `users` | there are: `id`, `name`",
        ),
        (
            "SELECT id FROM orders WHERE qty = 'x' AND amount > day",
            "1:43 there is no `>` between DECIMAL(38,2) and DATE | CAST one side to the other's type",
        ),
    ] {
        assert_eq!(told(query).await, wanted, "{query}");
    }
}

#[tokio::test]
async fn only_one_query_that_reads() {
    for (query, verb) in [
        ("DROP TABLE orders", "DROP"),
        ("INSERT INTO orders SELECT * FROM orders", "INSERT"),
        ("CREATE TABLE x AS SELECT 1", "CREATE"),
        ("COPY orders TO 'x.csv'", "COPY"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        (
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION 'x'",
            "CREATE",
        ),
        ("SET datafusion.execution.batch_size = 1", "SET"),
    ] {
        assert_eq!(
            told(query).await,
            format!(
                "a query reads: it is one SELECT, optionally with CTEs, and not `{verb}` \
                 | what is to be done with the rows is said by the pipeline's sinks"
            )
        );
    }
    assert!(
        told("SELECT * INTO x FROM orders")
            .await
            .contains("a query reads")
    );
    assert!(
        told("SELECT 1 AS a; SELECT 2 AS b")
            .await
            .contains("2 statements")
    );
    assert_eq!(told(" ; -- nothing").await, "the query is empty");
    // No way to the outside either.
    assert!(
        told("SELECT * FROM 'orders.csv'")
            .await
            .contains("no table")
    );
}

#[tokio::test]
async fn unknown_keys_are_refused() {
    let keys = serde_json::json!({"query": "SELECT 1", "sope": "epoch"});
    let nowhere = std::path::Path::new("/nonexistent");
    let error = crate::support::open_with(keys, &[], nowhere)
        .await
        .unwrap_err();
    assert!(
        error.message().contains("unknown field `sope`"),
        "{error:?}"
    );
}
