//! What DataFusion takes, and answers wrongly.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, Query, SetExpr, SetOperator, SetQuantifier, Visit,
    Visitor,
};
use tidegate_core::{Error, Result};

/// Refuses what would give another answer than SQL says. Errors: `Config`.
pub(crate) fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Refuse) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((what, hint)) => {
            Err(Error::config(format!("{what} isn't supported")).hint(hint))
        }
    }
}

type Refused = (String, &'static str);

struct Refuse;

impl Visitor for Refuse {
    type Break = Refused;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refused> {
        body(&query.body)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refused> {
        match expr {
            // It becomes a regular expression, which may match anywhere.
            Expr::SimilarTo { .. } => ControlFlow::Break((
                "SIMILAR TO".to_owned(),
                "write `x ~ '^(…)$'`, a regular expression, or LIKE",
            )),
            _ => ControlFlow::Continue(()),
        }
    }
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
                return ControlFlow::Break((
                    format!("{op} ALL"),
                    "number rows that are equal (`row_number() OVER (PARTITION BY …)`) on both \
                     sides, and leave ALL out",
                ));
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
    let (kind, constraint) = match &join.join_operator {
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            ("RIGHT", constraint)
        }
        JoinOperator::FullOuter(constraint) => ("FULL", constraint),
        _ => return ControlFlow::Continue(()),
    };
    match constraint {
        JoinConstraint::Using(_) => ControlFlow::Break((
            format!("{kind} JOIN … USING"),
            "write `ON a.k = b.k`, and `coalesce(a.k, b.k) AS k` for the column",
        )),
        JoinConstraint::Natural => ControlFlow::Break((
            format!("NATURAL {kind} JOIN"),
            "write `ON a.k = b.k`, and `coalesce(a.k, b.k) AS k` for each column",
        )),
        _ => ControlFlow::Continue(()),
    }
}
