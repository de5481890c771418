//! `state export` and `state import`.

use serde_json::Value;

use super::support::{Ended, Site, ids_of};

const PIPELINE: &str = r#"
name = "copied"
[sources.orders]
type = "files"
url = "in/*.ndjson"
schema = [{ name = "id", type = "int64" }]
incremental = true
[sinks.lines]
type = "files"
inputs = ["orders"]
url = "out"
"#;

fn site() -> Site {
    let site = Site::with(PIPELINE);
    site.write("in/a.ndjson", "{\"id\":10}\n");
    site.run(&[]).expect_done();
    site.tidegate(&["state", "export", "copy.db"]).expect_done();
    site
}

fn import(site: &Site, args: &[&str]) -> Ended {
    site.tidegate(&[&["state", "import"], args].concat())
}

fn show(site: &Site, more: &[&str]) -> Value {
    let args = [&["state", "show", "copied", "--json"], more].concat();
    let shown = site.tidegate(&args).expect_done().stdout;
    serde_json::from_str(&shown).expect("JSON")
}

#[test]
fn a_copy_comes_back_as_it_was() {
    let site = site();
    let before = show(&site, &[]);
    let place = ["--state", "other"];
    let told = import(&site, &["copy.db", "--state", "other"]).expect_done();
    assert_eq!(told.stdout, "imported the state of `copied`\n");
    assert_eq!(show(&site, &place), before);
    site.run(&place).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10], "it knows what was read");

    // What is there already is replaced only when that is wanted.
    site.write("in/b.ndjson", "{\"id\":11}\n");
    site.run(&[]).expect_done();
    let after = show(&site, &[]);
    assert_ne!(after, before);
    import(&site, &["copy.db", "pipeline.toml"])
        .expect_code(2)
        .expect_said(&[
            "replace the state of `copied`",
            "needs confirmation; pass --yes",
        ]);
    assert_eq!(show(&site, &[]), after);
    import(&site, &["copy.db", "pipeline.toml", "--yes"]).expect_done();
    assert_eq!(show(&site, &[]), before);
    // The lock file, which knows of more changes, doesn't take it for one that has lost some.
    site.run(&[]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10, 11, 11]);
    // And a copy of what was imported is one too.
    site.tidegate(&["state", "export", "again.db"])
        .expect_done();
    import(&site, &["again.db", "--state", "third"]).expect_done();
    assert_eq!(show(&site, &["--state", "third"]), show(&site, &[]));
}

#[test]
fn pipelines_that_the_copy_does_not_have_stay() {
    let site = site();
    let text = PIPELINE
        .replace("copied", "another")
        .replace("\"out\"", "\"more\"");
    site.write("another.toml", text);
    site.tidegate(&["run", "another.toml"]).expect_done();
    import(&site, &["copy.db", "--yes"]).expect_done();
    site.tidegate(&["run", "another.toml"]).expect_done();
    assert_eq!(ids_of(&site.path("more")), [10]);
    let list = site.tidegate(&["state", "list"]).expect_done().stdout;
    assert!(
        list.contains("\nanother ") && list.contains("\ncopied "),
        "{list}"
    );
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let site = site();
    let refused = |file: &str, said: &[&str]| {
        let ended = import(&site, &[file, "--state", "other"]).expect_code(1);
        ended.expect_said(said);
        assert!(!site.path("other").exists(), "nothing is made");
    };
    refused("none.db", &["the copy can't be read", "none.db"]);
    site.write("text.db", "id\n10\n");
    let foreign = ["the file is no copy of a state", "tidegate state export"];
    refused("text.db", &foreign);
    let db = rusqlite::Connection::open(site.path("else.db")).expect("a database");
    db.execute_batch("CREATE TABLE t (a)").expect("a table");
    drop(db);
    refused("else.db", &foreign);

    let whole = std::fs::read(site.path("copy.db")).expect("the copy");
    let change = |name: &str, sql: &str| {
        site.write(name, &whole);
        let db = rusqlite::Connection::open(site.path(name)).expect("a database");
        db.execute_batch(sql).expect("a change");
    };
    change("changed.db", "UPDATE pipeline SET epoch = 77");
    let damaged = ["the copy is damaged", "take another copy"];
    refused("changed.db", &damaged);
    change("newer.db", "PRAGMA user_version = 2");
    let newer = [
        "written by another version of Tidegate",
        "import it with the version",
    ];
    refused("newer.db", &newer);
    site.write("half.db", &whole[..whole.len() / 2]);
    refused("half.db", &damaged);
    // One bit of a value.
    let at = whole.windows(6).position(|bytes| bytes == b"orders");
    let mut bytes = whole.clone();
    bytes[at.expect("the source's name")] ^= 1;
    site.write("bit.db", bytes);
    refused("bit.db", &damaged);
    // A state in use is none.
    site.write("used.db", &whole);
    site.write("used.db-wal", "x");
    refused(
        "used.db",
        &["this is a state in use", "tidegate state export COPY"],
    );

    // Earlier versions gave no checksum.
    change("earlier.db", "DROP TABLE copy");
    let earlier = import(&site, &["earlier.db", "--state", "other"]).expect_done();
    earlier.expect_said(&["the copy has no checksum"]);
    let memory = import(&site, &["copy.db", "--state", "memory://a/b"]);
    memory
        .expect_code(1)
        .expect_said(&["only be imported into a state in a directory"]);
}
