//! Values as names of folders, spelled as Hive and Spark do.

use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field};
use tidegate_core::{Error, Result};

/// The folder of NULL and of empty text.
const NOTHING: &str = "__HIVE_DEFAULT_PARTITION__";

/// Whether a column's values can name folders and be read back.
pub(crate) fn check(field: &Field) -> Result<()> {
    use DataType as T;
    let fits = |data_type: &T| {
        data_type.is_integer()
            || matches!(
                data_type,
                T::Boolean
                    | T::Utf8
                    | T::LargeUtf8
                    | T::Utf8View
                    | T::Date32
                    | T::Date64
                    | T::Timestamp(..)
                    | T::Decimal32(..)
                    | T::Decimal64(..)
                    | T::Decimal128(..)
                    | T::Decimal256(..)
            )
    };
    let fit = match field.data_type() {
        T::Dictionary(_, values) => fits(values),
        other => fits(other),
    };
    if fit {
        return Ok(());
    }
    Err(Error::schema(format!(
        "column `{}` of type {} can't be in `partition_by`",
        field.name(),
        field.data_type()
    ))
    .hint("partition by text, integers, dates, decimals or booleans"))
}

/// `column=value` of one row.
pub(crate) fn folder(column: &str, values: &ArrayRef, row: usize) -> Result<String> {
    let mut name = String::new();
    escape(column, &mut name);
    name.push('=');
    let start = name.len();
    if !values.is_null(row) {
        let options = FormatOptions::new()
            .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
            .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"));
        let text = ArrayFormatter::try_new(values, &options)?;
        escape(&text.value(row).try_to_string()?, &mut name);
    }
    if name.len() == start {
        name.push_str(NOTHING);
    }
    Ok(name)
}

/// Hive's `FileUtils.escapePathName`: what a file system, a shell or `col=value` could stumble over.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '\0'..='\x1f'
            | '\x7f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '{'
            | '['
            | ']'
            | '^' => {
                into.push('%');
                let byte = u32::from(c);
                into.extend([byte >> 4, byte & 15].map(hex));
            }
            other => into.push(other),
        }
    }
}

fn hex(digit: u32) -> char {
    char::from_digit(digit, 16).map_or('0', |c| c.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Date32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn names_are_those_of_hive() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("plain text-1.5"),
            Some("a/b=c:d%e"),
            Some("q?\"'#*[x]{y}^\\"),
            Some("tab\tdel\x7f"),
            Some("ü/日本"),
            Some(""),
            None,
        ]));
        let expected = [
            "c%3D1=plain text-1.5",
            "c%3D1=a%2Fb%3Dc%3Ad%25e",
            "c%3D1=q%3F%22%27%23%2A%5Bx%5D%7By}%5E%5C",
            "c%3D1=tab%09del%7F",
            "c%3D1=ü%2F日本",
            "c%3D1=__HIVE_DEFAULT_PARTITION__",
            "c%3D1=__HIVE_DEFAULT_PARTITION__",
        ];
        for (row, expected) in expected.iter().enumerate() {
            assert_eq!(folder("c=1", &texts, row).unwrap(), *expected);
        }
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![19_000]));
        assert_eq!(folder("d", &dates, 0).unwrap(), "d=2022-01-08");
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1_500_000]));
        let name = folder("t", &times, 0).unwrap();
        assert_eq!(name, "t=1970-01-01 00%3A00%3A01.500");
    }
}
