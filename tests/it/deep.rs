//! Types and values that are nested as deep as may be, and deeper: written and read in every
//! format, or refused, but never an end of the process.

use std::fmt::Write as _;
use std::fs::File;
use std::time::Duration;

use super::support::{Ended, Site, files_under};

/// A record nested `levels` deep, itself counted: lists, objects, or both in turn.
fn record(kind: &str, levels: usize) -> String {
    let (open, close, first) = match kind {
        "lists" => ("[", "]", levels - 1),
        "objects" => ("{\"c\":", "}", levels - 1),
        _ => ("[{\"c\":", "}]", (levels - 1) / 2),
    };
    format!("{{\"c\":{}1{}}}", open.repeat(first), close.repeat(first))
}

fn pipeline(from: &str, sink: &str, to: &str) -> String {
    format!(
        r#"
        name = "deep"
        [sources.in]
        type = "files"
        url = "{from}"
        [sinks.out]
        type = "{sink}"
        url = "{to}"
        inputs = ["in"]
        "#
    )
}

fn site(record: &str, sink: &str, to: &str) -> Site {
    let site = Site::with(&pipeline("in.ndjson", sink, to));
    site.write("in.ndjson", format!("{record}\n"));
    site
}

fn query(site: &Site, sql: &str) -> Ended {
    site.tidegate(&["query", sql, "--format", "ndjson"])
}

#[test]
fn b1_what_is_512_deep_is_written_and_read_back_in_every_format() {
    for kind in ["lists", "objects", "both"] {
        for levels in [180, 512] {
            let record = record(kind, levels);
            for (sink, to) in [
                ("parquet", "out"),
                ("files", "out/a.parquet"),
                ("files", "out/a.ndjson"),
            ] {
                let site = site(&record, sink, to);
                site.run(&[]).expect_done();
                let ended = query(&site, "SELECT * FROM 'out/'").expect_done();
                assert_eq!(ended.stdout.trim(), record, "{kind} {levels} {sink} {to}");
                site.write("pipeline.toml", pipeline("out", "files", "back/a.ndjson"));
                site.run(&["--state", "another"]).expect_done();
                let back = files_under(&site.path("back"));
                let lines = std::fs::read_to_string(&back[0]).expect("a file");
                assert_eq!(lines.trim(), record, "{kind} {levels} {sink} {to}");
            }
            let site = site(&record, "files", "out/a.csv");
            site.run(&[]).expect_done();
            let sql = "SELECT * FROM 'in.ndjson'";
            let args = ["query", sql, "--output", "again.parquet"];
            site.tidegate(&args).expect_done();
            let ended = query(&site, "SELECT * FROM 'again.parquet'").expect_done();
            assert_eq!(ended.stdout.trim(), record, "{kind} {levels}");
        }
    }
}

#[test]
fn b1_what_is_deeper_is_rejected_with_the_reason() {
    // The record is a level more than its column.
    for levels in [514, 5_000, 100_000] {
        let deep = record("lists", levels);
        let records = format!("{{\"id\":1}}\n{deep}");
        for (sink, to) in [("parquet", "out"), ("files", "out/a.ndjson")] {
            let site = site(&records, sink, to);
            let schema = "schema = [{ name = \"c\", type = \"json\" }]\n[sinks.out]";
            let text = pipeline("in.ndjson", sink, to).replace("[sinks.out]", schema);
            site.write("pipeline.toml", text);
            let ended = site.run(&[]);
            assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
            ended.expect_said(&["a row was rejected", "512 levels"]);
        }
    }
}

#[test]
fn b1_a_type_of_a_schema_is_refused_beyond_512_levels() {
    for (levels, done) in [(512, true), (513, false), (20_000, false)] {
        let of_type = format!("{}int64{}", "list<".repeat(levels), ">".repeat(levels));
        let schema = format!("schema = [{{ name = \"c\", type = \"{of_type}\" }}]\n[sinks.out]");
        let text = pipeline("in.ndjson", "parquet", "out").replace("[sinks.out]", &schema);
        let site = Site::with(&text);
        site.write("in.ndjson", "{\"c\":null}\n");
        let ended = site.tidegate(&["check", "pipeline.toml"]);
        match done {
            true => drop(ended.expect_done()),
            false => {
                assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
                ended.expect_said(&["512 levels"]);
            }
        }
    }
}

#[test]
fn b1_sql_as_deep_as_may_be_is_planned_and_run_and_what_is_deeper_is_refused() {
    let site = Site::new();
    let run = |sql: &str| {
        let mut command = site.command(&["query", "-", "--format", "ndjson"]);
        let file = File::open(site.write("q.sql", sql)).expect("the query");
        command.stdin(file);
        site.spawn(command).wait()
    };
    for (count, code) in [(1_900, 0), (5_000, 2)] {
        for (term, operator) in [("1 = 1", " AND "), ("1", "+")] {
            let sql = format!("SELECT {} AS x", vec![term; count].join(operator));
            let ended = run(&sql);
            assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        }
    }
}

/// `count` queries of a WITH, each of which reads the one before as `step` says, and a last one that
/// reads the last of them.
fn with(count: usize, step: &str, last: &str) -> String {
    let mut sql = "WITH a0 AS (SELECT id FROM rows)".to_owned();
    for n in 1..=count {
        let step = step.replace("{before}", &format!("a{}", n - 1));
        let _ = write!(sql, ", a{n} AS ({step})");
    }
    format!("{sql} {}", last.replace("{last}", &format!("a{count}")))
}

#[test]
fn queries_that_grow_end_soon_in_rows_or_in_the_reason() {
    let site = Site::new();
    site.write(
        "rows.ndjson",
        "{\"id\":1,\"a\":\"x\"}\n{\"id\":2,\"a\":\"y\"}\n",
    );
    let in_a_row = |count: usize, term: &str, with: &str| vec![term; count].join(with);
    let computed = |what: String| format!("SELECT {what} AS x FROM rows");
    let all = "SELECT id FROM {last}";
    let join = "SELECT x.id FROM {before} x JOIN {before} y ON x.id = y.id";
    let within = |count: usize| {
        let (open, close) = ("SELECT id FROM (".repeat(count), ")".repeat(count));
        format!("{open}SELECT id FROM rows{close}")
    };
    let brackets = |count: usize| computed("(".repeat(count) + "id" + &")".repeat(count));
    let union = |count: usize| in_a_row(count, "SELECT id FROM rows", " UNION ALL ");
    let deep = "nested too deeply";
    let large = "more than 1000 parts";
    for (sql, refused) in [
        (computed(in_a_row(300, "id", "+")), ""),
        (computed(in_a_row(300, "a", "||")), ""),
        (computed(in_a_row(300, "id > 1", " AND ")), ""),
        (computed(in_a_row(300, "id > 1", " OR ")), ""),
        (union(100), ""),
        (with(100, "SELECT id FROM {before}", all), ""),
        (with(4, join, all), ""),
        // The condition would be doubled by each step on its way to the rows.
        (
            with(
                60,
                "SELECT id + id AS id FROM {before}",
                "SELECT * FROM {last} WHERE id < 0",
            ),
            "",
        ),
        (
            with(
                60,
                "SELECT id % 7 + id % 5 AS id FROM {before} GROUP BY id % 7 + id % 5",
                "SELECT * FROM {last} WHERE id > 3",
            ),
            "",
        ),
        (within(100), ""),
        (brackets(300), ""),
        (computed(in_a_row(3_000, "id", "+")), deep),
        (computed(in_a_row(3_000, "a", "||")), deep),
        (computed(in_a_row(3_000, "id > 1", " AND ")), deep),
        (computed(in_a_row(4_000, "id > 1", " OR ")), deep),
        (union(1_571), large),
        (union(1_800), large),
        (with(5_000, "SELECT id FROM {before}", all), large),
        (with(25, join, all), large),
        (within(1_000), large),
        (brackets(3_000), deep),
    ] {
        let pipeline = format!(
            "name = \"grown\"\n[sources.rows]\ntype = \"files\"\nurl = \"rows.ndjson\"\n\
             [transforms.t]\ntype = \"sql\"\ninputs = [\"rows\"]\nquery = \"{sql}\"\n\
             [sinks.out]\ntype = \"parquet\"\ninputs = [\"t\"]\nurl = \"out\"\n"
        );
        site.write("pipeline.toml", pipeline);
        let queried = sql.replace("rows", "'rows.ndjson'");
        let file = File::open(site.write("q.sql", &queried)).expect("the query");
        let mut query = site.command(&["query", "-", "--format", "ndjson"]);
        query.stdin(file);
        let run = site.command(&["run", "pipeline.toml", "--restart"]);
        for command in [query, run] {
            let ended = site.spawn(command).wait_for(Duration::from_secs(60));
            match refused {
                "" => drop(ended.expect_done()),
                refused => drop(ended.expect_code(2).expect_said(&[refused, "hint: "])),
            }
        }
    }
}
