//! The types that every engine reads alike.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use tidegate_core::{Error, Result};

/// The most digits of a decimal that Athena, Spark, Trino and DuckDB read.
const MOST_DIGITS: i16 = 38;

/// The columns in types that Athena, Spark, Trino and DuckDB all read alike, in the same order.
///
/// | of | becomes |
/// |---|---|
/// | `u8`, `u16`, `u32` | the signed integer twice as wide |
/// | `u64` | `decimal(20, 0)` |
/// | a half float | a float |
/// | a timestamp in seconds, in nanoseconds | in milliseconds, in microseconds |
/// | a timestamp with a zone | the same instant in `UTC` |
/// | a time of day in seconds, in nanoseconds | in milliseconds, in microseconds |
/// | a duration | an integer, in its unit |
/// | a date with 64 bits | a date |
/// | a decimal of any width | one of 128 bits, 38 digits at most |
/// | dictionaries, run ends, views, large texts, binary of a fixed size | plain text and binary |
/// | lists of any layout, maps | `list<element>`, `key_value<key, value>`, by their members |
/// | null | text |
///
/// Errors: `Schema`, naming the column, for what no such type holds: intervals, unions, decimals of
/// more than 38 digits.
pub fn portable(schema: &Schema) -> Result<SchemaRef> {
    let fields = schema.fields().iter().map(|field| {
        let data_type = portable_type(field.data_type()).map_err(|(of, hint)| {
            Error::schema(format!(
                "column `{}` has the type {of}, which not every engine reads",
                field.name()
            ))
            .hint(hint)
        })?;
        Ok(Field::new(field.name(), data_type, field.is_nullable()))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

type Refused = (DataType, &'static str);

fn portable_type(data_type: &DataType) -> Result<DataType, Refused> {
    use DataType as T;
    Ok(match data_type {
        T::UInt8 => T::Int16,
        T::UInt16 => T::Int32,
        T::UInt32 => T::Int64,
        T::UInt64 => T::Decimal128(20, 0),
        T::Float16 => T::Float32,
        T::Timestamp(unit, zone) => {
            T::Timestamp(coarse(*unit), zone.as_ref().map(|_| "UTC".into()))
        }
        T::Time32(_) => T::Time32(TimeUnit::Millisecond),
        T::Time64(_) => T::Time64(TimeUnit::Microsecond),
        T::Duration(_) => T::Int64,
        T::Date64 => T::Date32,
        T::Decimal32(digits, scale)
        | T::Decimal64(digits, scale)
        | T::Decimal128(digits, scale)
        | T::Decimal256(digits, scale) => {
            let (digits, scale) = (i16::from(*digits), i16::from(*scale));
            // Zeros before the point, where the scale is below nothing, are digits too.
            let (digits, scale) = (digits - scale.min(0), scale.max(0));
            match (u8::try_from(digits), i8::try_from(scale)) {
                (Ok(p), Ok(s)) if digits <= MOST_DIGITS => T::Decimal128(p, s),
                _ => {
                    let hint = "decimals have 38 digits at most: cast it in a `sql` transform, for example to DECIMAL(38, 10)";
                    return Err((data_type.clone(), hint));
                }
            }
        }
        T::Dictionary(_, values) => portable_type(values)?,
        T::RunEndEncoded(_, values) => portable_type(values.data_type())?,
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => T::Utf8,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => T::Binary,
        T::List(item)
        | T::LargeList(item)
        | T::ListView(item)
        | T::LargeListView(item)
        | T::FixedSizeList(item, _) => T::List(member(item, "element")?),
        T::Map(entries, sorted) => {
            let T::Struct(pair) = entries.data_type() else {
                return Err((data_type.clone(), "cast or drop it in a `sql` transform"));
            };
            let [key, value] = pair.as_ref() else {
                return Err((data_type.clone(), "cast or drop it in a `sql` transform"));
            };
            let pair = T::Struct(vec![member(key, "key")?, member(value, "value")?].into());
            T::Map(Arc::new(Field::new("key_value", pair, false)), *sorted)
        }
        T::Struct(members) => {
            let members = members.iter().map(|field| member(field, field.name()));
            T::Struct(members.collect::<Result<_, _>>()?)
        }
        T::Interval(_) | T::Union(..) => {
            let hint = "cast or drop it in a `sql` transform";
            return Err((data_type.clone(), hint));
        }
        T::Boolean
        | T::Int8
        | T::Int16
        | T::Int32
        | T::Int64
        | T::Float32
        | T::Float64
        | T::Date32 => data_type.clone(),
    })
}

fn member(field: &FieldRef, name: &str) -> Result<FieldRef, Refused> {
    let data_type = portable_type(field.data_type())?;
    Ok(Arc::new(Field::new(name, data_type, field.is_nullable())))
}

fn coarse(unit: TimeUnit) -> TimeUnit {
    match unit {
        TimeUnit::Second | TimeUnit::Millisecond => TimeUnit::Millisecond,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => TimeUnit::Microsecond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data_type: DataType) -> Result<DataType> {
        let schema = Schema::new(vec![Field::new("c", data_type, true)]);
        Ok(portable(&schema)?.field(0).data_type().clone())
    }

    #[test]
    fn what_is_portable_stays_and_what_is_not_widens() {
        use DataType as T;
        let list = |item: T, name: &str| T::List(Arc::new(Field::new(name, item, true)));
        let text = || Box::new(T::Utf8);
        let pairs = [
            (T::Int32, T::Int32),
            (T::UInt32, T::Int64),
            (T::UInt64, T::Decimal128(20, 0)),
            (T::Decimal32(5, 2), T::Decimal128(5, 2)),
            (T::Decimal128(10, -3), T::Decimal128(13, 0)),
            (T::Decimal256(38, 38), T::Decimal128(38, 38)),
            (T::Dictionary(text(), text()), T::Utf8),
            (T::Null, T::Utf8),
            (
                T::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (
                T::Timestamp(TimeUnit::Second, None),
                T::Timestamp(TimeUnit::Millisecond, None),
            ),
            (list(T::UInt8, "item"), list(T::Int16, "element")),
        ];
        for (from, to) in pairs {
            assert_eq!(of(from.clone()).unwrap(), to, "{from}");
            assert_eq!(of(to.clone()).unwrap(), to, "{to} twice");
        }
    }

    #[test]
    fn what_no_engine_holds_is_refused_by_name() {
        let error = of(DataType::Decimal256(39, 0)).unwrap_err();
        assert!(error.message().contains("column `c`"), "{error}");
        assert!(error.hint_text().unwrap().contains("38 digits"));
        let interval = arrow_schema::IntervalUnit::MonthDayNano;
        assert!(of(DataType::Interval(interval)).is_err());
    }
}
