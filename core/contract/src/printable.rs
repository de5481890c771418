//! Text from outside, as it is shown on a terminal and in a log.
//!
//! Names of columns and files, rows, a server's words: whoever wrote them may have put in what moves
//! a terminal's cursor, what hides or reorders other text, or a line that looks like one of ours.
//! Such characters are shown as escapes, in one style everywhere: `\n`, `\r`, `\t`, and `\u{1b}` for
//! all others. It is for people to read: a text that has a backslash and an `n` looks the same.

use std::borrow::Cow;

/// The most that is shown of a value, in characters.
pub const LONGEST: usize = 1_000;

/// Whether a character is shown as an escape: controls (C0, DEL, C1), line and paragraph separators,
/// and what changes the direction of writing.
fn is_escaped(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A text on one line, with escapes for what a terminal would act on.
///
/// ```
/// use tidegate_core::printable;
///
/// assert_eq!(printable::line("plain ü"), "plain ü");
/// assert_eq!(printable::line("a\n\u{1b}[2J"), r"a\n\u{1b}[2J");
/// ```
pub fn line(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_escaped) else {
        return Cow::Borrowed(text);
    };
    let (plain, rest) = text.split_at(first);
    let mut shown = plain.to_owned();
    for char in rest.chars() {
        match is_escaped(char) {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

/// The first `most` characters of a text, and how many more there are.
///
/// ```
/// use tidegate_core::printable;
///
/// assert_eq!(printable::cut("short", 5), "short");
/// assert_eq!(printable::cut("too long", 3), "too… (5 more characters)");
/// ```
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(most) else {
        return Cow::Borrowed(text);
    };
    let (shown, rest) = text.split_at(end);
    let noun = match rest.chars().count() {
        1 => "1 more character".to_owned(),
        more => format!("{more} more characters"),
    };
    Cow::Owned(format!("{shown}… ({noun})"))
}

/// A value of any length as a part of a message: [`line()`] of at most [`LONGEST`] characters.
pub fn value(text: &str) -> String {
    line(&cut(text, LONGEST)).into_owned()
}

/// A line of JSON that is the same to a program, and that no terminal acts on: JSON itself escapes
/// only the controls below a space.
pub fn json(text: &str) -> Cow<'_, str> {
    // Line breaks of JSON stand between values; within strings they are escaped already.
    let raw = |char: char| is_escaped(char) && !char.is_ascii_whitespace();
    if !text.contains(raw) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match raw(char) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(char))),
            false => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_on_is_left() {
        let bad = "\0\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{7f}\u{85}\u{9b}\u{9d}\u{61c}\u{200e}\u{200f}\
                   \u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        assert!(bad.chars().all(is_escaped));
        let shown = line(bad);
        assert!(!shown.contains(is_escaped), "{shown}");
        assert!(shown.starts_with(r"\u{0}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{7f}\u{85}"));
        // Letters of all scripts, and what joins signs to one, are shown as they are.
        let good = "naïve 日本 עברית 👩‍👩‍👧 a\\b \"c\" 'd'";
        assert!(matches!(line(good), Cow::Borrowed(_)));
    }

    #[test]
    fn sixteen_megabytes_become_one_short_line() {
        let text = "é\n".repeat(4 << 20);
        let shown = value(&text);
        assert_eq!(
            shown.chars().count(),
            1_500 + "… (8387608 more characters)".chars().count()
        );
        assert!(
            shown.ends_with("é\\n… (8387608 more characters)"),
            "{shown}"
        );
        assert_eq!(cut("abcd", 3), "abc… (1 more character)");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{9b}\u{7f}": "\u{202e}b\u{1b}\n", "c": ["ü"] });
        let text = value.to_string();
        let shown = json(&text);
        assert!(!shown.contains(is_escaped), "{shown}");
        let back: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(back, value);
        assert!(matches!(json("{\n\t\"a\": 1\r\n}\n"), Cow::Borrowed(_)));
    }
}
