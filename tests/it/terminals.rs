//! What is shown of text that others wrote, and where nothing can be shown.

use std::fs::{self, File};
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::{Ended, Site, until};

/// A name that sets a terminal's title, forges an error, and turns what follows around.
const HOSTILE: &str = "a\u{1b}]0;x\u{7}\nerror: forged\t\u{9b}2J\u{202e}";
/// The same as it is shown.
const SHOWN: &str = r"a\u{1b}]0;x\u{7}\nerror: forged\t\u{9b}2J\u{202e}";

fn hostile() -> Site {
    let site = Site::with(
        r#"
        name = "hostile\u001b[2J\nerror: forged"

        [sources.raw]
        type = "files"
        url = "raw.ndjson"

        [sinks.screen]
        type = "console"
        inputs = ["raw"]
        "#,
    );
    let row = json!({ HOSTILE: HOSTILE, "b": { HOSTILE: 1 } });
    site.write("raw.ndjson", format!("{row}\n"));
    site
}

/// Asserts that a terminal acts on nothing of it but its line breaks, and that no line is forged.
#[track_caller]
fn expect_plain(ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let acted_on = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acted_on), "{text:?}");
        for line in text.lines() {
            assert!(!line.starts_with("error: forged"), "{text}");
        }
    }
}

#[test]
fn names_from_outside_are_escaped_in_a_plan_and_a_table() {
    let site = hostile();
    let plan = site.tidegate(&["plan", "pipeline.toml"]).expect_done();
    expect_plain(&plan);
    assert!(
        plan.stdout.contains(&format!("\n    {SHOWN}  string\n")),
        "{}",
        plan.stdout
    );
    expect_plain(&site.tidegate(&["check", "pipeline.toml"]).expect_done());
    let drawn = ["plan", "pipeline.toml", "--format", "mermaid"];
    expect_plain(&site.tidegate(&drawn).expect_done());

    let run = site.run(&[]).expect_done();
    expect_plain(&run);
    assert!(run.stdout.contains(SHOWN), "{}", run.stdout);

    let sql = "SELECT * FROM 'raw.ndjson'";
    expect_plain(&site.tidegate(&["query", "--explain", sql]).expect_done());
    let table = site.tidegate(&["query", "--format", "table", sql]);
    let table = table.expect_done();
    expect_plain(&table);
    assert_eq!(table.stdout.matches(SHOWN).count(), 3, "{}", table.stdout);
    let widths: Vec<_> = table.stdout.lines().map(|l| l.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
}

#[test]
fn rows_for_programs_stay_exact() {
    let site = hostile();
    let sql = "SELECT * FROM 'raw.ndjson'";
    let rows = site.tidegate(&["query", sql]).expect_done().stdout;
    let row: Value = serde_json::from_str(&rows).expect("JSON");
    assert_eq!(row, json!({ HOSTILE: HOSTILE, "b": { HOSTILE: 1 } }));
    site.write("one.ndjson", format!("{}\n", json!({ "a": HOSTILE })));
    let sql = "SELECT * FROM 'one.ndjson'";
    let rows = site.tidegate(&["query", "--format", "csv", sql]);
    assert_eq!(rows.expect_done().stdout, format!("a\n\"{HOSTILE}\"\n"));
}

#[test]
fn an_error_shows_names_from_outside_on_their_line() {
    let site = hostile();
    let output = format!("no/{HOSTILE}.csv");
    let ended = site
        .tidegate(&["query", "-o", &output, "SELECT * FROM 'raw.ndjson'"])
        .expect_code(1)
        .expect_said(&["error: the file can't be made\n", SHOWN]);
    expect_plain(&ended);
    // At its place in the query, too.
    let sql = format!("SELECT nothing FROM 'raw.ndjson' -- {}", "x".repeat(5_000));
    let ended = site.tidegate(&["query", &sql]).expect_code(2);
    let hint = format!("\nhint: there are: `{SHOWN}`, `b`\n");
    expect_plain(&ended.expect_said(&[&hint]));
    let json = ["query", "--log-format", "json", "-o", &output, "SELECT 1"];
    let ended = site.tidegate(&json).expect_code(1);
    let line: Value = serde_json::from_str(&ended.stderr).expect("JSON");
    let path = line["context"]["path"].as_str().expect("a path");
    assert!(path.contains(HOSTILE), "{path}");
    expect_plain(&ended);
}

#[test]
fn standard_output_that_cant_be_written_is_an_error_and_a_closed_pipe_is_none() {
    let site = hostile();
    let sql = "SELECT * FROM 'raw.ndjson'";
    for args in [
        &["list"] as &[&str],
        &["list", "--json"],
        &["describe", "files"],
        &["check", "pipeline.toml"],
        &["plan", "pipeline.toml"],
        &["schema"],
        &["completions", "bash"],
        &["catalog", "list"],
        &["query", sql],
        &["query", "--format", "table", sql],
        &["query", "--explain", sql],
        &["--help"],
    ] {
        let full = File::options().write(true).open("/dev/full");
        let output = site
            .command(args)
            .stdout(full.expect("/dev/full"))
            .stderr(Stdio::piped())
            .output()
            .expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(
            stderr.contains("can't be written") && stderr.contains("No space left"),
            "{args:?}: {stderr}"
        );

        let (status, stderr) = site.unread(args);
        assert_eq!(status.code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.contains("error"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_query_that_is_stopped_leaves_no_files() {
    for signal in ["INT", "TERM"] {
        let site = Site::new();
        site.write("n.csv", format!("x\n{}", "1\n".repeat(3_000)));
        // More rows than any machine joins.
        let sql = "SELECT sum(a.x * b.x + c.x * d.x) AS s \
                   FROM 'n.csv' a, 'n.csv' b, 'n.csv' c, 'n.csv' d";
        let running = site.spawn(site.command(&["query", "-o", "out.csv", sql]));
        let unfinished = format!(".out.csv.{}.tidegate-tmp", running.id());
        until(&unfinished, || {
            site.path(&unfinished).exists().then_some(())
        });
        until("a temporary directory", || {
            let mut made = fs::read_dir(site.path("tmp")).ok()?;
            made.next().map(drop)
        });
        running.signal(signal);
        running.wait().expect_code(4).expect_said(&["stopped\n"]);
        let left = |directory: &str| -> Vec<_> {
            let entries = fs::read_dir(site.path(directory)).expect("a directory");
            let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left("."), ["n.csv", "tmp"], "{signal}");
        assert_eq!(left("tmp"), [""; 0], "{signal}");
    }
}

#[test]
fn looking_for_a_catalog_makes_none() {
    let site = Site::new();
    let list = site.tidegate(&["catalog", "list"]).expect_done().stdout;
    let path = site.path(".tidegate/catalog.db");
    let path = fs::canonicalize(site.path("."))
        .map_or(path, |directory| directory.join(".tidegate/catalog.db"));
    let want = format!("no catalog at {}; ", path.display());
    assert!(list.starts_with(&want), "{list}");
    let json = site.tidegate(&["catalog", "list", "--json"]).expect_done();
    assert_eq!(json.stdout, "[]\n");
    for args in [
        &["catalog", "show", "shop.sales"] as &[&str],
        &["catalog", "drop", "shop.sales", "--yes"],
    ] {
        site.tidegate(args)
            .expect_code(1)
            .expect_said(&["error: there is no catalog\n", ".tidegate/catalog.db\n"]);
    }
    site.tidegate(&["query", "SELECT 1 AS x"]).expect_done();
    assert!(!site.path(".tidegate").exists());

    site.write(
        "tidegate.toml",
        "[catalog]\ntype = \"local\"\npath = \"c.db\"\n",
    );
    let list = site.tidegate(&["catalog", "list"]).expect_done().stdout;
    assert!(list.contains("/c.db; "), "{list}");
    assert!(!site.path("c.db").exists());
    site.write(
        "tidegate.toml",
        "[catalog]\ntype = \"local\"\npaht = \"c.db\"\n",
    );
    site.tidegate(&["catalog", "list"]).expect_code(2);
}
