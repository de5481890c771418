//! Into MySQL with the whole program: every type comes back as it was, and a pipeline that is killed
//! at any moment writes each row once.

use serde_json::Value;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::mysql::make_numbers;
use super::mysql_kills::kill_until_it_ends;
use super::support::{Site, until};

/// A table with every type, and rows with NULLs and what is extreme.
const KINDS: &str = r#"
CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
CREATE TABLE kinds (
    id INT PRIMARY KEY,
    t TINYINT, tu TINYINT UNSIGNED, s SMALLINT, su SMALLINT UNSIGNED, m MEDIUMINT,
    mu MEDIUMINT UNSIGNED, i INT, iu INT UNSIGNED, b BIGINT, bu BIGINT UNSIGNED, flag BOOL,
    d DECIMAL(38,2), d65 DECIMAL(65,30), f FLOAT, g DOUBLE, bit1 BIT(1), bit64 BIT(64), y YEAR,
    dt DATE, tm TIME(6), dtm DATETIME(6), ts TIMESTAMP(6) NULL, c CHAR(8), v VARCHAR(40),
    l VARCHAR(40) CHARACTER SET latin1, x LONGTEXT, bin BINARY(4), vb VARBINARY(40), bl BLOB,
    e ENUM('small', 'large', 'it''s'), st SET('a', 'b', 'c'), j JSON, p POINT, u UUID, n4 INET4,
    n6 INET6
);
INSERT INTO kinds (id) VALUES (1);
INSERT INTO kinds VALUES
    (2, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, FALSE,
     -999999999999999999999999999999999999.99, -99999999999999999999999999999999999.000000000000000000000000000001,
     -3.4e38, -1.7976931348623157e308, b'0', b'0', 1901, '1000-01-01', '-838:59:59.999999',
     '1000-01-01 00:00:00', '1970-01-01 00:00:01', '', '', '', '', '', '', '', 'small', '', '{}',
     ST_GeomFromText('POINT(0 0)'), '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::'),
    (3, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807,
     18446744073709551615, TRUE, 999999999999999999999999999999999999.99,
     99999999999999999999999999999999999.999999999999999999999999999999, 1.17549e-38,
     2.2250738585072014e-308, b'1', 0xFFFFFFFFFFFFFFFF, 2155, '9999-12-31', '838:59:59.999999',
     '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999999', 'CHAR', 'quote'' "back\\slash"\n\t',
     'Grüße', 'four bytes: 𝄞 🪁', 0x00FF00FF, 0x0001FE, 0xDEADBEEF, 'it''s', 'a,c',
     '{"a": [1, 2.5, null, "ü"]}', ST_GeomFromText('POINT(1.5 -2.5)'),
     '123e4567-e89b-12d3-a456-426655440000', '255.255.255.255', '2001:db8::ff00:42:8329'),
    (4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.01, 0.1, 0.1, 0.1, b'1', b'1', 0, '2024-02-29', '00:00:00.000001',
     '2024-02-29 12:30:00.5', '2024-03-31 02:30:00', ' a', 'trailing ', 'ÿ', REPEAT('long ', 20000), 'a',
     '', REPEAT('b', 60000), 'large', 'a,b,c', '[]', ST_GeomFromText('POINT(-180 90)'),
     UUID(), '127.0.0.1', '::1');
"#;

/// What a table holds, as the server prints it, with bytes as hex digits.
fn dump(server: &MariaDb, table: &str) -> String {
    server.sql(&format!(
        "USE shop; SET time_zone = '+00:00';
         SELECT id, t, tu, s, su, m, mu, i, iu, b, bu, flag, d, d65, f, g, bit1 + 0, bit64 + 0, y, dt,
            tm, dtm, ts, c, v, l, x, HEX(bin), HEX(vb), HEX(bl), e, st, j, ST_AsText(p), u, n4, n6
         FROM {table} ORDER BY id"
    ))
}

/// How its columns are declared.
fn columns(server: &MariaDb, table: &str) -> String {
    server.sql(&format!(
        "SELECT column_name, column_type FROM information_schema.columns
         WHERE table_schema = 'shop' AND table_name = '{table}' ORDER BY ordinal_position"
    ))
}

#[test]
fn every_type_goes_to_parquet_and_comes_back_as_it_was() {
    let server = mariadb();
    server.sql(KINDS);
    let url = server.url("shop");
    let there = Site::with(&format!(
        r#"
        name = "there"
        [sources.shop]
        type = "mysql"
        url = "{url}"
        tables = ["kinds"]
        [sinks.lake]
        type = "parquet"
        inputs = ["shop"]
        url = "out"
        types = "exact"
        "#
    ));
    there.run(&[]).expect_done();
    let back = |table: &str, more: &str| {
        let site = Site::with(&format!(
            r#"
            name = "{table}"
            [sources.lake]
            type = "files"
            url = "{}"
            [sinks.shop]
            type = "mysql"
            inputs = ["lake"]
            url = "{url}"
            table = "{table}"
            {more}
            "#,
            there.path("out").display()
        ));
        site.run(&[]).expect_done();
        assert_eq!(dump(&server, table), dump(&server, "kinds"), "{table}");
    };
    // Into a table that is there, and into one that is made.
    server.sql("USE shop; CREATE TABLE copy LIKE kinds;");
    back("copy", "");
    back("made", "create = true\nkey = [\"id\"]");
    assert_eq!(columns(&server, "made"), columns(&server, "kinds"));
}

const ROWS: usize = 60_000;

/// From a table to another one without a key, in many epochs: what comes twice is there twice.
fn copy(server: &MariaDb, name: &str) -> Site {
    server.sql(&format!(
        "CREATE TABLE shop.{name} (id BIGINT, amount DECIMAL(38,2), name VARCHAR(60),
         filling VARCHAR(400))"
    ));
    let url = server.url("shop");
    Site::with(&format!(
        r#"
        name = "{name}"
        guarantee = "exactly_once"

        [checkpoint]
        bytes = "500 kB"

        [sources.shop]
        type = "mysql"
        url = "{url}"
        tables = ["numbers"]

        [sinks.copy]
        type = "mysql"
        inputs = ["shop"]
        url = "{url}"
        table = "{name}"
        "#
    ))
}

/// The copy's rows and distinct rows; all of them must be the original's.
#[track_caller]
fn count(server: &MariaDb, name: &str) -> (usize, usize) {
    let found = server.sql(&format!(
        "SELECT count(*), count(DISTINCT c.id), count(n.id) FROM shop.{name} c
         LEFT JOIN shop.numbers n USING (id, amount, name)"
    ));
    let numbers: Vec<usize> = found
        .split_whitespace()
        .map(|n| n.parse().expect("a number"))
        .collect();
    assert_eq!(numbers[0], numbers[2], "{name} has rows that never were");
    (numbers[0], numbers[1])
}

/// Staging tables that are left.
fn staging(server: &MariaDb) -> String {
    server.sql(
        "SELECT table_name FROM information_schema.tables
         WHERE table_schema = 'shop' AND table_name LIKE '\\_tg\\_%'",
    )
}

#[test]
fn a_pipeline_into_mysql_survives_any_kill() {
    let server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 2);
    let number = std::cell::Cell::new(0);
    let fresh = || {
        number.set(number.get() + 1);
        copy(&server, &format!("copy_{}", number.get()))
    };
    kill_until_it_ends(21, 12, fresh, |site, done| {
        let pipeline = site.read("pipeline.toml");
        let name = pipeline.split('"').nth(1).expect("a name");
        let (rows, distinct) = count(&server, name);
        assert_eq!(rows, distinct, "{name} has rows twice");
        if done {
            assert_eq!(rows, ROWS);
        }
    });
    assert_eq!(staging(&server), "");
}

#[test]
fn a_server_that_is_restarted_under_a_sink_costs_no_row() {
    let mut server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 2);
    let site = copy(&server, "copy");
    let running = site.start(&["--report", "report.json"]);
    until("a first commit", || {
        (count(&server, "copy").0 > 0).then_some(())
    });
    server.restart();
    running.wait().expect_done();
    assert_eq!(count(&server, "copy"), (ROWS, ROWS));
    assert_eq!(staging(&server), "");
    let report: Value = serde_json::from_str(&site.read("report.json")).expect("JSON");
    assert_eq!(report["status"], "completed");
}

#[test]
fn a_pipeline_that_has_run_can_be_checked_and_planned() {
    let server = mariadb();
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.t (id BIGINT PRIMARY KEY)");
    let site = Site::with(&format!(
        "name = \"shop\"\n\
         [sources.in]\ntype = \"generate\"\nrows = 3\n\
         columns = [{{ name = \"id\", type = \"sequence\" }}]\n\
         [sinks.out]\ntype = \"mysql\"\ninputs = [\"in\"]\nurl = \"{}\"\ntable = \"t\"\n",
        server.url("shop")
    ));
    site.run(&[]).expect_done();
    for command in ["check", "plan"] {
        site.tidegate(&[command, "pipeline.toml"]).expect_done();
    }
    // With another state it would be written twice.
    let other = site.tidegate(&["check", "pipeline.toml", "--state", "elsewhere"]);
    let said = other
        .expect_said(&["another state", "use the state"])
        .stderr;
    assert!(!said.contains("DELETE"), "{said}");
}
