//! Names of tables and partition keys, and the keys' types.

use std::collections::BTreeSet;

use arrow_schema::DataType;
use tidegate_catalog::parse_name;

/// What a level of directories is: its key, if they name one, and whether a single directory of it is a
/// partition already.
pub(super) fn key(name: &str) -> Option<String> {
    parse_name(name).map(|(key, _)| key)
}

/// The value that a directory's name stands for; `None` is NULL.
pub(super) fn value(name: &str) -> Option<String> {
    match parse_name(name) {
        Some((_, value)) => value,
        None => tidegate_catalog::decode_value(name),
    }
}

/// Whether a name without a key is surely no table's: a number or a date.
pub(super) fn is_value(name: &str) -> bool {
    name.chars().any(|c| c.is_ascii_digit())
        && name
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '-' | '_' | 'T' | ':'))
}

/// The narrowest type that reads all values and writes them as they were.
pub(super) fn key_type<'a>(values: impl Iterator<Item = Option<&'a str>> + Clone) -> DataType {
    let narrow = |text: &str| text.parse::<i32>().is_ok();
    match tidegate_catalog::key_type(values.clone()) {
        DataType::Int64 if values.flatten().all(narrow) => DataType::Int32,
        other => other,
    }
}

/// A table's name that every catalog takes: of `[a-z0-9_]`.
pub(super) fn table_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        let fits = c.is_ascii_alphanumeric() || c == '_';
        name.push(if fits { c } else { '_' });
    }
    let name = name.trim_matches('_').to_owned();
    if name.is_empty() {
        "data".to_owned()
    } else {
        name
    }
}

/// Names for the tables in these directories (each a list of the names from the outside in), none
/// twice: what isn't told apart by its last name gets those before it.
pub(super) fn distinct(directories: &[Vec<String>], prefix: &str) -> Vec<String> {
    let named = |parts: &[String], depth: usize| {
        let from = parts.len().saturating_sub(depth);
        format!("{prefix}{}", table_name(&parts[from..].join("_")))
    };
    let mut taken = BTreeSet::new();
    let mut names = Vec::with_capacity(directories.len());
    for parts in directories {
        let mut name = named(parts, 1);
        for depth in 2..=parts.len() {
            if !taken.contains(&name) {
                break;
            }
            name = named(parts, depth);
        }
        let mut number = 2;
        while taken.contains(&name) {
            name = format!("{}_{number}", named(parts, parts.len()));
            number += 1;
        }
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_type_that_keeps_their_values() {
        let of = |values: &[Option<&'static str>]| key_type(values.iter().copied());
        assert_eq!(of(&[Some("2024"), Some("-1"), None]), DataType::Int32);
        assert_eq!(of(&[Some("20240229123456")]), DataType::Int64);
        assert_eq!(of(&[Some("01"), Some("12")]), DataType::Utf8);
        assert_eq!(of(&[Some("2024-02-29")]), DataType::Date32);
        assert_eq!(of(&[Some("2024-2-29")]), DataType::Utf8);
        assert_eq!(of(&[None]), DataType::Utf8);
        assert_eq!(of(&[]), DataType::Utf8);
    }

    #[test]
    fn tables_of_one_name_are_told_apart_by_their_directories() {
        let directories = ["a/Sales 2", "b/sales-2", "sales_2", "c/x", "sales.2"];
        let directories: Vec<Vec<String>> = directories
            .iter()
            .map(|path| path.split('/').map(str::to_owned).collect())
            .collect();
        assert_eq!(
            distinct(&directories, "raw_"),
            [
                "raw_sales_2",
                "raw_b_sales_2",
                "raw_sales_2_2",
                "raw_x",
                "raw_sales_2_3"
            ]
        );
    }
}
