//! Pieces of SQL.

/// A name in backticks.
pub(crate) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text literal. Safe under every SQL mode: with a backslash or a control character in it, it is
/// written as hex digits.
pub(crate) fn text(text: &str) -> String {
    if text.chars().all(|c| c != '\\' && !c.is_control()) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    format!("_utf8mb4{}", bytes(text.as_bytes()))
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
