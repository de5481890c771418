//! What components read, checked with the places where it stands.

use tidegate_core::{Kind, Wired, check_wiring};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::Place;

/// A component as far as its inputs matter.
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) key: Place,
    pub(crate) inputs: Vec<(String, Place)>,
}

/// Checks all inputs of a pipeline.
pub(crate) fn check(components: &[Consumer], out: &mut Diagnostics) {
    let wired = components.iter().map(|component| Wired {
        id: &component.id,
        kind: component.kind,
        inputs: component.inputs.iter().map(|(input, _)| &**input).collect(),
    });
    let place = |component: usize, input: Option<usize>| {
        let component = &components[component];
        let of_input = input.map(|input| &component.inputs[input].1);
        of_input.unwrap_or(&component.key).clone()
    };
    for problem in check_wiring(&wired.collect::<Vec<_>>()) {
        let at = place(problem.component, problem.input);
        let mut diagnostic = Diagnostic::new(at, problem.message)
            .label(problem.label)
            .hint(problem.hint);
        if let Some((component, input, what)) = problem.also {
            diagnostic = diagnostic.also(place(component, input), what);
        }
        out.push(match problem.is_warning {
            true => diagnostic.warning(),
            false => diagnostic,
        });
    }
}
