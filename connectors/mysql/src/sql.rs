//! Pieces of SQL.

use crate::discover::Table;

/// A name in backticks.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Names in backticks, as a list.
pub(crate) fn names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<_> = names.into_iter().map(|one| name(one.as_ref())).collect();
    names.join(", ")
}

/// The condition that all these columns are set.
pub(crate) fn all_set<S: AsRef<str>>(columns: impl IntoIterator<Item = S>) -> String {
    let set = |column: S| format!("{} IS NOT NULL", name(column.as_ref()));
    let all: Vec<_> = columns.into_iter().map(set).collect();
    all.join(" AND ")
}

/// A text literal. Safe under every SQL mode: with a backslash or a control character in it, it is
/// written as hex digits.
pub(crate) fn text(text: &str) -> String {
    if text.chars().all(|c| c != '\\' && !c.is_control()) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    format!("_utf8mb4 {}", bytes(text.as_bytes()))
}

/// A literal of bytes.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(bytes.len() * 2 + 3);
    literal.push_str("X'");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            literal.extend(char::from_digit(digit.into(), 16));
        }
    }
    literal.push('\'');
    literal
}

/// A table, with its database.
pub(crate) fn table(table: &Table) -> String {
    format!("{}.{}", name(&table.database), name(&table.name))
}

/// A column with its table, so that no alias of the SELECT is meant by it.
pub(crate) fn column(table: &Table, column: &str) -> String {
    format!("{}.{}", name(&table.name), name(column))
}

/// Columns with their table.
pub(crate) fn columns(table: &Table, columns: &[String]) -> Vec<String> {
    columns.iter().map(|name| column(table, name)).collect()
}

/// A condition in parentheses. A comment at its end doesn't swallow what follows.
pub(crate) fn group(condition: &str) -> String {
    match condition.contains(['#', '-']) {
        true => format!("({condition}\n)"),
        false => format!("({condition})"),
    }
}
