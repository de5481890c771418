//! What a process may take of the machine, whatever is asked of it.

use crate::support::Site;

#[test]
fn a_query_that_no_budget_binds_ends_with_an_error() {
    let site = Site::new();
    let query = "SELECT count(*) FROM (SELECT unnest(range(0, 500000000)) AS n)";
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
query = "SELECT repeat('x', 10000000 + id) AS text FROM numbers"

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
