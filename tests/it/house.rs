//! The rules of the house: who may depend on whom, and what every component has.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};
use tidegate::core::{Kind, SinkConfig, SourceConfig, TransformConfig};

use super::support::{Site, workspace};

/// What the components of the program are, by kind: what `tidegate list` prints.
const COMPONENTS: [(&str, &[&str]); 4] = [
    (
        "source",
        &[
            "athena",
            "files",
            "generate",
            "http_server",
            "jsonplaceholder",
            "kinesis",
            "mysql",
            "rest",
            "stackoverflow",
            "table",
        ],
    ),
    (
        "transform",
        &["dedupe", "extract", "flatten", "json", "mask", "sql"],
    ),
    (
        "sink",
        &[
            "console", "files", "firehose", "http", "kinesis", "mysql", "parquet",
        ],
    ),
    ("catalog", &["glue", "local"]),
];

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(workspace())
        .output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// A member of the workspace.
struct Member {
    /// Its directory, from the workspace's.
    directory: String,
    /// Members that it needs, with the kind of need: `normal`, `dev`, `build`.
    needs: Vec<(String, String)>,
}

fn members() -> BTreeMap<String, Member> {
    let args = [
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--offline",
    ];
    let metadata: Value = serde_json::from_str(&output(&cargo(), &args)).expect("JSON");
    let root = metadata["workspace_root"].as_str().expect("a directory");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let names: BTreeSet<String> = packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    let member = |package: &Value| {
        let manifest = text(&package["manifest_path"]);
        let directory = manifest
            .strip_prefix(root)
            .and_then(|path| path.strip_suffix("/Cargo.toml"));
        let needs = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter();
        let needs = needs
            .map(|need| {
                (
                    text(&need["name"]),
                    need["kind"].as_str().unwrap_or("normal").to_owned(),
                )
            })
            .filter(|(name, _)| names.contains(name));
        let directory = directory
            .expect("a member's directory")
            .trim_start_matches('/')
            .to_owned();
        Member {
            directory,
            needs: needs.collect(),
        }
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), member(package)))
        .collect()
}

/// What a member of `directory` may need in the program itself.
fn may_need(directory: &str, other: &str) -> bool {
    let room = directory.split('/').next().unwrap_or_default();
    match (room, directory) {
        // The root sees all but what is for tests and for its development.
        ("", _) => other != "testkit" && other != "xtask",
        (_, "core/contract") => false,
        // Storage stands on AWS, SQL on both and on what is common to catalogs.
        ("core", "core/storage") => ["core/contract", "core/aws"].contains(&other),
        // Files that are staged lie somewhere, and may be a table.
        ("core", "core/staged") => {
            ["core/contract", "core/storage", "core/catalog"].contains(&other)
        }
        ("core", "core/sql") => ["core/contract", "core/storage", "core/catalog"].contains(&other),
        // What APIs have in common is requests and rows.
        ("core", "core/api") => ["core/contract", "core/formats", "core/http"].contains(&other),
        ("core", _) => other == "core/contract",
        ("connectors" | "sinks" | "transforms", _) => {
            // The runtime and the pipeline file are none of a component's business.
            other.starts_with("core/") && other != "core/runtime" && other != "core/config"
        }
        ("testkit", _) => other == "core/contract",
        _ => false,
    }
}

#[test]
fn dependencies_point_to_the_contract_and_never_sideways() {
    let members = members();
    assert!(members.len() >= 17, "{:?}", members.keys());
    for (name, member) in &members {
        for (need, kind) in &member.needs {
            let other = &members[need].directory;
            let allowed = match kind.as_str() {
                "dev" => other != "xtask",
                _ if member.directory == "xtask" => other != "testkit",
                _ => may_need(&member.directory, other),
            };
            assert!(
                allowed,
                "{name} ({}) must not have {need} as a {kind} dependency",
                member.directory
            );
        }
    }
}

/// The crates that a package stands on in the end, without those for its tests.
fn tree(package: &str) -> BTreeSet<String> {
    let args = [
        "tree",
        "--offline",
        "-p",
        package,
        "-e",
        "normal",
        "--prefix",
        "none",
        "-f",
        "{p}",
    ];
    let tree = output(&cargo(), &args);
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_contract_stands_on_no_runtime_sdk_or_query_engine() {
    let found = tree("tidegate-core");
    assert!(
        found.contains("arrow-array") && found.contains("serde"),
        "{found:?}"
    );
    let heavy = |name: &&String| {
        let begins = [
            "tokio",
            "datafusion",
            "aws-",
            "reqwest",
            "hyper",
            "rusqlite",
            "object_store",
            "parquet",
        ];
        begins.iter().any(|begin| name.starts_with(begin))
    };
    let heavy: Vec<_> = found.iter().filter(heavy).collect();
    assert!(heavy.is_empty(), "{heavy:?}");
}

#[test]
fn authors_of_connectors_compile_neither_datafusion_nor_sqlite() {
    for (name, member) in members() {
        let room = member.directory.split('/').next().unwrap_or_default();
        if !["connectors", "sinks"].contains(&room) {
            continue;
        }
        let found = tree(&name);
        for heavy in [
            "datafusion",
            "rusqlite",
            "tidegate-runtime",
            "tidegate-config",
        ] {
            // The local catalog is a file of SQLite.
            let its_own = (name.as_str(), heavy) == ("tidegate-local-catalog", "rusqlite");
            assert!(its_own || !found.contains(heavy), "{name} needs {heavy}");
        }
    }
}

#[test]
fn the_program_has_these_components() {
    let list = Site::new()
        .tidegate(&["list", "--json"])
        .expect_done()
        .stdout;
    let list: Vec<Value> = serde_json::from_str(&list).expect("JSON");
    let listed: Vec<_> = list
        .iter()
        .map(|entry| {
            (
                entry["kind"].as_str().expect("a kind"),
                entry["type"].as_str().expect("a type"),
            )
        })
        .collect();
    let wanted: Vec<_> = COMPONENTS
        .iter()
        .flat_map(|(kind, tags)| tags.iter().map(|tag| (*kind, *tag)))
        .collect();
    assert_eq!(listed, wanted);
}

/// The components of the program; this test binary links others besides, which are examples.
fn registrations() -> Vec<tidegate::core::registry::Registration> {
    let registry = tidegate::registry().expect("one crate for each tag");
    let own: BTreeMap<_, _> = COMPONENTS.into_iter().collect();
    let entries = registry
        .iter()
        .filter(|entry| own[entry.kind().name()].contains(&entry.tag()));
    let entries: Vec<_> = entries.cloned().collect();
    let all: usize = COMPONENTS.iter().map(|(_, tags)| tags.len()).sum();
    assert_eq!(entries.len(), all);
    entries
}

#[test]
fn a_component_is_stored_under_the_tag_that_it_is_registered_with() {
    for entry in registrations() {
        let table = json!({ "type": entry.tag() });
        let error = match entry.kind() {
            Kind::Source => serde_json::from_value::<Box<dyn SourceConfig>>(table).err(),
            Kind::Transform => serde_json::from_value::<Box<dyn TransformConfig>>(table).err(),
            Kind::Sink => serde_json::from_value::<Box<dyn SinkConfig>>(table).err(),
            // Its configuration is stored as the JSON that it was parsed from.
            Kind::Catalog => None,
        };
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(
            !error.contains("unknown variant"),
            "{} `{}`: {error}",
            entry.kind(),
            entry.tag()
        );
    }
}

/// The keys of a schema, and of the tables in it, that nobody has described.
fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for (key, property) in map
                .get("properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                let described = property["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty());
                // The word that tells one kind of table from another describes itself.
                if !described && property.get("const").is_none() {
                    found.push(format!("{path}.{key}"));
                }
            }
            map.iter()
                .for_each(|(key, value)| undescribed(value, &format!("{path}.{key}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| undescribed(item, path, found)),
        _ => {}
    }
}

#[test]
fn every_component_is_documented_and_refuses_unknown_keys() {
    for entry in registrations() {
        let name = format!("{} `{}`", entry.kind(), entry.tag());
        let schema = entry.schema();
        assert_eq!(schema["additionalProperties"], false, "{name}");
        assert!(!entry.summary().is_empty(), "{name}");
        let mut found = Vec::new();
        undescribed(&schema, "", &mut found);
        assert!(
            found.is_empty(),
            "{name} has keys without a description: {found:?}"
        );
    }
}

#[test]
fn no_large_file_is_tracked() {
    const LARGE: u64 = 1_000_000;
    // A source archive has no history to look at, and nothing to protect.
    if !workspace().join(".git").exists() {
        return;
    }
    let files = output("git", &["ls-files", "-z"]);
    for name in files.split_terminator('\0') {
        let size = std::fs::metadata(workspace().join(name)).map_or(0, |file| file.len());
        assert!(size < LARGE, "{name} has {size} bytes");
    }
}

#[test]
fn one_arrow_serves_all() {
    let lock = std::fs::read_to_string(workspace().join("Cargo.lock")).expect("a lock file");
    for name in [
        "arrow-array",
        "arrow-schema",
        "parquet",
        "datafusion",
        "object_store",
    ] {
        let found = lock
            .lines()
            .filter(|line| *line == format!("name = \"{name}\""))
            .count();
        assert_eq!(found, 1, "{name}");
    }
}
