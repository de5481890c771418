//! `run --full-refresh`: sources forget what they remember when a run begins.

use super::support::{Site, ids_of};

fn pipeline(mode: &str) -> String {
    format!(
        r#"
        name = "refreshed"
        [checkpoint]
        bytes = "1 B"
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
        [sinks.lake]
        type = "files"
        inputs = ["orders"]
        url = "out"
        mode = "{mode}"
        [sinks.rest]
        type = "files"
        inputs = ["others"]
        url = "rest"
        "#
    )
}

fn site(mode: &str) -> Site {
    let site = Site::with(&pipeline(mode));
    site.write("in/a.ndjson", "{\"id\":10}\n");
    site.write("others/a.ndjson", "{\"id\":20}\n");
    site.run(&[]).expect_done();
    site
}

#[test]
fn a_named_source_alone_is_read_again_and_rows_of_a_sink_that_appends_are_told() {
    let site = site("append");
    site.run(&[]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [10]);
    let ended = site.run(&["--full-refresh", "orders"]).expect_done();
    let ended = ended.expect_said(&[
        "full refresh of `orders`: everything is read again",
        "`lake` appends: rows that earlier runs have written are duplicated",
    ]);
    assert!(!ended.stderr.contains("`rest`"), "{}", ended.stderr);
    assert_eq!(ids_of(&site.path("out")), [10, 10]);
    assert_eq!(ids_of(&site.path("rest")), [20]);
    // It was for that run.
    let ended = site.run(&[]).expect_done();
    assert!(!ended.stderr.contains("full refresh"), "{}", ended.stderr);
    assert_eq!(ids_of(&site.path("out")), [10, 10]);
}

#[test]
fn all_sources_are_read_again_and_a_sink_that_overwrites_has_nothing_twice() {
    let site = site("overwrite");
    assert_eq!(ids_of(&site.path("out")), [10]);
    let ended = site.run(&["--full-refresh"]).expect_done().expect_said(&[
        "full refresh of `orders`, `others`: everything is read again",
        "`rest` appends",
    ]);
    assert!(!ended.stderr.contains("`lake`"), "{}", ended.stderr);
    assert_eq!(ids_of(&site.path("out")), [10]);
    assert_eq!(ids_of(&site.path("rest")), [20, 20]);
}

#[test]
fn a_name_that_no_source_has_is_told_and_makes_nothing() {
    let site = Site::with(&pipeline("append"));
    let said = [
        "there is no source `order` to refresh",
        "the sources are: `orders`, `others`",
    ];
    site.run(&["--full-refresh", "order"])
        .expect_code(2)
        .expect_said(&said);
    assert!(site.state().is_none());
    let swallowed = site.tidegate(&["run", "--full-refresh", "pipeline.toml"]);
    swallowed
        .expect_code(2)
        .expect_said(&["write the file first: tidegate run FILE --full-refresh"]);
    let both = site.run(&["--full-refresh", "--resume-anyway"]);
    both.expect_code(2).expect_said(&["cannot be used with"]);
}

#[test]
fn a_run_in_the_middle_is_finished_or_given_up_first_and_a_refresh_is_resumed() {
    let site = site("append");
    let large: String = (0..1_000_000)
        .map(|id| format!("{{\"id\":{id}}}\n"))
        .collect();
    let broken = large + "{\"id\":\"oops\"}\n";
    site.write("in/b.ndjson", &broken);
    site.run(&["--workers", "1"]).expect_code(1);
    let committed = ids_of(&site.path("out")).len();
    assert!(committed > 1);
    let said = [
        "the last run isn't finished, and a full refresh begins a new one",
        "--restart --full-refresh",
    ];
    site.run(&["--full-refresh"])
        .expect_code(2)
        .expect_said(&said);
    assert_eq!(ids_of(&site.path("out")).len(), committed);

    let both = ["--restart", "--full-refresh", "--workers", "1"];
    let ended = site.run(&both).expect_code(1);
    ended.expect_said(&["full refresh of `orders`, `others`"]);
    let twice = ids_of(&site.path("out"));
    assert!(twice.len() > committed + 1);
    assert_eq!(twice.iter().filter(|id| **id == 10).count(), 4, "a and b");
    // The refresh that was interrupted is resumed by the same command, and begins nothing anew.
    let ended = site
        .run(&["--full-refresh", "--workers", "1"])
        .expect_code(1);
    assert!(
        !ended.stderr.contains("full refresh of"),
        "{}",
        ended.stderr
    );
    let resumed = ids_of(&site.path("out"));
    assert_eq!(resumed.iter().filter(|id| **id == 10).count(), 4);
    // Another one isn't that.
    let another = site.run(&["--full-refresh", "orders"]);
    another.expect_code(2).expect_said(&said);
}

#[test]
fn a_source_of_another_type_may_begin_anew_by_a_refresh() {
    let site = site("append");
    let text = pipeline("append");
    let at = text.find("[sources.others]").expect("the other source");
    let generate = r#"
        name = "refreshed"
        [sources.orders]
        type = "generate"
        rows = 2
        columns = [{ name = "id", type = "sequence" }]
        "#;
    site.write("pipeline.toml", generate.to_owned() + &text[at..]);
    site.run(&[]).expect_code(2);
    site.run(&["--full-refresh", "orders"]).expect_done();
    assert_eq!(ids_of(&site.path("out")), [0, 1, 10]);
}
