//! `tidegate.toml` and the `TIDEGATE_…` environment: settings of the program, not of a pipeline.

use serde_json::{Map, Value};
use tidegate_core::Registry;

use crate::common::settings_schema;
use crate::diagnostic::Diagnostics;
use crate::interpolate::{self, Variables};
use crate::node::{Entry, Node, Reading};
use crate::source::SourceText;
use crate::{layers, schema};

const PREFIX: &str = "TIDEGATE_";

/// Merges the settings file (if there is one) and the environment: `TIDEGATE_HTTP__TIMEOUT=30s`
/// is `timeout` of `[http]`. Checks both against the tables that the program knows.
pub(crate) fn load(
    file: Option<&std::sync::Arc<SourceText>>,
    variables: &Variables,
    first_rank: usize,
    registry: &Registry,
    out: &mut Diagnostics,
) -> Map<String, Value> {
    let mut all: Vec<Node> = file
        .and_then(|source| layers::of_file(source, out))
        .into_iter()
        .collect();
    let mut names: Vec<_> = variables
        .keys()
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with(layers::SET_PREFIX))
        // The others are the command line's: `TIDEGATE_STATE`, `TIDEGATE_LOG`.
        .filter(|name| name[PREFIX.len()..].contains("__"))
        .collect();
    names.sort_unstable();
    for (number, name) in names.into_iter().enumerate() {
        all.extend(of_variable(name, &variables[name], first_rank + number));
    }
    let Some(mut merged) = layers::merge(&all) else {
        return Map::new();
    };
    interpolate::apply(&mut merged, variables, out);
    schema::check(
        &mut merged,
        &settings_schema(registry),
        "`tidegate.toml`",
        out,
    );
    match merged.to_json() {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn of_variable(name: &str, value: &str, rank: usize) -> Option<Node> {
    let source = SourceText::setting(name, format!("{name}={value}"), rank);
    let key = source.place(0..name.len());
    let place = source.place(name.len() + 1..source.text.len());
    let mut node = Node::text(place, value, Reading::Open);
    for step in name
        .strip_prefix(PREFIX)?
        .split("__")
        .collect::<Vec<_>>()
        .iter()
        .rev()
    {
        if step.is_empty() {
            return None;
        }
        // Settings are lower case and variables upper case by custom; a name written in mixed
        // case is meant as it is.
        let step = if step.chars().any(char::is_lowercase) {
            (*step).to_owned()
        } else {
            step.to_lowercase()
        };
        let mut table = Node::table(key.clone());
        let entry = Entry {
            key: key.clone(),
            node,
        };
        table.as_table_mut().map(|table| table.insert(step, entry));
        node = table;
    }
    Some(node)
}
