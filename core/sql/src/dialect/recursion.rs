//! Recursive queries: what the recursive part gives has to fit what the start gave.
//!
//! DataFusion casts it to the types of the start without a word, so that `v * 1.05` stays 10 for
//! ever where `v` started as 10. A cast in the plan doesn't tell who wrote it. Therefore the
//! recursive part of each query is put into brackets before it is planned,
//! `SELECT * FROM (…) AS name`: what is cast outside of them was cast by DataFusion.

use std::ops::ControlFlow;

use arrow_schema::{DataType, Field};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Diagnostic, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, RecursiveQuery};

use datafusion::sql::sqlparser::ast::{
    Cte, Query, SetExpr, SetOperator, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Puts the recursive parts of a query into brackets.
pub(crate) fn bracket(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Bracket);
}

struct Bracket;

impl VisitorMut for Bracket {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &mut query.with
            && with.recursive
        {
            with.cte_tables.iter_mut().for_each(bracket_recursion);
        }
        ControlFlow::Continue(())
    }
}

fn bracket_recursion(table: &mut Cte) {
    if let SetExpr::SetOperation {
        op: SetOperator::Union,
        right,
        ..
    } = table.query.body.as_mut()
        && let Some(mut brackets) = brackets()
        && let SetExpr::Select(select) = brackets.body.as_mut()
        && let [from] = &mut *select.from
        && let TableFactor::Derived {
            subquery,
            alias: Some(alias),
            ..
        } = &mut from.relation
    {
        alias.name = table.alias.name.clone();
        std::mem::swap(&mut subquery.body, right);
        *right = brackets.body;
    }
}

fn brackets() -> Option<Box<Query>> {
    let parser = Parser::new(&GenericDialect {});
    let parser = parser.try_with_sql("SELECT * FROM (SELECT 1) AS name");
    parser.ok()?.parse_query().ok()
}

/// Refuses a plan in which what a recursive part gives would change as it becomes what the start
/// gave.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::RecursiveQuery(query) = node {
            check_recursion(query)?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_recursion(query: &RecursiveQuery) -> Result<()> {
    let LogicalPlan::Projection(cast) = query.recursive_term.as_ref() else {
        return Ok(());
    };
    let LogicalPlan::SubqueryAlias(brackets) = cast.input.as_ref() else {
        return Ok(());
    };
    if brackets.alias != TableReference::bare(query.name.as_str()) {
        return Ok(());
    }
    for (expr, start) in cast.expr.iter().zip(query.static_term.schema().fields()) {
        if let Expr::Cast(cast) = expr.clone().unalias() {
            let given = cast.expr.get_type(&brackets.schema)?;
            if !keeps(&given, start.data_type()) {
                return Err(refused(&query.name, start, &given));
            }
        }
    }
    Ok(())
}

fn refused(query: &str, start: &Field, given: &DataType) -> DataFusionError {
    let (name, start) = (start.name(), start.data_type());
    let message = format!(
        "`{name}` of the recursive `{query}` starts as {start}, but its recursive part gives {given}"
    );
    let hint = "cast both to one type, where it starts and in the recursive part: \
                `CAST(… AS DOUBLE)`";
    let told = Diagnostic::new_error(&message, None).with_help(hint, None);
    DataFusionError::Plan(message).with_diagnostic(told)
}

/// Whether each value of `given` is the same as one of `held`, or else an error when the query
/// runs.
fn keeps(given: &DataType, held: &DataType) -> bool {
    use DataType as T;
    match (given, held) {
        (T::Null, _) => true,
        (T::Dictionary(_, given), held) => keeps(given, held),
        (given, T::Dictionary(_, held)) => keeps(given, held),
        (T::List(given) | T::LargeList(given), T::List(held) | T::LargeList(held)) => {
            keeps(given.data_type(), held.data_type())
        }
        (T::Struct(given), T::Struct(held)) => {
            let mut fields = given.iter().zip(held);
            given.len() == held.len()
                && fields.all(|(given, held)| {
                    given.name() == held.name() && keeps(given.data_type(), held.data_type())
                })
        }
        (T::Timestamp(given, zone), T::Timestamp(held, other)) => {
            given <= held && zone.is_some() == other.is_some()
        }
        (T::Date32, T::Timestamp(_, None)) => true,
        (given, held) if held.is_string() => !given.is_nested() && !given.is_binary(),
        (given, held) if held.is_binary() => given.is_binary(),
        (given, T::Float64) => given.is_numeric(),
        (T::Int8 | T::Int16 | T::UInt8 | T::UInt16 | T::Float16, T::Float32) => true,
        (given, held) => {
            let behind = digits_behind(given).zip(digits_behind(held));
            given == held || behind.is_some_and(|(given, held)| given <= held)
        }
    }
}

/// The digits that a number has behind its point, if that is known.
fn digits_behind(data_type: &DataType) -> Option<i8> {
    use DataType as T;
    match data_type {
        T::Decimal32(_, scale)
        | T::Decimal64(_, scale)
        | T::Decimal128(_, scale)
        | T::Decimal256(_, scale) => Some(*scale),
        other => other.is_integer().then_some(0),
    }
}
