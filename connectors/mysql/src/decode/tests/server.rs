//! Against a real server.

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::{open, printed, query, read, same, table};
use crate::types::{Mapping, Type, ZeroDates};

/// Makes `t.every`: four rows.
const EVERY_TYPE: &str = include_str!("every_type.sql");

#[tokio::test]
async fn every_type_comes_as_the_server_prints_it() {
    let server = mariadb();
    server.sql("CREATE DATABASE t CHARACTER SET utf8mb4");
    server.sql(&format!("SET time_zone = '+00:00'; {EVERY_TYPE}"));
    let mapping = Mapping::default();
    let every = table(&server, "every", mapping).await;
    assert_eq!(every.columns.len(), 52);
    assert_eq!(every.key.as_ref().unwrap().index, "PRIMARY");
    let from = "every ORDER BY id";
    let (batches, rejected) = read(&server, every.columns.clone(), from, mapping).await;
    assert_eq!(rejected.rows, []);
    assert_eq!(batches[0].num_rows(), 4);
    same(&server, &every.columns, from, &batches);

    let text = Mapping {
        zero_dates: ZeroDates::Text,
        tinyint1_to_bool: false,
    };
    let columns = table(&server, "every", text).await.columns;
    let (batches, _) = read(&server, columns.clone(), from, text).await;
    same(&server, &columns, from, &batches);
}

#[tokio::test]
async fn dates_of_no_calendar_go_by_policy() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE t; SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00';
         CREATE TABLE t.d (id INT PRIMARY KEY, d DATE NOT NULL, t DATETIME(3) NOT NULL, s TIMESTAMP NOT NULL);
         INSERT INTO t.d VALUES (1, '2020-02-29', '2020-02-29 01:02:03.004', '2020-02-29 01:02:03'),
         (2, '0000-00-00', '2020-01-01', '2020-01-01'), (3, '2020-00-15', '2020-00-00 10:00:00', '2020-01-01'),
         (4, '2020-01-01', '2020-02-31', '0000-00-00'), (5, '0000-01-01', '9999-12-31', '2020-01-01')",
    );
    let from = "d ORDER BY id";
    let mapping = |zero_dates| Mapping {
        tinyint1_to_bool: true,
        zero_dates,
    };

    let error = mapping(ZeroDates::Error);
    let columns = table(&server, "d", error).await.columns;
    let (batches, rejected) = read(&server, columns.clone(), from, error).await;
    assert!(!batches[0].schema().field(1).is_nullable());
    same(
        &server,
        &columns,
        "d WHERE id IN (1, 5) ORDER BY id",
        &batches,
    );
    let rows: Vec<_> = rejected.rows.iter().map(|row| row.row.as_str()).collect();
    assert_eq!(
        rows,
        [
            r#"{"id":2,"d":"0000-00-00","t":"2020-01-01 00:00:00.000","s":"2020-01-01 00:00:00"}"#,
            r#"{"id":3,"d":"2020-00-15","t":"2020-00-00 10:00:00.000","s":"2020-01-01 00:00:00"}"#,
            r#"{"id":4,"d":"2020-01-01","t":"2020-02-31 00:00:00.000","s":"0000-00-00 00:00:00"}"#,
        ]
    );
    let reason = &rejected.rows[1].reason;
    assert!(reason.contains("`d` holds `2020-00-15`"), "{reason}");
    assert!(
        reason.contains("`t` holds `2020-00-00 10:00:00.000`"),
        "{reason}"
    );
    assert_eq!(rejected.rows[0].origin.file.as_deref(), Some("t"));

    let null = mapping(ZeroDates::Null);
    let columns = table(&server, "d", null).await.columns;
    let (batches, rejected) = read(&server, columns.clone(), from, null).await;
    assert!(rejected.is_empty());
    assert!(batches[0].schema().field(1).is_nullable());
    let rows: Vec<Vec<_>> = (0..5)
        .map(|row| {
            (1..4)
                .map(|at| printed(&columns[at], &batches[0], at, row))
                .collect()
        })
        .collect();
    assert_eq!(
        rows[1],
        ["NULL", "2020-01-01 00:00:00.000", "2020-01-01 00:00:00"]
    );
    assert_eq!(rows[2], ["NULL", "NULL", "2020-01-01 00:00:00"]);
    assert_eq!(rows[3], ["2020-01-01", "NULL", "NULL"]);

    let text = mapping(ZeroDates::Text);
    let columns = table(&server, "d", text).await.columns;
    let (batches, rejected) = read(&server, columns.clone(), from, text).await;
    assert!(rejected.is_empty());
    same(&server, &columns, from, &batches);
}

#[tokio::test]
async fn a_tinyint_that_is_no_truth_value_is_rejected_unless_it_is_a_number() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE t; CREATE TABLE t.b (id INT PRIMARY KEY, b TINYINT(1), u TINYINT(1) UNSIGNED);
         INSERT INTO t.b VALUES (1, 0, 2), (2, 2, 3), (3, 1, 4), (4, NULL, NULL), (5, -1, 5)",
    );
    let mapping = Mapping::default();
    let columns = table(&server, "b", mapping).await.columns;
    assert_eq!(columns[2].kind, Type::TinyInt { unsigned: true });
    let (batches, rejected) = read(&server, columns.clone(), "b ORDER BY id", mapping).await;
    same(
        &server,
        &columns,
        "b WHERE id IN (1, 3, 4) ORDER BY id",
        &batches,
    );
    let reason = &rejected.rows[0].reason;
    assert!(reason.contains("holds 2"), "{reason}");
    assert!(reason.contains("map_tinyint1_to_bool"), "{reason}");
    assert_eq!(rejected.len(), 2);
}

/// Literals of SQL for one row of `t.random`, whose columns they fit.
fn row() -> impl Strategy<Value = Vec<String>> {
    let text = proptest::collection::vec(
        any::<char>().prop_filter("a NUL ends a statement", |c| *c != '\0'),
        0..40,
    );
    let text = text.prop_map(|text| {
        format!(
            "_utf8mb4 X'{}'",
            hex::encode_upper(text.iter().collect::<String>().as_bytes())
        )
    });
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let bytes = bytes.prop_map(|bytes| format!("X'{}'", hex::encode_upper(&bytes)));
    let decimal = |digits: usize, scale: usize| {
        let digits = proptest::collection::vec(0..10_u8, 0..=digits);
        (any::<bool>(), digits).prop_map(move |(negative, digits)| {
            let mut digits: String = digits
                .iter()
                .map(|digit| char::from(b'0' + digit))
                .collect();
            while digits.len() <= scale {
                digits.insert(0, '0');
            }
            digits.insert(digits.len() - scale, '.');
            format!("{}{digits}", if negative { "-" } else { "" })
        })
    };
    let time = (-838_i64 * 3_600_000_000..838 * 3_600_000_000_i64).prop_map(|micros| {
        format!(
            "SEC_TO_TIME({}{}.{:06})",
            if micros < 0 { "-" } else { "" },
            micros.abs() / 1_000_000,
            micros.abs() % 1_000_000
        )
    });
    let date =
        (0..9_998_i64 * 365).prop_map(|days| format!("DATE'0001-01-01' + INTERVAL {days} DAY"));
    let moment = (0..9_998_i64 * 365 * 86_400, 0..1_000_000).prop_map(|(seconds, micros)| {
        format!(
            "TIMESTAMP'0001-01-01 00:00:00' + INTERVAL '{seconds}.{micros:06}' SECOND_MICROSECOND"
        )
    });
    let stamp = (1_i64..0x7FFF_FFFF, 0..1_000_000)
        .prop_map(|(seconds, micros)| format!("FROM_UNIXTIME({seconds}.{micros:06})"));
    let float = any::<f64>().prop_filter("there are no others", |value| value.is_finite());
    let columns: Vec<BoxedStrategy<String>> = vec![
        any::<i64>().prop_map(|n| n.to_string()).boxed(),
        any::<u64>().prop_map(|n| n.to_string()).boxed(),
        any::<i8>().prop_map(|n| n.to_string()).boxed(),
        decimal(38, 2).boxed(),
        decimal(16, 2).boxed(),
        decimal(65, 30).boxed(),
        decimal(18, 18).boxed(),
        float.prop_map(|n| format!("{n:e}")).boxed(),
        date.boxed(),
        time.boxed(),
        moment.boxed(),
        stamp.boxed(),
        text.clone().boxed(),
        text.boxed(),
        bytes.boxed(),
        (0..=u64::MAX).prop_map(|n| n.to_string()).boxed(),
        (1..=3_u8).prop_map(|n| n.to_string()).boxed(),
    ];
    let nulls = proptest::collection::vec(proptest::bool::weighted(0.2), columns.len());
    (columns, nulls).prop_map(|(mut row, nulls)| {
        for (value, null) in row.iter_mut().zip(nulls) {
            if null {
                *value = "NULL".to_owned();
            }
        }
        row
    })
}

#[test]
fn whatever_the_values_they_come_as_the_server_prints_them() {
    let server = mariadb();
    server.sql("CREATE DATABASE t CHARACTER SET utf8mb4");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 3,
        max_shrink_iters: 30,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/regressions.txt"
        )))),
        ..Config::default()
    });
    let rows = proptest::collection::vec(row(), 1..700);
    runner
        .run(&rows, |rows| {
            let values = |(id, row): (usize, &Vec<String>)| format!("({id}, {})", row.join(", "));
            let values: Vec<_> = rows.iter().enumerate().map(values).collect();
            server.sql(&format!(
                "SET time_zone = '+00:00'; USE t; CREATE OR REPLACE TABLE random (id INT PRIMARY KEY, \
                 a BIGINT, b BIGINT UNSIGNED, c TINYINT, d DECIMAL(38,2), e DECIMAL(16,2), \
                 f DECIMAL(65,30), g DECIMAL(18,18), h DOUBLE, i DATE, j TIME(6), k DATETIME(6), \
                 l TIMESTAMP(6) NULL, m VARCHAR(40), n LONGTEXT, o VARBINARY(300), p BIT(64), \
                 q ENUM('x', 'yy', '')); INSERT IGNORE INTO random VALUES {}",
                values.join(",\n")
            ));
            let mapping = Mapping::default();
            runtime.block_on(async {
                let columns = table(&server, "random", mapping).await.columns;
                let from = "random ORDER BY id";
                let (batches, rejected) = read(&server, columns.clone(), from, mapping).await;
                assert_eq!(rejected.rows, []);
                same(&server, &columns, from, &batches);
            });
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn two_thousand_columns_are_read() {
    let server = mariadb();
    let columns: Vec<_> = (0..2_000)
        .map(|at| match at % 4 {
            0 => format!("c{at} INT"),
            1 => format!("c{at} TINYINT UNSIGNED"),
            2 => format!("c{at} DATE"),
            _ => format!("c{at} TINYTEXT"),
        })
        .collect();
    let values = |row: i32| -> String {
        let values = (0..2_000).map(|at| match at % 4 {
            _ if (at + row) % 7 == 0 => "NULL".to_owned(),
            0 => format!("{}", at * row),
            1 => format!("{}", at % 200),
            2 => format!("'2020-01-{:02}'", 1 + at % 28),
            _ => format!("'{}'", at % 10),
        });
        format!("({})", values.collect::<Vec<_>>().join(","))
    };
    let rows: Vec<_> = (0..50).map(values).collect();
    // A table of InnoDB has at most 1,017 columns.
    server.sql(&format!(
        "CREATE DATABASE t; USE t; CREATE TABLE wide ({}) ENGINE = MyISAM; INSERT INTO wide VALUES {}",
        columns.join(", "),
        rows.join(",")
    ));
    let mapping = Mapping::default();
    let wide = table(&server, "wide", mapping).await;
    assert_eq!(wide.columns.len(), 2_000);
    let (batches, _) = read(&server, wide.columns.clone(), "wide", mapping).await;
    same(&server, &wide.columns, "wide", &batches);
}

#[tokio::test]
async fn sixty_megabytes_in_one_row_are_read() {
    let server = MariaDb::with(&["--max-allowed-packet=128M"]);
    server.sql(
        "CREATE DATABASE t; CREATE TABLE t.big (id INT PRIMARY KEY, text LONGTEXT CHARACTER SET utf8mb4)
         ENGINE = MyISAM; SET SESSION sql_log_bin = 0;
         INSERT INTO t.big VALUES (1, 'small'), (2, REPEAT('\u{1F980}abc', 60000000 DIV 7)), (3, 'small')",
    );
    let mapping = Mapping::default();
    let columns = table(&server, "big", mapping).await.columns;
    let (batches, rejected) = read(&server, columns.clone(), "big ORDER BY id", mapping).await;
    assert!(rejected.is_empty());
    let texts: Vec<String> = batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(|row| printed(&columns[1], batch, 1, row)))
        .collect();
    assert_eq!(texts[0], hex::encode_upper(b"small"));
    assert_eq!(
        texts[1],
        hex::encode_upper("\u{1F980}abc".as_bytes()).repeat(60_000_000 / 7)
    );
    assert_eq!(texts[2], hex::encode_upper(b"small"));
}

#[tokio::test]
async fn columns_of_queries_have_the_types_of_their_expressions() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE t; CREATE TABLE t.a (id INT UNSIGNED NOT NULL PRIMARY KEY, d DECIMAL(10,2) NOT NULL,
         s VARCHAR(20) CHARACTER SET latin1 NOT NULL, e ENUM('x', 'y') NOT NULL, t TINYINT(1) NOT NULL,
         f FLOAT, w DATETIME(3), b BIT(64), g POINT);
         INSERT INTO t.a VALUES (1, 1.25, '\u{e4}', 'y', 1, 1.5, '2020-01-01', b'1', POINT(1, 2)),
         (2, 2.50, 'b', 'x', 0, NULL, NULL, NULL, NULL)",
    );
    let mapping = Mapping::default();
    let select = "SELECT SUM(d) AS sum, AVG(d) AS avg, COUNT(*) AS count, MAX(s) AS s, 1 AS one, -1.50 AS dec5,
        NULL AS nothing, 'text' AS text, CAST('x' AS BINARY) AS bin, 1e0 AS dbl, NOW(6) AS now, CURDATE() AS day,
        TIMEDIFF('10:00', '12:00:00.5') AS diff, SUM(id) AS ids, MAX(b) + 0 AS bits, MIN(w) AS w, MAX(t) AS t,
        MAX(e) AS e, MAX(f) AS f, CAST(5 AS UNSIGNED) AS uns, 10 / 3 AS third FROM t.a";
    let columns = crate::discover::query(&mut open(&server).await, select, mapping)
        .await
        .unwrap();
    let kinds: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind))
        .collect();
    let decimal = |precision, scale| Type::Decimal { precision, scale };
    assert_eq!(kinds[0], ("sum", decimal(32, 2)));
    assert_eq!(kinds[1], ("avg", decimal(14, 6)));
    assert_eq!(kinds[2], ("count", Type::BigInt { unsigned: false }));
    assert_eq!(kinds[3], ("s", Type::Text));
    assert_eq!(kinds[5], ("dec5", decimal(3, 2)));
    assert_eq!(kinds[6], ("nothing", Type::Text));
    assert_eq!(kinds[8], ("bin", Type::Binary));
    assert_eq!(kinds[9], ("dbl", Type::Double));
    assert_eq!(kinds[10].1, Type::DateTime { fraction: 6 });
    assert_eq!(kinds[13].1, decimal(32, 0));
    let (batches, rejected) = query(&server, columns.clone(), select, mapping).await;
    assert!(rejected.is_empty());
    let row: Vec<_> = (0..columns.len())
        .map(|at| printed(&columns[at], &batches[0], at, 0))
        .collect();
    assert_eq!(
        row[..10],
        [
            "3.75", "1.875000", "2", "C3A4", "1", "-1.50", "NULL", "74657874", "78", "1"
        ]
    );
    assert_eq!(row[13..16], ["3", "1", "2020-01-01 00:00:00.000"]);
    assert_eq!(row[20], "3.3333");

    let union = "SELECT id AS x FROM t.a UNION ALL SELECT NULL UNION ALL SELECT -1";
    let columns = crate::discover::query(&mut open(&server).await, union, mapping)
        .await
        .unwrap();
    assert!(columns[0].nullable);
    let (batches, _) = query(&server, columns.clone(), union, mapping).await;
    let values: Vec<_> = (0..4)
        .map(|row| printed(&columns[0], &batches[0], 0, row))
        .collect();
    assert_eq!(values, ["1", "2", "NULL", "-1"]);

    let bits = "SELECT IF(id = 1, b, b) AS bits FROM t.a";
    let error = crate::discover::query(&mut open(&server).await, bits, mapping)
        .await
        .unwrap_err();
    assert!(error.message().contains("`bits`"), "{error}");

    let twice = "SELECT 1 AS x, 2 AS x";
    let error = crate::discover::query(&mut open(&server).await, twice, mapping)
        .await
        .unwrap_err();
    assert!(error.message().contains("`x`"), "{error}");
}

/// The kinds of keys, with values of theirs in the order of the index.
const KEYS: &[(&str, &str)] = &[
    ("TINYINT", "-128, -1, 0, 1, 127"),
    ("TINYINT(1)", "0, 1"),
    ("BIGINT", "-9223372036854775808, -1, 0, 9223372036854775807"),
    (
        "BIGINT UNSIGNED",
        "0, 9223372036854775807, 9223372036854775808, 18446744073709551615",
    ),
    (
        "DECIMAL(65,30)",
        "-99999999999999999999999999999999999.999999999999999999999999999999, -0.000000000000000000000000000001, 0, 0.1",
    ),
    ("BIT(64)", "0, 1, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF"),
    ("YEAR", "0, 1901, 1970, 2155"),
    (
        "DATE",
        "'0000-00-00', '1000-01-01', '2020-00-15', '2020-02-29', '9999-12-31'",
    ),
    (
        "DATETIME(6)",
        "'0000-00-00', '1000-01-01', '2020-02-29 00:00:00.000001', '9999-12-31 23:59:59.999999'",
    ),
    (
        "TIMESTAMP(6)",
        "'0000-00-00', '1970-01-01 00:00:01', '2024-03-31 01:30:00.000001', '2024-10-27 00:30:00', '2024-10-27 01:30:00'",
    ),
    (
        "TIME(6)",
        "'-838:59:59.999999', '-00:00:00.000001', '00:00:00', '838:59:59.999999'",
    ),
    (
        "VARCHAR(20) CHARACTER SET utf8mb4",
        "'', 'a', 'B', '\u{e4}b', 'c\\\\', 'd''', '\u{1F980}'",
    ),
    (
        "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "'', 'B', 'a', '\u{e4}', '\u{1F980}'",
    ),
    (
        "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_as_cs",
        "'', 'a', 'a ', 'A', '\u{e4}', 'b'",
    ),
    (
        "VARCHAR(20) CHARACTER SET latin1",
        "'', 'a', 'B', '\u{20ac}'",
    ),
    (
        "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german2_ci",
        "'a', '\u{e4}', 'b', 's', '\u{df}'",
    ),
    (
        "VARCHAR(20) CHARACTER SET sjis",
        "'a', '\u{30a2}', '\u{8868}'",
    ),
    (
        "VARCHAR(20) CHARACTER SET utf16",
        "'a', '\u{e4}x', '\u{1F980}'",
    ),
    ("CHAR(5)", "'', 'a', 'ab'"),
    ("BINARY(4)", "'', 'a', X'FF', X'FF00FF'"),
    ("VARBINARY(40)", "'', X'00', X'0000', 'a', X'FF'"),
    (
        "UUID",
        "'00000000-0000-1000-8000-000000000000', 'ffffffff-0000-1000-8000-000000000000', '00000000-0001-1000-8000-000000000000'",
    ),
    ("INET6", "'::', '::ff', '1::', 'ffff::'"),
];

#[tokio::test]
async fn a_literal_stands_where_its_row_stands() {
    let server = mariadb();
    server.sql("CREATE DATABASE t CHARACTER SET utf8mb4");
    let mapping = Mapping {
        tinyint1_to_bool: true,
        zero_dates: ZeroDates::Null,
    };
    let mut create =
        "USE t; SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00';".to_owned();
    for (number, (kind, values)) in KEYS.iter().enumerate() {
        let values: Vec<_> = values
            .split(", ")
            .map(|value| format!("({value})"))
            .collect();
        create += &format!(
            "CREATE TABLE k{number} (k {kind} NOT NULL PRIMARY KEY); INSERT INTO k{number} VALUES {};",
            values.join(", ")
        );
    }
    server.sql(&create);
    for (number, (kind, values)) in KEYS.iter().enumerate() {
        let table = table(&server, &format!("k{number}"), mapping).await;
        let key = table.key.unwrap_or_else(|| panic!("no key of {kind}"));
        assert_eq!(
            (key.index.as_str(), key.columns.as_slice()),
            ("PRIMARY", &[0][..])
        );
        let decoder = super::Decoder::new("t", table.columns.clone(), 1, mapping).unwrap();
        let sql = format!("SELECT k FROM k{number} FORCE INDEX (PRIMARY) ORDER BY k");
        let mut rows = open(&server).await.rows("read", &sql).await.unwrap();
        let chunk = rows.next(1 << 20, 1_000).await.unwrap().unwrap();
        let mut connection = open(&server).await;
        let count = chunk.len();
        assert_eq!(count, values.split(", ").count(), "{kind}");
        for (at, row) in chunk.rows().enumerate() {
            let literal = decoder.literals(row, &[0]).unwrap().remove(0);
            let sql = format!(
                "SELECT COUNT(*), SUM(k = {literal}) FROM k{number} FORCE INDEX (PRIMARY) WHERE k >= {literal}"
            );
            let counted = connection.query("count", &sql).await.unwrap();
            let expected = [Some((count - at).to_string()), Some("1".to_owned())];
            assert_eq!(counted[0], expected, "{kind} {literal}");
            let explained = connection
                .query("explain", &format!("EXPLAIN {sql}"))
                .await
                .unwrap();
            let access = explained[0][3].as_deref();
            assert!(
                matches!(access, Some("range" | "const" | "index")),
                "{kind}: {access:?}"
            );
        }
    }
}
