//! What a query asks of its inputs.

use arrow_schema::{DataType, TimeUnit};
use tidegate_core::Comparison::{Eq, GtEq, Lt};
use tidegate_core::{Literal, Predicate, Scan};

use crate::support::{Memory, columns, open, orders, users};

async fn scan(query: &str, tables: &[Memory], input: usize) -> Scan {
    open(query, tables).await.unwrap().scan(input)
}

fn compare(column: &str, op: tidegate_core::Comparison, value: Literal) -> Predicate {
    Predicate::Compare {
        column: column.into(),
        op,
        value,
    }
}

#[tokio::test]
async fn columns_and_simple_conditions_go_down() {
    let scan = scan(
        "SELECT userId FROM shop.orders \
         WHERE amount >= 10 AND day < '1970-01-03' AND id IN (1, 2, 3, 4) AND length(qty) = 1 \
         AND qty IS NOT NULL",
        &[orders()],
        0,
    )
    .await;
    // Every column is read, by the conditions if not by the output.
    assert_eq!(scan.columns, None);
    assert_eq!(scan.limit, None);
    let expected = [
        compare("amount", GtEq, Literal::Int(10)),
        compare("day", Lt, Literal::Date(2)),
        Predicate::In {
            column: "id".into(),
            values: [1, 2, 3, 4].map(Literal::Int).into(),
        },
        Predicate::IsNotNull("qty".into()),
    ];
    assert_eq!(scan.predicates.len(), expected.len(), "{scan:?}");
    for predicate in expected {
        assert!(
            scan.predicates.contains(&predicate),
            "{predicate:?} in {scan:?}"
        );
    }
}

#[tokio::test]
async fn constants_take_the_type_of_their_column() {
    let table = columns(
        "t",
        &[
            ("small", DataType::Int16),
            ("flag", DataType::Boolean),
            (
                "at",
                DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            ),
            ("text", DataType::Utf8),
            ("unused", DataType::Utf8),
        ],
    );
    let scan = scan(
        "SELECT text FROM t WHERE 5 = small AND flag AND at >= '1970-01-01T00:00:01Z' \
         AND text IN ('a', 'b')",
        &[table],
        0,
    )
    .await;
    assert_eq!(
        scan.columns,
        Some(["small", "flag", "at", "text"].map(String::from).into())
    );
    assert_eq!(
        scan.predicates,
        [
            compare("small", Eq, Literal::Int(5)),
            compare("flag", Eq, Literal::Bool(true)),
            compare("at", GtEq, Literal::Timestamp(1_000_000)),
            Predicate::In {
                column: "text".into(),
                values: ["a", "b"].map(|text| Literal::Text(text.into())).into(),
            },
        ]
    );
}

#[tokio::test]
async fn each_side_of_a_join_gets_its_own() {
    let tables = [orders(), users()];
    let query = "SELECT u.name, sum(o.amount) AS total FROM orders o JOIN users u ON u.id = o.userId \
                 WHERE o.day >= '1970-01-02' AND u.name = 'Ann' GROUP BY u.name";
    let left = scan(query, &tables, 0).await;
    assert_eq!(
        left.columns,
        Some(["userId", "amount", "day"].map(String::from).into())
    );
    assert_eq!(left.predicates, [compare("day", GtEq, Literal::Date(1))]);
    let right = scan(query, &tables, 1).await;
    assert_eq!(right.columns, None);
    assert_eq!(
        right.predicates,
        [compare("name", Eq, Literal::Text("Ann".into()))]
    );
}

#[tokio::test]
async fn an_input_read_twice_serves_both() {
    let query = "SELECT id FROM orders WHERE userId = 1 UNION ALL SELECT userId FROM orders WHERE userId = 2";
    let scan = scan(query, &[orders()], 0).await;
    assert_eq!(
        scan.columns,
        Some(["id", "userId"].map(String::from).into())
    );
    assert_eq!(scan.predicates, []);
}

#[tokio::test]
async fn a_subquery_reads_too() {
    let query = "SELECT id FROM orders WHERE id > (SELECT max(id) FROM users)";
    let tables = [orders(), users()];
    let scan = scan(query, &tables, 1).await;
    assert_eq!(scan.columns, Some(vec!["id".into()]));
    assert_eq!(scan.limit, None);
}

#[tokio::test]
async fn a_limit_goes_down_where_any_rows_will_do() {
    assert_eq!(
        scan("SELECT id FROM orders LIMIT 3", &[orders()], 0)
            .await
            .limit,
        Some(3)
    );
    assert_eq!(
        scan("SELECT id FROM orders LIMIT 3 OFFSET 2", &[orders()], 0)
            .await
            .limit,
        Some(5)
    );
    for query in [
        "SELECT id FROM orders ORDER BY id LIMIT 3",
        "SELECT id FROM orders WHERE amount > 5 LIMIT 3",
        "SELECT DISTINCT id FROM orders LIMIT 3",
    ] {
        assert_eq!(scan(query, &[orders()], 0).await.limit, None, "{query}");
    }
}

#[tokio::test]
async fn counting_rows_asks_for_the_cheapest_column() {
    let scan = scan("SELECT count(*) AS n FROM orders", &[orders()], 0).await;
    assert_eq!(scan.columns, Some(vec!["day".into()]));
}
