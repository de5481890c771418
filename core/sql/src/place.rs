//! Where in a query something stands that DataFusion complains of without saying where.
//!
//! The query's tree knows the places of names and literals. What several places might be meant by,
//! the first stands for.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, ObjectNamePart, Query, Select, SelectItem, Spanned, Visit, Visitor,
    visit_relations, visit_relations_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, Tokenizer};

use crate::table::Table;
use crate::tree::{Place, first, is_unnest, start};

/// Of a call of the function with arguments of these types, as Arrow names them.
pub(crate) fn call(query: &Query, name: &str, types: &[&str], tables: &[Table]) -> Option<Place> {
    first(query, |expr| {
        // What has a syntax of its own has no name in the tree: its first argument stands for it.
        let inner = match (name, expr) {
            ("substr", Expr::Substring { expr, .. })
            | ("ceil", Expr::Ceil { expr, .. })
            | ("floor", Expr::Floor { expr, .. })
            | ("btrim" | "ltrim" | "rtrim", Expr::Trim { expr, .. })
            | ("date_part", Expr::Extract { expr, .. }) => Some(expr),
            _ => None,
        };
        if let Some(inner) = inner {
            return start(inner.span());
        }
        let Expr::Function(call) = expr else {
            return None;
        };
        let [part] = call.name.0.as_slice() else {
            return None;
        };
        let arguments = arguments(&call.args);
        let alike = part.as_ident()?.value.eq_ignore_ascii_case(name)
            && arguments.len() == types.len()
            && arguments
                .iter()
                .zip(types)
                .all(|(argument, data_type)| may_be(argument, data_type, tables));
        alike.then(|| start(part.span())).flatten()
    })
}

fn arguments(arguments: &FunctionArguments) -> Vec<&FunctionArgExpr> {
    let FunctionArguments::List(list) = arguments else {
        return Vec::new();
    };
    list.args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Named { arg, .. }
            | FunctionArg::ExprNamed { arg, .. }
            | FunctionArg::Unnamed(arg) => arg,
        })
        .collect()
}

/// Whether an argument may be of the type: a column of a table isn't of another one.
fn may_be(argument: &FunctionArgExpr, data_type: &str, tables: &[Table]) -> bool {
    match argument {
        FunctionArgExpr::Expr(expr) => operand(expr, data_type, tables),
        _ => true,
    }
}

fn operand(expr: &Expr, data_type: &str, tables: &[Table]) -> bool {
    let name = match expr {
        Expr::Identifier(name) => name,
        Expr::CompoundIdentifier(names) => match names.last() {
            Some(name) => name,
            None => return true,
        },
        _ => return true,
    };
    let mut columns = tables
        .iter()
        .filter_map(|table| table.schema.field_with_name(&name.value).ok())
        .peekable();
    columns.peek().is_none() || columns.any(|column| column.data_type().to_string() == data_type)
}

/// Of an operator between values of these types: where its left side begins.
pub(crate) fn operation(
    query: &Query,
    operator: &str,
    types: [&str; 2],
    tables: &[Table],
) -> Option<Place> {
    first(query, |expr| {
        let Expr::BinaryOp { left, op, right } = expr else {
            return None;
        };
        let alike = match op {
            // DataFusion's name is the other one.
            BinaryOperator::NotEq => operator == "!=",
            op => op.to_string() == operator,
        };
        let alike = alike && operand(left, types[0], tables) && operand(right, types[1], tables);
        alike.then(|| start(left.span())).flatten()
    })
}

/// Of a type's name, or else of what is to become of it.
pub(crate) fn type_name(query: &Query, name: &str) -> Option<Place> {
    first(query, |expr| {
        let Expr::Cast {
            expr, data_type, ..
        } = expr
        else {
            return None;
        };
        if let Some(custom) = custom(data_type) {
            return (custom.to_string() == name || data_type.to_string() == name)
                .then(|| start(custom.span()))
                .flatten();
        }
        (data_type.to_string() == name)
            .then(|| start(expr.span()))
            .flatten()
    })
}

/// The name in a type that SQL doesn't know.
fn custom(data_type: &DataType) -> Option<&ObjectName> {
    use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Items;
    match data_type {
        DataType::Custom(name, _) => Some(name),
        DataType::Array(
            Items::AngleBracket(items) | Items::SquareBracket(items, _) | Items::Parenthesis(items),
        ) => custom(items),
        _ => None,
    }
}

/// Of a LIMIT or OFFSET that is this number, or of any.
pub(crate) fn limit(query: &Query, number: Option<&str>) -> Option<Place> {
    struct Limits<'a>(Option<&'a str>);
    impl Visitor for Limits<'_> {
        type Break = Place;

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Place> {
            let of_clause: Vec<&Expr> = match &query.limit_clause {
                Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                    let offset = offset.as_ref().map(|offset| &offset.value);
                    limit.as_ref().into_iter().chain(offset).collect()
                }
                Some(LimitClause::OffsetCommaLimit { offset, limit }) => vec![offset, limit],
                None => Vec::new(),
            };
            let fetch = query
                .fetch
                .as_ref()
                .and_then(|fetch| fetch.quantity.as_ref());
            let found = of_clause
                .into_iter()
                .chain(fetch)
                .find(|expr| self.0.is_none_or(|number| expr.to_string() == number))
                .and_then(|expr| start(expr.span()));
            found.map_or(ControlFlow::Continue(()), ControlFlow::Break)
        }
    }
    match query.visit(&mut Limits(number)) {
        ControlFlow::Break(place) => Some(place),
        ControlFlow::Continue(()) => None,
    }
}

/// Of the first `unnest` of a column that is no list: the column's place, name and type.
pub(crate) fn unnested(
    query: &Query,
    tables: &[Table],
) -> Option<(Option<Place>, String, arrow_schema::DataType)> {
    first(query, |expr| {
        let call = match expr {
            Expr::Function(call) if is_unnest(call) => call,
            _ => return None,
        };
        let [FunctionArgExpr::Expr(argument)] = arguments(&call.args)[..] else {
            return None;
        };
        let last = match argument {
            Expr::Identifier(last) => last,
            Expr::CompoundIdentifier(names) => names.last()?,
            _ => return None,
        };
        let columns = tables
            .iter()
            .filter_map(|table| table.schema.field_with_name(&last.value).ok());
        let mut types = columns.map(|column| column.data_type());
        let flat = types.find(|of| !of.is_nested())?;
        Some((start(argument.span()), argument.to_string(), flat.clone()))
    })
}

/// Of a column's name.
pub(crate) fn column(query: &Query, name: &str) -> Option<Place> {
    first(query, |expr| {
        let last = match expr {
            Expr::Identifier(last) => last,
            Expr::CompoundIdentifier(names) => names.last()?,
            _ => return None,
        };
        (last.value == name).then(|| start(expr.span())).flatten()
    })
}

/// Of the second of two columns that one SELECT gives the same name; and that name as the query
/// has it. `name` is what DataFusion calls it, which needn't be what stands in the query, unless
/// it is `exact`.
pub(crate) fn second(query: &Query, name: &str, exact: bool) -> Option<(Place, String)> {
    struct Columns<'a> {
        name: &'a str,
        /// Whether any name will do that is there twice.
        any: bool,
    }
    impl Visitor for Columns<'_> {
        type Break = (Place, String);

        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
            let items = &select.projection;
            let open = items.iter().any(|item| given(item).is_none());
            let mut seen: Vec<String> = Vec::new();
            for item in items {
                let Some((name, place)) = given(item) else {
                    continue;
                };
                let asked = name.eq_ignore_ascii_case(self.name);
                let twice = seen.contains(&name) && (asked || self.any);
                if let Some(place) = place
                    && (twice || (asked && open && !self.any))
                {
                    return ControlFlow::Break((place, name));
                }
                seen.push(name);
            }
            ControlFlow::Continue(())
        }
    }
    let tries: &[bool] = if exact { &[false] } else { &[false, true] };
    tries
        .iter()
        .copied()
        .find_map(|any| match query.visit(&mut Columns { name, any }) {
            ControlFlow::Break(found) => Some(found),
            ControlFlow::Continue(()) => None,
        })
}

/// The name that an item of a SELECT gives its column, and where it stands; `None` for `*`.
fn given(item: &SelectItem) -> Option<(String, Option<Place>)> {
    let named = |name: &Ident| (name.value.clone(), start(name.span));
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(named(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(named(name)),
        SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(names)) => {
            let (name, _) = named(names.last()?);
            Some((name, start(expr.span())))
        }
        SelectItem::UnnamedExpr(expr) => Some((expr.to_string(), start(expr.span()))),
        _ => None,
    }
}

/// Of a table's name.
pub(crate) fn table(query: &Query, name: &str) -> Option<Place> {
    let found = visit_relations(query, |relation| {
        let parts: Vec<_> = relation
            .0
            .iter()
            .map(|part| match part.as_ident() {
                Some(ident) => ident.value.clone(),
                None => part.to_string(),
            })
            .collect();
        match start(relation.span()).filter(|_| parts.join(".") == name) {
            Some(place) => ControlFlow::Break(place),
            None => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(place) => Some(place),
        ControlFlow::Continue(()) => None,
    }
}

/// Gives tables that are named in single quotes their place, which the parser leaves out.
pub(crate) fn mark_quoted_tables(query: &mut Query, sql: &str) {
    let unmarked = |name: &Ident| name.quote_style == Some('\'') && name.span.start.line == 0;
    let mut names = Vec::new();
    let _: ControlFlow<()> = visit_relations(query, |relation| {
        names.extend(
            relation
                .0
                .iter()
                .filter_map(ObjectNamePart::as_ident)
                .cloned(),
        );
        ControlFlow::Continue(())
    });
    if !names.iter().any(unmarked) {
        return;
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
    let tokens = tokens.unwrap_or_default();
    let words = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    // A text behind anything else is a value.
    let mut quoted: Vec<(&str, Span)> = words
        .clone()
        .zip(words.skip(1))
        .filter(|(before, _)| match &before.token {
            Token::Word(word) => matches!(word.keyword, Keyword::FROM | Keyword::JOIN),
            before => *before == Token::Comma,
        })
        .filter_map(|(_, token)| match &token.token {
            Token::SingleQuotedString(text) => Some((text.as_str(), token.span)),
            _ => None,
        })
        .collect();
    let _: ControlFlow<()> = visit_relations_mut(query, |relation| {
        for part in &mut relation.0 {
            if let ObjectNamePart::Identifier(name) = part
                && unmarked(name)
                && let Some(at) = quoted.iter().position(|(text, _)| *text == name.value)
            {
                (_, name.span) = quoted.remove(at);
            }
        }
        ControlFlow::Continue(())
    });
}
