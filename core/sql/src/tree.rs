//! A query's tree: what its expressions are searched for, and where they stand in the text.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Function, Visit, visit_expressions};
use datafusion::sql::sqlparser::tokenizer::Span;

/// A line and a column in a query's text, from 1.
pub(crate) type Place = (u64, u64);

/// Where something begins; `None` if the parser doesn't know.
pub(crate) fn start(span: Span) -> Option<Place> {
    let start = span.start;
    (start.line > 0).then_some((start.line, start.column))
}

/// What `find` gives of the first expression of which it gives anything.
pub(crate) fn first<T>(within: &impl Visit, mut find: impl FnMut(&Expr) -> Option<T>) -> Option<T> {
    let found = visit_expressions(within, |expr| match find(expr) {
        Some(found) => ControlFlow::Break(found),
        None => ControlFlow::Continue(()),
    });
    found.break_value()
}

/// Whether it is a call of `unnest`, of either kind.
pub(crate) fn is_unnest(call: &Function) -> bool {
    let name = call.name.to_string().to_lowercase();
    matches!(name.as_str(), "unnest" | "unnest_outer")
}
