//! What a wrong query is told, and where.

use tidegate_core::ErrorKind;

use crate::support::{Memory, open_error, orders, users};

/// `line:column message | hint`
async fn told(query: &str) -> String {
    told_of(query, &[orders(), users()]).await
}

async fn told_of(query: &str, tables: &[Memory]) -> String {
    let error = open_error(query, tables).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let place: Vec<_> = ["line", "column"]
        .iter()
        .filter_map(|key| error.context().iter().find(|(name, _)| name == key))
        .map(|(_, value)| value.as_str())
        .collect();
    let hint = error
        .hint_text()
        .map(|hint| format!(" | {hint}"))
        .unwrap_or_default();
    format!("{} {}{hint}", place.join(":"), error.message())
        .trim()
        .to_owned()
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
    let error = told("SELECT id FROM orders WHERE amount > day").await;
    assert!(error.starts_with("the query can't be planned: "), "{error}");
    assert!(
        error.contains("Decimal128(38, 2)") && error.contains("Date32"),
        "{error}"
    );
}

#[tokio::test]
async fn two_columns_of_one_name() {
    assert_eq!(
        told("SELECT o.id, u.id FROM orders o JOIN users u ON u.id = o.userId").await,
        "the query gives two columns named `id` | name one of them: `… AS other_id`"
    );
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
                "a query reads: it is one SELECT, perhaps after WITH, and not `{verb}` \
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
