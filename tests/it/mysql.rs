//! From MySQL and into it, with the whole program: what is large, what changes in mid-run, and what
//! the tests of MySQL share.

use std::collections::BTreeSet;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::support::{Site, batches_of, files_under, lines_of, until, visible_files};

/// A pipeline from the database `shop`, `keys` being those of the source, to Parquet in `out`.
pub(crate) fn to_parquet(server: &MariaDb, name: &str, checkpoint: &str, keys: &str) -> String {
    format!(
        r#"
        name = "{name}"
        guarantee = "exactly_once"

        [checkpoint]
        {checkpoint}

        [sources.shop]
        type = "mysql"
        url = "{}"
        {keys}

        [sinks.lake]
        type = "parquet"
        inputs = ["shop"]
        url = "out"
        "#,
        server.url("shop")
    )
}

/// Makes `shop.numbers` with so many rows; `key` is what makes `id` a key, or nothing. Each row has
/// some bytes more: `filling` times eight.
pub(crate) fn make_numbers(server: &MariaDb, rows: usize, key: &str, filling: usize) {
    server.sql(&format!(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE numbers (id BIGINT NOT NULL {key}, amount DECIMAL(38,2), name VARCHAR(60),
             filling VARCHAR(400));
         INSERT INTO numbers SELECT seq, seq / 4, CONCAT('the name of number ', seq),
             REPEAT('filling ', {filling}) FROM seq_1_to_{rows};
         ANALYZE TABLE numbers;"
    ));
}

/// Asserts that every row in `out` is a row of `shop.numbers`, whole, and there once; says how many
/// there are.
#[track_caller]
pub(crate) fn count_numbers(site: &Site) -> usize {
    let mut seen = BTreeSet::new();
    for batch in batches_of(&site.path("out")) {
        let column = |name| batch.column_by_name(name).expect("a column");
        let amounts = column("amount").as_primitive::<arrow_array::types::Decimal128Type>();
        let names = column("name").as_string::<i32>();
        for (row, id) in column("id")
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .enumerate()
        {
            assert!(seen.insert(*id), "row {id} is there twice");
            assert_eq!(amounts.value(row), i128::from(*id) * 25, "row {id}");
            assert_eq!(names.value(row), format!("the name of number {id}"));
        }
    }
    seen.len()
}

#[test]
fn a_thousand_tables_become_a_thousand_files() {
    let server = mariadb();
    let mut sql = "CREATE DATABASE shop; USE shop;\n".to_owned();
    for table in 0..1000 {
        // Every third one is empty.
        let key = if table % 2 == 0 { "PRIMARY KEY" } else { "" };
        sql += &format!("CREATE TABLE t{table:03} (id INT NOT NULL {key}, name VARCHAR(20));\n");
        if table % 3 != 0 {
            sql += &format!("INSERT INTO t{table:03} VALUES (1, 'one'), ({table} + 2, NULL);\n");
        }
    }
    server.sql(&sql);
    let site = Site::with(&format!(
        r#"
        name = "many"

        [sources.shop]
        type = "mysql"
        url = "{}"

        [sinks.lines]
        type = "files"
        inputs = ["shop.*"]
        url = "out/{{table}}.ndjson"
        mode = "overwrite"
        "#,
        server.url("shop")
    ));
    site.run(&[]).expect_done();
    let files = visible_files(&site.path("out"));
    assert_eq!(files.len(), 666);
    assert_eq!(
        site.read("out/t500.ndjson"),
        "{\"id\":1,\"name\":\"one\"}\n{\"id\":502,\"name\":null}\n"
    );
    assert_eq!(lines_of(&site.path("out")).len(), 2 * 666);
    assert_eq!(
        files_under(&site.path("tmp")),
        [] as [std::path::PathBuf; 0]
    );
}

#[test]
fn a_table_of_two_thousand_columns_is_read_whole() {
    let server = mariadb();
    let columns: Vec<_> = (0..1999).map(|column| format!("c{column} INT")).collect();
    let values: Vec<_> = (0..1999).map(|column| format!("seq * {column}")).collect();
    // InnoDB has at most 1,017 columns.
    server.sql(&format!(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE wide (id INT NOT NULL PRIMARY KEY, {}) ENGINE = Aria;
         INSERT INTO wide SELECT seq, {} FROM seq_1_to_300;",
        columns.join(", "),
        values.join(", ")
    ));
    let site = Site::with(&to_parquet(&server, "wide", "", ""));
    site.run(&[]).expect_done();
    let mut rows = 0;
    for batch in batches_of(&site.path("out")) {
        assert_eq!(batch.num_columns(), 2000);
        let column = |column| batch.column(column).as_primitive::<Int32Type>().values();
        for (row, id) in column(0).iter().enumerate() {
            for other in [0, 7, 1000, 1998] {
                assert_eq!(
                    i64::from(column(other + 1)[row]),
                    i64::from(*id) * i64::try_from(other).expect("small")
                );
            }
        }
        rows += batch.num_rows();
    }
    assert_eq!(rows, 300);
}

#[test]
fn a_row_of_sixty_megabytes_arrives_whole() {
    let server = MariaDb::with(&["--max-allowed-packet=256M", "--innodb-log-file-size=1G"]);
    server.sql(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE numbers (id INT PRIMARY KEY, body LONGTEXT);
         INSERT INTO numbers VALUES (1, 'small'), (2, REPEAT('sixty megs', 6000000)), (3, '');",
    );
    let site = Site::with(&to_parquet(&server, "large", "", ""));
    site.run(&[]).expect_done();
    let mut bodies = Vec::new();
    for batch in batches_of(&site.path("out")) {
        let ids = batch.column(0).as_primitive::<Int32Type>().values();
        let texts = batch.column(1).as_string::<i32>();
        bodies.extend(
            ids.iter()
                .zip(texts)
                .map(|(id, text)| (*id, text.map(str::to_owned))),
        );
    }
    bodies.sort();
    let texts: Vec<_> = bodies
        .iter()
        .map(|(_, text)| text.as_deref().expect("a text"))
        .collect();
    assert_eq!((texts[0], texts[2]), ("small", ""));
    assert_eq!(texts[1].len(), 60_000_000);
    assert_eq!(texts[1].replace("sixty megs", ""), "");
}

const ROWS: usize = 400_000;

#[test]
fn a_server_that_is_restarted_in_mid_run_costs_no_row() {
    let mut server = mariadb();
    // Far more than what is on its way when the first rows are committed.
    make_numbers(&server, ROWS, "PRIMARY KEY", 50);
    let site = Site::with(&to_parquet(&server, "restarted", "bytes = \"4 MB\"", ""));
    let running = site.start(&["--report", "report.json"]);
    until("a first commit", || {
        (!visible_files(&site.path("out")).is_empty()).then_some(())
    });
    assert!(count_numbers(&site) < ROWS, "the run is over too soon");
    server.restart();
    running.wait().expect_done();
    assert_eq!(count_numbers(&site), ROWS);
    let report: serde_json::Value = serde_json::from_str(&site.read("report.json")).expect("JSON");
    let again = report["restarts"].as_u64().unwrap_or_default()
        + report["components"][0]["retries"]
            .as_u64()
            .unwrap_or_default();
    assert!(again > 0, "nothing was noticed: {report}");
}
