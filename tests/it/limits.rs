//! What a process may take of the machine, whatever is asked of it.

use crate::support::Site;

#[test]
fn a_query_that_no_budget_binds_ends_with_an_error() {
    let site = Site::new();
    let query = "SELECT length(replace(repeat('x', 1000000), 'x', repeat('y', 1000)))";
    let ended = site.tidegate(&["query", "--memory", "20 MB", query]);
    ended
        .expect_code(1)
        .expect_said(&["needs more memory than it may take", "raise `--memory`"]);
}

#[test]
fn a_pipeline_ends_when_it_takes_more_than_it_may() {
    let site = Site::with(
        r#"
name = "large"

[sources.numbers]
type = "generate"
rows = 1000
columns = [{ name = "id", type = "sequence" }]

[transforms.longer]
type = "sql"
inputs = ["numbers"]
query = "SELECT replace(repeat('x', 10000 + id), 'x', repeat('y', 1000)) AS text FROM numbers"

[sinks.out]
type = "files"
inputs = ["longer"]
url = "out/"
format = "ndjson"
"#,
    );
    site.tidegate(&["run", "pipeline.toml"])
        .expect_code(1)
        .expect_said(&["needs more memory than it may take", "`process_memory`"]);
}

#[test]
fn a_function_that_makes_much_of_little_is_an_error_before_it_takes_the_memory() {
    let numbers = "SELECT unnest(range(0, 1000)) AS n";
    for call in [
        "repeat(cast(n AS text), 100000000)",
        "repeat('abc', 100000000)",
        "lpad('x', 400000000 + n)",
        "rpad('x', 2000000000, 'y')",
        "array_length(array_repeat('abc', 100000000 + n))",
        "array_length(range(0, 500000000 + n))",
        "array_length(generate_series(n, -500000000, -2))",
    ] {
        let site = Site::new();
        let query = format!("SELECT {call} AS x FROM ({numbers})");
        let ended = site.tidegate(&["query", "--memory", "20 MB", &query]);
        ended
            .expect_code(2)
            .expect_said(&["gives too much at once", "limit: 256.0 MiB", "hint: "]);
        site.write("rows.ndjson", "{\"n\":1}\n{\"n\":2}\n");
        site.write(
            "pipeline.toml",
            format!(
                "name = \"large\"\n[sources.rows]\ntype = \"files\"\nurl = \"rows.ndjson\"\n\
                 [transforms.t]\ntype = \"sql\"\ninputs = [\"rows\"]\n\
                 query = \"SELECT {call} AS x FROM rows\"\n\
                 [sinks.out]\ntype = \"parquet\"\ninputs = [\"t\"]\nurl = \"out\"\n"
            ),
        );
        site.run(&[])
            .expect_code(2)
            .expect_said(&["gives too much at once"]);
    }
    let site = Site::new();
    let streamed = "SELECT count(*) AS n FROM range(0, 50000000)";
    let ended = site.tidegate(&["query", "--memory", "20 MB", streamed]);
    assert_eq!(ended.expect_done().stdout, "{\"n\":50000000}\n");
}
