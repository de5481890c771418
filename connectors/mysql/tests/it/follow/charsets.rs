//! Texts of the log: of which character set they are is told for some columns only, in their order.

use serde_json::json;
use tidegate_testkit::servers::MariaDb;

use super::log::{ops, planned, table};

/// Columns, each with two values: of those whose character set the map tells, of those of which it
/// tells other things, and of those of which nothing is told.
const COLUMNS: &[(&str, &str, &str)] = &[
    ("POINT", "POINT(1, 2)", "NULL"),
    ("VARCHAR(20) CHARACTER SET latin1", "'Zoë €'", "'café'"),
    ("VARCHAR(20) CHARACTER SET utf8mb4", "'Ōsaka 😀'", "'né'"),
    (
        "GEOMETRY",
        "ST_GeomFromText('LINESTRING(0 0,1 1)')",
        "POINT(0, 0)",
    ),
    ("TEXT CHARACTER SET ucs2", "'Ωμέγα'", "''"),
    (
        "MULTIPOINT",
        "NULL",
        "ST_GeomFromText('MULTIPOINT(1 1,2 2)')",
    ),
    ("CHAR(30) CHARACTER SET utf16", "'wide 😀'", "'é'"),
    ("ENUM('é','ü') CHARACTER SET latin1", "'é'", "'ü'"),
    ("SET('Ω','ü','x') CHARACTER SET utf16", "'Ω,x'", "''"),
    ("ENUM('日','b')", "'日'", "NULL"),
    ("BLOB", "X'E9FF00'", "X''"),
    ("VARBINARY(9)", "X'E9'", "NULL"),
    ("BINARY(3)", "X'E90000'", "X'80FFFF'"),
    (
        "TEXT CHARACTER SET latin1 COMPRESSED",
        "REPEAT('é€', 200)",
        "'ü'",
    ),
    (
        "VARCHAR(400) CHARACTER SET utf8mb4 COMPRESSED",
        "REPEAT('😀', 300)",
        "''",
    ),
    ("VARBINARY(300) COMPRESSED", "REPEAT(X'00FF', 150)", "X'00'"),
    ("JSON", "'{\"a\": \"é\"}'", "'[]'"),
    ("UUID", "'123e4567-e89b-12d3-a456-426614174000'", "NULL"),
    ("INET6", "'::1'", "'fe80::1'"),
    ("YEAR", "2024", "0"),
    ("INT UNSIGNED", "4294967295", "0"),
    ("INT", "-1", "2147483647"),
    ("DECIMAL(6,2) UNSIGNED", "9999.99", "0"),
    ("BIT(9)", "b'101010101'", "b'0'"),
    ("TIMESTAMP(3) NULL", "'2024-02-29 01:02:03.456'", "NULL"),
    ("TINYTEXT CHARACTER SET utf32", "'😀é'", "''"),
    (
        "CHAR(255) CHARACTER SET utf8mb4",
        "REPEAT('日', 255)",
        "'ß'",
    ),
];

/// Numbers below `bound`, the same ones each time.
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |bound| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    }
}

/// The orders in which columns stand: a geometry first, in the middle and last among two texts, with
/// and without others; then any.
fn arrangements() -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = [
        &[0, 1, 2][..],
        &[1, 0, 2],
        &[1, 2, 0],
        &[0, 2, 1],
        &[0, 3, 1, 2],
        &[1, 0, 3, 5, 4],
        &[0, 1],
        &[0, 2],
        &[0, 7, 1],
        &[7, 0, 8, 9],
        &[0],
        &[13, 1, 14, 2, 15, 4],
    ]
    .map(<[usize]>::to_vec)
    .into();
    let mut below = dice(10);
    all.extend((0..40).map(|_| {
        let mut rest: Vec<_> = (0..COLUMNS.len()).collect();
        let many = 2 + below(rest.len() - 2);
        (0..many)
            .map(|_| rest.swap_remove(below(rest.len())))
            .collect()
    }));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_geometries_shift_no_character_sets() {
    for metadata in ["FULL", "MINIMAL", "NO_LOG"] {
        let server = MariaDb::with(&[&format!("--binlog-row-metadata={metadata}")]);
        server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
        let arrangements = arrangements();
        let (mut tables, mut changes) = (String::new(), String::new());
        for (at, columns) in arrangements.iter().enumerate() {
            let list = |write: &dyn Fn(usize) -> String| {
                let all: Vec<_> = columns.iter().map(|&column| write(column)).collect();
                all.join(", ")
            };
            let declared = list(&|column| format!("c{column} {}", COLUMNS[column].0));
            let one = list(&|column| COLUMNS[column].1.to_owned());
            let other = list(&|column| COLUMNS[column].2.to_owned());
            let set = list(&|column| format!("c{column} = {}", COLUMNS[column].1));
            tables += &format!("CREATE TABLE t{at} (id INT PRIMARY KEY, {declared});\n");
            changes += &format!(
                "INSERT INTO t{at} VALUES (1, {one}), (2, {other}); UPDATE t{at} SET {set} WHERE id = 2;\n"
            );
        }
        server.sql(&format!("USE shop; {tables}"));
        let planned = planned(&server, &json!({ "tables": ["t*"] })).await;
        server.sql(&format!("USE shop; SET NAMES utf8mb4; {changes}"));
        let told = planned
            .log(None)
            .await
            .at_least(3 * arrangements.len())
            .await;
        for (at, columns) in arrangements.iter().enumerate() {
            let name = format!("t{at}");
            let told: Vec<_> = told
                .iter()
                .filter(|one| one.stream == name)
                .cloned()
                .collect();
            assert_eq!(ops(&told), ["insert", "insert", "update"], "{name}");
            let wanted = table(&server, &name).await;
            let what = format!("{metadata}, {columns:?}");
            assert_eq!(
                [told[0].row.as_str(), &told[2].row],
                [&wanted[0], &wanted[1]],
                "{what}"
            );
        }
    }
}
