//! Finds what looks like a secret in a raw text, so that no diagnostic ever shows it.
//!
//! The schemas know the true places of secrets; this is for what they can't know: a file that
//! isn't TOML, a component of an unknown type, a password within a URL, a comment.

use std::ops::Range;

use tidegate_core::names_a_secret;

/// The ranges that look like secrets.
pub(crate) fn scan(text: &str) -> Vec<Range<usize>> {
    let mut found = assigned(text);
    found.extend(passwords_in_urls(text));
    found.extend(of_schemes(text));
    // Of two that begin at one place, the longer one first: it has the other in it.
    found.sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    found
}

/// `"Bearer …"`, `"Basic …"`: what a header of any name may hold.
fn of_schemes(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, quote) in text.match_indices(['"', '\'']) {
        let rest = &text[at + 1..];
        let (Some(scheme), Some(end)) = (rest.find(' '), rest.find(quote)) else {
            continue;
        };
        let known = ["bearer", "basic", "token", "digest", "apikey"];
        let is_one = known
            .iter()
            .any(|one| rest[..scheme].eq_ignore_ascii_case(one));
        let value = scheme + 1..end;
        // Words that follow are prose.
        if is_one && !value.is_empty() && !rest[value.clone()].contains([' ', '\n']) {
            found.push(at + 1 + value.start..at + 1 + value.end);
        }
    }
    found
}

/// `password = "…"`, wherever it stands.
fn assigned(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('=') {
        let before = text[..at].trim_end_matches([' ', '\t']);
        let key = before
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'')))
            .map_or(before, |start| {
                let width = before[start..].chars().next().map_or(1, char::len_utf8);
                &before[start + width..]
            });
        if !names_a_secret(key) {
            continue;
        }
        let rest = &text[at + 1..];
        let start = at + 1 + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
        if let Some(length) = length_of_value(&text[start..]) {
            found.push(start..start + length);
        }
    }
    found
}

/// The length of the TOML value at the beginning of `text`, if it is one that may be a secret.
fn length_of_value(text: &str) -> Option<usize> {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(body) = text.strip_prefix(quotes) {
            return Some(body.find(quotes).map_or(text.len(), |end| end + 6));
        }
    }
    let line = text.find(['\r', '\n']).map_or(text, |end| &text[..end]);
    match line.chars().next()? {
        // `{ env = "NAME" }` is how it should be; a text inside is found by its own key.
        '{' => None,
        '[' => Some(line.len()),
        quote @ ('"' | '\'') => {
            let mut escaped = false;
            for (at, c) in line.char_indices().skip(1) {
                if c == quote && !escaped {
                    // `${VAR}` alone names the secret without telling it.
                    let body = &line[1..at];
                    let named = body.starts_with("${") && body.find('}') == Some(body.len() - 1);
                    return (!named || body.contains(":-")).then_some(at + 1);
                }
                escaped = quote == '"' && c == '\\' && !escaped;
            }
            Some(line.len())
        }
        _ => {
            let end = line.find([',', '}', '#']).unwrap_or(line.len());
            Some(line[..end].trim_end().len())
        }
    }
}

/// `scheme://user:PASSWORD@host`.
fn passwords_in_urls(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let rest = &text[start..];
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'))
            .unwrap_or(rest.len());
        let authority = &rest[..end];
        if let Some(host) = authority.rfind('@')
            && let Some(colon) = authority[..host].find(':')
            && colon + 1 < host
        {
            found.push(start + colon + 1..start + host);
        }
    }
    found
}

/// A text without its secrets, and how offsets move.
pub(crate) struct Redacted {
    pub(crate) text: String,
    moves: Vec<(Range<usize>, Range<usize>)>,
}

const MASK: &str = "***";

impl Redacted {
    /// Puts `***` for each range; line breaks stay, so that line numbers do.
    pub(crate) fn new(text: &str, concealed: &[Range<usize>]) -> Self {
        let mut shown = String::with_capacity(text.len());
        let mut moves = Vec::new();
        let mut done = 0;
        for span in concealed {
            if span.start < done || span.end > text.len() || span.is_empty() {
                continue;
            }
            shown.push_str(&text[done..span.start]);
            let start = shown.len();
            for (i, line) in text[span.clone()].split('\n').enumerate() {
                if i > 0 {
                    shown.push('\n');
                }
                if !line.trim().is_empty() {
                    shown.push_str(MASK);
                }
            }
            moves.push((span.clone(), start..shown.len()));
            done = span.end;
        }
        shown.push_str(&text[done..]);
        Self { text: shown, moves }
    }

    /// Where a span of the original lies now.
    pub(crate) fn span(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.offset(span.start, true);
        start..self.offset(span.end, false).max(start)
    }

    fn offset(&self, offset: usize, is_start: bool) -> usize {
        let mut from = (0, 0);
        for (old, new) in &self.moves {
            if offset <= old.start {
                break;
            }
            if offset < old.end {
                return if is_start { new.start } else { new.end };
            }
            from = (old.end, new.end);
        }
        offset - from.0 + from.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Redacted::new(text, &scan(text)).text
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        assert_eq!(shown("password = \"hunter2\" # x"), "password = *** # x");
        assert_eq!(
            shown("a = { api-key = 'k', b = 1 }"),
            "a = { api-key = ***, b = 1 }"
        );
        assert_eq!(shown("password = \"hunt"), "password = ***");
        assert_eq!(
            shown("password = { env = \"X\" }"),
            "password = { env = \"X\" }"
        );
        assert_eq!(shown("token = \"${TOKEN}\""), "token = \"${TOKEN}\"");
        assert_eq!(
            shown("url = \"mysql://me:pw@host/db\""),
            "url = \"mysql://me:***@host/db\""
        );
        assert_eq!(
            shown("secret = \"\"\"\na\nb\"\"\"\nx=1"),
            "secret = ***\n***\n***\nx=1"
        );
        assert_eq!(shown("tokens = 5"), "tokens = 5");
        assert_eq!(
            shown("headers = { Authorization = \"Bearer s3cret\", X = \"bearer abc\" }"),
            "headers = { Authorization = ***, X = \"bearer ***\" }"
        );
        assert_eq!(
            shown("about = \"basic facts of life\""),
            "about = \"basic facts of life\""
        );
    }

    #[test]
    fn spans_follow_the_masked_text() {
        let text = "a = { token = 'long secret', b = 1 }";
        let redacted = Redacted::new(text, &scan(text));
        let b = text.find("b =").unwrap();
        let now = redacted.span(&(b..b + 1));
        assert_eq!(&redacted.text[now], "b");
        let value = text.find('\'').unwrap();
        let now = redacted.span(&(value + 3..value + 5));
        assert_eq!(&redacted.text[now], "***");
    }
}
