//! Fields behind a dot, however the parser reads them.
//!
//! `items[1].sku`, `unnest(items).sku` and `user.id` are accesses with a dot that DataFusion takes only
//! with a text behind it, and `user` is a function to the parser: in standard SQL it stands for who
//! is connected.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArguments, Ident, Query, Subscript, Value, VisitMut,
    VisitorMut,
};

/// Words that the parser takes for functions without brackets, and that are names here.
const WORDS: [&str; 4] = ["user", "current_user", "session_user", "current_role"];

/// Writes accesses with a dot in the way that DataFusion takes.
pub(crate) fn settle(query: &mut Query) {
    let _: ControlFlow<()> = query.visit(&mut Settle);
}

struct Settle;

impl VisitorMut for Settle {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(word) = word(expr) {
            *expr = Expr::Identifier(word);
            return ControlFlow::Continue(());
        }
        let Expr::CompoundFieldAccess { root, access_chain } = expr else {
            return ControlFlow::Continue(());
        };
        let mut chain = std::mem::take(access_chain).into_iter().peekable();
        let mut names = match std::mem::replace(root.as_mut(), Expr::value(Value::Null)) {
            Expr::Identifier(name) => vec![name],
            Expr::CompoundIdentifier(names) => names,
            other => {
                **root = other;
                Vec::new()
            }
        };
        if !names.is_empty() {
            while let Some(AccessExpr::Dot(Expr::Identifier(_))) = chain.peek() {
                if let Some(AccessExpr::Dot(Expr::Identifier(name))) = chain.next() {
                    names.push(name);
                }
            }
            **root = match names.len() {
                1 => Expr::Identifier(names.remove(0)),
                _ => Expr::CompoundIdentifier(names),
            };
        }
        let chain: Vec<AccessExpr> = chain
            .map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(field)) => field_of(&field),
                access => access,
            })
            .collect();
        match chain.is_empty() {
            true => *expr = std::mem::replace(root.as_mut(), Expr::value(Value::Null)),
            false => *access_chain = chain,
        }
        ControlFlow::Continue(())
    }
}

fn field_of(name: &Ident) -> AccessExpr {
    let field = Value::SingleQuotedString(name.value.clone()).with_span(name.span);
    let index = Expr::Value(field);
    AccessExpr::Subscript(Subscript::Index { index })
}

fn word(expr: &Expr) -> Option<Ident> {
    let Expr::Function(Function {
        name,
        args: FunctionArguments::None,
        over: None,
        ..
    }) = expr
    else {
        return None;
    };
    let [part] = name.0.as_slice() else {
        return None;
    };
    let word = part.as_ident()?;
    let known = WORDS
        .iter()
        .any(|known| word.value.eq_ignore_ascii_case(known));
    known.then(|| word.clone())
}
