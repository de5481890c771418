//! Which partitions a condition rules out.

use std::cmp::Ordering;

use arrow_array::types::Date32Type;
use arrow_cast::parse::{Parser, string_to_datetime};
use arrow_schema::{DataType, FieldRef};
use chrono::Utc;
use tidegate_core::{Comparison, Literal, Predicate};

/// Whether a partition with these `values` of `keys` may hold rows that fulfil all `predicates`.
/// Conditions on other columns rule nothing out.
pub fn may_match_all(
    predicates: &[Predicate],
    keys: &[FieldRef],
    values: &[Option<String>],
) -> bool {
    predicates.iter().all(|predicate| {
        let of = column(predicate).and_then(|column| {
            let at = keys.iter().position(|key| key.name() == column)?;
            Some((keys.get(at)?, values.get(at)?))
        });
        of.is_none_or(|(key, value)| may_match(predicate, key.data_type(), value.as_deref()))
    })
}

/// Whether a row whose partition key has this value, as text, may fulfil the predicate, which is
/// about that key. `None` is NULL. What can't be told (a text that is none of the key's values, a
/// literal of another type) may match.
pub fn may_match(predicate: &Predicate, key: &DataType, value: Option<&str>) -> bool {
    let Some(text) = value else {
        // NULL fulfils nothing else. A kind of condition unknown here may be fulfilled.
        return !matches!(
            predicate,
            Predicate::Compare { .. } | Predicate::In { .. } | Predicate::IsNotNull(_)
        );
    };
    let Some(value) = Value::parse(key, text) else {
        return true;
    };
    match predicate {
        Predicate::Compare {
            op, value: literal, ..
        } => match value.compare(literal) {
            None => true,
            Some(order) => match op {
                Comparison::Eq => order.is_eq(),
                Comparison::NotEq => order.is_ne(),
                Comparison::Lt => order.is_lt(),
                Comparison::LtEq => order.is_le(),
                Comparison::Gt => order.is_gt(),
                Comparison::GtEq => order.is_ge(),
            },
        },
        Predicate::In { values, .. } => values
            .iter()
            .any(|literal| value.compare(literal).is_none_or(Ordering::is_eq)),
        Predicate::IsNull(_) => false,
        _ => true,
    }
}

/// The column that a predicate is about, where it is about one.
pub fn column(predicate: &Predicate) -> Option<&str> {
    match predicate {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull(column)
        | Predicate::IsNotNull(column) => Some(column),
        _ => None,
    }
}

/// A partition's value, read as its key's type says.
enum Value<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i128),
    Float(f64),
    Date(i32),
    /// Nanoseconds, so that nothing is cut off.
    Timestamp(i128),
}

impl<'a> Value<'a> {
    fn parse(key: &DataType, text: &'a str) -> Option<Self> {
        use DataType as T;
        Some(match key {
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Text(text),
            T::Boolean if text.eq_ignore_ascii_case("true") => Self::Bool(true),
            T::Boolean if text.eq_ignore_ascii_case("false") => Self::Bool(false),
            key if key.is_integer() => Self::Int(text.parse().ok()?),
            T::Float32 => Self::Float(text.parse::<f32>().ok()?.into()),
            T::Float64 => Self::Float(text.parse().ok()?),
            T::Date32 | T::Date64 => Self::Date(Date32Type::parse(text)?),
            T::Timestamp(_, _) => {
                let time = string_to_datetime(&Utc, text).ok()?;
                let nanos = i128::from(time.timestamp_subsec_nanos());
                Self::Timestamp(i128::from(time.timestamp()) * 1_000_000_000 + nanos)
            }
            _ => return None,
        })
    }

    fn compare(&self, literal: &Literal) -> Option<Ordering> {
        match (self, literal) {
            (Self::Text(value), Literal::Text(literal)) => Some((*value).cmp(literal.as_str())),
            (Self::Bool(value), Literal::Bool(literal)) => Some(value.cmp(literal)),
            (Self::Int(value), Literal::Int(literal)) => Some(value.cmp(&i128::from(*literal))),
            (Self::Int(value), Literal::UInt(literal)) => Some(value.cmp(&i128::from(*literal))),
            (Self::Int(value), Literal::Float(literal)) => exact(*value)?.partial_cmp(literal),
            (Self::Float(value), Literal::Int(literal)) => {
                value.partial_cmp(&exact(i128::from(*literal))?)
            }
            (Self::Float(value), Literal::Float(literal)) => value.partial_cmp(literal),
            (Self::Date(value), Literal::Date(literal)) => Some(value.cmp(literal)),
            (Self::Timestamp(value), Literal::Timestamp(micros)) => {
                Some(value.cmp(&(i128::from(*micros) * 1_000)))
            }
            _ => None,
        }
    }
}

/// The integer as a float, if that is the same number.
fn exact(value: i128) -> Option<f64> {
    i32::try_from(value).ok().map(f64::from)
}

#[cfg(test)]
mod tests {
    use arrow_schema::TimeUnit;

    use super::*;

    fn compare(op: Comparison, value: Literal) -> Predicate {
        Predicate::Compare {
            column: "k".into(),
            op,
            value,
        }
    }

    fn equal(value: Literal) -> Predicate {
        compare(Comparison::Eq, value)
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let at_least_9 = compare(Comparison::GtEq, Literal::Int(9));
        assert!(may_match(&at_least_9, &DataType::Int32, Some("10")));
        assert!(may_match(
            &equal(Literal::Int(7)),
            &DataType::Int64,
            Some("007")
        ));
        assert!(!may_match(&at_least_9, &DataType::Int32, Some("8")));
        assert!(!may_match(
            &equal(Literal::UInt(u64::MAX)),
            &DataType::UInt64,
            Some("7")
        ));
        assert!(!may_match(
            &equal(Literal::Float(1.5)),
            &DataType::Int32,
            Some("1")
        ));
        assert!(!may_match(
            &equal(Literal::Int(2)),
            &DataType::Float64,
            Some("1.5")
        ));
    }

    #[test]
    fn texts_are_compared_as_texts() {
        let at_least_9 = compare(Comparison::GtEq, Literal::Text("9".into()));
        assert!(!may_match(&at_least_9, &DataType::Utf8, Some("10")));
        assert!(may_match(
            &equal(Literal::Text("a/b".into())),
            &DataType::Utf8,
            Some("a/b")
        ));
    }

    #[test]
    fn dates_and_timestamps_are_compared_as_times() {
        let day = equal(Literal::Date(19_723)); // 2024-01-01
        assert!(may_match(&day, &DataType::Date32, Some("2024-01-01")));
        assert!(!may_match(&day, &DataType::Date32, Some("2024-01-02")));
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let after = compare(Comparison::Gt, Literal::Timestamp(1_704_067_200_000_000));
        for (value, may) in [
            ("2024-01-01 00:00:00", false),
            ("2024-01-01T00:00:00.000000001Z", true),
            ("2024-01-01 01:00:00+01:00", false),
            ("9999-12-31 00:00:00", true),
        ] {
            assert_eq!(may_match(&after, &timestamp, Some(value)), may, "{value}");
        }
    }

    #[test]
    fn what_cannot_be_told_may_match() {
        for (predicate, key, value) in [
            (equal(Literal::Int(1)), DataType::Int32, "one"),
            (equal(Literal::Int(1)), DataType::Utf8, "1"),
            (equal(Literal::Text("1".into())), DataType::Int32, "2"),
            (equal(Literal::Int(1)), DataType::Decimal128(5, 2), "2.00"),
            (equal(Literal::Float(f64::NAN)), DataType::Float64, "2"),
            (
                equal(Literal::Float(1.0)),
                DataType::Int64,
                "9007199254740993",
            ),
            (equal(Literal::Timestamp(0)), DataType::Date32, "2024-01-01"),
            (Predicate::IsNull("k".into()), DataType::Int32, "one"),
            (
                Predicate::In {
                    column: "k".into(),
                    values: vec![Literal::Int(1), Literal::Bool(true)],
                },
                DataType::Int32,
                "2",
            ),
        ] {
            assert!(
                may_match(&predicate, &key, Some(value)),
                "{predicate:?} {value}"
            );
        }
    }

    #[test]
    fn null_fulfils_only_that_it_is_null() {
        let of = |predicate: &Predicate| may_match(predicate, &DataType::Utf8, None);
        assert!(of(&Predicate::IsNull("k".into())));
        assert!(!of(&Predicate::IsNotNull("k".into())));
        assert!(!of(&compare(Comparison::NotEq, Literal::Text("x".into()))));
        assert!(!may_match(
            &Predicate::IsNull("k".into()),
            &DataType::Utf8,
            Some("")
        ));
    }

    #[test]
    fn all_conditions_on_keys_count_and_others_do_not() {
        let keys: Vec<FieldRef> = ["a", "b"]
            .map(|name| arrow_schema::Field::new(name, DataType::Int32, true).into())
            .into();
        let on = |column: &str, value| Predicate::Compare {
            column: column.into(),
            op: Comparison::Eq,
            value: Literal::Int(value),
        };
        let values = [Some("1".to_owned()), Some("2".to_owned())];
        assert!(may_match_all(
            &[on("a", 1), on("b", 2), on("c", 3)],
            &keys,
            &values
        ));
        assert!(!may_match_all(&[on("a", 1), on("b", 3)], &keys, &values));
    }
}
