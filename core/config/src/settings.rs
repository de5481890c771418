//! `tidegate.toml` and the `TIDEGATE_…` environment: settings of the program, not of a pipeline.

use serde_json::{Map, Value};

use crate::diagnostic::Diagnostics;
use crate::interpolate::{self, Variables};
use crate::layers;
use crate::node::{self, Data, Entry, Node, Reading};
use crate::source::SourceText;

const PREFIX: &str = "TIDEGATE_";

/// Merges the settings file (if there is one) and the environment: `TIDEGATE_HTTP__TIMEOUT=30s`
/// is `timeout` of `[http]`.
pub(crate) fn load(
    file: Option<&std::sync::Arc<SourceText>>,
    variables: &Variables,
    first_rank: usize,
    out: &mut Diagnostics,
) -> Map<String, Value> {
    let mut all: Vec<Node> = file
        .and_then(|source| layers::of_file(source, out))
        .into_iter()
        .collect();
    let mut names: Vec<_> = variables
        .keys()
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with(layers::SET_PREFIX))
        .collect();
    names.sort_unstable();
    for (number, name) in names.into_iter().enumerate() {
        all.extend(of_variable(name, &variables[name], first_rank + number));
    }
    let Some(mut merged) = layers::merge(&all) else {
        return Map::new();
    };
    interpolate::apply(&mut merged, variables, out);
    merged.visit_mut(&mut read_open);
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

/// Settings have no schema, so a text that is plainly a TOML value is taken as one: `30`, `true`,
/// `["a"]`, `"30"` in quotes for the text. `00123`, which isn't, stays a text.
fn read_open(node: &mut Node) {
    let Some(text) = node.as_text() else { return };
    if text.reading != Reading::Open {
        return;
    }
    let Ok(value) = text.value.trim().parse::<toml_edit::Value>() else {
        return;
    };
    if matches!(value, toml_edit::Value::Datetime(_)) {
        return;
    }
    let place = node.place.clone();
    let mut read = node::of_value(&value, &place.source, &place);
    read.visit_mut(&mut |inner| inner.place = place.clone());
    if let Data::Text(inner) = &mut read.data {
        inner.map = crate::text::TextMap::verbatim(place.span.start);
    }
    *node = read;
}
