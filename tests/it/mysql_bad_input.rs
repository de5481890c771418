//! What is wrong with a pipeline from or to MySQL is said before a row moves: what, where, and what to
//! do about it.

use tidegate_testkit::servers::{MariaDb, mariadb};

use super::support::{Ended, Site, files_under};

/// A server with a table that `root` may do everything with, and `reader` may read.
fn shop() -> MariaDb {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE sales (id INT PRIMARY KEY, store INT, note VARCHAR(10), sold_at DATETIME);
         INSERT INTO sales VALUES (1, 7, 'one', NOW()), (2, 8, NULL, NOW());
         CREATE TABLE secrets (id INT PRIMARY KEY);
         CREATE USER reader IDENTIFIED BY 'tides';
         GRANT SELECT ON shop.sales TO reader;",
    );
    server
}

/// A pipeline from a server to Parquet.
fn from(source: &str) -> Site {
    Site::with(&format!(
        r#"
        name = "bad"

        [sources.shop]
        type = "mysql"
        {source}

        [sinks.out]
        type = "parquet"
        inputs = ["shop"]
        url = "out"
        "#
    ))
}

/// A pipeline of two rows to a server.
fn to(sink: &str) -> Site {
    Site::with(&format!(
        r#"
        name = "bad"

        [sources.rows]
        type = "generate"
        rows = 2
        columns = [
            {{ name = "id", type = "sequence" }},
            {{ name = "note", type = "text", length = 5 }},
        ]

        [sinks.out]
        type = "mysql"
        inputs = ["rows"]
        {sink}
        "#
    ))
}

/// `check` and `run` both refuse it with these words, and nothing is left.
#[track_caller]
fn refused(site: &Site, code: i32, words: &[&str]) {
    for command in ["check", "run"] {
        let ended: Ended = with_password(site, &[command, "pipeline.toml"]);
        let ended = ended.expect_code(code).expect_said(words);
        assert!(
            !ended.stderr.contains("tides"),
            "a password is shown:\n{}",
            ended.stderr
        );
        assert_eq!(
            files_under(&site.path("out")),
            [] as [std::path::PathBuf; 0]
        );
    }
}

fn with_password(site: &Site, args: &[&str]) -> Ended {
    let mut command = site.command(args);
    command.env("RIGHT", "tides").env("WRONG", "ebbs");
    site.spawn(command).wait()
}

#[test]
fn a_source_that_is_written_wrong_is_refused_before_it_connects() {
    // Nobody listens there.
    let url = "url = \"mysql://reader@127.0.0.1:1/shop\"";
    for (more, words) in [
        (
            "tabels = [\"sales\"]",
            &["tabels", "did you mean `tables`"][..],
        ),
        ("password = \"tides\"", &["password", "{ env = "]),
        ("ssl = \"verify\"", &["ssl", "verify_ca"]),
        (
            "snapshot = \"strict\"",
            &["snapshot", "relaxed", "consistent"],
        ),
        ("host = \"db\"", &["`url`", "`host`"]),
        (
            "follow = true\nsnapshot = \"consistent\"",
            &["follow", "consistent"],
        ),
        ("tables = []", &["`tables` is empty", "hint"]),
        (
            "[sources.shop.table.sales]\nlag = \"1m\"",
            &["`lag`", "`cursor`"],
        ),
    ] {
        refused(&from(&format!("{url}\n{more}")), 2, words);
    }
    let secret = from("url = \"mysql://reader:tides@127.0.0.1:1/shop\"");
    refused(&secret, 2, &["password", "{ env = "]);
}

#[test]
fn a_server_that_is_not_there_or_does_not_let_us_in_is_named() {
    let server = shop();
    let at = |database: &str, more: &str| {
        let url = server.url(database).replace("root@", "reader@");
        from(&format!("url = \"{url}\"\n{more}"))
    };
    let right = "password = { env = \"RIGHT\" }";
    let nobody = from("url = \"mysql://reader@127.0.0.1:1/shop\"\nconnect_timeout = \"2s\"");
    refused(
        &nobody,
        1,
        &["can't connect", "127.0.0.1:1", "hint: check host"],
    );
    let wrong = at("shop", "password = { env = \"WRONG\" }");
    refused(&wrong, 1, &["can't log in", "'reader'", "hint: check user"]);
    let unset = at("shop", "password = { env = \"UNSET\" }");
    refused(&unset, 1, &["variable: UNSET", "hint: set UNSET"]);
    refused(&at("shopp", right), 1, &["database 'shopp'", "hint"]);
    let unprotected = at("shop", &format!("{right}\nssl = \"required\""));
    refused(
        &unprotected,
        2,
        &["the server has no TLS", "hint: switch TLS on"],
    );
}

#[test]
fn what_a_source_asks_for_must_be_there_and_be_allowed() {
    let server = shop();
    let url = server.url("shop").replace("root@", "reader@");
    let of = |more: &str| {
        from(&format!(
            "url = \"{url}\"\npassword = {{ env = \"RIGHT\" }}\n{more}"
        ))
    };
    let sees = "hint: this user sees `sales`";
    // The server doesn't tell who may not read a table that it is there.
    for name in ["sale", "inv_*", "secrets"] {
        let site = of(&format!("tables = [\"{name}\"]"));
        refused(&site, 1, &[&format!("there is no table `{name}`"), sees]);
    }
    let sales = |more: &str| {
        of(&format!(
            "tables = [\"sales\"]\n[sources.shop.table.sales]\n{more}"
        ))
    };
    let has = "hint: there are: id, store, note, sold_at";
    let columns = sales("columns = [\"id\", \"shop\"]");
    refused(&columns, 1, &["there is no column `shop`", has]);
    let no_cursor = sales("cursor = \"updated_at\"");
    refused(&no_cursor, 1, &["there is no column `updated_at`", has]);
    let text = sales("cursor = \"note\"");
    refused(&text, 2, &["`note` can't be a cursor", "hint: a cursor is"]);
    for (condition, error) in [("region = 1", "'region'"), ("store = ", "error 1064")] {
        let site = sales(&format!("where = \"{condition}\""));
        refused(&site, 2, &["can't use `where`", error, "hint: `where` is"]);
    }
    let other = of("tables = [\"sales\"]\n[sources.shop.table.sale]\nwhere = \"id > 1\"");
    refused(
        &other,
        2,
        &["`table.sale` fits no table", "pipeline.toml:9:", "hint"],
    );
    let query = of("queries = { top = \"SELECT nothing FROM sales\" }");
    refused(&query, 2, &["query: top", "'nothing'"]);
}

#[test]
fn what_a_sink_writes_to_must_be_there_and_fit() {
    let server = shop();
    server.sql(
        "USE shop;
         CREATE TABLE other (id INT PRIMARY KEY);
         CREATE TABLE needy (id BIGINT PRIMARY KEY, note VARCHAR(20), store INT NOT NULL);
         CREATE TABLE notes (id DATE PRIMARY KEY, note VARCHAR(20));
         CREATE TABLE plain (id BIGINT, note VARCHAR(20));
         CREATE TABLE old (id BIGINT PRIMARY KEY, note VARCHAR(20)) ENGINE = Aria;",
    );
    let sink = |table: &str, more: &str| {
        to(&format!(
            "url = \"{}\"\ntable = \"{table}\"\n{more}",
            server.url("shop")
        ))
    };
    refused(&sink("nowhere", ""), 1, &["nowhere", "`create = true`"]);
    refused(
        &sink("other", ""),
        1,
        &["has no column `note`", "hint: it has id"],
    );
    refused(
        &sink("needy", ""),
        1,
        &["`store` must have a value", "hint"],
    );
    refused(
        &sink("notes", ""),
        1,
        &["`id` can't hold", "Int64", "hint: CAST"],
    );
    refused(&sink("old", ""), 1, &["Aria", "ENGINE = InnoDB"]);
    refused(
        &sink("plain", "mode = \"upsert\""),
        2,
        &["upsert", "hint: set `key`"],
    );
    let reader = server.url("shop").replace("root@", "reader@");
    let forbidden = to(&format!(
        "url = \"{reader}\"\npassword = {{ env = \"RIGHT\" }}\ntable = \"sales\""
    ));
    refused(&forbidden, 1, &["denied to user 'reader'", "hint"]);
    assert_eq!(server.sql("SELECT count(*) FROM information_schema.tables WHERE table_name LIKE '\\_t%' AND table_schema = 'shop'").trim(), "0");
}
