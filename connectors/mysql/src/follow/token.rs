//! What statements are made of.

/// A word, or something else that a statement is made of. Texts and comments are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name { text: String, quoted: bool },
    Other(char),
}

impl Token {
    /// Whether it is this word, without quotes.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Name { text, quoted: false } if text.eq_ignore_ascii_case(keyword))
    }
}

pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        // Comments that servers execute are read as what is in them.
        if let Some(after) = rest
            .strip_prefix("/*!")
            .or_else(|| rest.strip_prefix("/*M!"))
        {
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if let Some(after) = rest.strip_prefix("*/") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/").map_or("", |(_, after)| after);
        } else if first == '#' || rest.starts_with("-- ") || rest.starts_with("--\n") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if matches!(first, '`' | '"' | '\'') {
            let (inner, after) = quoted(&rest[1..], first);
            rest = after;
            // Between double quotes stands a text or, under ANSI_QUOTES, a name; as a name it can
            // only be taken for a table too many.
            if first != '\'' {
                tokens.push(Token::Name {
                    text: inner,
                    quoted: true,
                });
            }
        } else if is_of_name(first) {
            let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            tokens.push(Token::Name {
                text: rest[..end].to_owned(),
                quoted: false,
            });
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Other(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '$'
}

/// What stands up to the closing quote, and what comes after it. Doubled quotes stand for one; a
/// backslash takes the next character with it, but not in names.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inner = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char == '\\' && quote != '`' {
            chars.next();
        } else if char == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
                inner.push(quote);
            } else {
                return (inner, &text[at + 1..]);
            }
        } else {
            inner.push(char);
        }
    }
    (inner, "")
}
