//! From Athena's column types to Arrow's.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use aws_sdk_athena::types::ColumnInfo;
use tidegate_core::{Error, Result};

/// The schema of a result with these columns. All are nullable: Athena always says `UNKNOWN`.
///
/// Errors: `Schema` for a decimal that Arrow doesn't have.
pub(crate) fn schema(columns: &[ColumnInfo]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|column| {
        let data_type = data_type(column)?;
        Ok(Field::new(column.name(), data_type, true))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// The type that holds every value of a column exactly. What Arrow has no type for, and what Athena
/// prints in a way that can't be read back (`array`, `map`, `row`: `{a=1, b=2}`), stays text.
fn data_type(column: &ColumnInfo) -> Result<DataType> {
    let told = column.r#type().to_ascii_lowercase();
    // SHOW and DESCRIBE give Hive's spelling, with parameters.
    let name = told.split(['(', '<']).next().unwrap_or_default().trim();
    Ok(match name {
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "integer" | "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float" | "real" => DataType::Float32,
        "double" => DataType::Float64,
        "decimal" => decimal(column)?,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamp with time zone" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        "varbinary" | "binary" => DataType::Binary,
        _ => DataType::Utf8,
    })
}

fn decimal(column: &ColumnInfo) -> Result<DataType> {
    let precision = u8::try_from(column.precision()).ok();
    let scale = i8::try_from(column.scale()).ok();
    match precision.zip(scale) {
        Some((precision @ 1..=38, scale))
            if (0..=38).contains(&scale) && scale.unsigned_abs() <= precision =>
        {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err(Error::schema(format!(
            "column `{}` is a decimal({}, {}), which can't be held",
            column.name(),
            column.precision(),
            column.scale()
        ))
        .hint("cast it to decimal(38, s) in the query")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    pub(crate) fn column(name: &str, r#type: &str) -> ColumnInfo {
        let column = ColumnInfo::builder().name(name).r#type(r#type);
        column.build().unwrap()
    }

    fn read(r#type: &str) -> DataType {
        data_type(&column("a", r#type)).unwrap()
    }

    #[test]
    fn each_type_of_athena_has_its_arrow_type() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (told, expected) in [
            ("boolean", DataType::Boolean),
            ("tinyint", DataType::Int8),
            ("smallint", DataType::Int16),
            ("integer", DataType::Int32),
            ("int", DataType::Int32),
            ("bigint", DataType::Int64),
            ("float", DataType::Float32),
            ("real", DataType::Float32),
            ("double", DataType::Float64),
            ("varchar", DataType::Utf8),
            ("varchar(10)", DataType::Utf8),
            ("char", DataType::Utf8),
            ("string", DataType::Utf8),
            ("date", DataType::Date32),
            ("time", DataType::Time64(TimeUnit::Microsecond)),
            (
                "timestamp",
                DataType::Timestamp(TimeUnit::Microsecond, None),
            ),
            (
                "timestamp(6)",
                DataType::Timestamp(TimeUnit::Microsecond, None),
            ),
            ("timestamp with time zone", utc),
            ("time with time zone", DataType::Utf8),
            ("interval day to second", DataType::Utf8),
            ("varbinary", DataType::Binary),
            ("json", DataType::Utf8),
            ("array", DataType::Utf8),
            ("array<int>", DataType::Utf8),
            ("map", DataType::Utf8),
            ("row", DataType::Utf8),
            ("unknown", DataType::Utf8),
            ("uuid", DataType::Utf8),
        ] {
            assert_eq!(read(told), expected, "{told}");
        }
    }

    #[test]
    fn decimals_have_their_precision_and_scale() {
        let told = |precision, scale| {
            let column = ColumnInfo::builder().name("a").r#type("decimal");
            let column = column.precision(precision).scale(scale).build().unwrap();
            data_type(&column)
        };
        assert_eq!(told(10, 2).unwrap(), DataType::Decimal128(10, 2));
        assert_eq!(told(38, 0).unwrap(), DataType::Decimal128(38, 0));
        for (precision, scale) in [(0, 0), (39, 0), (10, -1), (10, 11)] {
            let error = told(precision, scale).unwrap_err();
            assert!(error.to_string().contains("column `a`"), "{error}");
        }
    }
}
