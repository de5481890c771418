//! Odd tables: the log gives the values that a SELECT gives.

use serde_json::json;
use tidegate_testkit::servers::MariaDb;

use super::log::{ops, planned, told};
use crate::support::{Seen, config, open, plan, read_all, scans};
use crate::witness::ODD;

/// More, for which the witness has no words: dates of no calendar, and every byte and character.
const MORE: &str = r"
    CREATE TABLE zeros (id INT PRIMARY KEY, d DATE, dt DATETIME, dt6 DATETIME(6), ts TIMESTAMP NULL, ts3 TIMESTAMP(3) NULL, y YEAR);
    INSERT INTO zeros VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', '0000-00-00', 0),
        (2, '2020-00-15', '2020-00-00 01:02:03', '0000-01-01 00:00:00.000001', NULL, NULL, '00'),
        (3, '2020-02-00', '0000-00-00 00:00:01', '2020-02-00 23:59:59.999999', '1970-01-01 00:00:01', '2038-01-19 03:14:07.999', 2000);
    CREATE TABLE bytes (id INT PRIMARY KEY, l VARCHAR(9) CHARACTER SET latin1, lc CHAR(9) CHARACTER SET latin1, b VARBINARY(9), bc BINARY(3),
        a CHAR(3) CHARACTER SET ascii);
    INSERT INTO bytes SELECT seq, CHAR(seq USING latin1), CONCAT('x', CHAR(seq USING latin1)), CHAR(seq), CHAR(seq), IF(seq < 128, CHAR(seq USING ascii), NULL)
        FROM seq_0_to_255;
    CREATE TABLE characters (id INT PRIMARY KEY, u2 VARCHAR(9) CHARACTER SET ucs2, u16 CHAR(9) CHARACTER SET utf16, u16l TEXT CHARACTER SET utf16le,
        u32 VARCHAR(9) CHARACTER SET utf32, u3 VARCHAR(9) CHARACTER SET utf8mb3, u4 CHAR(9) CHARACTER SET utf8mb4, n CHAR(9) COLLATE utf8mb4_nopad_bin);
    INSERT INTO characters SELECT seq, CHAR(seq * 13 USING ucs2), CHAR(seq * 13 USING utf16), CONVERT(CHAR(seq * 13 USING ucs2) USING utf16le),
        CHAR(seq * 13 USING utf32), CONVERT(CHAR(seq * 13 USING ucs2) USING utf8mb3), CONVERT(CHAR(seq * 13 + 65536 USING utf32) USING utf8mb4), CONCAT('a ', CHAR(seq USING ascii), ' ')
        FROM seq_1_to_4000 WHERE seq * 13 NOT BETWEEN 0xD800 AND 0xDFFF;
";

const TABLES: &[&str] = &[
    "numbers",
    "times",
    "texts",
    "odd ``na\"me'é",
    "computed",
    "latin",
    "documents",
    "zeros",
    "bytes",
    "characters",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_log_gives_what_a_select_gives_of_odd_tables() {
    for options in [
        &["--binlog-row-metadata=FULL"][..],
        &[
            "--binlog-row-metadata=NO_LOG",
            "--sql-mode=PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
            "--character-set-server=latin1",
            "--default-time-zone=-07:00",
        ],
    ] {
        let server = MariaDb::with(options);
        server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
        let session = "SET NAMES utf8mb4, sql_mode = '', time_zone = '+00:00'; USE shop;";
        server.sql(&format!("{session} {ODD} {MORE}"));
        let each =
            |write: &dyn Fn(&str) -> String| TABLES.iter().map(|t| write(t)).collect::<String>();
        server.sql(&format!(
            "{session} {}",
            each(&|table| format!("CREATE TABLE `f {table}` LIKE `{table}`;"))
        ));
        let keys =
            json!({ "tables": ["f *"], "zero_dates": "text", "map_tinyint1_to_bool": false });
        let planned = planned(&server, &keys).await;
        server.sql(&format!(
            "{session} {}",
            each(&|table| format!("INSERT INTO `f {table}` SELECT * FROM `{table}`;"))
        ));
        let (source, _cx) = open(&config(&server, "shop", &keys)).await;
        let scans = scans(source.as_ref());
        let splits = plan(source.as_ref(), &scans, None).await.unwrap().new;
        let wanted = read_all(source.as_ref(), &splits, &scans).await.unwrap();
        let many: usize = wanted.values().map(Vec::len).sum();
        assert!(many > 4_000, "{many}");

        let mut log = planned.log(None).await;
        let mut seen = std::collections::BTreeMap::<_, Vec<_>>::new();
        let mut count = 0;
        while count < many {
            let Some(event) = Seen::of(log.event().await.unwrap()) else {
                continue;
            };
            assert_eq!(event.rejected, Vec::<String>::new());
            let told = told(&event);
            count += told.len();
            assert_eq!(ops(&told), vec!["insert"; told.len()]);
            let rows = told.into_iter().map(|change| change.row);
            seen.entry(event.stream.clone()).or_default().extend(rows);
        }
        for (table, wanted) in wanted {
            let mut rows = seen.remove(&table).unwrap();
            rows.sort_unstable();
            for (row, wanted) in rows.iter().zip(&wanted) {
                assert_eq!(row, wanted, "{table}, {options:?}");
            }
            assert_eq!(rows.len(), wanted.len(), "{table}");
        }
    }
}
