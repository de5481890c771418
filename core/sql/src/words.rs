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
    if let Some(rest) = bracket("Dictionary") {
        let values = rest.trim_matches(['(', ')']).split_once(", ");
        return values.map_or_else(
            || arrow.into(),
            |(_, values)| of(values).into_owned().into(),
        );
    }
    // What they are made of may fill a page.
    let nested = [
        ("List", "a list"),
        ("LargeList", "a list"),
        ("FixedSizeList", "a list"),
        ("ListView", "a list"),
        ("Struct", "a struct"),
        ("Map", "a map"),
        ("FixedSizeBinary", "BYTEA"),
    ];
    let name = nested.iter().find(|(name, _)| bracket(name).is_some());
    name.map_or_else(|| arrow.into(), |(_, name)| (*name).into())
}

/// A message with the types in it in SQL's words.
pub(crate) fn in_text(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (before, from) = rest.split_at(start);
        told.push_str(before);
        let word = from.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = word.unwrap_or(from.len());
        let mut end = word;
        if from[word..].starts_with('(') {
            end = closing(&from[word..]).map_or(word, |at| word + at);
        }
        let (name, whole) = (&from[..word], &from[..end]);
        let sql = of(whole);
        if sql != whole {
            told.push_str(&sql);
            rest = &from[end..];
        } else if end > word && of(name) != name {
            // A value with its type, as `Int64(1)`.
            told.push_str(&in_text(&from[word + 1..end - 1]));
            rest = &from[end..];
        } else {
            told.push_str(name);
            rest = &from[word..];
        }
    }
    told + rest
}

/// Where the bracket closes with which a text begins.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
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
            ("List(Int64)", "a list"),
            ("Struct(\"a\": Utf8, \"b\": List(Int64))", "a struct"),
            ("Dictionary(Int32, Utf8)", "text"),
        ] {
            assert_eq!(of(arrow), sql);
        }
        assert_eq!(
            split("Decimal128(38, 2), Utf8", ','),
            ["Decimal128(38, 2)", "Utf8"]
        );
        assert!(split("", ',').is_empty());
    }

    #[test]
    fn a_message_has_types_in_sql_s_words() {
        for (text, told) in [
            (
                "no `f(Utf8, Decimal128(3, 1))`",
                "no `f(text, DECIMAL(3,1))`",
            ),
            (
                "type List(Struct(\"sku\": Utf8)) is not Struct, Map, or Null",
                "type a list is not Struct, Map, or NULL",
            ),
            ("max(Int64) of Utf8_x", "max(BIGINT) of Utf8_x"),
            ("open (Utf8", "open (text"),
            (
                "a.qty > Int64(1) and b = Utf8(\"x\")",
                "a.qty > 1 and b = \"x\"",
            ),
        ] {
            assert_eq!(in_text(text), told);
        }
    }
}
