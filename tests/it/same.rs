//! One input, one query, one answer: from a pipeline, from `tidegate query`, and from DuckDB.

mod crawled;
mod directories;
mod extremes;
mod numbers;
mod statistics;
mod times;
mod windows;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidegate_testkit::servers::python;

use self::extremes::EXTREMES;
use self::numbers::{CASTS, NUMBERS};
use self::statistics::STATISTICS;
use self::times::TIMES;
use self::windows::WINDOWS;
use super::support::{Site, visible_files, workspace};

/// A query, with `{table}` where it reads one, and the rows that are right, sorted.
struct Case {
    sql: &'static str,
    right: &'static [&'static str],
    /// What DuckDB is asked in its place; `None` where it has another opinion.
    duckdb: Option<&'static str>,
}

/// DuckDB understands it as well, and says the same.
const fn same(sql: &'static str, right: &'static [&'static str]) -> Case {
    Case {
        sql,
        right,
        duckdb: Some(sql),
    }
}

/// DuckDB says something else: it trusts bounds that leave NaN out, and compares far dates with
/// nanoseconds not at all.
const fn ours(sql: &'static str, right: &'static [&'static str]) -> Case {
    Case {
        sql,
        right,
        duckdb: None,
    }
}

impl Case {
    /// What DuckDB is asked, where its names or types differ.
    const fn asked(mut self, sql: &'static str) -> Self {
        self.duckdb = Some(sql);
        self
    }

    /// The text for one who knows its tables as `table`.
    fn text(sql: &str, table: impl Fn(&str) -> String) -> String {
        let mut pieces = sql.split(['{', '}']);
        let mut text = pieces.next().unwrap_or_default().to_owned();
        while let Some(name) = pieces.next() {
            text += &table(name);
            text += pieces.next().unwrap_or_default();
        }
        text
    }

    fn tables(&self) -> Vec<&'static str> {
        self.sql.split(['{', '}']).skip(1).step_by(2).collect()
    }

    fn right(&self) -> Vec<String> {
        let mut right: Vec<String> = self.right.iter().map(|row| (*row).to_owned()).collect();
        right.sort();
        right
    }
}

fn file(table: &str) -> String {
    match table.contains('.') {
        true => table.to_owned(),
        false => format!("{table}.parquet"),
    }
}

/// The name of the source that reads a file.
fn source(table: &str) -> String {
    table.replace('.', "_")
}

/// A pipeline of all cases that read a table.
fn pipeline(cases: &[&Case]) -> String {
    let tables: BTreeSet<&str> = cases.iter().flat_map(|case| case.tables()).collect();
    let mut text = "name = \"same\"\n".to_owned();
    for table in tables {
        let (id, file) = (source(table), file(table));
        let _ = write!(text, "[sources.{id}]\ntype = \"files\"\nurl = \"{file}\"\n");
    }
    for (at, case) in cases.iter().enumerate() {
        let inputs: BTreeSet<String> = case.tables().into_iter().map(source).collect();
        let inputs: Vec<String> = inputs.into_iter().collect();
        if inputs.is_empty() {
            continue;
        }
        let sql = Case::text(case.sql, source);
        let _ = write!(
            text,
            "[transforms.t{at}]\ntype = \"sql\"\ninputs = {inputs:?}\nquery = \"\"\"{sql}\"\"\"\n\
             [sinks.s{at}]\ntype = \"files\"\ninputs = [\"t{at}\"]\nurl = \"out/{at}/rows.ndjson\"\n"
        );
    }
    text
}

fn script(site: &Site, args: &[&str]) -> String {
    let script = workspace().join("tests/it/same.py");
    let mut command = Command::new(python("readers"));
    let [verb, more @ ..] = args else {
        panic!("a verb");
    };
    command.arg(script).arg(verb).arg(site.path("")).args(more);
    let output = command.output().expect("the readers' Python");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).expect("text")
}

/// DuckDB's answers, one a case that it is asked.
fn duckdb(site: &Site, cases: &[&Case]) -> Vec<Option<Value>> {
    let asked: Vec<String> = cases
        .iter()
        .filter_map(|case| case.duckdb)
        .map(|sql| Case::text(sql, |table| format!("'{}'", file(table))))
        .collect();
    let queries = site.write("queries.json", serde_json::to_vec(&asked).expect("JSON"));
    let queries = queries.to_str().expect("a plain path");
    let answers = script(site, &["answers", queries]);
    let mut answers = answers
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    cases
        .iter()
        .map(|case| case.duckdb.and_then(|_| answers.next()))
        .collect()
}

/// Rows as DuckDB's: values in the order of their columns.
fn positional(rows: &[String]) -> Vec<Vec<Value>> {
    let rows = rows.iter().map(|row| {
        let row: serde_json::Map<String, Value> = serde_json::from_str(row).expect("JSON");
        row.into_iter().map(|(_, value)| loose(value)).collect()
    });
    let mut rows: Vec<Vec<Value>> = rows.collect();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// Numbers of any type as doubles, those that are not finite as Python writes them.
fn loose(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::String(text) if text == "NaN" => "nan".into(),
        Value::String(text) if text == "Infinity" => "inf".into(),
        other => other,
    }
}

#[test]
fn a_run_and_a_query_over_the_same_input_give_the_same_values() {
    let site = Site::new();
    script(&site, &["inputs"]);
    let cases = [STATISTICS, NUMBERS, CASTS, TIMES, WINDOWS, EXTREMES];
    let cases: Vec<&Case> = cases.into_iter().flatten().collect();
    site.write("pipeline.toml", pipeline(&cases));
    site.run(&[]).expect_done();
    let known = duckdb(&site, &cases);

    let mut wrong = String::new();
    let mut queries: Vec<Option<Vec<String>>> = vec![None; cases.len()];
    std::thread::scope(|scope| {
        let share = cases.len().div_ceil(4);
        for (cases, queries) in cases.chunks(share).zip(queries.chunks_mut(share)) {
            let site = &site;
            scope.spawn(move || {
                for (case, rows) in cases.iter().zip(queries) {
                    *rows = Some(queried(site, case));
                }
            });
        }
    });
    for (at, (case, (query, known))) in cases.iter().zip(queries.iter().zip(known)).enumerate() {
        let right = case.right();
        let mut say = |who: &str, rows: &dyn std::fmt::Debug| {
            let _ = writeln!(wrong, "{}\n  right: {right:?}\n  {who}: {rows:?}", case.sql);
        };
        if !case.tables().is_empty() {
            let run = run_of(&site.path(format!("out/{at}")));
            if run != right {
                say("run", &run);
            }
        }
        if query.as_ref() != Some(&right) {
            say("query", query);
        }
        if let Some(known) = known {
            let known: Vec<Vec<Value>> = serde_json::from_value(known).expect("rows");
            let known = known
                .into_iter()
                .map(|row| row.into_iter().map(loose).collect());
            let mut known: Vec<Vec<Value>> = known.collect();
            known.sort_by_key(|row| format!("{row:?}"));
            if known != positional(&right) {
                say("DuckDB", &known);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What DataFusion would let wrap around.
#[test]
fn what_overflows_is_an_error_in_a_run_and_in_a_query() {
    let site = Site::new();
    let rows = "{\"id\":9223372036854775807,\"k\":1}\n{\"id\":1,\"k\":1}\n";
    site.write("n.ndjson", rows);
    for sql in [
        "SELECT sum(id) AS s FROM n",
        "SELECT k, sum(id) AS s FROM n GROUP BY k",
        "SELECT sum(DISTINCT id) AS s FROM n",
        "SELECT sum(id) OVER (ORDER BY id) AS s FROM n",
        "SELECT max(id) + 1 AS s FROM n",
        "SELECT max(id) * k AS s FROM (SELECT id, k + 1 AS k FROM n) GROUP BY k",
        "SELECT -(min(-id) - 1) AS s FROM n",
        "SELECT count(*) + 9223372036854775807 AS s FROM n",
        "SELECT sum(CAST(id AS DECIMAL(38, 19))) * 99999999999 AS s FROM n",
        "SELECT sum(d) AS s FROM (SELECT CAST('90000000000000000000000000000000000000' AS DECIMAL(38, 0)) AS d FROM n)",
    ] {
        let asked = sql.replace(" FROM n", " FROM 'n.ndjson'");
        let query = site.tidegate(&["query", &asked]);
        site.write(
            "pipeline.toml",
            format!(
                "name = \"o\"\n[sources.n]\ntype = \"files\"\nurl = \"n.ndjson\"\n\
                 [transforms.t]\ntype = \"sql\"\ninputs = [\"n\"]\nquery = \"{sql}\"\n\
                 [sinks.s]\ntype = \"files\"\ninputs = [\"t\"]\nurl = \"out/o.ndjson\"\n"
            ),
        );
        let run = site.run(&["--restart"]);
        for (who, ended) in [("query", query), ("run", run)] {
            let told = &ended.stderr;
            let beyond = told.contains("verflow") || told.contains("grows beyond");
            assert!(!ended.status.success() && beyond, "{sql}, {who}: {told}");
        }
    }
}

/// What DataFusion would take, and answer wrongly.
#[test]
fn what_has_another_meaning_in_sql_is_refused() {
    let site = Site::new();
    let (one, other) = ("(VALUES (1)) a(k)", "(VALUES (2)) b(k)");
    for (sql, what) in [
        (
            format!("SELECT k FROM {one} RIGHT JOIN {other} USING (k)"),
            "RIGHT JOIN … USING",
        ),
        (
            format!("SELECT * FROM {one} NATURAL FULL JOIN {other}"),
            "NATURAL FULL JOIN",
        ),
        (
            format!("SELECT k FROM {one} EXCEPT ALL SELECT k FROM {other}"),
            "EXCEPT ALL",
        ),
        (
            format!("SELECT (SELECT 1 INTERSECT ALL SELECT k FROM {other}) AS x"),
            "INTERSECT ALL",
        ),
        ("SELECT 'abc' SIMILAR TO 'b' AS x".to_owned(), "SIMILAR TO"),
    ] {
        let ended = site.tidegate(&["query", &sql]);
        ended.expect_code(2).expect_said(&[what, "hint: "]);
    }
}

fn run_of(directory: &Path) -> Vec<String> {
    let texts = visible_files(directory).into_iter().map(fs::read_to_string);
    let text: String = texts.map(|text| text.expect("UTF-8")).collect();
    let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

fn queried(site: &Site, case: &Case) -> Vec<String> {
    let sql = Case::text(case.sql, |table| format!("'{}'", file(table)));
    let ended = site.tidegate(&["query", &sql, "--format", "ndjson"]);
    let mut rows: Vec<String> = ended.stdout.lines().map(str::to_owned).collect();
    if rows.is_empty() && !ended.stderr.contains("0 rows") {
        rows.push(ended.stderr);
    }
    rows.sort();
    rows
}
