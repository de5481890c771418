//! The names of a query's columns, where it gives none with AS.
//!
//! They are what is written: `max(amount)`, `amount * 2`; of a field, its own name: `item.sku` and
//! `item['sku']` give `sku`, and a cast has the name of what is cast. DataFusion would put the whole
//! path to the table, types and functions of its own into them.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SetExpr, Spanned,
    Subscript, TableFactor, TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::tree::{first, is_unnest};

/// Names what is computed, as it is written. Before anything in the text is replaced.
pub(crate) fn texts(query: &mut Query) {
    each_select(query, |select, strict| {
        name(select, strict, |expr| match core(expr) {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
            _ => computed(expr),
        });
    });
}

/// Names fields of columns, which aren't told from columns of tables before the tables' names are
/// settled, and lets names stand beside `unnest` that the columns below have as well.
pub(crate) fn columns(query: &mut Query) {
    each_select(query, |select, strict| {
        let tables = tables(select);
        name(select, strict, |expr| field(expr, &tables));
    });
    let _: ControlFlow<()> = query.visit(&mut Unnests);
}

/// The SELECT whose names come out, then all of them.
fn each_select(query: &mut Query, mut work: impl FnMut(&mut Select, bool)) {
    struct Each<F>(F);
    impl<F: FnMut(&mut Select, bool)> VisitorMut for Each<F> {
        type Break = ();

        fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
            (self.0)(select, false);
            ControlFlow::Continue(())
        }
    }
    if let Some(first) = outermost(&mut query.body) {
        work(first, true);
    }
    let _: ControlFlow<()> = query.visit(&mut Each(work));
}

fn outermost(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => outermost(&mut query.body),
        SetExpr::SetOperation { left, .. } => outermost(left),
        _ => None,
    }
}

/// Gives names to the columns that have none. Two of one name are an error of a query as a whole;
/// within it, where nobody may ask for them, the second stays as it is unless `strict`.
fn name(select: &mut Select, strict: bool, of: impl Fn(&Expr) -> Option<String>) {
    let unnamed = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) => of(expr).is_some(),
        _ => false,
    };
    let named = select.projection.iter().filter(|item| !unnamed(item));
    let named = named.filter_map(given).map(|name| name.value.clone());
    let mut taken: BTreeSet<String> = named.collect();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else {
            continue;
        };
        let Some(name) = of(expr) else {
            continue;
        };
        if !taken.insert(name.clone()) && !strict {
            continue;
        }
        let alias = Ident::with_quote_and_span('"', expr.span(), name);
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

/// The name that a column has already.
fn given(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last(),
        _ => None,
    }
}

/// What stands in brackets or is cast.
fn core(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => core(inner),
        Expr::Cast { expr: inner, .. } => core(inner),
        expr => expr,
    }
}

fn computed(expr: &Expr) -> Option<String> {
    match core(expr) {
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last()? {
            AccessExpr::Subscript(Subscript::Index {
                index: Expr::Value(value),
            }) if matches!(value.value, Value::SingleQuotedString(_)) => {
                value.value.clone().into_string()
            }
            _ => Some(written(expr)),
        },
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.as_slice() {
                [SelectItem::UnnamedExpr(Expr::Identifier(name))] => Some(name.value.clone()),
                [SelectItem::ExprWithAlias { alias, .. }] => Some(alias.value.clone()),
                _ => Some(written(expr)),
            },
            _ => Some(written(expr)),
        },
        _ => Some(written(expr)),
    }
}

/// The text, with the names of functions in lower case.
fn written(expr: &Expr) -> String {
    struct Lower;
    impl VisitorMut for Lower {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Function(call) = expr {
                for part in &mut call.name.0 {
                    if let ObjectNamePart::Identifier(name) = part
                        && name.quote_style.is_none()
                    {
                        name.value = name.value.to_lowercase();
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = match expr {
        Expr::Nested(inner) => inner.as_ref().clone(),
        expr => expr.clone(),
    };
    let _: ControlFlow<()> = VisitMut::visit(&mut expr, &mut Lower);
    expr.to_string()
}

/// The name of a field, or of a column that is cast.
fn field(expr: &Expr, tables: &[Vec<String>]) -> Option<String> {
    let inner = core(expr);
    let name = match inner {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => {
            let (last, path) = names.split_last()?;
            let of_table = tables.iter().any(|table| {
                table.len() >= path.len()
                    && table
                        .iter()
                        .rev()
                        .zip(path.iter().rev())
                        .all(|(one, other)| *one == other.value)
            });
            if of_table && std::ptr::eq(inner, expr) {
                return None;
            }
            last
        }
        _ => return None,
    };
    (!std::ptr::eq(inner, expr) || matches!(inner, Expr::CompoundIdentifier(_)))
        .then(|| name.value.clone())
}

/// What the tables of a SELECT are called.
fn tables(select: &Select) -> Vec<Vec<String>> {
    let mut names = Vec::new();
    for from in &select.from {
        add_joined(from, &mut names);
    }
    names
}

fn add_joined(from: &TableWithJoins, names: &mut Vec<Vec<String>>) {
    let joined = from.joins.iter().map(|join| &join.relation);
    for table in std::iter::once(&from.relation).chain(joined) {
        add(table, names);
    }
}

fn add(table: &TableFactor, names: &mut Vec<Vec<String>>) {
    use TableFactor as T;
    match table {
        T::Table {
            alias: Some(alias), ..
        }
        | T::Derived {
            alias: Some(alias), ..
        }
        | T::Function {
            alias: Some(alias), ..
        }
        | T::UNNEST {
            alias: Some(alias), ..
        }
        | T::NestedJoin {
            alias: Some(alias), ..
        } => names.push(vec![alias.name.value.clone()]),
        T::Table { name, .. } => {
            let parts = name.0.iter().filter_map(ObjectNamePart::as_ident);
            names.push(parts.map(|part| part.value.clone()).collect());
        }
        T::NestedJoin {
            table_with_joins, ..
        } => add_joined(table_with_joins, names),
        // The names of what is read within show through.
        T::Derived { subquery, .. } => {
            if let SetExpr::Select(select) = subquery.body.as_ref() {
                names.extend(tables(select));
            }
        }
        _ => {}
    }
}

/// Puts a SELECT with `unnest` into another one that gives the names.
///
/// DataFusion keeps the columns that are read beside `unnest` where the computed ones have their names
/// already: `upper(id) AS id` has another `id` beside it then.
struct Unnests;

impl VisitorMut for Unnests {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        wrap(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn wrap(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            wrap(left);
            wrap(right);
        }
        SetExpr::Select(select) if hides(select) => {
            if let Some(wrapped) = wrapped(select) {
                *body = wrapped;
            }
        }
        _ => {}
    }
}

/// Whether a name that the SELECT gives is that of a column which it reads beside `unnest`.
fn hides(select: &Select) -> bool {
    let mut unnests = false;
    let mut read = BTreeSet::new();
    for item in &select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return false;
        };
        unnests |= has_unnest(expr);
        let mut names = Columns(BTreeSet::new());
        let _: ControlFlow<()> = expr.visit(&mut names);
        read.extend(names.0);
    }
    let named = select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            !has_unnest(expr) && read.contains(&alias.value)
        }
        _ => false,
    });
    unnests && named
}

struct Columns(BTreeSet<String>);

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => {
                self.0.insert(name.value.clone());
            }
            Expr::CompoundIdentifier(names) => {
                self.0.extend(names.iter().map(|name| name.value.clone()));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn has_unnest(expr: &Expr) -> bool {
    let unnest = first(expr, |expr| match expr {
        Expr::Function(call) if is_unnest(call) => Some(()),
        _ => None,
    });
    unnest.is_some()
}

fn wrapped(select: &mut Select) -> Option<SetExpr> {
    let mut names = Vec::new();
    for item in &select.projection {
        names.push(given(item)?.clone());
    }
    let mut inner = select.clone();
    let mut outer = Vec::new();
    for ((item, alias), at) in inner.projection.iter_mut().zip(names).zip(0..) {
        let hidden = Ident::with_quote('"', format!("__column_{at}"));
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return None;
        };
        let expr = std::mem::replace(expr, Expr::value(Value::Null));
        *item = SelectItem::ExprWithAlias {
            expr,
            alias: hidden.clone(),
        };
        outer.push(SelectItem::ExprWithAlias {
            expr: Expr::Identifier(hidden),
            alias,
        });
    }
    let mut around = Parser::new(&GenericDialect {})
        .try_with_sql("SELECT 1 FROM (SELECT 1)")
        .and_then(|mut parser| parser.parse_query())
        .ok()?;
    let SetExpr::Select(shell) = around.body.as_mut() else {
        return None;
    };
    let TableFactor::Derived { subquery, .. } = &mut shell.from.first_mut()?.relation else {
        return None;
    };
    *subquery.body = SetExpr::Select(Box::new(inner));
    shell.projection = outer;
    Some(*around.body)
}
