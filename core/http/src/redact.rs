use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use url::Url;

/// The URL as it may be shown: without user, password and fragment, and with `***` for the value
/// of every query parameter whose name speaks of a secret (`key`, `access_token`, `X-Amz-Signature`).
///
/// ```
/// use tidegate_http::{Url, redact};
///
/// let url = Url::parse("https://me:pw@api.example.com/tags?site=so&api_key=abc#top").unwrap();
/// assert_eq!(redact(&url), "https://***@api.example.com/tags?site=so&api_key=***");
/// ```
pub fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_fragment(None);
    // `***` stands for both, so that not even the presence of a password shows. Setting them fails
    // for URLs that can't have them, which then have none to hide.
    if !url.username().is_empty() || url.password().is_some() {
        let _ = shown.set_password(None);
        let _ = shown.set_username("***");
    }
    if let Some(query) = url.query() {
        let pairs: Vec<_> = query.split('&').map(redact_pair).collect();
        shown.set_query(Some(&pairs.join("&")));
    }
    shown.to_string()
}

/// Texts that are never to be shown, however they are written.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<RwLock<Vec<String>>>);

impl Hidden {
    /// From now on this text is `***`.
    pub(crate) fn add(&self, secret: &str) {
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !secret.is_empty() && !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
            // The longest first: what is left of one that holds another must not show.
            secrets.sort_by_key(|secret| Reverse(secret.len()));
        }
    }

    /// The text as it may be shown.
    pub(crate) fn text<'a>(&self, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let hide = |text: Cow<'a, str>, secret: &String| match replace(&text, secret) {
            Some(hidden) => hidden.into(),
            None => text,
        };
        secrets.iter().fold(text.into(), hide)
    }

    /// Whether the whole text is one that is hidden.
    pub(crate) fn is(&self, text: &str) -> bool {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().any(|secret| secret == text)
    }

    /// The URL as it may be shown.
    pub(crate) fn url(&self, url: &Url) -> String {
        self.text(redact(url)).into_owned()
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// The text with `***` wherever it holds the secret; `None` where it doesn't.
fn replace(text: &str, secret: &str) -> Option<String> {
    let mut shown = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = without(rest, secret) {
            shown.push_str("***");
            rest = after;
            found = true;
        } else {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    found.then_some(shown)
}

/// What follows the secret, where the text begins with it: each character as it stands, or as it is
/// written in URLs (`%2F`, `+`) or in JSON (`\"`, `\u00fc`), in any mixture.
fn without<'a>(text: &'a str, secret: &str) -> Option<&'a str> {
    let mut characters = secret.chars();
    characters.try_fold(text, |text, character| {
        let plain = text.strip_prefix(character);
        plain
            .or_else(|| text.strip_prefix('+').filter(|_| character == ' '))
            .or_else(|| in_percent(text, character))
            .or_else(|| in_json(text, character))
    })
}

fn in_percent(text: &str, character: char) -> Option<&str> {
    let mut bytes = [0; 4];
    let mut bytes = character.encode_utf8(&mut bytes).bytes();
    bytes.try_fold(text, |text, byte| {
        let hex = text.strip_prefix('%')?;
        let value = u8::from_str_radix(hex.get(..2)?, 16).ok()?;
        (value == byte).then(|| &hex[2..])
    })
}

fn in_json(text: &str, character: char) -> Option<&str> {
    let text = text.strip_prefix('\\')?;
    let short = match character {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        other => other,
    };
    if let Some(rest) = text.strip_prefix(short) {
        return Some(rest);
    }
    let mut units = [0; 2];
    let mut units = character.encode_utf16(&mut units).iter();
    // The first backslash is off already.
    let first = units.next()?;
    units.try_fold(in_unit(text, *first)?, |text, unit| {
        in_unit(text.strip_prefix('\\')?, *unit)
    })
}

fn in_unit(text: &str, unit: u16) -> Option<&str> {
    let hex = text.strip_prefix('u')?;
    let value = u16::from_str_radix(hex.get(..4)?, 16).ok()?;
    (value == unit).then(|| &hex[4..])
}

/// Works on the text as it was sent, so that everything else stays as it was.
fn redact_pair(pair: &str) -> Cow<'_, str> {
    match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***").into(),
        _ => pair.into(),
    }
}

/// Whether one of the words in a parameter's name says that its value is secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 14] = [
        "apikey",
        "auth",
        "authorization",
        "credential",
        "jwt",
        "key",
        "passwd",
        "password",
        "pwd",
        "secret",
        "session",
        "sig",
        "signature",
        "token",
    ];
    words(name).any(|word| {
        let word = word.trim_end_matches('s').to_ascii_lowercase();
        SECRET.contains(&word.as_str()) || word.ends_with("token") || word.ends_with("secret")
    })
}

/// The words of `access_token`, `X-Amz-Signature`, `accessToken`; a percent escape parts words.
fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|part| {
            let bytes = part.as_bytes();
            let starts: Vec<usize> = (0..part.len())
                .filter(|&i| {
                    i == 0 || (bytes[i].is_ascii_uppercase() && bytes[i - 1].is_ascii_lowercase())
                })
                .chain([part.len()])
                .collect();
            (1..starts.len()).map(move |i| &part[starts[i - 1]..starts[i]])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        redact(&Url::parse(url).unwrap())
    }

    #[test]
    fn secrets_in_the_query_are_hidden_and_nothing_else() {
        for (url, expected) in [
            ("http://h/?key=abc", "http://h/?key=***"),
            (
                "http://h/?page=2&access_token=a%26b",
                "http://h/?page=2&access_token=***",
            ),
            ("http://h/?accessToken=a", "http://h/?accessToken=***"),
            ("http://h/?accesstoken=a", "http://h/?accesstoken=***"),
            ("http://h/?APIKEY=a", "http://h/?APIKEY=***"),
            (
                "http://h/?X-Amz-Signature=a",
                "http://h/?X-Amz-Signature=***",
            ),
            (
                "http://h/?client%5Fsecret=a",
                "http://h/?client%5Fsecret=***",
            ),
            (
                "http://h/?keyword=a&monkey=b",
                "http://h/?keyword=a&monkey=b",
            ),
            ("http://h/?flag&q=a%20b", "http://h/?flag&q=a%20b"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn user_password_and_fragment_are_hidden() {
        assert_eq!(shown("http://me:pw@h/p#frag"), "http://***@h/p");
        assert_eq!(shown("http://me@h/p"), "http://***@h/p");
    }

    #[test]
    fn a_hidden_text_is_found_however_it_is_written() {
        let hidden = Hidden::default();
        hidden.add("a b\"/ü𝄞\n");
        hidden.add("a b");
        hidden.add("");
        for text in [
            "a b\"/ü𝄞\n",
            "a+b%22%2f%C3%bc%F0%9D%84%9E%0A",
            "a%20b\\\"\\/\\u00fc\\uD834\\uDD1e\\n",
            "%61 b\"/%C3%BC𝄞%0a",
            "a b",
        ] {
            assert_eq!(hidden.text(format!("<{text}>")), "<***>", "{text}");
            assert_eq!(hidden.text(text.repeat(2)), "******");
        }
        for text in ["a b\"/ü", "ab", "%6", "%61%zz", "a\\u0", "é%"] {
            let shown = hidden.text(text);
            assert_eq!(shown, text.replace("a b", "***"), "{text}");
        }
        assert!(hidden.is("a b") && !hidden.is("a"));
    }
}
