//! APIs read by a file alone, with the whole program: an example, an API that pages and grows, and
//! what the user is told when it goes wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tidegate_testkit::servers::{Failure, Kind, StackExchange, jsonplaceholder};

use super::stackoverflow::{rules, settle};
use super::support::{Site, lines_of, rows_of};

#[test]
fn the_example_of_numbered_pages_runs_as_it_stands() {
    let server = jsonplaceholder();
    let site = Site::of_example("rest");
    let url = format!("sources.todos.url={}/todos", server.url());
    let ended = site
        .tidegate(&["run", "todos.toml", "--set", &url])
        .expect_done();
    assert_eq!(rows_of(&site.path("out/todos")).len(), 200);
    // The server's ten users have twenty each.
    let tens = ended
        .stdout
        .lines()
        .filter(|line| line.contains("┆    20 ┆"))
        .count();
    assert_eq!(tens, 10, "{}", ended.stdout);
    let checked = site
        .tidegate(&["check", "todos.toml", "--set", &url])
        .expect_done();
    assert!(
        checked.stdout.contains("todos is valid"),
        "{}",
        checked.stdout
    );
}

/// An API with pages in a wrapper, always packed, by nothing but a file.
fn questions(api: &StackExchange) -> Site {
    Site::with(&format!(
        r#"
        name = "by-rest"
        guarantee = "exactly_once"

        [sources.so]
        type = "rest"
        url = "{}/questions"
        params = {{ site = "stackoverflow", sort = "creation", order = "asc" }}
        records = "/items"
        pagination = {{ type = "page", param = "page", size_param = "pagesize", size = 100, has_more = "/has_more" }}
        incremental = {{ param = "min", field = "/creation_date" }}
        key = ["question_id"]
        schema = [
            {{ name = "question_id", type = "int64", nullable = false }},
            {{ name = "creation_date", type = "int64" }},
            {{ name = "tags", type = "list<string>" }},
        ]

        [sinks.lines]
        type = "files"
        inputs = ["so.records"]
        url = "out/questions.ndjson"
        "#,
        api.url()
    ))
}

fn ids(site: &Site) -> Vec<i64> {
    let rows = lines_of(&site.path("out"));
    let id = |row: &Value| row["question_id"].as_i64().expect("an id");
    rows.iter().map(id).collect()
}

#[test]
fn each_run_reads_what_is_new_by_the_file_alone() {
    let api = StackExchange::start(rules());
    let data = api.site("stackoverflow");
    data.questions(1_234, Duration::from_secs(40 * 86_400), 21);
    settle(&api);
    let site = questions(&api);
    site.run(&[]).expect_done();
    assert_eq!(ids(&site).len(), 1_234);
    for round in 1..=2 {
        for _ in 0..30 {
            data.add_question();
        }
        settle(&api);
        let (ended, report) = site.run_with_report(&[]);
        ended.expect_done();
        // Those of the last second before come again, and are known by their bytes.
        assert_eq!(report["components"][0]["rows_out"], 30, "round {round}");
    }
    let found = ids(&site);
    let unique: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(found.len(), unique.len());
    assert!(unique.into_iter().eq(data.ids(Kind::Questions)));
}

#[test]
fn what_goes_wrong_is_told_with_where_and_what_to_do() {
    let api = StackExchange::start(rules());
    api.site("stackoverflow")
        .questions(10, Duration::from_secs(86_400), 22);
    let said = |set: &[&str], code: i32, texts: &[&str]| {
        let site = questions(&api);
        site.write(
            "tidegate.toml",
            "[http]\nattempts = 1\n[runtime]\nattempts = 0",
        );
        site.write("token", "sesame-sesame");
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
        let ended = site.run(&[&set[..], &["-vv"]].concat()).expect_code(code);
        assert!(!ended.stderr.contains("sesame"), "{}", ended.stderr);
        ended.expect_said(texts);
    };
    let items = ["sources.so.records=/rows"];
    said(&items, 1, &["error:", "/rows", "/questions", "hint:"]);
    api.fail_next([Failure::Html]);
    said(&[], 1, &["error:", "503", "/questions"]);
    api.fail_next([Failure::NotJson]);
    said(&[], 1, &["error:", "JSON", "/questions"]);
    let token = [r#"sources.so.auth={ type = "query", name = "key", value = { file = "token" } }"#];
    said(&token, 2, &["error:", "400", "key=***", "hint:"]);
    let contradiction = ["sources.so.pagination={ type = \"page\", size_param = \"n\" }"];
    said(&contradiction, 2, &["error:", "size", "hint:"]);
}

#[test]
fn a_key_of_former_versions_is_told_by_its_present_name() {
    let site = Site::with(
        "name = \"p\"\n[sources.in]\ntype = \"rest\"\nurl = \"http://127.0.0.1:1/\"\n\
         missing_page_ends = true\n[sinks.out]\ntype = \"console\"\ninputs = [\"in\"]\n",
    );
    let ended = site.tidegate(&["check", "pipeline.toml"]).expect_code(2);
    for part in [
        "unknown key `missing_page_ends`",
        "it is called `ends_at` now",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}
