//! Query texts: one SELECT, nothing else.

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use tidegate_core::{Error, Result};

use crate::error::{END, planning};

/// Reads a query without looking at tables. Errors: `Config`, with `line` and
/// `column` (from 1, within the text) where they are known.
pub fn parse(sql: &str) -> Result<()> {
    statement(sql).map(|_| ())
}

pub(crate) fn statement(sql: &str) -> Result<Query> {
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| at_the_end(planning(&error, &[]), sql))?;
    let first = statements.pop_front();
    if !statements.is_empty() {
        return Err(Error::config(format!(
            "the query has {} statements instead of one",
            statements.len() + 1
        ))
        .hint("a later step can go into a transform of its own, with this one as its input"));
    }
    match first {
        None => Err(Error::config("the query is empty")),
        Some(Statement::Statement(statement)) => match *statement {
            Sql::Query(query) if reads_only(&query.body) => Ok(*query),
            other => Err(refused(&other.to_string())),
        },
        Some(other) => Err(refused(&other.to_string())),
    }
}

/// With the place that the parser leaves out: where the query ends too early.
fn at_the_end(error: Error, sql: &str) -> Error {
    if !error.context().is_empty() || !error.message().ends_with(END) {
        return error;
    }
    let text = sql.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    error
        .with("line", text.matches('\n').count() + 1)
        .with("column", last.chars().count() + 1)
}

/// Whether it is no INSERT, UPDATE or the like behind a WITH, and no SELECT … INTO.
fn reads_only(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => reads_only(left) && reads_only(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

fn refused(statement: &str) -> Error {
    let verb = statement.split_whitespace().next().unwrap_or_default();
    Error::config(format!(
        "a query reads: it is one SELECT, perhaps after WITH, and not `{verb}`"
    ))
    .hint("what is to be done with the rows is said by the pipeline's sinks")
}
