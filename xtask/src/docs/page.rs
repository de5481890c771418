//! The pages.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Pages;
use super::program::{Entry, Program};
use super::table::{Keys, text};

const MADE: &str = "<!-- Made by `cargo xtask docs` from what the program says of itself. -->\n\n";
const KINDS: [&str; 4] = ["source", "transform", "sink", "catalog"];

/// All pages.
pub(crate) fn all(program: &Program) -> Result<Pages> {
    let mut pages = Pages::new();
    let entries = program.components()?;
    for entry in &entries {
        pages.insert(
            path(entry).into(),
            component(entry, &program.schema(entry)?),
        );
    }
    let schema = program.ask(&["schema"])?;
    let parsed = serde_json::from_str(&schema).context("`tidegate schema` is no JSON")?;
    pages.insert("pipeline-file.md".into(), file(&parsed));
    pages.insert("pipeline.schema.json".into(), schema);
    pages.insert("cli.md".into(), command_line(program)?);
    pages.insert("README.md".into(), index(&entries));
    Ok(pages)
}

fn path(entry: &Entry) -> String {
    format!("{}s/{}.md", entry.kind, entry.tag)
}

fn index(entries: &[Entry]) -> String {
    let mut page = format!("{MADE}# Reference\n\n");
    page.push_str("| page | what it is |\n|---|---|\n");
    page.push_str("| [The pipeline file](pipeline-file.md) | the keys at the top of the file |\n");
    page.push_str("| [The command line](cli.md) | every command and option |\n");
    page.push_str(
        "| [`pipeline.schema.json`](pipeline.schema.json) | the JSON Schema of pipeline files, for editors |\n",
    );
    for kind in KINDS {
        let _ = write!(
            page,
            "\n## {}s\n\n| type | what it does |\n|---|---|\n",
            capital(kind)
        );
        for entry in entries.iter().filter(|entry| entry.kind == kind) {
            let _ = writeln!(
                page,
                "| [`{}`]({}) | {} |",
                entry.tag,
                path(entry),
                entry.summary
            );
        }
    }
    page
}

fn component(entry: &Entry, schema: &Value) -> String {
    let mut page = format!("{MADE}# The {} `{}`\n\n", entry.kind, entry.tag);
    let _ = write!(page, "{}\n\n", text(schema));
    let beside = match entry.kind.as_str() {
        "source" => "`type`, which [every source has](../pipeline-file.md#components).",
        "transform" => {
            "`type` and `inputs`, which [every transform has](../pipeline-file.md#components)."
        }
        "catalog" => {
            "`type` in a component's `catalog`, and in the settings `[catalog]`; in a component's \
             also beside `database`, `table` and, in sinks, `schema_policy`."
        }
        _ => {
            "`type`, `inputs` and `guarantee`, which [every sink has](../pipeline-file.md#components)."
        }
    };
    let _ = write!(
        page,
        "These keys stand beside {beside} From the crate `{}`.\n\n",
        entry.package
    );
    page.push_str(&Keys::new(schema, "../../guide/pipelines.md#units").sections("## Keys"));
    page
}

/// The keys at the top of a pipeline file, and those that all components have.
fn file(schema: &Value) -> String {
    let mut page = format!("{MADE}# The pipeline file\n\n");
    let mut own = schema.clone();
    if let Some(properties) = own["properties"].as_object_mut() {
        for kind in KINDS {
            properties.shift_remove(&format!("{kind}s"));
        }
    }
    page.push_str(&Keys::new(&own, "../guide/pipelines.md#units").sections("## Keys"));
    page.push_str(
        "\n## Components\n\nEach component is a table with a name: `[sources.NAME]`, \
         `[transforms.NAME]`, `[sinks.NAME]`. Names are lower-case letters, digits and `_`, begin \
         with a letter, and are used once in a file. Beside its own keys, a component has:\n\n",
    );
    page.push_str("| key | of | what it says |\n|---|---|---|\n");
    page.push_str("| `type` | all | What it is; required. `tidegate list` tells the types. |\n");
    // Every sink has all of the common keys.
    let sink = schema["$defs"].as_object().into_iter().flatten();
    let sink = sink
        .filter(|(name, _)| name.starts_with("sink.") && name.matches('.').count() == 1)
        .map(|(_, table)| table)
        .next();
    for (key, of) in [
        ("inputs", "transforms and sinks; required"),
        ("guarantee", "sinks"),
    ] {
        let says = sink
            .map(|table| text(&table["properties"][key]))
            .unwrap_or_default();
        let _ = writeln!(page, "| `{key}` | {of} | {says} |");
    }
    page
}

fn command_line(program: &Program) -> Result<String> {
    let mut page = format!("{MADE}# The command line\n\n");
    let help = program.ask(&["--help"])?;
    let _ = write!(page, "## `tidegate`\n\n{}", block(&help));
    for command in commands(&help) {
        let help = program.ask(&[&command, "--help"])?;
        let _ = write!(page, "\n## `tidegate {command}`\n\n{}", block(&help));
        for inner in commands(&help) {
            let help = program.ask(&[&command, &inner, "--help"])?;
            let _ = write!(
                page,
                "\n### `tidegate {command} {inner}`\n\n{}",
                block(&help)
            );
        }
    }
    Ok(page)
}

fn block(help: &str) -> String {
    let lines: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    format!("```text\n{}\n```\n", lines.join("\n"))
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}
