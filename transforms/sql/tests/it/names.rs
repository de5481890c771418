//! What the columns of a query are called, fields of nested columns, and clauses that are refused.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{ArrayRef, Decimal128Array, Int64Array, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields};
use tidegate_core::{ErrorKind, Transform};

use crate::support::{Memory, batch, lines, open, open_error, run, told_of};

/// Two events: of two items, and of none.
fn events() -> Memory {
    let fields = Fields::from(vec![
        Field::new("sku", DataType::Utf8, true),
        Field::new("qty", DataType::Int64, true),
    ]);
    let item = StructBuilder::from_fields(fields, 2);
    let mut items = ListBuilder::new(item);
    for (sku, qty) in [("a", 1), ("b", 2)] {
        let item = items.values();
        item.field_builder::<StringBuilder>(0)
            .unwrap()
            .append_value(sku);
        item.field_builder::<Int64Builder>(1)
            .unwrap()
            .append_value(qty);
        item.append(true);
    }
    items.append(true);
    items.append(true);
    let user = StructArray::from(vec![(
        Arc::new(Field::new("id", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef,
    )]);
    let amounts = Decimal128Array::from(vec![1050, 2000]);
    Memory::new(
        "shop.events",
        batch(vec![
            (
                "id",
                Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef,
            ),
            ("user", Arc::new(user)),
            ("items", Arc::new(items.finish())),
            (
                "amount",
                Arc::new(amounts.with_precision_and_scale(10, 2).unwrap()),
            ),
            ("qty", Arc::new(Int64Array::from(vec![5, 6]))),
        ]),
    )
}

/// What a query gives over the events.
async fn given(query: &str) -> Vec<String> {
    let rows = run(query, &[events()]).await;
    lines(&rows.unwrap_or_else(|error| panic!("{query}: {error:?}")))
}

/// The place and message that a query over the events is refused with, and the hint.
async fn refused(query: &str) -> (String, String) {
    let told = told_of(query, &[events()]).await;
    let (told, hint) = told.split_once(" | ").unwrap_or((&told, ""));
    (told.to_owned(), hint.to_owned())
}

#[tokio::test]
async fn columns_without_as_are_named_by_what_is_written() {
    for (query, names) in [
        ("SELECT max(amount) FROM shop.events", "max(amount)"),
        ("SELECT MAX(Amount) FROM events", "max(Amount)"),
        ("SELECT amount*2 FROM events", "amount * 2"),
        ("SELECT (amount + 1) FROM events", "amount + 1"),
        ("SELECT e.amount + e.qty FROM events e", "e.amount + e.qty"),
        ("SELECT e.amount FROM events e", "amount"),
        ("SELECT shop.events.amount FROM shop.events", "amount"),
        ("SELECT user.id FROM events", "id"),
        ("SELECT e.user.id FROM events e", "id"),
        ("SELECT \"user\".id FROM events", "id"),
        ("SELECT user['id'] FROM events", "id"),
        (
            "SELECT items[1].sku, items[1]['qty'] FROM events",
            "sku,qty",
        ),
        ("SELECT unnest(items) FROM events", "unnest(items)"),
        ("SELECT unnest(items).sku FROM events", "sku"),
        (
            "WITH exploded AS (SELECT unnest(items) AS item FROM events) SELECT item.sku, item.qty FROM exploded",
            "sku,qty",
        ),
        ("SELECT CAST(qty AS VARCHAR) FROM events", "qty"),
        ("SELECT qty::VARCHAR FROM events", "qty"),
        ("SELECT count(*) FROM events", "count(*)"),
        (
            "SELECT count(DISTINCT qty) FROM events",
            "count(DISTINCT qty)",
        ),
        ("SELECT (SELECT max(qty) AS most FROM events)", "most"),
        ("SELECT 1, 'x'", "1,'x'"),
        (
            "SELECT upper(id) AS id, unnest(items) AS item FROM events",
            "id,item",
        ),
        (
            "SELECT CASE WHEN qty > 5 THEN 1 ELSE 0 END FROM events",
            "CASE WHEN qty > 5 THEN 1 ELSE 0 END",
        ),
        (
            "SELECT sum(qty) OVER (ORDER BY id) FROM events",
            "sum(qty) OVER (ORDER BY id)",
        ),
        (
            "SELECT id, max(qty) FROM events GROUP BY id ORDER BY max(qty)",
            "id,max(qty)",
        ),
        (
            "SELECT max(qty) FROM events UNION ALL SELECT qty FROM events",
            "max(qty)",
        ),
    ] {
        let transform = open(query, &[events()])
            .await
            .unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let schema = transform.schema();
        let told: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(told.join(","), names, "{query}");
        given(query).await;
    }
}

#[tokio::test]
async fn what_is_read_by_a_name_is_what_it_says() {
    for (query, expected) in [
        (
            "SELECT upper(id) AS id, unnest(items).sku AS sku FROM events",
            vec!["X,a", "X,b"],
        ),
        (
            "SELECT id, unnest_outer(items)['qty'] AS qty FROM events",
            vec!["x,1", "x,2", "y,"],
        ),
        (
            "SELECT qty + 1 AS qty, unnest([qty, qty + 10]) AS n FROM events WHERE qty = 5",
            vec!["6,15", "6,5"],
        ),
        (
            "SELECT n FROM (SELECT id, unnest([qty, qty + 1]) AS n FROM events) WHERE n = 6",
            vec!["6", "6"],
        ),
        (
            "SELECT user.id + 1 AS next FROM events WHERE user.id > 7",
            vec!["9"],
        ),
        (
            "SELECT id FROM events ORDER BY id DESC FETCH FIRST 1 ROWS ONLY",
            vec!["y"],
        ),
        (
            "SELECT id FROM events ORDER BY id OFFSET 1 ROWS FETCH NEXT ROW ONLY",
            vec!["y"],
        ),
        // The fields of structs become columns.
        ("SELECT unnest(user) FROM events", vec!["7", "8"]),
        (
            "SELECT unnest(a) AS n FROM (SELECT unnest([[qty], [1, 2]]) AS a FROM events WHERE qty = 5)",
            vec!["1", "2", "5"],
        ),
    ] {
        assert_eq!(given(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn what_would_be_ignored_is_refused() {
    for (query, message, hint) in [
        (
            "SELECT * FROM events TABLESAMPLE (10 PERCENT)",
            "TABLESAMPLE",
            "random()",
        ),
        ("SELECT id FROM events FOR UPDATE", "FOR UPDATE", "locks"),
        ("SELECT TOP 5 * FROM events", "TOP", "LIMIT 5"),
        (
            "SELECT id FROM events ORDER BY id FETCH FIRST 1 ROWS WITH TIES",
            "WITH TIES",
            "LIMIT",
        ),
        (
            "SELECT id, count(*) FROM events GROUP BY id WITH ROLLUP",
            "WITH ROLLUP",
            "ROLLUP (",
        ),
        (
            "SELECT upper(DISTINCT id) FROM events",
            "`upper` takes no DISTINCT",
            "aggregates",
        ),
        (
            "SELECT upper(id) FILTER (WHERE qty > 1) FROM events",
            "`upper` takes no FILTER",
            "aggregates",
        ),
        (
            "SELECT id, item FROM events, unnest(items) AS u(item)",
            "unnest of a column in FROM",
            "unnest(items) AS item",
        ),
        (
            "SELECT * FROM read_csv('o.csv')",
            "no table function `read_csv`",
            "FROM 'o.csv'",
        ),
        (
            "SELECT date_trunc(amount, 'month') FROM events",
            "takes the unit first",
            "date_trunc('month', amount)",
        ),
    ] {
        let (told, hinted) = refused(query).await;
        assert!(told.contains(message), "{query}: {told}");
        assert!(hinted.contains(hint), "{query}: {hinted}");
    }
}

#[tokio::test]
async fn text_is_not_compared_with_numbers() {
    for query in [
        "SELECT id FROM events WHERE id > 5",
        "SELECT id FROM events WHERE 5.5 <= id",
        "SELECT id FROM events WHERE id = qty",
        "SELECT id FROM events WHERE id IN (1, 2)",
        "SELECT id FROM events WHERE qty IN (SELECT id FROM events)",
        "SELECT id FROM events WHERE id BETWEEN 1 AND 2",
        "SELECT CASE id WHEN 1 THEN 'a' END AS a FROM events",
        "SELECT a.id FROM events a JOIN events b ON a.id = b.qty",
        "SELECT a.id FROM events a JOIN (SELECT qty AS id FROM events) b USING (id)",
        "SELECT id FROM events WHERE items[1].sku > 3",
        "SELECT id FROM events WHERE id IS DISTINCT FROM 5",
    ] {
        let (told, hinted) = refused(query).await;
        assert!(told.contains(" text"), "{query}: {told}");
        assert!(hinted.contains("try_cast"), "{query}: {hinted}");
    }
    for (query, expected) in [
        ("SELECT id FROM events WHERE qty > '5'", vec!["y"]),
        ("SELECT id FROM events WHERE qty IN ('5', '7')", vec!["x"]),
        (
            "SELECT id FROM events WHERE qty BETWEEN '5' AND '5'",
            vec!["x"],
        ),
        ("SELECT id FROM events WHERE amount >= '20'", vec!["y"]),
        ("SELECT id FROM events WHERE id = '5'", vec![]),
        (
            "SELECT id FROM events WHERE try_cast(id AS DOUBLE) > 5",
            vec![],
        ),
    ] {
        assert_eq!(given(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn functions_of_other_engines_are_told_what_does_their_work() {
    for (call, hint) in [
        ("group_concat(id)", "string_agg"),
        ("listagg(id)", "string_agg"),
        ("json_value(id, '$.a')", "`json` transform"),
        ("strftime(amount, '%Y')", "to_char"),
        ("datediff('day', id, id)", "day1 - day2"),
        ("ISNULL(qty)", "IS NULL"),
    ] {
        let (told, hinted) = refused(&format!("SELECT {call} AS x FROM events")).await;
        assert!(told.contains("no function"), "{call}: {told}");
        assert!(hinted.contains(hint), "{call}: {hinted}");
    }
    let error = open_error("SELECT xyzzyq(id) AS x FROM events", &[events()]).await;
    assert_eq!(error.hint_text(), None);
}

/// Whatever is told, it is told in SQL's words.
#[tokio::test]
async fn no_error_shows_the_planner_s_own_structures() {
    let mut shown = Vec::new();
    for query in [
        "SELECT sum(id) AS s FROM events",
        "SELECT round(amount, 2, 3) AS s FROM events",
        "SELECT unnest(id) AS s FROM events",
        "SELECT items.sku FROM events",
        "SELECT items[1].zzz FROM events",
        "SELECT user.zzz FROM events",
        "SELECT amount.x FROM events",
        "SELECT (SELECT id FROM events e WHERE e.qty > o.qty) AS s FROM events o",
        "SELECT * FROM events o, LATERAL (SELECT o.qty + 1) AS l",
        "SELECT id FROM events WHERE max(qty) > 1",
        "SELECT id, max(qty) FROM events",
        "SELECT id FROM events GROUP BY qty",
        "SELECT id FROM events HAVING qty > 1",
        "SELECT max(max(qty)) FROM events",
        "SELECT id || qty || items FROM events",
        "SELECT id + items FROM events",
        "SELECT -id FROM events",
        "SELECT NOT qty FROM events",
        "SELECT id LIKE 5 FROM events",
        "SELECT substr(id) FROM events",
        "SELECT CAST(items AS BIGINT) FROM events",
        "SELECT CAST(user AS DATE) FROM events",
        "SELECT try_cast(items AS DOUBLE) FROM events",
        "SELECT CAST(id AS NOTYPE) FROM events",
        "SELECT INTERVAL 'x' FROM events",
        "SELECT DATE 'yesterday' FROM events",
        "SELECT id FROM events ORDER BY 5",
        "SELECT id FROM events LIMIT -1",
        "SELECT id FROM events LIMIT id",
        "SELECT a, b FROM (SELECT id FROM events) AS t(a, b)",
        "SELECT id FROM events UNION SELECT id, qty FROM events",
        "SELECT items FROM events UNION SELECT qty FROM events",
        "SELECT ntile(0) OVER (ORDER BY id) FROM events",
        "SELECT lag(id, 'x') OVER (ORDER BY id) FROM events",
        "SELECT sum(qty) OVER (ROWS BETWEEN 1 FOLLOWING AND 1 PRECEDING) FROM events",
        "SELECT extract(fortnight FROM now()) FROM events",
        "SELECT date_trunc('fortnight', now()) FROM events",
        "SELECT named_struct('a') FROM events",
        "SELECT make_date(1) FROM events",
        "SELECT id FROM events WHERE id",
        "SELECT coalesce() FROM events",
        "SELECT CASE WHEN qty THEN 1 END FROM events",
        "SELECT items[id] FROM events",
        "SELECT id AS a, qty AS a FROM events",
        "SELECT * EXCLUDE (zzz) FROM events",
        "SELECT e.* FROM events",
        "SELECT ? FROM events",
        "SELECT $1 FROM events",
        "SELECT @x FROM events",
    ] {
        let told = match open(query, &[events()]).await {
            // What a row can't have is a rejected row's reason.
            Ok(Transform::Map(_)) => continue,
            Ok(_) => run(query, &[events()]).await.map(drop),
            Err(error) => Err(error),
        };
        let Err(error) = told else {
            continue;
        };
        let text = format!("{error} {}", error.hint_text().unwrap_or_default());
        if error.kind() == ErrorKind::Internal {
            shown.push(format!("{query}: {error:?}"));
        }
        for word in [
            " { ",
            "Ident",
            "Span(",
            "Utf8",
            "Int64",
            "Decimal128",
            "likely caused",
            "DataFusion",
            "OuterReference",
            "Field(",
            "Some(",
            "LogicalPlan",
            "schema error",
            "internal error",
            "Schema error",
            "physical plan",
            "DFSchema",
            "__",
        ] {
            if text.contains(word) {
                shown.push(format!("{query}: {word}: {text}"));
                break;
            }
        }
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}
