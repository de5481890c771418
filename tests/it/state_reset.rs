//! `state reset`: what pipelines are made to forget by hand.

use super::support::{Site, ids_of, until};

const PIPELINE: &str = r#"
name = "forgetful"
[checkpoint]
bytes = "1 B"
[sources.orders]
type = "files"
url = "../in/*.ndjson"
schema = [{ name = "id", type = "int64" }]
incremental = true
[sources.others]
type = "files"
url = "../others/*.ndjson"
schema = [{ name = "id", type = "int64" }]
incremental = true
[sinks.lines]
type = "files"
inputs = ["orders", "others"]
url = "../out"
"#;

const FILE: &str = "pipelines/p.toml";

fn site() -> Site {
    let site = Site::new();
    site.write(FILE, PIPELINE);
    site.write("in/a.ndjson", "{\"id\":10}\n");
    site.write("in/b.ndjson", "{\"id\":11}\n");
    site.write("others/a.ndjson", "{\"id\":20}\n");
    site.tidegate(&["run", FILE]).expect_done();
    site
}

fn reset(args: &[&str]) -> Vec<String> {
    let args = [&["state", "reset"], args].concat();
    args.into_iter().map(str::to_owned).collect()
}

#[test]
fn a_part_a_source_or_all_is_forgotten_and_read_again() {
    let site = site();
    let run = |args: &[&str]| {
        let args = reset(args);
        site.tidegate(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let again = || {
        site.tidegate(&["run", FILE]).expect_done();
        ids_of(&site.path("out"))
    };
    // Nobody is there to be asked.
    let asked = run(&[FILE, "orders", "a.ndjson"]).expect_code(2);
    asked.expect_said(&[
        "`forgetful` would forget",
        "`orders`: a.ndjson",
        "duplicated in one that appends",
        "needs confirmation; pass --yes",
    ]);
    assert_eq!(again(), [10, 11, 20]);

    let one = run(&[FILE, "orders", "a.ndjson", "--yes"]).expect_done();
    let said = "`forgetful` forgot\n  `orders`: a.ndjson\n";
    assert!(one.stdout.starts_with(said), "{}", one.stdout);
    assert_eq!(again(), [10, 10, 11, 20]);
    let source = run(&[FILE, "orders", "-y"]).expect_done();
    let said = "  `orders`: `a.ndjson`, `b.ndjson`\n";
    assert!(source.stdout.contains(said), "{}", source.stdout);
    assert_eq!(again(), [10, 10, 10, 11, 11, 20]);
    // By its name too, with the state's place.
    let all = ["forgetful", "--yes", "--state", "pipelines/.tidegate"];
    let all = run(&all).expect_done();
    assert!(
        all.stdout.contains("`others`: `a.ndjson`"),
        "{}",
        all.stdout
    );
    let none = run(&[FILE, "--yes"]).expect_done();
    assert_eq!(none.stdout, "`forgetful` has nothing to forget here\n");
    assert_eq!(again(), [10, 10, 10, 10, 11, 11, 11, 20, 20]);
}

#[test]
fn what_isnt_there_is_told_with_what_is() {
    let site = site();
    let fails = |args: &[&str], said: &[&str]| {
        let args = reset(args);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        site.tidegate(&args).expect_code(1).expect_said(said);
    };
    fails(
        &[FILE, "order", "--yes"],
        &["no source of this name", "there are: `orders`, `others`"],
    );
    fails(
        &[FILE, "orders", "c.ndjson", "--yes"],
        &[
            "source `orders` remembers no stream, file or split of this name",
            "it remembers: `a.ndjson`, `b.ndjson`",
        ],
    );
    fails(
        &["forgetful", "--yes"],
        &["no pipeline of this name", "name the pipeline file"],
    );
    let place = ["--state", "pipelines/.tidegate"];
    fails(
        &[&["other", "--yes"][..], &place].concat(),
        &["there are: `forgetful`"],
    );
    assert!(!site.path(".tidegate").exists());
    site.tidegate(&["state", "reset", "none.toml"])
        .expect_code(2);
}

#[test]
fn the_state_commands_find_the_state_of_a_pipeline_file() {
    let site = site();
    let show = site.tidegate(&["state", "show", FILE]).expect_done();
    for text in ["forgetful\n", "source  remembers", "orders  a.ndjson"] {
        assert!(show.stdout.contains(text), "{}", show.stdout);
    }
    let show = ["state", "show", FILE, "--json"];
    let shown = site.tidegate(&show).expect_done().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert!(shown["remembered"]["orders"]["b.ndjson"].is_array());
    let list = site.tidegate(&["state", "list", FILE]).expect_done();
    assert!(
        list.stdout.contains("\nforgetful  finished"),
        "{}",
        list.stdout
    );
    let here = site.tidegate(&["state", "list"]).expect_done();
    assert_eq!(here.stdout, "no pipelines\n");
    let export = ["state", "export", "copy.db", FILE];
    site.tidegate(&export).expect_done();
    assert!(site.path("copy.db").exists());
    // Its name may be another.
    let named = ["state", "show", FILE, "--set", "name=another"];
    let named = site.tidegate(&named).expect_code(1);
    named.expect_said(&["there are: `forgetful`"]);
}

#[test]
fn a_pipeline_that_runs_forgets_nothing() {
    let site = Site::with(
        r#"
        name = "busy"
        [sources.numbers]
        type = "generate"
        rate = 10
        columns = [{ name = "id", type = "sequence" }]
        [sinks.lines]
        type = "files"
        inputs = ["numbers"]
        url = "out"
        "#,
    );
    let running = site.start(&[]);
    until("a run", || site.state());
    let refused = site.tidegate(&["state", "reset", "pipeline.toml", "--yes"]);
    refused
        .expect_code(1)
        .expect_said(&["the pipeline is already running", "holder"]);
    running.signal("TERM");
    running.wait();
}

#[test]
fn in_the_middle_of_a_run_a_split_or_a_source_is_forgotten_and_a_file_is_not() {
    let site = site();
    let large: String = (100..1_000_000)
        .map(|id| format!("{{\"id\":{id}}}\n"))
        .collect();
    site.write("in/c.ndjson", large.clone() + "{\"id\":\"oops\"}\n");
    let run = ["run", FILE, "--workers", "1"];
    site.tidegate(&run).expect_code(1);
    let committed = ids_of(&site.path("out")).len();
    assert!(committed > 3);
    let reset = |part: &str| site.tidegate(&["state", "reset", FILE, "orders", part, "--yes"]);
    reset("a.ndjson").expect_code(1).expect_said(&[
        "`a.ndjson` can't be forgotten in the middle of a run",
        "leave the name of the part out",
    ]);
    let show = ["state", "show", FILE, "--json"];
    let shown = site.tidegate(&show).expect_done().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let splits = shown["sources"]["orders"]["positions"].as_object();
    let split = splits.and_then(|splits| splits.keys().next());
    let split = split.expect("a split that was read in part");
    let told = reset(split).expect_done();
    assert!(told.stdout.contains("how far split"), "{}", told.stdout);
    let now = site.tidegate(&show).expect_done().stdout;
    let now: serde_json::Value = serde_json::from_str(&now).expect("JSON");
    assert_eq!(now["sources"]["orders"]["positions"], serde_json::json!({}));
    // Keys by which servers know what comes again are of the run.
    assert_ne!(now["run"], shown["run"]);
    let whole = site
        .tidegate(&["state", "reset", FILE, "orders"])
        .expect_code(2);
    whole.expect_said(&["`orders`: `a.ndjson`, `b.ndjson`, `c.ndjson`\n"]);
    // Nothing of the file is begun now: it is read as it is.
    site.write("in/c.ndjson", "{\"id\":99}\n");
    site.tidegate(&["run", FILE]).expect_done();
    let ids = ids_of(&site.path("out"));
    assert_eq!(ids.len(), committed + 1);
    assert!(ids.contains(&99));
}

#[test]
fn what_a_run_has_to_commit_is_settled_before_anything_is_forgotten() {
    let site = site();
    let db = rusqlite::Connection::open(site.path("pipelines/.tidegate/state.db"));
    let begun =
        "INSERT INTO journal (pipeline, sink, epoch, token) VALUES ('forgetful', 'lines', 9, '{}')";
    let db = db.expect("the state");
    db.execute(begun, []).expect("a token");
    drop(db);
    let refused = site
        .tidegate(&["state", "reset", FILE, "--yes"])
        .expect_code(1);
    refused.expect_said(&[
        "the last run has left something that must be settled first",
        "begun and not committed: 1",
        "--restart --full-refresh",
    ]);
}
