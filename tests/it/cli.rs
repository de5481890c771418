//! The commands, as people and scripts meet them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::support::{Ended, Site, hidden_files, lines_of, until, visible_files};

const COMMANDS: [&str; 10] = [
    "run",
    "check",
    "plan",
    "query",
    "catalog",
    "state",
    "list",
    "describe",
    "schema",
    "completions",
];

/// A pipeline that writes its rows as lines to standard output.
const LINES: &str = r#"
name = "lines"

[sources.numbers]
type = "generate"
rows = 50000
columns = [{ name = "id", type = "sequence" }]

[transforms.chosen]
type = "sql"
inputs = ["numbers"]
query = """
SELECT id,
       id * 2 AS twice
FROM numbers
WHERE id % 2 = 0
"""

[sinks.screen]
type = "console"
format = "ndjson"
inputs = ["chosen"]
"#;

/// A pipeline that continues until it is stopped.
const ENDLESS: &str = r#"
name = "endless"

[checkpoint]
interval = "100ms"

[sources.numbers]
type = "generate"
rate = 2000
batch_rows = 20
columns = [{ name = "id", type = "sequence" }]

[sinks.out]
type = "files"
inputs = ["numbers"]
url = "out"
"#;

/// Each line of stderr as the JSON object that it must be.
#[track_caller]
fn log_of(ended: &Ended) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            value["level"].is_string() && value["timestamp"].is_string(),
            "{line}"
        );
        value
    });
    lines.collect()
}

#[test]
fn help_says_what_each_command_does() {
    let site = Site::new();
    let mut all = site.tidegate(&["--help"]).expect_done().stdout;
    for command in COMMANDS {
        let help = site.tidegate(&[command, "--help"]).expect_done().stdout;
        all += &format!("\n=== tidegate {command} --help\n\n{help}");
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn list_and_describe_know_every_component() {
    let site = Site::new();
    let list = site.tidegate(&["list"]).expect_done();
    assert_eq!(list.stderr, "");
    let json = site.tidegate(&["list", "--json"]).expect_done().stdout;
    let entries: Vec<Value> = serde_json::from_str(&json).expect("JSON");
    let mut all = list.stdout;
    for entry in &entries {
        let (tag, kind) = (
            entry["type"].as_str().expect("a type"),
            entry["kind"].as_str().expect("a kind"),
        );
        // Lines are broken between words.
        let words: Vec<_> = all.split_whitespace().collect();
        let summary = entry["summary"].as_str().expect("a summary");
        assert!(words.join(" ").contains(summary), "{tag}");
        let page = site.tidegate(&["describe", tag, kind]).expect_done().stdout;
        assert!(page.starts_with(&format!("{tag} ({kind})\n")), "{page}");
        let schema = site
            .tidegate(&["describe", tag, kind, "--json"])
            .expect_done()
            .stdout;
        let schema: Value = serde_json::from_str(&schema).expect("JSON");
        for key in schema["properties"].as_object().expect("keys").keys() {
            assert!(page.contains(&format!("\n  {key}  (")), "`{key}` of {tag}");
        }
        all += &format!("\n=== tidegate describe {tag} {kind}\n\n{page}");
    }
    insta::assert_snapshot!("components", all);
    // Both are meant, where one name is a source's and a sink's.
    let both = site.tidegate(&["describe", "files"]).expect_done().stdout;
    assert!(both.contains("files (source)\n") && both.contains("\nfiles (sink)\n"));
    site.tidegate(&["describe", "fils"]).expect_code(2).expect_said(&[
        "error: there is no component of type `fils`\n",
        "hint: this program has: athena, console, dedupe, extract, files, firehose, flatten, generate, glue, http, http_server, json, jsonplaceholder, kinesis, local, mask, mysql, parquet, rest, sql, stackoverflow, table\n",
    ]);
}

#[test]
fn editors_and_shells_get_what_they_need() {
    let site = Site::new();
    let schema = site.tidegate(&["schema"]).expect_done().stdout;
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    for key in [
        "name",
        "sources",
        "transforms",
        "sinks",
        "guarantee",
        "checkpoint",
    ] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = site.tidegate(&["completions", shell]).expect_done().stdout;
        assert!(
            script.contains("tidegate") && script.contains("describe"),
            "{shell}"
        );
    }
}

#[test]
fn exit_codes_tell_how_it_went() {
    let site = Site::with(LINES);
    site.run(&[]).expect_code(0);
    site.tidegate(&["check", "pipeline.toml"]).expect_code(0);
    // Usage, and every kind of error in the configuration.
    site.tidegate(&["run"]).expect_code(2);
    site.tidegate(&["sail"]).expect_code(2);
    site.run(&["--resume-anyway", "--restart"]).expect_code(2);
    site.run(&["--set", "sinks.screen.format=tabel"])
        .expect_code(2);
    site.run(&["--profile", "prod"])
        .expect_code(2)
        .expect_said(&["pipeline.prod.toml"]);
    site.tidegate(&["run", "no.toml"])
        .expect_code(2)
        .expect_said(&["there is no such file"]);

    let site = Site::with(
        r#"
        name = "rejecting"
        rejected_limit = 1
        [sources.in]
        type = "files"
        url = "in.csv"
        schema = [{ name = "id", type = "int64" }]
        [sinks.out]
        type = "files"
        inputs = ["in"]
        url = "out"
        [sinks.bad]
        type = "files"
        inputs = ["in.rejected"]
        url = "bad"
        "#,
    );
    site.write("in.csv", "id\n1\ntwo\n3\nfour\n");
    site.run(&[]).expect_code(3);
    assert_eq!(lines_of(&site.path("out")).len(), 2);
    assert_eq!(lines_of(&site.path("bad")).len(), 2);
    site.run(&["--set", "rejected_limit=2"]).expect_code(0);
    // The source is missing.
    site.run(&["--set", "sources.in.url=no.csv"]).expect_code(1);
}

#[test]
fn a_signal_stops_after_a_last_commit() {
    for signal in ["INT", "TERM"] {
        let site = Site::with(ENDLESS);
        let running = site.start(&[]);
        until("a first file", || visible_files(&site.path("out")).pop());
        running.signal(signal);
        running.wait().expect_code(4).expect_said(&[
            "stopping after a last commit; once more stops at once\n",
            "endless stopped after ",
            "\nwhat was read is committed; the next run resumes from there\n",
        ]);
        let mut ids: Vec<_> = lines_of(&site.path("out"))
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect();
        ids.sort_unstable();
        assert!(
            ids.iter()
                .copied()
                .eq(0..i64::try_from(ids.len()).expect("few")),
            "{}",
            ids.len()
        );
    }
}

#[test]
fn a_signal_to_a_run_that_is_one_epoch_says_that_nothing_is_committed() {
    let site = Site::with(
        r#"
        name = "whole"

        [sources.numbers]
        type = "generate"
        rows = 1000000
        rate = 2000
        batch_rows = 20
        columns = [{ name = "id", type = "sequence" }]

        [transforms.sum]
        type = "sql"
        inputs = ["numbers"]
        query = "SELECT sum(id) AS sum FROM numbers"

        [sinks.seen]
        type = "files"
        inputs = ["numbers"]
        url = "seen"

        [sinks.out]
        type = "console"
        inputs = ["sum"]
        "#,
    );
    let running = site.start(&[]);
    until("a first file", || hidden_files(&site.path("seen")).pop());
    running.signal("INT");
    running.wait().expect_code(4).expect_said(&[
        "stopping without a commit, because this run is committed only as a whole; once more",
        "\nnothing of this run was committed; the next run starts it over\n",
    ]);
}

#[test]
fn quiet_shows_errors_and_data_only() {
    let site = Site::with(LINES);
    let ended = site.run(&["--quiet"]).expect_done();
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout.lines().count(), 25_000);
    let ended = site
        .tidegate(&["check", "pipeline.toml", "-q"])
        .expect_done();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    let ended = site
        .run(&["--quiet", "--set", "sinks.screen.format=x"])
        .expect_code(2);
    assert!(
        ended.stderr.starts_with("error: `format` can't be `x`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn standard_output_carries_data_only() {
    let site = Site::with(LINES);
    for format in ["text", "json"] {
        let ended = site
            .run(&["--log-format", format, "--verbose"])
            .expect_done();
        let rows: Vec<Value> = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let mut ids: Vec<_> = rows
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect();
        // Splits are read side by side; only within one is there an order.
        ids.sort_unstable();
        assert!(ids.into_iter().eq((0..50_000).step_by(2)));
        assert!(
            rows.iter()
                .all(|row| row["twice"].as_i64() == row["id"].as_i64().map(|id| id * 2))
        );
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let site = Site::with(LINES);
    let log = log_of(&site.run(&["--log-format", "json"]).expect_done());
    let end = log.last().expect("an end");
    assert_eq!(end["message"], "run ended");
    assert_eq!(end["report"]["status"], "completed");
    assert_eq!(end["report"]["components"][0]["rows_out"], 50_000);

    let ended = site
        .run(&["--log-format", "json", "--set", "sinks.screen.rowz=1"])
        .expect_code(2);
    let log = log_of(&ended);
    assert_eq!(log.len(), 1);
    assert_eq!(log[0]["message"], "unknown key `rowz`");
    assert_eq!(log[0]["file"], "--set sinks.screen.rowz");
    assert!(log[0]["hint"].as_str().expect("a hint").contains("`rows`"));

    site.write(
        "pipeline.toml",
        LINES
            .replace("generate\"\nrows = 50000", "files\"\nurl = \"no.csv\"")
            .replace("columns = [{ name = \"id\", type = \"sequence\" }]", ""),
    );
    let log = log_of(&site.run(&["--log-format", "json"]).expect_code(1));
    let error = log.last().expect("an error");
    assert_eq!(error["level"], "ERROR");
    assert_eq!(error["kind"], "not found");
    assert_eq!(error["context"]["component"], "numbers");

    let site = Site::with(ENDLESS);
    let running = site.start(&["--log-format", "json"]);
    until("a first file", || visible_files(&site.path("out")).pop());
    running.signal("INT");
    let log = log_of(&running.wait().expect_code(4));
    assert!(log.iter().any(|line| {
        line["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("stopping"))
    }));
    assert_eq!(log.last().expect("an end")["report"]["status"], "stopped");
}

#[test]
fn a_report_tells_what_was_done() {
    let site = Site::with(LINES);
    let (_, report) = site.run_with_report(&[]);
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    for key in [
        "pipeline",
        "run_id",
        "status",
        "duration_s",
        "epochs",
        "components",
        "bound_by",
    ] {
        assert!(keys(&report).contains(&key.to_owned()), "{key}");
    }
    assert_eq!(
        (&report["pipeline"], &report["status"]),
        (&"lines".into(), &"completed".into())
    );
    let components = report["components"].as_array().expect("components");
    for key in [
        "id",
        "kind",
        "type",
        "guarantee",
        "rows_in",
        "rows_out",
        "rejected",
        "bytes",
        "files",
        "retries",
        "busy_s",
    ] {
        assert!(keys(&components[0]).contains(&key.to_owned()), "{key}");
    }
    let rows = |at: usize| {
        (
            components[at]["rows_in"].as_i64(),
            components[at]["rows_out"].as_i64(),
        )
    };
    assert_eq!(rows(0).1, Some(50_000));
    assert_eq!(rows(1), (Some(50_000), Some(25_000)));
    assert_eq!(rows(2).0, Some(25_000));

    // Also of a run that failed.
    site.run(&[
        "--restart",
        "--set",
        "transforms.chosen.query=SELECT 1 / (id - 7) AS x FROM numbers",
        "--report",
        "r.json",
    ])
    .expect_code(1);
    let report: Value = serde_json::from_str(&site.read("r.json")).expect("JSON");
    assert_eq!(report["status"], "failed");
}

#[test]
fn a_file_is_changed_by_profile_settings_and_set() {
    let site = Site::with(LINES);
    site.write("pipeline.small.toml", "[sources.numbers]\nrows = 10\n");
    let rows = |args: &[&str]| site.run(args).expect_done().stdout.lines().count();
    assert_eq!(rows(&["--profile", "small"]), 5);
    assert_eq!(
        rows(&["--profile", "small", "--set", "sources.numbers.rows=4"]),
        2
    );
    assert_eq!(
        rows(&[
            "--set",
            "transforms.chosen.query=SELECT id FROM numbers LIMIT 3"
        ]),
        3
    );

    // The settings beside the file are read, and another file instead of them.
    site.write("tidegate.toml", "[runtime]\nworkers = \"many\"\n");
    let said = ["`workers` must be an integer", "tidegate.toml:2:11"];
    site.run(&[]).expect_code(2).expect_said(&said);
    site.write("tidegate.toml", "[runtme]\nworkers = 1\n");
    let said = ["unknown key `runtme`", "did you mean `runtime`?"];
    site.run(&[]).expect_code(2).expect_said(&said);
    site.write("mine.toml", "[runtime]\nworkers = 1\n");
    assert_eq!(rows(&["--settings", "mine.toml"]), 25_000);
    site.run(&["--settings", "none.toml"])
        .expect_code(2)
        .expect_said(&["none.toml"]);
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_with_their_places() {
    let site = Site::with(
        r#"name = "wrong"

[sources.in]
type = "filez"
url = "a.csv"

[sources.rows]
type = "generate"
row = 10
columns = [{ name = "id", type = "sequence" }]

[transforms.chosen]
type = "sql"
inputs = ["rowz"]
query = "SELECT 1"

[sinks.out]
type = "parquet"
inputs = ["chosen"]
"#,
    );
    let ended = site.tidegate(&["check", "pipeline.toml"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    insta::assert_snapshot!("errors", ended.stderr);
    assert_eq!(site.run(&[]).expect_code(2).stderr, ended.stderr);
    assert!(!site.path(".tidegate").exists(), "nothing was written");
}

#[test]
fn what_only_a_component_knows_is_told_beside_its_other_mistakes() {
    let site = Site::with(
        r#"name = "wrong"

[checkpoint]
interval = "0s"
bytes = "0"

[sources.in]
type = "files"
ulr = "a.csv"
url = "b.csv"
piece_size = "0"
schema = [
    { name = "a", type = "int64" },
    { name = "b", type = "intt" },
    { name = "c", type = "strin" },
]

[sources.rows]
type = "generate"
row = 10
columns = [
    { name = "id", type = "sequence" },
    { name = "id", type = "sequence" },
]

[sinks.out]
type = "parquet"
inputs = ["rows", "in"]
url = "out"
compresion = "zstd"
compression_level = 99
row_group_rows = 0
"#,
    );
    let ended = site.tidegate(&["check", "pipeline.toml"]).expect_code(2);
    let places: Vec<_> = ended
        .stderr
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--> pipeline.toml:"))
        .map(|place| place.split_once(':').expect("a line").0)
        .collect();
    let wanted = [
        "4", "5", "9", "11", "14", "15", "20", "23", "30", "31", "32",
    ];
    assert_eq!(places, wanted, "{}", ended.stderr);
}

#[test]
fn check_tells_a_misspelt_column_of_a_schema_at_its_place() {
    let site = Site::with(
        r#"[sources.in]
type = "files"
url = "a.csv"
schema = [
    { name = "id", type = "int64" },
    { name = "amuont", type = "int64" },
]

[sinks.out]
type = "console"
inputs = ["in"]
"#,
    );
    site.write("a.csv", "id,amount\n1,7\n");
    for command in ["check", "run"] {
        let ended = site.tidegate(&[command, "pipeline.toml"]).expect_code(1);
        ended.expect_said(&[
            "the file has no column `amuont`",
            "--> pipeline.toml:6:14",
            "did you mean `amount`?",
        ]);
    }
}

#[test]
fn too_little_memory_for_a_stage_is_refused_before_anything_is_read() {
    let site = Site::with(
        r#"
        [sources.in]
        type = "generate"
        rows = 60000
        columns = [{ name = "id", type = "sequence" }, { name = "u", type = "uuid" }]

        [transforms.sorted]
        type = "sql"
        inputs = ["in"]
        query = "SELECT * FROM in ORDER BY u"

        [sinks.out]
        type = "parquet"
        inputs = ["sorted"]
        url = "out"
        "#,
    );
    site.write("tidegate.toml", "[runtime]\nmemory = \"1 MB\"\n");
    for command in ["check", "run"] {
        let ended = site.tidegate(&[command, "pipeline.toml"]).expect_code(2);
        ended.expect_said(&[
            "needs at least 900.0 kB of memory, and has",
            "hint: raise `memory` in `[runtime]`",
            "[transforms.sorted]",
        ]);
    }
    site.write("tidegate.toml", "[runtime]\nmemory = \"4 MB\"\n");
    site.run(&[]).expect_done();
}

#[test]
fn a_stage_that_has_too_little_memory_fails_the_run() {
    let site = Site::with(
        r#"
        [sources.in]
        type = "generate"
        rows = 60000
        columns = [{ name = "id", type = "sequence" }, { name = "u", type = "uuid" }]

        [transforms.sorted]
        type = "sql"
        inputs = ["in"]
        query = "SELECT * FROM in ORDER BY u"
        memory = "50 KB"

        [sinks.out]
        type = "parquet"
        inputs = ["sorted"]
        url = "out"
        "#,
    );
    site.run(&[])
        .expect_code(1)
        .expect_said(&["the query needs more memory than it may use"]);
}

#[test]
fn an_error_in_a_query_points_into_the_file() {
    let site = Site::with(&LINES.replace("id * 2", "idd * 2"));
    for command in ["check", "plan", "run"] {
        let ended = site.tidegate(&[command, "pipeline.toml"]).expect_code(2);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ended.stderr, @r"
            error: no column `idd` in `numbers`; there is `id`
              --> pipeline.toml:14:8
               |
            14 |        idd * 2 AS twice
               |        ^^^
            ");
        }
    }
}

#[test]
fn a_reader_that_has_enough_stops_a_run_that_only_shows_rows() {
    let site = Site::with(&LINES.replace("rows = 50000", "rate = 20000"));
    let mut command = site.command(&["run", "pipeline.toml", "--quiet"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    assert!(
        line.starts_with("{\"id\":") && line.ends_with("}\n"),
        "{line}"
    );
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(4));
    // Commands whose output is for people only stop.
    for args in [
        &["list"] as &[&str],
        &["plan", "pipeline.toml"],
        &["schema"],
        &["completions", "bash"],
    ] {
        let (status, stderr) = site.unread(args);
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        assert_eq!(status.code(), Some(0), "{args:?}: {stderr}");
    }
}

#[test]
fn a_plan_is_shown_as_text_drawing_and_json() {
    let site = Site::with(LINES);
    let plan = |format| {
        let args = ["plan", "pipeline.toml", "--format", format];
        let ended = site.tidegate(&args).expect_done();
        assert_eq!(ended.stderr, "");
        ended.stdout
    };
    insta::assert_snapshot!("plan_text", plan("text"));
    insta::assert_snapshot!(plan("mermaid"), @r#"
    flowchart LR
        numbers(["numbers<br/>generate"])
        chosen["chosen<br/>sql"]
        screen[("screen<br/>console")]
        numbers --> chosen
        chosen --> screen
    "#);
    let json: Value = serde_json::from_str(&plan("json")).expect("JSON");
    assert_eq!(json["components"][1]["works"], "streaming");
    assert_eq!(
        json["components"][0]["outputs"][0]["columns"][0]["type"],
        "int64"
    );
    assert!(!site.path(".tidegate").exists(), "a plan changes nothing");
}

#[test]
fn a_reader_that_has_ended_takes_nothing_from_the_other_sinks() {
    let more = "\n[sinks.out]\ntype = \"files\"\ninputs = [\"chosen\"]\nurl = \"out\"\n";
    let site = Site::with(&format!("{LINES}{more}"));
    let (status, stderr) = site.unread(&["run", "pipeline.toml"]);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("no more rows are shown"), "{stderr}");
    assert_eq!(lines_of(&site.path("out")).len(), 25_000);
}

/// A pipeline of which some rows are rejected.
const REJECTS: &str = r#"
name = "rejects"

[sources.in]
type = "files"
url = "in.csv"
schema = [{ name = "v", type = "int64" }]

[sinks.out]
type = "files"
inputs = ["in"]
url = "out"

[sinks.bad]
type = "files"
inputs = ["in.rejected"]
url = "bad"
"#;

#[test]
fn more_rejected_rows_than_the_limit_are_told_with_both_numbers() {
    let site = Site::with(REJECTS);
    site.write("in.csv", "v\n1\noops\n2\nno\n");
    let told = [
        "error: 2 rows rejected, and `rejected_limit` is 1\n",
        "rejected: in 2\n",
        "hint: all other rows are committed",
    ];
    for quiet in [&["--quiet"] as &[&str], &[]] {
        let args = [quiet, &["--set", "rejected_limit=1", "--report", "r.json"]].concat();
        site.run(&args).expect_code(3).expect_said(&told);
        let report: Value = serde_json::from_str(&site.read("r.json")).expect("JSON");
        assert_eq!(report["status"], "completed");
        assert_eq!(report["exit_code"], 3);
        assert_eq!(
            report["errors"][0]["message"],
            "2 rows rejected, and `rejected_limit` is 1"
        );
    }
}

#[test]
fn a_report_has_the_errors_of_every_end() {
    let site = Site::with(LINES);
    let report = || -> Value { serde_json::from_str(&site.read("r.json")).expect("JSON") };
    let run = |args: &[&str]| site.run(&[args, &["--report", "r.json", "-q"]].concat());

    run(&[]).expect_done();
    assert_eq!(report()["status"], "completed");
    assert_eq!(report()["exit_code"], 0);
    assert_eq!(report()["errors"], serde_json::json!([]));

    // Of a run that never began, the file of an earlier one doesn't stay.
    run(&[
        "--set",
        "sinks.screen.rowz=1",
        "--set",
        "sinks.screen.format=x",
    ])
    .expect_code(2);
    assert_eq!(report()["status"], "failed");
    assert_eq!(report()["exit_code"], 2);
    let errors = report()["errors"].clone();
    assert_eq!(errors.as_array().expect("errors").len(), 2, "{errors}");
    assert_eq!(errors[0]["message"], "unknown key `rowz`");
    assert_eq!(errors[0]["kind"], "config");
    assert_eq!(errors[0]["file"], "--set sinks.screen.rowz");

    let query = "transforms.chosen.query=SELECT 1 / (id - 7) AS x FROM numbers";
    run(&["--restart", "--set", query]).expect_code(1);
    assert_eq!(report()["status"], "failed");
    assert!(report()["components"].is_array());
    let error = report()["errors"][0].clone();
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .contains("zero"),
        "{error}"
    );
}

#[test]
fn a_report_that_cant_be_written_is_refused_before_the_run() {
    let site = Site::with(REJECTS);
    site.write("in.csv", "v\n1\n");
    site.run(&["--report", "nowhere/r.json"])
        .expect_code(2)
        .expect_said(&[
            "error: the report can't be written\n",
            "path: nowhere/r.json\n",
            "hint: make its directory first",
        ]);
    assert!(visible_files(&site.path("out")).is_empty());
    let ended = site.run(&["--report", "-", "-q"]).expect_done();
    let report: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["status"], "completed");
    assert!(!site.path("-").exists());
}

#[test]
fn a_report_says_that_the_run_goes_on_and_how_it_was_ended() {
    let site = Site::with(ENDLESS);
    let running = site.start(&["--report", "r.json"]);
    let report = || serde_json::from_str::<Value>(&site.read("r.json")).ok();
    until("a first file", || visible_files(&site.path("out")).pop());
    assert_eq!(report().expect("JSON")["status"], "running");
    running.signal("INT");
    running.wait().expect_code(4);
    assert_eq!(report().expect("JSON")["status"], "stopped");
    assert_eq!(report().expect("JSON")["exit_code"], 4);
}

#[test]
fn what_other_programs_call_a_command_is_understood() {
    let site = Site::with(LINES);
    for (args, hint) in [
        (
            &["validate", "pipeline.toml"] as &[&str],
            "hint: `tidegate check` does that\n",
        ),
        (&["sql", "SELECT 1"], "hint: `tidegate query` does that\n"),
        (
            &["run", "pipeline.toml", "--dry-run"],
            "hint: `tidegate check FILE` validates it, `tidegate plan FILE` shows what a run would do\n",
        ),
        (
            &["run", "pipeline.toml", "--workers", "0"],
            "it must be at least 1",
        ),
        (
            &["run", "pipeline.toml", "--workers", "abc"],
            "it must be a whole number, at least 1",
        ),
    ] {
        let ended = site.tidegate(args).expect_code(2).expect_said(&[hint]);
        assert!(!ended.stderr.contains("tip:"), "{}", ended.stderr);
    }
    let ended = site
        .tidegate(&["validate", "--log-format", "json"])
        .expect_code(2);
    let log = log_of(&ended);
    assert_eq!(log[0]["hint"], "`tidegate check` does that");
}

#[test]
fn a_filter_of_the_log_that_is_none_is_refused() {
    let site = Site::with(LINES);
    let mut command = site.command(&["check", "pipeline.toml"]);
    command.env("TIDEGATE_LOG", "loud==");
    let ended = site.spawn(command).wait().expect_code(2);
    ended.expect_said(&["error: `TIDEGATE_LOG` can't be understood\n", "loud=="]);
}

#[test]
fn lines_of_the_log_have_a_time_and_few_are_of_parsers() {
    let site = Site::with(LINES);
    let ended = site
        .run(&["-vv", "--set", "sinks.screen.rows=1"])
        .expect_done();
    let line = ended.stderr.lines().find(|line| line.contains("DEBUG"));
    let line = line.expect("a line of the log");
    let time: Vec<_> = line.split(['-', 'T', ':', 'Z']).take(6).collect();
    assert!(
        time.iter().all(|part| part.parse::<u32>().is_ok()),
        "{line}"
    );
    assert!(!ended.stderr.contains("precedence"), "{}", ended.stderr);
}

#[test]
fn shells_complete_files_and_types() {
    let site = Site::new();
    let script = |shell| site.tidegate(&["completions", shell]).expect_done().stdout;
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for tag in ["jsonplaceholder", "parquet"] {
            assert!(script.contains(tag), "{shell} knows no {tag}");
        }
    }
    assert!(script("zsh").contains(":file -- The pipeline file:_files"));
    assert!(script("fish").contains("-l report"));

    // bash itself, where files are meant and where types are.
    site.write("pipeline.toml", "");
    site.write("tidegate.bash", script("bash"));
    let offered = |words: &str| {
        let line = format!(
            "source tidegate.bash; COMP_WORDS=(tidegate {words}); COMP_CWORD=2; \
             _tidegate tidegate \"${{COMP_WORDS[2]}}\" x; echo \"${{COMPREPLY[@]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &line]).current_dir(site.path("."));
        String::from_utf8(bash.output().expect("bash").stdout).expect("UTF-8")
    };
    assert_eq!(
        offered("run ''").split_whitespace().count(),
        3,
        "{}",
        offered("run ''")
    );
    assert_eq!(offered("run pi"), "pipeline.toml\n");
    assert_eq!(offered("run --rep"), "--report\n");
    assert_eq!(offered("describe fi"), "files firehose\n");
}

#[test]
fn secrets_in_headers_are_not_shown_in_errors() {
    let site = Site::with(
        r#"[sources.api]
type = "rest"
url = "http://127.0.0.1:9/x"
headers = { Authorization = "Bearer s3cret-one", X-Shop = "s3cret-two", Accept = "text/plain" }
pagination = { type = "nothing" }
param = 1

[sinks.out]
type = "console"
inputs = ["api"]
"#,
    );
    let ended = site.tidegate(&["check", "pipeline.toml"]).expect_code(2);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let set = "sources.api.headers=[1, \"Bearer s3cret-three\"]";
    let ended = site
        .tidegate(&["check", "pipeline.toml", "--set", set])
        .expect_code(2);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

#[test]
fn a_place_that_two_components_meet_at_is_refused() {
    let two = r#"
[sources.in]
type = "files"
url = "in.csv"

[sinks.one]
type = "files"
inputs = ["in"]
url = "out/rows.csv"
mode = "overwrite"

[sinks.two]
type = "files"
inputs = ["in"]
url = "./out/rows.csv"
mode = "overwrite"
"#;
    let site = Site::with(two);
    site.write("in.csv", "v\n1\n");
    site.tidegate(&["check", "pipeline.toml"])
        .expect_code(2)
        .expect_said(&[
            "two sinks overwrite the files of one place",
            "`two` would replace those of `one`",
        ]);
    let other = "sinks.two.url=out/{stream}.csv";
    site.tidegate(&["check", "pipeline.toml", "--set", other])
        .expect_done();
    let mode = "sinks.two.mode=append";
    site.tidegate(&["check", "pipeline.toml", "--set", mode])
        .expect_done();
    let url = [
        "--set",
        "sources.in.url=**/*.csv",
        "--set",
        "sinks.two.url=b.csv",
    ];
    site.tidegate(&[&["check", "pipeline.toml"] as &[&str], &url].concat())
        .expect_code(2)
        .expect_said(&["`in` would read what `one` writes"]);
}

#[test]
fn an_output_without_its_directory_and_a_name_that_is_none_are_told() {
    let site = Site::with(LINES);
    let ended = site.tidegate(&["query", "-o", "nowhere/x.csv", "SELECT 1"]);
    let ended = ended.expect_code(1).expect_said(&[
        "path: nowhere/x.csv\n",
        "hint: there is no directory `nowhere`: make it first\n",
    ]);
    assert!(!ended.stderr.contains("tidegate-tmp"), "{}", ended.stderr);
    site.run(&["--set", "sinks.scren.format=table"])
        .expect_code(2)
        .expect_said(&["there is no sink `scren`", "did you mean `sinks.screen`?"]);
}

#[test]
fn what_needs_an_end_is_told_at_its_place_where_there_is_none() {
    let endless = ENDLESS.replace("url = \"out\"", "url = \"out\"\nmode = \"overwrite\"");
    let site = Site::with(&endless);
    site.tidegate(&["check", "pipeline.toml"])
        .expect_code(2)
        .expect_said(&["but the run is unbounded", "--> pipeline.toml:17:8"]);
    let gather = endless.replace("\n[sinks.out]", "[transforms.sum]\ntype = \"sql\"\ninputs = [\"numbers\"]\nquery = \"SELECT sum(id) AS s FROM numbers\"\n[sinks.out]");
    let site =
        Site::with(&gather.replace("inputs = [\"numbers\"]\nurl", "inputs = [\"sum\"]\nurl"));
    site.tidegate(&["check", "pipeline.toml"])
        .expect_code(2)
        .expect_said(&["`sum` needs all rows", "[transforms.sum]"]);
}

#[test]
fn paths_and_values_that_are_written_as_elsewhere_are_told_how_they_are_written_here() {
    let site = Site::with(
        "[sources.in]\ntype = \"files\"\nurl = \"in.csv\"\n\n[sinks.out]\ntype = \"console\"\ninputs = [\"in\"]\n",
    );
    for (url, hint) in [
        ("$DATA_DIR/o.csv", "a variable is written `${DATA_DIR}`"),
        ("~/o.csv", "`${HOME}/…`"),
        ("x/{a,b}.csv", "a pattern has `*`, `**`, `?` and `[..]`"),
    ] {
        let set = format!("sources.in.url={url}");
        let ended = site.tidegate(&["check", "pipeline.toml", "--set", &set]);
        ended.expect_code(1).expect_said(&[hint]);
    }
    site.write("in.csv", "id,amount\n1,2\n");
    let schema = "sources.in.schema=[{ name = \"id\", type = \"int64\" }]";
    let args = [
        "check",
        "pipeline.toml",
        "--set",
        "sources.in.csv.delimiter=;",
        "--set",
        schema,
    ];
    site.tidegate(&args)
        .expect_code(1)
        .expect_said(&["its header is one column, `id,amount`: `csv.delimiter` seems to be ','"]);
    let long = "sources.in.csv.delimiter=||";
    site.tidegate(&["check", "pipeline.toml", "--set", long])
        .expect_code(2)
        .expect_said(&["`delimiter` must be one character"]);

    let site = Site::with(
        r#"[sources.api]
type = "rest"
url = "http://127.0.0.1:9/x"
records = "data.items"
pagination = { type = "page", page_param = "p" }

[sinks.out]
type = "console"
inputs = ["api"]
"#,
    );
    site.tidegate(&["check", "pipeline.toml"])
        .expect_code(2)
        .expect_said(&[
            "hint: it is a JSON pointer: write `records = \"/data/items\"`",
            "did you mean `param`?",
        ]);
}
