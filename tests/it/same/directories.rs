//! Directories that are named as partitions are.

use super::super::support::Site;
use super::{Case, queried, run_of, same};

/// Files, and what is read of them.
struct Layout {
    files: &'static [(&'static str, &'static str)],
    read: &'static str,
    right: &'static [&'static str],
}

const LAYOUTS: &[Layout] = &[
    Layout {
        files: &[
            ("in/year=2024/city=a%2Fb/a.csv", "id,v\n1,x\n"),
            (
                "in/year=2023/city=__HIVE_DEFAULT_PARTITION__/deep/a.csv",
                "id,v\n2,y\n",
            ),
            ("in/year=2022/a.csv", "id\n3\n"),
            ("in/nothing=1/a.csv", ""),
        ],
        read: "in",
        right: &[
            r#"{"id":1,"v":"x","year":2024,"city":"a/b"}"#,
            r#"{"id":2,"v":"y","year":2023,"city":null}"#,
            r#"{"id":3,"v":null,"year":2022,"city":null}"#,
        ],
    },
    Layout {
        files: &[
            ("in/day=2024-02-29/m=07/a.ndjson", "{\"id\":1}\n"),
            ("in/day=2024-03-01/m=12/a.ndjson", "{\"id\":2}\n"),
        ],
        read: "in/*/*/*.ndjson",
        right: &[
            r#"{"id":1,"day":"2024-02-29","m":"07"}"#,
            r#"{"id":2,"day":"2024-03-01","m":"12"}"#,
        ],
    },
    Layout {
        files: &[("d/year=2024/a.csv", "id\n1\n")],
        read: "d/year=2024",
        right: &[r#"{"id":1,"year":2024}"#],
    },
    Layout {
        files: &[("d/year=2024/a.csv", "id\n1\n")],
        read: "d/year=2024/a.csv",
        right: &[r#"{"id":1,"year":2024}"#],
    },
    // The directory's value counts.
    Layout {
        files: &[
            ("in/year=2024/a.csv", "Year,id\n1999,1\n"),
            ("in/year=2025/a.csv", "id\n2\n"),
        ],
        read: "in",
        right: &[r#"{"id":1,"year":2024}"#, r#"{"id":2,"year":2025}"#],
    },
];

fn pipeline(read: &str, more: &str) -> String {
    format!(
        "name = \"directories\"\n[sources.in]\ntype = \"files\"\nurl = \"{read}\"\n{more}\n\
         [sinks.out]\ntype = \"files\"\ninputs = [\"in\"]\nurl = \"out/rows.ndjson\"\n"
    )
}

#[test]
fn directories_give_a_run_the_columns_that_they_give_a_query() {
    for layout in LAYOUTS {
        let site = Site::with(&pipeline(layout.read, ""));
        for (path, text) in layout.files {
            site.write(path, text);
        }
        site.run(&[]).expect_done();
        assert_eq!(run_of(&site.path("out")), layout.right, "{}", layout.read);
        let sql = format!("SELECT * FROM '{}'", layout.read);
        let case: Case = same(sql.leak(), layout.right);
        assert_eq!(queried(&site, &case), layout.right, "{}", layout.read);
    }
}

#[test]
fn directories_that_name_a_key_twice_are_refused_by_a_run_and_a_query() {
    let site = Site::with(&pipeline("in", ""));
    site.write("in/m=1/M=2/a.csv", "id\n1\n");
    let query = site.tidegate(&["query", "SELECT * FROM 'in'"]);
    for ended in [site.run(&[]), query] {
        assert!(
            ended.stderr.contains("the directories name `M` twice"),
            "{}",
            ended.stderr
        );
    }
}
