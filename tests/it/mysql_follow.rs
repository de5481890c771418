//! Changes of a MySQL table with the whole program: through kills, a table that is altered, and a
//! stop, the log of changes gives the table as the server has it, and no change comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::support::{Site, lines_of, until};

/// How long the reader lives before it is killed, one life after the other.
const LIVES: [u64; 6] = [400, 900, 1500, 700, 1900, 1100];

/// What `account` holds, as `id amount note`.
fn table(server: &MariaDb) -> BTreeSet<String> {
    let rows = server.sql("SELECT id, amount, note FROM shop.account");
    rows.lines().map(|row| row.replace('\t', " ")).collect()
}

/// What the changes make of it: of each key the last one, unless that is a delete.
fn applied(changes: &[Value]) -> BTreeSet<String> {
    let mut last: BTreeMap<i64, &Value> = BTreeMap::new();
    for change in changes {
        let id = change["id"].as_i64().expect("an id");
        let newer = |old: &&Value| change["_pos"].as_str() > old["_pos"].as_str();
        if last.get(&id).is_none_or(newer) {
            last.insert(id, change);
        }
    }
    let there = last.values().filter(|change| change["_op"] != "delete");
    let row = |change: &&Value| {
        let amount = change["amount"].as_f64().expect("an amount");
        let note = change["note"].as_str().unwrap_or("NULL");
        format!("{} {amount:.2} {note}", change["id"])
    };
    there.map(row).collect()
}

#[test]
fn changes_survive_kills_and_an_altered_table() {
    let server = mariadb();
    server.sql(
        "CREATE DATABASE shop; USE shop;
         CREATE TABLE account (id INT PRIMARY KEY, amount DECIMAL(20,2));
         INSERT INTO account SELECT seq, seq FROM seq_1_to_20000; ANALYZE TABLE account;",
    );
    let site = Site::with(&format!(
        r#"
        name = "changes"
        checkpoint = {{ interval = "200ms" }}
        [sources.shop]
        type = "mysql"
        url = "{}"
        follow = true
        [sinks.log]
        type = "files"
        inputs = ["shop"]
        url = "out"
        "#,
        server.url("shop")
    ));

    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..40 {
                let note = if round < 20 { "" } else { ", note = 'later'" };
                if round == 20 {
                    server.sql("ALTER TABLE shop.account ADD COLUMN note VARCHAR(20)");
                }
                server.sql(&format!(
                    "USE shop; START TRANSACTION;
                     UPDATE account SET amount = amount + 0.25{note} WHERE id % 40 = {round};
                     DELETE FROM account WHERE id % 400 = {round};
                     INSERT INTO account (id, amount) VALUES ({new}, 1), ({new} + 1, 2);
                     COMMIT; UPDATE account SET id = -id WHERE id = {new} + 1;",
                    new = 1_000_000 + 2 * round,
                ));
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        for life in LIVES {
            let running = site.start(&[]);
            std::thread::sleep(Duration::from_millis(life));
            running.kill();
        }
        writer.join().expect("the writer");
    });
    server.sql("INSERT INTO shop.account (id, amount, note) VALUES (7777777, 0, 'the last')");

    let running = site.start(&[]);
    until("the last change", || {
        let changes = lines_of(&site.path("out"));
        let last = changes.iter().any(|change| change["id"] == 7_777_777);
        last.then_some(())
    });
    running.signal("TERM");
    running.wait();

    let changes = lines_of(&site.path("out"));
    let places: BTreeSet<_> = changes
        .iter()
        .map(|change| (change["_pos"].as_str(), change["id"].as_i64()))
        .collect();
    assert_eq!(places.len(), changes.len(), "a change came twice");
    assert_eq!(applied(&changes), table(&server));
}
