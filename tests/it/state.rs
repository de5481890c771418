//! What pipelines remember, shown and copied; and a stop in the middle of a query.

use std::time::Duration;

use serde_json::Value;

use super::support::{Site, until};

const PIPELINE: &str = r#"
name = "counted"

[sources.numbers]
type = "generate"
rows = 1000
columns = [{ name = "id", type = "sequence" }]

[sinks.lines]
type = "files"
inputs = ["numbers"]
url = "out"
"#;

#[test]
fn the_state_is_listed_shown_and_copied() {
    let site = Site::with(PIPELINE);
    let none = site.tidegate(&["state", "list"]).expect_done();
    assert_eq!(none.stdout, "no pipelines\n");
    let none = site.tidegate(&["state", "export", "copy.db"]);
    none.expect_code(1).expect_said(&["there is no state here"]);
    assert!(!site.path(".tidegate").exists());

    site.run(&[]).expect_done();
    let list = site.tidegate(&["state", "list"]).expect_done().stdout;
    assert!(list.starts_with("pipeline  status    epoch"), "{list}");
    assert!(list.contains("\ncounted   finished"), "{list}");
    let show = site.tidegate(&["state", "show", "counted"]).expect_done();
    for text in [
        "counted\n",
        "finished",
        "numbers",
        "generate",
        "sink",
        "files",
    ] {
        assert!(show.stdout.contains(text), "{}", show.stdout);
    }
    let unknown = site.tidegate(&["state", "show", "other"]).expect_code(1);
    unknown.expect_said(&["there are: `counted`"]);

    let copy = site.tidegate(&["state", "export", "copies/state.db"]);
    copy.expect_code(1)
        .expect_said(&["the copy can't be written"]);
    std::fs::create_dir(site.path("copies")).expect("a directory");
    let export = ["state", "export", "copies/state.db"];
    site.tidegate(&export).expect_done();
    site.tidegate(&export).expect_code(2);
    let show = |place: &str| -> Value {
        let args = ["state", "show", "counted", "--json", "--state", place];
        let shown = site.tidegate(&args).expect_done().stdout;
        serde_json::from_str(&shown).expect("JSON")
    };
    let shown = show("copies");
    assert_eq!(shown, show(".tidegate"));
    assert_eq!(shown["status"], "finished");
    assert_eq!(shown["components"][0]["type"], "generate");
    assert_eq!(shown["epochs"], serde_json::json!([]));
}

#[test]
fn a_signal_ends_a_query_that_would_run_for_ever() {
    let site = Site::with(
        r#"
        name = "endless"
        [sources.numbers]
        type = "generate"
        rows = 10
        columns = [{ name = "id", type = "sequence" }]
        [transforms.up]
        type = "sql"
        inputs = ["numbers"]
        query = """
        WITH RECURSIVE up AS (SELECT id FROM numbers UNION ALL SELECT id + 1 FROM up)
        SELECT max(id) AS id FROM up
        """
        [sinks.lines]
        type = "files"
        inputs = ["up"]
        url = "out"
        "#,
    );
    let mut running = site.start(&[]);
    until("a run", || site.state());
    // By now it has long read its rows.
    std::thread::sleep(Duration::from_secs(2));
    assert!(!running.has_ended());
    running.signal("TERM");
    running.wait_for(Duration::from_secs(5)).expect_code(4);
}
