//! Gives texts the type that their key wants, and finds where secrets stand.

use super::shape::Shape;
use crate::node::{self, Data, Node, Reading, Text};
use crate::source::Place;
use crate::text::TextMap;
use tidegate_core::suggest;

/// Reads texts that are still open (`--set`, the environment, a whole `${…}`) as what the schema
/// wants there, and marks secrets, so that no diagnostic shows them.
pub(crate) fn conform(node: &mut Node, shape: Shape<'_>) {
    if shape.is_secret() {
        read_open(node, &shape.branches());
        conceal(node);
        return;
    }
    let branches = shape.branches();
    read_open(node, &branches);
    let chosen = choose(&branches, node).map(|index| branches[index]);
    match &mut node.data {
        Data::Table(table) => {
            for (key, entry) in table {
                let property = within_branches(chosen, &branches, |shape| shape.property(key));
                match property {
                    Some(property) => {
                        conform(&mut entry.node, property);
                        if key == "headers" {
                            conceal_headers(&entry.node);
                        }
                    }
                    None if is_meant_as_secret(key, &branches) => conceal(&entry.node),
                    None => {}
                }
            }
        }
        Data::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let shape = within_branches(chosen, &branches, |shape| shape.item(index));
                if let Some(shape) = shape {
                    conform(item, shape);
                }
            }
        }
        _ => {}
    }
}

/// What the chosen branch says of a part of a value, or else the first that says anything.
pub(super) fn within_branches<'a>(
    chosen: Option<Shape<'a>>,
    branches: &[Shape<'a>],
    part: impl Fn(&Shape<'a>) -> Option<Shape<'a>>,
) -> Option<Shape<'a>> {
    chosen
        .as_ref()
        .and_then(&part)
        .or_else(|| branches.iter().find_map(&part))
}

/// The branch that a value is meant as: by its type, its tag, its variant's key, or its keys.
pub(crate) fn choose(branches: &[Shape<'_>], node: &Node) -> Option<usize> {
    let kind = json_type(node);
    let fitting: Vec<usize> = (0..branches.len())
        .filter(|index| branches[*index].admits(kind))
        .collect();
    if let Data::Table(table) = &node.data {
        let told = fitting.iter().copied().find(|index| {
            let by_tag = branches[*index].tag().is_some_and(|(key, text)| {
                let found = node.get(key).and_then(Node::as_text);
                found.is_some_and(|found| found.value == text)
            });
            let by_variant = branches[*index]
                .variant()
                .is_some_and(|key| table.contains_key(key));
            by_tag || by_variant
        });
        if told.is_some() {
            return told;
        }
        let told_apart = |index: &usize| {
            branches[*index].tag().is_some() || branches[*index].variant().is_some()
        };
        if fitting.len() > 1 && !fitting.iter().all(told_apart) {
            let known = |index: &usize| {
                let keys = branches[*index].keys();
                keys.iter().filter(|key| table.contains_key(**key)).count()
            };
            return fitting.into_iter().max_by_key(known);
        }
    }
    match fitting.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

fn json_type(node: &Node) -> &'static str {
    match &node.data {
        Data::Text(_) => "string",
        Data::Integer(_) => "integer",
        Data::Float(_) => "number",
        Data::Bool(_) => "boolean",
        Data::Array(_) => "array",
        Data::Table(_) => "object",
    }
}

fn read_open(node: &mut Node, branches: &[Shape<'_>]) {
    let Data::Text(text) = &node.data else { return };
    // Where a string fits, the text stays as it is: `00123` keeps its zeros.
    if text.reading != Reading::Open || branches.iter().any(|shape| keeps_text(*shape, text)) {
        return;
    }
    let Some(mut read) = parse(&text.value, &node.place) else {
        return;
    };
    let kind = json_type(&read);
    if !branches.iter().any(|shape| shape.admits(kind)) {
        return;
    }
    // Within a text, the parser's places mean nothing: everything stands where the text does.
    let place = node.place.clone();
    read.visit_mut(&mut |inner| {
        inner.place = place.clone();
        match &mut inner.data {
            Data::Text(text) => text.map = TextMap::verbatim(place.span.start),
            Data::Table(table) => table
                .values_mut()
                .for_each(|entry| entry.key = place.clone()),
            _ => {}
        }
    });
    *node = read;
}

fn keeps_text(shape: Shape<'_>, text: &Text) -> bool {
    match shape.literals() {
        Some(literals) => literals.contains(&text.value.as_str()),
        None => shape.admits("string"),
    }
}

fn parse(text: &str, place: &Place) -> Option<Node> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(Node {
            place: place.clone(),
            data: Data::Integer(number),
        });
    }
    let value = text.parse::<toml_edit::Value>().ok()?;
    Some(node::of_value(&value, &place.source, place))
}

/// Whether an unknown key is a misspelt secret.
fn is_meant_as_secret(key: &str, branches: &[Shape<'_>]) -> bool {
    branches.iter().any(|shape| {
        suggest::nearest(key, shape.keys())
            .and_then(|near| shape.property(near))
            .is_some_and(Shape::is_secret)
    })
}

/// Hides the values of headers: which of them are secrets, only the server knows.
fn conceal_headers(headers: &Node) {
    const PLAIN: [&str; 5] = ["accept", "content-", "user-agent", "cache-control", "if-"];
    for (name, entry) in headers.as_table().into_iter().flatten() {
        let name = name.to_ascii_lowercase();
        if !PLAIN.iter().any(|plain| name.starts_with(plain)) {
            conceal(&entry.node);
        }
    }
}

/// Hides what stands where a secret's reference should: all but `env` and `file`.
fn conceal(node: &Node) {
    match &node.data {
        Data::Table(table) => {
            for (key, entry) in table {
                if key != "env" && key != "file" {
                    entry.node.place.conceal();
                }
            }
        }
        Data::Text(_) if named_variable(node).is_some() => {}
        _ => node.place.conceal(),
    }
}

/// The variable of a text that is written as one `${NAME}` whole.
pub(crate) fn named_variable(node: &Node) -> Option<&str> {
    let written = node.place.text().trim_matches(['"', '\'']);
    let name = written.strip_prefix("${")?.strip_suffix('}')?;
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain.then_some(name)
}
