//! Finds texts that seem to be secrets, where a secret could be named instead.

use serde_json::Value;
use tidegate_core::names_a_secret;

use super::shape::Shape;
use super::typing::{choose, named_variable, within_branches};
use crate::diagnostic::Diagnostic;
use crate::node::{Data, Node};

/// Warnings about texts under keys that speak of a secret, where the schema takes `{ env = "NAME" }`
/// as well as a text. No diagnostic shows them any more.
pub(crate) fn plain_secrets(node: &Node, schema: &Value) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    within(node, "", Shape::new(schema), &mut found);
    found
}

fn within(node: &Node, key: &str, shape: Shape<'_>, found: &mut Vec<Diagnostic>) {
    let branches = shape.branches();
    let chosen = choose(&branches, node).map(|index| branches[index]);
    match &node.data {
        Data::Text(_) if takes_both(&branches) => judge(node, key, found),
        Data::Table(table) => {
            for (key, entry) in table {
                let property = within_branches(chosen, &branches, |shape| shape.property(key));
                match property {
                    // A free value, in which secrets can be named everywhere.
                    Some(property) if property.keyword("x-secrets") == true => {
                        everywhere(&entry.node, key, found);
                    }
                    Some(property) => within(&entry.node, key, property, found),
                    None => {}
                }
            }
        }
        Data::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let shape = within_branches(chosen, &branches, |shape| shape.item(index));
                if let Some(shape) = shape {
                    within(item, key, shape, found);
                }
            }
        }
        _ => {}
    }
}

fn everywhere(node: &Node, key: &str, found: &mut Vec<Diagnostic>) {
    match &node.data {
        Data::Text(_) => judge(node, key, found),
        Data::Table(table) => table
            .iter()
            .for_each(|(key, entry)| everywhere(&entry.node, key, found)),
        Data::Array(items) => items.iter().for_each(|item| everywhere(item, key, found)),
        _ => {}
    }
}

/// Whether a text fits, and so does the name of a secret.
fn takes_both(branches: &[Shape<'_>]) -> bool {
    let names = |key| branches.iter().any(|shape| shape.variant() == Some(key));
    let text = |shape: &Shape<'_>| shape.types().contains(&"string");
    branches.iter().any(text) && names("env") && names("file")
}

fn judge(node: &Node, key: &str, found: &mut Vec<Diagnostic>) {
    let empty = node.as_text().is_none_or(|text| text.value.is_empty());
    if empty || node.is_broken() || !names_a_secret(key) {
        return;
    }
    let message = format!("`{key}` seems to be a secret");
    let diagnostic = match named_variable(node) {
        Some(variable) => Diagnostic::new(node.place.clone(), message)
            .label("the variable's value is stored with the pipeline's state")
            .hint(format!("write `{key} = {{ env = \"{variable}\" }}`")),
        None => {
            node.place.conceal();
            let label = match node.place.source.is_file {
                true => "it stands in the file itself, and is stored with the pipeline's state",
                false => "it is stored with the pipeline's state",
            };
            Diagnostic::new(node.place.first_line(), message)
                .label(label)
                .hint(format!(
                    "write `{key} = {{ env = \"NAME\" }}` or `{key} = {{ file = \"PATH\" }}`"
                ))
        }
    };
    found.push(diagnostic.warning());
}
