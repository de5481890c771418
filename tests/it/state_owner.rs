//! A state that belongs to another file, to another type of source, or to another version.

use std::fs;

use super::support::{Site, ids_of};

fn of_files(more: &str) -> String {
    format!(
        r#"
        name = "owned"
        [sources.orders]
        type = "files"
        url = "in/*.ndjson"
        schema = [{{ name = "id", type = "int64" }}]
        incremental = true
        [sources.others]
        type = "files"
        url = "others/*.ndjson"
        schema = [{{ name = "id", type = "int64" }}]
        incremental = true
        [sinks.lines]
        type = "files"
        inputs = ["orders", "others"]
        url = "out"
        {more}
        "#
    )
}

fn of_generate() -> String {
    let files = of_files("");
    let at = files.find("[sources.others]").expect("the other source");
    let generate = r#"
        name = "owned"
        [sources.orders]
        type = "generate"
        rows = 2
        columns = [{ name = "id", type = "sequence" }]
        "#;
    generate.to_owned() + &files[at..]
}

fn site() -> Site {
    let site = Site::with(&of_files(""));
    site.write("in/a.ndjson", "{\"id\":10}\n");
    site.write("others/a.ndjson", "{\"id\":20}\n");
    site
}

#[test]
fn a_source_of_another_type_is_told_and_forgets_alone() {
    let site = site();
    site.run(&[]).expect_done();
    site.write("pipeline.toml", of_generate());
    let said = [
        "source `orders` is of type `generate` now",
        "one of type `files`",
        "pipeline.toml:4",
        "--restart",
    ];
    let check = ["check", "pipeline.toml"];
    site.tidegate(&check).expect_code(2).expect_said(&said);
    site.run(&[]).expect_code(2).expect_said(&said);
    assert_eq!(ids_of(&site.path("out")), [10, 20]);

    site.run(&["--restart"]).expect_done();
    // The other source still knows what it has read.
    assert_eq!(ids_of(&site.path("out")), [0, 1, 10, 20]);
    site.tidegate(&check).expect_done();
    site.run(&[]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [0, 0, 1, 1, 10, 20]);
    // Nothing is lost with what `generate` remembers.
    site.write("pipeline.toml", of_files(""));
    site.tidegate(&check).expect_done();
    site.run(&[]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [0, 0, 1, 1, 10, 10, 20]);
}

#[test]
fn a_memory_of_another_version_is_told_and_forgotten() {
    let site = site();
    site.run(&[]).expect_done();
    let db = rusqlite::Connection::open(site.path(".tidegate/state.db")).expect("the state");
    let plan = "UPDATE source SET plan = '{\"seen\":7}' WHERE id = 'orders'";
    assert_eq!(db.execute(plan, []).expect("a change"), 1);
    drop(db);
    let said = [
        "what source `orders` remembers was written by another version",
        "--restart",
    ];
    let check = ["check", "pipeline.toml"];
    site.tidegate(&check).expect_code(1).expect_said(&said);
    site.run(&[]).expect_code(1).expect_said(&said);
    site.run(&["--restart"]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10, 10, 20]);
}

#[test]
fn check_says_that_the_pipeline_was_changed_in_the_middle_of_a_run() {
    let site = site();
    let sink = |url: &str| of_files("").replace("\"out\"", url);
    // It fails with its first row committed, as each file is its own checkpoint.
    let slow = "[checkpoint]\nbytes = \"1 B\"\n";
    let name = "name = \"owned\"";
    let text = of_files("").replace(name, &format!("{name}\n{slow}"));
    site.write("pipeline.toml", &text);
    let large: String = (0..200_000)
        .map(|id| format!("{{\"id\":{id}}}\n"))
        .collect();
    site.write("in/b.ndjson", large + "{\"id\":\"oops\"}\n");
    site.run(&["--workers", "1"]).expect_code(1);
    assert!(!ids_of(&site.path("out")).is_empty());
    let check = ["check", "pipeline.toml"];
    site.tidegate(&check).expect_done();
    let changed = sink("\"elsewhere\"").replace(name, &format!("{name}\n{slow}"));
    site.write("pipeline.toml", changed);
    let said = ["changed in the middle of a run", "sinks.lines.url"];
    site.tidegate(&check).expect_code(2).expect_said(&said);
    site.run(&[]).expect_code(2).expect_said(&said);
}

#[test]
fn two_files_of_one_name_do_not_share_a_state() {
    let site = site();
    site.write("a/pipeline.toml", of_generate());
    site.write("a/others/a.ndjson", "{\"id\":30}\n");
    site.run(&[]).expect_done();
    let said = [
        "the name `owned` belongs to another pipeline file",
        "pipeline.toml",
        "--adopt",
    ];
    let state = ["--state", ".tidegate"];
    let check = [&["check", "a/pipeline.toml"][..], &state].concat();
    let run = [&["run", "a/pipeline.toml"][..], &state].concat();
    site.tidegate(&check).expect_code(2).expect_said(&said);
    site.tidegate(&run).expect_code(2).expect_said(&said);
    site.run(&[]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10, 20]);
    let show = site.tidegate(&["state", "show", "owned"]).expect_done();
    assert!(show.stdout.contains("pipeline.toml"), "{}", show.stdout);

    let adopt = [&run[..], &["--adopt", "--restart"]].concat();
    site.tidegate(&adopt).expect_done();
    site.tidegate(&run).expect_done();
    site.run(&[])
        .expect_code(2)
        .expect_said(&["a/pipeline.toml"]);
}

#[test]
fn a_pipeline_file_may_be_moved() {
    let site = site();
    site.run(&[]).expect_done();
    fs::rename(site.path("pipeline.toml"), site.path("moved.toml")).expect("a move");
    let moved = site.tidegate(&["run", "moved.toml"]).expect_done();
    moved.expect_said(&["the state belongs to another pipeline file now"]);
    assert_eq!(ids_of(&site.path("out")), [10, 20]);
    let again = site.tidegate(&["run", "moved.toml"]).expect_done();
    assert!(
        !again.stderr.contains("another pipeline file"),
        "{}",
        again.stderr
    );
}

#[test]
fn the_state_lies_beside_the_pipeline_file() {
    let site = site();
    let text = of_files("").replace("url = \"", "url = \"../");
    site.write("pipelines/a.toml", text);
    let run = ["run", "pipelines/a.toml"];
    site.tidegate(&run).expect_done();
    assert!(site.path("pipelines/.tidegate/state.db").exists());
    assert!(!site.path(".tidegate").exists());
    let mut command = site.command(&["run", "a.toml"]);
    command.current_dir(site.path("pipelines"));
    let there = site.spawn(command).wait().expect_done();
    assert!(!there.stderr.contains("WARN"), "{}", there.stderr);
    site.tidegate(&run).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10, 20]);

    // As earlier versions left it: in the directory from which it was run.
    fs::rename(site.path("pipelines/.tidegate"), site.path(".tidegate")).expect("a move");
    let found = site.tidegate(&run).expect_done();
    found.expect_said(&["is that in .tidegate of the current directory"]);
    assert!(!site.path("pipelines/.tidegate").exists());
    assert_eq!(ids_of(&site.path("out")), [10, 20]);
    // Another pipeline of that name has nothing to do with it.
    site.write("others/a.toml", of_generate());
    fs::create_dir(site.path("others/others")).expect("a directory");
    site.write("others/others/a.ndjson", "{\"id\":40}\n");
    site.tidegate(&["run", "others/a.toml"]).expect_done();
    assert!(site.path("others/.tidegate/state.db").exists());
}
