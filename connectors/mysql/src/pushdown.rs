//! Conditions of the consumers that the server can look at.
//!
//! A condition is sent only if the server lets every row through that fulfils it as Arrow
//! understands it. It may let more through: all conditions are applied again above.

use chrono::{DateTime, Days, NaiveDate};
use tidegate_core::{Comparison, Literal, Predicate};

use crate::relation::{Origin, Relation};
use crate::sql;
use crate::types::{Column, Mapping, Type, ZeroDates};

/// What is sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) conditions: Vec<String>,
    /// Whether the server lets through exactly the rows that fulfil all of the conditions.
    pub(crate) exact: bool,
}

/// A condition in SQL.
struct Condition {
    sql: String,
    exact: bool,
}

fn exactly(sql: String) -> Option<Condition> {
    Some(Condition { sql, exact: true })
}

fn widely(sql: String) -> Option<Condition> {
    Some(Condition { sql, exact: false })
}

/// As many of `predicates` as can be sent.
pub(crate) fn conditions(
    predicates: &[Predicate],
    relation: &Relation,
    mapping: Mapping,
) -> Pushed {
    let mut pushed = Pushed {
        conditions: Vec::new(),
        exact: true,
    };
    for predicate in predicates {
        let condition = condition(predicate, relation, mapping);
        pushed.exact &= condition.as_ref().is_some_and(|condition| condition.exact);
        pushed
            .conditions
            .extend(condition.map(|condition| condition.sql));
    }
    pushed
}

fn condition(predicate: &Predicate, relation: &Relation, mapping: Mapping) -> Option<Condition> {
    let Origin::Table(table) = &relation.origin else {
        return None;
    };
    let name = match predicate {
        Predicate::Compare { column, .. } | Predicate::In { column, .. } => column,
        Predicate::IsNull(column) | Predicate::IsNotNull(column) => column,
        _ => return None,
    };
    let column = relation
        .columns
        .iter()
        .find(|column| column.name == *name)?;
    let quoted = sql::column(table, name);
    match predicate {
        Predicate::Compare { op, value, .. } => compare(column, &quoted, *op, value, mapping),
        Predicate::In { values, .. } => {
            let mut exact = true;
            let parts: Option<Vec<_>> = values
                .iter()
                .map(|value| {
                    let one = compare(column, &quoted, Comparison::Eq, value, mapping)?;
                    exact &= one.exact;
                    Some(one.sql)
                })
                .collect();
            let parts = parts.filter(|parts| !parts.is_empty())?;
            Some(Condition {
                sql: parts.join(" OR "),
                exact,
            })
        }
        // Zero dates become NULL only here, and MySQL takes those of NOT NULL columns for NULL too.
        Predicate::IsNull(_) if column.kind.is_date() => None,
        Predicate::IsNull(_) => exactly(format!("{quoted} IS NULL")),
        Predicate::IsNotNull(_) if column.kind.is_date() => widely(format!("{quoted} IS NOT NULL")),
        Predicate::IsNotNull(_) => exactly(format!("{quoted} IS NOT NULL")),
        _ => None,
    }
}

fn compare(
    column: &Column,
    quoted: &str,
    op: Comparison,
    value: &Literal,
    mapping: Mapping,
) -> Option<Condition> {
    let with = |literal: String| format!("{quoted} {} {literal}", symbol(op));
    match (column.kind, value) {
        (Type::Bool, Literal::Bool(value)) => {
            let wanted = match op {
                Comparison::Eq => *value,
                Comparison::NotEq => !value,
                _ => return None,
            };
            exactly(format!("{quoted} {} 0", if wanted { "<>" } else { "=" }))
        }
        // A YEAR compared with 0 to 99 is compared with 2000 to 2069 and 1970 to 1999.
        (Type::Year, Literal::Int(value)) if *value < 100 => None,
        (kind, Literal::Int(_) | Literal::UInt(_))
            if is_exact(kind) || matches!(kind, Type::Year | Type::Bit { .. }) =>
        {
            exactly(with(integer(value)?))
        }
        (kind, Literal::Float(value)) if is_exact(kind) => around(quoted, op, *value),
        (Type::Float | Type::Double, Literal::Float(value)) => float(quoted, op, *value),
        (Type::Float | Type::Double, Literal::Int(value)) => {
            // Up to here every integer is a number of its own.
            let small = i32::try_from(*value).ok()?;
            float(quoted, op, small.into())
        }
        // Which texts are equal, and how they follow one another, is the column's collation's
        // business: texts of the same bytes are equal in each. What the column's character set
        // hasn't got makes the server refuse the comparison; ASCII is in each.
        (Type::Text, Literal::Text(text)) if op == Comparison::Eq && text.is_ascii() => {
            widely(with(sql::text(text)))
        }
        // A text that is no member's may be taken for a member's number; an empty one is an error's.
        (Type::Enum, Literal::Text(text))
            if op == Comparison::Eq && !text.is_empty() && text.is_ascii() =>
        {
            widely(with(sql::text(text)))
        }
        // As texts they are compared above.
        (kind, _) if kind.is_date() && mapping.zero_dates == ZeroDates::Text => None,
        (Type::Date | Type::DateTime { .. }, Literal::Date(days)) => widely(with(date(*days)?)),
        (Type::DateTime { .. }, Literal::Timestamp(micros)) => widely(with(time(*micros)?)),
        (Type::Timestamp { .. }, Literal::Timestamp(micros)) if in_timestamp(*micros) => {
            widely(with(time(*micros)?))
        }
        _ => None,
    }
}

/// Numbers that are no floats.
fn is_exact(kind: Type) -> bool {
    kind.integer().is_some() || matches!(kind, Type::Decimal { .. })
}

const fn symbol(op: Comparison) -> &'static str {
    match op {
        Comparison::Eq => "=",
        Comparison::NotEq => "<>",
        Comparison::Lt => "<",
        Comparison::LtEq => "<=",
        Comparison::Gt => ">",
        Comparison::GtEq => ">=",
    }
}

fn integer(value: &Literal) -> Option<String> {
    match value {
        Literal::Int(value) => Some(value.to_string()),
        Literal::UInt(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A comparison of floats. The server takes both zeros for one, and Arrow tells them apart.
fn float(quoted: &str, op: Comparison, value: f64) -> Option<Condition> {
    if !value.is_finite() {
        return None;
    }
    if value == 0.0 {
        let symbol = match op {
            Comparison::Eq => "=",
            Comparison::NotEq => return None,
            Comparison::Lt | Comparison::LtEq => "<=",
            Comparison::Gt | Comparison::GtEq => ">=",
        };
        return widely(format!("{quoted} {symbol} 0E0"));
    }
    // The shortest text that is read as the same number again.
    exactly(format!("{quoted} {} {value:E}", symbol(op)))
}

/// A comparison of exact numbers with a float. It isn't sure what the other side rounds, so a
/// little more is let through.
fn around(quoted: &str, op: Comparison, value: f64) -> Option<Condition> {
    let margin = value.abs() * 1e-9 + 1e-9;
    let (low, high) = (value - margin, value + margin);
    if !low.is_finite() || !high.is_finite() {
        return None;
    }
    widely(match op {
        Comparison::Eq => format!("{quoted} BETWEEN {low:E} AND {high:E}"),
        Comparison::NotEq => return None,
        Comparison::Lt | Comparison::LtEq => format!("{quoted} <= {high:E}"),
        Comparison::Gt | Comparison::GtEq => format!("{quoted} >= {low:E}"),
    })
}

/// A literal of a date from the year 1 to 9999, which the server can read.
fn date(days: i32) -> Option<String> {
    let epoch = NaiveDate::default();
    let distance = Days::new(u64::from(days.unsigned_abs()));
    let date = match days {
        0.. => epoch.checked_add_days(distance),
        _ => epoch.checked_sub_days(distance),
    }?;
    let text = date.format("%Y-%m-%d").to_string();
    is_readable(&text).then(|| format!("'{text}'"))
}

/// A literal of a moment in the same years.
fn time(micros: i64) -> Option<String> {
    let moment = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let text = moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    is_readable(&text).then(|| format!("'{text}'"))
}

fn is_readable(text: &str) -> bool {
    text.find('-') == Some(4) && !text.starts_with("0000")
}

/// Whether a moment is one that every server's TIMESTAMP can hold: 1970-01-02 to 2038-01-18.
const fn in_timestamp(micros: i64) -> bool {
    micros >= 86_400_000_000 && micros <= 2_147_400_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_server_reads_them() {
        assert_eq!(date(0).unwrap(), "'1970-01-01'");
        assert_eq!(date(-719_162).unwrap(), "'0001-01-01'");
        assert_eq!(date(-719_163), None);
        assert_eq!(date(2_932_896).unwrap(), "'9999-12-31'");
        assert_eq!(date(2_932_897), None);
        assert_eq!(date(i32::MIN), None);
        assert_eq!(time(-1).unwrap(), "'1969-12-31 23:59:59.999999'");
        assert_eq!(time(i64::MAX), None);
    }
}
