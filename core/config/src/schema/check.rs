//! Checks a table against a JSON Schema and reports every error.

use serde_json::Value;

use super::explain::Explainer;
use super::shape::{Shape, Unit, tighten};
use super::typing::conform;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Data, Node};

/// Types the open texts of `node` by `schema`, then reports all that doesn't fit. `what` names the
/// table in errors: ``a source of type `files` ``.
pub(crate) fn check(node: &mut Node, schema: &Value, what: &str, out: &mut Diagnostics) {
    let mut schema = schema.clone();
    tighten(&mut schema);
    let shape = Shape::new(&schema);
    conform(node, shape);
    refuse_infinities(node, out);

    let validator = jsonschema::options()
        .with_format("size", |text: &str| Unit::Size.accepts(text))
        .with_format("time span", |text: &str| Unit::Span.accepts(text))
        .should_validate_formats(true)
        .build(&schema);
    let validator = match validator {
        Ok(validator) => validator,
        Err(error) => {
            out.push(
                Diagnostic::new(
                    node.place.clone(),
                    format!(
                        "the JSON Schema of {what} can't be used: {}",
                        error.masked()
                    ),
                )
                .hint("this is an error of the component, not of the file"),
            );
            return;
        }
    };
    let instance = node.to_json();
    let mut explainer = Explainer::new(shape, node, what);
    for error in validator.iter_errors(&instance) {
        explainer.explain(&error);
    }
    explainer.finish(out);
}

/// TOML has `inf` and `nan`; components take JSON, which has not.
fn refuse_infinities(node: &mut Node, out: &mut Diagnostics) {
    node.visit_mut(&mut |node| {
        if let Data::Float(number) = node.data
            && !number.is_finite()
        {
            out.push(
                Diagnostic::new(
                    node.place.clone(),
                    format!("`{}` can't be used here", node.place.text()),
                )
                .label("not a finite number"),
            );
            node.data = Data::Float(0.0);
        }
    });
}
