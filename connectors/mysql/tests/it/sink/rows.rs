//! Which rows end up in the table, and which are rejected.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray};
use serde_json::{Value, json};
use tidegate_core::{Epoch, ErrorKind, Spread, WriterId};
use tidegate_testkit::suites::Hand;

use super::{Site, batch, ints, named, reasons, texts};

#[tokio::test]
async fn of_rows_with_one_key_the_last_one_stays() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20), kept INT DEFAULT 7);
         INSERT INTO t VALUES (1, 'old', 1), (9, 'untouched', 9)",
    );
    let rows = named(&[(1, "a"), (2, "b"), (1, "c"), (2, "d"), (3, "e"), (1, "f")]);
    let upsert = json!({ "mode": "upsert" });
    let sink = site.open(upsert, &rows.schema()).await.unwrap();
    let distribution = sink.distribution(0);
    assert_eq!(distribution.spread, Spread::Hash(vec!["id".to_owned()]));
    assert!(distribution.ordered);
    let batches = [rows, named(&[(3, "g")])];
    assert!(site.write(sink.as_ref(), 1, &batches).await.is_empty());
    site.write(sink.as_ref(), 2, &[named(&[(2, "h")])]).await;
    assert_eq!(
        site.sql("SELECT * FROM t ORDER BY id"),
        "1\tf\t1\n2\th\t7\n3\tg\t7\n9\tuntouched\t9\n"
    );
    assert_eq!(site.staging(), "");
}

#[tokio::test]
async fn an_upsert_touches_no_row_through_another_unique_index() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20) COLLATE utf8mb4_general_ci UNIQUE);
         INSERT INTO t VALUES (1, 'ada'), (2, 'bob')",
    );
    let rows = named(&[
        (3, "Bob"),
        (1, "eve"),
        (4, "dan"),
        (5, "DAN"),
        (6, "fay"),
        (2, "gus"),
    ]);
    let upsert = json!({ "mode": "upsert", "key": ["id"] });
    let sink = site.open(upsert, &rows.schema()).await.unwrap();
    assert_eq!(sink.distribution(0).spread, Spread::Single);
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    // Bob was 2's when the epoch was prepared; of the two Dans nobody knows who is right.
    let told: Vec<Value> = rejected
        .rows
        .iter()
        .map(|row| serde_json::from_str(&row.row).unwrap())
        .collect();
    assert_eq!(told.len(), 3);
    for (id, name) in [(3, "Bob"), (4, "dan"), (5, "DAN")] {
        assert!(
            told.contains(&json!({ "id": id, "name": name })),
            "{told:?}"
        );
    }
    assert!(rejected.rows[0].reason.contains("unique index `name`"));
    assert_eq!(
        site.sql("SELECT * FROM t ORDER BY id"),
        "1\teve\n2\tgus\n6\tfay\n"
    );
    assert_eq!(site.staging(), "");
}

#[tokio::test]
async fn a_key_of_text_is_the_servers_to_compare() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (id BIGINT, name VARCHAR(20) COLLATE utf8mb4_general_ci, UNIQUE (name, id));
         INSERT INTO t VALUES (1, 'Ada')",
    );
    let ids = Int64Array::from(vec![Some(1), Some(1), None, Some(2)]);
    let names = texts([Some("ADA"), Some("ada "), Some("x"), None]);
    let rows = batch(&[("id", Arc::new(ids) as ArrayRef), ("name", names)]);
    let upsert = json!({ "mode": "upsert", "key": ["id", "NAME"] });
    let sink = site.open(upsert, &rows.schema()).await.unwrap();
    // Two writers couldn't tell that two rows have the same key.
    assert_eq!(sink.distribution(0).spread, Spread::Single);
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    // Nothing equals NULL, so there is no row that such a row could replace.
    assert_eq!(rejected.len(), 2);
    assert!(reasons(&rejected)[0].contains("column `id`: the value is NULL"));
    assert_eq!(site.sql("SELECT id, name FROM t"), "1\tAda\n");
}

#[tokio::test]
async fn only_the_rows_that_do_not_fit_are_rejected() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (
            id BIGINT NOT NULL PRIMARY KEY,
            small TINYINT UNSIGNED,
            money DECIMAL(5,2),
            code VARCHAR(3) NOT NULL,
            latin VARCHAR(10) CHARACTER SET latin1,
            kind ENUM('a','b'),
            doc JSON,
            half DOUBLE CHECK (half < 100),
            stamp VARCHAR(20) DEFAULT 'by default')",
    );
    // One wrong value in each odd row.
    let n = 20;
    let mut small: Vec<Option<i64>> = vec![Some(7); n];
    let mut money: Vec<i128> = vec![12_345; n];
    let mut code = vec![Some("abc"); n];
    let mut latin = vec![Some("é"); n];
    let mut kind = vec![Some("b"); n];
    let mut doc = vec![Some("{\"a\": [1, null]}"); n];
    let mut half = vec![0.5; n];
    small[1] = Some(256);
    small[2] = None;
    money[3] = 100_000;
    code[5] = None;
    code[7] = Some("abc ");
    latin[9] = Some("日");
    kind[11] = Some("c");
    doc[13] = Some("{");
    half[15] = 100.0;
    half[17] = f64::NAN;
    let mut id: Vec<i64> = (0..20).collect();
    id[19] = 0;
    let money = Decimal128Array::from_iter_values(money)
        .with_precision_and_scale(38, 2)
        .unwrap();
    let rows = batch(&[
        ("id", ints(id)),
        ("small", Arc::new(Int64Array::from(small)) as ArrayRef),
        ("money", Arc::new(money)),
        ("code", texts(code)),
        ("latin", texts(latin)),
        ("kind", texts(kind)),
        ("doc", texts(doc)),
        ("half", Arc::new(Float64Array::from(half))),
    ]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    let reasons = reasons(&rejected);
    for (reason, part) in reasons.iter().zip([
        "column `small`: the value 256 is out of the column's range",
        "column `money`: the value has more digits before the point",
        "column `code`: the value is NULL",
        "column `code`: the value has 4 characters",
        "latin",
        "kind",
        "doc",
        "half",
        "column `half`: the value is NaN",
        "Duplicate entry '0'",
    ]) {
        assert!(reason.contains(part), "{part} in {reasons:#?}");
    }
    assert_eq!(rejected.len(), 10, "{reasons:#?}");
    let row: Value = serde_json::from_str(&rejected.rows[0].row).unwrap();
    assert_eq!((&row["id"], &row["small"]), (&json!(1), &json!(256)));
    assert_eq!(
        site.sql("SELECT GROUP_CONCAT(id ORDER BY id), MIN(money), MAX(latin), MIN(stamp) FROM t"),
        "0,2,4,6,8,10,12,14,16,18\t123.45\té\tby default\n"
    );
}

#[tokio::test]
async fn a_row_that_is_there_already_is_rejected_when_the_epoch_is_prepared() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20), UNIQUE (name(3)));
         INSERT INTO t VALUES (1, 'there'), (50, 'abcdef')",
    );
    let rows = named(&[
        (1, "one"),
        (2, "two"),
        (3, "abcxyz"),
        (4, "four"),
        (5, "fourteen"),
    ]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    let mut told: Vec<_> = rejected.rows.iter().map(|row| row.row.clone()).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "{\"id\": 1, \"name\": \"one\"}",
            "{\"id\": 3, \"name\": \"abcxyz\"}",
            "{\"id\":5,\"name\":\"fourteen\"}",
        ]
    );
    // The next epoch sees what this one left.
    let next = named(&[(2, "x"), (6, "six")]);
    let rejected = site.write(sink.as_ref(), 2, &[next]).await;
    assert!(reasons(&rejected)[0].contains("`PRIMARY`"));
    assert_eq!(site.sql("SELECT id FROM t ORDER BY id"), "1\n2\n4\n6\n50\n");
}

#[tokio::test]
async fn a_row_whose_foreign_key_leads_nowhere_is_rejected() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE parent (id BIGINT PRIMARY KEY); INSERT INTO parent VALUES (1), (2);
         CREATE TABLE t (id BIGINT REFERENCES parent (id), name VARCHAR(20))",
    );
    let ids = Int64Array::from(vec![Some(1), None, Some(3), Some(2)]);
    let rows = batch(&[
        ("id", Arc::new(ids) as ArrayRef),
        ("name", texts(["a", "b", "c", "d"].map(Some))),
    ]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    assert_eq!(rejected.len(), 1);
    let why = format!("leads to no row of `{}`.`parent`", site.database);
    assert!(reasons(&rejected)[0].contains(&why));
    assert_eq!(site.sql("SELECT name FROM t ORDER BY name"), "a\nb\nd\n");
}

#[tokio::test]
async fn a_counter_counts_and_generated_columns_are_left_to_the_server() {
    let site = Site::on(super::server());
    site.sql(
        "CREATE TABLE t (n INT AUTO_INCREMENT, id BIGINT, name VARCHAR(20),
            twice BIGINT AS (id * 2) STORED, KEY (n), KEY (name));
         INSERT INTO t (id) VALUES (0)",
    );
    let rows = named(&[(5, "a"), (6, "b")]);
    let sink = site.open(json!({}), &rows.schema()).await.unwrap();
    assert_eq!(sink.distribution(0).spread, Spread::Any);
    assert!(site.write(sink.as_ref(), 1, &[rows]).await.is_empty());
    assert_eq!(
        site.sql("SELECT n, id, twice FROM t ORDER BY n"),
        "1\t0\t0\n2\t5\t10\n3\t6\t12\n"
    );
}

#[tokio::test]
async fn replacing_refuses_a_key_that_comes_twice_before_anything_is_replaced() {
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO t VALUES (9, 'old')");
    let one = named(&[(1, "a"), (2, "b"), (2, "twice in one writer")]);
    let replace = json!({ "mode": "replace" });
    let sink = site.open(replace, &one.schema()).await.unwrap();
    let (mut prepared, rejected) = site.prepare(sink.as_ref(), 1, &[one]).await;
    assert_eq!(rejected.len(), 1);
    let (other, _) = site.prepare(sink.as_ref(), 2, &[named(&[(2, "c")])]).await;
    prepared.extend(other);
    let error = sink.conclude(&prepared).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("value: 2"), "{error}");
    assert_eq!(site.sql("SELECT * FROM t"), "9\told\n");
}

#[tokio::test]
async fn rows_longer_than_a_statement_and_than_a_packet() {
    let site = Site::with(&["--max-allowed-packet=1M"]);
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name LONGTEXT)");
    let (long, longest) = ("'x'".repeat(100_000), "y".repeat(1 << 20));
    let rows = named(&[
        (1, "short"),
        (2, &long),
        (3, &longest),
        (4, "'"),
        (5, &long),
        (6, "\\"),
    ]);
    let small = json!({ "statement_bytes": "1 KB" });
    let sink = site.open(small, &rows.schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), 1, &[rows]).await;
    assert_eq!(rejected.len(), 1);
    assert!(reasons(&rejected)[0].contains("max_allowed_packet"));
    let long = site.sql("SELECT MD5(REPEAT(X'277827', 100000))");
    for id in [2, 5] {
        let there = site.sql(&format!("SELECT MD5(name) FROM t WHERE id = {id}"));
        assert_eq!(there, long);
    }
    assert_eq!(
        site.sql("SELECT id, HEX(name) FROM t WHERE id IN (1, 4, 6) ORDER BY id"),
        "1\t73686F7274\n4\t27\n6\t5C\n"
    );
}

/// In one epoch: what is held in memory is a batch and a statement, whatever the epoch's size.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_in_one_epoch() {
    const BATCH: i64 = 50_000;
    let site = Site::on(super::server());
    site.sql("CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(40))");
    let rows = |from: i64| {
        let names = (from..from + BATCH).map(|id| Some(format!("the name of {id}")));
        let names: ArrayRef = Arc::new(names.collect::<StringArray>());
        batch(&[("id", ints(from..from + BATCH)), ("name", names)])
    };
    let upsert = json!({ "mode": "upsert" });
    let sink = site.open(upsert, &rows(0).schema()).await.unwrap();
    let before = memory();
    let epoch = sink.epoch(Epoch(1)).await.unwrap();
    for index in 0..2 {
        let id = WriterId {
            epoch: Epoch(1),
            executor: 0,
            index,
        };
        let mut writer = Hand::open(&epoch, id).await.unwrap();
        for part in 0..10 {
            let from = (i64::from(index) * 10 + part) * BATCH;
            assert!(
                writer
                    .write(0, rows(from))
                    .await
                    .unwrap()
                    .rejected
                    .is_empty()
            );
        }
        writer.finish().await.unwrap();
    }
    let prepared = epoch.seal().await.unwrap().prepared;
    let cx = site.cx.common();
    sink.commit(&site.commit(&cx, 1, &prepared)).await.unwrap();
    let grown = memory().saturating_sub(before);
    // Other tests of this process work beside this one.
    assert!(grown < 100 << 20, "{grown} bytes more at the end");
    assert_eq!(
        site.sql("SELECT COUNT(*), SUM(id), COUNT(DISTINCT name) FROM t"),
        "1000000\t499999500000\t1000000\n"
    );
}

/// The bytes that this process holds now.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
