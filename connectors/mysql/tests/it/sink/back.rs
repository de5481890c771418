//! Tables to Arrow and back: the copy is the table.

use futures::TryStreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_core::{Ask, Event, Rows, Scan, SourceConfig};
use tidegate_mysql::MySqlConfig;
use tidegate_testkit::suites::context;

use super::{Site, reasons};
use crate::support::cases;

/// A column of every type.
pub(crate) const COLUMNS: &str = "
    tiny TINYINT, tiny_u TINYINT UNSIGNED, truth TINYINT(1), small SMALLINT, small_u SMALLINT UNSIGNED,
    medium MEDIUMINT, medium_u MEDIUMINT UNSIGNED, whole INT, whole_u INT(7) UNSIGNED ZEROFILL,
    big BIGINT, big_u BIGINT UNSIGNED,
    money DECIMAL(38,2), most DECIMAL(65,30), long_ DECIMAL(65,0), unsigned_ DECIMAL(9,9) UNSIGNED,
    near FLOAT, nearer DOUBLE, places DOUBLE(12,3), one BIT(1), bits BIT(64), some BIT(13), year YEAR,
    day DATE, clock TIME, clock6 TIME(6), at DATETIME, at3 DATETIME(3), at6 DATETIME(6),
    stamp TIMESTAMP NULL, stamp6 TIMESTAMP(6) NULL,
    fixed CHAR(5), text VARCHAR(40), latin VARCHAR(40) CHARACTER SET latin1, wide VARCHAR(40) CHARACTER SET utf16,
    little TINYTEXT, long_text LONGTEXT, fixed_b BINARY(5), bytes VARBINARY(40), blob_ LONGBLOB,
    pick ENUM('a','it''s','日','\\\\','b,c)'), many SET('x','y','z'), doc JSON,
    shape GEOMETRY, uuid UUID, four INET4, six INET6";

/// The least, the most, the empty and the odd of each.
pub(crate) const EDGES: &[&str] = &[
    "-128, 0, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, \
     -999999999999999999999999999999999999.99, -99999999999999999999999999999999999.999999999999999999999999999999, \
     -99999999999999999999999999999999999999999999999999999999999999999, 0, \
     -3.402823466e38, -1.7976931348623157e308, -123456789.125, b'0', b'0', b'0', 0, \
     '0001-01-01', '-838:59:59', '-838:59:58.999999', '0001-01-01 00:00:00', '0001-01-01 00:00:00.001', \
     '0001-01-01 00:00:00.000001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.000001', \
     '', '', '', '', '', '', X'0000000000', '', '', 'a', '', '{}', \
     ST_GeomFromText('POINT(0 0)'), '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::'",
    "127, 255, 1, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 18446744073709551615, \
     999999999999999999999999999999999999.99, 99999999999999999999999999999999999.999999999999999999999999999999, \
     99999999999999999999999999999999999999999999999999999999999999999, 0.999999999, \
     3.402823466e38, 1.7976931348623157e308, 123456789.125, b'1', 18446744073709551615, 8191, 2155, \
     '9999-12-31', '838:59:59', '838:59:58.999999', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999', \
     '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999999', \
     '🎈🎈🎈🎈🎈', REPEAT('🎈', 40), REPEAT('é', 40), REPEAT('🎈', 40), REPEAT('x', 255), REPEAT('日', 100000), \
     X'FFFFFFFFFF', REPEAT(X'FF', 40), REPEAT(X'00275C22', 10000), '\\\\', 'x,y,z', '[1, \"it''s\", null]', \
     ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))'), 'ffffffff-ffff-ffff-ffff-ffffffffffff', '255.255.255.255', \
     'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'",
    "0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0.00, 0.000000000000000000000000000001, 0, 0.000000001, \
     1.17549435e-38, -0e0, 0, NULL, NULL, NULL, 1901, '2024-02-29', '00:00:00', '-00:00:00.000001', \
     '2024-02-29 13:14:15', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.999999', NULL, NULL, \
     'a''b', 'a'' \\\\ \\0 \\n\\t%_ ', 'ÿ ', '\\0', '''', '\\r\\n', X'2720205C00', '''\\\\\\0', X'', 'it''s', 'y', \
     '\"\\\\u00e4\"', ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), \
     '123e4567-e89b-12d3-a456-426655440000', '127.0.0.1', '::ffff:1.2.3.4'",
];

/// Any values: `n` rows of them, with NULLs.
pub(crate) fn any_rows(seed: u32, n: u32) -> String {
    let columns: Vec<_> = COLUMNS.split(", ").collect();
    let some = |value: &str| format!("IF(RAND() < 0.1, NULL, {value})");
    let letters = "CONCAT(CHAR(FLOOR(RAND() * 128)), MD5(RAND()), ELT(1 + FLOOR(RAND() * 4), 'é', '''', '\\\\', 'Ö'))";
    let span = |micros: &str| format!("SEC_TO_TIME({micros})");
    let values = [
        "FLOOR(RAND() * 256) - 128",
        "FLOOR(RAND() * 256)",
        "RAND() < 0.5",
        "FLOOR(RAND() * 65536) - 32768",
        "FLOOR(RAND() * 65536)",
        "FLOOR(RAND() * 16777216) - 8388608",
        "FLOOR(RAND() * 16777216)",
        "FLOOR(RAND() * 4294967296) - 2147483648",
        "FLOOR(RAND() * 4294967296)",
        "CAST((RAND() - 0.5) * 1.8e19 AS SIGNED)",
        "CAST(RAND() * 1.8e19 AS UNSIGNED)",
        "(RAND() - 0.5) * 1e18",
        "(RAND() - 0.5) * 1e6",
        "ROUND((RAND() - 0.5) * 1e18)",
        "RAND() * 0.99",
        "(RAND() - 0.5) * POW(10, RAND() * 70 - 35)",
        "(RAND() - 0.5) * POW(10, RAND() * 600 - 300)",
        "(RAND() - 0.5) * 1e8",
        "RAND() < 0.5",
        "CAST(RAND() * 1.8e19 AS UNSIGNED)",
        "FLOOR(RAND() * 8192)",
        "1901 + FLOOR(RAND() * 255)",
        "'1000-01-01' + INTERVAL FLOOR(RAND() * 3000000) DAY",
        &span("FLOOR((RAND() - 0.5) * 6000000)"),
        &span("ROUND((RAND() - 0.5) * 6000000, 6)"),
        "'1000-01-01' + INTERVAL FLOOR(RAND() * 2e11) SECOND",
        "'1000-01-01' + INTERVAL FLOOR(RAND() * 2e11) * 1000000 + FLOOR(RAND() * 1000) * 1000 MICROSECOND",
        "'1000-01-01' + INTERVAL FLOOR(RAND() * 2e17) MICROSECOND",
        "FROM_UNIXTIME(1 + FLOOR(RAND() * 2147483646))",
        "FROM_UNIXTIME(1 + RAND() * 2147483645)",
        "LEFT(MD5(RAND()), FLOOR(RAND() * 6))",
        letters,
        letters,
        letters,
        letters,
        &format!("REPEAT({letters}, FLOOR(RAND() * 50))"),
        "UNHEX(LEFT(MD5(RAND()), 10))",
        "UNHEX(LEFT(SHA2(RAND(), 256), 2 * FLOOR(RAND() * 30)))",
        "UNHEX(SHA2(RAND(), 512))",
        "1 + FLOOR(RAND() * 5)",
        "FLOOR(RAND() * 8)",
        &format!("JSON_ARRAY(RAND(), {letters})"),
        "POINT(RAND(), RAND())",
        "UUID()",
        "INET_NTOA(FLOOR(RAND() * 4294967295))",
        "INET6_NTOA(UNHEX(MD5(RAND())))",
    ];
    assert!(columns.len() <= values.len());
    let values: Vec<_> = values.iter().map(|value| some(value)).collect();
    format!(
        "SET rand_seed1 = {seed}, rand_seed2 = {seed} + 7, sql_mode = '', time_zone = '+00:00';
         INSERT INTO t SELECT seq + 10, {} FROM seq_1_to_{n}",
        values.join(", ")
    )
}

/// Copies `t` into another table through Arrow.
async fn copy(site: &Site, keys: Value, sink: Value, epoch: u64) {
    let mut config = json!({ "url": site.server.url(&site.database), "tables": ["t"] });
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    let config: MySqlConfig = serde_json::from_value(config).unwrap();
    let source = config.open(&context().source()).await.unwrap();
    let streams = source.streams();
    let scans: Vec<_> = streams.iter().map(|s| Scan::all(s.name.clone())).collect();
    let ask = Ask {
        scans: &scans,
        state: None,
        finished: &[],
        first: true,
    };
    let plan = source.plan(&ask).await.unwrap();
    let mut batches = Vec::new();
    for split in &plan.new {
        let events = source.read(split, &scans, None).await.unwrap();
        let events: Vec<_> = events.try_collect().await.unwrap();
        for event in events {
            let Event::Rows { rows, rejected, .. } = event else {
                continue;
            };
            assert_eq!(rejected.unwrap_or_default().len(), 0);
            match rows {
                Rows::Batch(batch) => batches.push(batch),
                Rows::Encoded(encoded) => {
                    let decoded = encoded.decode().unwrap();
                    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
                    batches.extend(decoded.batches);
                }
            }
        }
    }
    let sink = site.open(sink, &batches[0].schema()).await.unwrap();
    let rejected = site.write(sink.as_ref(), epoch, &batches).await;
    assert!(rejected.is_empty(), "{:?}", reasons(&rejected));
}

/// Everything of a table, as text that leaves no doubt.
fn dump(site: &Site, table: &str) -> String {
    let columns = site.sql(&format!(
        "SELECT CASE WHEN data_type IN ('double', 'float', 'decimal', 'bit') THEN CONCAT('`', column_name, '` + 0')
                     WHEN data_type IN ('geometry') THEN CONCAT('HEX(ST_AsWKB(`', column_name, '`))')
                     WHEN data_type LIKE '%text' OR data_type LIKE '%char' OR data_type LIKE '%blob'
                       OR data_type LIKE '%binary' THEN CONCAT('HEX(CONVERT(`', column_name, '` USING utf8mb4))')
                     ELSE CONCAT('`', column_name, '`') END
         FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{table}'
         ORDER BY ordinal_position"
    ));
    // Bytes are no text of any character set.
    let columns = columns.lines().map(|column| {
        match column.contains("_b`") || column.contains("bytes") || column.contains("blob_") {
            true => column
                .replace("CONVERT(", "(")
                .replace(" USING utf8mb4", ""),
            false => column.to_owned(),
        }
    });
    let columns: Vec<_> = columns.collect();
    site.sql(&format!(
        "SET time_zone = '+00:00'; SELECT {} FROM {table} ORDER BY id",
        columns.join(", ")
    ))
}

fn checksums(site: &Site) -> Vec<String> {
    let both = site.sql("CHECKSUM TABLE t, copied EXTENDED");
    let sums = both
        .lines()
        .map(|line| line.split('\t').nth(1).unwrap().to_owned());
    sums.collect()
}

#[tokio::test]
async fn a_table_of_every_type_comes_back_as_it_was() {
    let site = Site::on(super::server());
    site.sql(&format!("CREATE TABLE t (id INT PRIMARY KEY, {COLUMNS})"));
    for (id, row) in (0..).zip(EDGES) {
        site.sql(&format!(
            "SET time_zone = '+00:00'; INSERT INTO t VALUES ({id}, {row})"
        ));
    }
    site.sql("INSERT INTO t (id) VALUES (9)");
    let there = dump(&site, "t");
    assert_eq!(there.lines().count(), EDGES.len() + 1);
    // Into a table of the same columns, and into one that is made for them.
    site.sql("CREATE TABLE copied LIKE t");
    copy(&site, json!({}), json!({ "table": "copied" }), 1).await;
    assert_eq!(dump(&site, "copied"), there);
    let sums = checksums(&site);
    assert_eq!(sums[0], sums[1]);
    let made = json!({ "table": "made", "create": true, "key": ["id"], "mode": "upsert" });
    copy(&site, json!({}), made, 2).await;
    assert_eq!(dump(&site, "made"), there);
    let types = |table: &str| {
        site.sql(&format!(
            "SELECT column_type FROM information_schema.columns
             WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
        ))
    };
    assert_eq!(types("made"), types("t"));
}

#[tokio::test]
async fn dates_that_no_calendar_has_come_back_as_they_were() {
    let site = Site::on(super::server());
    site.sql(
        "SET sql_mode = ''; CREATE TABLE t (id INT PRIMARY KEY, day DATE, at DATETIME(3), stamp TIMESTAMP NULL);
         INSERT INTO t VALUES (1, '0000-00-00', '2020-00-15 00:00:00', '0000-00-00'),
                              (2, '2020-02-00', '0000-00-00 00:00:00.001', NULL);
         CREATE TABLE copied LIKE t",
    );
    let texts = json!({ "zero_dates": "text" });
    copy(&site, texts, json!({ "table": "copied" }), 1).await;
    let sums = checksums(&site);
    assert_eq!(sums[0], sums[1]);
    assert_eq!(
        site.sql("SELECT * FROM copied"),
        site.sql("SELECT * FROM t")
    );
}

#[test]
fn any_table_comes_back_as_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(cases(4));
    runner
        .run(&any::<u32>(), |seed| {
            let site = Site::on(super::server());
            site.sql(&format!(
                "CREATE TABLE t (id INT PRIMARY KEY, {COLUMNS}); CREATE TABLE copied LIKE t"
            ));
            site.sql(&any_rows(seed, 300));
            // A zero date is nothing that this test is about.
            runtime.block_on(copy(&site, json!({}), json!({ "table": "copied" }), 1));
            let sums = checksums(&site);
            prop_assert_eq!(&sums[0], &sums[1]);
            prop_assert_eq!(dump(&site, "copied"), dump(&site, "t"));
            Ok(())
        })
        .unwrap();
}
