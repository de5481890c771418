#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::Context;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::probe::Probe;
use super::ranges::{Aim, Part, cut};
use crate::connect::{ConnectionKeys, Connector};
use crate::discover::{self, Table};
use crate::select::Order;
use crate::sql;
use crate::types::{Mapping, ZeroDates};

const MAPPING: Mapping = Mapping {
    tinyint1_to_bool: true,
    zero_dates: ZeroDates::Error,
};

/// Rows of each table.
const ROWS: u64 = 6_000;
const AIM: Aim = Aim {
    rows: 500,
    most: 12,
};

/// A table: its columns and key, and the values of row `seq`, which is from 1 to [`ROWS`].
const TABLES: &[(&str, &str, &str)] = &[
    ("plain", "id INT PRIMARY KEY", "seq"),
    (
        "far",
        "id BIGINT PRIMARY KEY",
        "IF(seq <= 4000, seq, 4000000000000000000 + seq)",
    ),
    (
        "sparse",
        "id BIGINT PRIMARY KEY",
        "(seq - 3000) * (seq - 3000) * IF(seq < 3000, -170000, 999)",
    ),
    (
        "large",
        "id BIGINT UNSIGNED PRIMARY KEY",
        "18446744073709551615 - seq * 1000000007",
    ),
    ("bits", "id BIT(40) PRIMARY KEY", "seq * 99991"),
    (
        "decimals",
        "id DECIMAL(30, 4) PRIMARY KEY",
        "(seq - 100) * 1234567.8901",
    ),
    (
        "days",
        "id DATE, n SMALLINT, PRIMARY KEY (id, n)",
        "'2020-01-01' + INTERVAL seq DIV 9 DAY, seq MOD 9",
    ),
    (
        "moments",
        "id DATETIME(6) PRIMARY KEY",
        "'1999-12-31 23:59:59' + INTERVAL seq * seq MICROSECOND",
    ),
    (
        "stamps",
        "id TIMESTAMP(3) PRIMARY KEY",
        "'2020-03-29 00:00:00' + INTERVAL seq SECOND",
    ),
    (
        "times",
        "id TIME(1) PRIMARY KEY",
        "SEC_TO_TIME((seq - 3000) * 100.5)",
    ),
    (
        "tenants",
        "tenant INT, id INT, PRIMARY KEY (tenant, id)",
        "IF(seq <= 5000, 7, seq MOD 100 * 10), seq",
    ),
    (
        "regions",
        "region VARCHAR(20), id INT, PRIMARY KEY (region, id)",
        "ELT(1 + seq MOD 3, 'north', 'South', 'ä'), seq",
    ),
    (
        "kinds",
        "id SMALLINT, kind ENUM('z', 'a', 'm'), PRIMARY KEY (id, kind)",
        "seq DIV 3, 1 + seq MOD 3",
    ),
    (
        "names",
        "id VARCHAR(40) PRIMARY KEY",
        "CONCAT('Customer-', LPAD(seq, 6, '0'))",
    ),
    (
        "mixed",
        "id VARCHAR(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY",
        "CONCAT(ELT(1 + seq MOD 5, 'ä', 'B', 'c_', 'é''', '\\\\'), seq)",
    ),
    (
        "old",
        "id VARCHAR(40) CHARACTER SET latin1 PRIMARY KEY",
        "CONCAT('é', MD5(seq))",
    ),
    (
        "exact",
        "id VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY",
        "UPPER(CONCAT(MD5(seq), ' '))",
    ),
    (
        "hex",
        "id CHAR(36) CHARACTER SET ascii PRIMARY KEY",
        "INSERT(MD5(seq), 9, 0, '-')",
    ),
    ("bytes", "id BINARY(16) PRIMARY KEY", "UNHEX(MD5(seq))"),
    (
        "more_bytes",
        "id VARBINARY(30) PRIMARY KEY",
        "CONCAT(UNHEX('00ff00'), seq)",
    ),
    (
        "uuids",
        "id UUID PRIMARY KEY",
        "REGEXP_REPLACE(MD5(seq), '^(.{8})(.{4}).(.{3}).(.{3})(.{12})$', '\\\\1-\\\\2-4\\\\3-8\\\\4-\\\\5')",
    ),
    (
        "addresses",
        "id INET6 PRIMARY KEY",
        "CONCAT('2001:db8::', HEX(seq))",
    ),
    (
        "unique_only",
        "a INT NOT NULL, b INT, UNIQUE (a)",
        "seq * 3, seq",
    ),
    (
        "backwards",
        "a INT, b INT, PRIMARY KEY (a DESC, b DESC)",
        "seq MOD 10, seq",
    ),
];

fn filled() -> MariaDb {
    let server = mariadb();
    let mut text = "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;\n".to_owned();
    for (name, columns, values) in TABLES {
        let _ = writeln!(
            text,
            "CREATE TABLE {name} ({columns}); \
             INSERT INTO {name} SELECT {values} FROM \
             (SELECT CAST(seq AS SIGNED) AS seq FROM seq_1_to_{ROWS}) AS s; ANALYZE TABLE {name};"
        );
    }
    server.sql(&text);
    server
}

async fn connector(server: &MariaDb) -> Arc<Connector> {
    let keys = ConnectionKeys {
        url: Some(server.url("shop")),
        ..ConnectionKeys::default()
    };
    let cx = Context::detached(Path::new("/"), Arc::default()).unwrap();
    Connector::open(&keys, &cx).await.unwrap()
}

/// Selects what is in a part.
fn select(what: &str, table: &Table, order: &Order, part: &Part) -> String {
    let columns = sql::columns(table, &order.columns);
    let condition = part.range.condition(&columns);
    let condition = condition.unwrap_or_else(|| "TRUE".to_owned());
    format!("SELECT {what} FROM {} WHERE {condition}", sql::table(table))
}

#[tokio::test]
async fn ranges_follow_the_data_and_hold_every_row_once() {
    let server = filled();
    let connector = connector(&server).await;
    let mut connection = connector.connect().await.unwrap();
    let tables = discover::tables(&mut connection, "shop", &[], MAPPING)
        .await
        .unwrap();
    assert_eq!(tables.len(), TABLES.len());
    for table in &tables {
        let name = &table.name;
        let order = Order::of_key(table).unwrap();
        let connection = connector.connect().await.unwrap();
        let mut probe = Probe::new(connection, table, &order, None, MAPPING).unwrap();
        let parts = cut(&mut probe, AIM).await.unwrap();
        let counted = parts
            .iter()
            .map(|part| select("COUNT(*)", table, &order, part) + ";\n");
        let counted = server.sql(&counted.collect::<String>());
        let counts: Vec<u64> = counted.lines().map(|line| line.parse().unwrap()).collect();
        // Each row is in one of them: there are as many as in the table, and none twice.
        assert_eq!(counts.iter().sum::<u64>(), ROWS, "{name}: {parts:#?}");
        assert!((6..=40).contains(&parts.len()), "{name}: {counts:?}");
        let largest = counts.iter().max().unwrap();
        assert!(*largest <= 1_500, "{name}: {counts:?}");
        assert!(probe.asked < 400, "{name}: {} questions", probe.asked);
        let union: Vec<_> = parts
            .iter()
            .map(|part| select(&order.columns.join(", "), table, &order, part))
            .collect();
        let union = union.join(" UNION ALL ");
        let different =
            format!("SELECT COUNT(*) FROM (SELECT DISTINCT * FROM ({union}) AS a) AS b");
        let different = server.sql(&format!("USE shop; {different}"));
        assert_eq!(different.trim(), ROWS.to_string(), "{name}");
    }
}

#[tokio::test]
async fn little_and_nothing_are_one_range() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.nothing (id INT PRIMARY KEY); \
         CREATE TABLE shop.little (id INT PRIMARY KEY); INSERT INTO shop.little VALUES (1), (5)",
    );
    let connector = connector(&server).await;
    let mut connection = connector.connect().await.unwrap();
    for table in discover::tables(&mut connection, "shop", &[], MAPPING)
        .await
        .unwrap()
    {
        for rows in [1, 10] {
            let order = Order::of_key(&table).unwrap();
            let connection = connector.connect().await.unwrap();
            let mut probe = Probe::new(connection, &table, &order, None, MAPPING).unwrap();
            let parts = cut(&mut probe, Aim { rows, most: 4 }).await.unwrap();
            let first = &parts[0].range;
            let last = &parts[parts.len() - 1].range;
            assert!(first.low.is_none() && last.high.is_none());
        }
    }
}
