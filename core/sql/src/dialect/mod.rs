//! What queries mean here, where that differs from DataFusion: which type values of different types
//! have together, what the names of types and `now()` stand for, which of floating-point numbers is
//! the greatest, and that what grows beyond its type is an error.
//!
//! ```text
//! text ── literals ──> AST ── types, now ──> plan ── coercion ──> plan with one type a comparison
//!      refused, recursion                              arithmetic, casts: functions that are checked
//! ```
//!
//! Functions and aggregates of DataFusion's are replaced by their names (`functions`, `aggregates`).

mod aggregates;
mod arithmetic;
mod calendar;
mod casts;
mod coercion;
mod common;
mod constants;
mod extremes;
mod functions;
mod large;
mod lists;
mod literals;
mod moments;
mod moving;
mod nested;
mod now;
mod order;
mod recursion;
mod refused;
mod summaries;
mod sums;
mod truncate;
mod types;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::optimizer::Analyzer;

pub(crate) use literals::settle as settle_literals;
pub(crate) use recursion::bracket as bracket_recursion;
pub(crate) use refused::check as check_meaning;
pub(crate) use types::UTC;

/// A builder of sessions with the dialect.
pub(crate) fn with_dialect(builder: SessionStateBuilder) -> SessionStateBuilder {
    let rules = Analyzer::new().rules.into_iter();
    let rules = rules.map(|rule| match rule.name() {
        "type_coercion" => Arc::new(coercion::Coercion) as _,
        _ => rule,
    });
    let mut builder = builder
        .with_default_features()
        .with_analyzer_rules(rules.collect())
        .with_type_planner(Arc::new(types::Types));
    let functions = builder.scalar_functions().get_or_insert_default();
    functions.push(Arc::new(ScalarUDF::from(now::Now::default())));
    functions.extend(functions::functions());
    let functions = builder.aggregate_functions().get_or_insert_default();
    functions.extend(aggregates::functions());
    builder
}
