//! The names of types as SQL has them, in the place of Arrow's.

use std::borrow::Cow;

use arrow_schema::DataType;

/// Names that a query can give types, in lower case.
pub(crate) const NAMES: [&str; 20] = [
    "bigint",
    "boolean",
    "bytea",
    "char",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "interval",
    "numeric",
    "real",
    "smallint",
    "string",
    "text",
    "time",
    "timestamp",
    "tinyint",
    "varchar",
];

/// A type as DataFusion's messages name it, in SQL's words; what has none stays.
pub(crate) fn of(arrow: &str) -> Cow<'_, str> {
    let arrow = arrow.trim();
    let simple = match arrow {
        "Utf8" | "LargeUtf8" | "Utf8View" | "String" => "text",
        "Boolean" => "BOOLEAN",
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INTEGER",
        "Int64" => "BIGINT",
        "UInt8" => "TINYINT UNSIGNED",
        "UInt16" => "SMALLINT UNSIGNED",
        "UInt32" => "INTEGER UNSIGNED",
        "UInt64" => "BIGINT UNSIGNED",
        "Float32" => "REAL",
        "Float64" => "DOUBLE",
        "Decimal" => "DECIMAL",
        "Date32" => "DATE",
        "Interval" => "INTERVAL",
        "Binary" | "LargeBinary" | "BinaryView" => "BYTEA",
        "Null" => "NULL",
        _ => "",
    };
    if !simple.is_empty() {
        return simple.into();
    }
    let bracket = |name: &str| {
        arrow
            .strip_prefix(name)
            .filter(|rest| rest.starts_with('('))
    };
    if let Some(rest) = ["Decimal32", "Decimal64", "Decimal128", "Decimal256"]
        .into_iter()
        .find_map(bracket)
    {
        return format!("DECIMAL{}", rest.replace(' ', "")).into();
    }
    if bracket("Timestamp").is_some() {
        return match arrow.contains('"') {
            true => "TIMESTAMP WITH TIME ZONE".into(),
            false => "TIMESTAMP".into(),
        };
    }
    if bracket("Time32").or_else(|| bracket("Time64")).is_some() {
        return "TIME".into();
    }
    if bracket("Interval").is_some() {
        return "INTERVAL".into();
    }
    arrow.into()
}

/// The name of a type.
pub(crate) fn of_type(data_type: &DataType) -> String {
    of(&data_type.to_string()).into_owned()
}

/// The parts of a text between separators that stand in no brackets.
pub(crate) fn split(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0_usize;
    let mut parts: Vec<_> = text
        .split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == separator && depth == 0
        })
        .map(str::trim)
        .collect();
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_their_names_in_sql() {
        for (arrow, sql) in [
            ("Utf8", "text"),
            ("Decimal128(10, 1)", "DECIMAL(10,1)"),
            ("Timestamp(µs)", "TIMESTAMP"),
            ("Timestamp(µs, \"UTC\")", "TIMESTAMP WITH TIME ZONE"),
            ("List(Int64)", "List(Int64)"),
        ] {
            assert_eq!(of(arrow), sql);
        }
        assert_eq!(
            split("Decimal128(38, 2), Utf8", ','),
            ["Decimal128(38, 2)", "Utf8"]
        );
        assert!(split("", ',').is_empty());
    }
}
