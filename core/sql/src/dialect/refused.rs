//! What DataFusion takes, and answers wrongly: otherwise than SQL says, or as if a part of the query
//! weren't there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, Join,
    JoinConstraint, JoinOperator, LimitClause, ObjectName, OrderBy, OrderByKind, Query, Select,
    SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, TopQuantity, Value, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use tidegate_core::{Error, Result};

use crate::tree::{Place, first, start};

/// Refuses what would give another answer than SQL says. Errors: `Config`, with `line` and `column`
/// where they are known.
pub(crate) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Refuse) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(refused) => {
            let error = Error::config(refused.message).hint(refused.hint);
            Err(match refused.place {
                Some((line, column)) => error.with("line", line).with("column", column),
                None => error,
            })
        }
    }
}

struct Refused {
    message: String,
    hint: String,
    place: Option<Place>,
}

fn refuse(what: &str, hint: &str) -> ControlFlow<Refused> {
    refuse_at(what, hint, Span::empty())
}

fn refuse_at(what: &str, hint: &str, span: Span) -> ControlFlow<Refused> {
    ControlFlow::Break(Refused {
        message: format!("{what} isn't supported"),
        hint: hint.to_owned(),
        place: start(span),
    })
}

struct Refuse;

impl Visitor for Refuse {
    type Break = Refused;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refused> {
        clauses(query)?;
        if let Some(order) = &query.order_by {
            ordered(order)?;
        }
        body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Refused> {
        selected(select)
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<Refused> {
        read(table)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refused> {
        match expr {
            // It becomes a regular expression, which may match anywhere.
            Expr::SimilarTo { expr, .. } => refuse_at(
                "SIMILAR TO",
                "write `x ~ '^(…)$'`, a regular expression, or LIKE",
                expr.span(),
            ),
            Expr::Function(call) => called(call),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Clauses of a whole query, most of which DataFusion ignores.
fn clauses(query: &Query) -> ControlFlow<Refused> {
    if let Some(lock) = query.locks.first() {
        return refuse(&lock.to_string(), "leave it out: a query locks nothing");
    }
    if query.for_clause.is_some() {
        return refuse(
            "FOR XML or FOR JSON",
            "leave it out: the sink chooses the format",
        );
    }
    if query.settings.is_some() {
        return refuse("SETTINGS", "leave it out");
    }
    if query.format_clause.is_some() {
        return refuse(
            "FORMAT",
            "leave it out: the sink, or `--format`, chooses the format",
        );
    }
    if query.fetch.is_some() {
        return refuse(
            "FETCH with LIMIT, PERCENT or WITH TIES",
            "write LIMIT behind ORDER BY",
        );
    }
    if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
        && let Some(by) = limit_by.first()
    {
        return refuse_at(
            "LIMIT … BY",
            "number the rows (`row_number() OVER (PARTITION BY …)`), and filter by that number",
            by.span(),
        );
    }
    ControlFlow::Continue(())
}

fn ordered(order: &OrderBy) -> ControlFlow<Refused> {
    if order.interpolate.is_some() {
        return refuse("INTERPOLATE", "leave it out");
    }
    if let OrderByKind::Expressions(keys) = &order.kind
        && let Some(filled) = keys.iter().find(|key| key.with_fill.is_some())
    {
        let hint = "join the rows with `generate_series(…)`, which has those that are missing";
        return refuse_at("WITH FILL", hint, filled.expr.span());
    }
    ControlFlow::Continue(())
}

/// Clauses of a SELECT. DataFusion ignores most of them.
fn selected(select: &Select) -> ControlFlow<Refused> {
    if let Some(top) = &select.top {
        let rows = match &top.quantity {
            Some(TopQuantity::Expr(rows)) => rows.to_string(),
            Some(TopQuantity::Constant(rows)) => rows.to_string(),
            None => "…".to_owned(),
        };
        let rows = rows.trim_matches(['(', ')']);
        return refuse(
            "TOP",
            &format!("write `LIMIT {rows}` at the end of the query"),
        );
    }
    if let Some(modifiers) = &select.select_modifiers {
        return refuse(modifiers.to_string().trim(), "leave it out");
    }
    if select.exclude.is_some() {
        return refuse(
            "EXCLUDE behind other columns",
            "write `SELECT * EXCLUDE (…)`",
        );
    }
    if let Some(condition) = &select.prewhere {
        return refuse_at("PREWHERE", "write WHERE", condition.span());
    }
    if !select.connect_by.is_empty() {
        return refuse("CONNECT BY", "write `WITH RECURSIVE`");
    }
    if select.value_table_mode.is_some() {
        return refuse(
            "SELECT AS STRUCT or AS VALUE",
            "write `named_struct('name', …)`",
        );
    }
    let (GroupByExpr::Expressions(_, modifiers) | GroupByExpr::All(modifiers)) = &select.group_by;
    if let Some(modifier) = modifiers.first() {
        return refuse(
            &format!("GROUP BY … {modifier}"),
            "write `GROUP BY ROLLUP (…)`, `CUBE (…)` or `GROUPING SETS (…)`",
        );
    }
    ControlFlow::Continue(())
}

/// What stands behind a table. DataFusion ignores it.
fn read(table: &TableFactor) -> ControlFlow<Refused> {
    let sampled = "write `WHERE random() < 0.1` for about a tenth of the rows, or LIMIT";
    match table {
        TableFactor::Table {
            name,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
            ..
        } => {
            let span = name.span();
            if sample.is_some() {
                return refuse_at("TABLESAMPLE", sampled, span);
            }
            if let Some(version) = version {
                let hint = "a table is read as it is now";
                return refuse_at(&format!("`{version}`"), hint, span);
            }
            if !with_hints.is_empty() || !index_hints.is_empty() {
                return refuse_at("a hint behind a table", "leave it out", span);
            }
            if !partitions.is_empty() {
                let hint = "a condition on the partition columns reads only those partitions";
                return refuse_at("PARTITION (…) behind a table", hint, span);
            }
            if *with_ordinality {
                return no_ordinality(span);
            }
            if json_path.is_some() {
                return refuse_at("a path behind a table", "select the field", span);
            }
            match args {
                Some(args) => table_function(name, &args.args),
                None => ControlFlow::Continue(()),
            }
        }
        TableFactor::Derived {
            sample: Some(_),
            subquery,
            ..
        } => refuse_at("TABLESAMPLE", sampled, subquery.span()),
        TableFactor::Function {
            name,
            args,
            with_ordinality,
            ..
        } => match with_ordinality {
            true => no_ordinality(name.span()),
            false => table_function(name, args),
        },
        TableFactor::UNNEST {
            array_exprs,
            with_ordinality,
            ..
        } => {
            let of_columns = array_exprs.iter().find(|expr| names_column(expr));
            match of_columns {
                Some(expr) => refuse_at(
                    "unnest of a column in FROM",
                    &format!("write it behind SELECT: `SELECT …, unnest({expr}) AS item FROM …`"),
                    expr.span(),
                ),
                None if *with_ordinality => no_ordinality(table.span()),
                None => ControlFlow::Continue(()),
            }
        }
        TableFactor::Pivot { .. } => {
            refuse("PIVOT", "write `sum(x) FILTER (WHERE …)` for each column")
        }
        TableFactor::Unpivot { .. } => {
            refuse("UNPIVOT", "put one SELECT a column together by UNION ALL")
        }
        TableFactor::JsonTable { .. } | TableFactor::OpenJsonTable { .. } => refuse(
            "JSON_TABLE",
            "a `json` transform makes columns of a text that holds JSON",
        ),
        _ => ControlFlow::Continue(()),
    }
}

fn no_ordinality(span: Span) -> ControlFlow<Refused> {
    let hint = "number the rows: `row_number() OVER (ORDER BY …)`";
    refuse_at("WITH ORDINALITY", hint, span)
}

/// Readers of files that other engines have.
fn table_function(name: &ObjectName, args: &[FunctionArg]) -> ControlFlow<Refused> {
    let function = name.to_string().to_lowercase();
    let reads = ["read_", "scan_"]
        .iter()
        .any(|verb| function.starts_with(verb))
        || ["_scan", "parquet_metadata"]
            .iter()
            .any(|end| function.ends_with(end));
    if !reads {
        return ControlFlow::Continue(());
    }
    let path = args.iter().find_map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(path) => Some(path.as_str()),
            _ => None,
        },
        _ => None,
    });
    ControlFlow::Break(Refused {
        message: format!("no table function `{function}`"),
        hint: format!(
            "a path in quotes is a table in `tidegate query`: `FROM '{}'`; a pipeline reads files \
             with a source of type `files`",
            path.unwrap_or("orders.csv")
        ),
        place: start(name.span()),
    })
}

/// Whether an expression names a column anywhere.
fn names_column(expr: &Expr) -> bool {
    let column = first(expr, |expr| match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Some(()),
        _ => None,
    });
    column.is_some()
}

/// Calls that can't be meant as they are written.
fn called(call: &Function) -> ControlFlow<Refused> {
    if call.parameters != FunctionArguments::None {
        return refuse_at(
            "a function with two lists of arguments",
            "write one",
            call.name.span(),
        );
    }
    let FunctionArguments::List(list) = &call.args else {
        return ControlFlow::Continue(());
    };
    let [part] = call.name.0.as_slice() else {
        return ControlFlow::Continue(());
    };
    let name = part
        .as_ident()
        .map(|name: &Ident| name.value.to_lowercase());
    let is_text = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => {
            matches!(value.value, Value::SingleQuotedString(_))
        }
        _ => false,
    };
    if let (Some("date_trunc" | "datetrunc" | "date_part" | "datepart"), [first, second]) =
        (name.as_deref(), list.args.as_slice())
        && is_text(second)
        && !is_text(first)
    {
        let name = part.to_string();
        return ControlFlow::Break(Refused {
            message: format!("`{name}` takes the unit first, then the time"),
            hint: format!("write `{name}({second}, {first})`"),
            place: start(part.span()),
        });
    }
    ControlFlow::Continue(())
}

fn body(expr: &SetExpr) -> ControlFlow<Refused> {
    match expr {
        SetExpr::SetOperation {
            op,
            set_quantifier,
            left,
            right,
        } => {
            // They become joins, which keep or drop all rows that are equal.
            let all = matches!(
                set_quantifier,
                SetQuantifier::All | SetQuantifier::AllByName
            );
            if all && *op != SetOperator::Union {
                return refuse(
                    &format!("{op} ALL"),
                    "number rows that are equal (`row_number() OVER (PARTITION BY …)`) on both \
                     sides, and leave ALL out",
                );
            }
            body(left)?;
            body(right)
        }
        SetExpr::Select(select) => select
            .from
            .iter()
            .flat_map(|from| &from.joins)
            .try_for_each(join),
        // A query in brackets is visited by itself.
        _ => ControlFlow::Continue(()),
    }
}

/// The one column that USING makes of two has the left side's value, also where there is none.
fn join(join: &Join) -> ControlFlow<Refused> {
    if join.global {
        return refuse_at("GLOBAL JOIN", "leave GLOBAL out", join.relation.span());
    }
    let (kind, constraint) = match &join.join_operator {
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            ("RIGHT", constraint)
        }
        JoinOperator::FullOuter(constraint) => ("FULL", constraint),
        _ => return ControlFlow::Continue(()),
    };
    match constraint {
        JoinConstraint::Using(_) => refuse(
            &format!("{kind} JOIN … USING"),
            "write `ON a.k = b.k`, and `coalesce(a.k, b.k) AS k` for the column",
        ),
        JoinConstraint::Natural => refuse(
            &format!("NATURAL {kind} JOIN"),
            "write `ON a.k = b.k`, and `coalesce(a.k, b.k) AS k` for each column",
        ),
        _ => ControlFlow::Continue(()),
    }
}
