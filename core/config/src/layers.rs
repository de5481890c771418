//! The layers of a configuration, merged by figment, with places and order put back.
//!
//! figment decides which layer each value comes from (tables are merged key by key; everything
//! else, arrays too, is replaced by the later layer) and its tags tell us. The values themselves
//! come from our own trees, because figment's dictionaries are sorted and have no places.

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use indexmap::IndexSet;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{self, Data, Entry, Node, Reading, Table};
use crate::source::{Place, SourceText};

/// figment looks values up by a path; this is the one step that leads to the whole tree.
const ROOT: &str = "root";

/// What a layer that holds single values is named by, and how its variables are.
pub(crate) const SET_PREFIX: &str = "TIDEGATE_SET__";

struct Layer<'a> {
    number: usize,
    root: &'a Node,
}

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.number.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let root = Dict::from([(ROOT.to_owned(), to_figment(self.root))]);
        Ok(Map::from([(Profile::Default, root)]))
    }
}

fn to_figment(node: &Node) -> Value {
    match &node.data {
        Data::Text(text) => Value::from(text.value.as_str()),
        Data::Integer(number) => Value::from(*number),
        Data::Float(number) => Value::from(*number),
        Data::Bool(flag) => Value::from(*flag),
        Data::Array(items) => Value::from(items.iter().map(to_figment).collect::<Vec<_>>()),
        Data::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, entry)| (key.clone(), to_figment(&entry.node)));
            Value::Dict(Tag::Default, entries.collect())
        }
    }
}

/// Merges layers, later ones over earlier ones.
pub(crate) fn merge(layers: &[Node]) -> Option<Node> {
    let figment = layers
        .iter()
        .enumerate()
        .fold(Figment::new(), |figment, (number, root)| {
            figment.merge(Layer { number, root })
        });
    let merged = figment.find_value(ROOT).ok()?;
    let winner = |tag| {
        let metadata = figment.get_metadata(tag)?;
        metadata.name.parse::<usize>().ok()
    };
    let roots: Vec<_> = layers.iter().map(Some).collect();
    rebuild(&merged, &roots, &winner)
}

/// `found[i]` is what the i-th layer has at this path.
fn rebuild(
    value: &Value,
    found: &[Option<&Node>],
    winner: &impl Fn(Tag) -> Option<usize>,
) -> Option<Node> {
    let Value::Dict(_, merged) = value else {
        let node = found.get(winner(value.tag())?)?.as_ref()?;
        return Some((*node).clone());
    };
    let tables = || found.iter().flatten().filter_map(|node| node.as_table());
    let keys: IndexSet<&String> = tables().flat_map(Table::keys).collect();
    let mut table = Table::new();
    for key in keys {
        let Some(value) = merged.get(key) else {
            continue;
        };
        let below: Vec<_> = found
            .iter()
            .map(|node| node.and_then(|node| node.as_table()?.get(key)))
            .collect();
        let nodes: Vec<_> = below
            .iter()
            .map(|entry| entry.map(|entry| &entry.node))
            .collect();
        let Some(node) = rebuild(value, &nodes, winner) else {
            continue;
        };
        // The key is shown where the value is.
        let entry = below
            .iter()
            .flatten()
            .find(|entry| entry.node.place.rank() == node.place.rank())
            .or_else(|| below.iter().flatten().next());
        if let Some(entry) = entry {
            let key_place = entry.key.clone();
            table.insert(
                key.clone(),
                Entry {
                    key: key_place,
                    node,
                },
            );
        }
    }
    let place = found
        .iter()
        .flatten()
        .find(|node| node.as_table().is_some())?
        .place
        .clone();
    Some(Node {
        place,
        data: Data::Table(table),
    })
}

/// The layer of one `--set a.b=value`.
pub(crate) fn of_set(argument: &str, rank: usize, out: &mut Diagnostics) -> Option<Node> {
    let (path, _) = argument.split_once('=').unwrap_or((argument, ""));
    let source = SourceText::setting(format!("--set {}", path.trim()), argument, rank);
    let keys = toml_edit::Key::parse(path.trim()).ok();
    let (Some(keys), true) = (keys, argument.contains('=')) else {
        out.push(
            Diagnostic::new(source.whole(), "`--set` needs a key and a value")
                .hint("write it as `--set sinks.out.url=/data/out`"),
        );
        return None;
    };
    let keys: Vec<_> = keys.iter().map(|key| key.get().to_owned()).collect();
    let key = source.place(0..path.trim_end().len());
    let value = source.place(path.len() + 1..argument.len());
    Some(nest(&keys, &key, value))
}

/// The layer of one `TIDEGATE_SET__a__b=value`. Names keep their case.
pub(crate) fn of_variable(
    name: &str,
    value: &str,
    rank: usize,
    out: &mut Diagnostics,
) -> Option<Node> {
    let source = SourceText::setting(name, format!("{name}={value}"), rank);
    let keys: Vec<_> = name
        .strip_prefix(SET_PREFIX)
        .unwrap_or_default()
        .split("__")
        .map(str::to_owned)
        .collect();
    let key = source.place(0..name.len());
    if keys.iter().any(String::is_empty) {
        out.push(
            Diagnostic::new(key, "the variable's name doesn't name a key")
                .label("an empty name between `__` and `__`")
                .hint("write it as `TIDEGATE_SET__sinks__out__url=/data/out`"),
        );
        return None;
    }
    let value = source.place(name.len() + 1..source.text.len());
    Some(nest(&keys, &key, value))
}

fn nest(keys: &[String], key: &Place, value: Place) -> Node {
    let text = value.text().to_owned();
    let mut node = Node::text(value, text, Reading::Open);
    for name in keys.iter().rev() {
        let mut table = Node::table(key.clone());
        let entry = Entry {
            key: key.clone(),
            node,
        };
        table
            .as_table_mut()
            .map(|table| table.insert(name.clone(), entry));
        node = table;
    }
    node
}

/// A TOML text's tree, or what is wrong with it.
pub(crate) fn of_file(source: &std::sync::Arc<SourceText>, out: &mut Diagnostics) -> Option<Node> {
    match toml_edit::Document::parse(source.text.as_str()) {
        Ok(document) => Some(node::of_document(&document, source)),
        Err(error) => {
            out.push(syntax(source, &error));
            None
        }
    }
}

fn syntax(source: &std::sync::Arc<SourceText>, error: &toml_edit::TomlError) -> Diagnostic {
    let place = source.place(error.span().unwrap_or_default()).first_line();
    let message = error.message().trim();
    if message.contains("duplicate key") {
        let key = place.text().trim().to_owned();
        let diagnostic = if key.is_empty() {
            Diagnostic::new(place.clone(), "a key stands here twice")
        } else {
            Diagnostic::new(place.clone(), format!("the key `{key}` stands here twice"))
        };
        return diagnostic
            .label("the second one")
            .hint("keep one of them; what belongs together is written as one table");
    }
    // A value without quotes is what people most often forget.
    let line = {
        let (line, _) = place.position();
        source.text.lines().nth(line - 1).unwrap_or_default()
    };
    let quotes = line.matches('"').count();
    let nested = message.contains("expected newline") && line.contains('=') && quotes > 2;
    let hint = match line.split_once('=') {
        Some((key, _)) if nested => Some(format!(
            "a text that has quotes itself stands in three single ones: `{} = '''…'''`",
            key.trim()
        )),
        Some((_, value))
            if value
                .trim_start()
                .starts_with(|c: char| c.is_alphabetic() || c == '/' || c == '.') =>
        {
            Some("texts stand in quotes: `key = \"text\"`".to_owned())
        }
        _ => None,
    };
    Diagnostic::new(place, "this isn't TOML")
        .label(message)
        .maybe_hint(hint)
}
