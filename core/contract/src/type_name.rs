//! What people call types, as pipeline files do.

use std::fmt;

use arrow_schema::extension::EXTENSION_TYPE_NAME_KEY;
use arrow_schema::{DataType, Field, TimeUnit};

/// Arrow's extension type of a text field that holds JSON values.
pub const JSON_EXTENSION: &str = "arrow.json";

/// The names that stand for one Arrow type each.
pub const SIMPLE_TYPES: [(&str, DataType); 24] = [
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::Utf8),
    ("large_string", DataType::LargeUtf8),
    ("binary", DataType::Binary),
    ("large_binary", DataType::LargeBinary),
    ("date", DataType::Date32),
    ("time", DataType::Time64(TimeUnit::Microsecond)),
    ("time_s", DataType::Time32(TimeUnit::Second)),
    ("time_ms", DataType::Time32(TimeUnit::Millisecond)),
    ("time_ns", DataType::Time64(TimeUnit::Nanosecond)),
    (
        "timestamp_naive",
        DataType::Timestamp(TimeUnit::Microsecond, None),
    ),
    (
        "timestamp_naive_s",
        DataType::Timestamp(TimeUnit::Second, None),
    ),
    (
        "timestamp_naive_ms",
        DataType::Timestamp(TimeUnit::Millisecond, None),
    ),
    (
        "timestamp_naive_ns",
        DataType::Timestamp(TimeUnit::Nanosecond, None),
    ),
];

/// Whether a text field holds JSON values.
pub fn is_json(field: &Field) -> bool {
    let extension = field.metadata().get(EXTENSION_TYPE_NAME_KEY);
    extension.is_some_and(|name| name == JSON_EXTENSION)
}

/// The name of a type in pipeline files: `int64`, `decimal(38,2)`, `list<string>`. Types that pipeline
/// files can't name are called as Arrow does.
#[derive(Debug, Clone, Copy)]
pub struct TypeName<'a> {
    data_type: &'a DataType,
    json: bool,
}

impl<'a> TypeName<'a> {
    /// Of an Arrow type.
    pub fn of_type(data_type: &'a DataType) -> Self {
        Self {
            data_type,
            json: false,
        }
    }

    /// Of a field, which knows whether a text is JSON.
    pub fn of(field: &'a Field) -> Self {
        Self {
            data_type: field.data_type(),
            json: is_json(field),
        }
    }
}

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            return f.write_str("json");
        }
        let simple = SIMPLE_TYPES
            .iter()
            .find(|(_, data_type)| data_type == self.data_type);
        if let Some((name, _)) = simple {
            return f.write_str(name);
        }
        match self.data_type {
            DataType::Timestamp(unit, Some(zone)) if &**zone == "UTC" => f.write_str(match unit {
                TimeUnit::Second => "timestamp_s",
                TimeUnit::Millisecond => "timestamp_ms",
                TimeUnit::Microsecond => "timestamp",
                TimeUnit::Nanosecond => "timestamp_ns",
            }),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                write!(f, "decimal({precision},{scale})")
            }
            DataType::List(item) => write!(f, "list<{}>", TypeName::of(item)),
            DataType::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", field.name(), TypeName::of(field))?;
                }
                f.write_str(">")
            }
            other => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_in_pipeline_files() {
        let check = |data_type: DataType, name: &str| {
            assert_eq!(TypeName::of_type(&data_type).to_string(), name);
        };
        check(DataType::Utf8, "string");
        check(DataType::Date32, "date");
        check(DataType::Decimal128(38, 2), "decimal(38,2)");
        let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
        check(utc(TimeUnit::Microsecond), "timestamp");
        check(utc(TimeUnit::Millisecond), "timestamp_ms");
        let item = Field::new("item", DataType::Int64, true);
        check(DataType::List(item.into()), "list<int64>");
        let json = Field::new("j", DataType::Utf8, true);
        let json = json.with_metadata(
            [(
                EXTENSION_TYPE_NAME_KEY.to_owned(),
                JSON_EXTENSION.to_owned(),
            )]
            .into(),
        );
        assert_eq!(TypeName::of(&json).to_string(), "json");
        check(DataType::Struct(vec![json].into()), "struct<j:json>");
        check(DataType::Null, "Null");
    }
}
