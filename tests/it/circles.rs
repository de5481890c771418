//! Modules of a crate that need each other are one module in several files: each such circle is
//! here, with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::support::workspace;

/// A configuration opens the component, and the component keeps it.
const OPENS: &str = "a configuration opens the component, which keeps it";

/// The circles that there are: the crate, the modules, why.
const CIRCLES: &[(&str, &[&str], &str)] = &[
    ("connectors/generate", &["config", "source"], OPENS),
    (
        "connectors/http",
        &["config", "decode", "inbox", "record", "server", "source"],
        OPENS,
    ),
    (
        "connectors/kinesis",
        &["config", "plan", "read", "source"],
        OPENS,
    ),
    (
        "connectors/mysql",
        &["discover", "sql"],
        "statements are written of the tables that statements have found",
    ),
    (
        "connectors/mysql",
        &[
            "config", "follow", "piece", "plan", "pushdown", "reading", "relation", "sample",
            "source",
        ],
        OPENS,
    ),
    (
        "connectors/rest",
        &["access", "check", "config", "dialect", "quota"],
        OPENS,
    ),
    (
        "connectors/stackoverflow",
        &["fields", "streams"],
        "a stream has fields, and what a field gives depends on the stream",
    ),
    (
        "connectors/stackoverflow",
        &["client", "config", "filter", "plan", "read", "source"],
        OPENS,
    ),
    (
        "core/api",
        &["incremental", "mark"],
        "a mark is where an incremental reading starts",
    ),
    (
        "core/catalog",
        &["guessed", "merge", "together"],
        "types are merged by one rule, which treats guessed ones apart",
    ),
    (
        "core/formats",
        &["decode", "split"],
        "where a record ends and what it holds is one grammar",
    ),
    (
        "core/sql",
        &["error", "parse"],
        "an error names the place in a text that is parsed to find it",
    ),
    (
        "core/staged",
        &["destination", "files"],
        "a destination opens epochs of files, which lie in it",
    ),
    (
        "core/storage",
        &["error", "listing", "read", "s3"],
        "S3 says what its errors mean, which all reading tells in one way",
    ),
    ("sinks/console", &["config", "sink"], OPENS),
    (
        "sinks/parquet",
        &[
            "config",
            "encoders",
            "file",
            "properties",
            "row_group",
            "sink",
            "writer",
        ],
        OPENS,
    ),
    ("transforms/sql", &["config", "gather"], OPENS),
];

/// The crates' directories.
fn crates() -> Vec<String> {
    let rooms = ["core", "connectors", "sinks", "transforms"];
    let mut crates = vec!["testkit".to_owned(), "xtask".to_owned()];
    for room in rooms {
        let entries = std::fs::read_dir(workspace().join(room)).expect("a directory");
        for entry in entries.map(|entry| entry.expect("an entry")) {
            let name = entry.file_name();
            crates.push(format!("{room}/{}", name.to_string_lossy()));
        }
    }
    crates.retain(|directory| workspace().join(directory).join("src/lib.rs").is_file());
    crates.sort();
    crates
}

/// The code of each module of a crate, tests and comments left out.
fn modules(source: &Path) -> BTreeMap<String, String> {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut open = vec![source.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let inner = path.strip_prefix(source).expect("a path within");
            let first = inner.components().next().expect("a name");
            let module = first.as_os_str().to_string_lossy();
            let module = module.trim_end_matches(".rs").to_owned();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("tests.rs")
                && module != "lib"
                && module != "main"
            {
                let text = std::fs::read_to_string(&path).expect("a file");
                let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
                let lines = text
                    .lines()
                    .map(|line| line.split("//").next().unwrap_or(line));
                let text: String = lines.flat_map(|line| [line, "\n"]).collect();
                modules.entry(module).or_default().push_str(&text);
            }
        }
    }
    modules
}

/// The names behind `crate::`, and those in `crate::{…}`.
fn needs(code: &str) -> BTreeSet<&str> {
    let name = |text: &str| {
        let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()));
        end.unwrap_or(text.len())
    };
    let mut found = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let Some(group) = part.strip_prefix('{') else {
            found.insert(&part[..name(part)]);
            continue;
        };
        let mut depth = 0;
        let mut at_start = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if at_start && !c.is_whitespace() => {
                    at_start = false;
                    let rest = &group[at..];
                    found.insert(&rest[..name(rest)]);
                }
                _ => {}
            }
        }
    }
    found
}

/// The modules that can be come to from one, itself only in a circle.
fn reached(from: &str, needs: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = needs[from].iter().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module.clone()) {
            open.extend(&needs[module]);
        }
    }
    reached
}

#[test]
fn modules_that_need_each_other_are_listed_with_their_reason() {
    let mut found: BTreeSet<(String, Vec<String>)> = BTreeSet::new();
    for directory in crates() {
        let modules = modules(&workspace().join(&directory).join("src"));
        let needs: BTreeMap<String, BTreeSet<String>> = modules
            .iter()
            .map(|(module, code)| {
                let needs = needs(code).into_iter();
                let needs = needs.filter(|other| other != module && modules.contains_key(*other));
                (module.clone(), needs.map(str::to_owned).collect())
            })
            .collect();
        for module in modules.keys() {
            let ahead = reached(module, &needs);
            let circle: Vec<String> = ahead
                .iter()
                .filter(|other| reached(other, &needs).contains(module))
                .cloned()
                .collect();
            if circle.len() > 1 {
                found.insert((directory.clone(), circle));
            }
        }
    }
    let listed: BTreeSet<(String, Vec<String>)> = CIRCLES
        .iter()
        .map(|(directory, modules, _)| {
            let mut modules: Vec<String> = modules.iter().map(|&name| name.to_owned()).collect();
            modules.sort();
            ((*directory).to_owned(), modules)
        })
        .collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty(), "not listed: {new:?}");
    assert!(gone.is_empty(), "listed, and no circle any more: {gone:?}");
    assert!(CIRCLES.iter().all(|(_, _, reason)| !reason.is_empty()));
}
