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
    refused(&nobody, 1, &["127.0.0.1:1", "hint"]);
    let wrong = at("shop", "password = { env = \"WRONG\" }");
    refused(&wrong, 1, &["reader", "hint"]);
    refused(&at("shop", "password = { env = \"UNSET\" }"), 2, &["UNSET"]);
    refused(&at("shopp", right), 1, &["shopp", "hint"]);
    let unprotected = at("shop", &format!("{right}\nssl = \"required\""));
    refused(&unprotected, 1, &["TLS", "hint"]);
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
    refused(&of("tables = [\"sale\"]"), 1, &["`sale`", "hint"]);
    refused(&of("tables = [\"inv_*\"]"), 1, &["`inv_*`", "hint"]);
    // The server doesn't tell who may not read it that it is there.
    refused(&of("tables = [\"secrets\"]"), 1, &["`secrets`", "hint"]);
    let sales = |more: &str| {
        of(&format!(
            "tables = [\"sales\"]\n[sources.shop.table.sales]\n{more}"
        ))
    };
    refused(
        &sales("columns = [\"id\", \"shop\"]"),
        2,
        &["`shop`", "hint"],
    );
    refused(
        &sales("where = \"region = 'north'\""),
        2,
        &["region", "hint"],
    );
    refused(&sales("where = \"store = \""), 2, &["where", "hint"]);
    refused(&sales("cursor = \"note\""), 2, &["`note`", "hint"]);
    refused(
        &sales("cursor = \"updated_at\""),
        2,
        &["`updated_at`", "hint"],
    );
    let other = of("tables = [\"sales\"]\n[sources.shop.table.sale]\nwhere = \"id > 1\"");
    refused(&other, 2, &["`sale`", "hint"]);
    let query = of("queries = { top = \"SELECT nothing FROM sales\" }");
    refused(&query, 2, &["nothing", "top"]);
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
    refused(&sink("nowhere", ""), 1, &["`nowhere`", "create = true"]);
    refused(&sink("other", ""), 1, &["`note`", "hint"]);
    refused(&sink("needy", ""), 1, &["`store`", "hint"]);
    refused(&sink("notes", ""), 1, &["`id`", "hint"]);
    refused(&sink("old", ""), 1, &["Aria", "InnoDB"]);
    refused(
        &sink("plain", "mode = \"upsert\""),
        1,
        &["`plain`", "key", "hint"],
    );
    let reader = server.url("shop").replace("root@", "reader@");
    let forbidden = to(&format!(
        "url = \"{reader}\"\npassword = {{ env = \"RIGHT\" }}\ntable = \"sales\""
    ));
    refused(&forbidden, 1, &["reader", "hint"]);
    assert_eq!(server.sql("SELECT count(*) FROM information_schema.tables WHERE table_name LIKE '\\_t%' AND table_schema = 'shop'").trim(), "0");
}
