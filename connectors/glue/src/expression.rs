//! Predicates as `GetPartitions` takes them.

use arrow_schema::{DataType, FieldRef};
use chrono::{Days, NaiveDate};
use tidegate_catalog::column;
use tidegate_core::{Comparison, Literal, Predicate};

/// The most characters of an expression (AWS Glue, `PredicateString`).
const LONGEST: usize = 2048;

/// As many of the predicates as Glue surely understands alike, joined; `None` if there are none.
/// The others are applied to what Glue gives.
pub(crate) fn expression(predicates: &[Predicate], keys: &[FieldRef]) -> Option<String> {
    let mut expression = String::new();
    for predicate in predicates {
        let key = column(predicate).and_then(|name| keys.iter().find(|key| key.name() == name));
        let Some(part) = key.and_then(|key| part(predicate, key)) else {
            continue;
        };
        let and = if expression.is_empty() { "" } else { " AND " };
        if expression.len() + and.len() + part.len() <= LONGEST {
            expression.push_str(and);
            expression.push_str(&part);
        }
    }
    (!expression.is_empty()).then_some(expression)
}

fn part(predicate: &Predicate, key: &FieldRef) -> Option<String> {
    let name = key.name();
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(safe) {
        return None;
    }
    match predicate {
        Predicate::Compare { op, value, .. } => {
            let op = match op {
                Comparison::Eq => "=",
                Comparison::NotEq => "<>",
                Comparison::Lt => "<",
                Comparison::LtEq => "<=",
                Comparison::Gt => ">",
                Comparison::GtEq => ">=",
            };
            Some(format!("{name} {op} {}", literal(key.data_type(), value)?))
        }
        Predicate::In { values, .. } if !values.is_empty() => {
            let values = values.iter().map(|value| literal(key.data_type(), value));
            let values = values.collect::<Option<Vec<_>>>()?.join(", ");
            Some(format!("{name} IN ({values})"))
        }
        // NULL is a text of Hive's there, which is no number and no date.
        _ => None,
    }
}

fn literal(key: &DataType, value: &Literal) -> Option<String> {
    match (key, value) {
        (key, Literal::Int(value)) if key.is_integer() => Some(value.to_string()),
        (DataType::Utf8, Literal::Text(text)) => {
            // What would have to be escaped is compared here, not there.
            let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '\'' | '"' | '\\' | '`');
            text.chars().all(plain).then(|| format!("'{text}'"))
        }
        (DataType::Date32, Literal::Date(days)) => {
            let epoch = NaiveDate::default();
            let distance = Days::new(days.unsigned_abs().into());
            let date = match days {
                0.. => epoch.checked_add_days(distance),
                _ => epoch.checked_sub_days(distance),
            }?;
            // Other years aren't written with four digits.
            let year = chrono::Datelike::year(&date);
            (0..=9999).contains(&year).then(|| format!("'{date}'"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    fn keys() -> Vec<FieldRef> {
        [
            ("year", DataType::Int32),
            ("kind", DataType::Utf8),
            ("day", DataType::Date32),
        ]
        .map(|(name, data_type)| Field::new(name, data_type, true).into())
        .into()
    }

    fn compare(column: &str, op: Comparison, value: Literal) -> Predicate {
        Predicate::Compare {
            column: column.into(),
            op,
            value,
        }
    }

    #[test]
    fn conditions_on_keys_are_joined() {
        let predicates = [
            compare("year", Comparison::GtEq, Literal::Int(2024)),
            compare("amount", Comparison::Gt, Literal::Int(1)),
            Predicate::In {
                column: "kind".into(),
                values: vec![Literal::Text("a b".into()), Literal::Text("c=d/e".into())],
            },
            compare("day", Comparison::NotEq, Literal::Date(-1)),
        ];
        assert_eq!(
            expression(&predicates, &keys()).as_deref(),
            Some("year >= 2024 AND kind IN ('a b', 'c=d/e') AND day <> '1969-12-31'")
        );
    }

    #[test]
    fn what_glue_may_take_otherwise_is_left_out() {
        for predicate in [
            compare("kind", Comparison::Eq, Literal::Text("it's".into())),
            compare("kind", Comparison::Eq, Literal::Text("Größe".into())),
            compare("kind", Comparison::Eq, Literal::Int(1)),
            compare("year", Comparison::Eq, Literal::Text("2024".into())),
            compare("day", Comparison::Eq, Literal::Date(i32::MAX)),
            Predicate::IsNull("kind".into()),
            Predicate::IsNotNull("kind".into()),
            Predicate::In {
                column: "kind".into(),
                values: vec![],
            },
        ] {
            assert_eq!(
                expression(std::slice::from_ref(&predicate), &keys()),
                None,
                "{predicate:?}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let long = Predicate::In {
            column: "year".into(),
            values: (0..1000).map(Literal::Int).collect(),
        };
        let short = compare("year", Comparison::Eq, Literal::Int(1));
        let found = expression(&[long.clone(), short], &keys());
        assert_eq!(found.as_deref(), Some("year = 1"));
        assert_eq!(expression(&[long], &keys()), None);
    }
}
