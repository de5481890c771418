//! Directories, and the tables that a crawl makes of them.

use super::super::support::Site;
use super::{Case, queried, run_of, same};

/// Files, what the crawl before the last of them finds, and what is read of them.
struct Layout {
    files: &'static [(&'static str, &'static str)],
    right: &'static [&'static str],
}

const LAYOUTS: &[Layout] = &[
    Layout {
        files: &[
            ("lake/t/a.csv", "id,code,name\n1,7,Kiel\n"),
            ("lake/t/b.csv", "id;code;name\n2;007;\"Os\nlo\"\n"),
        ],
        right: &[
            r#"{"id":1,"code":"7","name":"Kiel"}"#,
            r#"{"id":2,"code":"007","name":"Os\nlo"}"#,
        ],
    },
    Layout {
        files: &[
            ("lake/t/a.ndjson", "{\"v\":1.5}\n"),
            ("lake/t/b.ndjson", "{\"v\":\"1.10\"}\n"),
        ],
        right: &[r#"{"v":"1.10"}"#, r#"{"v":"1.5"}"#],
    },
    Layout {
        files: &[("lake/t/a.csv", "country,2023\nNO,1\n")],
        right: &[r#"{"country":"NO","2023":1}"#],
    },
];

const PIPELINE: &str = r#"
name = "crawled"
[sources.in]
type = "table"
catalog = { type = "local", path = "catalog", database = "db", table = "t" }
[sinks.out]
type = "files"
inputs = ["in"]
url = "out/rows.ndjson"
"#;

const CRAWL: [&str; 5] = ["catalog", "crawl", "lake", "--database", "db"];

fn site() -> Site {
    let site = Site::with(PIPELINE);
    site.write(
        "tidegate.toml",
        "[catalog]\ntype = \"local\"\npath = \"catalog\"\n",
    );
    site
}

#[test]
fn a_crawled_table_gives_a_run_and_a_query_what_its_directory_gives() {
    for layout in LAYOUTS {
        let site = site();
        for (path, text) in layout.files {
            site.write(path, text);
            site.tidegate(&CRAWL).expect_done();
        }
        site.run(&[]).expect_done();
        assert_eq!(run_of(&site.path("out")), layout.right);
        for sql in ["SELECT * FROM db.t", "SELECT * FROM 'lake/t/'"] {
            let case: Case = same(sql, layout.right);
            assert_eq!(queried(&site, &case), layout.right, "{sql}");
        }
    }
}

#[test]
fn a_value_that_came_after_the_crawl_is_an_error_rather_than_bent() {
    let site = site();
    site.write("lake/t/a.csv", "id\n1\n");
    site.tidegate(&CRAWL).expect_done();
    site.write("lake/t/b.csv", "id\n01234\n");
    let query = site.tidegate(&["query", "SELECT * FROM db.t"]);
    for ended in [site.run(&[]), query] {
        assert!(ended.stderr.contains("01234"), "{}", ended.stderr);
    }
    site.tidegate(&CRAWL).expect_done();
    let right = [r#"{"id":"01234"}"#, r#"{"id":"1"}"#];
    let case: Case = same("SELECT * FROM db.t", right.to_vec().leak());
    assert_eq!(queried(&site, &case), right);
}
