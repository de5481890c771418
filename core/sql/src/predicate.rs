//! Conditions of a plan that are simple enough for a source.

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;
use tidegate_core::{Comparison, Literal, Predicate};

/// The parts of a condition, joined by AND, that any source understands. The others are left out:
/// predicates are offers, and the plan applies all of them again.
pub(crate) fn predicates(condition: &Expr) -> Vec<Predicate> {
    split_conjunction(condition)
        .into_iter()
        .flat_map(|part| simple(part).unwrap_or_default())
        .collect()
}

fn simple(expr: &Expr) -> Option<Vec<Predicate>> {
    let one = match expr {
        Expr::Column(column) => compare(column.name.clone(), Comparison::Eq, Literal::Bool(true)),
        Expr::Not(inner) => compare(column(inner)?, Comparison::Eq, Literal::Bool(false)),
        Expr::IsNull(inner) => Predicate::IsNull(column(inner)?),
        Expr::IsNotNull(inner) => Predicate::IsNotNull(column(inner)?),
        Expr::Between(Between {
            expr,
            negated: false,
            low,
            high,
        }) => {
            let column = column(expr)?;
            return Some(vec![
                compare(column.clone(), Comparison::GtEq, literal(low)?),
                compare(column, Comparison::LtEq, literal(high)?),
            ]);
        }
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) => Predicate::In {
            column: column(expr)?,
            values: list.iter().map(literal).collect::<Option<_>>()?,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            // The optimiser writes short IN lists as `a = 1 OR a = 2`.
            let (column, mut values) = equals(left)?;
            let (other, more) = equals(right)?;
            if column != other {
                return None;
            }
            values.extend(more);
            Predicate::In { column, values }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match column(left) {
            Some(column) => compare(column, comparison(*op)?, literal(right)?),
            None => compare(column(right)?, comparison(op.swap()?)?, literal(left)?),
        },
        _ => return None,
    };
    Some(vec![one])
}

/// A column, and the constants that it may equal.
fn equals(expr: &Expr) -> Option<(String, Vec<Literal>)> {
    match simple(expr)?.pop()? {
        Predicate::Compare {
            column,
            op: Comparison::Eq,
            value,
        } => Some((column, vec![value])),
        Predicate::In { column, values } => Some((column, values)),
        _ => None,
    }
}

fn compare(column: String, op: Comparison, value: Literal) -> Predicate {
    Predicate::Compare { column, op, value }
}

fn column(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) => Some(column.name.clone()),
        _ => None,
    }
}

fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Eq,
        Operator::NotEq => Comparison::NotEq,
        Operator::Lt => Comparison::Lt,
        Operator::LtEq => Comparison::LtEq,
        Operator::Gt => Comparison::Gt,
        Operator::GtEq => Comparison::GtEq,
        _ => return None,
    })
}

fn literal(expr: &Expr) -> Option<Literal> {
    match expr {
        Expr::Literal(value, _) => constant(value),
        _ => None,
    }
}

/// The constant, where [`Literal`] can hold it exactly.
fn constant(value: &ScalarValue) -> Option<Literal> {
    use ScalarValue as S;
    Some(match value {
        S::Boolean(Some(v)) => Literal::Bool(*v),
        S::Int8(Some(v)) => Literal::Int((*v).into()),
        S::Int16(Some(v)) => Literal::Int((*v).into()),
        S::Int32(Some(v)) => Literal::Int((*v).into()),
        S::Int64(Some(v)) => Literal::Int(*v),
        S::UInt8(Some(v)) => Literal::Int((*v).into()),
        S::UInt16(Some(v)) => Literal::Int((*v).into()),
        S::UInt32(Some(v)) => Literal::Int((*v).into()),
        S::UInt64(Some(v)) => i64::try_from(*v).map_or(Literal::UInt(*v), Literal::Int),
        S::Float32(Some(v)) if v.is_finite() => Literal::Float((*v).into()),
        S::Float64(Some(v)) if v.is_finite() => Literal::Float(*v),
        S::Decimal128(Some(v), _, scale) => {
            let unit = 10_i128.checked_pow(u32::try_from(*scale).ok()?)?;
            if v % unit != 0 {
                return None;
            }
            Literal::Int(i64::try_from(v / unit).ok()?)
        }
        S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => Literal::Text(v.clone()),
        S::Date32(Some(v)) => Literal::Date(*v),
        S::TimestampSecond(Some(v), _) => Literal::Timestamp(v.checked_mul(1_000_000)?),
        S::TimestampMillisecond(Some(v), _) => Literal::Timestamp(v.checked_mul(1_000)?),
        S::TimestampMicrosecond(Some(v), _) => Literal::Timestamp(*v),
        S::TimestampNanosecond(Some(v), _) if v % 1_000 == 0 => Literal::Timestamp(v / 1_000),
        S::Dictionary(_, v) => constant(v)?,
        _ => return None,
    })
}
